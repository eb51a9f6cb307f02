//! A group that is closed: it is being deleted, or may have no instances any more. It waits for a host that is
//! protected from scale-in, and ends it as soon as it is not.

use std::time::Duration;

use plan::instance::InstanceId;
use tokio::time::sleep;

use super::Life;
use crate::world::{Lost, Service, State, World};

/// The longest time between two questions of a protected host about its group: 600 s, and the time for calls that fail.
const ASKS: Duration = Duration::from_secs(600 + 300);
/// The longest time for which a host stays protected when its agent knows that the group is closed, also where calls
/// fail.
const ENDS: Duration = Duration::from_secs(600);

/// The end of a host's group, and what the agent has done about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Closing {
    /// Since when the group has been closed, if it is.
    pub(crate) since: Option<Duration>,
    /// Since when the host has been protected, if it is.
    protected: Option<Duration>,
    /// When the agent has asked what becomes of the group.
    asked: Option<Duration>,
    /// When the agent has first heard that it is closed.
    told: Option<Duration>,
}

impl Closing {
    /// Forgets what an agent knew that is dead now.
    pub(crate) fn forget(&mut self) {
        (self.asked, self.told) = (None, None);
    }

    /// Returns what the agent has failed to do, if it has run since this time.
    fn neglected(&self, running: Duration, now: Duration) -> Option<&'static str> {
        let since = self.since?.max(self.protected?).max(running);
        let is_over = |time: Duration, most| since.max(time) + most < now;
        if is_over(self.asked.unwrap_or_default(), ASKS) {
            return Some("a protected host does not ask what becomes of its group");
        }
        let told = self.told.is_some_and(|told| is_over(told, ENDS));
        told.then_some("a host stays protected in a group that is closed")
    }
}

/// Asks the group whether it is closed, as this instance.
pub(crate) async fn ask(world: &World, who: &InstanceId) -> Result<bool, Lost> {
    {
        let mut state = world.state();
        let now = state.now();
        state.machine(who).closing.asked = Some(now);
    }
    let asked = |state: &mut State| state.machine(who).closing.since.is_some();
    let answer = world.call(Service::AutoScaling, who, asked).await;
    if let Ok(true) = answer {
        let mut state = world.state();
        let now = state.now();
        state.machine(who).closing.told.get_or_insert(now);
    }
    answer
}

impl State {
    /// Protects an instance from scale-in, or does so no longer.
    pub(crate) fn protect(&mut self, who: &InstanceId, on: bool) {
        let now = self.now();
        let machine = self.machine(who);
        machine.protected = on;
        let since = machine.closing.protected.unwrap_or(now);
        machine.closing.protected = on.then_some(since);
        if on && machine.closing.told.is_some() {
            self.breaks("a host is protected in a group that is closed", who);
        }
    }
}

impl Life {
    /// Has the host's group closed, and lives until the group ends the host.
    pub(super) async fn close(&mut self) -> bool {
        {
            let mut state = self.world.state();
            state.note(format_args!("{}: its group is closed", self.id));
            let now = state.now();
            state.machine(&self.id).closing.since = Some(now);
        }
        while self.holds_the_group() {
            if self.world.state().mishap(60) {
                self.crash();
                self.world.pause(2.0, 30.0).await;
                self.begin();
            }
            sleep(Duration::from_secs(10)).await;
        }
        self.scale_in().await
    }

    /// Tells whether the group has to wait because the host is protected; checks that the agent is about to change
    /// that.
    fn holds_the_group(&self) -> bool {
        let mut state = self.world.state();
        let now = state.now();
        let machine = state.machine(&self.id);
        let running = machine
            .agent_since
            .filter(|_| matches!(machine.state, "joining" | "serving" | "offline" | "cordoned"));
        let neglected = running.and_then(|running| machine.closing.neglected(running, now));
        let (holds, words) = (machine.protected, machine.words.clone());
        match neglected.filter(|_| holds) {
            Some(neglected) => {
                state.breaks(neglected, format_args!("{}: {words}", self.id));
                false
            }
            None => holds,
        }
    }
}
