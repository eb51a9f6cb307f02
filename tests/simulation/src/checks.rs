//! Checks of what has to be true after the last thing went wrong.

use std::net::IpAddr;
use std::time::Duration;

use plan::dns::{Holder, Observed};
use plan::instance::{InstanceId, Role};
use plan::lifecycle::Target;
use plan::membership::State as EntryState;
use plan::sweep::Zone;

use crate::fleet::{FORGETFUL, Machine};
use crate::scalelite::Server;
use crate::world::State;

/// The names and entries that are not the fleet's, and have to stay as they are.
pub(crate) struct Foreign {
    pub(crate) names: Zone,
    pub(crate) entries: Vec<(String, Server)>,
}

/// The time after which an idle host is no longer protected, `protection.idle` (300 s), with some time to find that out:
/// one look a minute finds a meeting empty, another that its time is over, and a third that the host's idle time is.
const LONG: Duration = Duration::from_secs(300 + 3 * 60 + 30);

impl State {
    /// Checks that every host has reached its final state, and that nothing is left of the dead ones.
    pub(crate) fn check_all(&mut self, foreign: &Foreign) {
        for id in self.machines.ids() {
            self.check(&id, foreign);
        }
        let zone = self.route53.zone();
        for (name, before) in &foreign.names {
            if zone.get(name) != Some(before) {
                self.breaks(
                    "what is somebody else's was changed",
                    format_args!("{name}: {:?}", zone.get(name)),
                );
            }
        }
        for (id, before) in &foreign.entries {
            // Only the URL and the state count: Scalelite's own polls change the rest.
            let there = self.pool.entries.get(id).map(|server| (server.url.clone(), server.state));
            if there != Some((before.url.clone(), before.state)) {
                self.breaks("somebody else's entry was changed", format_args!("{id}: {there:?}"));
            }
        }
    }

    /// Checks that a host in service is protected from scale-in while there is work on it, and only then; in a group that
    /// is closed none has to be.
    pub(crate) fn check_protection(&mut self) {
        let (now, night) = (self.now(), self.night);
        for id in self.machines.ids() {
            let machine = self.machine(&id);
            machine.activity.pass(now);
            let busy = machine.activity.occupied(Duration::from_secs(180), now) > 0;
            let wrong = match machine.protected {
                true if night && machine.activity.is_idle_for(LONG, now) => "an idle host is protected",
                false if busy && machine.closing.since.is_none() => "a busy host is not protected",
                _ => continue,
            };
            let (state, words) = (machine.state, machine.words.clone());
            if matches!(state, "serving" | "cordoned") {
                self.breaks(wrong, format_args!("{id} ({state}, {words})"));
            }
        }
    }

    /// Closes a host that serves to Scalelite, or checks that it says so after a while, and opens it again.
    pub(crate) fn wall(&mut self, id: &InstanceId) {
        let machine = self.machine(id);
        let (walled, state) = (machine.walled, machine.state);
        machine.walled = !walled && state == "serving";
        if walled && state != "offline" {
            self.breaks("a host that no poll reaches counts as registered", format_args!("{id} ({state})"));
        }
    }

    /// Tells whether the host's own name holds an address that another living host has now.
    fn is_held(&self, id: &InstanceId, there: Option<&Observed>) -> bool {
        let addresses = there.map(Observed::ip_addresses).unwrap_or_default();
        addresses.into_iter().any(|address| self.machines.holders(address).iter().any(|holder| holder != id))
    }

    fn check(&mut self, id: &InstanceId, foreign: &Foreign) {
        let machine = self.machine(id).clone();
        let zone = self.route53.zone();
        let there = zone.get(&machine.name);
        let is_foreign = |id: &String| foreign.entries.iter().any(|(other, _)| other == id);
        let own = |(id, server): &(&String, &Server)| server.host() == machine.name && !is_foreign(id);
        let entries: Vec<(EntryState, bool)> = self
            .pool
            .entries
            .iter()
            .filter(own)
            .map(|(_, server)| (server.state, server.is_placed()))
            .collect();
        // A dead one's address may be that of a living host without a name of its own: nobody knows who pointed it
        // there.
        let inherited = there.is_some_and(|observed| self.machines.is_inherited(observed, &zone));
        let wrong = match (machine.alive, inherited) {
            (false, true) => None,
            (false, false) if machine.collides => {
                (!entries.is_empty()).then_some("a dead host is still there")
            }
            // EC2 has forgotten the instance, and no label says that it was of this account: its entry is left,
            // disabled.
            (false, false) if there.is_none() && machine.remembered == FORGETFUL => None,
            (false, false) => {
                (there.is_some() || !entries.is_empty()).then_some("a dead host is still there")
            }
            // A host that may not delete its name goes on trying and says so: an operator has to look.
            (true, _) if machine.state == "leaving" && entries.is_empty() && self.is_held(id, there) => None,
            (true, _) => astray(id, &machine, there, &entries),
        };
        if let Some(what) = wrong {
            let (words, state, observed) = (&machine.words, machine.state, there.map(shown));
            self.breaks(
                "it did not converge",
                format_args!("{id} ({state}, {words}): {what}; name {observed:?}, entries {entries:?}"),
            );
        }
    }
}

/// Describes what is wrong with a living host, if anything is.
fn astray(
    id: &InstanceId,
    machine: &Machine,
    there: Option<&Observed>,
    entries: &[(EntryState, bool)],
) -> Option<&'static str> {
    let named = there.is_some_and(|observed| matches!(observed.holder(id), Holder::Me(_)));
    let address = IpAddr::V4(machine.address);
    let rightly = named && there.is_some_and(|observed| observed.ip_addresses().into_iter().eq([address]));
    // A superfluous entry is not cleared away while the host is cordoned.
    let rests = rightly && !entries.is_empty() && entries.iter().all(|(_, placed)| !placed);
    let spared = machine.spared && machine.state == "serving" && machine.target != Target::Standby;
    match machine.state {
        _ if machine.collides => (named || !entries.is_empty()).then_some("its name was somebody else's"),
        state if !spared && machine.expected.is_some_and(|expected| expected != state) => {
            Some("it should be in another state")
        }
        "serving" if !rightly => Some("its name is not as it should be"),
        "serving" if machine.role == Role::Turn => {
            (!entries.is_empty()).then_some("a TURN host has an entry")
        }
        "serving" => (entries != [(EntryState::Enabled, true)]).then_some("its entry is not as it should be"),
        "cordoned" => (!rests).then_some("it rests, and is not as it should be"),
        "unregistered" => (there.is_some() || !entries.is_empty()).then_some("it is out, and still there"),
        _ => Some("it has not come to an end"),
    }
}

fn shown(observed: &Observed) -> String {
    let label = observed.label.as_ref().map(|label| label.values.clone());
    format!("{:?} {label:?}", observed.ip_addresses())
}
