//! The service's own world: real clients, and the host's clock.

use plan::lifecycle::{Call, Event, Moment};
use tokio::time::Instant;

use super::calls;
use super::engine::World;
use super::shared::Shared;

impl World for Shared {
    fn moment(&self) -> Moment {
        self.started.moment()
    }

    fn timer(&self, moment: Moment) -> Option<Instant> {
        self.started.instant(moment)
    }

    async fn make(&self, call: Call) -> Vec<Event> {
        calls::make(self, call).await
    }
}
