//! The ends of a host: what is undone depends on how it ends.

use sandbox::http::ServiceName::{Imds, Route53};
use sandbox::scalelite::ServerState;

use super::first::BBB_IS_INSTALLED;
use crate::stage::Stage;
use crate::{Outcome, ensure};

/// Checks that a power-off leaves nothing behind.
pub(super) async fn power_off(stage: &Stage<'_>) -> Outcome {
    let guest = stage.installed().await?;
    stage.meet("room")?;
    guest.power_off().await?;
    stage.gone()?;
    // Scalelite has ended the meeting through the host's nginx, which was still running.
    ensure(stage.cloud.bbb.meeting("room").is_none(), || "the meeting has not been ended".to_owned())
}

/// Checks that a reboot keeps the name and takes the entry out, so that no meeting is placed on the host meanwhile,
/// and that the entry comes back with the tag that an operator had given to it.
pub(super) async fn reboot(stage: &Stage<'_>) -> Outcome {
    let guest = stage.installed().await?;
    stage.meet("room")?;
    let records = stage.records();
    stage.cloud.scalelite.set_tag(&stage.entry()?.id, Some("big"));
    stage.cloud.journal.clear();
    let away = async || {
        let entries = stage.cloud.scalelite.servers();
        ensure(entries.is_empty(), || format!("Scalelite still has {entries:?}"))?;
        ensure(stage.cloud.bbb.meeting("room").is_none(), || "the meeting has not been ended".to_owned())
    };
    let guest = guest.reboot(stage.world, &stage.disk, away).await?;
    stage.joined().await?;
    let (after, changed) = (stage.entry()?, stage.cloud.journal.count(Route53, "ChangeResourceRecordSets"));
    ensure(after.tag.as_deref() == Some("big"), || format!("the entry has lost its tag: {after:?}"))?;
    ensure(stage.records() == records && changed == 0, || {
        format!("the name was changed: {:?}", stage.records())
    })?;
    guest.reaches("cloud-final.service", "active").await?;
    let installed = stage.cloud.journal.count(Imds, BBB_IS_INSTALLED);
    ensure(installed == 0, || "UserData ran once more".to_owned())?;
    guest.power_off().await?;
    stage.gone()
}

/// Checks that a power cut undoes nothing, and that the next boot repairs everything although EC2 has given the host
/// another address meanwhile.
pub(super) async fn power_cut(stage: &Stage<'_>) -> Outcome {
    let guest = stage.installed().await?;
    let before = stage.entry()?;
    guest.power_cut().await?;
    stage.has_name()?;
    let left = stage.entry()?;
    ensure(left == before, || format!("{before:?} became {left:?} by a power cut"))?;
    stage.cloud.imds.update(|facts| facts.public_ipv4 = Some([203, 0, 113, 99].into()))?;
    stage.cloud.scalelite.set_state(&before.id, ServerState::Disabled);
    stage.cloud.journal.clear();
    let guest = stage.boot().await?;
    stage.joined().await?;
    guest.reaches("bbb-agent.service", "active").await?;
    stage.has_name()?;
    let after = stage.entry()?;
    ensure(after.id == before.id, || format!("{before:?} became {after:?}"))?;
    let changes = stage.changes_in_scalelite();
    ensure(changes == ["updateServer"], || format!("Scalelite was asked for {changes:?}"))?;
    guest.power_off().await?;
    stage.gone()
}

/// Checks that the host leaves when an operator stops the service, and joins again when it is started.
pub(super) async fn stop(stage: &Stage<'_>) -> Outcome {
    let guest = stage.installed().await?;
    guest.run("systemctl", &["stop", "bbb-agent"]).await?;
    stage.gone()?;
    guest.run("systemctl", &["start", "bbb-agent"]).await?;
    stage.has_name()?;
    stage.joined().await?;
    guest.power_off().await?;
    stage.gone()
}
