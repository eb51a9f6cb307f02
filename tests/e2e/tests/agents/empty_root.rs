//! The static binaries: nothing is loaded at run time, and a root directory with nothing in it but resolv.conf, the
//! certificate authorities, the configuration and BBB's property files is enough.
//!
//! The development profile is linked like the release; `AGENT_BIN_DIR=$PWD/target/dist cargo test
//! --workspace --test agents empty_root` tests the release binaries of `packaging/build`.

use std::path::Path;
use std::process::Output;

use sandbox::binaries;
use sandbox::cloud::{AWS_NAME, SCALELITE_NAME};
use sandbox::http::ServiceName;
use sandbox::tls::Authority;

use crate::jail::{self, Jail};

const NAME: &str = "vc-0123456789abcdef0.example.org";

async fn run(jail: &Jail, arguments: &[&str], code: i32) -> (String, String) {
    let Output { status, stdout, stderr } = jail.command(arguments).output().await.unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(code), "{arguments:?}: {status}\n{stdout}\n{stderr}");
    (stdout, stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_registers_shows_itself_and_leaves_from_an_empty_root() {
    let Some((cloud, jail)) = jail::jailed().await else { return };
    let before = jail.files();
    assert_eq!(
        before.iter().map(|path| path.to_str().unwrap()).collect::<Vec<_>>(),
        [
            "bbb-agent",
            "etc/bbb-agent/config.toml",
            "etc/bigbluebutton/bbb-web.properties",
            "etc/resolv.conf",
            "etc/ssl/certs/ca-certificates.crt",
            "usr/share/bbb-web/WEB-INF/classes/bigbluebutton.properties",
        ]
    );

    let (stdout, _) = run(&jail, &["register", "--wait"], 0).await;
    assert!(stdout.contains("is live on every authoritative server"), "{stdout}");
    assert_eq!(cloud.route53.records_named(&cloud.zone_id, NAME).len(), 2, "A and AAAA");
    assert_eq!(cloud.scalelite.servers().len(), 1);
    assert_eq!(cloud.journal.count(ServiceName::Route53, "ChangeResourceRecordSets"), 1);
    assert_eq!(
        cloud.journal.count(ServiceName::Route53, "ListResourceRecordSets"),
        0,
        "DNS is the read path"
    );

    cloud.scalelite.poll().await;
    let (stdout, _) = run(&jail, &["status"], 0).await;
    assert!(stdout.contains(NAME), "{stdout}");
    run(&jail, &["check"], 0).await;

    run(&jail, &["deregister"], 0).await;
    assert!(cloud.route53.records_named(&cloud.zone_id, NAME).is_empty());
    assert!(cloud.scalelite.servers().is_empty());
    run(&jail, &["status"], 3).await;
    let mut after = jail.files();
    // Nobody made /run/bbb-agent before, so the first command that changes something did.
    after.retain(|path| path != Path::new("run/bbb-agent/lock"));
    assert_eq!(after.len() + 1, jail.files().len(), "there is a lock");
    assert_eq!(after, before, "nothing else was written");

    // Names were resolved through resolv.conf, and the name servers found through SOA and NS.
    for name in [AWS_NAME, SCALELITE_NAME, &cloud.zone_name, "ns-1.awsdns.test", "ns-2.awsdns.test"] {
        assert!(cloud.resolver.asked(name) > 0, "{name} was not looked up");
    }
    // The host's own name and its label only where no absence is remembered.
    for name in [NAME.to_owned(), format!("_agent.{NAME}")] {
        assert_eq!(cloud.resolver.asked(&name), 0, "a recursive resolver was asked for {name}");
        assert!(cloud.dns.asked(&name) > 0, "no authoritative server was asked for {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_is_refused_in_clear_words() {
    let Some((cloud, jail)) = jail::jailed().await else { return };
    jail.trust(Authority::new().unwrap().pem());
    let limits = ["--set", "timeouts.register=10", "--set", "timeouts.status=10"];

    let (_, stderr) = run(&jail, &[&["register"], limits.as_slice()].concat(), 1).await;
    assert!(stderr.contains("certificate not trusted"), "{stderr}");
    assert!(cloud.route53.records_named(&cloud.zone_id, NAME).is_empty());

    let (stdout, _) = run(&jail, &[&["check"], limits.as_slice()].concat(), 1).await;
    assert!(stdout.contains("certificate not trusted"), "{stdout}");
    assert_eq!(
        cloud.journal.count(ServiceName::Scalelite, ""),
        0,
        "no request was sent over such a connection"
    );
    assert_eq!(cloud.journal.count(ServiceName::SecretsManager, ""), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_without_any_authority_says_what_to_install() {
    let Some((cloud, jail)) = jail::jailed().await else { return };
    std::fs::remove_dir_all(jail.root().join("etc/ssl")).unwrap();
    let (_, stderr) = run(&jail, &["register"], 1).await;
    assert!(stderr.contains("no certificate authority to trust was found"), "{stderr}");
    assert!(stderr.contains("ca-certificates"), "{stderr}");
    assert!(cloud.scalelite.servers().is_empty());
}

#[test]
fn the_binaries_are_static() {
    for agent in ["bbb-agent", "turn-agent"] {
        let path = binaries::path(agent).unwrap();
        let elf = Elf::read(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(elf, Elf { interpreter: false, needed: 0 }, "{}", path.display());
    }
}

/// What an ELF file asks of the system before it runs.
#[derive(Debug, PartialEq, Eq)]
struct Elf {
    /// Whether it names a program interpreter, such as ld.so.
    interpreter: bool,
    /// How many shared libraries it needs.
    needed: usize,
}

impl Elf {
    /// Reads the program headers and the dynamic section of a 64-bit little-endian file (elf(5)).
    fn read(file: &[u8]) -> Result<Self, String> {
        if file.get(..6) != Some(b"\x7fELF\x02\x01".as_slice()) {
            return Err("not a 64-bit little-endian ELF file".to_owned());
        }
        let number = |at: usize, bytes: usize| -> Result<usize, String> {
            let field = file.get(at..at + bytes).ok_or("a header is cut off")?;
            let mut word = [0; 8];
            word[..bytes].copy_from_slice(field);
            usize::try_from(u64::from_le_bytes(word)).map_err(|error| error.to_string())
        };
        let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        let mut elf = Self { interpreter: false, needed: 0 };
        for header in (0..count).map(|index| table + index * size) {
            match number(header, 4)? {
                3 => elf.interpreter = true,
                2 => {
                    let (offset, length) = (number(header + 8, 8)?, number(header + 32, 8)?);
                    for entry in (offset..offset + length).step_by(16) {
                        match number(entry, 8)? {
                            0 => break,
                            1 => elf.needed += 1,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(elf)
    }
}

#[test]
fn the_reader_sees_an_interpreter_and_needed_libraries() {
    // A header, two program headers (PT_INTERP, PT_DYNAMIC), a dynamic section: NEEDED, SONAME, NEEDED, the end,
    // beyond.
    let mut file = vec![0; 64 + 2 * 56];
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    file[32] = 64;
    file[54] = 56;
    file[56] = 2;
    file[64] = 3;
    file[120] = 2;
    file[128] = 176;
    file[152] = 5 * 16;
    for tag in [1_u8, 14, 1, 0, 1] {
        file.extend([[tag, 0, 0, 0, 0, 0, 0, 0], [0; 8]].concat());
    }
    assert_eq!(Elf::read(&file).unwrap(), Elf { interpreter: true, needed: 2 });
    assert!(Elf::read(b"#!/bin/sh").is_err());
    assert!(Elf::read(&file[..100]).is_err(), "cut off");
}
