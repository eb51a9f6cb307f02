//! The recordings that have not left the host yet: a real spool, and a Redis behind a real socket.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use clients::bbb::recordings::{Redis, Sending, Spool};
use plan::recordings::{Recordings as Found, Sender, Stage as Waits};
use plan::work::{Figure, Rules, Work};
use sandbox::recordings::{Recordings, Stage};
use sandbox::redis::Manner;
use tempfile::TempDir;

const ID: &str = "183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1700000000000";
const RULES: Rules =
    Rules { recordings: true, empty_meeting: Duration::from_secs(1800), stuck: Duration::from_secs(7200) };
const DAY: Duration = Duration::from_secs(86_400);

struct Host {
    root: TempDir,
    recordings: Recordings,
    redis: Redis,
    spool: Spool,
}

impl Host {
    /// Starts a host whose agent has a Scalelite configured, without a sender.
    async fn start() -> Self {
        let root = TempDir::new().unwrap();
        let recordings = Recordings::start(root.path()).await.unwrap();
        let redis = Redis { address: recordings.redis().address(), password: None };
        let sending = Sending::Below { directory: recordings.post_publish(), needed: true };
        let spool = Spool::new(recordings.directory(), sending);
        Self { root, recordings, redis, spool }
    }

    async fn look(&self) -> Found {
        self.spool.look(Some(&self.redis), true).await
    }

    /// Returns the recordings as another setting of the sender shows them.
    async fn look_with(&self, sending: Sending) -> Found {
        Spool::new(self.recordings.directory(), sending).look(Some(&self.redis), true).await
    }

    /// Returns the step that the only recording waits for.
    async fn waits(&self) -> Option<Waits> {
        let found = self.look().await;
        assert_eq!((found.failed.len(), &found.unlisted), (0, &None));
        assert!(found.pending.keys().all(|part| part.id == ID) && found.pending.len() <= 1, "{found:?}");
        found.pending.values().next().map(|pending| pending.stage)
    }

    /// Returns why the jobs are not known, with this password, and checks that the files count nevertheless.
    async fn uncounted(&self, password: Option<&str>) -> String {
        let redis = Redis { password: password.map(Into::into), ..self.redis.clone() };
        let found = self.spool.look(Some(&redis), true).await;
        assert_eq!(found.pending.len(), 1);
        assert!(!is_idle(&found));
        let why = found.jobs.why().unwrap();
        let start = format!("BBB's recording jobs were not counted: Redis at {}: ", self.redis.address);
        assert!(!format!("{why}{redis:?}").contains("marked"), "{why} {redis:?}");
        why.strip_prefix(&start).unwrap_or_else(|| panic!("{why}")).to_owned()
    }

    fn touch(&self, below: &str) {
        let path = self.recordings.directory().join(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
}

fn is_idle(found: &Found) -> bool {
    Work { recordings: found.clone(), ..Work::default() }.is_idle(&RULES)
}

fn failed(found: &Found) -> Vec<String> {
    found.failed.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_redis_that_refuses_has_no_jobs_only_where_bbb_is_not_installed() {
    let host = Host::start().await;
    host.recordings.redis().close().await;
    let nothing = Found { sender: Sender::Missing, ..Found::default() };
    assert_eq!(host.spool.look(Some(&host.redis), false).await, nothing);
    let found = host.look().await;
    assert!(found.jobs.why().unwrap().contains("connection refused: nothing listens there"), "{found:?}");
    assert!(!is_idle(&found));
    host.recordings.redis().open().await.unwrap();
    assert_eq!(host.look().await, nothing);
}

#[tokio::test]
async fn a_recording_is_pending_until_it_is_published() {
    let host = Host::start().await;
    let alone = Sending::Below { directory: host.recordings.post_publish(), needed: false };
    for (stage, waits, jobs) in [
        (Stage::Recorded, Some(Waits::Archive), 0),
        (Stage::Queued, None, 1),
        (Stage::Archiving, Some(Waits::Archive), 0),
        (Stage::Archived, Some(Waits::Check), 0),
        (Stage::Checked, Some(Waits::Publish), 0),
        (Stage::Processed, Some(Waits::Publish), 0),
        (Stage::Published, Some(Waits::Unsent), 0),
    ] {
        host.recordings.reach(ID, stage).unwrap();
        assert_eq!(host.waits().await, waits, "{stage:?}");
        let found = host.look_with(alone.clone()).await;
        assert_eq!(found.jobs, Figure::Known(jobs), "{stage:?}");
        assert_eq!(is_idle(&found), stage == Stage::Published, "{stage:?}");
    }
}

#[tokio::test]
async fn with_a_sender_it_is_pending_until_scalelite_has_it() {
    for name in ["scalelite_post_publish.rb", "post_publish_scalelite.rb", "02-Scalelite-send.rb"] {
        let host = Host::start().await;
        host.recordings.install_sender_as(name).unwrap();
        for (stage, waits) in [(Stage::Published, Some(Waits::Send)), (Stage::Sent, None)] {
            host.recordings.reach(ID, stage).unwrap();
            assert_eq!(host.waits().await, waits, "{name}: {stage:?}");
        }
        // Another format is published after the mark.
        let video = format!("status/published/{ID}-video.done");
        host.touch(&video);
        let later = SystemTime::now() + Duration::from_secs(60);
        let path = host.recordings.directory().join(video);
        File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
        assert_eq!(host.waits().await, Some(Waits::Send), "{name}");
    }
}

#[tokio::test]
async fn a_sender_is_found_missing_or_unknown() {
    let host = Host::start().await;
    host.recordings.reach(ID, Stage::Published).unwrap();
    let below = |needed| Sending::Below { directory: host.recordings.post_publish(), needed };
    let at = |path: &str| Sending::At(host.root.path().join(path));
    // Other scripts, and what BBB does not run, send nothing.
    for name in ["bbb_post_publish.rb", "scalelite.yml", "scalelite_post_publish.rb.bak", ".scalelite.rb"] {
        host.recordings.install_sender_as(name).unwrap();
    }
    let scripts = host.recordings.post_publish();
    fs::create_dir(scripts.join("scalelite.rb")).unwrap();
    symlink("/nowhere/scalelite.rb", scripts.join("scalelite-link.rb")).unwrap();
    for (sending, sender) in [
        (below(true), Sender::Missing),
        (below(false), Sender::Unused),
        (Sending::Unused, Sender::Unused),
        (at("nowhere/sender"), Sender::Missing),
        (at("usr/local/bigbluebutton/core/scripts/post_publish/scalelite.yml"), Sender::There),
    ] {
        assert_eq!(host.look_with(sending.clone()).await.sender, sender, "{sending:?}");
    }
    // A link is a program, too.
    symlink(scripts.join("bbb_post_publish.rb"), scripts.join("scalelite-script.rb")).unwrap();
    for needed in [true, false] {
        assert_eq!(host.look_with(below(needed)).await.sender, Sender::There);
    }
    // A place where nobody can look hides a sender, and no recording.
    for sending in [
        Sending::Below { directory: scripts.join("bbb_post_publish.rb"), needed: false },
        at("usr/local/bigbluebutton/core/scripts/post_publish/loop.rb"),
    ] {
        symlink("loop.rb", scripts.join("loop.rb")).ok();
        let found = host.look_with(sending.clone()).await;
        let why = found.sender.why().unwrap_or_else(|| panic!("{sending:?}: {:?}", found.sender));
        assert!(why.contains("recordings.sender") && why.contains("post_publish/"), "{why}");
        assert_eq!((found.pending.len(), &found.unlisted), (1, &None));
        host.recordings.grow_old(ID, 20 * DAY).unwrap();
        assert!(!is_idle(&host.look_with(sending).await));
    }
}

#[tokio::test]
async fn every_file_has_its_age() {
    let host = Host::start().await;
    host.recordings.install_sender().unwrap();
    for (files, waits) in [
        ("recorded/R.done", Waits::Archive),
        ("raw/R", Waits::Archive),
        ("raw/R archived/R.done", Waits::Check),
        ("raw/R archived/R.done sanity/R.done", Waits::Publish),
        (
            "archived/R.done sanity/R.done processed/R-presentation.done published/R-presentation.done",
            Waits::Send,
        ),
        ("scalelite/R.tar", Waits::Send),
    ] {
        let host = Host::start().await;
        host.recordings.install_sender().unwrap();
        host.recordings.put(ID, files, 20 * DAY).unwrap();
        assert_eq!(host.waits().await, Some(waits), "{files}");
        let found = host.look().await;
        let age = found.pending.values().next().unwrap().age;
        assert!((20 * DAY..21 * DAY).contains(&age), "{files}: {age:?}");
        assert!(is_idle(&found), "nobody works on it any more: {files}");
        // A job may be this one, and a Redis that does not tell may have one.
        host.recordings.redis().set_queue("rap:archive", 3);
        assert!(!is_idle(&host.look().await), "{files}");
        host.recordings.redis().set_manner(Manner::Silent);
        assert!(!is_idle(&host.look().await), "{files}");
    }
    host.recordings.put(ID, "raw/R", 20 * DAY).unwrap();
    host.recordings.put(ID, "archived/R.done", Duration::from_secs(60)).unwrap();
    assert!(!is_idle(&host.look().await), "its youngest file counts");
}

#[tokio::test]
async fn a_package_that_was_not_sent_is_pending_even_where_the_sender_is_gone() {
    let host = Host::start().await;
    host.recordings.put(ID, "scalelite/R-presentation.tar", Duration::ZERO).unwrap();
    assert_eq!(host.waits().await, Some(Waits::Send));
}

#[tokio::test]
async fn every_step_that_fails_is_reported() {
    for (stage, format) in [
        (Stage::Archiving, ""),
        (Stage::Archived, ""),
        (Stage::Checked, " (presentation)"),
        (Stage::Processed, " (presentation)"),
    ] {
        let host = Host::start().await;
        host.recordings.reach(ID, stage).unwrap();
        assert!(host.waits().await.is_some(), "{stage:?}");
        host.recordings.fail(ID).unwrap();
        assert_eq!(failed(&host.look().await), [format!("{ID}{format}")], "{stage:?}");
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
    assert!(is_idle(&host.look().await));
    // Raw data on another disk that is gone, a mark that links to itself, a spool behind a link.
    symlink("/nowhere", directory.join("raw").join(ID)).unwrap();
    assert_eq!(host.waits().await, Some(Waits::Archive));
    let mark = format!("{ID}-presentation.done");
    symlink(&mark, directory.join("status/published").join(&mark)).unwrap();
    let link = host.root.path().join("link");
    symlink(&directory, &link).unwrap();
    let sending = Sending::Below { directory: host.recordings.post_publish(), needed: true };
    let through_link = Spool::new(link, sending).look(None, true).await;
    let keys = |found: &Found| found.pending.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&through_link), keys(&host.look().await));
}

#[tokio::test]
async fn what_cannot_be_listed_is_named() {
    let host = Host::start().await;
    host.touch("status/sanity");
    let path = host.recordings.directory().join("status/sanity");
    let found = host.look().await;
    let start = format!("cannot list the recordings: {}: Not a directory", path.display());
    assert!(found.unlisted.as_ref().unwrap().starts_with(&start), "{found:?}");
    assert_eq!(found.jobs, Figure::Known(0));
    assert!(!is_idle(&found));
    fs::remove_file(path).unwrap();
    assert!(is_idle(&host.look().await), "the next look is a new one");
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
    let workers = [
        ("bbb:7:rap:archive,rap:publish", true),
        ("bbb:8:rap:process", false),
        ("bbb:9:events,rap:sanity", true),
        ("more:1:*", true),
        ("web:9:mailers", true),
    ];
    for (worker, works) in workers {
        redis.set_worker(worker, works);
    }
    assert_eq!(host.look().await.jobs, Figure::Known(8));
    let asked = [
        "SMEMBERS resque:queues",
        "LLEN resque:queue:rap:archive",
        "LLEN resque:queue:rap:process",
        "LLEN resque:queue:rap:publish",
        "SMEMBERS resque:workers",
        "EXISTS resque:worker:bbb:7:rap:archive,rap:publish",
        "EXISTS resque:worker:bbb:8:rap:process",
        "EXISTS resque:worker:bbb:9:events,rap:sanity",
        "EXISTS resque:worker:more:1:*",
    ];
    assert_eq!(redis.asked(), asked);
    assert_eq!(host.spool.look(None, true).await.jobs, Figure::Known(0));
    assert_eq!(redis.asked(), asked, "not asked where it is configured off");
}

#[tokio::test]
async fn a_redis_that_does_not_tell_is_unknown_and_the_files_count() {
    let host = Host::start().await;
    host.recordings.reach(ID, Stage::Recorded).unwrap();
    let redis = host.recordings.redis();
    redis.set_queue("rap:archive", 1);
    for (manner, why) in [
        (Manner::Locked, "it wants a password: set recordings.redis_password"),
        (Manner::Garbage, "the answer is none that Redis gives"),
        (Manner::Silent, "no answer within 1 s"),
    ] {
        redis.set_manner(manner);
        assert_eq!(host.uncounted(None).await, why);
    }
    redis.set_manner(Manner::Locked);
    let wrong = "it does not take the password of recordings.redis_password";
    assert_eq!(host.uncounted(Some("marked")).await, wrong);
}

#[tokio::test]
async fn redis_gets_its_password_and_nobody_else() {
    let host = Host::start().await;
    host.recordings.reach(ID, Stage::Recorded).unwrap();
    let stand_in = host.recordings.redis();
    stand_in.set_queue("rap:archive", 1);
    let jobs = async |password: &str| {
        let redis = Redis { password: Some(password.into()), ..host.redis.clone() };
        host.spool.look(Some(&redis), true).await.jobs
    };
    for password in ["marked", "marked \"'$%\\ üü€😀 ", " "] {
        stand_in.set_password(Some(password));
        assert_eq!(jobs(password).await, Figure::Known(1), "{password}");
        assert!(host.uncounted(None).await.starts_with("it wants a password"));
        assert!(host.uncounted(Some("marked, another")).await.starts_with("it does not take the password"));
    }
    // A Redis that wants none counts, too.
    stand_in.set_password(None);
    assert_eq!(jobs("marked").await, Figure::Known(1));
    assert!(stand_in.asked().iter().all(|question| !question.contains("marked")), "{:?}", stand_in.asked());
}

/// Each of these answers breaks the protocol, in reply to the first question.
#[tokio::test]
async fn answers_that_are_no_redis_are_refused_without_quoting_them() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let host = Host::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let redis = |password: Option<&str>| Redis { address, password: password.map(Into::into) };
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
        ("-DENIED marked\r\n", "it answered DENIED (protected mode): set a password"),
        ("-LOADING marked\r\n", "it answered LOADING: it is reading its data"),
        ("-NOPERM marked\r\n", "it answered NOPERM: the password's user needs the commands smembers"),
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
        let redis = redis(None);
        let (found, ()) = tokio::join!(host.spool.look(Some(&redis), true), serve);
        let told = found.jobs.why().unwrap();
        assert!(told.contains(why) && !told.contains("marked"), "{answer:.20}: {told}");
    }
    // Answers to the password and to the first question, some as before version 6.
    for (first, then, why) in [
        (
            "-ERR invalid password\r\n",
            "-NOAUTH Authentication required.\r\n",
            "it does not take the password",
        ),
        ("-ERR Client sent AUTH, but no password is set\r\n", "*0\r\n*0\r\n", ""),
        ("-WRONGPASS invalid username-password pair\r\n", "", "it does not take the password"),
        ("+OK\r\n", "*0\r\n*0\r\n", ""),
        ("+marked\r\n", "", "the answer is none"),
        ("*0\r\n", "", "the answer is none"),
        ("-DENIED marked\r\n", "", "it answered DENIED"),
        ("", "", "unexpected end of file"),
    ] {
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The password, the first question, and the rest of them: a client that has read enough closes the connection.
            for answer in [first, then, ""] {
                let read = stream.read(&mut [0; 64]).await;
                if answer.is_empty() || !read.is_ok_and(|bytes| bytes > 0) {
                    return;
                }
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        };
        let redis = redis(Some("marked"));
        let (found, ()) = tokio::join!(host.spool.look(Some(&redis), true), serve);
        match found.jobs {
            Figure::Known(jobs) => assert_eq!((jobs, why), (0, ""), "{first}"),
            Figure::Unknown(told) => {
                assert!(!why.is_empty() && told.contains(why) && !told.contains("marked"), "{first}: {told}");
            }
        }
    }
}
