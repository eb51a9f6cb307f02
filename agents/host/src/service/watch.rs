//! Watches the metadata service: what the group and EC2 intend with this host.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use plan::lifecycle::{Intent, Moment, Target};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::clock::Started;
use crate::session;
use clients::imds::{self, Imds};

/// The interval for news that come with long notice.
const SLOW: Duration = Duration::from_secs(30);

/// Reads it at intervals and tells what has changed.
pub(super) struct Watch {
    imds: Imds,
    /// The interval; the service changes it when its configuration is read again.
    every: Rc<Cell<Duration>>,
    /// The service wants all of it to be read now.
    hurry: Rc<Notify>,
    started: Started,
    due: Instant,
    slow_due: Instant,
    /// When they are to begin, in seconds since 1970.
    spot: Option<u64>,
    maintenance: Option<u64>,
    /// The intent that was read last; a key that cannot be read keeps its last value.
    intent: Intent,
    /// Whether the group's intention was read at all.
    known: bool,
    /// The intent that was told last.
    told: Option<Intent>,
    unknown: Option<String>,
    failing: bool,
}

impl Watch {
    pub(super) fn new(imds: Imds, every: Rc<Cell<Duration>>, hurry: Rc<Notify>, started: Started) -> Self {
        Self {
            imds,
            every,
            hurry,
            started,
            due: Instant::now(),
            slow_due: Instant::now(),
            spot: None,
            maintenance: None,
            intent: Intent::default(),
            known: false,
            told: None,
            unknown: None,
            failing: false,
        }
    }

    /// The next change, and the watch to wait for the one after it.
    pub(super) async fn next(mut self) -> (Self, Intent) {
        loop {
            tokio::select! {
                () = sleep_until(self.due) => {}
                () = self.hurry.notified() => self.slow_due = Instant::now(),
            }
            let error = self.read().await;
            self.due = Instant::now() + self.every.get();
            self.complain(error);
            if self.known && self.told != Some(self.intent) {
                self.told = Some(self.intent);
                let intent = self.intent;
                return (self, intent);
            }
        }
    }

    /// Reads every key. One that cannot be read keeps what it said before, and is no reason to overlook the others.
    async fn read(&mut self) -> Option<imds::Error> {
        let mut errors = Vec::new();
        let (target, spot) = tokio::join!(self.imds.target_lifecycle_state(), self.imds.spot_notice());
        match target {
            Ok(text) => self.target(text),
            Err(error) => errors.push(error),
        }
        match spot {
            Ok(notice) => {
                let time = notice.map(|notice| notice.time);
                // Not read anew each time: the clocks differ a little, and every difference would be news.
                if time != self.spot {
                    (self.spot, self.intent.spot) = (time, self.moment(time));
                }
            }
            Err(error) => errors.push(error),
        }
        if self.slow_due <= Instant::now() {
            let (rebalance, events) = tokio::join!(self.imds.rebalance_notice(), self.imds.maintenance());
            match rebalance {
                Ok(notice) => self.intent.rebalance = notice.is_some(),
                Err(error) => errors.push(error),
            }
            match events {
                Ok(events) => {
                    let active = events.into_iter().filter(|event| event.state == "active");
                    let first = active.map(|event| event.not_before).min();
                    if first != self.maintenance {
                        (self.maintenance, self.intent.maintenance) = (first, self.moment(first));
                    }
                }
                Err(error) => errors.push(error),
            }
            self.slow_due = Instant::now() + SLOW;
        }
        errors.into_iter().next()
    }

    /// Says once that it does not answer, and once that it does again.
    fn complain(&mut self, error: Option<imds::Error>) {
        let failing = error.is_some();
        match error {
            None if self.failing => info!("the instance metadata service answers again"),
            None => {}
            Some(error) if self.failing => debug!("{error}"),
            Some(ref error) => {
                warn!("not all that is intended with this host is known at the moment: {error}");
            }
        }
        self.failing = failing;
    }

    fn target(&mut self, text: Option<String>) {
        match Target::parse(text.as_deref()) {
            Some(target) => {
                self.known = true;
                self.intent.target = target;
                self.intent.grouped = text.as_deref().is_some_and(|text| text != "Detached");
                self.unknown = None;
            }
            None if self.unknown != text => {
                warn!(
                    "the group's target state {:?} is not known to this version: nothing is done",
                    text.as_deref()
                );
                self.unknown = text;
            }
            None => {}
        }
    }

    /// A time of day, in seconds since 1970, as the machine counts.
    fn moment(&self, seconds: Option<u64>) -> Option<Moment> {
        let left = Duration::from_secs(seconds?.saturating_sub(session::now()));
        Some(self.started.moment() + left)
    }
}
