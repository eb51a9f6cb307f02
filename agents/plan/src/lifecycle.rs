//! How a host is kept in its fleet and taken out of it: the state machine of the service.
//!
//! The service feeds [`Machine::step`] with what happened ([`Event`]) and carries out what comes back ([`Action`]);
//! nothing else decides. A step first lets the event change the state, then derives from the state what is due. So a
//! result that comes late, or is lost in a crash, changes nothing but the time at which the same thing is done again.
//!
//! Two kinds of work come out. A [`Job`] changes DNS or Scalelite; there is never more than one, and one that no longer fits
//! the state is cancelled. A [`Call`] is everything else; each kind is made once at a time.
//!
//! # Transitions
//! `Told` is what the metadata service says, `by hand` is an order, `stop` a signal. Actions are those of the same step.
//!
#![doc = include_str!("tables/lifecycle.md")]
//!
//! # Why the service stops decides what is undone
//!
#![doc = include_str!("tables/stop.md")]
//!
//! # Who has taken the host out
//! An entry that is cordoned or disabled, and not by this agent, stays so until it is enabled again or `register` is called. By
//! this agent is: what a stop or a reboot has done, so a service that starts for the first time since the boot, or after a stop,
//! enables the entry; one that was restarted does not ([`Memory`]). Scalelite's poller disables a cordoned entry without load,
//! and can overwrite an enabling that comes at that moment (observed on 1.8.5): an entry found disabled within two polls after
//! enabling is enabled once more.

mod draining;
mod machine;
mod orders;
mod protection;
mod results;
mod schedule;
mod state;
mod status_text;
mod upkeep;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::membership;

pub use draining::Drain;
pub use machine::Machine;

pub use state::{Care, Cordoned, Joining, Leaving, Serving, State, Stopping, Unregistered};
pub use upkeep::Upkeep;

/// A point in time: how long after the host's boot, so that it means the same to a service that was restarted.
pub type Moment = Duration;

/// What a stop of the service by hand undoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// Everything: the host leaves Scalelite and gives up its name.
    Leave,
    /// New meetings go elsewhere; the name stays.
    Cordon,
    /// Nothing.
    Keep,
}

/// How a lifecycle action is completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The group goes on with the termination.
    Continue,
    /// The group gives up; it may be set up to keep such an instance.
    Abandon,
}

/// Why the service is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// It is started again at once, as by an upgrade.
    Restart,
    /// The host reboots (also by kexec), and will be back under its name.
    Reboot,
    /// The host powers off or halts.
    PowerOff,
    /// Somebody stops it, or nobody knows why it stops.
    Stop,
}

/// What the configuration says about all this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether the host joins a Scalelite.
    pub scalelite: bool,
    /// Whether meetings run on the host: on a TURN host nothing is counted or waited for.
    pub meetings: bool,
    /// What a stop by hand undoes.
    pub on_stop: OnStop,
    /// How often the name is checked.
    pub check_name: Duration,
    /// How often the entry in Scalelite is checked.
    pub check_entry: Duration,
    /// How often meetings and recordings are counted.
    pub count: Duration,
    /// How often Scalelite polls its servers.
    pub poll: Duration,
    /// How long a name that is registered, but not live everywhere, keeps the host from joining.
    pub live_patience: Duration,
    /// How long everything that a stop undoes may take.
    pub stop_patience: Duration,
    /// How long draining waits at most.
    pub deadline: Duration,
    /// Whether draining waits for recordings.
    pub recordings: bool,
    /// How long nothing may have been going on before the host counts as empty.
    pub quiet: Duration,
    /// How the lifecycle action is completed when the deadline ended the drain.
    pub at_deadline: Verdict,
    /// Whether a rebalance recommendation cordons.
    pub rebalance: bool,
    /// Whether a scheduled maintenance cordons, the drain's deadline before it begins.
    pub maintenance: bool,
    /// When running meetings are told, in time before the deadline, the longest first.
    pub announce: Vec<Duration>,
    /// How long the host has to be idle before its scale-in protection ends; `None` without protection.
    pub protection: Option<Duration>,
}

/// What the group wants of this instance: `autoscaling/target-lifecycle-state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// It is in no group, in service, or detached from its group: it serves.
    #[default]
    Serve,
    /// It is to serve no new users for a while.
    Standby,
    /// It waits in the warm pool.
    Warm,
    /// It is to end.
    Terminate,
}

impl Target {
    /// Reads what the metadata service says; `None` for a word that is not documented, which is no reason to do anything.
    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("InService" | "Detached") => Some(Self::Serve),
            Some("Standby") => Some(Self::Standby),
            Some("Terminated" | "Warmed:Terminated") => Some(Self::Terminate),
            Some("Warmed:Stopped" | "Warmed:Running" | "Warmed:Hibernated") => Some(Self::Warm),
            Some(_) => None,
        }
    }
}

/// What the metadata service says is intended with the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    /// By its group.
    pub target: Target,
    /// Whether it is in a group at all.
    pub grouped: bool,
    /// When EC2 takes this spot instance back.
    pub spot: Option<Moment>,
    /// Whether EC2 recommends to replace it.
    pub rebalance: bool,
    /// When the next scheduled maintenance begins.
    pub maintenance: Option<Moment>,
}

/// What this agent has been told or has done since the host was booted, which a restarted service could not find out: it is
/// kept where a boot empties it. Losing it means that an entry that somebody disabled is enabled again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memory {
    /// Nothing: nothing was registered, or all of it was undone.
    #[default]
    Fresh,
    /// The host has begun to join; an entry that is not enabled is its own.
    Joining,
    /// The host joined: what takes it out since is somebody's decision.
    Joined,
    /// This agent has cordoned it, for a reason that may be gone by now.
    Cordoned,
    /// Somebody ordered to drain it.
    Drain,
    /// Somebody ordered to take it out.
    Unregistered,
}

/// What is kept of a drain, so that a restart of the service does not prolong it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// When it began.
    pub since: Moment,
    /// When it ends.
    pub deadline: Moment,
}

/// An order by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Be registered, whatever was ordered before.
    Register,
    /// Be out, now.
    Deregister,
    /// Take no new meetings and be out when the running ones have ended, at this time at the latest.
    Drain(Option<Moment>),
    /// Look at everything again, now.
    Check,
}

/// Why a host is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// By hand.
    Hand,
    /// Its group ends it.
    Group,
    /// Its group puts it back into the warm pool.
    WarmPool,
    /// EC2 takes this spot instance back.
    Spot,
}

/// Why a registered host takes no new meetings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Somebody has set its entry so.
    Somebody(membership::State),
    /// Its group has it in standby.
    Standby,
    /// EC2 recommends to replace it.
    Rebalance,
    /// EC2 will maintain it.
    Maintenance,
}

/// Work that changes DNS or Scalelite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Make the name as desired, and see whether it is live.
    Name,
    /// Make the host take meetings through one entry, as desired.
    Join,
    /// Make its entry as desired, but leave its state as it is; add none.
    Keep,
    /// New meetings go elsewhere.
    Cordon,
    /// The same with an enabling before it, because Scalelite still places meetings here.
    Recordon,
    /// See in which state the entry is.
    Look,
    /// Disable and panic, keep the entry: a reboot.
    Disable,
    /// Disable, then panic and delete the entry and give up the name.
    Leave,
}

/// What a job found in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The name answers everywhere ([`Job::Name`]).
    Live,
    /// The name is registered, but does not answer everywhere yet, in words ([`Job::Name`]).
    Behind(String),
    /// The entry in this state ([`Job::Join`], [`Job::Keep`], [`Job::Look`]).
    Entry(membership::State),
    /// No entry ([`Job::Keep`], [`Job::Look`]).
    Missing,
    /// It is done.
    Done,
}

/// Why a job did not do it, in words, and how soon to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What was tried, and what answered.
    pub words: String,
    /// What kind it is.
    pub kind: TroubleKind,
}

/// How soon something is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// The local BBB is not there yet; asking is cheap.
    Waiting,
    /// A service did not answer as it should.
    Passing,
    /// It will fail again until somebody changes something.
    Lasting,
    /// Whoever did the job knows when it is this host's turn again: after this time.
    Turn(Duration),
    /// The machine itself cancelled it.
    Cancelled,
}

/// Everything else that the service does for the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Count meetings and recordings: [`Event::Counted`].
    Count,
    /// Ask the group about this instance: [`Event::Grouped`].
    Group,
    /// Find the lifecycle hook: [`Event::Hooked`].
    Hook,
    /// Extend the lifecycle action.
    Heartbeat,
    /// End the lifecycle action.
    Complete(Verdict),
    /// Set or end the scale-in protection.
    Protect(bool),
    /// Tell the running meetings that they end in so many minutes.
    Announce(u64),
}

/// The lifecycle hook that holds the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// How long it holds without a heartbeat.
    pub heartbeat_timeout: Duration,
    /// How long it holds at most.
    pub ceiling: Duration,
}

/// What goes on on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// The ids of the running meetings, without breakout rooms; `None` when BBB does not say.
    pub meetings: Option<BTreeSet<String>>,
    /// How many recordings still have to leave; `None` when nobody can say.
    pub recordings: Option<usize>,
    /// What could not be found out, or needs a person, in words.
    pub remark: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time has passed: what is due?
    Tick,
    /// The metadata service was read.
    Told(Intent),
    /// Somebody ordered something.
    Ordered(Order),
    /// The service is to stop.
    Stop(StopCause),
    /// The configuration has changed.
    Configured(Box<Policy>),
    /// The running job has ended.
    Finished(Job, Result<Found, Trouble>),
    /// [`Call::Count`] has ended.
    Counted(Work),
    /// [`Call::Group`] has ended: whether the instance is protected; `None` outside a group.
    Grouped(Result<Option<bool>, String>),
    /// [`Call::Hook`] has ended; `None` when no hook holds the instance.
    Hooked(Result<Option<Hook>, String>),
    /// Any other call has ended.
    Called(Call, Result<(), String>),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Begin this job.
    Start(Job),
    /// Cancel the running job; its end is reported as usual.
    Cancel,
    /// Make this call.
    Call(Call),
    /// Whoever waits for the start may go on.
    Ready,
    /// Keep this until the next boot.
    Remember(Memory, Option<Window>),
    /// The order just given cannot be obeyed: why.
    Refuse(String),
    /// End the service; what could not be undone, if anything.
    End(Result<(), String>),
}

/// The service told the machine something that cannot have happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event} cannot come in state {state}")]
pub struct Illegal {
    /// The state.
    pub state: &'static str,
    /// The event, in words.
    pub event: String,
}

#[cfg(test)]
#[path = "lifecycle/properties.rs"]
mod properties;
#[cfg(test)]
#[path = "lifecycle/rig.rs"]
mod rig;
#[cfg(test)]
#[path = "lifecycle/tests.rs"]
mod tests;
