//! Recordings leave the host before it goes: the shipped UserData's spool and sender, with stand-ins for what is not to
//! be had here: EFS, which is a directory of the guest, and Scalelite's script.

use sandbox::fleet::LifecycleState;
use sandbox::scalelite::ServerState;

use crate::guest::{Guest, until};
use crate::stage::Stage;
use crate::{Outcome, ensure};

/// The other side: what the file system has, whoever mounts it.
const FILE_SYSTEM: &str = "/srv/efs";
const SPOOL: &str = "/mnt/bbb-recordings";
const SENDER: &str = "/usr/local/bigbluebutton/core/scripts/post_publish/scalelite_post_publish.rb";
const RECORDING: &str = "183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1700000000000";

/// EFS's mount helper, as `mount` calls it: mount.efs FILE_SYSTEM:/ DIRECTORY -o OPTIONS.
const MOUNT_EFS: &str = "#!/bin/sh
set -eu
case $4 in *tls,iam,accesspoint=fsap-*) ;; *) exit 1 ;; esac
exec mount --bind /srv/efs \"$2\"
";

/// The workers of BBB, which the scenario itself plays.
const WORKERS: [&str; 2] = ["bbb-rap-resque-worker", "bbb-rap-starter"];

/// BBB finds the recording `$R`.
const FOUND: &str = "mkdir -p recorded && touch recorded/$R.done";
/// BBB has archived, checked and published it.
const PUBLISHED: &str = "mkdir -p archived sanity published ../../published/presentation/$R && \
    echo slides >../../published/presentation/$R/metadata.xml && touch archived/$R.done sanity/$R.done && \
    rm recorded/$R.done && touch published/$R-presentation.done";

/// Checks that the host stays until its recording is on the other side: while BBB is at work on it, and while the sender
/// fails.
pub(super) async fn arrive(stage: &Stage<'_>) -> Outcome {
    let guest = prepared(stage, "").await?;
    stage.meet("room")?;
    stage.cloud.fleet.terminate(stage.cloud.imds.instance())?;
    until("the entry is cordoned", async || Ok(stage.entry()?.state == ServerState::Cordoned)).await?;
    // The meeting ends, and BBB begins its work on what it has recorded.
    worker(&guest, FOUND).await?;
    stage.cloud.bbb.end_meeting("room");
    says(&guest, "1 to archive").await?;
    is_held(stage)?;
    worker(&guest, PUBLISHED).await?;
    says(&guest, "1 to send").await?;
    is_held(stage)?;

    // The file system takes nothing: BBB would not run the sender again.
    cannot_be_sent(&guest).await?;
    guest.run("systemctl", &["kill", "--signal=USR1", "bbb-agent.service"]).await?;
    says(&guest, "1 to send").await?;
    let (_, status) = guest.ends("bbb-agent", &["status"]).await?;
    ensure(status.contains("1 to send"), || {
        format!("bbb-agent status does not show the recording:\n{status}")
    })?;
    ensure(!arrived(stage), || "the recording has arrived although nothing could be written".to_owned())?;
    is_held(stage)?;

    // An operator repairs that and sends it again.
    guest.run("mount", &["-o", "remount,bind,rw", SPOOL]).await?;
    let (code, said) = send(&guest).await?;
    ensure(code == 0, || format!("the sender ended with {code}: {said}"))?;
    is_let_go(stage).await?;
    let listed = guest.run("tar", &["-tf", &format!("{FILE_SYSTEM}/{RECORDING}.tar")]).await?;
    ensure(listed.contains("metadata.xml"), || format!("the archive has {listed}"))?;
    ends(stage, guest).await?;
    ensure(arrived(stage), || "the recording has gone with the host".to_owned())
}

/// Checks that a recording whose sender has failed is reported, and no longer holds the host, when nobody can be at work
/// on it: none of its files has changed for `recordings.stuck`, and BBB has no jobs.
pub(super) async fn stuck(stage: &Stage<'_>) -> Outcome {
    let guest = prepared(stage, "metrics.interval=10").await?;
    worker(&guest, FOUND).await?;
    worker(&guest, PUBLISHED).await?;
    cannot_be_sent(&guest).await?;
    let shown = async |words: &str| {
        let there = async || Ok(guest.ends("bbb-agent", &["status"]).await?.1.contains(words));
        until(&format!("bbb-agent status shows {words:?}"), there).await
    };
    shown("1 to send").await?;
    let stuck = || {
        let data = stage.cloud.cloudwatch.data().into_iter();
        data.filter(|datum| datum.name == "RecordingsStuck")
            .map(|datum| datum.values.iter().sum::<f64>())
            .next_back()
    };
    ensure(stuck() != Some(1.0), || "it counts as stuck at once".to_owned())?;

    // The default is two hours, for which nobody does anything.
    worker(&guest, "find /var/bigbluebutton/recording -exec touch --date='121 minutes ago' {} +").await?;
    until("CloudWatch hears of it", async || Ok(stuck() == Some(1.0))).await?;
    shown(&format!("stuck before send: {RECORDING}")).await?;
    stage.cloud.fleet.terminate(stage.cloud.imds.instance())?;
    is_let_go(stage).await?;
    ends(stage, guest).await?;
    ensure(!arrived(stage), || "the recording has arrived although nothing could be written".to_owned())
}

/// Has the sender fail, because the file system takes nothing.
async fn cannot_be_sent(guest: &Guest) -> Outcome {
    guest.run("mount", &["-o", "remount,bind,ro", SPOOL]).await?;
    let (code, said) = send(guest).await?;
    ensure(code != 0 && said.contains("Read-only file system"), || {
        format!("the sender ended with {code}: {said}")
    })
}

/// Returns the host's state in its group.
fn state(stage: &Stage<'_>) -> Outcome<LifecycleState> {
    let found = stage.cloud.fleet.membership(stage.cloud.imds.instance());
    found.map(|(_, member)| member.state).ok_or_else(|| "the host is in no group".into())
}

/// Fails unless the group waits for the host.
fn is_held(stage: &Stage<'_>) -> Outcome {
    let state = state(stage)?;
    ensure(state == LifecycleState::TerminatingWait, || format!("the group went on without it: {state:?}"))
}

/// Waits until the group ends the host.
async fn is_let_go(stage: &Stage<'_>) -> Outcome {
    until("the group goes on", async || Ok(state(stage)? == LifecycleState::TerminatingProceed)).await
}

/// Tells whether the recording is on the other side.
fn arrived(stage: &Stage<'_>) -> bool {
    stage.disk.path(&format!("{FILE_SYSTEM}/{RECORDING}.tar")).exists()
}

/// Ends the host as EC2 does after that.
async fn ends(stage: &Stage<'_>, guest: Guest) -> Outcome {
    stage.gone()?;
    stage.cloud.fleet.shut_down(stage.cloud.imds.instance())?;
    guest.power_off().await
}

/// Boots a host with the shipped UserData for storage and sender, and with these further settings.
async fn prepared(stage: &Stage<'_>, settings: &str) -> Outcome<Guest> {
    stage.disk.write("/usr/sbin/mount.efs", MOUNT_EFS, 0o755)?;
    for worker in WORKERS {
        let unit = "[Service]\nExecStart=/bin/sleep infinity\n";
        stage.disk.write(&format!("/etc/systemd/system/{worker}.service"), unit, 0o644)?;
    }
    let directory = stage.disk.path(FILE_SYSTEM);
    std::fs::create_dir_all(&directory)?;
    // As the access point has it.
    std::fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    let settings = format!("'drain.quiet=0 checks.work=1 scalelite.poll_interval=5 {settings}'");
    stage.shipped_with(&[
        ("recordings_sender", "scalelite"),
        ("file_system", "fs-0123456789abcdef0"),
        ("access_point", "fsap-0123456789abcdef0"),
        ("settings", &settings),
    ])?;
    let guest = stage.installed().await?;
    guest.run("mountpoint", &[SPOOL]).await?;
    Ok(guest)
}

/// Does a step of BBB's work on the recording `$R`, in the directory of its status files, as BBB's user.
async fn worker(guest: &Guest, step: &str) -> Outcome {
    let script = format!("cd /var/bigbluebutton/recording/status && R={RECORDING} && {step}");
    as_bbb(guest, &["/bin/sh", "-ec", &script])
        .await
        .and_then(|(code, said)| ensure(code == 0, || format!("{step} ended with {code}: {said}")))
}

/// Runs the sender, as BBB does after it has published a format.
async fn send(guest: &Guest) -> Outcome<(i32, String)> {
    as_bbb(guest, &[SENDER, "-m", RECORDING, "-f", "presentation"]).await
}

/// Runs a program as BBB's user, with its groups as UserData has left them.
async fn as_bbb(guest: &Guest, command: &[&str]) -> Outcome<(i32, String)> {
    let user = ["--reuid=bigbluebutton", "--regid=bigbluebutton", "--init-groups"];
    guest.ends("setpriv", &[&user[..], command].concat()).await
}

/// Waits until the service says this.
async fn says(guest: &Guest, words: &str) -> Outcome {
    until(&format!("the service says {words}"), async || {
        Ok(guest.unit("bbb-agent.service", "StatusText").await?.contains(words))
    })
    .await
}
