//! The service's turns to sweep: see `plan::sweep`. Beside the state machine, because a sweep is not about this host.

use std::cell::Cell;
use std::rc::Rc;

use plan::sweep::{Turn, Turns, falls};
use tokio::time::sleep;
use tracing::info;

use super::shared::Shared;
use super::troubles::Failing;
use crate::execute::Executor;
use crate::interrupt::Interrupt;
use crate::sweep::{self, Swept};

/// Waits for this host's turns and takes them until the interrupt ends it.
pub(super) async fn take_turns(shared: Rc<Shared>, turns: Rc<Cell<Turns>>, interrupt: Interrupt) {
    let executor = Executor::new(interrupt.clone(), false);
    let forever = async {
        loop {
            sleep(Turns::wait(shared.session.settings.sweep.interval, fastrand::f64())).await;
            let mut known = turns.get();
            let turn = known.tick(fastrand::f64());
            turns.set(known);
            if turn != Turn::Rest {
                take_turn(&shared, &turns, &executor, turn).await;
            }
        }
    };
    // An interrupt is the only end.
    let _: Result<(), i32> = interrupt.or_stop(forever).await;
}

async fn take_turn(shared: &Shared, turns: &Cell<Turns>, executor: &Executor, turn: Turn) {
    let Ok(host) = shared.host() else { return };
    let goes_on = |hosts| turn == Turn::Sweep || falls(hosts, fastrand::f64());
    let swept = sweep::sweep_unless(&shared.session, host, executor, goes_on).await;
    let mut known = turns.get();
    let trouble = match swept {
        Ok(Swept::Peeked(hosts)) => {
            known.saw(hosts);
            None
        }
        Ok(Swept::Whole(report)) => {
            known.saw(report.hosts);
            for finding in report.findings.iter().filter(|finding| report.removed.contains(&finding.key())) {
                let name = &finding.name;
                match finding.instance.as_ref().filter(|_| finding.is_share()) {
                    Some(instance) => {
                        info!(action = "sweep", "{instance} is gone, and its share in {name} is removed");
                    }
                    None => info!(action = "sweep", "{name} is gone, and nothing of it is left"),
                }
            }
            info!(action = "sweep", "{}", report.summary(false));
            let words: Vec<String> = report.trouble.iter().map(|failure| failure.headline()).collect();
            (!words.is_empty()).then(|| words.join("; "))
        }
        Err(failure) => Some(failure.headline()),
    };
    turns.set(known);
    let failing = trouble.as_deref().map(|why| Failing::new(why, format!("{why}; another sweep will do it")));
    shared.troubles.take("sweeping", "sweep", None, failing.map_or(Ok(()), Err));
}
