//! The constants that make this agent the one for TURN hosts.

use host::agent::Agent;
use plan::instance::Role;

/// The agent for TURN hosts (coturn).
pub(crate) const AGENT: Agent = Agent {
    role: Role::Turn,
    name: "turn-agent",
    environment_prefix: "TURN_AGENT_",
    default_hostname: "tu-{instance}",
};
