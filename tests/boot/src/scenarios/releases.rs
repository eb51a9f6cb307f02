//! Other releases on a running host, and the removal of the agent.

use crate::guest::Guest;
use crate::stage::{Stage, WITHOUT_CLI};
use crate::{Outcome, ensure};

const UNIT: &str = "bbb-agent.service";
/// The paths that another service, or the removal of any package, changes by itself.
const NOT_OURS: [&str; 12] = [
    "/dev",
    "/proc",
    "/run",
    "/sys",
    "/tmp",
    "/var/tmp",
    "/var/log",
    "/var/lib/systemd",
    "/var/lib/dpkg",
    "/var/cache/ldconfig",
    "/etc/ld.so.cache",
    "/var/lib/redis",
];

async fn version(guest: &Guest) -> Outcome<String> {
    guest.run("dpkg-query", &["--show", "--showformat=${db:Status-Status} ${Version}", "bbb-agent"]).await
}

/// Checks that an upgrade replaces the process without any effect outside, and that a second run does nothing.
pub(super) async fn upgrade(stage: &Stage<'_>) -> Outcome {
    let guest = stage.installed().await?;
    stage.meet("room")?;
    let (entry, process) = (stage.entry()?, guest.main_process(UNIT).await?);
    stage.cloud.journal.clear();
    let (code, said) = stage.install_again(&guest, &["--version", "1.1.0"]).await?;
    ensure(code == 0, || format!("install.sh ended with {code}:\n{said}"))?;
    let installed = version(&guest).await?;
    ensure(installed == "installed 1.1.0", || format!("dpkg says: {installed}"))?;
    let after = guest.main_process(UNIT).await?;
    ensure(after != process, || "the service is still the old process".to_owned())?;
    let (code, said) = stage.install_again(&guest, &["--version", "1.1.0"]).await?;
    let again = guest.main_process(UNIT).await?;
    ensure(code == 0 && again == after, || format!("run once more, install.sh did something:\n{said}"))?;
    stage.untouched()?;
    stage.goes_on("room")?;
    let now = stage.entry()?;
    ensure(now == entry, || format!("{entry:?} became {now:?}"))?;
    guest.power_off().await?;
    stage.gone()
}

/// Checks that a release which looks good but does not run is rolled back.
pub(super) async fn rollback(stage: &Stage<'_>) -> Outcome {
    let guest = stage.installed().await?;
    stage.meet("room")?;
    let entry = stage.entry()?;
    stage.cloud.journal.clear();
    let (code, said) = stage.install_again(&guest, &["--version", "1.2.0", "--wait", "10"]).await?;
    let explained = said.contains("version 1.2.0 was not taken over; the service runs as before");
    ensure(code == 1 && explained, || format!("install.sh ended with {code}:\n{said}"))?;
    let installed = version(&guest).await?;
    ensure(installed == "installed 1.0.0", || format!("dpkg says: {installed}"))?;
    guest.reaches(UNIT, "active").await?;
    stage.untouched()?;
    stage.goes_on("room")?;
    let now = stage.entry()?;
    ensure(now == entry, || format!("{entry:?} became {now:?}"))?;
    guest.power_off().await?;
    stage.gone()
}

/// Checks that a removed agent leaves the fleet and keeps its configuration, and that purging leaves no trace.
pub(super) async fn purge(stage: &Stage<'_>) -> Outcome {
    stage.cloud.imds.update(|facts| facts.user_data = Some(WITHOUT_CLI.to_owned()))?;
    let guest = stage.boot().await?;
    guest.reaches("cloud-final.service", "active").await?;
    let (before, users) = (stage.disk.paths(&NOT_OURS)?, guest.run("getent", &["passwd"]).await?);
    let (code, said) =
        stage.install_again(&guest, &["--guard-metadata", "--metadata-user", "daemon"]).await?;
    ensure(code == 0, || format!("install.sh ended with {code}:\n{said}"))?;
    stage.has_name()?;
    guest.run("dpkg", &["--remove", "bbb-agent"]).await?;
    stage.gone()?;
    let kept = stage.disk.path("/etc/bbb-agent/config.d/50-install.toml");
    ensure(kept.exists(), || "removing took the configuration".to_owned())?;
    guest.run("dpkg", &["--purge", "bbb-agent"]).await?;

    let after = stage.disk.paths(&NOT_OURS)?;
    let left: Vec<_> = after.iter().filter(|path| !before.contains(path)).collect();
    ensure(left.is_empty(), || format!("purging leaves {left:?}"))?;
    let now = guest.run("getent", &["passwd"]).await?;
    ensure(now == users, || format!("the users were\n{users}and are\n{now}"))?;
    let units =
        guest.run("systemctl", &["list-units", "--all", "--plain", "--no-legend", "bbb-agent*"]).await?;
    ensure(units.is_empty(), || format!("systemd still knows\n{units}"))?;
    let tables = guest.run("nft", &["list", "tables"]).await?;
    ensure(!tables.contains("bbb-agent"), || format!("the firewall still has\n{tables}"))?;
    let run = guest.run("ls", &["/run"]).await?;
    // The lock of install.sh stays until the next boot: removing a lock could remove one that another process waits
    // for.
    let left: Vec<_> =
        run.lines().filter(|name| name.starts_with("bbb-agent") && *name != "bbb-agents-install").collect();
    ensure(left.is_empty(), || format!("this is left in /run: {left:?}"))?;
    guest.power_off().await
}
