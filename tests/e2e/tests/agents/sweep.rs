//! `sweep`: what dead hosts have left goes, everything else stays, whatever goes wrong meanwhile and whoever sweeps too.

use e2e::{Rig, Run, at_once, label};
use sandbox::faults::Fault;
use sandbox::fleet::{InstanceFacts, InstanceState};
use sandbox::http::ServiceName::{Ec2, Route53, Scalelite, SecretsManager};
use sandbox::route53::RecordType::{A, Aaaa, Cname, Txt};
use sandbox::route53::{BucketSize, Throttle};
use sandbox::scalelite::ServerState;

/// Long before the grace period.
const SINCE: &str = "1767225600";

/// A host of the fleet other than the one that sweeps.
#[derive(Clone, Copy)]
struct Other<'a> {
    rig: &'a Rig,
    number: u8,
}

impl Other<'_> {
    fn id(self) -> String {
        format!("i-{:017x}", 0xdead_0000 + u64::from(self.number))
    }

    fn name(self) -> String {
        format!("vc-{}.{}", self.id().trim_start_matches("i-"), self.rig.cloud.zone_name)
    }

    fn ipv4(self) -> String {
        format!("198.51.100.{}", self.number)
    }

    fn txt(self, text: &str) -> Self {
        self.rig.put(Txt, &format!("_agent.{}", self.name()), &[text]);
        self
    }

    fn labelled(self) -> Self {
        self.txt(&label("bbb", &self.id(), SINCE))
    }

    fn addressed(self) -> Self {
        self.rig.put(A, &self.name(), &[&self.ipv4()]);
        self.rig.put(Aaaa, &self.name(), &[&format!("2001:db8::dead:{:x}", self.number)]);
        self
    }

    fn entered(self) -> Self {
        let url = format!("https://{}/bigbluebutton/api", self.name());
        self.rig.cloud.scalelite.add_server(&url, "its secret", ServerState::Enabled);
        self
    }

    /// Everything that a registered host has.
    fn registered(self) -> Self {
        self.labelled().addressed().entered()
    }

    fn is(self, state: InstanceState) -> Self {
        self.rig.cloud.fleet.launch(InstanceFacts {
            instance_id: self.id(),
            public_ipv4: self.ipv4().parse().ok(),
            ipv6: None,
            ..InstanceFacts::default()
        });
        match state {
            InstanceState::Terminated => self.rig.cloud.fleet.finish_termination(&self.id()).unwrap(),
            state => self.rig.cloud.fleet.change(&self.id(), |instance| instance.state = state).unwrap(),
        }
        self
    }

    fn has_record(self) -> bool {
        let own = format!("{}.", self.name());
        self.rig.records().iter().any(|line| line.contains(&own))
    }

    fn has_entry(self) -> bool {
        let url = format!("https://{}/bigbluebutton/api", self.name());
        !self.rig.cloud.scalelite.servers_with_url(&url).is_empty()
    }
}

fn other(rig: &Rig, number: u8) -> Other<'_> {
    Other { rig, number }
}

async fn quick() -> Rig {
    let rig = Rig::bbb().await;
    rig.drop_in("sweep", "[sweep]\npause = 1\n");
    rig
}

/// A host that is registered, in a fleet with two that died: EC2 still lists one of them, and has forgotten the other.
async fn debris() -> Rig {
    let rig = quick().await;
    rig.expect(0, &["register"]).await;
    other(&rig, 1).registered().is(InstanceState::Terminated);
    other(&rig, 2).registered();
    rig.cloud.journal.clear();
    rig
}

fn is_clean(rig: &Rig) {
    assert_eq!(rig.records(), rig.registered_now());
    assert_eq!(rig.cloud.scalelite.servers().len(), 1);
    assert_eq!(rig.entry().state, ServerState::Enabled, "the own entry is untouched");
}

#[tokio::test]
async fn what_two_dead_hosts_left_goes_in_one_change() {
    let rig = debris().await;
    let run = rig.expect(0, &["sweep"]).await;
    run.says(&[
        &format!(
            "{} ({} in eu-central-1): gone: its instance is terminated",
            other(&rig, 1).name(),
            other(&rig, 1).id()
        ),
        &format!(
            "{} ({} in eu-central-1): gone: EC2 does not know",
            other(&rig, 2).name(),
            other(&rig, 2).id()
        ),
        "sweep: 3 hosts with a name; 1 are well, 2 gone, 2 of them removed, 0 left alone",
        "(Route 53 calls: 3)",
    ]);
    is_clean(&rig);
    assert_eq!(
        rig.calls(Route53),
        ["ListResourceRecordSets", "ListResourceRecordSets", "ChangeResourceRecordSets"]
    );
    let deletes = ["DELETE A", "DELETE AAAA", "DELETE TXT"];
    assert_eq!(rig.batches()[1..], [[deletes, deletes].concat()]);
    assert_eq!(rig.calls(Ec2).len(), 2 + 4, "both at once, twice, and who has the four addresses");
    let entries = rig.cloud.journal.entries();
    let last_of_scalelite = entries.iter().rposition(|entry| entry.service == Scalelite).unwrap();
    let change = entries.iter().position(|entry| entry.action.starts_with("Change")).unwrap();
    assert!(last_of_scalelite < change, "the ownership TXT goes last");

    let before = rig.state();
    rig.cloud.journal.clear();
    rig.expect(0, &["sweep"]).await.says(&["0 gone, 0 of them removed"]);
    assert_eq!(rig.state(), before);
    assert_eq!(
        rig.calls(Route53),
        ["ListResourceRecordSets"],
        "nobody is suspect: nothing is looked at twice"
    );
    assert_eq!(rig.calls(Ec2), [""; 0]);
}

#[tokio::test]
async fn meetings_of_a_dead_host_are_forgotten_before_its_entry_goes() {
    let rig = debris().await;
    let url = format!("https://{}/bigbluebutton/api", other(&rig, 2).name());
    let id = rig.cloud.scalelite.servers_with_url(&url)[0].id.clone();
    rig.cloud.scalelite.map_meeting("room", &id);
    rig.cloud.scalelite.refuse_panics(2);
    rig.expect(0, &["sweep"]).await;
    is_clean(&rig);
    assert!(rig.cloud.scalelite.meetings().is_empty(), "no room is left stuck");
}

#[tokio::test]
async fn a_dry_run_shows_every_host_and_changes_nothing() {
    let rig = debris().await;
    other(&rig, 3).registered().is(InstanceState::Running);
    let before = rig.state();
    let run = rig.expect(0, &["sweep", "--dry-run"]).await;
    run.says(&[
        &format!("{} ({} in eu-central-1): left alone: it is this host's own", rig.fqdn(), rig.host.id()),
        &format!(
            "{} ({} in eu-central-1): left alone: its instance is running",
            other(&rig, 3).name(),
            other(&rig, 3).id()
        ),
        "gone: its instance is terminated; record sets A, AAAA, TXT",
        "would Scalelite: disable entry",
        "would Route 53: delete the record sets of",
        "2 gone, 0 of them removed",
    ]);
    assert_eq!(rig.state(), before);
    assert!(!rig.calls(Route53).contains(&"ChangeResourceRecordSets".to_owned()));
    assert!(rig.calls(Scalelite).iter().all(|call| call == "getServers"));
}

#[tokio::test]
async fn half_of_the_debris() {
    let rig = quick().await;
    let [txt, a, entry, forgotten] = [1, 2, 3, 4].map(|number| other(&rig, number));
    txt.labelled().is(InstanceState::Terminated);
    a.addressed().is(InstanceState::Terminated);
    entry.entered().is(InstanceState::Terminated);
    forgotten.entered();
    let run = rig.expect(0, &["sweep"]).await;
    assert!(!txt.has_record(), "{run}");
    assert!(a.has_record(), "without an ownership TXT nothing is the agents'");
    assert!(!entry.has_entry(), "{run}");
    assert!(forgotten.has_entry(), "nothing says in which account it was");
    run.says(&[&format!(
        "{} ({} in eu-central-1): left alone: EC2 does not know its instance",
        forgotten.name(),
        forgotten.id()
    )]);
}

/// What a row puts there, and the reason that the dry run gives; none where nothing is said of it.
type Row = (for<'a> fn(Other<'a>) -> Other<'a>, Option<&'static str>);

#[tokio::test]
async fn everything_else_stays() {
    let rows: [Row; 14] = [
        (|host| host.registered().is(InstanceState::Running), Some("its instance is running")),
        (|host| host.registered().is(InstanceState::Stopped), Some("its instance is stopped")),
        (|host| host.registered().is(InstanceState::ShuttingDown), Some("its instance is shutting-down")),
        (
            |host| {
                let now = host.rig.cloud.clock.seconds().to_string();
                host.registered().txt(&label("bbb", &host.id(), &now)).is(InstanceState::Terminated)
            },
            Some("its ownership TXT is younger than sweep.grace"),
        ),
        (
            |host| {
                let old = label("bbb", &host.id(), SINCE).replace("account=123456789012,", "");
                host.registered().txt(&old)
            },
            Some("nothing says that it was of this account"),
        ),
        (
            |host| {
                let text = label("bbb", &host.id(), SINCE).replace("123456789012", "210987654321");
                host.registered().txt(&text)
            },
            Some("its instance is of the account 210987654321"),
        ),
        (
            |host| {
                let text = label("bbb", &host.id(), SINCE).replace("eu-central-1", "us-east-1");
                host.registered().txt(&text).is(InstanceState::Terminated)
            },
            Some("EC2 in us-east-1 could not be asked"),
        ),
        (
            |host| {
                let text = label("bbb", &host.id(), SINCE).replace("eu-central-1", "x.example.com/");
                host.registered().txt(&text)
            },
            Some("its ownership TXT names no region"),
        ),
        (
            |host| {
                let text = label("bbb", "i-00000000000000bad", SINCE);
                host.registered().txt(&text).is(InstanceState::Running)
            },
            Some("its name is made for"),
        ),
        (
            |host| {
                let squatter = Other { number: host.number + 100, ..host };
                squatter.is(InstanceState::Running);
                host.registered();
                host.rig.put(A, &host.name(), &[&squatter.ipv4()]);
                host
            },
            Some("which has no other name for it"),
        ),
        (
            |host| {
                host.rig.put(Cname, &host.name(), &["elsewhere.example.org."]);
                host.labelled().entered().is(InstanceState::Terminated)
            },
            Some("it is a CNAME, which no agent makes"),
        ),
        (
            |host| host.registered().txt("\"heritage=external-dns,owner=x\""),
            Some("was not written by an agent"),
        ),
        (|host| host.registered().txt(&label("turn", &host.id(), SINCE)), Some("it belongs to")),
        (|host| host.addressed().entered().is(InstanceState::Terminated), Some("it has no ownership TXT")),
    ];
    let rows = rows.into_iter().zip(1u8..);
    at_once(rows, async |((put, reason), number)| {
        let rig = quick().await;
        put(other(&rig, number));
        rig.cloud.scalelite.add_server(
            "https://bbb.elsewhere.test/bigbluebutton/api",
            "x",
            ServerState::Enabled,
        );
        let before = rig.state();
        for arguments in [&["sweep", "--dry-run"][..], &["sweep"]] {
            let run = rig.expect(0, arguments).await;
            assert_eq!(rig.state(), before, "row {number}:\n{run}");
            run.says(reason.filter(|_| arguments.len() > 1).as_slice());
        }
    })
    .await;
}

#[tokio::test]
async fn an_address_that_a_new_host_got_does_not_keep_the_old_ones_record() {
    let rig = quick().await;
    let (old, new) = (other(&rig, 1), other(&rig, 2));
    old.labelled();
    rig.put(A, &old.name(), &[&new.ipv4()]);
    new.registered().is(InstanceState::Running);
    rig.expect(0, &["sweep"]).await;
    assert!(!old.has_record());
    assert!(new.has_record() && new.has_entry());
}

#[tokio::test]
async fn an_instance_that_ec2_knows_again_is_left_alone() {
    let rig = debris().await;
    let back = other(&rig, 2).is(InstanceState::Running);
    rig.cloud.fleet.hide(&back.id()).unwrap();
    rig.fault(Ec2, "DescribeInstances", Fault::HoldReply, Some(1));
    let running = rig.begin(&["sweep"]);
    rig.cloud.faults.held(1).await;
    rig.cloud.fleet.reveal(&back.id()).unwrap();
    rig.cloud.faults.release(1);
    let run = running.end().await;
    assert_eq!(run.code, 0, "{run}");
    assert!(back.has_record() && back.has_entry(), "{run}");
    assert!(!other(&rig, 1).has_record(), "{run}");
}

#[tokio::test]
async fn a_host_that_registers_again_during_the_pause_keeps_everything() {
    let rig = debris().await;
    let back = other(&rig, 2);
    rig.fault(Ec2, "Describe", Fault::HoldReply, Some(1));
    let running = rig.begin(&["sweep"]);
    rig.cloud.faults.held(1).await;
    back.txt(&label("bbb", &back.id(), &rig.cloud.clock.seconds().to_string()));
    rig.cloud.faults.release(1);
    let run = running.end().await;
    assert_eq!(run.code, 0, "{run}");
    assert!(back.has_record() && back.has_entry(), "{run}");
    run.says(&["1 gone, 1 of them removed"]);
}

#[tokio::test]
async fn trouble_that_passes() {
    let rows = [
        (Route53, "List", Fault::Error { status: 400, code: "Throttling".into() }),
        (Route53, "List", Fault::LoseReply),
        (Route53, "Change", Fault::Error { status: 400, code: "Throttling".into() }),
        (Route53, "Change", Fault::Error { status: 400, code: "PriorRequestNotComplete".into() }),
        (Route53, "Change", Fault::LoseReply),
        (Ec2, "Describe", Fault::Error { status: 503, code: "RequestLimitExceeded".into() }),
        (Ec2, "Describe", Fault::LoseReply),
        (Scalelite, "getServers", Fault::Error { status: 502, code: String::new() }),
        (Scalelite, "deleteServer", Fault::LoseReply),
        (Scalelite, "panicServer", Fault::Close),
    ];
    at_once(rows, async |(service, action, fault)| {
        let rig = debris().await;
        rig.fault(service, action, fault.clone(), Some(2));
        let run = rig.expect(0, &["sweep"]).await;
        run.says(&["2 gone, 2 of them removed"]);
        assert!(rig.cloud.faults.planned().is_empty(), "{fault:?} of {action} was not met:\n{run}");
        is_clean(&rig);
    })
    .await;
}

/// What it is, how it is made, the exit code, what is said, and whether the entries go all the same.
type Trouble = (&'static str, fn(&Rig), i32, &'static str, bool);

#[tokio::test]
async fn trouble_that_stays() {
    let denied = "the instance role's permissions";
    let rows: [Trouble; 5] = [
        ("EC2", |rig| rig.cloud.aws.deny("ec2:DescribeInstances"), 1, "EC2 in eu-central-1", false),
        ("list", |rig| rig.cloud.aws.deny("route53:ListResourceRecordSets"), 1, denied, false),
        ("change", |rig| rig.cloud.aws.deny("route53:ChangeResourceRecordSets"), 1, denied, true),
        (
            "entries",
            |rig| rig.refuse(Scalelite, "getServers", 502, "", None),
            8,
            "listing Scalelite's servers",
            false,
        ),
        ("delete", |rig| rig.refuse(Scalelite, "deleteServer", 502, "", None), 8, "Scalelite entry", false),
    ];
    at_once(rows, async |(what, trouble, code, words, entries_go)| {
        let rig = debris().await;
        let records = rig.records();
        trouble(&rig);
        let run = rig
            .expect(code, &["sweep", "--set", "timeouts.sweep=15", "--set", "timeouts.deregister=8"])
            .await;
        run.says(&[words]);
        assert_eq!(rig.records(), records, "{what}: the ownership TXTs stay for the next sweep:\n{run}");
        assert_eq!(rig.cloud.scalelite.servers().len(), if entries_go { 1 } else { 3 }, "{what}");

        rig.heal();
        for action in
            ["ec2:DescribeInstances", "route53:ListResourceRecordSets", "route53:ChangeResourceRecordSets"]
        {
            rig.cloud.aws.allow(action);
        }
        rig.expect(0, &["sweep"]).await;
        is_clean(&rig);
    })
    .await;
}

#[tokio::test]
async fn an_ec2_that_does_not_know_the_host_that_asks_is_not_believed() {
    // As it is with credentials of another account, in which the whole fleet is absent.
    let rig = debris().await;
    rig.cloud.fleet.hide(rig.host.id()).unwrap();
    let before = rig.state();
    for arguments in [&["sweep", "--dry-run"][..], &["sweep"]] {
        let run = rig.expect(1, arguments).await;
        assert_eq!(rig.state(), before, "{run}");
        run.says(&["EC2 does not know this host itself", "whose credentials are these?", rig.host.id()]);
    }
    rig.cloud.fleet.reveal(rig.host.id()).unwrap();
    rig.expect(0, &["sweep"]).await;
    is_clean(&rig);
}

#[tokio::test]
async fn two_sweeps_at_once_come_to_the_same_end() {
    let rig = debris().await;
    let beside = rig.beside(9).await;
    beside.drop_in("sweep", "[sweep]\npause = 1\n");
    let (one, other) = tokio::join!(rig.run(&["sweep"]), beside.run(&["sweep"]));
    assert_eq!((one.code, other.code), (0, 0), "{one}{other}");
    is_clean(&rig);
}

/// Starts a sweep and lets it go on once it has read, for the second time, what is there.
async fn having_read(rig: &Rig, meanwhile: impl AsyncFnOnce()) -> Run {
    rig.fault(Ec2, "Describe", Fault::HoldReply, Some(1));
    let running = rig.begin(&["sweep"]);
    rig.cloud.faults.held(1).await;
    rig.fault(Route53, "List", Fault::HoldReply, Some(1));
    rig.cloud.faults.release(1);
    rig.cloud.faults.held(2).await;
    meanwhile().await;
    rig.cloud.faults.release(2);
    running.end().await
}

#[tokio::test]
async fn another_sweep_was_faster() {
    let rig = debris().await;
    let beside = rig.beside(9).await;
    beside.drop_in("sweep", "[sweep]\npause = 1\n");
    let run = having_read(&rig, async || drop(beside.expect(0, &["sweep"]).await)).await;
    assert_eq!(run.code, 0, "{run}");
    run.says(&["the record sets changed meanwhile"]);
    is_clean(&rig);
}

#[tokio::test]
async fn somebody_changes_a_record_meanwhile() {
    let rig = debris().await;
    let (one, two) = (other(&rig, 1), other(&rig, 2));
    let run = having_read(&rig, async || {
        // The first host's address is another one now, and the second is registered again.
        rig.put(A, &one.name(), &[&other(&rig, 77).ipv4()]);
        let now = rig.cloud.clock.seconds().to_string();
        two.txt(&label("bbb", &two.id(), &now));
    })
    .await;
    assert_eq!(run.code, 0, "{run}");
    assert!(one.has_record() && two.has_record(), "neither is what was judged:\n{run}");
    rig.expect(0, &["sweep"]).await;
    assert!(!one.has_record() && two.has_record());
}

#[tokio::test]
async fn one_host_that_has_changed_does_not_keep_the_others() {
    let rig = debris().await;
    let (one, two) = (other(&rig, 1), other(&rig, 2));
    let run = having_read(&rig, async || {
        let now = rig.cloud.clock.seconds().to_string();
        two.txt(&label("bbb", &two.id(), &now));
    })
    .await;
    assert_eq!(run.code, 0, "{run}");
    assert!(!one.has_record() && two.has_record(), "{run}");
    run.says(&["2 gone, 1 of them removed"]);
}

#[tokio::test]
async fn stopped_while_it_waits_it_ends_at_once_and_has_changed_nothing() {
    let rig = debris().await;
    let before = rig.state();
    let mut running = rig.begin(&["sweep", "--set", "sweep.pause=3600"]);
    running.said("EC2 says of 2 hosts that they are gone; it is asked again in 3600 s", 1).await;
    running.signal("TERM").await;
    assert_eq!(running.end().await.code, 143);
    assert_eq!(rig.state(), before);
}

#[tokio::test]
async fn a_host_that_an_older_agent_registered_keeps_its_ownership_txt() {
    let rig = quick().await;
    rig.expect(0, &["register"]).await;
    let old = label("bbb", rig.host.id(), SINCE).replace("account=123456789012,", "");
    rig.put(Txt, &rig.ownership(), &[&old]);
    rig.cloud.journal.clear();
    rig.expect(0, &["register"]).await.says(&["is registered already, nothing to do (Route 53 calls: 0)"]);
    assert_eq!(rig.calls(Route53), [""; 0]);
}

#[tokio::test]
async fn a_zone_of_three_pages() {
    let rig = quick().await;
    for number in 1..=233 {
        let host = other(&rig, number).labelled().addressed();
        if number % 100 != 0 {
            host.is(InstanceState::Running);
        }
    }
    // With the zone's own two: 701 record sets.
    assert_eq!(rig.records().len(), 699);
    let run = rig.expect(0, &["sweep"]).await;
    run.says(&["sweep: 233 hosts with a name; 231 are well, 2 gone, 2 of them removed"]);
    assert_eq!(rig.calls(Route53).len(), 3 + 3 + 1, "{:?}", rig.calls(Route53));
    assert_eq!(rig.records().len(), 699 - 6);
    assert!(!other(&rig, 100).has_record() && !other(&rig, 200).has_record());
}

#[tokio::test]
async fn only_what_is_below_the_domain_is_listed() {
    let rig = quick().await;
    let outside = other(&rig, 1).registered();
    let name = other(&rig, 2).name().replace(".example.org", ".bbb.example.org");
    rig.put(A, &name, &["198.51.100.2"]);
    rig.put(Txt, &format!("_agent.{name}"), &[&label("bbb", &other(&rig, 2).id(), SINCE)]);
    // This one comes right behind the domain, and the next page would begin among the others.
    rig.put(Txt, "_agent.bz.example.org", &[&label("bbb", &other(&rig, 3).id(), SINCE)]);
    (0..300).for_each(|number| rig.put(A, &format!("c{number}.example.org"), &["192.0.2.1"]));
    let run = rig.expect(0, &["sweep", "--set", "dns.domain=bbb.example.org"]).await;
    run.says(&["sweep: 1 hosts with a name; 0 are well, 1 gone, 1 of them removed", "(Route 53 calls: 3)"]);
    assert!(!rig.records().iter().any(|line| line.contains(&name)), "{run}");
    assert!(rig.records().iter().any(|line| line.contains("_agent.bz.")), "{run}");
    assert!(outside.has_record() && outside.has_entry(), "{run}");
}

#[tokio::test]
async fn a_fleet_under_a_throttled_account() {
    let rig = debris().await;
    let requests = BucketSize { capacity: 1, per_second: 1.0 };
    rig.cloud.route53.set_throttle(Some(Throttle { requests, ..Throttle::default() }));
    rig.expect(0, &["sweep"]).await;
    is_clean(&rig);
}

#[tokio::test]
async fn a_turn_host_sweeps_its_own_kind() {
    let rig = Rig::turn().await;
    rig.drop_in("sweep", "[sweep]\npause = 1\n");
    let bbb = other(&rig, 1).registered();
    let name = format!("tu-{}.{}", other(&rig, 2).id().trim_start_matches("i-"), rig.cloud.zone_name);
    rig.put(A, &name, &["198.51.100.2"]);
    rig.put(Txt, &format!("_agent.{name}"), &[&label("turn", &other(&rig, 2).id(), SINCE)]);
    rig.expect(0, &["sweep"]).await.says(&[&format!("{name} (")]);
    assert!(bbb.has_record() && bbb.has_entry());
    assert!(!rig.records().iter().any(|line| line.contains(&name)));
    assert_eq!(rig.calls(Scalelite), [""; 0]);
    assert_eq!(rig.calls(SecretsManager), [""; 0]);
}
