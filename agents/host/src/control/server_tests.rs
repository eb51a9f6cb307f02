//! Both ends of the socket, and strangers at it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream as Stranger;
use std::path::PathBuf;

use plan::instance::Role;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::agent::Agent;
use crate::cli::Only;
use crate::control::{ask, state};

const BBB: Agent = Agent {
    role: Role::Bbb,
    name: "bbb-agent",
    environment_prefix: "BBB_AGENT_",
    default_hostname: "vc-{instance}",
};

/// A service that listens.
struct Service {
    root: TempDir,
    lock: Lock,
    listener: Listener,
}

impl Service {
    fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let lock = Lock::try_take(root.path()).unwrap().unwrap();
        let listener = Listener::bind(&lock).unwrap();
        Self { root, lock, listener }
    }

    fn socket(&self) -> PathBuf {
        socket(self.root.path())
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.socket()).await.unwrap()
    }

    /// Connects a client that has sent this.
    async fn said(&self, words: &[u8]) -> UnixStream {
        let mut client = self.connect().await;
        client.write_all(words).await.unwrap();
        client
    }

    async fn asks(&self, request: &Request) -> Result<Option<Exit>, Failure> {
        ask(&BBB, self.root.path(), request).await
    }

    /// Serves a client: the service works as before.
    async fn serves(&self) {
        let serving = async {
            let (request, conversation) = self.listener.next().await;
            assert_eq!(request, Request::Status);
            conversation.end(Exit::Drift);
        };
        let (exit, ()) = tokio::join!(self.asks(&Request::Status), serving);
        assert_eq!(exit.unwrap(), Some(Exit::Drift));
    }
}

fn status() -> Vec<u8> {
    message::encode(&Request::Status).unwrap()
}

/// Reads all replies to a client until the service closes the connection.
async fn all(mut client: UnixStream) -> Vec<Reply> {
    let mut from = BufReader::new(&mut client);
    let mut replies = Vec::new();
    while let Ok(Some(reply)) = message::receive(&mut from).await {
        replies.push(reply);
    }
    replies
}

/// Waits until this is so; other tasks run meanwhile.
async fn until(so: impl Fn() -> bool) {
    while !so() {
        tokio::task::yield_now().await;
    }
}

fn refused(replies: &[Reply], why: &str) {
    let [Reply::Complaint(words), Reply::End { exit: 2 }] = replies else { panic!("{replies:?}") };
    assert!(words.contains(why), "{why:?}: {words}");
}

#[tokio::test]
async fn a_request_arrives_as_it_was_made_and_its_exit_code_comes_back() {
    let service = Service::start();
    let requests = [
        (Request::Register { only: Some(Only::Dns), wait: true }, Exit::WaitingForBbb),
        (Request::Deregister { only: None, wait: false }, Exit::Done),
        (Request::Drain { deadline: Some(90), wait: true }, Exit::Interrupted(15)),
    ];
    for (request, exit) in requests {
        let serving = async {
            let (asked, conversation) = service.listener.next().await;
            conversation.progress("half");
            conversation.line("done");
            assert!(!conversation.is_gone());
            conversation.end(exit);
            asked
        };
        let (ended, asked) = tokio::join!(service.asks(&request), serving);
        assert_eq!((ended.unwrap(), asked), (Some(exit), request));
    }
}

#[tokio::test]
async fn the_lines_come_in_their_order() {
    let service = Service::start();
    let client = service.said(&status()).await;
    let (_, conversation) = service.listener.next().await;
    conversation.line(1);
    conversation.complaint(2);
    conversation.progress(3);
    conversation.end(Exit::Done);
    let words = |reply: fn(String) -> Reply, number: u8| reply(number.to_string());
    let replies = [
        words(Reply::Line, 1),
        words(Reply::Complaint, 2),
        words(Reply::Progress, 3),
        Reply::End { exit: 0 },
    ];
    assert_eq!(all(client).await, replies);
}

#[tokio::test]
async fn the_state_is_told_with_whatever_else_the_service_says() {
    let service = Service::start();
    let told = ServiceState {
        state: "draining".into(),
        words: "waits for 2 meetings".into(),
        since: 1_795_348_740,
        more: [("meetings".to_owned(), json!(2))].into_iter().collect(),
    };
    let serving = async {
        let (request, conversation) = service.listener.next().await;
        assert_eq!(request, Request::Status);
        conversation.service(told.clone());
        conversation.end(Exit::Done);
    };
    let (heard, ()) = tokio::join!(state(&BBB, service.root.path()), serving);
    assert_eq!(heard.unwrap(), Some(told));
}

#[tokio::test]
async fn nobody_listens() {
    let root = tempfile::tempdir().unwrap();
    let nobody = async |directory: &Path| {
        assert_eq!(ask(&BBB, directory, &Request::Status).await.unwrap(), None);
        assert_eq!(state(&BBB, directory).await.unwrap(), None);
    };
    nobody(&root.path().join("missing")).await;
    nobody(root.path()).await;
    // A crash left this socket behind.
    drop(std::os::unix::net::UnixListener::bind(socket(root.path())).unwrap());
    nobody(root.path()).await;
}

#[tokio::test]
async fn a_socket_that_was_left_behind_is_replaced_by_who_has_the_lock() {
    let Service { root, lock, listener } = Service::start();
    drop(listener);
    // A crash between two steps leaves this socket behind.
    drop(std::os::unix::net::UnixListener::bind(socket(root.path()).with_extension("new")).unwrap());
    let listener = Listener::bind(&lock).unwrap();
    let service = Service { root, lock, listener };
    service.serves().await;
    let mode = service.socket().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(service.lock.directory().is_some());
}

#[tokio::test]
async fn a_lock_without_a_directory_is_no_place_to_listen() {
    let lock = Lock::try_take(Path::new("/proc/no-such-agent")).unwrap().unwrap();
    let failure = Listener::bind(&lock).unwrap_err();
    assert!(failure.to_string().contains("RuntimeDirectory="), "{failure}");
}

#[tokio::test]
async fn what_is_no_request_is_refused_with_the_reason() {
    let service = Service::start();
    let rows = [
        (b"GET / HTTP/1.1\r\n".to_vec(), "makes no sense"),
        (b"{\"protocol\":1,\"body\":\"hibernate\"}\n".to_vec(), "makes no sense"),
        (b"{\"protocol\":2,\"body\":\"status\"}\n".to_vec(), "version 2 of the control protocol, not 1"),
        (vec![b'x'; message::LIMIT + 1], "more than 64 KiB"),
    ];
    for (words, why) in rows {
        refused(&all(service.said(&words).await).await, why);
        service.serves().await;
    }
}

#[tokio::test]
async fn a_request_that_breaks_off_or_never_comes_disturbs_nobody() {
    let service = Service::start();
    let silent = service.connect().await;
    drop(service.connect().await);
    let mut half = service.said(b"{\"protocol\":1,").await;
    half.shutdown().await.unwrap();
    refused(&all(half).await, "breaks off");
    service.serves().await;
    // The service is the one to give up: this client only listens.
    refused(&all(silent).await, "no request within 5 s");
}

#[tokio::test]
async fn a_client_that_vanishes_is_noticed() {
    let service = Service::start();
    let client = service.said(&status()).await;
    let (_, conversation) = service.listener.next().await;
    assert!(!conversation.is_gone());
    drop(client);
    until(|| conversation.is_gone()).await;
    conversation.line("nobody hears this");
    conversation.end(Exit::Done);
    service.serves().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_and_others_are_served() {
    let service = Service::start();
    let client = service.said(&status()).await;
    let (_, conversation) = service.listener.next().await;
    // More than any buffer between the two holds.
    let line = "x".repeat(message::LIMIT / 2);
    until(|| {
        conversation.line(&line);
        conversation.is_gone()
    })
    .await;
    conversation.line(&line);
    service.serves().await;
    let replies = all(client).await;
    assert!(replies.iter().all(|reply| matches!(reply, Reply::Line(_))), "it is cut off without an end");
    until(|| service.listener.places.available_permits() == CONVERSATIONS).await;
    assert!(conversation.is_gone());
}

#[tokio::test]
async fn a_line_that_is_too_long_is_left_out() {
    let service = Service::start();
    let client = service.said(&status()).await;
    let (_, conversation) = service.listener.next().await;
    conversation.line("x".repeat(message::LIMIT));
    conversation.line("short");
    conversation.end(Exit::Done);
    assert_eq!(all(client).await, [Reply::Line("short".into()), Reply::End { exit: 0 }]);
}

#[tokio::test]
async fn so_many_conversations_and_no_more() {
    let service = Service::start();
    let mut open = Vec::new();
    for _ in 0..CONVERSATIONS {
        let client = service.said(&status()).await;
        open.push((client, service.listener.next().await));
    }
    let turned_away = all(service.said(&status()).await).await;
    let [Reply::Complaint(words), Reply::End { exit: 8 }] = turned_away.as_slice() else {
        panic!("{turned_away:?}")
    };
    assert!(words.contains("16 conversations"), "{words}");
    open.pop();
    until(|| service.listener.places.available_permits() == 1).await;
    service.serves().await;
}

#[tokio::test]
async fn a_service_that_goes_away_in_the_middle() {
    let service = Service::start();
    let serving = async {
        let (_, conversation) = service.listener.next().await;
        conversation.line("begun");
        drop(conversation);
    };
    let (ended, ()) = tokio::join!(service.asks(&Request::Drain { deadline: None, wait: true }), serving);
    let failure = ended.unwrap_err();
    assert_eq!(failure.exit, Exit::TryAgain);
    let words = failure.to_string();
    assert!(
        words.contains("drain: the service went away") && words.contains("journalctl -u bbb-agent.service"),
        "{words}"
    );
}

#[tokio::test]
async fn a_service_that_ends_lets_its_clients_read_what_it_said() {
    let service = Service::start();
    let client = service.said(&status()).await;
    let (_, conversation) = service.listener.next().await;
    conversation.line("the last words");
    conversation.end(Exit::Done);
    let path = service.socket();
    service.listener.finish().await;
    assert_eq!(all(client).await, [Reply::Line("the last words".into()), Reply::End { exit: 0 }]);
    let error = UnixStream::connect(path).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

/// Asks a peer that answers every request with these words: a service of another version, or something else.
async fn answered(words: &'static str) -> Failure {
    let root = tempfile::tempdir().unwrap();
    let listener = std::os::unix::net::UnixListener::bind(socket(root.path())).unwrap();
    let answering = std::thread::spawn(move || {
        let (mut client, _): (Stranger, _) = listener.accept().unwrap();
        client.read_exact(&mut [0]).unwrap();
        client.write_all(words.as_bytes()).unwrap();
    });
    let failure = ask(&BBB, root.path(), &Request::Status).await.unwrap_err();
    answering.join().unwrap();
    failure
}

#[tokio::test]
async fn a_service_of_another_version_is_told_from_a_broken_one() {
    let failure = answered("{\"protocol\":2,\"body\":{\"refused\":{}}}\n").await;
    assert_eq!(failure.exit, Exit::Failed);
    let words = failure.to_string();
    assert!(words.contains("of another version than this command: it speaks version 2"), "{words}");
    assert!(words.contains("systemctl restart bbb-agent.service"), "{words}");

    assert_eq!(answered("Permission denied\n").await.exit, Exit::Failed);
    assert_eq!(answered("{\"protocol\":1,\"body\"").await.exit, Exit::TryAgain);
}
