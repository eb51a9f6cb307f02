//! coturn on the simulated TURN hosts: relays that clients get who find a host by its name, for as long as resolvers
//! know it, and a kernel that does not always list them.

use std::time::Duration;

use plan::dns::Holder;
use plan::instance::{InstanceId, Role};
use plan::lifecycle::State as Phase;
use plan::work::Figure;

use crate::world::{State, World};

/// The time to live of the names.
pub(crate) const TTL: Duration = Duration::from_secs(60);

/// The relays on one host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relays {
    /// When each one ends.
    ends: Vec<Duration>,
    /// Until when clients may find the host.
    known: Duration,
}

impl Relays {
    /// Returns how many are in use.
    fn count(&self, now: Duration) -> u64 {
        self.ends.iter().filter(|end| now < **end).count() as u64
    }

    /// Ends all of them, as when the host goes down.
    pub(crate) fn lose(&mut self) {
        self.ends.clear();
    }
}

impl World {
    /// Lets clients come and go.
    pub(crate) async fn relay(self) {
        loop {
            self.pause(1.0, 20.0).await;
            let mut state = self.state();
            if state.night {
                return;
            }
            state.clients_come();
        }
    }
}

impl State {
    /// Begins relays on the hosts that clients may find.
    fn clients_come(&mut self) {
        let (now, zone) = (self.now(), self.route53.zone());
        for id in self.machines.ids() {
            let machine = self.machine(&id);
            if machine.role != Role::Turn || !machine.alive {
                continue;
            }
            let named =
                zone.get(&machine.name).is_some_and(|there| matches!(there.holder(&id), Holder::Me(_)));
            if named {
                machine.relays.known = now + TTL;
            }
            let finds = now < machine.relays.known;
            if finds && self.rng.u32(0..4) == 0 {
                // Most are short, so that a host without any is found again and again.
                let long = self.rng.u32(0..10) == 0;
                let end = now + if long { self.between(40.0, 500.0) } else { self.between(3.0, 40.0) };
                self.machine(&id).relays.ends.push(end);
                self.note(format_args!("{id}: a relay until {:.0}", end.as_secs_f64()));
            }
        }
    }

    /// Returns the relays on a host, as the kernel lists them: now and then not at all.
    pub(crate) fn relays(&mut self, id: &InstanceId) -> Figure<u64> {
        if self.mishap(6) {
            return Figure::Unknown("cannot count coturn's relays: no such file".to_owned());
        }
        let now = self.now();
        Figure::Known(self.machine(id).relays.count(now))
    }

    /// Checks that no relay is in use when the group goes on, since it ends then.
    pub(crate) fn judge_relays(&mut self, id: &InstanceId) {
        let now = self.now();
        let machine = self.machine(id);
        let (running, excuse) = (machine.relays.count(now), machine.excuse);
        if running > 0 && excuse.is_none_or(|excuse| now < excuse) {
            let what = format!("{id} with {running} relays, allowed from {excuse:?}");
            self.breaks("a planned event ended a relay: the lifecycle action was completed", what);
        }
    }

    /// Checks that a TURN host which leaves after a drain, and not because its time was over or by an order, has given
    /// up its name before.
    pub(crate) fn judge_name_first(&mut self, id: &InstanceId, state: &Phase) {
        let Phase::Leaving(leaving) = state else { return };
        let (now, zone) = (self.now(), self.route53.zone());
        let machine = self.machine(id);
        let excused = leaving.forced || machine.excuse.is_some_and(|excuse| excuse <= now);
        let drained = machine.role == Role::Turn && machine.state == "draining";
        let named = zone.get(&machine.name).is_some_and(|there| matches!(there.holder(id), Holder::Me(_)));
        if drained && named && !excused {
            self.breaks("a TURN host left before its name", id);
        }
    }
}
