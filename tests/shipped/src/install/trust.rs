//! Who is believed: a key, a hash, and what the host has seen before. The attacker can write to the bucket.

use sandbox::cloud::BUCKET;

use super::host::{Host, Key, Service, With, sha256};

const SUMS: &str = "agents/0.1.0/SHA256SUMS";
const PACKAGE: &str = "agents/0.1.0/bbb-agent_0.1.0_amd64.deb";
const DAY: [&str; 4] =
    ["2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z", "2026-12-01T00:00:00Z"];

/// A host of a fleet with a key, and two signed releases; the first is the latest.
async fn fleet(with: With) -> Option<(Host, Key)> {
    let host = Host::new(with).await?;
    let key = Key::new();
    for version in ["0.1.0", "0.2.0"] {
        host.release(version, Service::Ready);
        host.sign_release(&key, version);
    }
    host.sign_latest(&key, "0.1.0", DAY[0]);
    Some((host, key))
}

/// Changes the package, and SHA256SUMS to fit.
fn tamper(host: &Host) {
    let package = [&host.cloud.s3.get(BUCKET, PACKAGE).unwrap()[..], b"more"].concat();
    let name = PACKAGE.rsplit('/').next().unwrap();
    host.cloud.s3.put(BUCKET, SUMS, format!("{}  {name}\n", sha256(&package)));
    host.cloud.s3.put(BUCKET, PACKAGE, package);
}

fn untouched(host: &Host) {
    assert_eq!(host.changes(), [""; 0]);
    assert_eq!((host.settings(), host.installed()), (String::new(), String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_public_key_only_what_is_signed_with_it_is_installed() {
    e2e::at_once([With::Aws, With::Curl, With::Busybox], |with| async move {
        let Some((host, key)) = fleet(with).await else { return };
        let another = Key::new();
        let options = ["--public-key", &key.public];
        let s3 = &host.cloud.s3;
        for object in ["agents/latest.minisig", "agents/0.1.0/SHA256SUMS.minisig"] {
            let signature = s3.get(BUCKET, object).unwrap();
            s3.remove(BUCKET, object);
            host.expect(1, &options).await.says(&[object, "NoSuchKey", "Nothing was changed"]);
            s3.put(BUCKET, object, signature);
        }
        host.sign_latest(&another, "0.1.0", DAY[0]);
        let run = host.expect(1, &options).await;
        run.says(&["s3://sandbox-sources/agents/latest is not one of --public-key", "Nothing was changed"]);
        // What the unsigned object says does not count.
        host.sign_latest(&key, "0.1.0", DAY[0]);
        s3.put(BUCKET, "agents/latest", "0.2.0\n");
        let (sums, package) = (s3.get(BUCKET, SUMS).unwrap(), s3.get(BUCKET, PACKAGE).unwrap());
        tamper(&host);
        let run = host.expect(1, &options).await;
        run.says(&["agents/0.1.0/SHA256SUMS is not one of --public-key", "Nothing was changed"]);
        untouched(&host);
        s3.put(BUCKET, SUMS, sums);
        s3.put(BUCKET, PACKAGE, package);
        host.expect(0, &options).await.says(&["SHA256SUMS is signed with RW", "bbb-agent 0.1.0 is ready"]);
    })
    .await;
}

/// A signature is good for what it says, and in the place that it was made for.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_text_of_another_kind_is_no_latest() {
    let Some((host, key)) = fleet(With::Curl).await else { return };
    let comments = [
        "bbb-agents 0.1.0",
        "bbb-agents latest 0.1.0",
        "bbb-agents latest 0.1.0 yesterday",
        "bbb-agents latest 0.1.0 2026-11-01T00:00:00Z back to 0.0.9",
        "bbb-agents latest ../x 2026-11-01T00:00:00Z",
        "bbb-agents latest 0.2.0 2026-11-01T00:00:00Z",
        "",
    ];
    for comment in comments {
        host.cloud.s3.put(BUCKET, "agents/latest.minisig", key.sign(b"0.1.0\n", comment));
        let run = host.expect(1, &["--public-key", &key.public]).await;
        run.says(&["agents/latest", "Nothing was changed"]);
        untouched(&host);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_word_on_the_latest_is_not_believed_again() {
    e2e::at_once([With::Curl, With::Busybox], |with| async move {
        let Some((host, key)) = fleet(with).await else { return };
        let options = ["--public-key", &key.public];
        host.expect(0, &options).await;
        let old = host.cloud.s3.get(BUCKET, "agents/latest.minisig").unwrap();
        host.sign_latest(&key, "0.2.0", DAY[1]);
        host.expect(0, &options).await;
        assert_eq!(host.installed(), "0.2.0");
        // Downgrades by hand do not open the door to it either.
        host.cloud.s3.put(BUCKET, "agents/latest", "0.1.0\n");
        host.cloud.s3.put(BUCKET, "agents/latest.minisig", old.clone());
        let both = [&options[..], &["--allow-downgrade"]].concat();
        for options in [&options[..], &both[..]] {
            let run = host.expect(1, options).await;
            run.says(&["latest.minisig is of 2026-11-01T00:00:00Z", "has seen one of 2026-11-02T00:00:00Z"]);
            run.says(&["Nothing was changed"]);
        }
        assert_eq!(host.installed(), "0.2.0");
        // A host that has seen nothing yet can be told what it has to get at least.
        std::fs::remove_file(host.path("var/cache/bbb-agent/latest")).unwrap();
        let minimum = [&both[..], &["--minimum", "0.2.0"]].concat();
        host.expect(1, &minimum).await.says(&["0.1.0 is lower than the --minimum 0.2.0"]);
        assert_eq!(host.installed(), "0.2.0");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_goes_back_where_the_signature_says_from_where() {
    e2e::at_once([With::Curl, With::Busybox], |with| async move {
        let Some((host, key)) = fleet(with).await else { return };
        let options = ["--public-key", &key.public];
        host.sign_latest(&key, "0.2.0", DAY[0]);
        host.expect(0, &options).await;
        host.sign_latest(&key, "0.1.0", DAY[1]);
        host.expect(1, &options).await.says(&["0.1.0 is lower", "Nothing was changed"]);
        host.sign_latest(&key, "0.1.0", &format!("{} back from 0.1.9", DAY[2]));
        host.expect(1, &options).await.says(&["0.1.0 is lower", "Nothing was changed"]);
        assert_eq!(host.installed(), "0.2.0");
        host.sign_latest(&key, "0.1.0", &format!("{} back from 0.2.0", DAY[3]));
        host.expect(0, &options).await.says(&["the fleet goes back from 0.2.0 to 0.1.0"]);
        assert_eq!(host.installed(), "0.1.0");
    })
    .await;
}

/// The old package comes from the host itself, so going back to it is no downgrade from outside.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_version_that_does_not_get_ready_is_taken_back() {
    let Some((host, key)) = fleet(With::Curl).await else { return };
    host.expect(0, &["--public-key", &key.public]).await;
    host.release("0.3.0", Service::Fails);
    host.sign_release(&key, "0.3.0");
    host.sign_latest(&key, "0.3.0", DAY[1]);
    host.expect(1, &["--public-key", &key.public, "--wait", "2"]).await.says(&["the service runs as before"]);
    assert_eq!(host.installed(), "0.1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hash_of_a_release_fixes_all_of_it() {
    e2e::at_once([With::Curl, With::Busybox], |with| async move {
        let Some((host, key)) = fleet(with).await else { return };
        let hash = sha256(&host.cloud.s3.get(BUCKET, SUMS).unwrap());
        let options = ["--version", "0.1.0", "--release-sha256", &hash];
        let another = ["--version", "0.2.0", "--release-sha256", &hash];
        host.expect(1, &another).await.says(&["is not what --release-sha256 says", "Nothing was changed"]);
        let s3 = &host.cloud.s3;
        let (sums, package) = (s3.get(BUCKET, SUMS).unwrap(), s3.get(BUCKET, PACKAGE).unwrap());
        tamper(&host);
        // A thief of the key cannot change a release that is fixed.
        host.sign_release(&key, "0.1.0");
        let both = [&options[..], &["--public-key", &key.public]].concat();
        for options in [&options[..], &both[..]] {
            host.expect(1, options).await.says(&["is not what --release-sha256 says", "Nothing was changed"]);
        }
        untouched(&host);
        s3.put(BUCKET, SUMS, sums);
        s3.put(BUCKET, PACKAGE, package);
        host.expect(1, &both).await.says(&["is not one of --public-key"]);
        host.sign_release(&key, "0.1.0");
        host.expect(0, &both).await;
    })
    .await;
}
