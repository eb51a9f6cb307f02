//! Route 53: batches, and what strangers put there.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use clients::aws::route53::{ChangeId, Cursor, Error, HostedZone, RecordSets};
use clients::aws::sdk_config;
use clients::dns::system::SystemResolver;
use clients::imds::Imds;
use plan::backoff::Retryable;
use plan::dns::{Change, ChangeBatch, Observed, Source};
use plan::record::{Name, RecordSet, RecordType, quote_txt};
use plan::sweep::Zone;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sandbox::http::Gate;
use sandbox::route53::{
    Alias, BucketSize, Options, RecordSet as Stored, RecordType as StoredType, Route53, Routing, Throttle,
    ZoneOptions,
};
use simulation::Services;
use tokio::time::sleep;

use crate::{Runtimes, Seen, check, serve, tls};

const ZONE: &str = "Z0EXAMPLE";
const CASES: u32 = 128;
/// Longer than the simulation takes to fill its quota, to process a change and to tell every name server.
const LONG: Duration = Duration::from_secs(120);

/// A change of a batch, before it is known what is in the zone.
#[derive(Clone, Debug)]
enum Draft {
    Create(RecordSet),
    Delete(RecordSet),
    /// Deletes a set that is there, and may give another TTL or other values than it has.
    Remove(Index, Spoil),
    /// Deletes a set that is there and creates this one in its place.
    Replace(Index, Spoil, u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Spoil {
    Nothing,
    Ttl,
    Values,
}

/// What a stranger can have at a name and no agent writes.
#[derive(Clone, Copy, Debug)]
enum Alien {
    Cname,
    OwnershipCname,
    WeightedA,
    MultiValueAaaa,
    AliasA,
    MultiValueTxt,
    /// Mail may be delivered to any host: it is in nobody's way.
    Mail,
}

#[derive(Clone, Debug)]
enum Step {
    Batch(Vec<Draft>),
    /// While Route 53 processes another change of the zone.
    Beside(Vec<Draft>),
    /// When the account's quota is used up.
    Throttled(Vec<Draft>),
    /// Somebody else has this at a host's name from now on, and nothing else.
    Stranger(Name, Vec<RecordSet>, Option<Alien>),
    /// Asks for a change that was never made.
    UnknownChange,
}

/// What the agents learn from an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Learnt {
    Accepted,
    Conflict,
    Failed(Option<Retryable>),
}

/// The preparation of a batch in the sandbox and in the simulation.
type Before = (fn(&Route53), fn(&Services));

impl<T> From<&Result<T, Error>> for Learnt {
    fn from(answer: &Result<T, Error>) -> Self {
        match answer {
            Ok(_) => Self::Accepted,
            Err(Error::Conflict { .. }) => Self::Conflict,
            Err(error @ Error::Failed { .. }) => Self::Failed(error.passing()),
        }
    }
}

/// Names of hosts, the apex, a wildcard, and one in another zone.
fn names() -> Vec<Name> {
    let domain = Services::domain();
    let below = ["vc-1", "vc-2", "*"].map(|label| format!("{label}.{domain}"));
    let others = [domain.to_string(), "vc-1.elsewhere.example".to_owned()];
    below.iter().chain(&others).map(|name| Name::remote(name)).collect()
}

fn a_name() -> impl Strategy<Value = Name> {
    let [one, two, wildcard, apex, elsewhere]: [Name; 5] = names().try_into().unwrap();
    prop_oneof![8 => Just(one), 4 => Just(two), 1 => Just(wildcard), 1 => Just(apex), 1 => Just(elsewhere)]
}

fn a_ttl() -> impl Strategy<Value = u32> {
    prop_oneof![12 => Just(60), 4 => Just(300), 1 => Just(0), 1 => Just(i32::MAX as u32 + 1)]
}

/// A set with values out of few, so that many batches fit what is there.
fn a_set() -> impl Strategy<Value = RecordSet> {
    let addresses = ["192.0.2.1", "192.0.2.2"];
    let addresses6 = ["2001:db8::1", "2001:db8::2"];
    let texts =
        ["heritage=bbb-agents,instance=i-1", "heritage=bbb-agents,instance=i-2", "\"quoted\\\" ünd\u{7}"];
    let of = |kind, values: Vec<&'static str>| (Just(kind), btree_set(select(values), 1..=2));
    let kinds = prop_oneof![
        12 => of(RecordType::A, addresses.to_vec()),
        6 => of(RecordType::Aaaa, addresses6.to_vec()),
        12 => of(RecordType::Txt, texts.to_vec()),
        1 => (Just(RecordType::A), btree_set(select(vec!["2001:db8::1", "nonsense"]), 0..=1)),
        1 => (Just(RecordType::Aaaa), btree_set(select(vec!["192.0.2.1", "nonsense"]), 0..=1)),
    ];
    (a_name(), a_ttl(), kinds).prop_map(|(host, ttl, (kind, values))| RecordSet {
        name: if kind == RecordType::Txt { host.ownership() } else { host },
        kind,
        ttl,
        values: values.into_iter().map(str::to_owned).collect(),
        share: None,
    })
}

fn a_spoil() -> impl Strategy<Value = Spoil> {
    prop_oneof![6 => Just(Spoil::Nothing), 1 => Just(Spoil::Ttl), 1 => Just(Spoil::Values)]
}

fn a_batch() -> impl Strategy<Value = Vec<Draft>> {
    let draft = prop_oneof![
        4 => a_set().prop_map(Draft::Create),
        1 => a_set().prop_map(Draft::Delete),
        2 => (any::<Index>(), a_spoil()).prop_map(|(index, spoil)| Draft::Remove(index, spoil)),
        2 => (any::<Index>(), a_spoil(), a_ttl()).prop_map(|(index, spoil, ttl)| Draft::Replace(index, spoil, ttl)),
    ];
    vec(draft, 0..=3)
}

fn a_stranger() -> impl Strategy<Value = Step> {
    let alien = select(vec![
        Alien::Cname,
        Alien::OwnershipCname,
        Alien::WeightedA,
        Alien::MultiValueAaaa,
        Alien::AliasA,
        Alien::MultiValueTxt,
        Alien::Mail,
    ]);
    (a_name(), vec(a_set(), 0..=3), option::of(alien))
        .prop_map(|(name, sets, alien)| Step::Stranger(name, sets, alien))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        16 => a_batch().prop_map(Step::Batch),
        1 => a_batch().prop_map(Step::Beside),
        1 => a_batch().prop_map(Step::Throttled),
        5 => a_stranger(),
        1 => Just(Step::UnknownChange),
    ];
    vec(step, 1..=10)
}

/// Both sides, and the clients for them.
struct Sides<'a> {
    seen: &'a Seen,
    runtimes: Runtimes,
    route53: Arc<Route53>,
    zone: HostedZone,
    simulated: Services,
    _gate: Gate,
}

/// The whole zone as a sweep reads it.
async fn zone_of(records: &impl RecordSets) -> Zone {
    let domain = Services::domain();
    let (mut zone, mut from) = (Zone::new(), Some(Cursor::start(&domain)));
    while let Some(cursor) = from {
        from = records.page(&domain, cursor, &mut zone).await.unwrap();
    }
    zone
}

impl<'a> Sides<'a> {
    fn new(seen: &'a Seen) -> Self {
        let runtimes = Runtimes::new();
        let zones = [ZoneOptions::public(ZONE, Services::domain().as_str())];
        let options = Options { throttle: None, processing: Duration::ZERO, ..Options::zones(zones) };
        let route53 = Route53::new(options).unwrap();
        let (zone, gate) = runtimes.real.block_on(async {
            let (address, gate) = serve(Arc::clone(&route53) as _).await;
            let url = format!("http://{address}");
            let imds = Imds::new(&url).unwrap();
            let config = sdk_config(&tls(), &SystemResolver::new(), &imds, "eu-west-1", None).await.unwrap();
            let keys = Credentials::new("id", "key", None, None, "test");
            let keys = SharedCredentialsProvider::new(keys);
            let config = config.into_builder().endpoint_url(url).credentials_provider(keys).build();
            (HostedZone::new(&config, ZONE), gate)
        });
        let simulated = runtimes.paused.block_on(async { Services::new(1) });
        Self { seen, runtimes, route53, zone, simulated, _gate: gate }
    }

    fn run(&self, steps: &[Step]) -> Result<(), TestCaseError> {
        for step in steps {
            let draft = format!("{step:?} at {:?}", self.simulated.zone());
            self.step(step).map_err(|error| TestCaseError::fail(format!("{error}\n{draft}")))?;
            let there = self.runtimes.real.block_on(zone_of(&self.zone));
            let simulated = self.runtimes.paused.block_on(zone_of(&self.rested()));
            prop_assert_eq!(simulated, there, "the zone, simulated and in the sandbox, after {}", draft);
        }
        for name in names().into_iter().flat_map(|name| [name.ownership(), name]) {
            let there = self.runtimes.real.block_on(self.zone.read(&name)).unwrap();
            let simulated = self.runtimes.paused.block_on(self.rested().read(&name)).unwrap();
            prop_assert_eq!(simulated, there, "{}, simulated and in the sandbox", name);
        }
        Ok(())
    }

    /// The simulation's side, come to rest.
    fn rested(&self) -> impl RecordSets {
        self.runtimes.paused.block_on(async { sleep(LONG).await });
        self.simulated.record_sets()
    }

    fn step(&self, step: &Step) -> Result<(), TestCaseError> {
        let (batch, before): (_, Before) = match step {
            Step::Stranger(name, sets, alien) => {
                self.put(name, sets, *alien);
                return Ok(());
            }
            Step::UnknownChange => return self.ask_for_unknown_change(),
            Step::Batch(batch) => (batch, (|_| (), |_| ())),
            Step::Beside(batch) => {
                (batch, (|route53| route53.hold_processing(ZONE), Services::process_change))
            }
            Step::Throttled(batch) => (batch, (use_up, Services::use_up_quota)),
        };
        let batch = batch_of(batch, &self.simulated.zone());
        let (before_sandbox, before_simulated) = before;
        before_sandbox(&self.route53);
        let answer = self.runtimes.real.block_on(self.zone.change(&batch));
        self.route53.finish_processing(ZONE);
        self.route53.set_throttle(None);
        let records = self.rested();
        let simulated = self.runtimes.paused.block_on(async {
            before_simulated(&self.simulated);
            records.change(&batch).await
        });
        prop_assert_eq!(
            Learnt::from(&simulated),
            Learnt::from(&answer),
            "{:?}: simulated {:?}, in the sandbox {:?}",
            batch,
            simulated,
            answer
        );
        self.seen.count(Learnt::from(&answer));
        if let (Ok(simulated), Ok(answer)) = (simulated, answer) {
            let there = self.runtimes.real.block_on(self.zone.is_in_sync(&answer));
            let simulated = self.runtimes.paused.block_on(self.rested().is_in_sync(&simulated));
            prop_assert_eq!(simulated, there, "a change that everybody has");
        }
        Ok(())
    }

    fn ask_for_unknown_change(&self) -> Result<(), TestCaseError> {
        let unknown = ChangeId("9999".to_owned());
        let answer = self.runtimes.real.block_on(self.zone.is_in_sync(&unknown));
        let simulated = self.runtimes.paused.block_on(self.rested().is_in_sync(&unknown));
        prop_assert_eq!(Learnt::from(&simulated), Learnt::from(&answer), "{:?}, {:?}", simulated, answer);
        Ok(())
    }

    /// Somebody else replaces what is at a host's name and its ownership name; what Route 53 does not take is left out.
    fn put(&self, host: &Name, sets: &[RecordSet], alien: Option<Alien>) {
        let names = [host.clone(), host.ownership()];
        for name in &names {
            for set in self.route53.records_named(ZONE, name.as_str()) {
                let identifier = set.set_identifier.as_deref();
                // The apex keeps its SOA and NS.
                let _ = self.route53.remove(ZONE, &set.name, set.record_type, identifier);
            }
        }
        let mut seen = names.map(|name| (name, Observed::nothing(Source::Api)));
        if let Some(alien) = alien {
            let (set, at, words) = alien.stored(host);
            if self.route53.put(ZONE, set).is_ok() {
                seen[at].1.alien = words.map(str::to_owned);
            }
        }
        for set in sets {
            let set = RecordSet {
                name: if set.kind == RecordType::Txt { host.ownership() } else { host.clone() },
                ..set.clone()
            };
            // An UPSERT would replace an alias, which has no values to match.
            let taken = self.route53.records_named(ZONE, set.name.as_str());
            if taken.iter().any(|there| there.record_type == stored_type(set.kind))
                || set.values.is_empty()
                || set.ttl > i32::MAX as u32
                || self.route53.put(ZONE, stored(&set)).is_err()
            {
                continue;
            }
            match set.kind {
                RecordType::Txt => seen[0].1.label = Some(set),
                _ => seen[0].1.addresses.push(set),
            }
        }
        self.runtimes.paused.block_on(async {
            for (name, mut observed) in seen {
                observed.addresses.sort();
                let there = observed != Observed::nothing(Source::Api);
                self.simulated.put(&name, there.then_some(observed));
            }
        });
    }
}

/// Leaves the account without a request, for as long as nobody changes that.
fn use_up(route53: &Route53) {
    let requests = BucketSize { capacity: 1, per_second: 0.0 };
    route53.set_throttle(Some(Throttle { requests, ..Throttle::default() }));
    route53.use_up(1);
}

impl Alien {
    /// The set, whether it is at the host's name (0) or at the ownership name (1) that the agents see it, and how they
    /// put it.
    fn stored(self, host: &Name) -> (Stored, usize, Option<&'static str>) {
        let ownership = host.ownership();
        let simple = |name: &Name, kind, value| Stored::simple(name.as_str(), kind, 60, &[value]);
        let routed = |set: Stored, routing| Stored {
            set_identifier: Some("theirs".to_owned()),
            routing: Some(routing),
            ..set
        };
        match self {
            Self::Cname => (simple(host, StoredType::Cname, "www.example.org"), 0, Some("a CNAME")),
            Self::OwnershipCname => {
                (simple(&ownership, StoredType::Cname, "www.example.org"), 1, Some("a CNAME"))
            }
            Self::WeightedA => (
                routed(simple(host, StoredType::A, "198.51.100.7"), Routing::Weight(10)),
                0,
                Some("a routing policy's A record set"),
            ),
            Self::MultiValueAaaa => (
                routed(simple(host, StoredType::Aaaa, "2001:db8::7"), Routing::MultiValue),
                0,
                Some("a routing policy's AAAA record set"),
            ),
            Self::AliasA => {
                let alias = Alias {
                    hosted_zone_id: "Z0OTHER".to_owned(),
                    dns_name: "www.example.org".to_owned(),
                    evaluate_target_health: false,
                };
                let set = simple(host, StoredType::A, "198.51.100.7");
                let set = Stored { ttl: None, values: Vec::new(), alias: Some(alias), ..set };
                (set, 0, Some("an alias A record set"))
            }
            Self::MultiValueTxt => (
                routed(simple(&ownership, StoredType::Txt, "\"theirs\""), Routing::MultiValue),
                0,
                Some("marked by a routing policy's TXT record set"),
            ),
            Self::Mail => (simple(host, StoredType::Mx, "10 mail.example.org."), 0, None),
        }
    }
}

fn stored_type(kind: RecordType) -> StoredType {
    match kind {
        RecordType::A => StoredType::A,
        RecordType::Aaaa => StoredType::Aaaa,
        RecordType::Txt => StoredType::Txt,
    }
}

fn stored(set: &RecordSet) -> Stored {
    let values = set.values.iter().map(|value| match set.kind {
        RecordType::Txt => quote_txt(value),
        RecordType::A | RecordType::Aaaa => value.clone(),
    });
    let values: Vec<String> = values.collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    Stored::simple(set.name.as_str(), stored_type(set.kind), set.ttl, &values)
}

/// The batch, now that it is known what is in the zone.
fn batch_of(drafts: &[Draft], zone: &Zone) -> ChangeBatch {
    let there: Vec<&RecordSet> =
        zone.values().flat_map(|observed| observed.addresses.iter().chain(&observed.label)).collect();
    let pick = |index: &Index, spoil: Spoil| {
        let mut set = (!there.is_empty()).then(|| (*index.get(&there)).clone())?;
        let other = if set.kind == RecordType::Aaaa { "2001:db8::9" } else { "192.0.2.9" };
        match spoil {
            Spoil::Nothing => {}
            Spoil::Ttl => set.ttl = if set.ttl == 60 { 300 } else { 60 },
            Spoil::Values => set.values.extend([other.to_owned()]),
        }
        Some(set)
    };
    let mut changes = Vec::new();
    for draft in drafts {
        match draft {
            Draft::Create(set) => changes.push(Change::Create(set.clone())),
            Draft::Delete(set) => changes.push(Change::Delete(set.clone())),
            Draft::Remove(index, spoil) => changes.extend(pick(index, *spoil).map(Change::Delete)),
            Draft::Replace(index, spoil, ttl) => {
                if let Some(set) = pick(index, *spoil) {
                    let new = RecordSet { ttl: *ttl, ..set.clone() };
                    changes.extend([Change::Delete(set), Change::Create(new)]);
                }
            }
        }
    }
    ChangeBatch(changes)
}

#[test]
fn route_53_answers_the_same() {
    let seen = Seen::default();
    check(CASES, &steps(), |steps| Sides::new(&seen).run(steps));
    for (learnt, times) in [
        (Learnt::Accepted, 50),
        (Learnt::Conflict, 50),
        (Learnt::Failed(None), 50),
        (Learnt::Failed(Some(Retryable::Passing)), 5),
        (Learnt::Failed(Some(Retryable::Throttled)), 5),
    ] {
        seen.has(learnt, times);
    }
}

/// What the simulation was once wrong about.
#[test]
fn found_before() {
    let [host, _, wildcard, apex, elsewhere]: [Name; 5] = names().try_into().unwrap();
    let a = |name: &Name| RecordSet::a(name.clone(), 60, Ipv4Addr::new(192, 0, 2, 1));
    let label = RecordSet::txt(host.ownership(), 60, "heritage=bbb-agents".to_owned());
    let create = |set: &RecordSet| Draft::Create(set.clone());
    let taken = |alien| Step::Stranger(host.clone(), Vec::new(), Some(alien));
    let empty = RecordSet { values: BTreeSet::new(), ..a(&host) };
    for (what, steps) in [
        ("an empty batch", vec![Step::Batch(Vec::new())]),
        ("a set without values", vec![Step::Batch(vec![create(&empty)])]),
        ("a TTL that is too long", vec![Step::Batch(vec![create(&RecordSet { ttl: u32::MAX, ..a(&host) })])]),
        ("a name in another zone", vec![Step::Batch(vec![create(&a(&elsewhere))])]),
        ("one set twice", vec![Step::Batch(vec![create(&a(&host)), create(&a(&host))])]),
        ("created and deleted", vec![Step::Batch(vec![create(&a(&host)), Draft::Delete(a(&host))])]),
        (
            "a lost race beside another problem",
            vec![taken(Alien::Cname), Step::Batch(vec![create(&a(&host)), Draft::Delete(label.clone())])],
        ),
        (
            "a CNAME is in the way of addresses",
            vec![taken(Alien::Cname), Step::Batch(vec![create(&a(&host))])],
        ),
        ("and not in that of the label", vec![taken(Alien::Cname), Step::Batch(vec![create(&label)])]),
        ("an alias is there already", vec![taken(Alien::AliasA), Step::Batch(vec![create(&a(&host))])]),
        ("a weighted set is in the way", vec![taken(Alien::WeightedA), Step::Batch(vec![create(&a(&host))])]),
        ("but not of the label", vec![taken(Alien::WeightedA), Step::Batch(vec![create(&label)])]),
        (
            "a page that begins at the apex",
            vec![
                Step::Stranger(wildcard.clone(), vec![a(&wildcard)], None),
                Step::Stranger(apex.clone(), vec![a(&apex)], Some(Alien::OwnershipCname)),
                taken(Alien::OwnershipCname),
            ],
        ),
        ("a change that nobody made", vec![Step::UnknownChange]),
    ] {
        let seen = Seen::default();
        Sides::new(&seen).run(&steps).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}
