//! The first boot.

use sandbox::http::ServiceName::{Imds, Route53, Scalelite};

use crate::guest::until;
use crate::stage::{Stage, WITHOUT_CLI};
use crate::{Outcome, ensure};

/// The key that only BBB's installer asks for: see `guest/usr/local/sbin/install-bbb`.
pub(super) const BBB_IS_INSTALLED: &str = "public-hostname";

/// Checks the order of a first boot, without the AWS CLI and without snapd, as on Ubuntu 24.04: UserData installs the
/// agent; then BBB is installed, which needs the name; then the host joins, and the stack hears of it.
pub(super) async fn first_boot(stage: &Stage<'_>) -> Outcome {
    stage.shipped()?;
    let stack = &stage.cloud.group;
    stage.cloud.cloudformation.create(stack, "Group");
    let guest = stage.installed().await?;
    stage.has_name()?;
    let (signals, instance) = (stage.cloud.cloudformation.signals(stack), stage.cloud.imds.instance());
    let good = signals.len() == 1 && signals.iter().all(|signal| signal.success && signal.id == instance);
    ensure(good, || format!("the stack has got these signals: {signals:?}"))?;
    let (named, began) =
        (stage.first(Route53, "ChangeResourceRecordSets")?, stage.first(Imds, BBB_IS_INSTALLED)?);
    let joined = stage.first(Scalelite, "addServer")?;
    ensure(named < began && began < joined, || {
        format!("the name, BBB's installation and the joining are requests {named}, {began} and {joined}")
    })?;
    looked_up_when_live(stage)?;
    // Scalelite polls through the host's own nginx, as it does in a real fleet.
    stage.cloud.scalelite.poll().await;
    let entry = stage.entry()?;
    ensure(entry.online && entry.in_placement, || format!("Scalelite gives it no meetings: {entry:?}"))?;
    let hostname = guest.run("hostname", &[]).await?;
    ensure(hostname.trim() == stage.name(), || format!("the host is called {hostname}"))?;
    let (code, status) = guest.ends("bbb-agent", &["status"]).await?;
    ensure(code == 0, || format!("bbb-agent status ended with {code}:\n{status}"))?;
    guest.power_off().await
}

/// Checks that the name was first looked up when it was live: a resolver remembers that a name did not exist.
fn looked_up_when_live(stage: &Stage<'_>) -> Outcome {
    let name = format!("{}.", stage.name());
    let asked: Vec<_> =
        stage.cloud.resolver.queries().into_iter().filter(|query| query.name == name).collect();
    let early = asked.iter().find(|query| query.answer == "NXDOMAIN");
    ensure(!asked.is_empty() && early.is_none(), || format!("the name was looked up like this: {asked:?}"))
}

/// Checks that install.sh gives up in time, says why, and leaves a service that goes on trying and recovers.
pub(super) async fn never_ready(stage: &Stage<'_>) -> Outcome {
    stage.cloud.aws.deny("route53:ChangeResourceRecordSets");
    let user_data = format!(
        "{WITHOUT_CLI}{} || echo \"install.sh ended with $?\"\n",
        stage.install(&["--wait", "10"]).join(" ")
    );
    stage.cloud.imds.update(|facts| facts.user_data = Some(user_data))?;
    let guest = stage.boot().await?;
    guest.reaches("cloud-final.service", "active").await?;
    let said = stage.disk.journal(&["--output=cat", "--unit=cloud-final.service"]).await?;
    for words in
        ["install.sh ended with 1", "is not ready after", "Route 53 ChangeResourceRecordSets", "AccessDenied"]
    {
        ensure(said.contains(words), || format!("{words:?} is not in what UserData printed:\n{said}"))?;
    }
    let state = guest.unit("bbb-agent.service", "ActiveState").await?;
    ensure(state == "activating", || format!("the service is {state}"))?;
    stage.cloud.aws.allow("route53:ChangeResourceRecordSets");
    guest.reaches("bbb-agent.service", "active").await?;
    stage.has_name()?;
    guest.power_off().await?;
    stage.gone()
}

/// Checks that a TURN host has a name and no entry, and that coturn, which its package starts at once, ran only with its
/// settings.
pub(super) async fn turn(stage: &Stage<'_>) -> Outcome {
    stage.shipped()?;
    let guest = stage.installed().await?;
    stage.has_name()?;
    ensure(stage.entries().is_empty(), || "a TURN host is in Scalelite".to_owned())?;
    for (property, expected) in [("ActiveState", "active"), ("UnitFileState", "enabled")] {
        let found = guest.unit("coturn.service", property).await?;
        ensure(found == expected, || format!("coturn's {property} is {found}"))?;
    }
    let said = stage.disk.journal(&["--output=cat", "--unit=coturn.service"]).await?;
    ensure(!said.contains("open relay"), || format!("coturn was open: {said}"))?;
    let (code, status) = guest.ends("turn-agent", &["status"]).await?;
    // The stand-in of coturn does not speak; the service counts its relays in spite of its confinement.
    let says = |words: &str| status.contains(words);
    ensure(code == 4 && says("coturn on this host does not answer") && says(", 0 relays in use"), || {
        format!("turn-agent status ended with {code}:\n{status}")
    })?;
    until("it says that it is registered", async || {
        Ok(guest.unit("turn-agent.service", "StatusText").await?.starts_with("registered"))
    })
    .await?;
    guest.power_off().await?;
    stage.gone()?;
    with_another_address(stage).await
}

/// Checks that a TURN host which is started with another address has its coturn announce that one.
async fn with_another_address(stage: &Stage<'_>) -> Outcome {
    const NEW: &str = "203.0.113.99";
    stage.cloud.imds.update(|facts| facts.public_ipv4 = NEW.parse().ok())?;
    let guest = stage.boot().await?;
    until("it is registered", async || {
        Ok(guest.unit("turn-agent.service", "StatusText").await?.starts_with("registered"))
    })
    .await?;
    stage.has_name()?;
    let settings = guest.run("cat", &["/etc/turnserver.conf"]).await?;
    for line in [format!("external-ip={NEW}\n"), format!("denied-peer-ip={NEW}\n")] {
        ensure(settings.contains(&line), || format!("coturn's settings are:\n{settings}"))?;
    }
    let mode = guest.run("stat", &["--format=%U:%G:%a", "/etc/turnserver.conf"]).await?;
    ensure(mode == "root:turnserver:640\n", || format!("coturn's settings are {mode}"))?;
    let said = stage.disk.journal(&["--output=cat", "--unit=turn-agent.service"]).await?;
    ensure(said.contains("coturn is restarted"), || format!("the agent has said:\n{said}"))?;
    guest.power_off().await?;
    stage.gone()
}
