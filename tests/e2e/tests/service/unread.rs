//! A log that nobody reads: journald hangs, or what reads standard error does. The service goes on all the same.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use e2e::{Rig, Running, Service, Systemd};

use crate::journal::Journal;

const PLAIN: [&str; 1] = ["protection.enabled=false"];

/// What is lost, in the words of the service.
const LOST: &str = " log lines were lost: they were not read in time";

/// The service, with its standard error in a socket that is full already, as systemd's may be; and the end that nobody
/// reads yet.
fn unread(rig: &Rig, arguments: &[&str]) -> (Service, UnixStream) {
    let (reader, mut writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    let full = loop {
        if let Err(error) = writer.write(&[b'x'; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    writer.set_nonblocking(false).unwrap();
    let systemd = Systemd::start();
    let settings = ["checks.metadata=1", "checks.work=1", "drain.quiet=0", "scalelite.poll_interval=5"];
    let settings = settings.iter().chain(&PLAIN).flat_map(|setting| ["--set", setting]);
    let arguments: Vec<&str> =
        std::iter::once("run").chain(settings).chain(arguments.iter().copied()).collect();
    let mut command = rig.command(&arguments);
    systemd.starts(&mut command);
    command.env("WATCHDOG_USEC", "400000");
    let running = Running::start_with(command, Stdio::from(OwnedFd::from(writer)));
    (Service { running, systemd }, reader)
}

/// Whatever was written to standard error after it was full.
async fn read(mut reader: UnixStream) -> String {
    let text = tokio::task::spawn_blocking(move || {
        let mut text = Vec::new();
        reader.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        reader.read_to_end(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    });
    text.await.unwrap().trim_start_matches('x').to_owned()
}

/// It does its work, tells systemd's watchdog that it lives, and ends when it is told to.
async fn lives(rig: &Rig, service: &Service) {
    let pings = service.systemd.told().iter().filter(|told| *told == "WATCHDOG=1").count();
    service.systemd.hears_again("WATCHDOG=1", pings + 3).await;
    rig.checked(service).await;
    rig.ticked(2).await;
}

#[tokio::test]
async fn a_standard_error_that_nobody_reads_stops_nothing() {
    let rig = Rig::bbb().await;
    let (service, _reader) = unread(&rig, &["--log-level", "debug"]);
    service.systemd.shows_exactly("registered").await;
    lives(&rig, &service).await;
    // Nor does the end wait for it.
    let run = service.end(&[]).await;
    assert_eq!(run.code, 0);
    assert_eq!((rig.records(), rig.entries()), (vec![], vec![]));
}

#[tokio::test]
async fn a_failure_that_nobody_reads_ends_the_service_too() {
    let rig = Rig::bbb().await;
    rig.drop_in("wrong", "checks.name = 1\n");
    let (service, reader) = unread(&rig, &[]);
    assert_eq!(service.running.end().await.code, 2);
    drop(reader);
}

#[tokio::test]
async fn what_was_not_read_in_time_is_counted() {
    let rig = Rig::bbb().await;
    let (service, reader) = unread(&rig, &["--log-level", "debug"]);
    service.systemd.shows_exactly("registered").await;
    // Far more lines than are kept.
    for _ in 0..300 {
        rig.checked(&service).await;
    }
    let text = tokio::spawn(read(reader));
    lives(&rig, &service).await;
    assert_eq!(service.end(&[]).await.code, 0);
    let text = text.await.unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let lost = lines.iter().position(|line| line.contains(LOST)).unwrap_or_else(|| panic!("{text}"));
    let count: usize = lines[lost].trim_end_matches(LOST).rsplit(' ').next().unwrap().parse().unwrap();
    assert!(lines[..lost].len() > 500 && count > 0, "{lost} lines, then {count} are missing");
    assert!(lines[0].contains("the service begins"), "the first ones are kept: {}", lines[0]);
    assert!(text.contains("the service is stopped"), "and so are those after the loss: {text}");
}

#[tokio::test]
async fn a_journal_that_does_not_read_stops_nothing() {
    let rig = Rig::bbb().await;
    let journal = Journal::start();
    let Some(service) = journal.service(&rig, &PLAIN).await else { return };
    service.systemd.shows_exactly("registered").await;
    journal.says("-> serving").await;
    journal.reads(false);
    let before = journal.lines().len();
    // The kernel keeps so many lines for it.
    let kept = std::fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").unwrap();
    for _ in 0..kept.trim().parse::<usize>().unwrap() + 20 {
        rig.checked(&service).await;
    }
    assert_eq!(journal.lines().len(), before);
    service.systemd.shows_exactly("registered").await;
    journal.reads(true);
    rig.checked(&service).await;
    journal.says("SIGUSR1").await;
    for line in journal.lines().iter().filter(|line| line["MESSAGE"].contains("SIGUSR1")) {
        assert_eq!(line.get("INSTANCE_ID").map(String::as_str), Some(rig.host.id()), "{line:?}");
    }
    journal.reads(false);
    assert_eq!(service.end(&[]).await.code, 0);
    assert_eq!((rig.records(), rig.entries()), (vec![], vec![]));
}
