//! The control: a host with a wrong unit. If the checks did not notice, they would prove nothing elsewhere.

use crate::stage::Stage;
use crate::{Outcome, ensure};

const UNIT: &str = "bbb-agent.service";
const NETWORK: &str = "guest-network.service";

/// Stops the network before the agent: the agent cannot undo anything, and its remains are seen in the cloud.
pub(super) async fn loses_the_network(stage: &Stage<'_>) -> Outcome {
    let guest = stage.installed().await?;
    // A drop-in cannot take back a unit's ordering, so a complete unit is written, without it and with the opposite.
    let shipped = guest.run("cat", &["/usr/lib/systemd/system/bbb-agent.service"]).await?;
    let mut unit = String::new();
    for line in shipped.lines().filter(|line| !line.starts_with("After=")) {
        unit += line;
        unit += if line == "[Unit]" { "\nBefore=guest-network.service\n" } else { "\n" };
    }
    ensure(shipped.contains("\nAfter=network-online.target"), || {
        "the shipped unit is not ordered".to_owned()
    })?;
    stage.disk.write(&format!("/etc/systemd/system/{UNIT}"), &unit, 0o644)?;
    guest.run("systemctl", &["daemon-reload"]).await?;
    // The agent tries for this long, in vain.
    stage.disk.write("/etc/bbb-agent/config.d/60-impatient.toml", "timeouts.deregister = 3\n", 0o644)?;
    guest.run("systemctl", &["reload", "bbb-agent"]).await?;
    let order = guest.unit(UNIT, "Before").await?;
    ensure(order.contains(NETWORK), || format!("the unit is before {order}"))?;
    let entry = stage.entry()?;
    guest.power_off().await?;
    ensure(stage.gone().is_err(), || "nothing was left behind, although the network was gone".to_owned())?;
    stage.has_name()?;
    let left = stage.entry()?;
    ensure(left == entry, || format!("{entry:?} became {left:?} without a network"))
}
