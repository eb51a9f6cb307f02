//! The policy of the state machine, from the settings.

use std::time::Duration;

use plan::instance::Role;
use plan::lifecycle::{Leaving, Left, Policy, State};

use super::registration::Records;
use crate::config::settings::Settings;

/// Returns the policy that follows from the settings.
pub fn of(settings: &Settings) -> Policy {
    let (service, drain) = (&settings.service, &settings.drain);
    Policy {
        scalelite: settings.scalelite.is_some(),
        role: if settings.bbb.is_some() { Role::Bbb } else { Role::Turn },
        on_stop: service.on_stop,
        check_name: service.name,
        check_entry: service.scalelite,
        ttl: Duration::from_secs(settings.dns.ttl.into()),
        count: service.work,
        poll: settings.scalelite.as_ref().map(|scalelite| scalelite.poll_interval).unwrap_or_default(),
        live_patience: settings.timeouts.register / 2,
        stop_patience: settings.timeouts.deregister,
        deadline: drain.deadline,
        rules: drain.rules.clone(),
        after_deadline: drain.after_deadline,
        quiet: drain.quiet,
        at_deadline: drain.at_deadline,
        addresses: settings.addresses.on,
        rebalance: drain.rebalance,
        rebalance_for: drain.rebalance_for,
        maintenance: drain.maintenance,
        announce: drain.announce.clone(),
        protection: service.protection,
        launch: service.launch.as_ref().map(|launch| launch.rules),
        unhealthy_after: service.unhealthy_after,
    }
}

/// The setting, if there is one, that moves the host elsewhere: with it the service could no longer undo what it has
/// registered before.
pub(super) fn moved(old: &Settings, new: &Settings) -> Option<&'static str> {
    let url = |settings: &Settings| settings.scalelite.as_ref().map(|scalelite| scalelite.url.clone());
    let moves = url(old).is_some() && url(old) != url(new);
    renamed(old, new).or_else(|| moves.then_some("scalelite.url"))
}

/// The same, of the settings that give the host another name.
pub(super) fn renamed(old: &Settings, new: &Settings) -> Option<&'static str> {
    let moved = [
        ("dns.zone_id", old.dns.zone_id != new.dns.zone_id),
        ("dns.domain", old.dns.domain != new.dns.domain),
        ("dns.name and dns.hostname", old.dns.naming != new.dns.naming),
    ];
    moved.into_iter().find_map(|(key, moved)| moved.then_some(key))
}

/// What a host would leave behind that moves elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remains {
    /// Nothing: no record set and no entry of it exists.
    Nothing,
    /// Its record sets, its entry, or what could not be removed.
    Something,
    /// Nobody knows yet.
    Unknown,
}

/// Tells what a host in this state would leave behind.
///
/// | state | its record sets | it leaves |
/// |---|---|---|
/// | out, and all was undone | | nothing |
/// | out, and not all could be undone | | something |
/// | joining, without its name yet | none, or the name is another host's | nothing |
/// | joining, without its name yet | not known | not known |
/// | starting | | not known |
/// | any other | | something |
pub(super) fn remains(state: &State, records: Records) -> Remains {
    match (state, records) {
        (State::Unregistered(out), _) if out.trouble.is_none() => Remains::Nothing,
        (State::Leaving(Leaving { left: Some(Left { result: Ok(()), .. }), .. }), _) => Remains::Nothing,
        (State::Joining(joining), Records::None) if !joining.named => Remains::Nothing,
        (State::Joining(joining), Records::Unknown) if !joining.named => Remains::Unknown,
        (State::Starting, _) => Remains::Unknown,
        _ => Remains::Something,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use plan::lifecycle::{Event, Found, Intent, Job, Kept, Machine, Order, Trouble, TroubleKind};

    use super::*;
    use crate::agent::Agent;
    use crate::config::{load, settings};

    const AGENT: Agent = Agent {
        role: Role::Bbb,
        name: "bbb-agent",
        environment_prefix: "BBB_AGENT_",
        default_hostname: "vc-{instance}",
    };

    fn settings(set: &[&str]) -> Settings {
        let usual = ["dns.zone_id=Z0123456789EXAMPLE", "dns.domain=example.org"];
        let scalelite = ["scalelite.url=https://lb.example.org", "scalelite.secret=file:/secret"];
        let set: Vec<String> =
            usual.iter().chain(&scalelite).chain(set).map(|setting| (*setting).to_owned()).collect();
        let raw = load::load_text(&AGENT, Path::new("config.toml"), "", &BTreeMap::new(), &set).unwrap();
        settings::check(&AGENT, &raw).unwrap()
    }

    fn after(events: Vec<Event>) -> Machine {
        let mut machine = Machine::new(of(&settings(&[])), Kept::default());
        for event in events {
            machine.step(event, Duration::from_secs(1), 0.5).unwrap();
        }
        machine
    }

    #[test]
    fn what_moves_a_host() {
        for (set, moves, renames) in [
            ("dns.ttl=30", None, false),
            ("scalelite.tag=big", None, false),
            ("dns.zone_id=Z1", Some("dns.zone_id"), true),
            ("dns.domain=sub.example.org", Some("dns.domain"), true),
            ("dns.hostname=other-{instance}", Some("dns.name and dns.hostname"), true),
            ("scalelite.url=https://other.example.org", Some("scalelite.url"), false),
        ] {
            let (old, new) = (settings(&[]), settings(&[set]));
            assert_eq!((moved(&old, &new), renamed(&old, &new).is_some()), (moves, renames), "{set}");
        }
    }

    #[test]
    fn what_a_host_leaves_behind() {
        use Records::{None, There, Unknown};
        use Remains::{Nothing, Something};
        let told = || Event::Told(Intent::default());
        let trouble = || Trouble { words: "no".to_owned(), kind: TroubleKind::Lasting };
        let out = || Event::Ordered(Order::Deregister);
        // By what is known of its record sets: none, there, unknown.
        for (state, events, expected) in [
            ("starting", vec![], [Remains::Unknown; 3]),
            ("joining", vec![told()], [Nothing, Something, Remains::Unknown]),
            (
                "joining",
                vec![told(), Event::Finished(Job::Name, Err(trouble()))],
                [Nothing, Something, Remains::Unknown],
            ),
            ("joining", vec![told(), Event::Finished(Job::Name, Ok(Found::Live))], [Something; 3]),
            ("leaving", vec![told(), out()], [Something; 3]),
            (
                "leaving",
                vec![
                    told(),
                    out(),
                    Event::Finished(Job::Name, Ok(Found::Live)),
                    Event::Finished(Job::Leave, Err(trouble())),
                ],
                [Something; 3],
            ),
            (
                "unregistered",
                vec![
                    told(),
                    out(),
                    Event::Finished(Job::Name, Ok(Found::Live)),
                    Event::Finished(Job::Leave, Ok(Found::Done)),
                ],
                [Nothing; 3],
            ),
        ] {
            let machine = after(events);
            assert_eq!(machine.state().name(), state);
            let found = [None, There, Unknown].map(|records| remains(machine.state(), records));
            assert_eq!(found, expected, "{state}");
        }
    }
}
