//! What the settings mean for the state machine.

use plan::lifecycle::Policy;

use crate::config::settings::Settings;

/// The policy that follows from the settings.
pub(super) fn of(settings: &Settings) -> Policy {
    let (service, drain) = (&settings.service, &settings.drain);
    Policy {
        scalelite: settings.scalelite.is_some(),
        meetings: settings.bbb.is_some(),
        on_stop: service.on_stop,
        check_name: service.name,
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
