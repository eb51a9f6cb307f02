//! A host that is stopped overnight and started with another address: its BBB still announces the old one.

use std::path::Path;

use sandbox::fleet::LifecycleState;

use crate::guest::{Guest, until};
use crate::stage::{Stage, WITHOUT_CLI};
use crate::{Outcome, ensure};

/// The files of a BBB 3.0 with LiveKit behind NAT, as bbb-install leaves them, with their addresses.
const FILES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../agents/clients/tests/cases/addresses/bbb-3.0");
const PUBLIC: &str = "203.0.113.10";
const PRIVATE: &str = "10.0.0.5";
const NEW: &str = "203.0.113.99";
const LATE: &str = "203.0.113.7";
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

/// The programs that read the files; each keeps what it has read at its start.
const PROGRAMS: [(&str, &str); 4] = [
    ("freeswitch", "/opt/freeswitch/etc/freeswitch/vars.xml"),
    ("bbb-webrtc-sfu", "/etc/bigbluebutton/bbb-webrtc-sfu/production.yml"),
    ("livekit-server", "/etc/bigbluebutton/livekit.yaml"),
    ("coturn", "/etc/turnserver.conf"),
];

/// What a repair that was taken over would try, each with the words before its result.
const TAKEN_OVER: &str = r#"[Service]
ExecStart=
ExecStart=/bin/sh -c 'exec 2>&1; \
    echo "uid: $$(id --user)"; \
    for file in /x /etc/x /etc/shadow /etc/bigbluebutton/x /lib/systemd/system/x.service /opt/freeswitch/etc/freeswitch/x \
        /usr/bin/bbb-agent /etc/bbb-agent/config.toml /var/lib/bbb-agent/x; do \
        sh -c "echo >>$$file" && echo "wrote: $$file"; done; \
    echo by-the-repair >>/etc/turnserver.conf && echo "its own: written"; \
    mv /etc/turnserver.conf /etc/turnserver.old && echo "wrote: a directory"; \
    curl --silent --unix-socket /run/dbus/system_bus_socket http://bus/; echo "bus: $$?"; \
    systemctl restart freeswitch && echo "wrote: a unit"'
"#;
/// The drop-in that has the repair do it.
const DROP_IN: &str = "/run/systemd/system/bbb-agent-addresses@.service.d/taken-over.conf";

/// Checks that a host which is started with another address sets its BBB right and joins, in root's files, on `lo`, in
/// the packet filter and in the programs; and what the process that does so cannot do.
pub(super) async fn repaired(stage: &Stage<'_>) -> Outcome {
    announce(stage, PUBLIC)?;
    programs(stage)?;
    stage.disk.write("/etc/bbb-agent/config.d/addresses.toml", "[bbb]\naddresses = \"repair\"\n", 0o644)?;
    let guest = stage.installed().await?;
    guest.power_off().await?;
    stage.gone()?;
    stage.cloud.imds.update(|facts| facts.public_ipv4 = NEW.parse().ok())?;
    let guest = stage.boot().await?;
    stage.joined().await?;
    stage.has_name()?;
    let lo = guest.run("ip", &["-4", "-oneline", "address", "show", "dev", "lo"]).await?;
    ensure(lo.contains(NEW) && !lo.contains(PUBLIC), || format!("lo has {lo}"))?;
    let rules = guest.run("iptables-save", &["-t", "nat"]).await?;
    let kept = rules.contains("192.0.2.1/32") && rules.contains("192.0.2.2/32");
    ensure(kept && rules.contains(NEW) && !rules.contains(PUBLIC), || format!("the rules are {rules}"))?;
    for (program, file) in PROGRAMS {
        let read = guest.run("cat", &[&format!("/run/{program}.read")]).await?;
        let now = guest.run("cat", &[file]).await?;
        ensure(read == now && now.contains(NEW), || format!("{program} has read {read}"))?;
        let mode = guest.run("stat", &["--format=%U:%a", file]).await?;
        ensure(mode == "root:600\n", || format!("{file} is {mode}"))?;
    }
    let (code, said) = guest.ends("bbb-agent", &["check"]).await?;
    ensure(code == 0 && said.contains("this host's address is announced"), || format!("{code}: {said}"))?;
    elastic_ip(stage, &guest).await?;
    taken_over(&guest).await?;
    guest.power_off().await?;
    stage.gone()
}

/// Checks that a host which gets an Elastic IP while it serves takes no new meetings until its BBB announces it.
async fn elastic_ip(stage: &Stage<'_>, guest: &Guest) -> Outcome {
    stage.cloud.journal.clear();
    stage.cloud.imds.update(|facts| facts.public_ipv4 = LATE.parse().ok())?;
    guest.run("systemctl", &["kill", "--signal=USR1", UNIT]).await?;
    let vars = "/opt/freeswitch/etc/freeswitch/vars.xml";
    until("BBB announces the Elastic IP", async || Ok(guest.run("cat", &[vars]).await?.contains(LATE)))
        .await?;
    until("the host says so", async || Ok(guest.unit(UNIT, "StatusText").await? == "registered")).await?;
    stage.joined().await?;
    stage.has_name()?;
    let changes = stage.changes_in_scalelite();
    ensure(changes == ["updateServer", "updateServer"], || {
        format!("it was to be cordoned and enabled again: {changes:?}")
    })
}

/// Checks that a host of a stopped warm pool, which is installed at one address and taken into service at another, is
/// registered only then, with a BBB that announces it.
pub(super) async fn out_of_the_warm_pool(stage: &Stage<'_>) -> Outcome {
    announce(stage, PUBLIC)?;
    programs(stage)?;
    stage.disk.write("/etc/bbb-agent/config.d/addresses.toml", "[bbb]\naddresses = \"repair\"\n", 0o644)?;
    let id = stage.cloud.imds.instance().to_owned();
    stage.cloud.fleet.set_lifecycle_state(&id, LifecycleState::WarmedPending)?;
    let user_data = format!("{WITHOUT_CLI}{}\n", stage.install(&[]).join(" "));
    stage.cloud.imds.update(|facts| facts.user_data = Some(user_data))?;
    let guest = stage.boot().await?;
    guest.reaches("cloud-final.service", "active").await?;
    // Such a host has BBB in its image: it gets no certificate before it has a name.
    let bbb =
        "mkdir -p /local/certs && cd /local/certs && touch fullchain.pem privkey.pem && install-bbb -d -s $0";
    guest.run("/bin/sh", &["-c", bbb, &stage.name()]).await?;
    let waits = ["status", "--wait-for", "registered", "--timeout", "20"];
    let (code, said) = guest.ends("bbb-agent", &waits).await?;
    ensure(code == 6, || format!("a host of the warm pool is not meant to be registered: {code}: {said}"))?;
    stage.gone()?;
    stage.cloud.fleet.set_lifecycle_state(&id, LifecycleState::WarmedStopped)?;
    guest.power_off().await?;
    stage.gone()?;
    stage.cloud.fleet.set_lifecycle_state(&id, LifecycleState::InService)?;
    stage.cloud.imds.update(|facts| facts.public_ipv4 = NEW.parse().ok())?;
    let guest = stage.boot().await?;
    stage.joined().await?;
    stage.has_name()?;
    let text = guest.run("cat", &["/etc/turnserver.conf"]).await?;
    ensure(text.contains(NEW) && !text.contains(PUBLIC), || format!("coturn's settings are:\n{text}"))?;
    guest.power_off().await?;
    stage.gone()
}

/// Checks what the repair can write: its files, and nothing else.
async fn taken_over(guest: &Guest) -> Outcome {
    let script = format!("mkdir -p ${{0%/*}} && cat >$0 <<'END'\n{TAKEN_OVER}END\nsystemctl daemon-reload");
    guest.run("/bin/sh", &["-c", &script, DROP_IN]).await?;
    let ask = ["--http0.9", "--silent", "--max-time", "20", "--unix-socket", "/run/bbb-agent-addresses.sock"];
    let (_, said) = guest.ends("curl", &[&ask[..], &["http://addresses/"]].concat()).await?;
    // curl's exit code 7: it could not connect.
    for words in ["its own: written", "bus: 7"] {
        ensure(said.contains(words), || format!("{words:?} is not in what the repair could do:\n{said}"))?;
    }
    for words in ["uid: 0\n", "wrote: "] {
        ensure(!said.contains(words), || format!("{words:?} is in what the repair could do:\n{said}"))?;
    }
    let owner = guest.run("stat", &["--format=%U:%a", "/run/bbb-agent-addresses.sock"]).await?;
    ensure(owner == "bbb-agent:600\n", || format!("a repair can be asked for by {owner}"))
}

/// Writes units that stand for the programs, and one that loads the packet filter's rules at boot and adds another.
fn programs(stage: &Stage<'_>) -> Outcome {
    let enabled = |unit: &str| {
        let wants = stage.disk.path("/etc/systemd/system/multi-user.target.wants");
        std::fs::create_dir_all(&wants)?;
        std::os::unix::fs::symlink(format!("/lib/systemd/system/{unit}"), wants.join(unit))
    };
    for (program, file) in PROGRAMS {
        let text = format!(
            "[Service]\nExecStart=/bin/sh -c 'cp {file} /run/{program}.read; exec sleep infinity'\n\
             [Install]\nWantedBy=multi-user.target\n"
        );
        stage.disk.write(&format!("/lib/systemd/system/{program}.service"), &text, 0o644)?;
        enabled(&format!("{program}.service"))?;
    }
    let filter = "[Service]\nType=oneshot\nExecStart=/usr/sbin/iptables-restore /etc/iptables/rules.v4\n\
                  ExecStart=/usr/sbin/iptables -t nat -A OUTPUT -d 192.0.2.2/32 -j ACCEPT\n\
                  [Install]\nWantedBy=multi-user.target\n";
    stage.disk.write("/lib/systemd/system/packet-filter.service", filter, 0o644)?;
    enabled("packet-filter.service")?;
    Ok(enabled("dummy-nic.service")?)
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
