//! A host that is stopped overnight and started with another address: its BBB still announces the old one.

use std::path::Path;

use crate::guest::until;
use crate::stage::Stage;
use crate::{Outcome, ensure};

/// The files of a BBB 3.0 with LiveKit behind NAT, as bbb-install leaves them, with their addresses.
const FILES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../agents/clients/tests/cases/addresses/bbb-3.0");
const PUBLIC: &str = "203.0.113.10";
const PRIVATE: &str = "10.0.0.5";
const NEW: &str = "203.0.113.99";
const UNIT: &str = "bbb-agent.service";

/// Checks that the host does not join while its BBB announces another address, though only root may read the files, and
/// joins as soon as they are right.
pub(super) async fn started_elsewhere(stage: &Stage<'_>) -> Outcome {
    announce(stage, PUBLIC)?;
    let guest = stage.installed().await?;
    guest.power_off().await?;
    stage.gone()?;
    stage.cloud.imds.update(|facts| facts.public_ipv4 = NEW.parse().ok())?;
    let guest = stage.boot().await?;
    guest.reaches(UNIT, "active").await?;
    stage.has_name()?;
    let wanted =
        format!("not joining Scalelite: BBB announces {PUBLIC}, the host has {NEW} (external_rtp_ip in ");
    let says = async || Ok(guest.unit(UNIT, "StatusText").await?.contains(&wanted));
    until("the host says that its BBB announces another address", says).await?;
    let (code, said) = guest.ends("bbb-agent", &["check"]).await?;
    ensure(code == 1 && said.contains("and 13 more places"), || format!("check ended with {code}: {said}"))?;
    let entries = stage.entries();
    ensure(entries.is_empty(), || format!("Scalelite has {entries:?}"))?;
    announce(stage, NEW)?;
    stage.joined().await?;
    guest.power_off().await?;
    stage.gone()
}

/// Writes the files with this public address; only root may read them, or enter their directory.
fn announce(stage: &Stage<'_>, address: &str) -> Outcome {
    let private = stage.cloud.imds.facts().and_then(|facts| facts.local_ipv4).ok_or("no private address")?;
    for path in [
        "/opt/freeswitch/etc/freeswitch/vars.xml",
        "/opt/freeswitch/etc/freeswitch/sip_profiles/external.xml",
        "/usr/share/bigbluebutton/nginx/sip.nginx",
        "/lib/systemd/system/dummy-nic.service",
        "/etc/bigbluebutton/bbb-webrtc-sfu/production.yml",
        "/etc/bigbluebutton/livekit.yaml",
        "/etc/turnserver.conf",
        "/etc/iptables/rules.v4",
    ] {
        let text = std::fs::read_to_string(Path::new(FILES).join(path.trim_start_matches('/')))?;
        let text = text.replace(PUBLIC, address).replace(PRIVATE, &private.to_string());
        stage.disk.write(path, &text, 0o600)?;
    }
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    Ok(std::fs::set_permissions(stage.disk.path("/opt/freeswitch/etc/freeswitch"), closed)?)
}
