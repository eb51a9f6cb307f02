//! One certificate for a whole fleet: it comes from its secret to the servers on the host, and follows that secret.

use std::fmt::Write as _;

use crate::guest::{Guest, until};
use crate::stage::Stage;
use crate::{Outcome, ensure};

pub(super) const SECRET: &str = "fleet-certificate";
const SOCKET: &str = "bbb-agent-certificate.socket";
const CERTS: &str = "/local/certs";

/// A server that reads the certificate when it starts and when it is told to.
const HAPROXY: &str = "[Service]
ExecStart=/bin/sh -c 'cp /etc/haproxy/certbundle.pem /run/haproxy.read; exec sleep infinity'
ExecReload=/bin/sh -c 'cp /etc/haproxy/certbundle.pem /run/haproxy.read; echo >>/run/haproxy.reloads'
";

/// What a helper that was taken over would try, each with the words before its result.
const TAKEN_OVER: &str = r#"[Service]
ExecStart=
ExecStart=/bin/sh -c 'exec 2>&1; \
    echo "uid: $$(id --user)"; \
    echo "capabilities: $$(sed -n "s/^CapEff:.//p" /proc/self/status)"; \
    for file in /x /etc/x /run/x /local/x /local/certs/fullchain.pem /etc/haproxy/certbundle.pem /var/lib/bbb-agent/x \
        /etc/bbb-agent/config.toml; do \
        sh -c "echo >>$$file" && echo "wrote: $$file"; done; \
    ln -sf /etc/shadow /var/lib/bbb-agent-certificate/bundle.pem && echo "its own: written"; \
    curl --silent --unix-socket /run/dbus/system_bus_socket http://bus/; echo "bus: $$?"; \
    curl --silent http://169.254.169.254/; echo "network: $$?"'
ExecStart=+/usr/lib/bbb-agent/use-certificate bbb-agent
"#;
/// The drop-in that has the helper do it.
const DROP_IN: &str = "/run/systemd/system/bbb-agent-certificate@.service.d/taken-over.conf";

/// Checks that the certificate reaches the servers' files, with the right groups, and that those that run read it; that
/// nothing happens while it stays the same; and what the process that does so cannot do.
pub(super) async fn follows(stage: &Stage<'_>) -> Outcome {
    let settings = format!("[tls]\ncertificate = \"secretsmanager:{SECRET}\"\n");
    stage.disk.write("/etc/bbb-agent/config.d/certificate.toml", &settings, 0o644)?;
    stage.disk.write("/etc/systemd/system/haproxy.service", HAPROXY, 0o644)?;
    let first = renew(stage)?;
    let guest = stage.installed().await?;
    has(&guest, &first, "root").await?;
    // Servers are installed after it has come.
    for group in ["haproxy", "turnserver"] {
        guest.run("groupadd", &["--system", group]).await?;
    }
    guest.run("/bin/sh", &["-c", "mkdir -p /etc/haproxy && echo old >/etc/haproxy/certbundle.pem"]).await?;
    guest.run("systemctl", &["start", "haproxy.service"]).await?;
    look(&guest).await?;
    has(&guest, &first, "turnserver").await?;
    reads(&guest, &first, 1).await?;
    let second = renew(stage)?;
    look(&guest).await?;
    has(&guest, &second, "turnserver").await?;
    reads(&guest, &second, 2).await?;
    // The same again is nothing.
    look(&guest).await?;
    reads(&guest, &second, 2).await?;
    let nginx = guest.run("cat", &["/run/nginx.read"]).await?;
    ensure(nginx == second.concat(), || format!("nginx has read {nginx}"))?;
    taken_over(&guest, &second).await?;
    guest.power_off().await
}

/// Puts another certificate into the secret; returns it, and its key.
pub(super) fn renew(stage: &Stage<'_>) -> Outcome<[String; 2]> {
    let authority = stage.cloud.authority().ok_or("the cloud has no certificate authority")?;
    let issued = authority.issue(&[format!("*.{}", stage.cloud.zone_name)])?;
    // As the console of Secrets Manager stores it.
    stage.cloud.secrets.put(SECRET, &issued.concat().replace('\n', " "));
    Ok(issued.map(|text| text.replace("\r\n", "\n")))
}

/// Has the service look at the secret, and returns when the helper has ended.
async fn look(guest: &Guest) -> Outcome {
    let accepted = async || -> Outcome<u32> { Ok(guest.unit(SOCKET, "NAccepted").await?.parse()?) };
    let before = accepted().await?;
    guest.run("systemctl", &["kill", "--signal=USR1", "bbb-agent.service"]).await?;
    let ended = async || Ok(accepted().await? > before && guest.unit(SOCKET, "NConnections").await? == "0");
    until("the helper has ended", ended).await
}

pub(super) async fn has(guest: &Guest, wanted: &[String; 2], group: &str) -> Outcome {
    let pair = format!("cat {CERTS}/fullchain.pem {CERTS}/privkey.pem");
    let there = async || Ok(guest.ends("/bin/sh", &["-c", &pair]).await?.1 == wanted.concat());
    until("the certificate is in place", there).await?;
    let mut access = String::new();
    for file in ["fullchain.pem", "privkey.pem"] {
        access += &guest.run("stat", &["--format=%U:%G:%a", &format!("{CERTS}/{file}")]).await?;
    }
    let mut expected = String::new();
    for _ in 0..2 {
        writeln!(expected, "root:{group}:640")?;
    }
    ensure(access == expected, || format!("the files are {access}"))
}

/// Checks that HAProxy has read the certificate, after so many reloads.
async fn reads(guest: &Guest, wanted: &[String; 2], reloads: usize) -> Outcome {
    let read = guest.run("cat", &["/run/haproxy.read"]).await?;
    ensure(read == wanted.concat(), || format!("HAProxy has read {read}"))?;
    let access = guest.run("stat", &["--format=%U:%G:%a", "/etc/haproxy/certbundle.pem"]).await?;
    ensure(access == "root:haproxy:640\n", || format!("HAProxy's file is {access}"))?;
    let said = guest.run("cat", &["/run/haproxy.reloads"]).await?;
    ensure(said.lines().count() == reloads, || format!("{} reloads, not {reloads}", said.lines().count()))
}

/// Checks what the helper can write, and that root follows no link of it.
async fn taken_over(guest: &Guest, kept: &[String; 2]) -> Outcome {
    let script = format!("mkdir -p ${{0%/*}} && cat >$0 <<'END'\n{TAKEN_OVER}END\nsystemctl daemon-reload");
    guest.run("/bin/sh", &["-c", &script, DROP_IN]).await?;
    let ask =
        ["--http0.9", "--silent", "--max-time", "20", "--unix-socket", "/run/bbb-agent-certificate.sock"];
    let (_, said) = guest.ends("curl", &[&ask[..], &["http://certificate/"]].concat()).await?;
    // curl's exit code 7: it could not connect.
    let wanted =
        ["its own: written", "capabilities: 0000000000000000", "network: 7", "cannot read /var/lib/"];
    for words in wanted {
        ensure(said.contains(words), || format!("{words:?} is not in what the helper could do:\n{said}"))?;
    }
    for words in ["uid: 0\n", "wrote: ", "bus: 0"] {
        ensure(!said.contains(words), || format!("{words:?} is in what the helper could do:\n{said}"))?;
    }
    let owner = guest.run("stat", &["--format=%U:%a", "/run/bbb-agent-certificate.sock"]).await?;
    ensure(owner == "bbb-agent:600\n", || format!("a certificate can be put into place by {owner}"))?;
    has(guest, kept, "turnserver").await
}
