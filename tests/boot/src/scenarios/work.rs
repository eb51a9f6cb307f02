//! Scenarios with users on the host.

use sandbox::fleet::LifecycleState;
use sandbox::scalelite::ServerState;

use crate::guest::until;
use crate::stage::Stage;
use crate::{Outcome, ensure};

/// Checks scale-in: the group spares the host as long as it is busy. When the group ends it all the same, no meeting
/// is ended.
pub(super) async fn scale_in(stage: &Stage<'_>) -> Outcome {
    let guest = stage.installed().await?;
    let fleet = &stage.cloud.fleet;
    let member = || {
        let found = fleet.membership(stage.cloud.imds.instance());
        found.map(|(_, member)| member).ok_or("the host is in no group")
    };
    stage.meet("room")?;
    until("the host is protected", async || Ok(member()?.protected)).await?;
    let chosen = fleet.scale_in(&stage.cloud.group)?;
    ensure(chosen.is_none(), || format!("{chosen:?} was chosen although it is busy"))?;

    fleet.terminate(stage.cloud.imds.instance())?;
    until("the entry is cordoned", async || Ok(stage.entry()?.state == ServerState::Cordoned)).await?;
    guest.reaches("bbb-agent.service", "active").await?;
    until("the agent says that it drains", async || {
        Ok(stage.disk.journal(&["--output=cat", "STATE=draining"]).await?.contains("draining"))
    })
    .await?;
    stage.goes_on("room")?;
    stage.has_name()?;
    let held = member()?.state;
    ensure(held == LifecycleState::TerminatingWait, || format!("the group went on without it: {held:?}"))?;

    stage.cloud.bbb.end_meeting("room");
    until("the group goes on", async || Ok(member()?.state == LifecycleState::TerminatingProceed)).await?;
    stage.gone()?;
    fleet.shut_down(stage.cloud.imds.instance())?;
    guest.power_off().await?;
    stage.gone()
}
