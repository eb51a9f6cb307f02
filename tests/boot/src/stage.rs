//! The stage of a scenario: a cloud, a host's disk, and checks of both.

use std::fmt::Write;
use std::sync::Arc;

use sandbox::cloud::{BUCKET, Cloud, Host, SCALELITE_SECRET_ID, SCALELITE_SECRET_KEY};
use sandbox::fleet::InstanceFacts;
use sandbox::http::ServiceName::{self, Route53, Scalelite};
use sandbox::scalelite::{ServerSnapshot, ServerState};

use crate::disk::Disk;
use crate::guest::{Guest, until};
use crate::world::World;
use crate::{Outcome, cloud, ensure};

/// A line of UserData that installs BBB as the shipped UserData does: the installer needs the host's address.
pub(crate) const INSTALL_BBB: &str =
    "IP=$(getent ahostsv4 \"$(hostname)\" | sed -n '1s/ .*//p') install-bbb -s \"$(hostname)\"\n";

/// The path of install.sh on the disk, from where UserData runs it.
const INSTALLER: &str = "/opt/install.sh";
/// The beginning of UserData for a host whose image has install.sh. There is no AWS CLI: install.sh signs its requests
/// itself.
pub(crate) const WITHOUT_CLI: &str = "#!/bin/sh\nset -eu\n";
/// The calls that change something in Scalelite.
const CHANGES: [&str; 4] = ["addServer", "updateServer", "panicServer", "deleteServer"];
/// The number of lines of a long list that are shown after a failure.
const TAIL: usize = 250;

/// The name of a single server below the domain.
const SERVER: &str = "meet";

/// The role of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// BigBlueButton.
    Bbb,
    /// BigBlueButton on a single server: with a fixed name, and without Scalelite.
    Single,
    /// coturn.
    Turn,
}

/// A cloud with one host, which is switched off at first.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) world: &'a World,
    pub(crate) cloud: Arc<Cloud>,
    /// The instance that boots from the disk.
    pub(crate) host: Arc<Host>,
    pub(crate) disk: Disk,
    pub(crate) role: Role,
}

impl<'a> Stage<'a> {
    /// Sets the stage: a new host, launched with the UserData of its role.
    pub(crate) async fn set(world: &'a World, role: Role) -> Outcome<Self> {
        let cloud = cloud::start(world, (role == Role::Single).then_some(SERVER)).await?;
        let host = cloud.hosts().into_iter().next().ok_or("the cloud has no host")?;
        let disk = installable(world, &cloud, &host).await?;
        let stage = Self { world, cloud, host, disk, role };
        let user_data = stage.user_data();
        stage.cloud.imds.update(|facts| facts.user_data = Some(user_data))?;
        Ok(stage)
    }

    /// Launches another instance in the place of a single server that is dead: with the same UserData and name, and with
    /// a disk and addresses of its own.
    pub(crate) async fn replaced(&self, facts: InstanceFacts) -> Outcome<Self> {
        let user_data = self.host.imds.facts().and_then(|facts| facts.user_data);
        let facts = InstanceFacts { user_data, ..facts };
        let host = cloud::replace(&self.cloud, &self.host, facts, self.name()).await?;
        let disk = installable(self.world, &self.cloud, &host).await?;
        Ok(Self { world: self.world, cloud: Arc::clone(&self.cloud), host, disk, role: self.role })
    }

    /// Launches the host once more, from an image of this disk, whose guest is switched off.
    pub(crate) async fn imaged(&self) -> Outcome<Self> {
        let (cloud, host) = (Arc::clone(&self.cloud), Arc::clone(&self.host));
        let disk = self.disk.image(self.world).await?;
        Ok(Self { world: self.world, cloud, host, disk, role: self.role })
    }

    /// Returns UserData as short as possible, for scenarios about later events. [`Stage::shipped`] uses the shipped
    /// one.
    fn user_data(&self) -> String {
        let install = self.install(&[]).join(" ");
        let bbb = match self.role {
            Role::Bbb | Role::Single => INSTALL_BBB,
            Role::Turn => "",
        };
        format!("{WITHOUT_CLI}{install}\n{bbb}")
    }

    /// Launches the host with the shipped UserData, its variables filled in as an operator would.
    pub(crate) fn shipped(&self) -> Outcome {
        self.shipped_with(&[])
    }

    /// The same with these variables in addition, quoted for a shell.
    pub(crate) fn shipped_with(&self, more: &[(&str, &str)]) -> Outcome {
        let cloud = &self.cloud;
        let region = self.host.imds.facts().map(|facts| facts.region).unwrap_or_default();
        let (url, secret) = (cloud::scalelite_url(), secret_reference());
        let bbb_release = format!("{}-300", self.world.codename);
        let mut values = vec![
            ("bucket", BUCKET),
            ("stack", cloud.group.as_str()),
            ("region", region.as_str()),
            ("zone_id", cloud.zone_id.as_str()),
            ("domain", cloud.zone_name.as_str()),
        ];
        let mut text = match self.role {
            Role::Bbb | Role::Single => {
                values.extend(match self.role {
                    Role::Single => [("server_name", SERVER), ("scalelite_url", "")],
                    _ => [("scalelite_url", url.as_str()), ("scalelite_secret", secret.as_str())],
                });
                values.extend([("recordings_sender", "none"), ("bbb_release", bbb_release.as_str())]);
                include_str!("../../../packaging/userdata/bbb-host.sh").to_owned()
            }
            Role::Turn => {
                // Any secret of this cloud can serve as coturn's.
                values.extend([
                    ("turn_secret", SCALELITE_SECRET_ID),
                    ("turn_secret_key", SCALELITE_SECRET_KEY),
                ]);
                include_str!("../../../packaging/userdata/turn-host.sh").to_owned()
            }
        };
        for (variable, value) in values.into_iter().chain(more.iter().copied()) {
            text = fill(&text, variable, value)?;
        }
        Ok(self.host.imds.update(|facts| facts.user_data = Some(text))?)
    }

    /// Returns the command that installs a release, with these options in addition.
    pub(crate) fn install(&self, more: &[&str]) -> Vec<String> {
        let (zone, domain) = (&self.cloud.zone_id, &self.cloud.zone_name);
        let mut words =
            vec![INSTALLER, "--bucket", BUCKET, "--zone-id", zone, "--domain", domain, "--hostname"];
        let (url, secret) = (cloud::scalelite_url(), secret_reference());
        let fixed = format!("dns.name={}", self.name());
        match self.role {
            Role::Single => words.extend(["--role", "bbb", "--set", &fixed]),
            Role::Bbb => {
                words.extend(["--role", "bbb", "--scalelite-url", &url, "--scalelite-secret", &secret]);
                // A host with users on it would need longer waits.
                words.extend(["--set", "drain.quiet=0", "--set", "checks.work=1"]);
                words.extend(["--set", "scalelite.poll_interval=5"]);
            }
            Role::Turn => words.extend(["--role", "turn"]),
        }
        words.into_iter().chain(more.iter().copied()).map(str::to_owned).collect()
    }

    /// Runs install.sh in the guest as an operator does later; returns its exit code and what it printed.
    pub(crate) async fn install_again(&self, guest: &Guest, more: &[&str]) -> Outcome<(i32, String)> {
        guest.ends("/bin/sh", &["-c", &self.install(more).join(" ")]).await
    }

    /// Switches the host on.
    pub(crate) async fn boot(&self) -> Outcome<Guest> {
        Guest::boot(self.world, &self.disk).await
    }

    /// Boots the host for the first time: UserData has run to its end, and the host takes meetings or TURN clients.
    pub(crate) async fn installed(&self) -> Outcome<Guest> {
        let guest = self.boot().await?;
        guest.reaches("cloud-final.service", "active").await?;
        if self.role == Role::Bbb {
            self.joined().await?;
        }
        Ok(guest)
    }

    /// Waits until the host is in Scalelite, enabled.
    pub(crate) async fn joined(&self) -> Outcome {
        let enabled = async || Ok(self.entries().iter().any(|entry| entry.state == ServerState::Enabled));
        until("the host is enabled in Scalelite", enabled).await
    }

    /// Returns the host's name without a final dot.
    pub(crate) fn name(&self) -> String {
        let id = self.host.id().trim_start_matches("i-");
        let host = match self.role {
            Role::Bbb => format!("vc-{id}"),
            Role::Single => SERVER.to_owned(),
            Role::Turn => format!("tu-{id}"),
        };
        format!("{host}.{}", self.cloud.zone_name)
    }

    /// Returns the record sets of the zone except those at its apex, as text.
    pub(crate) fn records(&self) -> Vec<String> {
        let apex = format!("{}.", self.cloud.zone_name);
        let sets = self.cloud.route53.records(&self.cloud.zone_id).unwrap_or_default();
        let others = sets.into_iter().filter(|set| set.name != apex);
        others
            .map(|set| format!("{} {} {}", set.name, set.record_type.as_str(), set.values.join(" ")))
            .collect()
    }

    /// Returns the entries of Scalelite.
    pub(crate) fn entries(&self) -> Vec<ServerSnapshot> {
        self.cloud.scalelite.servers()
    }

    /// Returns the only entry of Scalelite.
    pub(crate) fn entry(&self) -> Outcome<ServerSnapshot> {
        let mut entries = self.entries();
        ensure(entries.len() == 1, || format!("one entry was to be in Scalelite: {entries:?}"))?;
        Ok(entries.remove(0))
    }

    /// Starts a meeting that was placed on the host through Scalelite.
    pub(crate) fn meet(&self, meeting: &str) -> Outcome {
        self.cloud.bbb.start_meeting(meeting, 3);
        self.cloud.scalelite.map_meeting(meeting, &self.entry()?.id);
        Ok(())
    }

    /// Fails unless that meeting still runs.
    pub(crate) fn goes_on(&self, meeting: &str) -> Outcome {
        ensure(self.cloud.bbb.meeting(meeting).is_some(), || format!("the meeting {meeting} has been ended"))
    }

    /// Fails unless the host owns its name, with its address.
    pub(crate) fn has_name(&self) -> Outcome {
        let name = self.name();
        let address =
            self.host.imds.facts().and_then(|facts| facts.public_ipv4).ok_or("no public address")?;
        let (records, wanted) = (self.records(), format!("{name}. A {address}"));
        ensure(records.contains(&wanted), || format!("there is no record set {wanted}, but {records:?}"))?;
        let owner = format!("_agent.{name}. TXT");
        ensure(records.iter().any(|record| record.starts_with(&owner)), || format!("no {owner}: {records:?}"))
    }

    /// Fails if anything of the host is left in the cloud: a record set or an entry.
    pub(crate) fn gone(&self) -> Outcome {
        let (records, entries) = (self.records(), self.entries());
        ensure(records.is_empty(), || format!("these record sets are left: {records:?}"))?;
        ensure(entries.is_empty(), || format!("these entries are left in Scalelite: {entries:?}"))
    }

    /// Returns the calls that have changed Scalelite since the journal was cleared, in order.
    pub(crate) fn changes_in_scalelite(&self) -> Vec<String> {
        let calls = self.cloud.journal.entries().into_iter().filter(|entry| entry.service == Scalelite);
        calls.map(|entry| entry.action).filter(|action| CHANGES.contains(&action.as_str())).collect()
    }

    /// Fails if anything was changed in the cloud since the journal was cleared.
    pub(crate) fn untouched(&self) -> Outcome {
        let changes = self.changes_in_scalelite();
        ensure(changes.is_empty(), || format!("Scalelite was asked for {changes:?}"))?;
        let changes = self.cloud.journal.count(Route53, "ChangeResourceRecordSets");
        ensure(changes == 0, || format!("record sets were changed {changes} times"))
    }

    /// Returns the position of the first such request in the list of all requests.
    pub(crate) fn first(&self, service: ServiceName, action: &str) -> Outcome<usize> {
        let entries = self.cloud.journal.entries();
        let found =
            entries.iter().position(|entry| entry.service == service && entry.action.contains(action));
        found.ok_or_else(|| format!("{service:?} was never asked for {action}").into())
    }

    /// Returns the end of the guest's journal and of the cloud's, to find the reason for a failure.
    pub(crate) async fn report(&self) -> String {
        let tail = TAIL.to_string();
        let journal = self.disk.journal(&["--output=short-monotonic", "--lines", &tail]).await;
        let mut text =
            format!("--- the guest's journal\n{}", journal.unwrap_or_else(|error| error.to_string()));
        let entries = self.cloud.journal.entries();
        text.push_str("--- the cloud's journal\n");
        for entry in entries.iter().skip(entries.len().saturating_sub(TAIL)) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:?} {} {:?}", entry.service, entry.action, entry.status);
        }
        let _ = write!(text, "--- record sets {:?}\n--- entries {:?}", self.records(), self.entries());
        text
    }
}

/// Makes the disk of a host: it trusts the cloud, has install.sh, and what the stand-in of BBB's installer needs.
async fn installable(world: &World, cloud: &Cloud, host: &Host) -> Outcome<Disk> {
    let disk = Disk::new(world).await?;
    let authority = cloud.authority().ok_or("the cloud has no certificate authority")?;
    disk.trust(authority.pem()).await?;
    disk.write(
        INSTALLER,
        &std::fs::read_to_string(world.releases.join(cloud::LATEST).join("install.sh"))?,
        0o755,
    )?;
    for file in [host.files.overrides(), host.files.defaults()] {
        let name = file.file_name().ok_or("a property file without a name")?.to_string_lossy();
        disk.write(&format!("/opt/bigbluebutton/{name}"), &std::fs::read_to_string(&file)?, 0o600)?;
    }
    Ok(disk)
}

/// Returns the reference to Scalelite's secret, quoted for a shell.
fn secret_reference() -> String {
    format!("'secretsmanager:{SCALELITE_SECRET_ID}#{SCALELITE_SECRET_KEY}'")
}

/// Gives a variable of a shell script this value, in the line that sets it.
fn fill(script: &str, variable: &str, value: &str) -> Outcome<String> {
    let begin = format!("{variable}=");
    let line = script.lines().find(|line| line.starts_with(&begin));
    let line = line.ok_or_else(|| format!("UserData has no variable {variable}"))?;
    Ok(script.replacen(line, &format!("{begin}{value}"), 1))
}
