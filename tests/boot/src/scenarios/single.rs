//! A single server: without Scalelite, with a fixed name and a volume for its recordings. When its instance has died,
//! the next one takes over both.

use sandbox::cloud::HostOptions;
use sandbox::fleet::InstanceFacts;
use sandbox::http::ServiceName::{Ec2, Route53, Scalelite};

use crate::guest::{Guest, until};
use crate::stage::Stage;
use crate::volume::Volume;
use crate::world::{self, GUEST};
use crate::{Outcome, ensure};

const VOLUME: &str = "vol-0123456789abcdef0";
const RECORDING: &str = "/var/bigbluebutton/published/presentation/183f0bf3a0982a12-1700000000000";
/// EC2 is asked again soon, so that nobody has to wait.
const SETTINGS: &str = "'bbb.addresses=repair sweep.pause=1'";
/// The questions to EC2 about an instance that has an IPv4 and an IPv6 address at its name: who it is, and who has each
/// address now. All that twice.
const QUESTIONS: usize = 2 * 3;

/// Checks the first instance of a single server, and that another one takes its name and its volume over when it has
/// died, and not before.
pub(super) async fn replaced(stage: &Stage<'_>) -> Outcome {
    let volume = Volume::new(VOLUME).await?;
    stage.cloud.fleet.add_volume(VOLUME);
    stage.shipped_with(&[("data_volume", VOLUME), ("settings", SETTINGS)])?;
    dies(stage, &volume).await?;
    // All guests have the same private address.
    let facts = InstanceFacts { local_ipv4: Some(GUEST), ..HostOptions::numbered(20).facts };
    let heir = stage.replaced(facts).await?;
    match succeeds(&heir, stage, &volume).await {
        Ok(()) => Ok(()),
        // The runner reports what is on the other disk.
        Err(error) => Err(format!("{error}\n{}", heir.report().await).into()),
    }
}

/// Has the first instance serve, and then lose its power, with everything in place.
async fn dies(host: &Stage<'_>, volume: &Volume) -> Outcome {
    let guest = host.boot().await?;
    gets(host, volume, &guest).await?;
    in_order(host, &guest).await?;
    let script =
        "mkdir -p $0 && echo slides >$0/metadata.xml && chown -R bigbluebutton: /var/bigbluebutton/published";
    guest.run("/bin/sh", &["-ec", script, RECORDING]).await?;
    guest.power_cut().await?;
    host.cloud.fleet.shut_down(host.host.id())?;
    host.has_name()
}

/// Launches the next instance while the former one is about to be gone, and checks that it has all of it later.
async fn succeeds(host: &Stage<'_>, former: &Stage<'_>, volume: &Volume) -> Outcome {
    // BBB's user has another number on each host.
    world::run("chroot", &[&host.disk.root().display().to_string(), "useradd", "--system", "another"])
        .await?;
    let guest = host.boot().await?;
    let said = async || host.disk.journal(&["--output=cat", "--unit=cloud-final.service"]).await;
    let refused =
        async || Ok(said().await?.contains("is not attached yet: ") && said().await?.contains("VolumeInUse"));
    until("EC2 keeps the volume for the former instance", refused).await?;
    former.has_name()?;
    host.cloud.journal.clear();
    host.cloud.fleet.finish_termination(former.host.id())?;
    gets(host, volume, &guest).await?;
    let count = |service, action| host.cloud.journal.count(service, action);
    let (asked, changed) = (count(Ec2, "DescribeInstances"), count(Route53, "ChangeResourceRecordSets"));
    ensure(asked >= QUESTIONS && changed == 1, || {
        format!("EC2 was asked {asked} times, and the name was changed {changed} times")
    })?;
    let records = host.records();
    let of = |id| records.iter().any(|record| record.contains(id));
    ensure(of(host.host.id()) && !of(former.host.id()), || {
        format!("the name is somebody else's: {records:?}")
    })?;
    in_order(host, &guest).await?;
    let file = format!("{RECORDING}/metadata.xml");
    let text = guest.run("cat", &[&file]).await?;
    let owner = guest.run("stat", &["--format=%U", &file]).await?;
    ensure(text == "slides\n" && owner == "bigbluebutton\n", || format!("{file} of {owner} has {text}"))?;
    guest.power_off().await?;
    host.gone()
}

/// Gives the volume to the host when EC2 has attached it to its instance; returns when UserData has run to its end.
async fn gets(host: &Stage<'_>, volume: &Volume, guest: &Guest) -> Outcome {
    let attached =
        async || Ok(host.cloud.fleet.volume_at(VOLUME).is_some_and(|instance| instance == host.host.id()));
    until("the volume is attached", attached).await?;
    volume.plug(guest).await?;
    guest.reaches("cloud-final.service", "active").await
}

/// Checks that the host has its fixed name and its volume, is registered, and has nothing to do with Scalelite.
async fn in_order(host: &Stage<'_>, guest: &Guest) -> Outcome {
    host.has_name()?;
    let called = guest.run("hostname", &[]).await?;
    ensure(called.trim() == host.name(), || format!("the host is called {called}"))?;
    let mounted =
        guest.run("findmnt", &["--noheadings", "--output=SOURCE,FSTYPE", "/var/bigbluebutton"]).await?;
    ensure(mounted.starts_with("/dev/loop") && mounted.contains("ext4"), || format!("mounted is {mounted}"))?;
    let says = async || Ok(guest.unit("bbb-agent.service", "StatusText").await? == "registered");
    until("the service says that it is registered", says).await?;
    for command in ["status", "check"] {
        let (code, said) = guest.ends("bbb-agent", &[command]).await?;
        ensure(code == 0, || format!("{command} ended with {code}:\n{said}"))?;
    }
    let calls = host.cloud.journal.count(Scalelite, "");
    ensure(calls == 0 && host.entries().is_empty(), || format!("Scalelite was asked {calls} times"))
}
