//! Where the credentials come from: the instance's role, whatever root has in files and variables, unless the settings
//! say otherwise; and what is said when there are none.

use std::path::PathBuf;

use e2e::{Rig, Run, Running, at_once};
use sandbox::http::ServiceName::{Imds, Route53};

const USER: (&str, &str) = ("AKIASANDBOXUSER", "a user's secret key");

type Variables<'a> = &'a [(&'a str, &'a str)];

/// Root's home directory with these two files.
fn home(rig: &Rig, config: &str, credentials: &str) -> PathBuf {
    let home = rig.host.root.join("root");
    std::fs::create_dir_all(home.join(".aws")).unwrap();
    std::fs::write(home.join(".aws/config"), config).unwrap();
    std::fs::write(home.join(".aws/credentials"), credentials).unwrap();
    home
}

fn profile(name: &str, (id, secret): (&str, &str)) -> String {
    format!("[{name}]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
}

async fn run(rig: &Rig, home: &PathBuf, variables: Variables<'_>, arguments: &[&str]) -> Run {
    let mut command = rig.command(arguments);
    command.env("HOME", home).envs(variables.iter().copied());
    Running::start(command).end().await
}

#[tokio::test]
async fn nothing_of_roots_hides_the_instances_role() {
    let foreign = ("AKIAOFANOTHERACCOUNT", "another account's secret key");
    let keys = [("AWS_ACCESS_KEY_ID", foreign.0), ("AWS_SECRET_ACCESS_KEY", foreign.1)];
    let rows: [(&str, String, String, Variables<'_>); 6] = [
        ("broken", "[profile\n".to_owned(), String::new(), &[]),
        ("foreign", String::new(), profile("default", foreign), &[]),
        (
            "sso",
            "[default]\nsso_start_url = https://x.example\nsso_region = x\n".to_owned(),
            String::new(),
            &[],
        ),
        ("elsewhere", "[default]\nendpoint_url = http://127.0.0.1:9\n".to_owned(), String::new(), &[]),
        ("AWS_PROFILE", String::new(), String::new(), &[("AWS_PROFILE", "nobodys")]),
        ("keys", String::new(), String::new(), &keys),
    ];
    let agents = ["bbb-agent", "turn-agent"];
    let rows = rows.iter().flat_map(|row| agents.map(|agent| (agent, row.clone())));
    for (agent, (what, config, credentials, variables)) in rows {
        let rig = if agent == "bbb-agent" { Rig::bbb().await } else { Rig::turn().await };
        let home = home(&rig, &config, &credentials);
        let run = run(&rig, &home, variables, &["register"]).await;
        assert_eq!(run.code, 0, "{agent}, {what}: {run}");
        assert_eq!(rig.records(), rig.registered_now(), "{agent}, {what}");
    }
}

#[tokio::test]
async fn the_settings_may_name_a_profile() {
    let rig = Rig::bbb().await;
    rig.cloud.vault.add_user(USER.0, USER.1);
    let home = home(&rig, "[profile other]\n", &profile("bbb", USER));
    let arguments = ["register", "--set", "aws.profile=bbb"];
    let variables = [("AWS_PROFILE", "other")];
    let done = run(&rig, &home, &variables, &arguments).await;
    assert_eq!(done.code, 0, "{done}");
    let check = run(&rig, &home, &variables, &["check", "--set", "aws.profile=bbb"]).await;
    check.says(&["those of the profile \"bbb\" (aws.profile)"]);
    assert_eq!(rig.cloud.journal.count(Imds, "security-credentials"), 0);
}

/// A profile that cannot be used is a mistake in the settings, and the instance's role does not hide it. Each line names
/// the cause, not only the first.
#[tokio::test]
async fn each_error_names_what_is_wrong_with_the_profile() {
    let rows = [
        ("[profile\n", "the profile \"bbb\" (aws.profile): ", "could not parse profile file"),
        ("[profile other]\nregion = x\n", "the profile \"bbb\" (aws.profile): ", "bbb"),
        (
            "[profile bbb]\nregion = x\n",
            "the profile \"bbb\" (aws.profile): ",
            "it has no keys and no role_arn",
        ),
    ];
    at_once(rows, async |(config, words, cause)| {
        let rig = Rig::bbb().await;
        let home = home(&rig, config, "");
        let set = ["--set", "aws.profile=bbb"];
        let done = run(&rig, &home, &[], &[&["register"], &set[..]].concat()).await;
        assert_eq!((done.code, done.retries()), (1, 0), "{done}");
        done.says(&["no AWS credentials: ", words, cause]);
        assert_eq!(rig.calls(Route53), [""; 0]);
        let check = run(&rig, &home, &[], &[&["check"], &set[..]].concat()).await;
        let failed: Vec<&str> = check.stdout.lines().filter(|line| line.starts_with("FAIL")).collect();
        assert_eq!(failed.len(), 7, "{check}");
        assert!(failed.iter().all(|line| line.contains(words) && line.contains(cause)), "{check}");
    })
    .await;
}

#[tokio::test]
async fn without_a_role_the_environment_counts() {
    let rig = Rig::bbb().await;
    rig.cloud.vault.add_user(USER.0, USER.1);
    rig.cloud.imds.update(|facts| facts.role = None).unwrap();
    let home = home(&rig, "", &profile("default", USER));
    let keys = [("AWS_ACCESS_KEY_ID", USER.0), ("AWS_SECRET_ACCESS_KEY", USER.1)];
    let done = run(&rig, &home, &keys, &["register"]).await;
    assert_eq!(done.code, 0, "{done}");
    let check = run(&rig, &home, &keys, &["check"]).await;
    check.says(&["those of the environment, because the instance has no role"]);

    // The files do not count, and it is said what would.
    let done = run(&rig, &home, &[], &["deregister", "--set", "timeouts.deregister=1"]).await;
    assert_eq!(done.code, 8, "{done}");
    done.says(&["no role is attached to the instance, and the environment has no keys", "aws.profile"]);
}
