//! The TURN servers that BBB is to tell its clients (`bbb.turn_server`, `bbb.turn_secret`).

use std::time::Duration;

use plan::addresses::TURN_SERVERS;
use tokio::time::Instant;

use super::{Session, within};
use crate::config::settings;
use crate::identity::Host;
use crate::report::{Exit, Failure};
use crate::retry::Patience;
use clients::bbb::addresses::digest;
use clients::bbb::turn_servers::TurnServers;

/// The time for the secret.
const PATIENCE: Duration = Duration::from_secs(10);
/// The setting that names it.
const SETTING: &str = "bbb.turn_secret";

/// The file that BBB ships, and reads where the host has none of its own.
const SHIPPED: &str = "/usr/share/bbb-web/WEB-INF/classes/spring/turn-stun-servers.xml";

/// The secret as it was fetched last.
#[derive(Debug)]
pub(super) struct Fetched {
    servers: TurnServers,
    /// Until when it is believed.
    until: Instant,
}

impl Session {
    /// Returns the TURN servers with their present secret; `None` where none are configured. The secret is fetched
    /// again after `checks.turn_secret`, give or take a tenth, so that not all hosts of a fleet find a new one at once.
    pub async fn turn_servers(&self, host: &Host) -> Result<Option<TurnServers>, Failure> {
        let configured = self.settings.bbb.as_ref().and_then(|bbb| bbb.turn.as_ref());
        let Some(settings::Turn { server, secret, interval }) = configured else { return Ok(None) };
        let known = self
            .turn_servers
            .borrow()
            .as_ref()
            .and_then(|fetched| (Instant::now() < fetched.until).then(|| fetched.servers.clone()));
        if known.is_some() {
            return Ok(known);
        }
        let text = self.secret(SETTING, secret, host, Patience::quietly(within(PATIENCE))).await?;
        let servers = TurnServers::new(server.clone(), text).map_err(|why| {
            Failure::new(Exit::Failed, format!("{SETTING}: {secret} cannot be used")).because(why)
        })?;
        let until = Instant::now() + interval.mul_f64(0.9 + 0.2 * fastrand::f64());
        self.turn_servers.replace(Some(Fetched { servers: servers.clone(), until }));
        Ok(Some(servers))
    }

    /// Has the secret fetched again.
    pub fn forget_turn_servers(&self) {
        self.turn_servers.replace(None);
    }

    /// Tells whether a file with this digest, if there is one, has BBB tell its clients the right TURN servers; `None`
    /// where none are configured. The error says why that is not known.
    pub(super) async fn tells_turn_servers(
        &self,
        host: &Host,
        found: Result<Option<String>, String>,
    ) -> Option<Result<bool, String>> {
        let servers = match self.turn_servers(host).await {
            Ok(servers) => servers?,
            Err(failure) => return Some(Err(failure.headline())),
        };
        let absent = || {
            format!(
                "{TURN_SERVERS} does not exist; copy BBB's own there, readable for the group bigbluebutton: {SHIPPED}"
            )
        };
        Some(found.and_then(|found| Ok(found.ok_or_else(absent)? == digest(servers.file().as_bytes()))))
    }
}
