//! A host that was made from an image of another machine: it becomes itself, with a name, secrets and a certificate of
//! its own, and takes meetings.

use std::path::Path;

use super::certificate;
use crate::guest::{Guest, until};
use crate::stage::Stage;
use crate::{Outcome, cloud, ensure};

/// The files of a BBB that was installed under the name of an image.
const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../agents/clients/tests/cases/image/bbb-3.0");
const BAKE: &str = include_str!("../../../../packaging/image/bake");
const NAME: &str = "bbb-image.invalid";
const SECRET: &str = "SecretOfTheImage0123456789abcdefghijklmn";
const PACKAGE: &str = "/opt/bbb-agent.deb";
/// Where the script is on the disk, for its later runs.
const AGAIN: &str = "/opt/bake";
const NGINX: &str = "/etc/nginx/sites-available/bigbluebutton";
const PROPERTIES: &str = "/etc/bigbluebutton/bbb-web.properties";

/// Checks that an image holds nothing of the machine on which it was baked, and that a host which boots from it with
/// the shipped UserData becomes itself.
pub(super) async fn becomes_itself(stage: &Stage<'_>) -> Outcome {
    let (host, pair) = baked(stage).await?;
    match itself(&host, &pair).await {
        Ok(()) => Ok(()),
        // The runner reports what is on the other disk.
        Err(error) => Err(format!("{error}\n{}", host.report().await).into()),
    }
}

/// Bakes an image, and returns a host that is to be launched from it with the shipped UserData, and the certificate of
/// its fleet with the key.
pub(crate) async fn baked<'a>(stage: &Stage<'a>) -> Outcome<(Stage<'a>, [String; 2])> {
    bake(stage).await?;
    let (host, pair) = (stage.imaged().await?, certificate::renew(stage)?);
    host.shipped_with(&[("bbb_release", "none"), ("certificate", certificate::SECRET)])?;
    host.host.imds.update(|facts| facts.public_ipv4 = "203.0.113.99".parse().ok())?;
    Ok((host, pair))
}

/// Switches such a host on; returns when it is enabled in Scalelite, with the secret that its BBB has given itself.
pub(crate) async fn launched(host: &Stage<'_>) -> Outcome<(Guest, String)> {
    let guest = host.boot().await?;
    let secret = secret_of(&guest).await?;
    host.cloud.bbb.set_secret(&secret);
    host.joined().await?;
    Ok((guest, secret))
}

/// Launches the host, and checks that it is nobody but itself.
async fn itself(host: &Stage<'_>, pair: &[String; 2]) -> Outcome {
    let (guest, secret) = launched(host).await?;
    host.has_name()?;
    let entry = host.entry()?;
    ensure(entry.secret.expose() == secret, || "Scalelite has another secret than the host".to_owned())?;
    let text = guest.run("cat", &[NGINX]).await?;
    let names = text.matches(&format!("server_name {};", host.name())).count();
    ensure(names == 2, || format!("nginx has:\n{text}"))?;
    certificate::has(&guest, pair, "root").await?;
    refuses(&guest, "bbb-agent looks after this host").await?;
    let (code, said) = guest.ends("bbb-agent", &["check"]).await?;
    ensure(code == 0, || format!("check ended with {code}: {said}"))?;
    guest.reaches("cloud-final.service", "active").await?;
    let journal = host.disk.journal(&[]).await?;
    ensure(![SECRET, &secret].iter().any(|secret| journal.contains(secret)), || journal)?;
    guest.power_off().await?;
    host.gone()
}

/// Bakes an image on the stage's disk, as UserData of a machine that is in no fleet.
async fn bake(stage: &Stage<'_>) -> Outcome {
    for path in plan::image::FILES {
        if let Ok(text) = std::fs::read_to_string(Path::new(FILES).join(path.trim_start_matches('/'))) {
            // The installer writes the properties, which only root and its group may read.
            let properties = "/opt/bigbluebutton/bbb-web.properties";
            let (path, mode) = if path == PROPERTIES { (properties, 0o600) } else { (path, 0o640) };
            stage.disk.write(path, &text, mode)?;
        }
    }
    let release = stage.world.releases.join(cloud::LATEST);
    let package = std::fs::read_dir(release)?
        .flatten()
        .map(|file| file.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("bbb-agent_")));
    std::fs::copy(package.ok_or("there is no package of bbb-agent")?, stage.disk.path(PACKAGE))?;
    let script = BAKE.replacen("${agent_package:=}", &format!("${{agent_package:={PACKAGE}}}"), 1);
    stage.disk.write(AGAIN, &script, 0o755)?;
    stage.cloud.imds.update(|facts| facts.user_data = Some(script))?;
    stage.cloud.bbb.set_secret(SECRET);
    let guest = stage.boot().await?;
    guest.reaches("cloud-final.service", "active").await?;
    guest.run("mkdir", &["-p", "/var/bigbluebutton/published/presentation"]).await?;
    refuses(&guest, "there are recordings on this host").await?;
    guest.run("rm", &["-r", "/var/bigbluebutton/published"]).await?;
    let enabled = guest.ends("systemctl", &["is-enabled", "bbb-agent.service"]).await?.1;
    ensure(enabled == "disabled\n", || format!("bbb-agent is {enabled}"))?;
    guest.power_off().await?;
    let text = std::fs::read_to_string(stage.disk.path(PROPERTIES))?;
    ensure(text.contains(NAME), || format!("BBB was installed with {text}"))?;
    for gone in ["/var/lib/cloud/instances", "/var/lib/bbb-agent", "/root/bbb-install.sh"] {
        ensure(!stage.disk.path(gone).exists(), || format!("{gone} is in the image"))?;
    }
    let machine = std::fs::read_to_string(stage.disk.path("/etc/machine-id"))?;
    ensure(machine.is_empty(), || "all hosts would have the same machine id".to_owned())?;
    stage.gone()
}

/// Checks that no image is made of this host, for a reason with these words.
async fn refuses(guest: &Guest, words: &str) -> Outcome {
    let (code, said) = guest.ends(AGAIN, &["--seal"]).await?;
    ensure(code == 1 && said.contains(words), || format!("bake --seal ended with {code}: {said}"))
}

/// Waits until BBB was restarted with its new settings, and returns the secret that it has then.
async fn secret_of(guest: &Guest) -> Outcome<String> {
    let read = async || guest.ends("cat", &["/run/bbb-web.read"]).await;
    until("BBB is restarted", async || Ok(read().await?.0 == 0)).await?;
    let text = read().await?.1;
    let secret = text.lines().find_map(|line| line.strip_prefix("securitySalt=")).unwrap_or_default();
    ensure(secret.len() == 64 && secret != SECRET, || format!("BBB has read:\n{text}"))?;
    Ok(secret.to_owned())
}
