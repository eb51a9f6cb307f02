//! The constants that make this agent the one for BBB hosts.

use host::agent::Agent;
use plan::instance::Role;

/// The agent for BigBlueButton hosts.
pub(crate) const AGENT: Agent = Agent {
    role: Role::Bbb,
    name: "bbb-agent",
    environment_prefix: "BBB_AGENT_",
    default_hostname: "vc-{instance}",
};
