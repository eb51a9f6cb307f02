//! Many hosts in one process: each is the service with its own settings and its own metadata service.

use std::io::{BufRead, Write};
use std::path::PathBuf;

use clap::Parser;
use clients::imds::Imds;
use host::agent::Agent;
use host::cli::Common;
use host::config::settings;
use host::interrupt::Interrupt;
use host::report::Exit;
use host::service;
use host::session::Session;
use plan::instance::Role;
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook_tokio::Signals;
use tokio::task::LocalSet;

use super::Error;

/// Ends the list of places, and is the answer to it.
pub(crate) const READY: &str = "ready";
/// Lets all hosts boot.
pub(crate) const GO: &str = "go";

/// What bbb-agent is, but for its command line.
const AGENT: Agent = Agent {
    role: Role::Bbb,
    name: "bbb-agent",
    environment_prefix: "BBB_AGENT_",
    default_hostname: "vc-{instance}",
};

/// Where a host is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The endpoint of its metadata service.
    pub(crate) imds: String,
    /// Its configuration.
    pub(crate) config: PathBuf,
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    common: Common,
}

/// Is the hosts that standard input names, one JSON object a line, from the word `go` to SIGTERM.
pub fn serve() -> Result<(), Error> {
    let mut lines = std::io::stdin().lock().lines();
    let mut places = Vec::new();
    loop {
        let line = lines.next().ok_or("no hosts")??;
        if line == READY {
            break;
        }
        places.push(serde_json::from_str(&line)?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let hosts = LocalSet::new();
    hosts.block_on(&runtime, async {
        let services = places.iter().map(service).collect::<Result<Vec<_>, Error>>()?;
        writeln!(std::io::stdout(), "{READY}")?;
        let word = lines.next().ok_or("no word")??;
        if word != GO {
            return Err(format!("{word:?} is not understood").into());
        }
        let running: Vec<_> = services.into_iter().map(tokio::task::spawn_local).collect();
        for host in running {
            host.await?;
        }
        Ok(())
    })
}

/// The service of one host, ready to begin.
fn service(place: &Place) -> Result<impl Future<Output = ()> + use<>, Error> {
    let config = place.config.to_string_lossy().into_owned();
    let common = Flags::try_parse_from(["bbb-agent", "--config", &config])?.common;
    let settings = settings::read(&AGENT, &common.flags()).map_err(|error| error.problems.join("; "))?;
    let (_never, interrupt) = Interrupt::manual();
    let session = Session::on_host_of(Imds::new(&place.imds)?, AGENT, settings, interrupt);
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
    Ok(async move {
        match service::run(session, common, signals).await {
            Ok(_) => {}
            // There was no time to leave, for many of them: that is counted at the cloud.
            Err(failure) if failure.exit == Exit::TryAgain => {}
            Err(failure) => drop(writeln!(std::io::stderr(), "{config}: {failure}")),
        }
    })
}
