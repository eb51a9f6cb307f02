//! `addresses`: sets right the address that BBB or, on a TURN host, coturn announces, and BBB's name where the host was
//! made from an image. Internal: the agent's socket for it (`bbb-agent-addresses.socket`) starts it, with the powers
//! that it needs, for a service that has found another address or name there ([`clients::bbb::addresses::repairer`]).
//!
//! The configuration says whether anything is written, and the metadata service says which address and name. So a
//! process that may start it can only have it write the host's own.

use plan::addresses::OnAddresses;

use crate::config::settings::Addresses;
use crate::report::{Exit, Failure, say};
use crate::session::{Session, within};
use clients::bbb::addresses::repair::{Names, Places, Repaired, repair};

/// Repairs the files. The programs that read them are restarted by the next command of its unit.
pub async fn addresses(session: &Session) -> Result<Exit, Failure> {
    let failed = |what: &str| Failure::new(Exit::Failed, what);
    let Addresses { on, root, .. } = &session.settings.addresses;
    if *on != OnAddresses::Repair {
        let what =
            format!("{} is not \"repair\", so nothing is set right", Addresses::setting(session.agent.role));
        return Err(Failure::new(Exit::Usage, what));
    }
    let host = session.host(within(session.settings.timeouts.imds)).await?;
    let own = host.own().ok_or_else(|| failed("this host has no IPv4 address to announce"))?;
    let names = Names { own: &host.name, fleet: session.settings.dns.fleet() };
    let Repaired { changed, failed: problems } = repair(&Places::of(session.agent.name, root), &own, &names);
    if changed.is_empty() && problems.is_empty() {
        say("the files have this host's address already");
    }
    changed.iter().for_each(say);
    if problems.is_empty() {
        return Ok(Exit::Done);
    }
    Err(failed("the address that is announced").because(problems.join("; ")))
}
