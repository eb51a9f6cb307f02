use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use plan::addresses::{Announced, File, Own};
use proptest::prelude::*;
use tempfile::TempDir;

use super::journal::{Journal, is_unfinished};
use super::*;

const OLD: &str = "203.0.113.10";
const NEW: &str = "203.0.113.99";
/// The host's name.
const NAME: &str = "vc-0aaaaaaaaaaaaaaaa.example.org";
const OWN: Own = Own { announced: Ipv4Addr::new(203, 0, 113, 99), private: Ipv4Addr::new(10, 0, 0, 5) };

/// A host whose BBB was installed with [`OLD`], and the TURN servers that it has to tell its clients.
struct Host(TempDir, Option<TurnServers>);

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap(), None);
        let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/addresses/bbb-3.0");
        for file in File::ALL {
            let text = fs::read(installed.join(file.path().trim_start_matches('/'))).unwrap();
            fs::create_dir_all(host.path(file).parent().unwrap()).unwrap();
            fs::write(host.path(file), text).unwrap();
        }
        host
    }

    fn places(&self) -> Places<'_> {
        Places::of("bbb-agent", self.root())
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn path(&self, file: File) -> PathBuf {
        self.root().join(file.path().trim_start_matches('/'))
    }

    fn kept(&self, name: &str) -> PathBuf {
        self.places().directory.join(name)
    }

    fn text(&self, file: File) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    fn repair(&self) -> Repaired {
        self.repair_for(&OWN)
    }

    fn repair_for(&self, own: &Own) -> Repaired {
        let name = Name::host(NAME).unwrap();
        let (template, domain) =
            (HostTemplate::parse("vc-{instance}").unwrap(), Name::host("example.org").unwrap());
        let names = Names { own: &name, fleet: Some((&template, &domain)) };
        repair(&self.places(), Some((own, &names)), self.1.as_ref())
    }

    /// Lets BBB have to tell its clients TURN servers with this secret; its file has something else.
    fn with_turn(mut self, secret: &str) -> Self {
        let file = self.turn_servers();
        if !file.exists() {
            fs::write(&file, "<beans/>\n").unwrap();
            fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
        }
        self.1 = Some(TurnServers::new(Name::host("turn.example.org").unwrap(), secret.into()).unwrap());
        self
    }

    fn turn_servers(&self) -> PathBuf {
        self.root().join(TURN_SERVERS.trim_start_matches('/'))
    }

    /// Tells whether BBB tells its clients the right TURN servers.
    fn tells(&self) -> bool {
        fs::read(self.turn_servers()).unwrap() == self.1.as_ref().unwrap().file().as_bytes()
    }

    fn is_right(&self) -> bool {
        let readings: Vec<_> = File::ALL
            .into_iter()
            .map(|file| {
                let bytes = fs::read(self.path(file)).unwrap();
                let sites = sites(file, &bytes).unwrap();
                (file, plan::addresses::Reading::Values(values(&bytes, &sites)))
            })
            .collect();
        Announced::of(&readings, Ok(false), Some(&OWN)) == Announced::Right
    }
}

/// All places are set right, and nothing else of any file is touched: comments, order, line ends, mode.
#[test]
fn only_the_addresses_change() {
    let as_is = |text: &str| text.to_owned();
    let crlf = |text: &str| text.replace('\n', "\r\n");
    let unended = |text: &str| text.trim_end().to_owned();
    for change in [as_is as fn(&str) -> String, crlf, unended] {
        let host = Host::new();
        let mut before = Vec::new();
        for file in File::ALL {
            fs::write(host.path(file), change(&host.text(file))).unwrap();
            fs::set_permissions(host.path(file), PermissionsExt::from_mode(0o640)).unwrap();
            before.push((file, host.text(file), fs::metadata(host.path(file)).unwrap().ino()));
        }
        let repaired = host.repair();
        assert_eq!((repaired.changed.len(), repaired.failed), (14, Vec::new()), "{:?}", repaired.changed);
        assert!(host.is_right());
        for (file, text, inode) in before {
            // In comments the address stays.
            let code = |text: &str| {
                let lines =
                    text.split_inclusive('\n').filter(|line| !line.trim_start().starts_with(['#', ';']));
                lines.collect::<String>()
            };
            let comments = |text: &str| {
                let lines =
                    text.split_inclusive('\n').filter(|line| line.trim_start().starts_with(['#', ';']));
                lines.collect::<String>()
            };
            assert_eq!(code(&host.text(file)), code(&text).replace(OLD, NEW), "{file:?}");
            assert_eq!(comments(&host.text(file)), comments(&text), "{file:?}");
            let metadata = fs::metadata(host.path(file)).unwrap();
            assert_eq!((metadata.ino(), metadata.mode() & 0o777), (inode, 0o640), "{file:?}");
            assert_eq!(text.matches('\r').count(), host.text(file).matches('\r').count());
        }
        assert_eq!(is_unfinished(&host.places()), Ok(true), "the programs have to be restarted");
        assert_eq!(host.repair(), Repaired::default(), "twice is nothing the second time");
        assert_eq!(is_unfinished(&host.places()), Ok(true));
    }
}

#[test]
fn a_host_that_is_right_is_left_alone() {
    let host = Host::new();
    let own = Own { announced: OLD.parse().unwrap(), ..OWN };
    assert_eq!(host.repair_for(&own), Repaired::default());
    assert_eq!(is_unfinished(&host.places()), Ok(false));
    assert!(!host.places().directory.exists());
}

#[test]
fn values_of_an_operator_stay() {
    let host = Host::new();
    let vars = host
        .text(File::Vars)
        .replace(&format!("external_rtp_ip={OLD}"), "external_rtp_ip=host:meet.example.org");
    fs::write(host.path(File::Vars), &vars).unwrap();
    fs::remove_file(host.path(File::Livekit)).unwrap();
    assert_eq!(host.repair().failed, Vec::<String>::new());
    assert!(host.text(File::Vars).contains("external_rtp_ip=host:meet.example.org"));
    assert!(host.text(File::Vars).contains(&format!("external_sip_ip={NEW}")));
    assert!(!host.path(File::Livekit).exists());
}

/// The first content is kept, whatever changes come later; only root may read it, because it has secrets.
#[test]
fn the_first_original_is_kept() {
    let host = Host::new();
    let first = host.text(File::Coturn);
    host.repair();
    let other = Own { announced: Ipv4Addr::new(203, 0, 113, 7), ..OWN };
    assert!(!host.repair_for(&other).changed.is_empty());
    let kept = host.kept("original-etc_turnserver.conf");
    assert_eq!(fs::read_to_string(&kept).unwrap(), first);
    assert_eq!(fs::metadata(&kept).unwrap().mode() & 0o777, 0o600);
    assert_eq!(
        fs::metadata(host.kept("unfinished")).unwrap().mode() & 0o777,
        0o644,
        "the service has to see it"
    );
    // Both former addresses may still be on lo.
    assert_eq!(fs::read_to_string(host.kept("unfinished")).unwrap(), format!("{OLD}\n{NEW}\naddress\n"));
}

/// A program that was taken over can do what it likes with its own files, but cannot have another file written.
#[test]
fn no_link_and_no_special_file_is_written() {
    let host = Host::new();
    let victim = host.root().join("shadow");
    let secret = format!("<X-PRE-PROCESS cmd=\"set\" data=\"external_rtp_ip={OLD}\"/>");
    fs::write(&victim, &secret).unwrap();
    let (vars, external) = (host.path(File::Vars), host.path(File::External));
    fs::remove_file(&vars).unwrap();
    symlink(&victim, &vars).unwrap();
    // A link in the middle of the path.
    let profiles = external.parent().unwrap();
    let elsewhere = host.root().join("elsewhere");
    fs::rename(profiles, &elsewhere).unwrap();
    symlink(&elsewhere, profiles).unwrap();
    // A second name, and a FIFO that would never be opened by a writer.
    fs::hard_link(host.path(File::Sip), host.root().join("second")).unwrap();
    fs::remove_file(host.path(File::Coturn)).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, host.path(File::Coturn), mode).unwrap();
    let before = fs::read(elsewhere.join("external.xml")).unwrap();
    let Repaired { changed, failed } = host.repair();
    assert_eq!(failed.len(), 4, "{failed:?}");
    for (place, why) in [("vars.xml", "open"), ("external.xml", "link"), ("sip.nginx", "hard links")] {
        assert!(failed.iter().any(|line| line.contains(place) && line.contains(why)), "{place}: {failed:?}");
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), secret);
    assert_eq!(fs::read(elsewhere.join("external.xml")).unwrap(), before);
    assert!(fs::read_to_string(host.root().join("second")).unwrap().contains(OLD));
    // The others are set right all the same.
    assert!(changed.iter().any(|line| line.contains("production.yml")), "{changed:?}");
}

/// An operator keeps a file elsewhere: that is no trouble as long as it is right.
#[test]
fn a_link_to_a_file_that_is_right_is_no_trouble() {
    let host = Host::new();
    let (sfu, elsewhere) = (host.path(File::Sfu), host.root().join("production.yml"));
    fs::write(&elsewhere, host.text(File::Sfu).replace(OLD, NEW)).unwrap();
    fs::remove_file(&sfu).unwrap();
    symlink(&elsewhere, &sfu).unwrap();
    assert_eq!(host.repair().failed, Vec::<String>::new());
    assert!(host.is_right());
}

#[test]
fn a_file_that_cannot_be_understood_is_left_as_it_is() {
    let host = Host::new();
    fs::write(host.path(File::Sfu), "freeswitch: [").unwrap();
    let Repaired { failed, .. } = host.repair();
    assert!(
        matches!(failed.as_slice(), [why] if why.contains("production.yml: it is no YAML")),
        "{failed:?}"
    );
    assert_eq!(host.text(File::Sfu), "freeswitch: [");
}

/// Others have written the file after the crash: what the crash has left of the change does not count any more.
#[test]
fn a_file_that_was_written_by_others_since_is_theirs() {
    let host = Host::new();
    let old = host.text(File::Sfu);
    host.interrupted(File::Sfu, |_, new| new[..new.len() / 2].to_vec());
    let others = format!("# by bbb-install\n{old}");
    fs::write(host.path(File::Sfu), &others).unwrap();
    assert_eq!(host.repair().failed, Vec::<String>::new());
    assert!(host.text(File::Sfu).starts_with("# by bbb-install\n"));
    assert!(host.is_right());
}

#[test]
fn turn_servers_are_told_with_their_present_secret() {
    let own = Own { announced: OLD.parse().unwrap(), ..OWN };
    let host = Host::new().with_turn("the-first-secret");
    let Repaired { changed, failed } = host.repair_for(&own);
    assert_eq!(failed, Vec::<String>::new());
    let words = format!(
        "{TURN_SERVERS}: BBB tells its clients the TURN servers at turn.example.org, with their present secret"
    );
    assert_eq!(changed, [words]);
    assert!(host.tells());
    assert_eq!(fs::metadata(host.turn_servers()).unwrap().mode() & 0o777, 0o640);
    // This alone restarts no program but BBB.
    assert_eq!(fs::read_to_string(host.kept("unfinished")).unwrap(), "turn\n");
    assert_eq!(host.repair_for(&own), Repaired::default(), "twice is nothing the second time");
    let host = host.with_turn("the-second-secret");
    assert!(!host.tells());
    assert_eq!(host.repair_for(&own).changed.len(), 1);
    assert!(host.tells());
    // With another address all programs are restarted.
    host.repair();
    assert_eq!(fs::read_to_string(host.kept("unfinished")).unwrap(), format!("{OLD}\naddress\nturn\n"));
}

#[test]
fn without_their_file_the_addresses_are_set_right_all_the_same() {
    let host = Host::new().with_turn("a-secret");
    fs::remove_file(host.turn_servers()).unwrap();
    let Repaired { failed, .. } = host.repair();
    assert!(
        matches!(failed.as_slice(), [why] if why.starts_with(TURN_SERVERS) && why.ends_with("it does not exist")),
        "{failed:?}"
    );
    assert!(host.is_right());
}

impl Host {
    /// Lets a run be cut short while it writes this file, of which `left` is on the disk.
    fn interrupted(&self, file: File, left: impl FnOnce(&[u8], &[u8]) -> Vec<u8>) {
        let journal = Journal::at(&self.places().directory);
        let mut former = Vec::new();
        let edit = edit(self.root(), &journal, file, &OWN, &mut former).unwrap().unwrap();
        let left = left(&edit.old, &edit.new);
        let path = self.path(file);
        journal.begin(former.iter().map(ToString::to_string)).unwrap();
        journal.carry_out(&edit).unwrap();
        journal.intend(&edit).unwrap();
        fs::write(path, left).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Wherever a run is cut short, whatever of a file has reached the disk: the next run sets everything right.
    #[test]
    fn the_next_run_finishes_what_a_crash_has_left(
        file in prop::sample::select(File::ALL.to_vec()),
        at in any::<prop::sample::Index>(),
        pages in any::<bool>(),
        short in any::<bool>(),
    ) {
        let host = Host::new();
        host.interrupted(file, |old, new| {
            let at = at.index(new.len());
            let tail = old.get(at..).unwrap_or_default();
            let mut left = match pages {
                // The first page is missing, the others are there.
                true => [old.get(..at).unwrap_or(old), new.get(at..).unwrap_or_default()].concat(),
                false => [&new[..at], tail].concat(),
            };
            if short {
                left.truncate(old.len().min(new.len()));
            }
            left
        });
        let repaired = host.repair();
        prop_assert!(repaired.failed.is_empty(), "{:?}", repaired.failed);
        prop_assert!(host.is_right());
        prop_assert!(is_unfinished(&host.places()).unwrap());
        prop_assert_eq!(host.repair(), Repaired::default());
        let whole = Host::new();
        whole.repair();
        for file in File::ALL {
            prop_assert_eq!(host.text(file), whole.text(file));
        }
    }

    /// The same for the TURN servers. The secret that the run was to write may have changed since.
    #[test]
    fn the_next_run_tells_the_turn_servers_whatever_a_crash_has_left(
        at in any::<prop::sample::Index>(),
        next in any::<bool>(),
    ) {
        let host = Host::new().with_turn("the-first-secret");
        let journal = Journal::at(&host.places().directory);
        let edit = tell(host.root(), &journal, host.1.as_ref().unwrap()).unwrap().unwrap();
        journal.begin([TOLD.to_owned()]).unwrap();
        journal.intend(&edit).unwrap();
        let left = [&edit.new[..at.index(edit.new.len())], edit.old.get(at.index(edit.new.len())..).unwrap_or_default()];
        fs::write(host.turn_servers(), left.concat()).unwrap();
        let host = if next { host.with_turn("the-second-secret") } else { host };
        let repaired = host.repair();
        prop_assert!(repaired.failed.is_empty(), "{:?}", repaired.failed);
        prop_assert!(host.tells());
        prop_assert_eq!(host.repair(), Repaired::default());
    }
}
