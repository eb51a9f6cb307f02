//! Targets for answers on this host: from systemd, Redis and the TURN server, certificates, and URLs from BBB or the
//! operator.

use std::io;

use clients::bbb::recordings::redis::{self, Problem};
use clients::certificate::bundle::Bundle;
use clients::{certificate, coturn};
use plan::lifecycle::StopCause;
use plan::membership::{host_of, normalise_url};
use plan::record::Name;
use plan::relay::{Relay, in_use};
use plan::stop_cause;
use plan::stun;

use crate::{MARK, check_error, now, text};

/// Checks that the host counts as going down only where systemd has a job that says so.
pub(crate) fn systemd_jobs(input: &[u8]) {
    let printed = String::from_utf8_lossy(input);
    let jobs = stop_cause::parse(&printed);
    assert!(jobs.len() <= printed.lines().count());
    assert!(jobs.iter().all(|job| job.unit.contains('.') && !job.kind.contains([' ', '\t', '\n'])));
    let cause = stop_cause::cause(&jobs, "bbb-agent.service");
    let says = |words: &[&str]| words.iter().any(|word| printed.contains(word));
    match cause {
        StopCause::PowerOff => assert!(says(&["poweroff.target", "halt.target"])),
        StopCause::Reboot => assert!(says(&["reboot.target", "kexec.target"])),
        StopCause::Restart => assert!(says(&["bbb-agent.service"]) && says(&["restart"])),
        StopCause::Stop => assert!(says(&["bbb-agent.service"]) && says(&["stop"])),
        StopCause::Unknown => {}
    }
    let powered_off = format!("{printed}\n1 poweroff.target start waiting\n");
    assert_eq!(stop_cause::cause(&stop_cause::parse(&powered_off), "bbb-agent.service"), StopCause::PowerOff);
}

/// Checks that jobs are counted only from complete answers, and that an error has no more of Redis' answer than a
/// word, and nothing of the password.
pub(crate) fn redis_answers(input: &[u8]) {
    for password in [None, Some(MARK.into())] {
        match now(redis::ask(tokio::io::join(input, tokio::io::sink()), password.as_ref())) {
            Ok(jobs) => {
                let lines =
                    |mark| input.split(|byte| *byte == b'\n').filter(|line| line.starts_with(mark)).count();
                assert!(lines(b"*") >= 2, "queues and workers were listed");
                assert!(jobs == 0 || lines(b":") > 0, "{jobs}");
                assert!(
                    password.is_none() || lines(b"+OK") + lines(b"-ERR") > 0,
                    "the password was answered"
                );
            }
            Err(Problem::Lost(error)) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof),
            Err(problem) => {
                let words = problem.to_string();
                check_error(&words);
                assert!(words.len() < 120, "{words}");
            }
        }
    }
}

/// Checks that only a complete answer with the request's own id counts, and that a relay is open only by the server's own
/// word. The first 12 bytes of an input are that id.
pub(crate) fn stun_answers(input: &[u8]) {
    let Some((id, datagram)) = input.split_first_chunk::<12>() else { return };
    if let Some(relay) = stun::answer(datagram, *id) {
        assert_ne!(relay, Relay::Silent);
        let success = datagram.starts_with(&[1, 0x03]);
        assert!(success || datagram.starts_with(&[1, 0x13]));
        assert!(!success || relay.is_open());
        assert_eq!(datagram.get(8..20), Some(id.as_slice()));
        let mut other = *id;
        other[0] ^= 1;
        assert_eq!(stun::answer(datagram, other), None);
    }
    assert_eq!(stun::answer(&stun::request(*id), *id), None, "an echo is no answer");
    let answer = [&[1, 3, 0, 0, 0x21, 0x12, 0xa4, 0x42], id.as_slice()].concat();
    assert_eq!(stun::answer(&answer, *id), Some(Relay::Open));
}

/// Checks that each line of a list is a socket or makes the whole list worthless, and that no relay is counted that has
/// no line.
pub(crate) fn udp_sockets(input: &[u8]) {
    let lines = input.split_inclusive(|byte| *byte == b'\n').count();
    match coturn::parse(input) {
        Ok(sockets) => {
            assert_eq!(sockets.len() + 1, lines);
            assert!(input.ends_with(b"\n"), "a list that is cut off");
            let relays = in_use(&sockets, Some(3478), &(0..=u16::MAX));
            assert!(
                relays <= sockets.iter().filter(|socket| socket.bound && !socket.connected).count() as u64
            );
            assert_eq!(in_use(&sockets, Some(3478), &(3478..=3479)), 0);
        }
        Err(line) => assert!((1..=lines.max(1)).contains(&line), "{line} of {lines}"),
    }
}

/// Checks that a certificate ends before the year 10000, or cannot be read.
pub(crate) fn certificate_end(input: &[u8]) {
    match certificate::fields(input) {
        Ok(fields) => assert!(fields.end < 253_402_300_800 && fields.begin < 253_402_300_800),
        Err(error) => check_error(&error.to_string()),
    }
}

/// Checks that a fleet's certificate is the same when it is read again, and that a refusal does not quote the secret.
pub(crate) fn certificate_bundle(input: &[u8]) {
    let Some(text) = text(input) else { return };
    match Bundle::parse(text) {
        Ok(bundle) => {
            let again = Bundle::parse(&bundle.whole()).expect("what was written");
            assert_eq!((again.whole(), again.end()), (bundle.whole(), bundle.end()));
        }
        Err(defect) => check_error(&defect.to_string()),
    }
}

/// Checks that a URL in its normal form stays as it is, and leads to the host that it is taken for.
pub(crate) fn url(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let Some(normal) = normalise_url(text) else { return };
    assert_eq!(normalise_url(&normal), Some(normal.clone()));
    let Some(host) = host_of(&normal) else { return };
    if let Ok(followed) = reqwest::Url::parse(&normal) {
        assert!(followed.username().is_empty() && followed.password().is_none(), "{normal}");
        assert!(followed.query().is_none() && followed.fragment().is_none(), "{normal}");
    }
    // A foreign name may have another spelling (%41, \u{fc}), or be no name at all; the fleet's own names may not.
    if !Name::host(host).is_ok_and(|name| name.as_str() == host && name.as_str().ends_with(".example.org")) {
        return;
    }
    let followed = reqwest::Url::parse(&normal).unwrap();
    assert_eq!(followed.host_str(), Some(host), "{normal}");
}
