//! Watches the metadata service: what the group and EC2 intend with this host.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use plan::lifecycle::{Heard, Intent, Kept, Moment, Target};
use plan::time;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::clock::Started;
use super::troubles::{Failing, Troubles};
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
    /// Why not all of the slow news could be read last: that holds until they are read again.
    slow_error: Option<String>,
    /// When they are to begin, in seconds since 1970: the intent has the moments that follow by the present clock.
    spot: Option<u64>,
    rebalance: Option<u64>,
    maintenance: Option<u64>,
    /// The intent that was read last; a key that cannot be read keeps its last value.
    intent: Intent,
    /// Whether the group's intention was read at all.
    known: bool,
    /// What of it is believed.
    heard: Heard,
    unknown: Option<String>,
    troubles: Rc<Troubles>,
}

impl Watch {
    /// Returns the watch of a service that begins, with what the one before it has kept.
    pub(super) fn new(
        imds: Imds,
        every: Rc<Cell<Duration>>,
        hurry: Rc<Notify>,
        started: Started,
        troubles: Rc<Troubles>,
        kept: &Kept,
    ) -> Self {
        Self {
            imds,
            every,
            hurry,
            started,
            due: Instant::now(),
            slow_due: Instant::now(),
            slow_error: None,
            spot: None,
            rebalance: None,
            maintenance: None,
            intent: Intent::default(),
            known: false,
            heard: Heard::new(kept),
            unknown: None,
            troubles,
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
            self.date();
            let whole = error.is_none();
            self.complain(
                error.map(|error| error.to_string()).or_else(|| self.slow_error.clone()).as_deref(),
            );
            if !self.known {
                continue;
            }
            let believed = self.heard.hear(self.intent, whole);
            if self.heard.doubts() {
                self.slow_due = Instant::now();
            }
            if let Some(intent) = believed {
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
                self.spot = notice.map(|notice| notice.time);
            }
            Err(error) => errors.push(error),
        }
        let fast = errors.len();
        if self.slow_due <= Instant::now() {
            let (rebalance, events) = tokio::join!(self.imds.rebalance_notice(), self.imds.maintenance());
            match rebalance {
                Ok(notice) => self.rebalance = notice,
                Err(error) => errors.push(error),
            }
            match events {
                Ok(events) => {
                    let active = events.into_iter().filter(|event| event.state == "active");
                    self.maintenance = active.map(|event| event.not_before).min();
                }
                Err(error) => errors.push(error),
            }
            self.slow_due = Instant::now() + SLOW;
            self.slow_error = errors.get(fast).map(ToString::to_string);
        }
        errors.into_iter().next()
    }

    /// Has the log told whether it answers.
    fn complain(&self, why: Option<&str>) {
        let line =
            |why: &str| format!("not all that is intended with this host is known at the moment: {why}");
        let failing = why.map(|why| Failing::new(why, line(why)));
        let result = failing.map_or(Ok(()), Err);
        self.troubles.take("asking the metadata service", "metadata", None, result);
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

    /// Computes anew when what was announced begins: the clock may have been set since.
    fn date(&mut self) {
        let (today, now) = (session::now(), self.started.moment());
        let moment =
            |time: Option<u64>, former: Option<Moment>| Some(time::moment(time?, today, now, former));
        self.intent.spot = moment(self.spot, self.intent.spot);
        self.intent.rebalance = moment(self.rebalance, self.intent.rebalance);
        self.intent.maintenance = moment(self.maintenance, self.intent.maintenance);
    }
}
