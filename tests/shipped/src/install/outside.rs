//! Words from outside: what the metadata service may say, and what install.sh makes of it.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use e2e::Running;
use sandbox::cloud::BUCKET;
use sandbox::http::ServiceName;

use super::host::{Host, INSTALLER, Service, With};
use crate::read;

const ROLE: &str = "bbb-fleet-host";
/// The fields of the role's keys that install.sh reads.
const FIELDS: [&str; 3] = ["AccessKeyId", "SecretAccessKey", "Token"];

/// Answers that would be more than a word in curl's configuration, or lead to another host.
fn answers(marker: &Path, evil: &str) -> Vec<Vec<u8>> {
    let marker = marker.display();
    let texts = [
        String::new(),
        format!("x\"\noutput = \"{marker}"),
        format!("x\"\r\noutput = \"{marker}\"\n#"),
        format!("x\noutput = {marker}\n"),
        format!("x\"\nurl = \"http://{evil}/"),
        format!("{evil}/"),
        format!("x@{evil}"),
        "evil.example".to_owned(),
        "x\\".to_owned(),
        "$(id)`id`;id".to_owned(),
        format!("x\0\"\noutput = \"{marker}"),
        "a".repeat(1 << 20),
    ];
    texts.into_iter().map(String::into_bytes).collect()
}

/// The paths of the metadata service, with what to answer there for a hostile word.
fn forgeries(host: &Host, word: &[u8]) -> Vec<(String, Vec<u8>)> {
    let plain = ["api/token", "meta-data/placement/region", "meta-data/services/domain"];
    let roles = "meta-data/iam/security-credentials/";
    let mut forged: Vec<_> = plain.map(|path| (path.to_owned(), word.to_vec())).into();
    forged.push((roles.to_owned(), word.to_vec()));
    let keys = host.cloud.vault.role(ROLE);
    let honest = [keys.access_key, keys.secret_key, keys.session_token.unwrap()];
    for hostile in FIELDS {
        let mut document = b"{\n".to_vec();
        for (field, value) in FIELDS.iter().zip(&honest) {
            let value = if *field == hostile { word } else { value.as_bytes() };
            document.extend([b"  \"", field.as_bytes(), b"\" : \"", value, b"\",\n"].concat());
        }
        document.extend(b"  \"Code\" : \"Success\"\n}\n");
        forged.push((format!("{roles}{ROLE}"), document));
    }
    forged
}

/// On today's and yesterday's shells: nothing that the metadata service says writes a file, or reaches another host.
#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_metadata_service_writes_no_file_and_reaches_no_host() {
    e2e::at_once([With::Curl, With::Busybox], |with| async move {
        let Some(host) = Host::new(with).await else { return };
        host.release("0.1.0", Service::Ready);
        // All that is neither the metadata service nor the bucket leads here.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (evil, imds) = (listener.local_addr().unwrap(), host.cloud.imds_address());
        let bucket = format!("{BUCKET}.s3.eu-central-1.amazonaws.com:443:{}", host.cloud.aws_address());
        let lead = format!("--connect-to {imds}:{imds} --connect-to {bucket} --connect-to ::{evil}");
        host.program("curl", &format!("exec /usr/bin/curl \"$@\" {lead}\n"));
        let asked = || match listener.accept() {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        };
        let marker = host.path("written");
        let run = async |code: i32, arguments: &[&str], words: &str| {
            let mut command = host.command(arguments);
            command.env_remove("AWS_ENDPOINT_URL");
            let run = Running::start(command).end().await;
            assert_eq!(run.code, code, "{words}: {run}");
            run
        };
        for word in answers(&marker, &evil.to_string()) {
            for (path, answer) in forgeries(&host, &word) {
                let shown = format!("{path}: {}", String::from_utf8_lossy(&answer[..answer.len().min(200)]));
                host.cloud.journal.clear();
                host.cloud.imds.forge(&path, Some(answer.into()));
                let run = run(1, &["--wait", "1"], &shown).await;
                run.says(&["Nothing was changed"]);
                assert!(host.cloud.journal.count(ServiceName::Imds, &path) > 0, "{shown}: it was not asked");
                host.cloud.imds.forge(&path, None);
                assert!(!marker.exists(), "{shown}: a file was written\n{run}");
                assert!(!asked(), "{shown}: another host was asked\n{run}");
                assert!(
                    !run.stderr.contains("output") && run.stderr.len() < 1000,
                    "{shown}: repeated\n{run}"
                );
            }
        }
        // The same host with honest answers; and one that is asked for another host.
        run(0, &[], "honest").await;
        assert!(!asked());
        run(1, &["--wait", "1", "--bucket", "another"], "another bucket").await;
        assert!(asked());
    })
    .await;
}

/// What S3 says is printed, for people at a terminal.
#[tokio::test(flavor = "multi_thread")]
async fn what_s3_says_does_not_steer_the_terminal() {
    let Some(host) = Host::new(With::Curl).await else { return };
    host.release("0.1.0", Service::Ready);
    host.program(
        "aws",
        "printf 'An error occurred (X) when calling: \\033]0;owned\\007\\033[2J%01000d\\n' 7 >&2\nexit 255\n",
    );
    let run = host.expect(1, &["--wait", "1"]).await;
    run.says(&["An error occurred (X)"]);
    assert!(!run.stderr.contains('\u{1b}') && !run.stderr.contains('\u{7}'), "{run}");
    assert!(run.stderr.len() < 1500, "{run}");
}

/// The bytes that may stand in a word of each class; everything else is refused.
const CLASSES: [(&str, &str, &str); 10] = [
    ("account", "123456789012", "0-9"),
    ("code", "NoSuchKey", "0-9A-Za-z"),
    ("date", "2026-11-01T00:00:00Z", "0-9TZ:-"),
    ("key", "ASIAEXAMPLE123", "0-9A-Za-z_"),
    ("region", "eu-central-1", "0-9a-z-"),
    ("role", "bbb-fleet-host", "0-9A-Za-z_+=,.@-"),
    ("secret", "abc/DEF+123=", "0-9A-Za-z/+="),
    ("session", "abc/DEF+123=", "0-9A-Za-z/+=_-"),
    ("token", "abc/DEF+123=", "0-9A-Za-z/+=_-"),
    ("version", "1.2.3~rc1", "0-9A-Za-z.~-"),
];

/// All bytes of a set such as `0-9a-z_-`, in which a range has a letter or a digit at both ends.
fn bytes(set: &str) -> BTreeSet<u8> {
    let set = set.as_bytes();
    let mut found: BTreeSet<u8> = set.iter().copied().collect();
    for window in set.windows(3) {
        match window {
            [first, b'-', last] if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() => {
                found.extend(*first..=*last);
            }
            _ => {}
        }
    }
    if !set.ends_with(b"-") {
        found.remove(&b'-');
    }
    found
}

#[test]
fn a_word_consists_of_what_its_class_has() {
    let script = read(INSTALLER);
    let (_, function) = script.split_once("\nplain() {\n").expect("the function");
    let (function, _) = function.split_once("\n}\n").expect("its end");
    let mut all = String::new();
    for byte in 1..=255_u8 {
        all.push_str(&format!("{byte:03o} "));
    }
    for shell in [&["dash"][..], &["busybox", "sh"]] {
        for (class, good, set) in CLASSES {
            // The byte replaces one in the middle, so that the length stays; a line's end there is not cut off.
            let (before, after) = good.split_at(good.len() / 2);
            let after = &after[1..];
            let text = format!(
                "LC_ALL=C; export LC_ALL\nplain() {{\n{function}\n}}\nplain '{good}' {class} || exit 3\n\
                 plain '' {class} && exit 4\nfor o in {all}; do byte=$(printf \"\\\\${{o}}x\"); byte=${{byte%x}}\n\
                 if plain \"{before}${{byte}}{after}\" {class}; then echo \"$o\"; fi; done; exit 0\n"
            );
            let output = Command::new(shell[0]).args(&shell[1..]).args(["-c", &text]).output().unwrap();
            assert!(output.status.success(), "{shell:?} {class}: {output:?}");
            let accepted = String::from_utf8(output.stdout).unwrap();
            let accepted: BTreeSet<u8> =
                accepted.lines().map(|octal| u8::from_str_radix(octal, 8).unwrap()).collect();
            assert_eq!(accepted, bytes(set), "{shell:?} {class}");
        }
        let text = format!("plain() {{\n{function}\n}}\nplain x nonsense || plain x '' || exit 5\n");
        let output = Command::new(shell[0]).args(&shell[1..]).args(["-c", &text]).output().unwrap();
        assert_eq!(output.status.code(), Some(5), "a class that is unknown has no words");
    }
}
