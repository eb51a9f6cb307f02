//! Nobody listens, or nothing can be written: the job is done all the same.

use std::fs::{File, OpenOptions};
use std::process::Stdio;

use e2e::{Rig, skipped};
use sandbox::scalelite::ServerState;
use tokio::process::Command;

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

async fn code(mut command: Command) -> Option<i32> {
    command.stdin(Stdio::null()).status().await.unwrap().code()
}

/// The agent below a shell that does something first.
fn below_a_shell(rig: &Rig, script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).arg(rig.agent.binary()).args(arguments);
    command.env_clear().envs(rig.agent.environment()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.kill_on_drop(true);
    command
}

fn registered(rig: &Rig) {
    assert_eq!(rig.records(), rig.registered_now());
    assert_eq!(rig.entry().state, ServerState::Enabled);
}

fn gone(rig: &Rig) {
    assert_eq!(rig.records(), [""; 0]);
    assert_eq!(rig.cloud.scalelite.servers(), []);
}

#[tokio::test]
async fn the_log_target_is_full() {
    let rig = Rig::bbb().await;
    for (arguments, done) in [(&["register", "--wait"][..], registered as fn(&Rig)), (&["deregister"], gone)]
    {
        for level in ["debug", "error"] {
            let mut command = rig.command(&[arguments, &["--log-level", level]].concat());
            command.stdout(full()).stderr(full());
            assert_eq!(code(command).await, Some(0), "{arguments:?}");
            done(&rig);
        }
    }
}

#[tokio::test]
async fn a_failure_keeps_its_exit_code_when_nothing_can_be_said() {
    let rig = Rig::bbb().await;
    rig.give_away("i-0fedcba9876543210", "192.0.2.7");
    let mut command = rig.command(&["register"]);
    command.stdout(full()).stderr(full());
    assert_eq!(code(command).await, Some(6));
}

#[tokio::test]
async fn what_a_command_exists_to_say_and_cannot_is_a_failure() {
    let rig = Rig::bbb().await;
    for command in ["status", "hostname", "check"] {
        let mut command = rig.command(&[command]);
        command.stdout(full()).stderr(Stdio::null());
        assert_eq!(code(command).await, Some(1));
    }
}

#[tokio::test]
async fn outputs_that_are_closed() {
    let rig = Rig::bbb().await;
    assert_eq!(code(below_a_shell(&rig, "exec \"$0\" \"$@\" >&- 2>&-", &["register"])).await, Some(0));
    registered(&rig);
    assert_eq!(code(below_a_shell(&rig, "exec \"$0\" \"$@\" <&- >&- 2>&-", &["deregister"])).await, Some(0));
    gone(&rig);
}

#[tokio::test]
async fn a_reader_that_went_away() {
    let rig = Rig::bbb().await;
    let mut command = rig.command(&["register", "--log-level", "debug"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    registered(&rig);
}

#[tokio::test]
async fn a_journal_that_is_not_there() {
    let rig = Rig::bbb().await;
    let mut command = rig.command(&["register"]);
    command.env("JOURNAL_STREAM", "9:99999").stdout(Stdio::null()).stderr(Stdio::null());
    assert_eq!(code(command).await, Some(0));
    registered(&rig);
}

/// Mounts of its own, every one of them read-only, and the proof that nothing can be written any more.
const READ_ONLY: &str = "
    while read -r _ at type _; do
        case $type in proc|sysfs|devpts|cgroup*) ;; *) mount -o remount,bind,ro \"$at\" 2>/dev/null ;; esac
    done < /proc/self/mounts
    for directory in \"$ROOT\" /tmp /var/tmp / ; do
        if touch \"$directory/e2e-probe\" 2>/dev/null; then rm \"$directory/e2e-probe\"; exit 99; fi
    done
    exec \"$0\" \"$@\"";

#[tokio::test]
async fn a_read_only_filesystem() {
    let rig = Rig::bbb().await;
    let unshare = |script: &str, arguments: &[&str]| {
        let inner = below_a_shell(&rig, script, arguments);
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", script]);
        command.arg(rig.agent.binary()).args(arguments).env_clear();
        command.envs(inner.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("ROOT", &rig.host.root).stdin(Stdio::null());
        command
    };
    let allowed = unshare("mount -o remount,bind,ro /", &[]).stderr(Stdio::null()).status().await;
    if !allowed.is_ok_and(|status| status.success()) {
        return skipped("a read-only filesystem needs root, who may mount");
    }
    for (arguments, done) in [(&["register", "--wait"][..], registered as fn(&Rig)), (&["deregister"], gone)]
    {
        let output = unshare(READ_ONLY, arguments).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "99: something could be written; {said}");
        done(&rig);
    }
}
