//! The lock, which no other user may hold or lead elsewhere.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use e2e::{Running, skipped};
use tokio::process::Command;

use super::host::{Host, Service, With};

const LOCK: &str = "run/bbb-agents-install";

async fn installed() -> Option<Host> {
    let host = Host::new(With::Curl).await?;
    host.release("0.1.0", Service::Ready);
    host.expect(0, &[]).await;
    Some(host)
}

/// A user who could open anything there for reading could lock it, and keep every upgrade waiting.
#[tokio::test(flavor = "multi_thread")]
async fn another_user_can_hold_nothing_of_it() {
    let Some(host) = installed().await else { return };
    if host.path("run").metadata().unwrap().uid() != 0 {
        return skipped("only root can become another user");
    }
    for directory in ["", "run"] {
        std::fs::set_permissions(host.path(directory), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let entries: Vec<_> =
        std::fs::read_dir(host.path("run")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!entries.is_empty(), "the lock is nowhere");
    for entry in entries {
        let mut hold = Command::new("setpriv");
        hold.args(["--reuid=65534", "--regid=65534", "--clear-groups", "flock", "--nonblock"]);
        hold.arg(&entry).arg("true");
        let run = Running::start(hold).end().await;
        assert_ne!(run.code, 0, "{}: {run}", entry.display());
        run.says(&["Permission denied"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_directory_of_roots_own_is_no_lock() {
    let Some(host) = installed().await else { return };
    let (lock, victim) = (host.path(LOCK), host.path("victim"));
    std::fs::create_dir(&victim).unwrap();
    std::fs::set_permissions(&victim, std::fs::Permissions::from_mode(0o700)).unwrap();
    type Plant = fn(&std::path::Path, &std::path::Path);
    let planted: [Plant; 4] = [
        |lock, victim| symlink(victim, lock).unwrap(),
        |lock, _| symlink("/nonexistent/file", lock).unwrap(),
        |lock, _| std::fs::write(lock, "").unwrap(),
        |lock, _| {
            std::fs::create_dir(lock).unwrap();
            std::fs::set_permissions(lock, std::fs::Permissions::from_mode(0o777)).unwrap();
        },
    ];
    for plant in planted {
        let _ = std::fs::remove_dir(&lock).or_else(|_| std::fs::remove_file(&lock));
        plant(&lock, &victim);
        let run = host.expect(1, &["--set", "dns.ttl=120"]).await;
        run.says(&["/run/bbb-agents-install has to be a directory of root's"]);
        assert!(!host.settings().contains("dns.ttl"), "{run}");
    }
    std::fs::remove_dir(&lock).unwrap();
    host.expect(0, &["--set", "dns.ttl=120"]).await;
}
