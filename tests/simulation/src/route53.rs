//! A hosted zone with its API, with one or two authoritative servers that follow at their own pace, and with the
//! checks of each change.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::time::Duration;

use clients::aws::route53::{ChangeId, Cursor, Error, RecordSets, refusal};
use clients::dns::authoritative::{self, Answer, Authorities};
use futures_util::future::join_all;
use plan::backoff::Retryable;
use plan::dns::{Change, ChangeBatch, Holder, Observed, Source};
use plan::instance::InstanceId;
use plan::record::{Name, RecordSet, RecordType};
use plan::share::{Glimpse, Shares};
use plan::sweep::Zone;

use crate::fleet::domain;
use crate::world::{Lost, Service, State, World};

const ZONE: &str = "ZSIMULATED";
const CHANGE: &str = "ChangeResourceRecordSets";

/// The hosted zone and its authoritative servers.
pub(crate) struct Route53 {
    zone: Rc<Zone>,
    version: u64,
    servers: Vec<Server>,
    /// The number of calls; in peace there must be none.
    pub(crate) calls: u64,
    /// The number of accepted changes.
    pub(crate) changes: u64,
    /// The rest of the account's quota, and when it was counted.
    tokens: (f64, Duration),
    /// Until when a change is being processed: other changes are refused meanwhile.
    busy: Duration,
}

/// The account's quota: the calls that may come at once, and the calls a second. It is small because the fleets are.
const QUOTA: (f64, f64) = (8.0, 1.0);
/// The time for which a change is processed.
const PROCESSING: Duration = Duration::from_millis(40);

/// One authoritative server: its present answers, and the versions that are on their way to it.
struct Server {
    version: u64,
    zone: Rc<Zone>,
    coming: VecDeque<(Duration, u64, Rc<Zone>)>,
    /// The greatest delay of this server, in seconds.
    lag: f64,
}

impl Route53 {
    pub(crate) fn new(rng: &mut fastrand::Rng) -> Self {
        let zone: Rc<Zone> = Rc::default();
        let server = |lag| Server { version: 0, zone: Rc::clone(&zone), coming: VecDeque::new(), lag };
        let servers = (0..rng.u32(1..=2)).map(|_| server(rng.f64() * 40.0)).collect();
        let tokens = (QUOTA.0, Duration::ZERO);
        Self { zone, version: 0, servers, calls: 0, changes: 0, tokens, busy: Duration::ZERO }
    }

    /// Returns the record sets of the zone.
    pub(crate) fn zone(&self) -> Rc<Zone> {
        Rc::clone(&self.zone)
    }
}

impl State {
    /// Replaces the zone: at once for the API, later for the servers.
    pub(crate) fn publish(&mut self, zone: Zone) {
        let now = self.now();
        self.machines.are_named(&self.route53.zone(), now);
        let (zone, calm) = (Rc::new(zone), self.calm);
        let Route53 { version, servers, .. } = &mut self.route53;
        *version += 1;
        for server in servers {
            let lag = if calm { 5.0 } else { server.lag };
            let due = now + Duration::from_secs_f64(self.rng.f64() * lag);
            // A version never overtakes an earlier one.
            let due = server.coming.back().map_or(due, |(before, ..)| due.max(*before));
            server.coming.push_back((due, *version, Rc::clone(&zone)));
        }
        self.route53.zone = zone;
    }

    /// Changes the zone as an outsider does.
    pub(crate) fn put(&mut self, name: &Name, there: Option<Observed>) {
        let mut zone = self.route53.zone.as_ref().clone();
        match there {
            Some(observed) => drop(zone.insert(name.clone(), observed)),
            None => drop(zone.remove(name)),
        }
        self.publish(zone);
    }

    fn answers(&mut self, server: usize, name: &Name) -> Observed {
        let now = self.now();
        let Some(server) = self.route53.servers.get_mut(server) else { return nothing() };
        while let Some((_, version, zone)) = server.coming.pop_front_if(|(due, ..)| *due <= now) {
            (server.version, server.zone) = (version, zone);
        }
        server.zone.get(name).cloned().unwrap_or_else(nothing)
    }

    fn in_sync(&mut self, id: &str) -> Result<bool, Error> {
        let known = id.parse().ok().filter(|version| *version <= self.route53.version);
        let Some(version) = known else {
            return Err(failed("GetChange", &format!("NoSuchChange: {id}"), None));
        };
        let servers = self.route53.servers.len();
        let root = Name::remote("nobody.example.org");
        (0..servers).for_each(|server| drop(self.answers(server, &root)));
        Ok(self.route53.servers.iter().all(|server| server.version >= version))
    }

    /// Leaves nothing of the account's quota.
    pub(crate) fn use_up_quota(&mut self) {
        self.route53.tokens = (0.0, self.now());
    }

    /// Has another change being processed from now on.
    pub(crate) fn process_change(&mut self) {
        self.route53.busy = self.now() + PROCESSING;
    }

    /// Takes a call from the account's quota; tells whether there was one left.
    fn is_admitted(&mut self) -> bool {
        let now = self.now();
        let (tokens, counted) = &mut self.route53.tokens;
        *tokens = (*tokens + now.saturating_sub(*counted).as_secs_f64() * QUOTA.1).min(QUOTA.0);
        *counted = now;
        let admitted = *tokens >= 1.0;
        if admitted {
            *tokens -= 1.0;
        }
        admitted
    }

    fn change(&mut self, who: &InstanceId, batch: &ChangeBatch) -> Result<u64, Error> {
        if let Some(why) = breaks_schema(batch) {
            return Err(failed(CHANGE, &format!("InvalidInput: {why}"), None));
        }
        if self.now() < self.route53.busy {
            return Err(failed(CHANGE, "PriorRequestNotComplete", Some(Retryable::Passing)));
        }
        let after = applied(&self.route53.zone, batch).map_err(|problems| {
            let messages = problems.join(", ");
            self.note(format_args!("{who}: Route 53 refuses a batch: {messages}"));
            refusal(ZONE, &messages)
        })?;
        self.process_change();
        for change in &batch.0 {
            self.note(format_args!("{who}: Route 53 {change}"));
        }
        self.judge(who, batch, &after);
        self.route53.changes += 1;
        self.publish(after);
        Ok(self.route53.version)
    }

    /// Checks promise 1: no agent ever takes or deletes a name that is not its own.
    fn judge(&mut self, who: &InstanceId, batch: &ChangeBatch, after: &Zone) {
        let before = self.zone_before();
        for Change::Create(set) | Change::Delete(set) in &batch.0 {
            let name = named(set);
            let owner = before.get(&name).map(|observed| observed.holder(who));
            let mine = matches!(owner, None | Some(Holder::Nobody | Holder::Me(_)));
            let orphan = before.get(&name).is_some_and(|observed| self.machines.is_gone(observed));
            if !mine && !orphan {
                self.breaks("another's name was changed", format_args!("{who} at {name}: {owner:?}"));
            }
        }
        for change in &batch.0 {
            match change {
                Change::Create(set) => self.judge_creation(who, set, after),
                Change::Delete(set) => self.judge_deletion(who, set, &before),
            }
        }
    }

    fn zone_before(&self) -> Rc<Zone> {
        self.route53.zone()
    }

    fn judge_creation(&mut self, who: &InstanceId, set: &RecordSet, after: &Zone) {
        let name = named(set);
        if !after.get(&name).is_some_and(|observed| matches!(observed.holder(who), Holder::Me(_))) {
            self.breaks("a name was taken without a label", format_args!("{who} at {name}"));
        }
        if self.machines.name(who) != Some(&name) {
            self.breaks("a wrong name was taken", format_args!("{who} at {name}"));
        }
        for address in ip_addresses(set) {
            if !self.machines.had(who, address) {
                self.breaks("another's address was registered", format_args!("{who}: {address} at {name}"));
            }
        }
    }

    fn judge_deletion(&mut self, who: &InstanceId, set: &RecordSet, before: &Zone) {
        for address in ip_addresses(set) {
            let holders = self.machines.known_holders(address, self.now());
            let name = named(set);
            let others = holders.into_iter().filter(|holder| holder != who);
            // If that host has another name with this address, the record set at this name is debris.
            let wronged = others.into_iter().find(|holder| {
                !before.iter().any(|(other, observed)| {
                    *other != name
                        && matches!(observed.holder(holder), Holder::Me(_))
                        && observed.ip_addresses().contains(&address)
                })
            });
            // A host may delete its own name with an address that it has just had.
            let own = self.machines.name(who) == Some(&name) && self.machines.had(who, address);
            if let Some(holder) = wronged.filter(|_| !own) {
                self.breaks(
                    "the address of a living host was deleted",
                    format_args!("{who} deleted {address} at {name}, which {holder} has"),
                );
            }
        }
    }
}

pub(crate) fn nothing() -> Observed {
    Observed::nothing(Source::Api)
}

fn named(set: &RecordSet) -> Name {
    set.name.owned().filter(|_| set.kind == RecordType::Txt).unwrap_or_else(|| set.name.clone())
}

fn ip_addresses(set: &RecordSet) -> BTreeSet<IpAddr> {
    set.values.iter().filter(|_| set.kind != RecordType::Txt).filter_map(|value| value.parse().ok()).collect()
}

/// Why the request cannot be read: nothing in it is looked at then.
fn breaks_schema(ChangeBatch(changes): &ChangeBatch) -> Option<&'static str> {
    const LONGEST_TTL: u32 = 2_147_483_647;
    if changes.is_empty() {
        return Some("a batch without changes");
    }
    let mut sets = changes.iter().map(Change::set);
    sets.find_map(|set| match set.values.is_empty() {
        true => Some("a record set without values"),
        false => (set.ttl > LONGEST_TTL).then_some("a TTL out of range"),
    })
}

/// The zone after the batch, or everything that Route 53 has against it: first against the batch as it stands, then
/// against making its changes one after the other.
fn applied(zone: &Zone, ChangeBatch(changes): &ChangeBatch) -> Result<Zone, Vec<String>> {
    let mut problems: Vec<String> = changes.iter().filter_map(|change| improper(change.set())).collect();
    problems.extend(mixed_up(changes));
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut after = zone.clone();
    for change in changes {
        problems.extend(apply(&mut after, change).err().map(|why| format!("{change}: {why}")));
    }
    after.retain(|_, observed| *observed != nothing());
    if problems.is_empty() { Ok(after) } else { Err(problems) }
}

/// What is wrong with a set by itself.
fn improper(set: &RecordSet) -> Option<String> {
    if !set.name.is_within(&domain()) {
        return Some(format!("RRSet with DNS name {} is not permitted in zone {}", set.name, domain()));
    }
    let fits = |value: &String| match set.kind {
        RecordType::A => value.parse::<Ipv4Addr>().is_ok(),
        RecordType::Aaaa => value.parse::<Ipv6Addr>().is_ok(),
        RecordType::Txt => true,
    };
    let wrong = set.values.iter().find(|value| !fits(value))?;
    Some(format!("Invalid Resource Record: {wrong:?} is no value of a {} record", set.kind))
}

/// One set may stand twice in a batch only as its replacement, DELETE before CREATE.
fn mixed_up(changes: &[Change]) -> Option<String> {
    let mut of_set: BTreeMap<(&Name, RecordType), Vec<&Change>> = BTreeMap::new();
    for change in changes {
        let set = change.set();
        of_set.entry((&set.name, set.kind)).or_default().push(change);
    }
    let fits = |changes: &[&Change]| matches!(changes, [_] | [Change::Delete(_), Change::Create(_)]);
    of_set.into_iter().find(|(_, changes)| !fits(changes)).map(|((name, kind), _)| {
        format!("The request contains an invalid set of changes for a resource record set '{kind} {name}'")
    })
}

/// The order in which Route 53 lists: by labels from the right, so that a domain comes before what is below it.
fn in_order(one: &str, other: &str) -> Ordering {
    one.rsplit('.').cmp(other.rsplit('.'))
}

/// One change, as Route 53 makes it or refuses it.
fn apply(zone: &mut Zone, change: &Change) -> Result<(), &'static str> {
    const EXISTS: &str = "it already exists";
    let set = change.set();
    let alien = in_the_way(zone, set);
    let observed = zone.entry(named(set)).or_insert_with(nothing);
    let there = match set.kind {
        RecordType::Txt => observed.label.clone(),
        _ => observed.addresses.iter().find(|there| there.kind == set.kind).cloned(),
    };
    match (change, there) {
        (Change::Create(_), Some(_)) => return Err(EXISTS),
        (Change::Create(_), None) => match alien {
            Some(Alien::Cname) => return Err("a conflicting RRSet of type CNAME already exists"),
            Some(Alien::Alias) => return Err(EXISTS),
            Some(Alien::Policy) => {
                return Err("a set with a routing policy exists with the same name and type");
            }
            None => {}
        },
        (Change::Delete(_), None) => return Err("it was not found"),
        (Change::Delete(set), Some(there)) if there != *set => {
            return Err("the values provided do not match the current values");
        }
        (Change::Delete(_), Some(_)) => {}
    }
    let created = matches!(change, Change::Create(_)).then(|| set.clone());
    match set.kind {
        RecordType::Txt => observed.label = created,
        kind => {
            observed.addresses.retain(|there| there.kind != kind);
            observed.addresses.extend(created);
            observed.addresses.sort();
        }
    }
    Ok(())
}

/// What the agents never write and somebody else has, as far as it stands in the way of a set.
enum Alien {
    Cname,
    Alias,
    Policy,
}

/// What is in the way of creating a set. The zone is kept as the agents see it, so the words for them tell.
fn in_the_way(zone: &Zone, set: &RecordSet) -> Option<Alien> {
    let alien = |name: &Name| zone.get(name).and_then(|observed| observed.alien.clone());
    if alien(&set.name).is_some_and(|alien| alien.starts_with("a CNAME")) {
        return Some(Alien::Cname);
    }
    let same = alien(&named(set)).filter(|alien| alien.ends_with(&format!(" {} record set", set.kind)))?;
    Some(if same.contains("an alias") { Alien::Alias } else { Alien::Policy })
}

fn failed(action: &'static str, message: &str, passing: Option<Retryable>) -> Error {
    Error::Failed { action, zone: ZONE.to_owned(), message: message.to_owned(), passing }
}

/// A client for Route 53 and its servers, used by one instance.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) world: World,
    pub(crate) who: InstanceId,
}

impl Client {
    async fn ask<T>(
        &self,
        action: &'static str,
        act: impl FnOnce(&mut State) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.world.state().route53.calls += 1;
        let admitted = |state: &mut State| match state.is_admitted() {
            true => act(state),
            false => Err(failed(action, "Throttling: Rate exceeded", Some(Retryable::Throttled))),
        };
        match self.world.call(Service::Route53, &self.who, admitted).await {
            Ok(answer) => answer,
            Err(Lost::Silence) => Err(failed(action, "no answer in time", Some(Retryable::Passing))),
            Err(Lost::Refused) => Err(failed(action, "ServiceUnavailable", Some(Retryable::Passing))),
        }
    }
}

impl RecordSets for Client {
    async fn read(&self, name: &Name) -> Result<Observed, Error> {
        self.ask("ListResourceRecordSets", |state| {
            Ok(state.route53.zone().get(name).cloned().unwrap_or_else(nothing))
        })
        .await
    }

    /// The simulated hosts are BBB hosts, which have no shares.
    async fn shares(&self, _: &Name, _: &InstanceId) -> Result<Shares, Error> {
        Ok(Shares::default())
    }

    async fn page(&self, domain: &Name, from: Cursor, zone: &mut Zone) -> Result<Option<Cursor>, Error> {
        // A page has three hosts, so that every sweep turns pages.
        const PAGE: usize = 3;
        let (page, next) = self
            .ask("ListResourceRecordSets", |state| {
                let there = state.route53.zone();
                let mut below: Vec<_> = there.iter().filter(|(name, _)| name.is_within(domain)).collect();
                below.sort_by(|(one, _), (other, _)| in_order(one.as_str(), other.as_str()));
                let mut rest =
                    below.into_iter().skip_while(|(name, _)| in_order(name.as_str(), from.name()).is_lt());
                let page: Zone =
                    rest.by_ref().take(PAGE).map(|(name, seen)| (name.clone(), seen.clone())).collect();
                Ok((page, rest.next().map(|(name, _)| Cursor::start(name))))
            })
            .await?;
        zone.extend(page);
        Ok(next)
    }

    async fn change(&self, batch: &ChangeBatch) -> Result<ChangeId, Error> {
        let version = self.ask(CHANGE, |state| state.change(&self.who, batch)).await?;
        Ok(ChangeId(version.to_string()))
    }

    async fn is_in_sync(&self, ChangeId(version): &ChangeId) -> Result<bool, Error> {
        self.ask("GetChange", |state| state.in_sync(version)).await
    }

    fn calls(&self) -> u32 {
        u32::try_from(self.world.state().route53.calls).unwrap_or(u32::MAX)
    }
}

impl Authorities for Client {
    async fn ask_all(&self, name: &Name) -> Vec<Answer> {
        let servers = self.world.state().route53.servers.len();
        join_all((0..servers).map(|server| self.ask_server(server, name))).await
    }

    async fn ask_shared(&self, _: &Name) -> Vec<Glimpse> {
        Vec::new()
    }
}

impl Client {
    /// Asks for the addresses and the label one after the other: a change may come between the two questions.
    async fn ask_server(&self, server: usize, name: &Name) -> Answer {
        let shown = format!("ns{server}");
        let silent =
            || authoritative::Error::Silent { server: shown.clone(), why: "no answer in time".to_owned() };
        if self.world.state().no_dns {
            return Answer { server: shown.clone(), result: Err(silent()) };
        }
        let ask = || self.world.call(Service::Dns, &self.who, |state| state.answers(server, name));
        let first = ask().await;
        if self.world.state().mishap(3) {
            self.world.pause(0.1, 5.0).await;
        }
        let (Ok(first), Ok(second)) = (first, ask().await) else {
            return Answer { server: shown.clone(), result: Err(silent()) };
        };
        let result = Ok(Observed { source: Source::Dns, label: second.label, ..first });
        Answer { server: shown, result }
    }
}
