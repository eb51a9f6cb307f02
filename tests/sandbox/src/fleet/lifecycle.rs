//! The lifecycle states of an instance in an Auto Scaling group.

use serde::{Deserialize, Serialize};

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $text:literal, target $target:literal;)+) => {
        /// The lifecycle states that Auto Scaling reports.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum LifecycleState {
            $($(#[$doc])* #[serde(rename = $text)] $name,)+
        }

        impl LifecycleState {
            /// Returns the state as the API writes it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Returns the state that IMDS shows as `autoscaling/target-lifecycle-state`: where the instance is going.
            pub fn target(self) -> &'static str {
                match self { $(Self::$name => $target,)+ }
            }
        }
    };
}

states! {
    /// Launching.
    Pending = "Pending", target "InService";
    /// Held by a launch hook.
    PendingWait = "Pending:Wait", target "InService";
    /// Released by the launch hook.
    PendingProceed = "Pending:Proceed", target "InService";
    /// In service, and counted as capacity.
    InService = "InService", target "InService";
    /// Ending, not held by a hook.
    Terminating = "Terminating", target "Terminated";
    /// Held by a termination hook.
    TerminatingWait = "Terminating:Wait", target "Terminated";
    /// Released by the termination hook; EC2 ends the instance next.
    TerminatingProceed = "Terminating:Proceed", target "Terminated";
    /// Gone.
    Terminated = "Terminated", target "Terminated";
    /// Leaving the group alive.
    Detaching = "Detaching", target "Detached";
    /// Left the group.
    Detached = "Detached", target "Detached";
    /// On the way to standby.
    EnteringStandby = "EnteringStandby", target "Standby";
    /// In the group, but not in service.
    Standby = "Standby", target "Standby";
    /// Launching into the warm pool.
    WarmedPending = "Warmed:Pending", target "Warmed:Stopped";
    /// Held by a launch hook on the way into the warm pool.
    WarmedPendingWait = "Warmed:Pending:Wait", target "Warmed:Stopped";
    /// Released by that hook.
    WarmedPendingProceed = "Warmed:Pending:Proceed", target "Warmed:Stopped";
    /// Stopped in the warm pool.
    WarmedStopped = "Warmed:Stopped", target "Warmed:Stopped";
    /// Running in the warm pool.
    WarmedRunning = "Warmed:Running", target "Warmed:Running";
    /// Hibernated in the warm pool.
    WarmedHibernated = "Warmed:Hibernated", target "Warmed:Hibernated";
    /// Ending from the warm pool.
    WarmedTerminating = "Warmed:Terminating", target "Warmed:Terminated";
    /// Held by a termination hook on the way out of the warm pool.
    WarmedTerminatingWait = "Warmed:Terminating:Wait", target "Warmed:Terminated";
    /// Released by that hook.
    WarmedTerminatingProceed = "Warmed:Terminating:Proceed", target "Warmed:Terminated";
    /// Gone from the warm pool.
    WarmedTerminated = "Warmed:Terminated", target "Warmed:Terminated";
}

impl LifecycleState {
    /// Returns the state of an instance that begins to end in this state, held by a hook or not.
    pub(super) fn terminating(self, held: bool) -> Self {
        match (self.as_str().starts_with("Warmed:"), held) {
            (false, true) => Self::TerminatingWait,
            (false, false) => Self::Terminating,
            (true, true) => Self::WarmedTerminatingWait,
            (true, false) => Self::WarmedTerminating,
        }
    }

    /// Tells whether the instance is already ending.
    pub fn is_ending(self) -> bool {
        self.target().ends_with("Terminated")
    }

    /// Tells whether the instance belongs to the warm pool.
    pub fn is_warm(self) -> bool {
        self.as_str().starts_with("Warmed:")
    }
}
