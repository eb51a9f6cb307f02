//! The spool of recordings and the Redis beside it: what they refuse.

use std::io::ErrorKind;
use std::time::Duration;

use sandbox::recordings::{Recordings, Stage};
use sandbox::redis::{Manner, Redis};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ID: &str = "183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1700000000000";

/// What Redis answers to these bytes; the writing side ends with them.
async fn ask(redis: &Redis, bytes: &str) -> String {
    let mut stream = TcpStream::connect(redis.address()).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn command(words: &str) -> String {
    let words: Vec<&str> = words.split(' ').collect();
    let texts: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{texts}", words.len())
}

#[tokio::test]
async fn redis_answers_two_commands_and_refuses_the_others() {
    let redis = Redis::start().await.unwrap();
    redis.set_queue("rap:archive", 2);
    redis.set_queue("rap:publish", 0);
    for (question, answer) in [
        ("SMEMBERS resque:queues", "*2\r\n$11\r\nrap:archive\r\n$11\r\nrap:publish\r\n"),
        ("SMEMBERS nothing", "*0\r\n"),
        ("SMEMBERS resque:queue:rap:archive", "-WRONGTYPE"),
        ("LLEN resque:queue:rap:archive", ":2\r\n"),
        ("LLEN resque:queue:rap:publish", ":0\r\n"),
        ("LLEN resque:queues", "-WRONGTYPE"),
        ("LLEN", "-ERR wrong number of arguments"),
        ("DEL resque:queues", "-NOPERM"),
        ("RPUSH resque:queue:rap:archive job", "-NOPERM"),
    ] {
        let got = ask(&redis, &command(question)).await;
        assert!(got.starts_with(answer), "{question}: {got:?}");
    }
    assert_eq!(redis.queues()["rap:archive"], 2);
    assert_eq!(ask(&redis, "GET / HTTP/1.1\r\n\r\n").await, "-ERR Protocol error\r\n");
    redis.set_manner(Manner::Locked);
    assert!(ask(&redis, &command("SMEMBERS resque:queues")).await.starts_with("-NOAUTH "));
}

#[tokio::test]
async fn redis_may_want_a_password() {
    let redis = Redis::start().await.unwrap();
    let with = |words: &str| format!("{}{}", command(words), command("LLEN resque:queues"));
    assert!(ask(&redis, &command("AUTH x")).await.starts_with("-ERR AUTH <password> called without"));
    redis.set_password(Some("s3cret"));
    for (words, answer) in [
        ("LLEN resque:queues", "-NOAUTH Authentication required.\r\n-NOAUTH "),
        ("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled.\r\n-NOAUTH "),
        ("AUTH other s3cret", "-WRONGPASS "),
        ("AUTH s3cret", "+OK\r\n-WRONGTYPE "),
        ("auth default s3cret", "+OK\r\n-WRONGTYPE "),
    ] {
        let got = ask(&redis, &with(words)).await;
        assert!(got.starts_with(answer), "{words}: {got:?}");
    }
    assert!(redis.asked().iter().all(|command| !command.contains("s3cret")), "{:?}", redis.asked());
    redis.set_password(None);
    assert!(ask(&redis, &command("LLEN resque:queues")).await.starts_with("-WRONGTYPE"));
}

#[tokio::test]
async fn redis_may_not_run() {
    let redis = Redis::start().await.unwrap();
    redis.set_queue("rap:archive", 2);
    let mut open = TcpStream::connect(redis.address()).await.unwrap();
    redis.close().await;
    redis.close().await;
    let refused = TcpStream::connect(redis.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(open.write_all(b"x").await.is_err() || !matches!(open.read(&mut [0]).await, Ok(1..)));
    redis.open().await.unwrap();
    redis.open().await.unwrap();
    assert!(ask(&redis, &command("LLEN resque:queue:rap:archive")).await.starts_with(":2\r\n"));
}

#[tokio::test]
async fn files_may_be_of_any_age() {
    let root = TempDir::new().unwrap();
    let recordings = Recordings::start(root.path()).await.unwrap();
    let day = Duration::from_secs(86_400);
    let age = |name: &str| {
        let path = recordings.directory().join(name.replace('R', ID));
        path.metadata().unwrap().modified().unwrap().elapsed().unwrap()
    };
    let files = "raw/R archived/R.done processed/R-video.fail scalelite/R-presentation.tar";
    recordings.put(ID, files, 20 * day).unwrap();
    let paths = ["raw/R", "raw/R/events.xml", "status/archived/R.done", "status/processed/R-video.fail"];
    for path in paths.into_iter().chain(["scalelite/R-presentation.tar"]) {
        assert!((20 * day..21 * day).contains(&age(path)), "{path}: {:?}", age(path));
    }
    recordings.grow_old(ID, day).unwrap();
    for path in paths {
        assert!((day..2 * day).contains(&age(path)), "{path}: {:?}", age(path));
    }
    let refused = recordings.put(ID, "../../R", day).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_recording_goes_one_way() {
    let root = TempDir::new().unwrap();
    let recordings = Recordings::start(root.path()).await.unwrap();
    let status = recordings.directory().join("status");
    let refused = |result: std::io::Result<()>, kind: ErrorKind| assert_eq!(result.unwrap_err().kind(), kind);
    refused(recordings.reach("lost+found", Stage::Recorded), ErrorKind::InvalidInput);
    refused(recordings.advance(ID), ErrorKind::NotFound);
    recordings.reach(ID, Stage::Queued).unwrap();
    assert!(!status.join(format!("recorded/{ID}.done")).exists());
    assert_eq!(recordings.redis().queues()["rap:archive"], 1);
    refused(recordings.fail(ID), ErrorKind::AlreadyExists);
    recordings.advance(ID).unwrap();
    assert_eq!(recordings.redis().queues()["rap:archive"], 0);
    refused(recordings.reach(ID, Stage::Recorded), ErrorKind::AlreadyExists);
    recordings.fail(ID).unwrap();
    assert!(status.join(format!("archived/{ID}.fail")).exists());
    refused(recordings.advance(ID), ErrorKind::NotFound);
}
