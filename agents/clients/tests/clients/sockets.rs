//! The UDP sockets of a host, as Linux 6.1 lists them beside Debian's coturn with two allocations
//! (`tests/cases/sockets`).

use std::path::{Path, PathBuf};

use clients::coturn::{parse, sockets, sockets_in};
use plan::relay::{Socket, in_use};
use tokio::net::UdpSocket;

const ALL: std::ops::RangeInclusive<u16> = 1024..=u16::MAX;

fn case(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/sockets")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(case(name)).unwrap()
}

fn of(owner: u32, port: u16) -> Socket {
    Socket { bound: true, port, connected: false, owner }
}

#[tokio::test]
async fn the_lists_of_both_families() {
    let found = sockets_in([&case("udp"), &case("udp6")]).await.unwrap();
    let expected = [
        of(113, 3478),
        of(113, 3478),
        of(113, 56_043),
        Socket { connected: true, ..of(0, 40_607) },
        Socket { bound: false, ..of(65_534, 47_750) },
        of(113, 3478),
        of(113, 56_044),
    ];
    assert_eq!(found, expected);
    assert_eq!(in_use(&found, Some(3478), &ALL), 2);
}

#[tokio::test]
async fn a_kernel_without_ipv6_has_one_list() {
    let found = sockets_in([&case("udp"), Path::new("/nonexistent/udp6")]).await.unwrap();
    assert_eq!(in_use(&found, Some(3478), &ALL), 1);
    // Without the other one nothing is known.
    let error = sockets_in([Path::new("/nonexistent/udp"), &case("udp6")]).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot read /nonexistent/udp: "), "{error}");
}

#[tokio::test]
async fn a_list_that_makes_no_sense_is_no_list() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("udp");
    std::fs::write(&file, text("udp").replace("0A00000A:DAEB", "0A00000A;DAEB")).unwrap();
    let error = sockets_in([&file, &case("udp6")]).await.unwrap_err();
    assert!(error.to_string().ends_with("udp makes no sense in line 4"), "{error}");
}

#[test]
fn every_line_counts_or_none() {
    for (list, expected) in [("udp", 5), ("udp6", 2)] {
        let text = text(list);
        assert_eq!(parse(text.as_bytes()).unwrap().len(), expected);
        // Cut off anywhere but behind a line.
        for end in (0..text.len()).filter(|end| *end == 0 || text.as_bytes()[end - 1] != b'\n') {
            assert!(parse(&text.as_bytes()[..end]).is_err(), "{:?}", &text[..end]);
        }
    }
    let heading = text("udp").lines().next().unwrap().to_owned();
    assert_eq!(parse(format!("{heading}\n").as_bytes()), Ok(Vec::new()));
    let good = "  482: 0A00000A:DAEB 00000000:0000 07 0:0 00:0 00000000   113        0 1 2 0 0";
    assert_eq!(parse(format!("{heading}\n{good}\n").as_bytes()), Ok(vec![of(113, 56_043)]));
    for (good_part, bad_part) in [
        ("482:", "482"),
        ("0A00000A:DAEB", "0A00000A"),
        ("0A00000A:DAEB", "0A0000:DAEB"),
        ("0A00000A:DAEB", "0A00000A:1DAEB"),
        ("0A00000A:DAEB", "0A00000A:+AEB"),
        ("0A00000A:DAEB", "0A00000Ä:DAEB"),
        ("0A00000A:DAEB", "ZZ00000A:DAEB"),
        ("00000000:0000", "00000000:"),
        ("  113  ", "  -1  "),
        ("  113  ", "  4294967296  "),
        ("  113        0 1 2 0 0", "  113"),
        ("  113        0 1 2 0 0", ""),
    ] {
        let bad = good.replacen(good_part, bad_part, 1);
        assert_ne!(bad, good);
        assert_eq!(parse(format!("{heading}\n{good}\n{bad}\n").as_bytes()), Err(3), "{bad}");
    }
    for junk in [&b""[..], b"\n", b"\xff\xfe\n", b"no list\n"] {
        assert_eq!(parse(junk), Err(1), "{junk:?}");
    }
}

/// The kernel's own list: a socket of this test is in it while it lives.
#[tokio::test]
async fn this_kernel_lists_a_socket_while_it_lives() {
    let relay = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let port = relay.local_addr().unwrap().port();
    assert_eq!(in_use(&sockets().await.unwrap(), None, &(port..=port)), 1);
    relay.connect(("127.0.0.1", 9)).await.unwrap();
    assert_eq!(in_use(&sockets().await.unwrap(), None, &(port..=port)), 0, "it is connected");
}
