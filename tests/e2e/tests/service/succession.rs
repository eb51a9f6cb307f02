//! A fixed name (`dns.name`), whose former owner has died: the next instance has it as soon as EC2 has proven that.

use e2e::{Rig, at_once, label};
use sandbox::fleet::{InstanceFacts, InstanceState};
use sandbox::http::ServiceName::{Ec2, Route53};
use sandbox::route53::RecordType::{A, Txt};

const FORMER: &str = "i-0fedcba9876543210";
const ADDRESS: &str = "198.51.100.7";
/// Long before the grace period.
const SINCE: &str = "1767225600";
/// What the service says then: its BBB has another name.
const NAMED: &[&str] = &["the name is registered"];
const SETTINGS: [&str; 2] = ["dns.name=meet.example.org", "sweep.pause=1"];

/// A host whose fixed name is that of an instance in this state; EC2 does not know that instance where there is none.
async fn heir(state: Option<InstanceState>) -> Rig {
    let rig = Rig::bbb().await;
    rig.put(A, "meet.example.org", &[ADDRESS]);
    rig.put(Txt, "_agent.meet.example.org", &[&label("bbb", FORMER, SINCE)]);
    if let Some(state) = state {
        let facts = InstanceFacts {
            instance_id: FORMER.into(),
            public_ipv4: ADDRESS.parse().ok(),
            ipv6: None,
            ..InstanceFacts::default()
        };
        rig.cloud.fleet.launch(facts);
        becomes(&rig, state);
    }
    rig.cloud.journal.clear();
    rig
}

fn becomes(rig: &Rig, state: InstanceState) {
    match state {
        InstanceState::Terminated => rig.cloud.fleet.finish_termination(FORMER).unwrap(),
        state => rig.cloud.fleet.change(FORMER, |instance| instance.state = state).unwrap(),
    }
}

/// The name is this host's, as a whole, and was never away.
fn has_succeeded(rig: &Rig) {
    let renamed = |line: String| line.replace(&rig.fqdn(), "meet.example.org");
    let own: Vec<String> = rig.registered_now().into_iter().map(renamed).collect();
    assert_eq!(rig.records(), own);
    assert_eq!(
        rig.batches().last().unwrap(),
        &["DELETE A", "DELETE TXT", "CREATE A", "CREATE AAAA", "CREATE TXT"]
    );
}

#[tokio::test]
async fn the_successor_of_a_host_that_is_gone_gets_its_name() {
    for (row, state) in [("terminated", Some(InstanceState::Terminated)), ("forgotten", None)] {
        let rig = heir(state).await;
        let service = rig.service(&SETTINGS);
        service.systemd.shows(NAMED).await;
        has_succeeded(&rig);
        assert_eq!(
            rig.cloud.journal.count(Ec2, "DescribeInstances"),
            4,
            "{row}: twice, with the address's holders"
        );
        assert_eq!(rig.cloud.journal.count(Route53, "ChangeResourceRecordSets"), 1, "{row}");
        assert_eq!(rig.cloud.journal.count(Route53, "ListResourceRecordSets"), 2, "{row}");
        let run = service.end(&[]).await;
        assert!(run.stderr.contains("is gone, as EC2 has said twice"), "{row}: {run}");
    }
}

#[tokio::test]
async fn the_successor_waits_for_a_host_that_is_going() {
    let rig = heir(Some(InstanceState::ShuttingDown)).await;
    let mut service = rig.service(&SETTINGS);
    service.running.said("which is shutting-down", 1).await;
    rig.cloud.journal.reached(Ec2, "DescribeInstances", 6).await;
    assert_eq!(rig.batches(), [[""; 0]; 0]);
    becomes(&rig, InstanceState::Terminated);
    service.systemd.shows(NAMED).await;
    has_succeeded(&rig);
}

/// A host that lives keeps its name, and so does one of which EC2 cannot say enough.
#[tokio::test]
async fn what_is_not_proven_gone_keeps_its_name() {
    #[derive(Clone, Copy, Debug)]
    enum Row {
        Runs,
        Stopped,
        IsYoung,
        OfAnotherAccount,
        OfAnotherRegion,
        IsAnothersAddress,
    }
    use Row::{IsAnothersAddress, IsYoung, OfAnotherAccount, OfAnotherRegion, Runs, Stopped};
    let rows = [Runs, Stopped, IsYoung, OfAnotherAccount, OfAnotherRegion, IsAnothersAddress];
    at_once(rows, async |row| {
        let rig = heir(match row {
            Runs => Some(InstanceState::Running),
            Stopped => Some(InstanceState::Stopped),
            IsYoung => None,
            _ => Some(InstanceState::Terminated),
        })
        .await;
        let own = label("bbb", FORMER, SINCE);
        let text = match row {
            IsYoung => label("bbb", FORMER, &rig.cloud.clock.seconds().to_string()),
            OfAnotherAccount => own.replace("account=123456789012", "account=999999999999"),
            OfAnotherRegion => own.replace("eu-central-1", "us-east-1"),
            _ => own,
        };
        rig.put(Txt, "_agent.meet.example.org", &[&text]);
        if let IsAnothersAddress = row {
            let facts = InstanceFacts {
                instance_id: "i-00000000000000003".into(),
                public_ipv4: ADDRESS.parse().ok(),
                ipv6: None,
                ..InstanceFacts::default()
            };
            rig.cloud.fleet.launch(facts);
        }
        let before = rig.records();
        let mut service = rig.service(&SETTINGS);
        service.running.said("meet.example.org was left untouched", 1).await;
        assert_eq!(rig.records(), before, "{row:?}");
        assert_eq!(rig.batches(), [[""; 0]; 0], "{row:?}");
    })
    .await;
}

/// The same by hand, in one go.
#[tokio::test]
async fn register_by_hand_succeeds_too() {
    let rig = heir(Some(InstanceState::Terminated)).await;
    let set = SETTINGS.iter().flat_map(|setting| ["--set", setting]);
    let arguments: Vec<&str> = ["register", "--only", "dns"].into_iter().chain(set).collect();
    rig.expect(0, &arguments).await;
    has_succeeded(&rig);
}

/// A name that is made for each instance has no heirs: whatever is there, stays.
#[tokio::test]
async fn a_name_of_a_template_is_not_inherited() {
    let rig = heir(Some(InstanceState::Terminated)).await;
    rig.give_away(FORMER, ADDRESS);
    let before = rig.records();
    let mut service = rig.service(&["sweep.pause=1"]);
    service.running.said("was left untouched", 1).await;
    assert_eq!(rig.records(), before);
    assert_eq!(rig.cloud.journal.count(Ec2, "DescribeInstances"), 0);
}
