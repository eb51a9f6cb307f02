use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use plan::record::{HostTemplate, Name};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::bbb::addresses::repair::{Places, is_unfinished};

const FORMER: &str = "bbb-image.invalid";
const OWN: &str = "vc-0aaaaaaaaaaaaaaaa.example.org";
const SECRETS: [&str; 2] =
    ["SecretOfTheImage0123456789abcdefghijklmn", "TurnSecretOfTheImage+0123456789/abcdefghij="];

/// A host that was made from an image in which BBB was installed under [`FORMER`].
struct Host(TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/image/bbb-3.0");
        for path in FILES {
            if let Ok(text) = fs::read(below(&image, path)) {
                fs::create_dir_all(host.path(path).parent().unwrap()).unwrap();
                fs::write(host.path(path), text).unwrap();
            }
        }
        host
    }

    fn places(&self) -> Places<'_> {
        Places::of("bbb-agent", self.0.path())
    }

    fn path(&self, path: &str) -> PathBuf {
        below(self.0.path(), path)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn files(&self) -> Vec<(&'static str, String)> {
        let there = FILES.into_iter().filter(|path| self.path(path).exists());
        there.map(|path| (path, self.text(path))).collect()
    }

    fn journal(&self) -> Journal {
        Journal::at(&self.places().directory)
    }

    fn repair(&self) -> Repaired {
        let own = Name::host(OWN).unwrap();
        let (template, domain) =
            (HostTemplate::parse("vc-{instance}").unwrap(), Name::host("example.org").unwrap());
        let names = Names { own: &own, fleet: Some((&template, &domain)) };
        let mut repaired = Repaired::default();
        rename(self.0.path(), &self.journal(), &names, &mut repaired).unwrap();
        repaired
    }

    /// The value of a property of BBB's.
    fn property(&self, key: &str) -> String {
        properties::parse(&self.text(PROPERTIES)).remove(key).unwrap()
    }

    /// Fails unless the host is itself in every file, with secrets that the image never had.
    fn is_itself(&self) {
        let bbb = self.property(SECRET);
        assert_eq!((self.property(SERVER_URL), bbb.len()), (format!("https://{OWN}"), 64));
        let coturn = self.text(COTURN);
        let coturn = coturn.lines().find_map(|line| line.strip_prefix(COTURN_SECRET)).unwrap();
        assert_ne!(bbb, coturn);
        for (path, text) in self.files() {
            let directory = "/etc/letsencrypt/live/bbb-image.invalid/";
            assert!(!text.replace(directory, "").contains(FORMER), "{path}: {text}");
            assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{path}: {text}");
        }
        let [akka, hooks, turn] = ["apps-akka.conf", "default.yml", "servers.xml"]
            .map(|end| self.files().into_iter().find(|(path, _)| path.ends_with(end)).unwrap().1);
        assert!(akka.contains(&bbb) && hooks.contains(&bbb) && turn.matches(coturn).count() == 2);
        assert!(turn.contains("SecretOfTheFleetsOwnTurnServers0123456789"), "those of others stay: {turn}");
        assert!(!self.places().directory.join("secrets").exists());
    }
}

#[test]
fn a_host_from_an_image_becomes_itself() {
    let host = Host::new();
    let inodes = |host: &Host| -> Vec<u64> {
        host.files().iter().map(|(path, _)| fs::metadata(host.path(path)).unwrap().ino()).collect()
    };
    let before = inodes(&host);
    let Repaired { changed, failed } = host.repair();
    assert_eq!(failed, [""; 0]);
    host.is_itself();
    assert_eq!(inodes(&host), before, "files keep owner, mode and links");
    let words =
        format!("/etc/nginx/sites-available/bigbluebutton: the host's name is {OWN} now, not {FORMER}");
    assert!(changed.contains(&words), "{changed:?}");
    for secret in SECRETS.into_iter().chain([host.property(SECRET).as_str()]) {
        assert!(!format!("{changed:?}").contains(secret), "{changed:?}");
    }
    let note = fs::read_to_string(host.places().directory.join("unfinished")).unwrap();
    assert_eq!(note, "name\n", "all of BBB has to be restarted");
    let (path, secrets) = ("usr/share/bbb-web/WEB-INF/classes/bigbluebutton.properties", host.files());
    assert!(host.text(path).contains("330a8b08c3b4c61533e1d0c5ce1ac88f"), "a known secret is BBB's default");
    assert_eq!(host.repair(), Repaired::default(), "twice is nothing the second time");
    assert_eq!(host.files(), secrets);
    // Each host draws its own.
    let other = Host::new();
    other.repair();
    assert_ne!(other.property(SECRET), host.property(SECRET));
}

#[test]
fn a_host_whose_name_an_operator_has_chosen_keeps_it() {
    for name in ["meet.example.org", "vc-0aaaaaaaaaaaaaaaa.example.com", "203.0.113.10"] {
        let host = Host::new();
        for (path, text) in host.files() {
            fs::write(host.path(path), text.replace(FORMER, name)).unwrap();
        }
        let before = host.files();
        assert_eq!(host.repair(), Repaired::default());
        assert_eq!(host.files(), before);
        assert!(!is_unfinished(&host.places()).unwrap());
    }
}

#[test]
fn an_image_of_another_instance_becomes_this_one() {
    let host = Host::new();
    for (path, text) in host.files() {
        fs::write(host.path(path), text.replace(FORMER, "vc-0bbbbbbbbbbbbbbbb.example.org")).unwrap();
    }
    assert_eq!(host.repair().failed, [""; 0]);
    assert_eq!(host.property(SERVER_URL), format!("https://{OWN}"));
}

/// The properties tell the next run what the former name was, so they are written last, and not before all others are.
#[test]
fn a_file_that_cannot_be_written_leaves_the_former_name_known() {
    let host = Host::new();
    let (nginx, second) = (host.path(FILES[0]), host.0.path().join("second"));
    fs::hard_link(&nginx, &second).unwrap();
    let failed = host.repair().failed;
    assert!(
        matches!(failed.as_slice(), [why] if why.contains("bigbluebutton: it has other names too")),
        "{failed:?}"
    );
    assert_eq!(host.property(SERVER_URL), format!("https://{FORMER}"));
    fs::remove_file(second).unwrap();
    assert_eq!(host.repair().failed, [""; 0]);
    host.is_itself();
}

#[test]
fn a_short_secret_is_not_replaced_by_its_text() {
    let host = Host::new();
    let properties = host.text(PROPERTIES).replace(SECRETS[0], "server");
    fs::write(host.path(PROPERTIES), properties).unwrap();
    assert_eq!(host.repair().failed, [""; 0]);
    assert_eq!(host.property(SECRET), "server");
    assert_eq!(host.property(SERVER_URL), format!("https://{OWN}"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Wherever a run is cut short: the next one makes the host itself, with the secrets that were drawn first.
    #[test]
    fn the_next_run_finishes_what_a_crash_has_left(
        cut in prop::sample::select(FILES.to_vec()),
        at in any::<prop::sample::Index>(),
    ) {
        let host = Host::new();
        let image = host.files();
        prop_assume!(image.iter().any(|(path, text)| *path == cut && text.contains(FORMER)));
        // This file cannot be written; all others are, and the secrets are drawn.
        let second = host.0.path().join("second");
        fs::hard_link(host.path(cut), &second).unwrap();
        prop_assert_eq!(host.repair().failed.len(), 1);
        fs::remove_file(&second).unwrap();
        // In fact the run was cut short while it wrote this file, of which a part has reached the disk.
        host.interrupted(cut, at);
        for (path, old) in image.iter().skip_while(|(path, _)| *path != cut).skip(1) {
            fs::write(host.path(path), old).unwrap();
        }
        prop_assert_eq!(host.repair().failed, [""; 0]);
        host.is_itself();
        prop_assert!(is_unfinished(&host.places()).unwrap());
        prop_assert_eq!(host.repair(), Repaired::default());
    }
}

impl Host {
    fn interrupted(&self, path: &'static str, at: prop::sample::Index) {
        let journal = self.journal();
        let own = Name::host(OWN).unwrap();
        let names = Names { own: &own, fleet: None };
        let former = former(self.0.path(), &journal, &names).unwrap().unwrap();
        let secrets = former.secrets.iter();
        let secrets: Vec<_> =
            secrets.map(|secret| (secret, Zeroizing::new(journal.secret(secret.kind).unwrap()))).collect();
        let change = |text: &str| changed(path, text, &former.name, &names, &secrets);
        let edit = edit(self.0.path(), &journal, path, change).unwrap().unwrap();
        journal.intend(&edit).unwrap();
        let left = at.index(edit.old.len().min(edit.new.len()));
        let torn = [&edit.new[..left], edit.old.get(left..).unwrap_or_default()].concat();
        fs::write(self.path(path), torn).unwrap();
    }
}
