//! A day in the life of a host to which nothing happens: what the service asks of whom, and whether its memory grows.
//! The figures are printed; the calls of each hour have to be exactly these.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use e2e::{Rig, skipped};
use sandbox::cloud::Options;
use sandbox::http::ServiceName::{
    self, AutoScaling, Bbb, CloudWatch, Ec2, Imds, Route53, Scalelite, SecretsManager,
};

use crate::process;

const HOURS: usize = 24;
/// How much the resident memory may grow after the first two hours, in KiB.
const GROWTH: u64 = 1024;
/// Set for the process that is the service.
const VARIABLE: &str = "STEADY_HOURS";

/// What is asked in an hour. With the default settings the metadata service is asked every 2 s what is intended with
/// this host, every 30 s about what comes with long notice; BBB is asked every 30 s for its meetings; the name is
/// looked at every 60 s and the entry every 300 s, each after a look at who this host is (three questions). BBB has
/// to answer before the entry is looked after: 12 of its calls. The load balancer's secret is fetched once an hour,
/// so that a new one is noticed; that call is signed with credentials, which are two questions more, and so is the
/// message to CloudWatch every 60 s. It counts nothing itself: what was counted last is fresh enough.
const STEADY: [(ServiceName, &str, usize); 12] = [
    (Imds, "GET /latest/meta-data/autoscaling/target-lifecycle-state", 1800),
    (Imds, "GET /latest/meta-data/spot/instance-action", 1800),
    (Imds, "GET /latest/meta-data/events/maintenance/scheduled", 120),
    (Imds, "GET /latest/meta-data/events/recommendations/rebalance", 120),
    (Imds, "GET /latest/dynamic/instance-identity/document", 72),
    (Imds, "GET /latest/meta-data/public-ipv4", 72),
    (Imds, "GET /latest/meta-data/ipv6", 72),
    (Imds, "GET /latest/meta-data/iam/security-credentials/", 122),
    (SecretsManager, "GetSecretValue", 1),
    (Scalelite, "getServerInfo", 12),
    (Bbb, "getMeetings", 132),
    (CloudWatch, "PutMetricData", 60),
];

/// Asked in addition in the hour in which the token of the metadata service has ended ...
const RENEWAL: &str = "PUT /latest/api/token";
/// ... and the most questions that were under way with the old one, which are asked again: as many as the service may
/// ask at the same moment, which is a matter of dice.
const REFUSED: usize = 8;

/// Two servers, three types.
const QUESTIONS: usize = 60 * 2 * 3;

/// One hour as seen from outside.
#[derive(Debug)]
struct Hour {
    calls: BTreeMap<(ServiceName, String), usize>,
    /// To the name servers.
    questions: usize,
    /// Resident memory in KiB: all of it, and what belongs to no file.
    memory: [u64; 2],
}

impl Hour {
    fn of(&self, service: ServiceName) -> usize {
        self.calls.iter().filter(|((asked, _), _)| *asked == service).map(|(_, times)| times).sum()
    }

    /// How much more than it should be.
    fn surplus(&self) -> BTreeMap<(ServiceName, &str), isize> {
        let mut surplus = BTreeMap::new();
        for ((service, action), times) in &self.calls {
            // The list of roles and the role itself.
            let action = action.strip_suffix("bbb-fleet-host").unwrap_or(action);
            *surplus.entry((*service, action)).or_insert(0) += times.cast_signed();
        }
        for (service, action, times) in STEADY {
            *surplus.entry((service, action)).or_insert(0) -= times.cast_signed();
        }
        surplus.retain(|_, times| *times != 0);
        surplus
    }
}

#[tokio::test]
async fn a_day_costs_what_it_should_and_no_memory() {
    let (hours, log) = day().await;
    let _ = writeln!(std::io::stderr(), "{}", table(&hours));
    assert_eq!(hours.len(), HOURS, "the service ended early:\n{log}");
    // One line for each decision of the start, none when nothing happens.
    assert!(log.trim_end().lines().last().unwrap().contains("joining -> serving"), "{log}");

    let first = &hours[0];
    // Of Auto Scaling: which group the host is in, and which hooks that has.
    assert_eq!([Route53, AutoScaling, Ec2].map(|service| first.of(service)), [1, 2, 0], "{first:?}");
    let (mut lists, mut hooks) = (0, 0);
    for (index, hour) in hours.iter().enumerate().skip(1) {
        let mut surplus = hour.surplus();
        // Tokens are good for six hours.
        if index % 6 == 0 {
            assert_eq!(surplus.remove(&(Imds, RENEWAL)), Some(1), "hour {}: {hour:?}", index + 1);
            let again: isize = surplus.values().sum();
            assert!((1..=REFUSED).contains(&again.unsigned_abs()), "hour {}: {surplus:?}", index + 1);
            surplus.retain(|(service, _), times| *service != Imds || *times < 0);
        }
        // Once in some hours one of the checks lists the pool.
        if surplus.remove(&(Scalelite, "getServers")).is_some_and(|lists| lists == 1) {
            lists += 1;
            assert_eq!(surplus.remove(&(Scalelite, "getServerInfo")), Some(-1), "hour {}", index + 1);
        }
        // And the group is asked for its hooks, with credentials.
        if surplus.remove(&(AutoScaling, "DescribeLifecycleHooks")).is_some_and(|asked| asked == 1) {
            hooks += 1;
            let keys = (Imds, "GET /latest/meta-data/iam/security-credentials/");
            if index % 6 != 0 {
                assert_eq!(surplus.remove(&keys), Some(2), "hour {}", index + 1);
            }
        }
        assert_eq!(surplus, BTreeMap::new(), "hour {}", index + 1);
        assert_eq!(hour.questions, QUESTIONS, "hour {}", index + 1);
    }
    assert!((3..=8).contains(&lists), "the pool was listed {lists} times");
    assert!((3..=8).contains(&hooks), "the hooks were listed {hooks} times");
    for (early, late) in hours[1].memory.iter().zip(hours[HOURS - 1].memory) {
        assert!(late < early + GROWTH, "from {early} to {late} KiB");
    }
}

#[test]
#[ignore = "the other test runs it, in a process of its own"]
fn the_service_of_that_day() {
    match std::env::var(VARIABLE) {
        Ok(hours) => process::pass(hours.parse().unwrap()),
        Err(_) => skipped("this is a part of the other test"),
    }
}

/// Lets a day pass. With the hours comes what the service logged.
async fn day() -> (Vec<Hour>, String) {
    let mut options = Options::with_tls();
    // No timer may be under way in the cloud: see [`process`].
    (options.scalelite.processing, options.route53.processing) = (Duration::ZERO, Duration::ZERO);
    let rig = Rig::start(options).await;
    // How often a fleet sweeps is a matter of dice, and counted where the turns are tested.
    rig.drop_in("steady", "[metrics]\nenabled = true\n[sweep]\nenabled = false\n");
    let mut command = process::program();
    command.envs(rig.agent.environment()).env(VARIABLE, HOURS.to_string());
    let mut hours = Vec::new();
    let log = process::watch(command, "steady::the_service_of_that_day", async |figures| {
        let figures: Vec<u64> = figures.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
        let (calls, questions) = (rig.cloud.journal.tally(), rig.cloud.dns.queries().len());
        hours.push(Hour { calls, questions, memory: [figures[1], figures[2]] });
        // Time passes in the cloud too.
        rig.cloud.clock.advance(Duration::from_secs(3600));
        rig.cloud.scalelite.poll().await;
        rig.cloud.journal.clear();
        rig.cloud.dns.clear_queries();
    })
    .await;
    (hours, log)
}

fn table(hours: &[Hour]) -> String {
    let [Some(first), Some(second), Some(last)] = [hours.first(), hours.get(1), hours.last()] else {
        return "not even two hours".to_owned();
    };
    let mut text = format!("calls in {} hours: in the first, in the second, in all\n", hours.len());
    let mut row = |name: &str, count: &dyn Fn(&Hour) -> usize| {
        let all: usize = hours.iter().map(count).sum();
        let _ = writeln!(text, "  {name:<16}{:>8}{:>8}{all:>8}", count(first), count(second));
    };
    for service in [Route53, Ec2, AutoScaling, CloudWatch, SecretsManager, Scalelite, Bbb, Imds] {
        row(&format!("{service:?}"), &|hour| hour.of(service));
    }
    row("DNS", &|hour| hour.questions);
    let [before, after] = [second, last].map(|hour| hour.memory);
    let _ = write!(
        text,
        "resident memory after the second hour: {} KiB, of which {} belong to no file; after the last: {} and {} KiB",
        before[0], before[1], after[0], after[1]
    );
    text
}
