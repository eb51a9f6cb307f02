//! The repair by a process with the powers for it, which systemd starts at a socket (`bbb-agent-addresses.socket`,
//! `turn-agent-addresses.socket`). Its only parameter is the secret of the TURN servers that BBB tells its clients: it
//! finds out the host's addresses and the settings by itself, so that a service that was taken over cannot have BBB
//! announce an address of its choice.

use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::helper::Helper;

/// The time limit: FreeSWITCH alone may take more than a minute to end and to start.
const PATIENCE: Duration = Duration::from_secs(400);

/// Has the addresses of this agent's host set right, and its TURN servers where their secret is given, and waits for
/// the end. Returns what was done, a line each; the error is what could not be done.
pub async fn ask(
    agent: &str,
    socket: &Path,
    turn_secret: Option<&SecretString>,
) -> Result<Vec<String>, String> {
    let unit = format!("{agent}-addresses");
    let helper = Helper { what: "the repair", unit: &unit, socket, patience: PATIENCE };
    helper.ask(turn_secret.map_or("", |secret| secret.expose_secret()).as_bytes()).await
}
