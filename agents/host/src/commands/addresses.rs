//! `addresses`: sets right the address that BBB or, on a TURN host, coturn announces, BBB's name where the host was made
//! from an image, and the TURN servers that BBB tells its clients. Internal: the agent's socket for it
//! (`bbb-agent-addresses.socket`) starts it, with the powers that it needs, for a service that has found something else
//! there ([`clients::bbb::addresses::repairer`]).
//!
//! The configuration says whether anything is written and where TURN is, and the metadata service says which address and
//! name. So a process that may start it can only have it write the host's own, and any secret of the TURN servers, which
//! comes on standard input.

use plan::addresses::OnAddresses;

use crate::commands::input;
use crate::config::settings::Addresses;
use crate::report::{Exit, Failure, say};
use crate::session::{Session, within};
use clients::bbb::addresses::repair::{Names, Places, Repaired, repair};
use clients::bbb::turn_servers::TurnServers;

/// The most bytes of a secret.
const MAX_SECRET: usize = 4096;

/// Repairs the files. The programs that read them are restarted by the next command of its unit.
pub async fn addresses(session: &Session) -> Result<Exit, Failure> {
    let failed = |what: &str| Failure::new(Exit::Failed, what);
    let Addresses { on, root, .. } = &session.settings.addresses;
    let (repairs, turn) = (*on == OnAddresses::Repair, turn_servers(session)?);
    if !repairs && turn.is_none() {
        let what =
            format!("{} is not \"repair\", so nothing is set right", Addresses::setting(session.agent.role));
        return Err(Failure::new(Exit::Usage, what));
    }
    let host = session.host(within(session.settings.timeouts.imds)).await?;
    let names = Names { own: &host.name, fleet: session.settings.dns.fleet() };
    let own = host.own();
    if repairs && own.is_none() && turn.is_none() {
        return Err(failed("this host has no IPv4 address to announce"));
    }
    let places = Places::of(session.agent.name, root);
    let addresses = own.as_ref().filter(|_| repairs).map(|own| (own, &names));
    let Repaired { changed, failed: problems } = repair(&places, addresses, turn.as_ref());
    if changed.is_empty() && problems.is_empty() {
        say("there is nothing to set right");
    }
    changed.iter().for_each(say);
    if problems.is_empty() {
        return Ok(Exit::Done);
    }
    Err(failed("what is announced").because(problems.join("; ")))
}

/// Returns the TURN servers that BBB is to tell its clients, if they are configured and their secret has come.
fn turn_servers(session: &Session) -> Result<Option<TurnServers>, Failure> {
    let Some(turn) = session.settings.bbb.as_ref().and_then(|bbb| bbb.turn.as_ref()) else { return Ok(None) };
    let failed = |why: String| Failure::new(Exit::Failed, "the secret on standard input").because(why);
    let secret = input(MAX_SECRET).map_err(|error| failed(error.to_string()))?;
    if secret.is_empty() {
        return Ok(None);
    }
    let servers = TurnServers::new(turn.server.clone(), secret.as_str().into());
    servers.map(Some).map_err(|why| failed(why.to_owned()))
}
