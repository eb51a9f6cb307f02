//! The recordings that have not left the host yet: a real spool, and a Redis behind a real socket.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use clients::bbb::recordings::{Error, Spool};
use plan::recordings::{Recordings as Found, Stage as Waits};
use sandbox::recordings::{Recordings, Stage};
use sandbox::redis::Manner;
use tempfile::TempDir;

const ID: &str = "183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1700000000000";

struct Host {
    root: TempDir,
    recordings: Recordings,
    spool: Spool,
}

impl Host {
    async fn start() -> Self {
        let root = TempDir::new().unwrap();
        let recordings = Recordings::start(root.path()).await.unwrap();
        let redis = Some(recordings.redis().address());
        let spool = Spool::new(recordings.directory(), recordings.sender(), redis);
        Self { root, recordings, spool }
    }

    async fn look(&self) -> Found {
        self.spool.look().await.unwrap()
    }

    /// Returns the step that the only recording waits for.
    async fn waits(&self) -> Option<Waits> {
        let found = self.look().await;
        assert_eq!((found.failed.len(), found.remark), (0, None));
        found.pending.get(ID).copied()
    }

    fn touch(&self, below: &str) {
        let path = self.recordings.directory().join(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
}

#[tokio::test]
async fn where_bbb_is_not_installed_there_are_no_recordings() {
    let host = Host::start().await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let spool = Spool::new(host.recordings.directory(), host.recordings.sender(), Some(nobody));
    assert_eq!(spool.look().await, Ok(Found::default()));
}

#[tokio::test]
async fn a_recording_is_pending_until_it_is_published() {
    let host = Host::start().await;
    for (stage, waits, jobs) in [
        (Stage::Recorded, Some(Waits::Archive), 0),
        (Stage::Queued, None, 1),
        (Stage::Archiving, Some(Waits::Archive), 0),
        (Stage::Archived, Some(Waits::Check), 0),
        (Stage::Checked, Some(Waits::Publish), 0),
        (Stage::Processed, Some(Waits::Publish), 0),
        (Stage::Published, None, 0),
    ] {
        host.recordings.reach(ID, stage).unwrap();
        assert_eq!(host.waits().await, waits, "{stage:?}");
        let found = host.look().await;
        assert_eq!(found.jobs, jobs, "{stage:?}");
        assert_eq!(found.is_pending(), stage != Stage::Published, "{stage:?}");
    }
}

#[tokio::test]
async fn with_a_sender_it_is_pending_until_scalelite_has_it() {
    let host = Host::start().await;
    host.recordings.install_sender().unwrap();
    for (stage, waits) in
        [(Stage::Published, Some(Waits::Send)), (Stage::Packed, Some(Waits::Send)), (Stage::Sent, None)]
    {
        host.recordings.reach(ID, stage).unwrap();
        assert_eq!(host.waits().await, waits, "{stage:?}");
    }
    // Another format is published after the mark.
    let video = format!("status/published/{ID}-video.done");
    host.touch(&video);
    let later = SystemTime::now() + Duration::from_secs(60);
    let path = host.recordings.directory().join(video);
    File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
    assert_eq!(host.waits().await, Some(Waits::Send));
}

#[tokio::test]
async fn a_package_that_was_not_sent_is_pending_even_where_the_sender_is_gone() {
    let host = Host::start().await;
    host.recordings.reach(ID, Stage::Packed).unwrap();
    assert_eq!(host.waits().await, Some(Waits::Send));
}

#[tokio::test]
async fn every_step_that_fails_is_reported_and_not_waited_for() {
    for stage in [Stage::Archiving, Stage::Archived, Stage::Checked, Stage::Processed] {
        let host = Host::start().await;
        host.recordings.reach(ID, stage).unwrap();
        assert!(host.waits().await.is_some(), "{stage:?}");
        host.recordings.fail(ID).unwrap();
        let found = host.look().await;
        assert!(!found.is_pending(), "{stage:?}: {found}");
        assert_eq!(found.failed.into_iter().collect::<Vec<String>>(), [ID], "{stage:?}");
    }
}

#[tokio::test]
async fn links_and_odd_names_confuse_nobody() {
    let host = Host::start().await;
    let directory = host.recordings.directory();
    for odd in ["raw/lost+found/x", "raw/.nfs01/x", "status/recorded/.done", "status/published/-.done"] {
        host.touch(odd);
    }
    let bytes = OsStr::from_bytes(b"status/archived/\xff\xfe.done");
    fs::create_dir_all(directory.join("status/archived")).unwrap();
    fs::write(directory.join(bytes), "").unwrap();
    assert!(!host.look().await.is_pending());
    // Raw data on another disk that is gone, a mark that links to itself, a spool behind a link.
    symlink("/nowhere", directory.join("raw").join(ID)).unwrap();
    assert_eq!(host.waits().await, Some(Waits::Archive));
    let mark = format!("{ID}-presentation.done");
    symlink(&mark, directory.join("status/published").join(&mark)).unwrap();
    let link = host.root.path().join("link");
    symlink(&directory, &link).unwrap();
    let spool = Spool::new(link, host.recordings.sender(), None);
    assert_eq!(spool.look().await.unwrap(), host.look().await);
}

#[tokio::test]
async fn what_cannot_be_listed_is_named() {
    let host = Host::start().await;
    host.touch("status/sanity");
    let path = host.recordings.directory().join("status/sanity");
    let error = host.spool.look().await.unwrap_err();
    assert!(matches!(&error, Error::Unreadable { path: at, .. } if *at == path), "{error}");
    let start = format!("cannot list the recordings: {}: Not a directory", path.display());
    assert!(error.to_string().starts_with(&start), "{error}");
    fs::remove_file(path).unwrap();
    assert_eq!(host.look().await, Found::default(), "the next look is a new one");
}

#[tokio::test]
async fn two_looks_at_once_both_answer() {
    let host = Host::start().await;
    host.recordings.reach(ID, Stage::Recorded).unwrap();
    let (one, other) = tokio::join!(host.waits(), host.waits());
    assert_eq!((one, other), (Some(Waits::Archive), Some(Waits::Archive)));
}

#[tokio::test]
async fn redis_is_asked_for_the_queues_of_recordings_only() {
    let host = Host::start().await;
    let redis = host.recordings.redis();
    for (queue, jobs) in [("rap:archive", 2), ("rap:process", 3), ("rap:publish", 0), ("mailers", 7)] {
        redis.set_queue(queue, jobs);
    }
    let workers =
        [("bbb:7:rap:archive,rap:publish", true), ("bbb:8:rap:process", false), ("web:9:mailers", true)];
    for (worker, works) in workers {
        redis.set_worker(worker, works);
    }
    assert_eq!(host.look().await.jobs, 6);
    let asked = [
        "SMEMBERS resque:queues",
        "LLEN resque:queue:rap:archive",
        "LLEN resque:queue:rap:process",
        "LLEN resque:queue:rap:publish",
        "SMEMBERS resque:workers",
        "EXISTS resque:worker:bbb:7:rap:archive,rap:publish",
        "EXISTS resque:worker:bbb:8:rap:process",
    ];
    assert_eq!(redis.asked(), asked);
    let spool = Spool::new(host.recordings.directory(), host.recordings.sender(), None);
    assert_eq!(spool.look().await.unwrap().jobs, 0);
    assert_eq!(redis.asked(), asked, "not asked where it is configured off");
}

#[tokio::test]
async fn a_redis_that_does_not_tell_is_a_remark_and_the_files_count() {
    let host = Host::start().await;
    host.recordings.reach(ID, Stage::Recorded).unwrap();
    let redis = host.recordings.redis();
    redis.set_queue("rap:archive", 1);
    for (manner, why) in [
        (Manner::Locked, "it wants a password"),
        (Manner::Garbage, "the answer is none that Redis gives"),
        (Manner::Silent, "no answer in time"),
    ] {
        redis.set_manner(manner);
        let found = host.look().await;
        let remark = format!("BBB's queued jobs are not counted: Redis at {}: {why}", redis.address());
        assert_eq!(found.remark, Some(remark));
        assert_eq!(found.pending.get(ID), Some(&Waits::Archive));
        assert_eq!(found.jobs, 0);
    }
}

/// Each of these answers breaks the protocol, in reply to the first question.
#[tokio::test]
async fn answers_that_are_no_redis_are_refused_without_quoting_them() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let host = Host::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let spool = Spool::new(host.recordings.directory(), host.recordings.sender(), Some(address));
    let endless = "*".repeat(100_000);
    for (answer, why) in [
        ("", "unexpected end of file"),
        ("*", "the answer is none"),
        ("*-1\r\n", "the answer is none"),
        ("*99999999999\r\n", "the answer is none"),
        ("*1\r\n$99999\r\n", "the answer is none"),
        ("*1\r\n$3\r\nmarked\r\n", "the answer is none"),
        ("*1\r\n", "unexpected end of file"),
        (":1\r\n", "the answer is none"),
        ("-ERR marked\r\n", "it answered ERR"),
        ("-marked\r\n", "the answer is none"),
        (&endless, "the answer is none"),
    ] {
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = [0; 64];
            assert_ne!(stream.read(&mut question).await.unwrap(), 0);
            // A client that has read enough closes the connection.
            let _ = stream.write_all(answer.as_bytes()).await;
        };
        let (found, ()) = tokio::join!(spool.look(), serve);
        let remark = found.unwrap().remark.unwrap();
        assert!(remark.contains(why) && !remark.contains("marked"), "{answer:.20}: {remark}");
    }
}
