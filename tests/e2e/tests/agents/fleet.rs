//! `fleet`: every host in one row, what is wrong in words, and what is not known never taken for nothing.

use std::net::Ipv4Addr;

use e2e::{Rig, Running, at_once, label};
use sandbox::fleet::{InstanceFacts, LifecycleState};
use sandbox::http::ServiceName::{AutoScaling, Ec2, Imds, Route53, Scalelite};
use sandbox::route53::RecordType::{A, Aaaa, Txt};
use sandbox::scalelite::ServerState;
use serde_json::{Value, json};
use tokio::process::Command;

/// Long before the grace period.
const SINCE: &str = "1767225600";

/// A host beside the one that asks.
#[derive(Clone, Copy)]
struct Other<'a> {
    rig: &'a Rig,
    number: u16,
    /// What stands between the host's name and the zone's.
    below: &'static str,
}

impl Other<'_> {
    fn id(self) -> String {
        format!("i-{:017x}", 0xf1ee_0000 + u64::from(self.number))
    }

    fn name(self) -> String {
        format!("vc-{}.{}{}", self.id().trim_start_matches("i-"), self.below, self.rig.cloud.zone_name)
    }

    fn ipv4(self) -> Ipv4Addr {
        let [high, low] = self.number.to_be_bytes();
        Ipv4Addr::new(198, 51, 100 + high, low)
    }

    fn runs(self) -> Self {
        self.rig.cloud.fleet.launch(InstanceFacts {
            instance_id: self.id(),
            availability_zone: "eu-central-1b".to_owned(),
            public_ipv4: Some(self.ipv4()),
            ipv6: format!("2001:db8::f:{:x}", self.number).parse().ok(),
            ..InstanceFacts::default()
        });
        self.rig.cloud.fleet.attach(&self.rig.cloud.group, &self.id()).unwrap();
        self
    }

    fn named(self) -> Self {
        self.owned_by(&self.id());
        self.rig.put(A, &self.name(), &[&self.ipv4().to_string()]);
        self.rig.put(Aaaa, &self.name(), &[&format!("2001:db8::f:{:x}", self.number)]);
        self
    }

    fn owned_by(self, instance: &str) {
        self.rig.put(Txt, &format!("_agent.{}", self.name()), &[&label("bbb", instance, SINCE)]);
    }

    fn entered(self, state: ServerState) -> Self {
        let url = format!("https://{}/bigbluebutton/api", self.name());
        self.rig.cloud.scalelite.add_server(&url, "its secret", state);
        self
    }

    /// A host that is as it should be.
    fn serves(self) -> Self {
        self.runs().named().entered(ServerState::Enabled)
    }

    fn row(self, fleet: &Value) -> Value {
        row(fleet, &self.id())
    }
}

fn other(rig: &Rig, number: u16) -> Other<'_> {
    Other { rig, number, below: "" }
}

fn row(fleet: &Value, instance: &str) -> Value {
    let hosts = fleet["hosts"].as_array().unwrap();
    let mut rows = hosts.iter().filter(|host| host["instance"] == instance);
    let row = rows.next().unwrap_or_else(|| panic!("{instance} has no row: {fleet:#}"));
    assert!(rows.next().is_none(), "{instance} has one row: {fleet:#}");
    row.clone()
}

/// `fleet --json`, which must end with this exit code.
async fn fleet(rig: &Rig, code: i32) -> Value {
    let run = rig.expect(code, &["fleet", "--json"]).await;
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}:\n{run}"))
}

/// A host that is registered, and one beside it.
async fn two() -> Rig {
    let rig = Rig::bbb().await;
    rig.expect(0, &["register"]).await;
    other(&rig, 2).serves();
    rig.cloud.journal.clear();
    rig
}

/// Ten hosts with as many troubles as one sees in life.
async fn ten() -> Rig {
    let rig = two().await;
    let (fleet, scalelite) = (&rig.cloud.fleet, &rig.cloud.scalelite);
    // Number 3 died without a shutdown.
    fleet.finish_termination(&other(&rig, 3).serves().id()).unwrap();
    // Number 4 drains.
    let draining = other(&rig, 4).runs().named().entered(ServerState::Cordoned);
    fleet.protect(&rig.cloud.group, &[draining.id()], true).unwrap();
    fleet.set_lifecycle_state(&draining.id(), LifecycleState::TerminatingWait).unwrap();
    // Polls do not reach number 5.
    scalelite.configure(|config| config.polled_at_once = false);
    other(&rig, 5).serves();
    scalelite.configure(|config| config.polled_at_once = true);
    // The address of number 6 has changed, and its agent does not run.
    rig.put(A, &other(&rig, 6).serves().name(), &["198.51.100.99"]);
    // Number 8 has the name of number 7.
    let eighth = other(&rig, 8).serves();
    other(&rig, 7).runs().named().owned_by(&eighth.id());
    other(&rig, 9).runs().entered(ServerState::Enabled);
    other(&rig, 10).runs().named();
    rig.cloud.journal.clear();
    rig
}

/// The standing of each of the ten hosts, and a part of the words.
fn of_ten() -> [(u16, &'static str, &'static str); 9] {
    [
        (2, "in-order", ""),
        (3, "debris", "its instance is terminated; a sweep removes what is left"),
        (4, "out", "on its way out (Terminating:Wait)"),
        (5, "wrong", "it is offline in Scalelite"),
        (6, "wrong", "its name leads to 198.51.100.99"),
        (7, "wrong", "its name is not its own: it belongs to i-"),
        (8, "wrong", "it owns other names too: vc-"),
        (9, "wrong", "it has no name"),
        (10, "wrong", "it has no entry in Scalelite"),
    ]
}

fn words(row: &Value) -> String {
    let words = row["words"].as_array().unwrap().iter().map(|words| words.as_str().unwrap());
    words.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn ten_hosts_and_what_is_wrong_with_them() {
    let rig = ten().await;
    let before = rig.state();
    let found = fleet(&rig, 4).await;
    assert_eq!(found["verdict"], "wrong");
    assert_eq!(
        found["errors"],
        json!({"route53": null, "scalelite": null, "ec2": null, "auto_scaling": null})
    );
    assert_eq!(found["hosts"].as_array().unwrap().len(), 10);
    let own = row(&found, rig.host.id());
    assert_eq!((&own["standing"], &own["words"]), (&json!("in-order"), &json!([])), "{own}");
    for (number, standing, told) in of_ten() {
        let row = other(&rig, number).row(&found);
        assert_eq!(row["standing"], standing, "{number}: {row:#}");
        assert!(words(&row).contains(told), "{number}: {row:#}");
    }
    let draining = other(&rig, 4).row(&found);
    let facts = ["lifecycle_state", "protected", "entry", "availability_zone", "name_state", "group"];
    let facts = facts.map(|fact| draining[fact].clone());
    let expected = json!(["Terminating:Wait", true, "cordoned", "eu-central-1b", "right", rig.cloud.group]);
    assert_eq!(json!(facts), expected);
    let totals = json!({
        "hosts": 10, "in_order": 2, "out": 1, "unknown": 0, "debris": 1, "wrong": 6,
        "taking_meetings": 6, "load": 0.0, "other_entries": 0,
    });
    assert_eq!(found["totals"], totals, "{found:#}");
    assert_eq!(rig.state(), before, "nothing was changed");
    for service in [Route53, Scalelite, Ec2, AutoScaling] {
        assert_eq!(rig.calls(service).len(), 1, "{service:?}: {:?}", rig.calls(service));
    }
}

#[tokio::test]
async fn the_screen_of_ten_hosts() {
    let rig = ten().await;
    let run = rig.expect(4, &["fleet"]).await;
    for line in run.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let line =
        |text: &str| run.stdout.lines().find(|line| line.contains(text)).unwrap_or_default().to_owned();
    assert!(line(&other(&rig, 4).id()).contains(" Terminating   yes  right   cordoned no"), "{run}");
    assert!(line(&other(&rig, 2).id()).ends_with("InService     no   right   enabled  yes    0"), "{run}");
    run.says(&[
        "    ! gone: its instance is terminated; a sweep removes what is left\n",
        "      on its way out (Terminating:Wait)\n",
        "10 hosts: 2 in order, 1 out, 6 wrong, 1 debris, 0 not known; 6 take meetings,\n",
        "\nverdict: not as it should be\n",
    ]);
    assert_eq!(run.stderr, "");
}

/// An operator's machine: no metadata service, and keys in the environment.
fn outside(rig: &Rig, arguments: &[&str]) -> Command {
    rig.cloud.vault.add_user("AKIASANDBOXUSER", "a user's secret key");
    let mut command = rig.command(arguments);
    command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9");
    command.env("AWS_ACCESS_KEY_ID", "AKIASANDBOXUSER").env("AWS_SECRET_ACCESS_KEY", "a user's secret key");
    command
}

#[tokio::test]
async fn an_operators_machine_sees_the_same_fleet() {
    let rig = ten().await;
    let within = fleet(&rig, 4).await;
    let asked = rig.calls(Imds).len();
    let region = ["--outside", "--set", "aws.region=eu-central-1"];
    let run = Running::start(outside(&rig, &[&["fleet", "--json"], &region[..]].concat())).end().await;
    assert_eq!(run.code, 4, "{run}");
    let found: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(found, within);
    assert_eq!(rig.calls(Imds).len(), asked, "nobody is asked who this is");
    // Without a region, nobody knows where to ask.
    let run = Running::start(outside(&rig, &["fleet", "--outside"])).end().await;
    assert_eq!(run.code, 2, "{run}");
    run.says(&["the region of the fleet is not known", "set aws.region"]);
}

#[tokio::test]
async fn where_ec2_knows_no_host_of_the_fleet_it_is_not_believed() {
    let rig = Rig::bbb().await;
    rig.expect(0, &["register"]).await;
    // As with the keys of another account, none of its instances is there.
    rig.cloud.fleet.finish_termination(rig.host.id()).unwrap();
    let region = ["--outside", "--set", "aws.region=eu-central-1"];
    let run = Running::start(outside(&rig, &[&["fleet"], &region[..]].concat())).end().await;
    assert_eq!(run.code, 5, "{run}");
    run.says(&["EC2 does not know this host itself", "verdict: cannot tell"]);
    rig.put(Txt, &rig.ownership(), &[]);
    rig.put(A, &rig.fqdn(), &[]);
    rig.put(Aaaa, &rig.fqdn(), &[]);
    let run = Running::start(outside(&rig, &[&["fleet"], &region[..]].concat())).end().await;
    assert_eq!(run.code, 5, "{run}");
    run.says(&["the fleet is not known: no name below example.org belongs to a host with bbb-agent"]);
}

#[tokio::test]
async fn a_terminal_is_drawn_again_until_somebody_ends_it() {
    let rig = ten().await;
    rig.expect(2, &["fleet", "--watch"]).await.says(&["--watch needs a terminal"]);
    rig.expect(2, &["fleet", "--watch=4"]).await;
    let note = rig.host.root.join("pid");
    let agent = rig.agent.binary().display();
    let shell = format!("stty rows 24 cols 80; echo $$ >{}; exec {agent} fleet --watch=5", note.display());
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--flush", "--command", &shell, "/dev/null"]);
    command.env_clear().envs(rig.agent.environment()).env("PATH", "/usr/bin:/bin").env("TERM", "xterm");
    let mut running = Running::start(command);
    running.said("verdict: ", 2).await;
    let pid = std::fs::read_to_string(note).unwrap();
    let kill = Command::new("/bin/sh").args(["-c", "kill -s INT \"$0\"", pid.trim()]).status().await;
    assert!(kill.unwrap().success());
    let run = running.end().await;
    assert_eq!(run.code, 4, "the last verdict: {run}");
    let screens: Vec<&str> = run.stdout.split("\x1b[H").skip(2).collect();
    assert!(screens.len() >= 2, "{run}");
    for screen in screens {
        assert!(screen.lines().count() <= 24 && screen.ends_with("\x1b[J"), "{screen:?}");
        assert!(screen.contains("\x1b[31mverdict: not as it should be\x1b[0m\x1b[K"), "{screen:?}");
        assert!(screen.contains("more hosts: the terminal is too small"), "{screen:?}");
    }
}

#[tokio::test]
async fn colours_are_the_callers_choice() {
    let rig = two().await;
    let plain = rig.expect(0, &["fleet"]).await.stdout;
    assert!(!plain.contains('\x1b'), "{plain}");
    let painted = rig.expect(0, &["fleet", "--color=always"]).await.stdout;
    assert!(painted.contains("\x1b[32mverdict: in order\x1b[0m"), "{painted}");
    let status = rig.expect(0, &["status", "--color=always"]).await.stdout;
    assert!(status.contains("\x1b[1mverdict      \x1b[0m\x1b[32mregistered\x1b[0m"), "{status}");
    assert!(!rig.expect(0, &["status"]).await.stdout.contains('\x1b'));
}

#[tokio::test]
async fn a_fleet_in_order() {
    let rig = two().await;
    let found = fleet(&rig, 0).await;
    assert_eq!(found["verdict"], "in-order", "{found:#}");
    rig.expect(0, &["fleet"]).await.says(&["2 hosts: 2 in order, 0 out", "\nverdict: in order\n"]);
}

/// A source: how it fails, the words about it, and the fields that are not known then.
type Silence = (&'static str, fn(&Rig), &'static str, &'static [&'static str]);

#[tokio::test]
async fn a_source_that_cannot_be_asked_is_no_zero() {
    let rows: [Silence; 5] = [
        (
            "route53",
            |rig| rig.cloud.aws.deny("route53:ListResourceRecordSets"),
            "ListResourceRecordSets",
            &["name_state"],
        ),
        (
            "scalelite",
            |rig| rig.refuse(Scalelite, "getServers", 502, "", None),
            "Scalelite",
            &["entry", "online", "load"],
        ),
        (
            "ec2",
            |rig| rig.cloud.aws.deny("ec2:DescribeInstances"),
            "DescribeInstances",
            &["launched", "instance_state"],
        ),
        (
            "auto_scaling",
            |rig| rig.cloud.aws.deny("autoscaling:DescribeAutoScalingGroups"),
            "DescribeAutoScalingGroups of bbb-fleet: AccessDenied",
            &["lifecycle_state", "protected"],
        ),
        (
            "scalelite",
            |rig| rig.cloud.aws.deny("secretsmanager:GetSecretValue"),
            "scalelite.secret",
            &["entry", "online", "load"],
        ),
    ];
    at_once(rows, async |(source, fail, told, fields)| {
        let rig = two().await;
        let wrong = other(&rig, 7).runs();
        rig.put(A, &wrong.name(), &["198.51.100.99"]);
        rig.drop_in("quick", "[timeouts]\nstatus = 5\n");
        fail(&rig);
        let found = fleet(&rig, 5).await;
        assert_eq!(found["verdict"], "cannot-tell");
        let error = found["errors"][source].as_str().unwrap_or_else(|| panic!("{source}: {found:#}"));
        assert!(error.contains(told), "{error}");
        for host in found["hosts"].as_array().unwrap() {
            assert_ne!(host["standing"], "in-order", "{source}: {host:#}");
            for field in fields {
                assert_eq!(host[field], Value::Null, "{source}, {field}: {host:#}");
            }
        }
        let own = row(&found, rig.host.id());
        assert_eq!(own["standing"], "unknown", "{source}: {own:#}");
        if source == "scalelite" {
            assert_eq!(found["totals"]["taking_meetings"], Value::Null);
            assert_eq!(found["totals"]["load"], Value::Null);
        }
        let run = rig.expect(5, &["fleet"]).await;
        let first: Vec<&str> = error.split_whitespace().take(3).collect();
        assert_eq!(run.stdout.matches(&format!("! not known: {}", first.join(" "))).count(), 1, "{run}");
        run.says(&["\nverdict: cannot tell\n"]);
    })
    .await;
}

#[tokio::test]
async fn an_ec2_of_another_account_makes_nobody_debris() {
    let rig = two().await;
    rig.cloud.fleet.hide(rig.host.id()).unwrap();
    rig.cloud.fleet.hide(&other(&rig, 2).id()).unwrap();
    let found = fleet(&rig, 5).await;
    assert!(found["errors"]["ec2"].as_str().unwrap().contains("does not know this host itself"), "{found:#}");
    assert_eq!(other(&rig, 2).row(&found)["standing"], "unknown", "{found:#}");
}

#[tokio::test]
async fn three_hundred_hosts_cost_six_calls() {
    let rig = Rig::bbb().await;
    // With three record sets each they fill three pages; in the zone's own domain, SOA and NS would begin a fourth.
    rig.drop_in("domain", "[dns]\ndomain = \"bbb.example.org\"\n");
    for number in 2..=301 {
        Other { below: "bbb.", ..other(&rig, number) }.serves();
    }
    let found = fleet(&rig, 4).await;
    assert_eq!(found["totals"]["in_order"], 300, "{:#}", found["totals"]);
    assert_eq!(found["totals"]["hosts"], 301, "the one that asks has no name here");
    assert_eq!(rig.calls(Route53), ["ListResourceRecordSets"; 3]);
    assert_eq!(found["route53_calls"], 3);
    assert_eq!(rig.calls(Scalelite), ["getServers"]);
    assert_eq!(rig.calls(Ec2), ["DescribeInstances"]);
    assert_eq!(rig.calls(AutoScaling), ["DescribeAutoScalingGroups"]);
}

#[tokio::test]
async fn hostile_texts_do_not_steer_the_terminal() {
    let rig = two().await;
    let evil = "\u{1b}[2J\u{202e}\nverdict: in order";
    rig.cloud.fleet.add_group(evil, 0, 1, Vec::new());
    let host = other(&rig, 3);
    rig.cloud.fleet.launch(InstanceFacts {
        instance_id: host.id(),
        availability_zone: evil.to_owned(),
        tags: [("Name", evil), ("aws:autoscaling:groupName", evil)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..InstanceFacts::default()
    });
    host.named();
    rig.put(Txt, &format!("_agent.{}", other(&rig, 4).name()), &[&format!("\"x{}\"", "\\033[2J")]);
    let id = rig.cloud.scalelite.add_server(
        &format!("https://{}/bigbluebutton/api", host.name()),
        "its secret",
        ServerState::Enabled,
    );
    rig.cloud.scalelite.set_tag(&id, Some(evil));
    let run = rig.run(&["fleet"]).await;
    assert!(!run.stdout.contains(['\u{1b}', '\u{202e}']), "{run}");
    assert_eq!(run.stdout.matches("\nverdict: ").count(), 1, "{run}");
    let json = rig.run(&["fleet", "--json"]).await;
    assert!(!json.stdout.contains(['\u{1b}', '\u{202e}']), "{json}");
    serde_json::from_str::<Value>(&json.stdout).unwrap();
}

#[tokio::test]
async fn a_turn_fleet_has_no_scalelite() {
    let rig = Rig::turn().await;
    rig.expect(0, &["register"]).await;
    rig.cloud.journal.clear();
    let bbb = other(&rig, 2).named();
    let found = fleet(&rig, 0).await;
    assert_eq!(found["hosts"].as_array().unwrap().len(), 1, "{}'s is another role: {found:#}", bbb.name());
    assert_eq!(rig.calls(Scalelite), [""; 0]);
    let run = rig.expect(0, &["fleet"]).await;
    assert!(!run.stdout.contains("online") && !run.stdout.contains("load"), "{run}");
}
