//! The policy of the state machine, from the settings.

use std::time::Duration;

use plan::lifecycle::Policy;

use crate::config::settings::Settings;

/// The shortest interval between checks of a name through Route 53's API.
const API_INTERVAL: Duration = Duration::from_secs(900);

/// The policy that follows from the settings.
pub(super) fn of(settings: &Settings) -> Policy {
    let (service, drain) = (&settings.service, &settings.drain);
    Policy {
        scalelite: settings.scalelite.is_some(),
        meetings: settings.bbb.is_some(),
        on_stop: service.on_stop,
        check_name: match settings.dns.read_through_api {
            // Each look is a call out of the account's small budget.
            true => service.name.max(API_INTERVAL),
            false => service.name,
        },
        check_entry: service.scalelite,
        count: service.work,
        poll: settings.scalelite.as_ref().map(|scalelite| scalelite.poll_interval).unwrap_or_default(),
        live_patience: settings.timeouts.register / 2,
        stop_patience: settings.timeouts.deregister,
        deadline: drain.deadline,
        recordings: drain.recordings,
        quiet: drain.quiet,
        at_deadline: drain.at_deadline,
        rebalance: drain.rebalance,
        maintenance: drain.maintenance,
        announce: drain.announce.clone(),
        protection: service.protection,
    }
}

/// The setting, if there is one, that would move a registered host elsewhere: with it the service could no longer undo
/// what it has registered.
pub(super) fn moved(old: &Settings, new: &Settings) -> Option<&'static str> {
    let url = |settings: &Settings| settings.scalelite.as_ref().map(|scalelite| scalelite.url.clone());
    let moved = [
        ("dns.zone_id", old.dns.zone_id != new.dns.zone_id),
        ("dns.domain", old.dns.domain != new.dns.domain),
        ("dns.name and dns.hostname", old.dns.naming != new.dns.naming),
        ("scalelite.url", url(old).is_some() && url(old) != url(new)),
    ];
    moved.into_iter().find_map(|(key, moved)| moved.then_some(key))
}
