//! packaging/host/storage.sh: which disk is formatted and which is not, the spool, and Scalelite's sender.

use std::path::Path;

use e2e::Run;
use sandbox::fleet::InstanceFacts;
use sandbox::http::ServiceName;

use super::{Boot, failures, planned_boot};
use crate::install::host::sha256;

/// Programs that note their command lines, over disks and file systems that are files below `$STATE`.
const PROGRAMS: [(&str, &str); 14] = [
    (
        "wget",
        r#"case $3 in
    *efs-utils*) cp "$STATE/efs-utils.tar.gz" "$2" ;;
    *bbb-install*) cp "$STATE/bbb-install" "$2" ;;
    *) echo "$3" >"$2" ;;
esac"#,
    ),
    (
        "apt-get",
        r#"make() { printf '#!/bin/sh\n%s\n' "$2" >"$1"; chmod 755 "$1"; }
case $* in
    *nftables*) make "${0%/*}/nft" : ;;
    *amazon-cloudwatch-agent.deb)
        at=/opt/aws/amazon-cloudwatch-agent/bin
        mkdir -p "$at"
        make "$at/amazon-cloudwatch-agent-ctl" "echo ctl \"\$*\" >>'$STATE/commands'"
        ;;
    *efs-utils*.deb) make "${0%/*}/mount.efs" : ;;
esac"#,
    ),
    // A line of the file has the name, the type, the number of partitions, where it is mounted, and the model.
    (
        "lsblk",
        r#"while read -r name type parts at model; do
    [ "$at" != - ] || at=''
    case "$1 $2 $3" in
        '-dnpo NAME,TYPE ') echo "$name $type" ;;
        '-dnpo NAME,SERIAL ') echo "$name $(cat "$STATE/${name##*/}.serial" 2>/dev/null)" ;;
        "-dno MODEL $name") echo "$model   " ;;
        "-nro NAME $name") seq 0 "$parts" ;;
        "-nro MOUNTPOINT $name") echo "$at" ;;
    esac
done <"$STATE/disks""#,
    ),
    (
        "blkid",
        r#"for disk; do :; done
file=$STATE/${disk##*/}.fs
[ -e "$file" ] || exit 2
read -r code label <"$file" || :
case $* in *UUID*) echo "uuid-of-${disk##*/}" ;; *) echo "$label" ;; esac
exit "$code""#,
    ),
    ("mkfs.ext4", r#"for disk; do :; done; echo "0 $3" >"$STATE/${disk##*/}.fs""#),
    (
        "mount",
        r#"case $* in --bind*) exec /usr/bin/mount "$@" ;; esac
for at; do :; done; echo "$at" >>"$STATE/mounted""#,
    ),
    ("umount", ""),
    // The number that BBB's installer gave its user on this host.
    ("id", r#"case $* in '-u bigbluebutton') echo 2997 ;; *) exec /usr/bin/id "$@" ;; esac"#),
    ("mountpoint", r#"touch "$STATE/mounted"; grep -qx "$2" "$STATE/mounted""#),
    ("groupadd", ""),
    ("usermod", ""),
    ("gem", ""),
    ("chown", ""),
    ("systemctl", ""),
];

/// A host with a root's disk and one that is free, and tools that note what they do.
pub(super) async fn equipped(role: &'static str) -> Option<Boot> {
    let boot = planned_boot(role).await?;
    for (name, script) in PROGRAMS {
        boot.program(
            name,
            &format!("case $1 in --bind) ;; *) echo \"{name} $*\" >>\"$STATE/commands\" ;; esac\n{script}"),
        );
    }
    std::fs::write(boot.host.path("etc/fstab"), "LABEL=root / ext4 defaults 0 1\n").unwrap();
    disks(&boot, &["/dev/nvme0n1 disk 3 / Amazon Elastic Block Store", FREE]);
    let tree = boot.host.path("state/efs-utils-1.36.0");
    std::fs::create_dir_all(&tree).unwrap();
    let builder = "#!/bin/sh\nmkdir build\ntouch build/amazon-efs-utils-1.36.0-1_all.deb\n";
    sandbox::binaries::script(&tree.join("build-deb.sh"), builder).unwrap();
    let made = std::process::Command::new("tar")
        .args(["-czf", "efs-utils.tar.gz", "efs-utils-1.36.0"])
        .current_dir(boot.host.path("state"))
        .status();
    assert!(made.unwrap().success());
    std::fs::create_dir_all(boot.host.path("local/bigbluebutton/core/scripts/post_publish")).unwrap();
    std::fs::create_dir_all(boot.host.path("etc/cron.daily")).unwrap();
    Some(boot)
}

const FREE: &str = "/dev/nvme1n1 disk 0 - Amazon Elastic Block Store";

fn disks(boot: &Boot, disks: &[&str]) {
    std::fs::write(boot.host.path("state/disks"), disks.join("\n") + "\n").unwrap();
}

/// What a program was called with, in order.
pub(super) fn calls(boot: &Boot, program: &str) -> Vec<String> {
    let commands = boot.host.read("state/commands");
    let own = commands.lines().filter_map(|line| line.strip_prefix(&format!("{program} ")));
    own.map(str::to_owned).collect()
}

/// Which disk is formatted, and which is mounted, or what is said.
#[tokio::test(flavor = "multi_thread")]
async fn only_an_empty_free_disk_is_formatted() {
    type Row = (&'static [&'static str], &'static str, Result<(&'static str, bool), &'static str>);
    const ROOT: &str = "/dev/nvme0n1 disk 3 / Amazon Elastic Block Store";
    const TWO: &str = "/dev/nvme2n1 disk 0 - Amazon Elastic Block Store";
    let rows: [Row; 14] = [
        (&[ROOT, FREE], "", Ok(("nvme1n1", true))),
        // Names change from boot to boot.
        (&[FREE, "/dev/nvme2n1 disk 3 / Amazon Elastic Block Store"], "", Ok(("nvme1n1", true))),
        (&["/dev/xvda disk 1 / ", "/dev/xvdf disk 0 - "], "", Ok(("xvdf", true))),
        (
            &[ROOT, FREE, "/dev/loop0 loop 0 - ", "/dev/nvme2n1 disk 0 - Amazon EC2 NVMe Instance Storage"],
            "",
            Ok(("nvme1n1", true)),
        ),
        // A volume that an earlier host has left, or a snapshot of one.
        (&[ROOT, FREE], "0 bbb-data", Ok(("nvme1n1", false))),
        (&[ROOT, FREE], "0 somebodys", Err("it is not formatted")),
        (&[ROOT, FREE], "0", Err("it is not formatted")),
        (&[ROOT, FREE], "8", Err("it is not formatted")),
        (&[ROOT, FREE], "4", Err("it is not formatted")),
        (&[ROOT], "", Err("there are: none")),
        (&[ROOT, FREE, TWO], "", Err("there are: /dev/nvme1n1")),
        (&[ROOT, "/dev/nvme1n1 disk 1 - Amazon Elastic Block Store"], "", Err("there are: none")),
        (&[ROOT, "/dev/nvme1n1 disk 0 /data Amazon Elastic Block Store"], "", Err("there are: none")),
        (&[ROOT, "/dev/nvme1n1 disk 0 - Amazon EC2 NVMe Instance Storage"], "", Err("there are: none")),
    ];
    e2e::at_once(rows, |(lines, found, expected)| async move {
        let Some(boot) = equipped("bbb").await else { return };
        disks(&boot, lines);
        if !found.is_empty() {
            std::fs::write(boot.host.path("state/nvme1n1.fs"), format!("{found}\n")).unwrap();
        }
        // What an image has brought.
        std::fs::create_dir_all(boot.host.path("var/bigbluebutton/recording")).unwrap();
        let key = [("public_key", boot.key.public.as_str()), ("data_volume", "yes")];
        let run = boot.expect(i32::from(expected.is_err()), &key).await;
        let formatted = calls(&boot, "mkfs.ext4");
        match expected {
            Ok((disk, new)) => {
                let format = [format!("-q -L bbb-data /dev/{disk}")];
                assert_eq!(formatted, if new { &format[..] } else { &[] }, "{lines:?} {found}: {run}");
                let line = format!(
                    "UUID=uuid-of-{disk} /var/bigbluebutton ext4 defaults,nofail,x-systemd.device-timeout=60 0 0\n"
                );
                assert!(boot.host.read("etc/fstab").ends_with(&line), "{}", boot.host.read("etc/fstab"));
                assert_eq!(calls(&boot, "mount").last().unwrap(), "/var/bigbluebutton", "{run}");
                assert_eq!(boot.host.path("run/bbb-data/recording").exists(), new, "what was there has moved: {run}");
                // Run again, as the file says: nothing happens.
                boot.expect(0, &key).await;
                assert_eq!(calls(&boot, "mkfs.ext4"), formatted);
                assert_eq!(boot.host.read("etc/fstab").lines().count(), 2);
            }
            Err(words) => {
                run.says(&[words]);
                assert_eq!(formatted, [""; 0], "{lines:?} {found}: {run}");
                assert!(boot.signals().iter().all(|(success, _)| !success) && boot.signals().len() == 1);
                assert_eq!(boot.host.read("state/install"), "", "nothing is installed after that");
            }
        }
    })
    .await;
}

const VOLUME: &str = "vol-0123456789abcdef0";

/// The volume of a single server: its successor waits for it, mounts it as it is, and has the recordings of its
/// predecessor, whatever number their owner has by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_volume_outlives_its_host() {
    for found in ["", "0 bbb-data"] {
        let Some(boot) = equipped("bbb").await else { return };
        let cloud = &boot.host.cloud;
        let (fleet, me) = (&cloud.fleet, cloud.imds.instance().to_owned());
        let former = InstanceFacts { instance_id: "i-0fedcba9876543210".into(), ..InstanceFacts::default() };
        fleet.launch(former.clone());
        fleet.add_volume(VOLUME);
        fleet.attach_volume(VOLUME, &former.instance_id).unwrap();
        let root = "/dev/nvme0n1 disk 3 / Amazon Elastic Block Store";
        disks(&boot, &[root]);
        if !found.is_empty() {
            std::fs::write(boot.host.path("state/nvme1n1.fs"), format!("{found}\n")).unwrap();
            std::fs::create_dir_all(boot.host.path("var/bigbluebutton/recording")).unwrap();
        }
        let key = boot.key.public.clone();
        let variables = [("public_key", key.as_str()), ("data_volume", VOLUME), ("server_name", "meet")];
        let mut run = boot.started(&variables);
        run.said("VolumeInUse", 2).await;
        fleet.finish_termination(&former.instance_id).unwrap();
        for asked in 3.. {
            cloud.journal.reached(ServiceName::Ec2, "AttachVolume", asked).await;
            if fleet.volume_at(VOLUME).as_deref() == Some(me.as_str()) {
                break;
            }
        }
        std::fs::write(boot.host.path("state/nvme1n1.serial"), "vol0123456789abcdef0\n").unwrap();
        // Another disk is free, too.
        disks(&boot, &[root, "/dev/nvme2n1 disk 0 - Amazon Elastic Block Store", FREE]);
        let run = run.end().await;
        assert_eq!(run.code, 0, "{run}");
        assert_eq!(calls(&boot, "mkfs.ext4").len(), usize::from(found.is_empty()), "{run}");
        assert!(
            boot.host.read("etc/fstab").contains("UUID=uuid-of-nvme1n1 /var/bigbluebutton ext4"),
            "{run}"
        );
        let mounted = run.stdout.find("mount the data volume").unwrap();
        assert!(mounted < run.stdout.find("install BigBlueButton").unwrap(), "{run}");
        let owner = std::fs::metadata("/").map(|root| std::os::unix::fs::MetadataExt::uid(&root)).unwrap();
        let taken = format!("-R --from={owner} bigbluebutton:bigbluebutton /var/bigbluebutton");
        let expected = if found.is_empty() { vec![] } else { vec![taken] };
        assert_eq!(calls(&boot, "chown"), expected, "{run}");
        let told = boot.host.read("state/install");
        assert!(told.contains("--set dns.name=meet.example.org "), "{told}");
        // Run again: the volume is here.
        let attached = cloud.journal.count(ServiceName::Ec2, "AttachVolume");
        boot.expect(0, &variables).await;
        assert_eq!(cloud.journal.count(ServiceName::Ec2, "AttachVolume"), attached);
    }
}

/// A volume that never comes ends the first boot with what EC2 has said.
#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_not_there_is_said() {
    let Some(boot) = equipped("bbb").await else { return };
    let run = runs(&boot, 1, &[("data_volume", VOLUME), ("server_name", "meet")]).await;
    run.says(&["is not attached after 30 minutes", "InvalidVolume.NotFound"]);
    assert_eq!(boot.host.read("state/install"), "", "nothing is installed after that");
}

const SPOOL: [(&str, &str); 2] =
    [("file_system", "fs-0123456789abcdef0"), ("access_point", "fsap-0123456789abcdef0")];

async fn runs(boot: &Boot, code: i32, variables: &[(&str, &str)]) -> Run {
    let all: Vec<_> = [("public_key", boot.key.public.as_str())].iter().chain(variables).copied().collect();
    boot.expect(code, &all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_get_from_the_host_to_the_spool() {
    let Some(boot) = equipped("bbb").await else { return };
    let source = ("sender_source", "https://example.org/scalelite");
    let all = [&SPOOL[..], &[("recordings_sender", "scalelite"), source]].concat();
    let run = runs(&boot, 0, &all).await;
    let host = &boot.host;
    let line = "fs-0123456789abcdef0:/ /mnt/bbb-recordings efs _netdev,nofail,tls,iam,accesspoint=fsap-0123456789abcdef0 0 0\n";
    assert!(host.read("etc/fstab").ends_with(line), "{}", host.read("etc/fstab"));
    assert_eq!(calls(&boot, "mount").last().unwrap(), "/mnt/bbb-recordings");
    let scripts = "local/bigbluebutton/core/scripts";
    for name in ["scalelite_post_publish.rb", "scalelite_batch_import.sh"] {
        assert_eq!(
            host.read(&format!("{scripts}/post_publish/{name}")),
            format!("https://example.org/scalelite/{name}\n")
        );
    }
    assert!(!host.read("etc/cron.daily/scalelite_prune_recordings").is_empty());
    let settings = host.read(&format!("{scripts}/scalelite.yml"));
    assert!(
        settings
            .contains("\nwork_dir: /var/bigbluebutton/recording/scalelite\nspool_dir: /mnt/bbb-recordings\n")
    );
    assert!(host.path("var/bigbluebutton/recording/scalelite").is_dir());
    assert_eq!(calls(&boot, "groupadd"), ["-g 2000 scalelite-spool"]);
    assert_eq!(calls(&boot, "usermod"), ["-aG scalelite-spool bigbluebutton"]);
    let gems = ["redis", "builder", "nokogiri:1.15.7", "loofah", "open4", "absolute_time", "journald-logger"];
    assert_eq!(calls(&boot, "gem"), gems.map(|gem| format!("install --conservative --no-document {gem}")));
    assert!(
        calls(&boot, "systemctl").iter().any(|call| call.contains("bbb-rap-resque-worker.service")),
        "{run}"
    );
    // The storage is there before the agent and BBB, the sender comes after them.
    let order =
        ["mount the spool", "install bbb-agent", "install BigBlueButton", "install Scalelite's sender"];
    let places = order.map(|step| run.stdout.find(step).expect(step));
    assert!(places.is_sorted(), "{run}");
    // The agent waits for this sender.
    let sender = "/usr/local/bigbluebutton/core/scripts/post_publish/scalelite_post_publish.rb";
    assert!(host.read("state/install").contains(&format!("--set recordings.sender={sender} ")));
    // Run again: the helper is there already.
    let built = calls(&boot, "wget").iter().filter(|call| call.contains("efs-utils")).count();
    runs(&boot, 0, &all).await;
    assert_eq!(calls(&boot, "wget").iter().filter(|call| call.contains("efs-utils")).count(), built);
    assert_eq!(host.read("etc/fstab").lines().count(), 2);
}

/// What cannot work, or would lose recordings by silence, is refused before anything is done.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_refused_first() {
    type Row = (&'static [(&'static str, &'static str)], &'static str);
    let rows: [Row; 8] = [
        (&[("data_volume", VOLUME)], "needs server_name: only one host at a time can have it"),
        (&[("recordings_sender", "")], "recordings_sender has to say who sends recordings"),
        (&[("recordings_sender", "yes")], "recordings_sender has to say who sends recordings"),
        (&[("recordings_sender", "scalelite")], "needs file_system and access_point"),
        (&[("recordings_sender", "scalelite"), SPOOL[0]], "needs file_system and access_point"),
        (&[SPOOL[0]], "file_system needs access_point"),
        (&[SPOOL[1]], "access_point needs file_system"),
        (&[("bbb_release", "noble-400")], "bbb_release=noble-400 is not for this system, which is jammy"),
    ];
    e2e::at_once(rows, |(variables, words)| async move {
        let Some(boot) = equipped("bbb").await else { return };
        runs(&boot, 1, variables).await.says(&[words]);
        assert_eq!(boot.host.read("state/commands"), "", "{variables:?}");
        assert_eq!(boot.signals().len(), 1);
    })
    .await;
}

/// Each file from elsewhere that has a hash is used only if it fits.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_from_elsewhere_is_verified() {
    let Some(boot) = equipped("bbb").await else { return };
    let helper = sha256(&std::fs::read(boot.host.path("state/efs-utils.tar.gz")).unwrap());
    let names = ["scalelite_post_publish.rb", "scalelite_batch_import.sh", "scalelite_prune_recordings"];
    let sender: String = names.map(|name| format!("https://example.org/{name}\n")).concat();
    let sender = sha256(sender.as_bytes());
    let wrong = "0".repeat(64);
    let source = ("sender_source", "https://example.org");
    let with = |name: &'static str, hash: &str| {
        let hashes = [("efs_utils_sha256", helper.as_str()), ("sender_sha256", sender.as_str())];
        let changed =
            hashes.map(|(of, right)| (of, if of == name { hash.to_owned() } else { right.to_owned() }));
        changed.to_vec()
    };
    for (name, words) in [
        ("efs_utils_sha256", "is not what efs_utils_sha256 says. Nothing of it was run"),
        ("sender_sha256", "is not what sender_sha256 says. Nothing of it was run"),
    ] {
        let hashes = with(name, &wrong);
        let hashes: Vec<_> = hashes.iter().map(|(name, hash)| (*name, hash.as_str())).collect();
        let all = [&SPOOL[..], &[("recordings_sender", "scalelite"), source], &hashes].concat();
        runs(&boot, 1, &all).await.says(&[words]);
        assert_eq!(boot.host.path("bin/mount.efs").exists(), name == "sender_sha256");
    }
    assert!(!Path::new(&boot.host.path("etc/cron.daily/scalelite_prune_recordings")).exists());
    let hashes = with("", "");
    let hashes: Vec<_> = hashes.iter().map(|(name, hash)| (*name, hash.as_str())).collect();
    let all = [&SPOOL[..], &[("recordings_sender", "scalelite"), source], &hashes].concat();
    runs(&boot, 0, &all).await;
}

/// What is fetched, built and mounted fails once, and then for good.
#[tokio::test(flavor = "multi_thread")]
async fn storage_is_tried_again() {
    use failures::Trouble::Program;
    let rows = [
        Program("wget -qO /root/efs-utils"),
        Program("wget -qO /root/sender/scalelite_post"),
        Program("install -y binutils"),
        Program("amazon-efs-utils"),
        Program("mount /mnt/bbb-recordings"),
        Program("gem install --conservative --no-document redis"),
        Program("systemctl try-restart bbb-rap"),
        Program("install -y rsync"),
    ];
    let variables = [&SPOOL[..], &[("recordings_sender", "scalelite")]].concat();
    e2e::at_once(
        rows.into_iter().flat_map(|row| [(row, "once"), (row, "always")]),
        move |(trouble, often)| {
            let variables = variables.clone();
            async move {
                let Some(boot) = equipped("bbb").await else { return };
                trouble.begins(&boot, often);
                let run = runs(&boot, i32::from(often == "always"), &variables).await;
                assert_eq!(
                    trouble.happened(&boot),
                    if often == "once" { 1 } else { 30 },
                    "{trouble:?}: {run}"
                );
                assert_eq!(boot.signals().len(), 1, "{trouble:?}: {run}");
                assert_eq!(boot.signals()[0].0, often == "once", "{trouble:?}: {run}");
            }
        },
    )
    .await;
}
