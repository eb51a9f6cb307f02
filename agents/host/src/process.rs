//! The process itself: settings that must be in place before any secret is in memory.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Keeps secrets out of core dumps and away from other processes of the same user (`PR_SET_DUMPABLE`, prctl(2)): the
/// memory holds the secrets of Scalelite and BBB. A kernel that refuses does not stop the agent.
pub fn protect_memory() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}
