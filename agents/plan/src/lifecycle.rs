//! The state machine of the service, which keeps a host in its fleet and takes it out.
//!
//! The service feeds [`Machine::step`] with events ([`Event`]) and carries out the actions that it returns
//! ([`Action`]); nothing else decides. A step first lets the event change the state, then derives from the state what
//! is due. So a result that comes late, or is lost in a crash, only changes the time at which the same thing is done
//! again.
//!
//! Two kinds of work come out. A [`Job`] changes DNS or Scalelite; at most one runs at a time, and one that no longer
//! fits the state is cancelled. A [`Call`] is any other work; at most one of each kind runs at a time.
//!
//! # Transitions
//! `told` is the answer of the metadata service, `by hand` an order, `stop` a signal. Actions are those of the same
//! step.
//!
#![doc = include_str!("tables/lifecycle.md")]
//!
//! # What a stop undoes depends on its cause
//!
#![doc = include_str!("tables/stop.md")]
//!
//! # A TURN host gives up its name first
//! What the cordon is to a BBB host, giving up the name is to a TURN host: clients that look for a relay find another
//! one. Then it waits for the relays in use, and leaves when there have been none for `drain.quiet`, and resolvers
//! have forgotten the name. Once it drains, it does not count as named: an order that ends the drain registers anew.
//!
//! # Who has cordoned or disabled the entry
//! An entry that an operator has cordoned or disabled stays so until it is enabled again or `register` is called. An
//! entry that this agent has taken out at a stop or a reboot is enabled by a service that starts for the first time
//! since the boot, or after a stop, but not by one that was restarted ([`Memory`]). Scalelite's poller disables a
//! cordoned entry without load, and can overwrite an enabling that comes at that moment (observed on 1.8.5): an entry
//! that is found disabled within two polls after it was enabled, or as soon as Scalelite can be asked again, is enabled
//! once more.

mod addresses;
mod cordon;
mod draining;
mod hooks;
mod intent;
mod machine;
mod memory;
mod orders;
mod protection;
mod results;
mod schedule;
mod silence;
mod state;
mod status_text;
mod upkeep;
mod wish;

use std::time::Duration;

use crate::addresses::{Announced, OnAddresses};
use crate::instance::Role;
use crate::membership;
use crate::work::{Rules, Work};

pub use cordon::Cordon;
pub use draining::Drain;
pub use hooks::{Hook, Hooks, Launching};
pub use intent::{Heard, Intent, Target};
pub use machine::Machine;
pub use memory::{Kept, Memory, Window};
pub use state::{
    Aim, Care, Cordoned, Joining, Leaving, Left, Polled, Serving, State, Stopping, Unregistered,
};
pub use upkeep::Upkeep;

/// A point in time: how long after the host's boot, so that it means the same to a service that was restarted.
pub type Moment = Duration;

/// The part of the registration that a stop of the service by hand undoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// Everything: the host leaves Scalelite and gives up its name.
    Leave,
    /// New meetings go elsewhere; the name stays.
    Cordon,
    /// Nothing.
    Keep,
}

/// The result with which a lifecycle action is completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookResult {
    /// The group goes on with the termination.
    Continue,
    /// The group gives up; it may be set up to keep such an instance.
    Abandon,
}

/// The cause for which the service is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// The service is started again at once, as by an upgrade.
    Restart,
    /// The host reboots (also by kexec), and will be back under its name.
    Reboot,
    /// The host powers off or halts.
    PowerOff,
    /// The service is stopped by hand.
    Stop,
    /// Nobody says why the service is stopped: nothing is undone that could not be made good.
    Unknown,
}

/// The settings that the state machine obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether the host joins a Scalelite.
    pub scalelite: bool,
    /// The kind of host: meetings run on the one, relays on the other.
    pub role: Role,
    /// The part of the registration that a stop by hand undoes.
    pub on_stop: OnStop,
    /// How often the name is checked.
    pub check_name: Duration,
    /// How often the entry in Scalelite is checked.
    pub check_entry: Duration,
    /// How long resolvers keep a name that was given up.
    pub ttl: Duration,
    /// How often the work is counted.
    pub count: Duration,
    /// How often Scalelite polls its servers.
    pub poll: Duration,
    /// How long a name that is registered, but not live everywhere, keeps the host from joining.
    pub live_patience: Duration,
    /// How long a stop may take to undo everything.
    pub stop_patience: Duration,
    /// How long draining may take at most.
    pub deadline: Duration,
    /// What draining and the scale-in protection wait for.
    pub rules: Rules,
    /// How long recordings are still waited for after a deadline that ended meetings.
    pub after_deadline: Duration,
    /// How long nothing must have been waited for before the host counts as empty.
    pub quiet: Duration,
    /// How the lifecycle action is completed when the deadline has ended the drain.
    pub at_deadline: HookResult,
    /// The use that the host makes of the address that BBB announces.
    pub addresses: OnAddresses,
    /// Whether a rebalance recommendation makes the agent cordon the host.
    pub rebalance: bool,
    /// How long a rebalance recommendation is a reason to cordon: EC2 never takes it back, and often nothing follows.
    pub rebalance_for: Duration,
    /// Whether a scheduled maintenance makes the agent cordon the host, the drain's deadline before it begins.
    pub maintenance: bool,
    /// How long before the deadline running meetings are told about it, the longest time first.
    pub announce: Vec<Duration>,
    /// How long the host has to be idle before its scale-in protection ends; `None` without protection.
    pub protection: Option<Duration>,
    /// The rules for the launch hook; `None` where the settings name none.
    pub launch: Option<Launching>,
    /// How long BBB has to be silent, on a host that had no meeting before, until the group is told that the instance
    /// is unhealthy; `None` if it is not told.
    pub unhealthy_after: Option<Duration>,
}

/// An order by an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Register the host, whatever was ordered before.
    Register,
    /// Take the host out now.
    Deregister,
    /// Take no new meetings, and take the host out when the running ones have ended, within this time at the latest.
    /// The time begins when the machine takes the order.
    Drain(Option<Duration>),
    /// Look at everything again now.
    Check,
}

/// The cause for which a host is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An operator has ordered it.
    Hand,
    /// The group ends the instance.
    Group,
    /// The group puts the instance back into the warm pool.
    WarmPool,
    /// EC2 takes this spot instance back.
    Spot,
}

/// The reason why a registered host takes no new meetings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rest {
    /// An operator has set its entry to this state.
    Somebody(membership::State),
    /// The group has the instance in standby.
    Standby,
    /// EC2 recommends replacing the instance.
    Rebalance,
    /// EC2 will maintain the instance.
    Maintenance,
    /// The instance has no address that its name could lead to.
    Address,
    /// BBB announces another address than the host's, so people who join here could not talk.
    Announced,
    /// BBB is to tell its clients other TURN servers, or another secret of theirs, for which it has to be restarted.
    Turn,
}

impl Rest {
    /// Tells whether a repair of BBB's files ends it.
    fn needs_repair(self) -> bool {
        matches!(self, Self::Announced | Self::Turn)
    }

    /// Tells whether a host that no other could stand in for takes meetings all the same.
    fn spares_the_last(self) -> bool {
        matches!(self, Self::Rebalance | Self::Turn)
    }
}

/// Work that changes DNS or Scalelite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Make the name as desired, and check whether it is live.
    Name,
    /// Make the host have one entry in this state, with the desired attributes. An entry that is to be cordoned and is
    /// disabled stays disabled: Scalelite itself disables a cordoned entry without load.
    Join(membership::State),
    /// Give the entry the desired attributes, but leave its state as it is, and add no entry.
    Keep,
    /// Have new meetings placed elsewhere.
    Cordon,
    /// The same, unless no other host would get them: then the entry stays as it is ([`Found::LastOne`]).
    CordonUnlessLast,
    /// Enable, then cordon again, because Scalelite still places meetings here.
    Recordon,
    /// Find out in which state the entry is.
    Look,
    /// Give up the name of a TURN host whose relays are still in use.
    Unname,
    /// Disable, panic and delete the entry, but keep the name: for a reboot. An entry that stayed could get meetings
    /// while the host is down. A state that an operator has set is given to the entry again after the boot.
    Withdraw(Option<membership::State>),
    /// Disable, then panic and delete the entry and give up the name.
    Leave,
}

impl Job {
    /// Returns a stable word for the job, as the journal's field `ACTION` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Join(_) => "join",
            Self::Keep => "keep",
            Self::Cordon | Self::CordonUnlessLast => "cordon",
            Self::Recordon => "recordon",
            Self::Look => "look",
            Self::Unname => "unname",
            Self::Withdraw(_) => "withdraw",
            Self::Leave => "leave",
        }
    }
}

/// The result of a job that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The name answers everywhere ([`Job::Name`]).
    Live,
    /// The name is registered, but does not answer everywhere yet; the text says where ([`Job::Name`]).
    Behind(String),
    /// The host has lost the address that it should have, or never had one, and its name is given up; the text says
    /// which ([`Job::Name`]).
    Addressless(String),
    /// The entry is in this state ([`Job::Join`], [`Job::Keep`], [`Job::Look`]).
    Entry(membership::State),
    /// The entry is enabled, but Scalelite shows it offline or without a load, because no poll has reached the host
    /// ([`Job::Join`], [`Job::Keep`], [`Job::Look`]).
    Unpolled,
    /// There is no entry ([`Job::Keep`], [`Job::Look`]).
    Missing,
    /// No other host would get new meetings ([`Job::CordonUnlessLast`]).
    LastOne,
    /// The job is done.
    Done,
}

/// The failure of a job or a call: the reason in words, and how soon to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The attempt in words, and the answer that it got.
    pub words: String,
    /// The kind, which decides when to try again.
    pub kind: TroubleKind,
}

/// The kind of a failure: it decides how soon to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// The local BBB is not there yet; asking it is cheap.
    Waiting,
    /// A service did not answer as it should.
    Passing,
    /// The next try will fail too, until an operator changes something.
    Lasting,
    /// It will be this host's turn after this time.
    Turn(Duration),
    /// The machine itself cancelled it.
    Cancelled,
}

/// Work that the service does for the machine, apart from jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Count the work: [`Event::Counted`].
    Count,
    /// Find out which address BBB announces: [`Event::Announced`].
    Addresses,
    /// Set the addresses that BBB announces right, and restart what uses them.
    Repair,
    /// Ask the group about this instance: [`Event::Grouped`].
    Group,
    /// List the group's lifecycle hooks: [`Event::Hooked`].
    Hook,
    /// Send a heartbeat to each termination hook, which extends its lifecycle action.
    Heartbeat,
    /// Complete the lifecycle action of each termination hook that is this agent's.
    Complete(HookResult),
    /// Send a heartbeat to the launch hook.
    LaunchHeartbeat,
    /// Complete the launch hook's lifecycle action.
    Launched(HookResult),
    /// Tell the group that this instance is unhealthy, so that it is replaced.
    Unhealthy,
    /// Ask whether the group is being deleted, or emptied for good: [`Event::Closing`].
    Closing,
    /// Switch the scale-in protection on or off.
    Protect(bool),
    /// Tell the running meetings that they end in this many minutes.
    Announce(u64),
}

/// An event that the machine takes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time has passed: something may be due.
    Tick,
    /// The metadata service was read.
    Told(Intent),
    /// An operator has given an order.
    Ordered(Order),
    /// The service has to stop.
    Stop(StopCause),
    /// The configuration has changed.
    Configured(Box<Policy>),
    /// The running job has ended.
    Finished(Job, Result<Found, Trouble>),
    /// [`Call::Count`] has ended.
    Counted(Work),
    /// [`Call::Addresses`] has ended.
    Announced(Announced),
    /// [`Call::Group`] has ended: whether the instance is protected; `None` outside a group.
    Grouped(Result<Option<bool>, String>),
    /// [`Call::Closing`] has ended: whether the group will have no instances any more.
    Closing(Result<bool, String>),
    /// [`Call::Hook`] has ended.
    Hooked(Result<Hooks, String>),
    /// Any other call has ended.
    Called(Call, Result<(), String>),
}

/// An action that the service carries out for the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Begin this job.
    Start(Job),
    /// Cancel the running job; its end is reported as usual.
    Cancel,
    /// Make this call.
    Call(Call),
    /// Tell systemd that the service is ready, so that units which wait for its start go on.
    Ready,
    /// Keep this until the next boot.
    Remember(Kept),
    /// Refuse the order just given.
    Refuse(Refusal),
    /// End the service; the error says what could not be undone.
    End(Result<(), String>),
}

/// The reason for which an order is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The same order may be obeyed a moment later.
    #[error("the metadata service has not said yet what is intended with this host")]
    Starting,
    /// The service that is started next may obey it.
    #[error("the service is stopping")]
    Stopping,
    /// EC2 ends the host.
    #[error("EC2 is about to take this spot instance back")]
    Spot,
    /// The group ends the host.
    #[error("its Auto Scaling group is ending this host")]
    Group,
    /// The group does not want the host in service.
    #[error("this host is in the warm pool of its Auto Scaling group")]
    WarmPool,
}

impl Refusal {
    /// Tells whether the same order may be obeyed later.
    pub fn passes(self) -> bool {
        matches!(self, Self::Starting | Self::Stopping)
    }
}

/// The error for an event that cannot have happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event} cannot come in state {state}")]
pub struct Illegal {
    /// The state in which the event came.
    pub state: &'static str,
    /// The event, in words.
    pub event: String,
}

#[cfg(test)]
#[path = "lifecycle/cases.rs"]
mod cases;
#[cfg(test)]
#[path = "lifecycle/hooks_tests.rs"]
mod hooks_tests;
#[cfg(test)]
#[path = "lifecycle/properties.rs"]
mod properties;
#[cfg(test)]
#[path = "lifecycle/rig.rs"]
mod rig;
#[cfg(test)]
#[path = "lifecycle/tests.rs"]
mod tests;
