//! What CloudWatch is told about a host, and that nothing suffers when it does not listen.
//!
//! The shortest interval is ten seconds; the first message comes at any moment of the first one.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::{Coturn, Relays, Rig, Running, Service, at_once};
use plan::instance::Role;
use plan::metrics::{Metric, Unit};
use plan::relay::Relay;
use sandbox::bbb::{NewMeeting, Participants, cases};
use sandbox::cloud::{HostOptions, Options};
use sandbox::cloudwatch::Datum;
use sandbox::faults::Fault;
use sandbox::fleet::LifecycleState;
use sandbox::http::ServiceName::{AutoScaling, Bbb, CloudWatch, Scalelite};
use sandbox::recordings::Stage;
use sandbox::redis::Manner;
use serde_json::Value;

const ON: &str = "metrics.enabled=true";
const OFTEN: &str = "metrics.interval=10";
/// Hardly anything but what is urgent is sent within a test.
const SELDOM: &str = "metrics.interval=3600";
const PUT: &str = "PutMetricData";
const RECORDING: &str = "183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1700000000000";
const FAILED: &str = "283f0bf3a0982a127bdb8161e0c44eb696b3e75c-1700000000000";

type Message = BTreeMap<String, f64>;

/// The data of each message under one dimension, in order of arrival: each begins with the first metric.
fn messages(rig: &Rig, dimension: (&str, &str)) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    let expected = BTreeMap::from([(dimension.0.to_owned(), dimension.1.to_owned())]);
    for Datum { name, dimensions, values, .. } in rig.cloud.cloudwatch.data() {
        if dimensions != expected {
            continue;
        }
        if name == Metric::ALL[0].name() {
            messages.push(Message::new());
        }
        let message = messages.last_mut().expect("a message that begins with Registered");
        assert_eq!(message.insert(name.clone(), values[0]), None, "{name} twice in one message");
    }
    messages
}

fn by_group(rig: &Rig) -> Vec<Message> {
    messages(rig, ("AutoScalingGroupName", &rig.cloud.group))
}

/// Returns once so many more messages were sent, taken or not.
async fn sent(rig: &Rig, times: usize) {
    let before = rig.cloud.journal.count(CloudWatch, PUT);
    rig.cloud.journal.reached(CloudWatch, PUT, before + times).await;
}

/// The first message that was begun after what the test has done was counted.
async fn told(rig: &Rig) -> Message {
    sent(rig, 2).await;
    by_group(rig).pop().expect("a message")
}

async fn serving(options: Options, settings: &[&str]) -> (Rig, Running) {
    let rig = Rig::start(options).await;
    let mut service = rig.serve(None, settings);
    service.said("-> serving:", 1).await;
    (rig, service)
}

fn values(message: &Message) -> Vec<(&str, f64)> {
    message.iter().map(|(name, value)| (name.as_str(), *value)).collect()
}

#[tokio::test]
async fn a_host_with_meetings_and_recordings() {
    let (rig, _service) = serving(Options::with_tls(), &[ON, OFTEN]).await;
    let start = |id: &str, breakout, participants| {
        let (id, parent) = (id.to_owned(), if breakout { "a" } else { "" }.to_owned());
        rig.host.bbb.start(NewMeeting { id, breakout, parent, participants, ..NewMeeting::default() });
    };
    start("a", false, Participants { moderators: 2, viewers: 5, listeners: 3, voices: 4, videos: 1 });
    start("b", false, Participants { moderators: 1, viewers: 1, listeners: 0, voices: 2, videos: 2 });
    start("a-1", true, Participants { moderators: 0, viewers: 3, listeners: 0, voices: 3, videos: 3 });
    for id in [RECORDING, FAILED] {
        rig.host.recordings.reach(id, Stage::Archived).unwrap();
    }
    rig.host.recordings.fail(FAILED).unwrap();
    let mut message = told(&rig).await;
    let days = message.remove("CertificateDaysLeft").unwrap();
    assert!(days > 365.0, "{days}");
    let expected = [
        ("DrainOverDeadline", 0.0),
        ("Draining", 0.0),
        ("LargestMeeting", 7.0),
        ("Meetings", 2.0),
        ("Participants", 9.0),
        ("RecordingsFailed", 1.0),
        ("RecordingsPending", 1.0),
        ("RecordingsStuck", 0.0),
        ("Registered", 1.0),
        ("UnregisteredSeconds", 0.0),
        ("VideoStreams", 6.0),
        ("VoiceParticipants", 9.0),
    ];
    assert_eq!(values(&message), expected);

    for datum in rig.cloud.cloudwatch.data() {
        assert_eq!(datum.namespace, "BigBlueButton");
        assert_eq!(datum.timestamp, None, "the time is CloudWatch's");
        let metric = Metric::ALL.into_iter().find(|metric| metric.name() == datum.name).unwrap();
        assert!(metric.is_of(Role::Bbb), "{metric:?}");
        let unit = if metric.unit() == Unit::Seconds { "Seconds" } else { "Count" };
        assert_eq!(datum.unit.as_deref(), Some(unit), "{metric:?}");
    }
    let asked = rig.cloud.journal.count(AutoScaling, "DescribeAutoScalingInstances");
    assert_eq!(asked, 1, "the group is known from what the service has asked for itself");
    let run = rig.expect(0, &["status"]).await;
    assert!(run.stdout.contains("\nmetrics      CloudWatch took them at 20"), "{run}");
}

#[tokio::test]
async fn a_list_that_one_meeting_spoils_is_measured_as_far_as_it_is_known() {
    let rows = [
        (cases::ORPHAN_BREAKOUTS, Some(3.0), Some(18.0)),
        (cases::ELEMENT_NAME, Some(1.0), Some(1.0)),
        (cases::THOUSAND, Some(1.0), Some(1000.0)),
        // There may be more.
        (cases::CUT_OFF, None, None),
    ];
    at_once(rows, async |(list, meetings, people)| {
        let (rig, _service) = serving(Options::with_tls(), &[ON, OFTEN]).await;
        rig.host.bbb.set_listing(Some(list));
        let message = told(&rig).await;
        let value = |name| message.get(name).copied();
        assert_eq!((value("Meetings"), value("Participants")), (meetings, people), "{list}");
        assert_eq!(value("Registered"), Some(1.0), "BBB answers: {list}");
    })
    .await;
}

#[tokio::test]
async fn recordings_that_nobody_works_on_are_measured_apart() {
    let rig = Rig::bbb().await;
    let month = Duration::from_secs(30 * 86_400);
    rig.host.recordings.put(RECORDING, "raw/R archived/R.done sanity/R.done", month).unwrap();
    rig.host.recordings.reach(FAILED, Stage::Archived).unwrap();
    let _service = rig.serving(&[ON, OFTEN]).await;
    let message = told(&rig).await;
    assert_eq!((message["RecordingsStuck"], message["RecordingsPending"]), (1.0, 1.0));
    rig.host.recordings.redis().set_manner(Manner::Locked);
    let message = told(&rig).await;
    assert!(!message.contains_key("RecordingsStuck"), "perhaps somebody works on it: {message:?}");
}

#[tokio::test]
async fn what_is_not_known_is_left_out() {
    let nowhere = "recordings.directory=/dev/null";
    let (rig, _service) = serving(Options::with_tls(), &[ON, OFTEN, nowhere, "metrics.certificate="]).await;
    rig.host.close(Bbb).await;
    let message = told(&rig).await;
    let names: Vec<&str> = message.keys().map(String::as_str).collect();
    assert_eq!(names, ["DrainOverDeadline", "Draining", "Registered", "UnregisteredSeconds"]);
    // Whatever Scalelite's entry says: without its BBB the host takes no meetings.
    assert_eq!(message["Registered"], 0.0);
    let later = told(&rig).await;
    assert!(later["UnregisteredSeconds"] > message["UnregisteredSeconds"], "{message:?}, {later:?}");
    rig.host.open(Bbb).await;
    let message = told(&rig).await;
    assert_eq!((message["Registered"], message["UnregisteredSeconds"]), (1.0, 0.0));
    assert_eq!((message["Meetings"], message.get("RecordingsPending")), (0.0, None));
}

/// Nothing else tells the operator of a single server that its BBB has died, or was never installed.
#[tokio::test]
async fn without_scalelite_a_bbb_that_does_not_answer_counts_too() {
    let rig = Rig::start(Options::with_tls()).await;
    let config = std::fs::read_to_string(rig.agent.config()).unwrap();
    let (before, section) = config.split_once("[scalelite]").unwrap();
    let (_, after) = section.split_once("[bbb]").unwrap();
    std::fs::write(rig.agent.config(), format!("{before}[bbb]{after}")).unwrap();
    rig.host.close(Bbb).await;
    let mut service = rig.serve(None, &[ON, OFTEN]);
    service.said("-> serving:", 1).await;
    let message = told(&rig).await;
    assert_eq!(message["Registered"], 0.0, "{message:?}");
    let later = told(&rig).await;
    assert!(later["UnregisteredSeconds"] > message["UnregisteredSeconds"], "{message:?}, {later:?}");
    rig.host.open(Bbb).await;
    let message = told(&rig).await;
    assert_eq!((message["Registered"], message["UnregisteredSeconds"]), (1.0, 0.0));
    assert_eq!(rig.calls(Scalelite), [""; 0]);
}

#[tokio::test]
async fn a_host_that_cannot_register_says_for_how_long() {
    let rig = Rig::bbb().await;
    rig.cloud.close(Scalelite).await;
    let service = rig.service(&[ON, OFTEN]);
    service.systemd.shows(&["joining Scalelite: "]).await;
    sent(&rig, 1).await;
    let first = by_group(&rig).pop().unwrap();
    sent(&rig, 1).await;
    let second = by_group(&rig).pop().unwrap();
    assert_eq!((first["Registered"], second["Registered"]), (0.0, 0.0));
    let grown = second["UnregisteredSeconds"] - first["UnregisteredSeconds"];
    assert!(grown > 0.0, "{first:?} {second:?}");
}

#[tokio::test]
async fn a_host_that_no_poll_of_scalelites_reaches_is_not_registered() {
    let rig = Rig::start(Options::with_tls().polled_by_hand()).await;
    let mut service = rig.service(&[ON, OFTEN]);
    service.comes_to("offline", 1).await;
    let offline = told(&rig).await;
    assert_eq!(offline["Registered"], 0.0);
    assert!(offline["UnregisteredSeconds"] > 0.0, "{offline:?}");
    rig.cloud.scalelite.poll().await;
    service.comes_to("serving", 2).await;
    let polled = told(&rig).await;
    assert_eq!((polled["Registered"], polled["UnregisteredSeconds"]), (1.0, 0.0));
}

#[tokio::test]
async fn what_hosts_are_kept_apart_by() {
    let group = ("AutoScalingGroupName", "bbb-fleet");
    let instance = ("InstanceId", "i-0123456789abcdef0");
    let domain = ("Domain", "example.org");
    let rows = [
        ("group", true, vec![group]),
        ("instance", true, vec![instance]),
        ("both", true, vec![group, instance]),
        ("group", false, vec![domain]),
        ("both", false, vec![domain, instance]),
    ];
    at_once(rows, async |(dimension, grouped, expected)| {
        let mut host = HostOptions::default();
        host.group = host.group.filter(|_| grouped);
        let setting = format!("metrics.dimension={dimension}");
        let settings = [ON, OFTEN, "protection.enabled=false", "metrics.namespace=Fleet", &setting];
        let (rig, _service) = serving(Options { host, ..Options::with_tls() }, &settings).await;
        sent(&rig, 1).await;
        let data = rig.cloud.cloudwatch.data();
        assert!(data.iter().all(|datum| datum.namespace == "Fleet"));
        let told: Vec<Vec<Message>> = expected.iter().map(|by| messages(&rig, *by)).collect();
        assert!(told.iter().all(|messages| *messages == told[0]), "{dimension}: {told:?}");
        let count: usize = told.iter().flatten().map(BTreeMap::len).sum();
        assert_eq!((count, data.is_empty()), (data.len(), false), "{dimension}: there is nothing else");
        // The service asks for its group's hooks.
        let asked = usize::from(grouped);
        assert_eq!(rig.cloud.journal.count(AutoScaling, "DescribeAuto"), asked, "{dimension}");
    })
    .await;
}

#[tokio::test]
async fn a_group_that_cannot_be_asked_for_is_not_taken_for_none() {
    let rig = Rig::bbb().await;
    rig.cloud.aws.deny("autoscaling:DescribeAutoScalingInstances");
    let mut service = rig.serving(&[ON, OFTEN, "protection.enabled=false"]).await;
    service.running.said("metrics are dropped: the group of this host is not known: ", 1).await;
    assert_eq!(rig.cloud.cloudwatch.data(), []);
    rig.cloud.aws.allow("autoscaling:DescribeAutoScalingInstances");
    // It is not asked again for a while, unless somebody wants that.
    service.running.signal("HUP").await;
    sent(&rig, 1).await;
    let messages = by_group(&rig);
    let count: usize = messages.iter().map(BTreeMap::len).sum();
    assert_eq!((messages.len(), count), (1, rig.cloud.cloudwatch.data().len()), "there is nothing else");
}

#[tokio::test]
async fn nothing_suffers_when_cloudwatch_does_not_listen() {
    let rows = [
        (None, "AccessDenied", "the instance role has to allow it"),
        (Some(Fault::Error { status: 400, code: "ThrottlingException".to_owned() }), "Throttling", "dropped"),
        (Some(Fault::Error { status: 503, code: "InternalFailure".to_owned() }), "CloudWatch", "dropped"),
        (Some(Fault::Close), "CloudWatch PutMetricData", "dropped"),
        (Some(Fault::Hang), "no answer in time", "dropped"),
    ];
    at_once(rows, async |(fault, words, more)| {
        let rig = Rig::bbb().await;
        match &fault {
            Some(fault) => rig.fault(CloudWatch, "", fault.clone(), None),
            None => rig.cloud.aws.deny("cloudwatch:PutMetricData"),
        }
        let mut service = rig.serving(&[ON, OFTEN]).await;
        rig.meet("room");
        // Once for all of them.
        sent(&rig, 2).await;
        service.running.said("metrics are dropped:", 1).await;
        let status = rig.status(0).await;
        let report = &status["service"]["metrics"];
        assert!(report["error"].as_str().unwrap().contains(words), "{report}");
        assert_eq!(report["accepted"], Value::Null);
        let screen = rig.expect(0, &["status"]).await;
        assert!(screen.stdout.contains("\nmetrics      ! dropped: "), "{screen}");

        rig.heal();
        rig.cloud.aws.allow("cloudwatch:PutMetricData");
        service.running.said("sending metrics works again after", 1).await;
        assert_eq!(by_group(&rig).len(), 1, "what was dropped is not sent again");
        let said = service.running.complaints();
        let complaints: Vec<&str> =
            said.lines().filter(|line| line.contains("metrics are dropped")).collect();
        assert_eq!(complaints.len(), 1, "{said}");
        assert!(complaints[0].contains(words) && complaints[0].contains(more), "{said}");
        match fault {
            Some(fault) => rig.fault(CloudWatch, "", fault, None),
            None => rig.cloud.aws.deny("cloudwatch:PutMetricData"),
        }

        rig.cloud.fleet.terminate(rig.host.id()).unwrap();
        service.comes_to("draining", 1).await;
        rig.host.bbb.end_all();
        service.comes_to("unregistered", 1).await;
        let (_, member) = rig.cloud.fleet.membership(rig.host.id()).unwrap();
        assert_eq!(member.state, LifecycleState::TerminatingProceed);
        assert_eq!((rig.records(), rig.cloud.scalelite.servers().len()), (Vec::new(), 0));
        let run = service.end(&["bbb-agent.service stop"]).await;
        assert_eq!(run.code, 0, "{run}");
    })
    .await;
}

#[tokio::test]
async fn a_service_that_stops_does_not_wait_for_cloudwatch() {
    let rig = Rig::bbb().await;
    rig.fault(CloudWatch, "", Fault::Hang, None);
    let service: Service = rig.serving(&[ON, OFTEN]).await;
    sent(&rig, 1).await;
    // One is under way.
    let before = rig.cloud.journal.count(CloudWatch, PUT);
    let run = service.end(&["poweroff.target start"]).await;
    assert_eq!((run.code, rig.records()), (0, Vec::new()), "{run}");
    assert_eq!(rig.cloud.journal.count(CloudWatch, PUT), before, "a service that ends sends nothing: {run}");
}

#[tokio::test]
async fn a_drain_over_its_deadline_is_told_at_once_and_so_is_that_the_host_has_left() {
    let (rig, mut service) = serving(Options::with_tls(), &[ON, SELDOM]).await;
    rig.meet("room");
    rig.expect(0, &["drain", "--wait", "--deadline", "2"]).await;
    service.said("-> unregistered:", 1).await;
    rig.cloud.journal.reached(CloudWatch, PUT, 2).await;
    let told = by_group(&rig);
    let urgent = |message: &&Message| !message.contains_key("CertificateDaysLeft");
    let over: Vec<&Message> = told.iter().filter(urgent).collect();
    assert_eq!(over.len(), 2, "{told:?}");
    for message in over {
        let expected = [
            ("DrainOverDeadline", 1.0),
            ("Draining", 0.0),
            ("Registered", 0.0),
            ("UnregisteredSeconds", 0.0),
        ];
        assert_eq!(values(message), expected);
    }
}

#[tokio::test]
async fn a_host_that_has_left_in_time_says_so_once() {
    let (rig, mut service) = serving(Options::with_tls(), &[ON, SELDOM]).await;
    rig.cloud.fleet.terminate(rig.host.id()).unwrap();
    service.said("-> unregistered:", 1).await;
    rig.cloud.journal.reached(CloudWatch, PUT, 1).await;
    let told = by_group(&rig);
    let urgent: Vec<&Message> =
        told.iter().filter(|message| !message.contains_key("CertificateDaysLeft")).collect();
    assert_eq!(urgent.len(), 1, "{told:?}");
    assert_eq!((urgent[0]["Registered"], urgent[0]["DrainOverDeadline"]), (0.0, 0.0), "{told:?}");
}

#[tokio::test]
async fn a_host_that_has_left_does_not_count_what_it_has_no_part_in() {
    let (rig, mut service) = serving(Options::with_tls(), &[ON, OFTEN]).await;
    rig.expect(0, &["deregister"]).await;
    service.said("-> unregistered:", 1).await;
    // Nothing is missing here, and nothing is known to be zero: a BBB that still runs may have anything on it.
    rig.host.bbb.start_meeting("somebody's", 3);
    let mut message = told(&rig).await;
    message.remove("CertificateDaysLeft");
    let expected =
        [("DrainOverDeadline", 0.0), ("Draining", 0.0), ("Registered", 0.0), ("UnregisteredSeconds", 0.0)];
    assert_eq!(values(&message), expected);
}

#[tokio::test]
async fn switched_off_nothing_is_sent() {
    let (rig, mut service) = serving(Options::with_tls(), &["metrics.enabled=false", OFTEN]).await;
    rig.meet("room");
    rig.expect(0, &["drain", "--wait", "--deadline", "2"]).await;
    service.said("-> unregistered:", 1).await;
    rig.ticked(2).await;
    assert_eq!(rig.calls(CloudWatch), [""; 0]);
    assert_eq!(rig.status(3).await["service"]["metrics"], Value::Null);
}

#[tokio::test]
async fn a_turn_host() {
    at_once([true, false], async |answers| {
        let rig = Rig::turn().await;
        let coturn = Coturn::start(if answers { Relay::Closed } else { Relay::Silent }).await;
        let coturn = format!("metrics.coturn={}", coturn.address);
        let certificate = format!("metrics.certificate={}", rig.cloud.aws_address());
        let relays = Relays::reserve();
        let _relay = relays.begin();
        let mut service = rig.serve(None, &[ON, OFTEN, &coturn, &certificate, &relays.setting()]);
        service.said("-> serving:", 1).await;
        let mut message = told(&rig).await;
        assert!(message.remove("CertificateDaysLeft").unwrap() > 365.0);
        let answered = if answers { 1.0 } else { 0.0 };
        let expected = [
            ("CoturnAnswers", answered),
            ("DrainOverDeadline", 0.0),
            ("Draining", 0.0),
            ("Registered", 1.0),
            ("Relays", 1.0),
            ("UnregisteredSeconds", 0.0),
        ];
        assert_eq!(values(&message), expected);
        assert_eq!(rig.cloud.journal.count(AutoScaling, "DescribeAutoScalingInstances"), 1);
    })
    .await;
}

#[tokio::test]
async fn the_coturn_of_a_bbb_host() {
    let coturn = Coturn::start(Relay::Closed).await;
    let setting = format!("metrics.coturn={}", coturn.address);
    let (rig, mut service) = serving(Options::with_tls(), &[ON, OFTEN, &setting]).await;
    coturn.becomes(Relay::Open);
    service.said("gives relays at", 1).await;
    assert_eq!(told(&rig).await["CoturnAnswers"], 0.0);
    // It is an alarm, and keeps nobody out.
    assert_eq!(rig.entry().state, sandbox::scalelite::ServerState::Enabled);
    // There is none.
    coturn.becomes(Relay::Silent);
    service.said("asking coturn for a relay works again", 1).await;
    let message = told(&rig).await;
    assert!(!message.contains_key("CoturnAnswers"), "{message:?}");
}

#[tokio::test]
async fn what_the_service_counts_seldom_is_counted_for_the_metrics() {
    let (rig, _service) = serving(Options::with_tls(), &[ON, OFTEN, "checks.work=3600"]).await;
    assert_eq!(told(&rig).await["Meetings"], 0.0);
    rig.meet("room");
    let message = told(&rig).await;
    assert_eq!((message["Meetings"], message["Participants"]), (1.0, 3.0));
}

#[tokio::test]
async fn a_configuration_that_is_read_again_switches_them_on_and_off() {
    let (rig, mut service) = serving(Options::with_tls(), &[]).await;
    rig.drop_in("99-metrics", "[metrics]\nenabled = true\ninterval = 10\n");
    service.signal("HUP").await;
    sent(&rig, 1).await;
    assert_eq!(by_group(&rig).len(), 1);
    assert!(rig.status(0).await["service"]["metrics"]["accepted"].as_u64().is_some());
    rig.drop_in("99-metrics", "[metrics]\nenabled = false\n");
    service.signal("HUP").await;
    service.said("the configuration was read again", 2).await;
    assert_eq!(rig.status(0).await["service"]["metrics"], Value::Null);
}
