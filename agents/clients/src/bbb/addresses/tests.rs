use std::path::PathBuf;

use plan::addresses::{Announced, Own, Reading, judge};
use proptest::prelude::*;

use super::*;

const OLD: &str = "203.0.113.10";
const OWN: Own = Own {
    announced: std::net::Ipv4Addr::new(203, 0, 113, 99),
    private: std::net::Ipv4Addr::new(10, 0, 0, 5),
};

/// The files of a BBB 3.0 with LiveKit behind NAT, as bbb-install leaves them, with comments and secrets.
fn installed() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/addresses/bbb-3.0")
}

fn text(file: File) -> String {
    std::fs::read_to_string(installed().join(file.path().trim_start_matches('/'))).unwrap()
}

/// Returns the value at each place of a text.
fn found(file: File, text: &str) -> Vec<(Place, String)> {
    let sites = sites(file, text.as_bytes()).unwrap_or_else(|defect| panic!("{file:?}: {defect}\n{text}"));
    values(text.as_bytes(), &sites).into_iter().map(|value| (value.place, value.text)).collect()
}

fn texts(file: File, text: &str) -> Vec<String> {
    found(file, text).into_iter().map(|(_, text)| text).collect()
}

const EXPECTED: [(Place, &[&str]); 17] = [
    (Place::ExternalRtp, &[OLD]),
    (Place::ExternalSip, &[OLD]),
    (Place::WsBinding, &[OLD]),
    (Place::WssBinding, &[OLD]),
    (Place::ProxyPass, &[OLD]),
    (Place::Loopback, &[OLD]),
    (Place::SfuFreeswitch, &[OLD]),
    (Place::SfuSip, &[OLD]),
    (Place::SfuWebrtc, &[OLD]),
    (Place::SfuPlain, &[OLD]),
    (Place::LivekitIncludes, &[OLD, "10.0.0.5"]),
    (Place::LivekitNode, &[OLD]),
    (Place::AllowedPeer, &[OLD, "10.0.0.5"]),
    (Place::TurnExternal, &[]),
    (Place::TurnListening, &["10.0.0.5"]),
    (Place::TurnRelay, &["10.0.0.5"]),
    (Place::Dnat, &[OLD]),
];

/// Each address is found where it stands, whatever ends the lines and however the text ends; none in a comment.
#[test]
fn addresses_are_found_in_the_files_of_an_installation() {
    let as_is = |text: &str| text.to_owned();
    let crlf = |text: &str| text.replace('\n', "\r\n");
    let unended = |text: &str| text.trim_end().to_owned();
    let marked = |text: &str| format!("\u{feff}{text}");
    for change in [as_is as fn(&str) -> String, crlf, unended] {
        for (place, expected) in EXPECTED {
            let text = change(&text(place.file()));
            let here = found(place.file(), &text).into_iter().filter(|(there, _)| *there == place);
            let here: Vec<String> = here.map(|(_, text)| text).collect();
            assert_eq!(here, expected, "{place:?}\n{text}");
        }
    }
    for file in [File::Vars, File::External, File::Sfu, File::Livekit] {
        assert_eq!(
            texts(file, &marked(&text(file))),
            texts(file, &text(file)),
            "{file:?} with a byte order mark"
        );
    }
}

#[test]
fn an_installation_with_another_address_is_seen_at_every_place() {
    let readings: Vec<(File, Reading)> = File::ALL
        .into_iter()
        .map(|file| {
            let text = text(file);
            let sites = sites(file, text.as_bytes()).unwrap();
            (file, Reading::Values(values(text.as_bytes(), &sites)))
        })
        .collect();
    let announced = Announced::of(&readings, Ok(false), Some(&OWN));
    let mut places: Vec<Place> = announced.differences().iter().map(|difference| difference.place).collect();
    let expected = EXPECTED.into_iter().filter(|(_, texts)| texts.contains(&OLD)).map(|(place, _)| place);
    let mut expected: Vec<Place> = expected.collect();
    expected.sort();
    places.sort();
    assert_eq!(places, expected, "{announced}");
    let same = Own { announced: OLD.parse().unwrap(), ..OWN };
    assert_eq!(Announced::of(&readings, Ok(false), Some(&same)), Announced::Right);
}

/// Values that an operator or an older version of bbb-install has written.
#[test]
fn other_values_are_read_as_they_stand() {
    let vars = |data: &str| format!(r#"<include><X-PRE-PROCESS cmd="set" data="{data}"/></include>"#);
    let external = |value: &str| format!(r#"<profile><param name="ws-binding" value="{value}"/></profile>"#);
    let sfu = |value: &str| format!("freeswitch:\n  ip: {value}\n");
    for (file, text, expected) in [
        (File::Vars, vars("external_rtp_ip=host:meet.example.org"), vec!["host:meet.example.org"]),
        (File::Vars, vars("external_rtp_ip=stun:stun.example.org"), vec!["stun:stun.example.org"]),
        (File::Vars, vars("external_rtp_ip = auto-nat "), vec!["auto-nat"]),
        (File::Vars, vars("external_rtp_ip"), vec![]),
        (File::Vars, "<include/>".to_owned(), vec![]),
        (File::Vars, String::new(), vec![]),
        (File::External, external(":5066"), vec![""]),
        (File::External, external("$${local_ip_v4}:5066"), vec!["$${local_ip_v4}"]),
        (File::External, external("203.0.113.10"), vec![OLD]),
        (File::Sip, "location /ws { proxy_pass https://203.0.113.10:7443; }".to_owned(), vec![OLD]),
        (File::Sip, "\tproxy_pass\thttp://freeswitch:5066/;\n".to_owned(), vec!["freeswitch"]),
        (File::Sip, "proxy_pass $backend;".to_owned(), vec![]),
        (File::Sip, "#proxy_pass http://203.0.113.10:5066;".to_owned(), vec![]),
        (File::DummyNic, "ExecStart=-/usr/sbin/ip address add 203.0.113.10/32 dev lo".to_owned(), vec![OLD]),
        (File::DummyNic, "ExecStart=/sbin/ip addr add 203.0.113.10 dev eth0".to_owned(), vec![]),
        (File::DummyNic, "ExecStop=/sbin/ip addr del 203.0.113.10 dev lo".to_owned(), vec![]),
        (File::Sfu, "other: &address 203.0.113.10\nfreeswitch:\n  ip: *address\n".to_owned(), vec![]),
        (File::Sfu, sfu("\"203.0.113.10\" # ours"), vec![OLD]),
        (File::Sfu, sfu("''"), vec![""]),
        (File::Sfu, "freeswitch: {ip: 203.0.113.10}".to_owned(), vec![OLD]),
        (File::Sfu, "\"freeswitch.ip\": 203.0.113.10".to_owned(), vec![]),
        (File::Sfu, "other:\n  freeswitch:\n    ip: 203.0.113.10\n".to_owned(), vec![]),
        (File::Sfu, String::new(), vec![]),
        (File::Livekit, "rtc:\n  ips:\n    includes: [203.0.113.0/24]\n".to_owned(), vec!["203.0.113.0/24"]),
        (File::Livekit, "rtc:\n  use_external_ip: false\n".to_owned(), vec![]),
        (File::Coturn, "external-ip = 203.0.113.10/10.0.0.5".to_owned(), vec![OLD]),
        (File::Coturn, "allowed-peer-ip 203.0.113.10\r\n".to_owned(), vec![OLD]),
        (File::Coturn, "  allowed-peer-ip=10.0.0.0-10.0.0.9".to_owned(), vec!["10.0.0.0-10.0.0.9"]),
        (File::Coturn, "#allowed-peer-ip=203.0.113.10\nallowed-peer-ips=203.0.113.10".to_owned(), vec![]),
        (
            File::Rules,
            "*nat\n-A OUTPUT ! -s 10.0.0.5/32 -d 203.0.113.10/32 -j DNAT --to-destination 10.0.0.5"
                .to_owned(),
            vec![],
        ),
        (
            File::Rules,
            "-A OUTPUT -s 10.0.0.5/32 -d 203.0.113.10/32 -j DNAT --to-destination 10.0.0.5".to_owned(),
            vec![],
        ),
        (
            File::Rules,
            "*nat\n-A OUTPUT -s 10.0.0.5/32 -d 203.0.113.10/32 -j DNAT --to-destination 10.0.0.6".to_owned(),
            vec![],
        ),
        (File::Rules, "*nat\n-A OUTPUT -s 10.0.0.5/32 -d 203.0.113.10/32 -j ACCEPT".to_owned(), vec![]),
        (
            File::Rules,
            "*nat\n-A PREROUTING -s 10.0.0.5/32 -d 203.0.113.10/32 -j DNAT --to-destination 10.0.0.5"
                .to_owned(),
            vec![],
        ),
    ] {
        assert_eq!(texts(file, &text), expected, "{file:?}: {text}");
    }
}

/// A file that is not what it should be says where, and quotes nothing.
#[test]
fn what_cannot_be_understood_is_told_without_its_text() {
    for (file, text, expected) in [
        (File::Vars, "<include><secret", "it is no XML from byte"),
        (File::Vars, "<include></other>", "it is no XML from byte"),
        (File::Sfu, "a: [secret", "it is no YAML at line"),
        (File::Sfu, "freeswitch:\n  ip: \"203.0.113.1\\x30\"\n", "it is no YAML at line 2, column 7"),
        (File::Livekit, "keys:\n\tsecret: 1\n", "it is no YAML at line 2"),
        (File::Livekit, "a: *secret", "it is no YAML at line 1"),
    ] {
        let defect = sites(file, text.as_bytes()).expect_err(text).to_string();
        assert!(defect.starts_with(expected), "{file:?}: {defect}");
        assert!(!defect.contains("secret"), "{defect}");
    }
    assert_eq!(sites(File::Coturn, b"secret=\xff"), Err(Defect::NoText(7)));
    let endless = "allowed-peer-ip=10.0.0.5\n".repeat(65);
    assert_eq!(sites(File::Coturn, endless.as_bytes()), Err(Defect::Endless));
}

fn any_file() -> impl Strategy<Value = File> {
    prop::sample::select(File::ALL.to_vec())
}

proptest! {
    /// Whatever the bytes, each site is a part of the file.
    #[test]
    fn any_bytes_are_read(file in any_file(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(sites) = sites(file, &bytes) {
            prop_assert_eq!(values(&bytes, &sites).len(), sites.len());
        }
    }

    /// A file that was damaged in the middle gives parts of itself, too, and never a panic.
    #[test]
    fn damaged_files_are_read(file in any_file(), at in any::<prop::sample::Index>(), put in "[\\PC\n]{0,8}") {
        let text = text(file);
        let mut at = at.index(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let damaged = format!("{}{put}{}", &text[..at], &text[at..]);
        if let Ok(sites) = sites(file, damaged.as_bytes()) {
            let values = values(damaged.as_bytes(), &sites);
            prop_assert_eq!(values.len(), sites.len());
            prop_assert_eq!(judge(&values, &OWN).len(), values.len());
        }
    }
}

/// The reader tells one secret of the TURN servers from another, and never the secret.
#[tokio::test]
async fn the_readers_answer_has_a_digest_and_no_secret_of_the_turn_servers() {
    let root = tempfile::tempdir().unwrap();
    let file = below(root.path(), plan::addresses::TURN_SERVERS);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    assert_eq!(read("bbb-agent", root.path(), None).await.turn_servers, Ok(None));
    let mut seen = Vec::new();
    for secret in ["the-first-secret", "the-second-secret"] {
        std::fs::write(&file, format!("<bean value=\"{secret}\"/>")).unwrap();
        let answer = crate::bbb::reader::answer(None, root.path()).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        let digest = digest(&std::fs::read(&file).unwrap());
        assert!(answer.contains(&digest) && !answer.contains(secret), "{answer}");
        assert_eq!(read("bbb-agent", root.path(), None).await.turn_servers, Ok(Some(digest.clone())));
        seen.push(digest);
    }
    assert_ne!(seen[0], seen[1]);
}
