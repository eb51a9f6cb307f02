//! The scenarios: each begins with a disk that has never been booted, and checks the cloud and the guest.

mod address;
mod certificate;
mod control;
mod ends;
mod first;
pub(crate) mod image;
mod inside;
mod metadata;
mod recordings;
mod releases;
mod single;
mod turn_servers;
mod work;

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::stage::{Role, Stage};
use crate::{Error, Outcome};

/// The limit of a scenario. It measures nothing: it only makes a scenario fail that would otherwise hang for ever.
const PATIENCE: Duration = Duration::from_secs(180);

/// One scenario.
pub(crate) struct Scenario {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// A description of what it shows.
    pub(crate) about: &'static str,
    /// The role of the host.
    pub(crate) role: Role,
    play: for<'a> fn(&'a Stage<'a>) -> LocalBoxFuture<'a, Outcome>,
}

impl Scenario {
    /// Plays the scenario, and fails when something is not as it should be.
    pub(crate) async fn play<'a>(&self, stage: &'a Stage<'a>) -> Outcome {
        tokio::time::timeout(PATIENCE, (self.play)(stage)).await?
    }
}

macro_rules! scenario {
    ($name:literal, $role:ident, $play:path, $about:literal) => {
        Scenario { name: $name, about: $about, role: Role::$role, play: |stage| Box::pin($play(stage)) }
    };
}

/// All scenarios.
const ALL: [Scenario; 23] = [
    scenario!(
        "first-boot",
        Bbb,
        first::first_boot,
        "UserData installs; the name is live before BBB is installed; then it joins"
    ),
    scenario!(
        "inside",
        Bbb,
        inside::inside,
        "the unit's confinement; the journal's fields; secrets are nowhere"
    ),
    scenario!(
        "metadata",
        Bbb,
        metadata::guard,
        "only root, the agent and whom the operator names reach the metadata service"
    ),
    scenario!(
        "reboot",
        Bbb,
        ends::reboot,
        "the name is kept; entry and meeting are gone; the entry comes back with its tag"
    ),
    scenario!("power-off", Bbb, ends::power_off, "name, entry and meeting are gone once the guest is dead"),
    scenario!(
        "power-cut",
        Bbb,
        ends::power_cut,
        "everything stays; the next boot repairs it, with the same entry"
    ),
    scenario!(
        "another-address",
        Bbb,
        address::started_elsewhere,
        "started with another address it gets its name, and joins when its BBB announces that address too"
    ),
    scenario!(
        "repaired-address",
        Bbb,
        address::repaired,
        "started with another address, or given one late, it sets its BBB right, in files, on lo and in programs"
    ),
    scenario!(
        "warm-pool",
        Bbb,
        address::out_of_the_warm_pool,
        "installed in a warm pool, stopped, and taken into service with another address: only then it joins"
    ),
    scenario!(
        "fleet-certificate",
        Bbb,
        certificate::follows,
        "the fleet's certificate reaches nginx, HAProxy and coturn, is renewed, and nothing else can be written"
    ),
    scenario!(
        "image",
        Bbb,
        image::becomes_itself,
        "launched from an image of another machine it gets its own name, secrets and certificate, and joins"
    ),
    scenario!(
        "single-server",
        Single,
        single::replaced,
        "without Scalelite, with a fixed name and a volume; when it has died, the next one takes over both"
    ),
    scenario!(
        "turn-servers",
        Bbb,
        turn_servers::follow,
        "BBB tells its clients the TURN servers of the fleet; a new secret of theirs waits for the meetings"
    ),
    scenario!("stop", Bbb, ends::stop, "stopped by hand it leaves; started it joins again"),
    scenario!(
        "scale-in",
        Bbb,
        work::scale_in,
        "protected while it is busy; cordoned, drained, gone, then the group goes on"
    ),
    scenario!(
        "recordings",
        Bbb,
        recordings::arrive,
        "a recording reaches the spool before the host goes, although its sender fails at first"
    ),
    scenario!(
        "stuck-recording",
        Bbb,
        recordings::stuck,
        "a recording that nobody sends any more is reported, and holds the host no longer"
    ),
    scenario!(
        "upgrade",
        Bbb,
        releases::upgrade,
        "a new release takes over during a meeting, and nothing outside notices"
    ),
    scenario!(
        "rollback",
        Bbb,
        releases::rollback,
        "a release that does not become ready is taken back during a meeting"
    ),
    scenario!(
        "never-ready",
        Bbb,
        first::never_ready,
        "without permission install.sh says so in time, and the boot goes on"
    ),
    scenario!("purge", Bbb, releases::purge, "removing leaves the fleet, purging leaves nothing on the disk"),
    scenario!("turn", Turn, first::turn, "a TURN host from its first boot to its power-off"),
    scenario!(
        "control",
        Bbb,
        control::loses_the_network,
        "a unit that loses the network leaves debris: the checks above notice"
    ),
];

/// Returns the scenarios with these names, or all when no name is given.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>, Error> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let find = |name: &String| {
        let found = ALL.iter().find(|scenario| scenario.name == name);
        found.ok_or_else(|| format!("there is no scenario {name}; --list shows all").into())
    };
    names.iter().map(find).collect()
}
