//! The clock that the state machine counts by: time since the host's boot.

use plan::lifecycle::Moment;
use tokio::time::Instant;

use crate::session::since_boot;

/// When the service began. The state machine counts from the host's boot, so that what it has kept of a time means the
/// same after a restart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Started {
    at: Instant,
    moment: Moment,
}

impl Started {
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), moment: since_boot() }
    }

    /// The present.
    pub(super) fn moment(self) -> Moment {
        self.moment + self.at.elapsed()
    }

    /// That moment for a timer; none for one that never comes.
    pub(super) fn instant(self, moment: Moment) -> Option<Instant> {
        self.at.checked_add(moment.saturating_sub(self.moment))
    }
}
