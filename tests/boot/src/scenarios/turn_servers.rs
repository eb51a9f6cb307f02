//! The TURN servers of a fleet: BBB tells its clients their name and their secret, also when the secret has changed.

use serde_json::json;

use crate::guest::{Guest, until};
use crate::stage::Stage;
use crate::{Outcome, ensure};

const FILE: &str = "/etc/bigbluebutton/turn-stun-servers.xml";
/// What BBB has read when it was restarted.
const READ: &str = "/run/turn-servers.read";
const UNIT: &str = "bbb-agent.service";
const SECRET: &str = "Turn";
const OFTEN: &str = "[checks]\nwork = 1\nname = 5\n[scalelite]\npoll_interval = 5\n";

/// Checks that root's file has the present secret and BBB has read it, that a new secret ends no meeting, and that the
/// host is out of Scalelite's way while BBB is restarted.
pub(super) async fn follow(stage: &Stage<'_>) -> Outcome {
    let values = [("turn_server", "turn.example.org"), ("turn_secret", SECRET), ("turn_secret_key", "key")];
    stage.shipped_with(&values)?;
    // Work is counted more often than by default, so that nobody has to wait.
    stage.disk.write("/etc/bbb-agent/config.d/often.toml", OFTEN, 0o644)?;
    stage.cloud.scalelite.add_server(
        "https://neighbour.example.org/bigbluebutton/api",
        "theirs",
        sandbox::scalelite::ServerState::Enabled,
    );
    share(stage, "the-first-secret");
    let guest = stage.boot().await?;
    guest.reaches("cloud-final.service", "active").await?;
    tells(&guest, "the-first-secret").await?;
    stage.cloud.bbb.start_meeting("lesson", 3);
    share(stage, "the-second-secret");
    guest.run("systemctl", &["kill", "--signal=USR1", UNIT]).await?;
    let waits = "with their present secret (/etc/bigbluebutton/turn-stun-servers.xml); setting it right waits for 1 meeting";
    says(&guest, |text| text.starts_with("registered; ") && text.contains(waits)).await?;
    ensure(guest.run("cat", &[FILE]).await?.contains("the-first-secret"), || "it did not wait".to_owned())?;
    stage.cloud.journal.clear();
    stage.cloud.bbb.end_meeting("lesson");
    tells(&guest, "the-second-secret").await?;
    let changes = stage.changes_in_scalelite();
    ensure(changes == ["updateServer", "updateServer"], || {
        format!("it was to be cordoned and enabled again: {changes:?}")
    })?;
    let access = guest.run("stat", &["--format=%U:%G:%a", FILE]).await?;
    ensure(access == "root:bigbluebutton:640\n", || format!("{FILE} is {access}"))?;
    let copies = guest.run("ls", &["/var/lib/bbb-agent-addresses"]).await?;
    ensure(!copies.contains("pending") && !copies.contains("unfinished"), || format!("there are {copies}"))?;
    let journal = stage.disk.journal(&[]).await?;
    ensure(!["the-first-secret", "the-second-secret"].iter().any(|secret| journal.contains(secret)), || {
        journal
    })?;
    guest.power_off().await
}

fn share(stage: &Stage<'_>, secret: &str) {
    stage.cloud.secrets.put(SECRET, &json!({ "key": secret }).to_string());
}

/// Waits until the service's status is such a text.
async fn says(guest: &Guest, is: impl Fn(&str) -> bool) -> Outcome {
    let said = async || Ok(is(&guest.unit(UNIT, "StatusText").await?));
    until("the service says so", said).await
}

/// Waits until BBB has read a file with this secret, and the host takes meetings.
async fn tells(guest: &Guest, secret: &str) -> Outcome {
    let value = format!("value=\"{secret}\"");
    let read = async || Ok(guest.ends("cat", &[READ]).await?.1.contains(&value));
    until("BBB has read the secret", read).await?;
    says(guest, |text| text == "registered").await
}
