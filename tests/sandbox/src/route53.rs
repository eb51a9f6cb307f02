//! Route 53's API, as strict as the real one: it refuses the same requests, with the same codes and shapes.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sandbox::route53::{Options, Route53, ZoneOptions};
//!
//! let route53 = Route53::new(Options::zones([ZoneOptions::public("Z0EXAMPLE", "example.org")]))?;
//! // Its authoritative servers, see [`crate::dns`]:
//! let servers = sandbox::dns::NameServers::start(route53, sandbox::dns::Options::default()).await?;
//! # Ok(()) }
//! ```
//!
//! The order of the checks is: throttling, reading the request, the zone, a change still being processed, the change
//! throughput, the batch. Reads through the API see an accepted change at once; the name servers follow as their
//! propagation says, and the change is `INSYNC` when all of them have it.

mod batch;
mod call;
mod clock;
mod list;
mod name;
mod parse;
mod record;
mod replica;
pub(crate) mod value;
mod xml;
mod zone;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use serde::Serialize;

pub use batch::{Action, Change};
pub use call::Call;
pub use clock::{BucketSize, Clock, Throttle};
pub use name::DnsName;
pub use record::{Alias, RecordSet, RecordType, Routing};
pub use replica::Propagation;
pub use xml::RefusalShape;
pub use zone::ZoneOptions;

pub(crate) use replica::Replica;
pub(crate) use zone::{Zone, Zones};

use crate::http::{Request, Response, Service, ServiceName};
use clock::Bucket;
use record::Key;
use xml::{Refusal, element, wrap};

/// The options of the service.
#[derive(Clone, Debug)]
pub struct Options {
    /// The zones to begin with.
    pub zones: Vec<ZoneOptions>,
    /// The account's limits; none switches throttling off.
    pub throttle: Option<Throttle>,
    /// How long a change is processed. Its answer comes after that, so that only concurrent requests are refused with
    /// `PriorRequestNotComplete`, never the same client's next request.
    pub processing: Duration,
    /// The clock of buckets and propagation.
    pub clock: Clock,
    /// The form of an `InvalidChangeBatch`.
    pub refusal_shape: RefusalShape,
}

impl Options {
    /// Returns options with these zones, documented throttling, the real clock and 3 ms of processing.
    pub fn zones(zones: impl IntoIterator<Item = ZoneOptions>) -> Self {
        Self {
            zones: zones.into_iter().collect(),
            throttle: Some(Throttle::default()),
            processing: Duration::from_millis(3),
            clock: Clock::real(),
            refusal_shape: RefusalShape::default(),
        }
    }
}

/// An accepted batch.
#[derive(Clone, Debug, Serialize)]
pub struct Accepted {
    /// The change's identifier, without `/change/`.
    pub id: String,
    /// The zone's identifier.
    pub zone: String,
    /// The comment, as sent.
    pub comment: Option<String>,
    /// When it was accepted, as the API writes it.
    pub submitted_at: String,
    /// The changes in order, names normalised.
    pub changes: Vec<Change>,
    #[serde(skip)]
    version: u64,
}

/// The stand-in. Construct it with [`Route53::new`], serve it with [`crate::http::Gate`].
#[derive(Debug)]
pub struct Route53 {
    processing: Duration,
    clock: Clock,
    refusal_shape: RefusalShape,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    zones: Arc<Zones>,
    version: u64,
    accepted: Vec<Accepted>,
    calls: Vec<Call>,
    next_change: u64,
    /// The bucket for requests and the one for record changes.
    buckets: Option<(Bucket, Bucket)>,
    /// The zones with a change in processing.
    busy: BTreeSet<String>,
    /// The zones that a test keeps busy.
    held: BTreeSet<String>,
    replicas: Vec<Weak<Replica>>,
}

impl Route53 {
    /// Creates a service with these zones.
    ///
    /// # Errors
    /// Fails when a zone's name is not valid or a zone has no name servers.
    pub fn new(options: Options) -> Result<Arc<Self>, String> {
        let zones = options
            .zones
            .iter()
            .map(|zone| Ok((zone.id.clone(), Arc::new(Zone::new(zone)?))))
            .collect::<Result<Zones, String>>()?;
        let state = State {
            zones: Arc::new(zones),
            version: 0,
            accepted: Vec::new(),
            calls: Vec::new(),
            next_change: 1,
            buckets: full_buckets(options.throttle, &options.clock),
            busy: BTreeSet::new(),
            held: BTreeSet::new(),
            replicas: Vec::new(),
        };
        Ok(Arc::new(Self {
            processing: options.processing,
            clock: options.clock,
            refusal_shape: options.refusal_shape,
            state: Mutex::new(state),
        }))
    }

    /// Returns the record sets of a zone in listing order; none when there is no such zone.
    pub fn records(&self, zone: &str) -> Option<Vec<RecordSet>> {
        Some(self.state().zones.get(zone)?.records.values().map(|set| set.as_ref().clone()).collect())
    }

    /// Returns the record sets of a zone with this name, in any spelling.
    pub fn records_named(&self, zone: &str, name: &str) -> Vec<RecordSet> {
        let Ok(name) = DnsName::parse(name) else { return Vec::new() };
        let zones = Arc::clone(&self.state().zones);
        zones.get(zone).map_or_else(Vec::new, |zone| zone.sets_of_name(&name).into_iter().cloned().collect())
    }

    /// Returns every batch accepted so far, in order.
    pub fn changes(&self) -> Vec<Accepted> {
        self.state().accepted.clone()
    }

    /// Returns every request so far, in the order of the answers, without those that failed by a planned fault.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Tells whether every name server has an accepted change; none when there is no such change.
    pub fn in_sync(&self, id: &str) -> Option<bool> {
        let state = self.state();
        let version = state.accepted.iter().find(|accepted| accepted.id == id)?.version;
        Some(state.everywhere(version))
    }

    /// Puts a record set in place as an outsider would, replacing any other: it counts neither as a request nor as a
    /// change, and takes no tokens. The name servers learn of it as of a change.
    ///
    /// # Errors
    /// Fails with Route 53's answer to an `UPSERT` of it.
    pub fn put(&self, zone: &str, set: RecordSet) -> Result<(), String> {
        self.alter(zone, Change { action: Action::Upsert, set })
    }

    /// Removes a record set as an outsider would. Returns false when it does not exist or must not be removed.
    pub fn remove(&self, zone: &str, name: &str, record_type: RecordType, identifier: Option<&str>) -> bool {
        let Ok(name) = DnsName::parse(name) else { return false };
        let key =
            Key { identifier: identifier.unwrap_or_default().to_owned(), ..Key::first(&name, record_type) };
        let set = self.state().zones.get(zone).and_then(|zone| zone.records.get(&key).cloned());
        set.is_some_and(|set| {
            self.alter(zone, Change { action: Action::Delete, set: set.as_ref().clone() }).is_ok()
        })
    }

    /// Lets a health check fail, or succeed again. The name servers learn of it as of a change.
    pub fn set_health(&self, health_check: &str, is_healthy: bool) {
        let mut state = self.state();
        for zone in state.zones.as_ref().clone().into_values() {
            let mut zone = zone.as_ref().clone();
            match is_healthy {
                true => zone.unhealthy.remove(health_check),
                false => zone.unhealthy.insert(health_check.to_owned()),
            };
            state.publish(zone);
        }
    }

    /// Keeps a zone busy: every change is refused with `PriorRequestNotComplete` until [`Route53::finish_processing`].
    pub fn hold_processing(&self, zone: &str) {
        self.state().held.insert(zone.to_owned());
    }

    /// Ends [`Route53::hold_processing`].
    pub fn finish_processing(&self, zone: &str) {
        self.state().held.remove(zone);
    }

    /// Changes the account's limits and fills the buckets; none switches throttling off.
    pub fn set_throttle(&self, throttle: Option<Throttle>) {
        self.state().buckets = full_buckets(throttle, &self.clock);
    }

    /// Takes requests from the account's bucket, as the account's other users would.
    pub fn use_up(&self, requests: usize) {
        let now = self.clock.now();
        if let Some((bucket, _)) = &mut self.state().buckets {
            (0..requests).take_while(|_| bucket.take(1, now)).for_each(drop);
        }
    }

    /// Returns a name server's copy of the zones, kept up to date as long as it lives.
    pub(crate) fn replica(&self, propagation: Propagation) -> Arc<Replica> {
        let mut state = self.state();
        let zones = Arc::clone(&state.zones);
        let replica = Arc::new(Replica::new(self.clock.clone(), propagation, state.version, zones));
        state.replicas.push(Arc::downgrade(&replica));
        replica
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alter(&self, zone: &str, change: Change) -> Result<(), String> {
        let mut state = self.state();
        let current = Arc::clone(state.zones.get(zone).ok_or_else(|| format!("no zone {zone}"))?);
        let (records, _) = batch::apply(&current, &[change]).map_err(|messages| messages.join(", "))?;
        state.publish(Zone { records, ..current.as_ref().clone() });
        Ok(())
    }

    async fn serve(&self, request: &Request) -> Result<Response, Refusal> {
        let operation = Operation::of(request);
        if matches!(operation, Operation::Unknown) {
            return Err(Refusal::new(
                404,
                "UnknownOperationException",
                "The requested operation is not known",
            ));
        }
        self.admit()?;
        match operation {
            Operation::ChangeRecords(zone) => self.change(zone, &request.body).await,
            Operation::ListRecords(zone) => {
                let content = list::record_sets(self.zone(zone)?.as_ref(), &request.query)?;
                Ok(xml::result("ListResourceRecordSetsResponse", &content))
            }
            Operation::GetChange(id) => {
                self.change_info(id).map(|info| xml::result("GetChangeResponse", &info))
            }
            Operation::GetZone(zone) => Ok(zone_details(self.zone(zone)?.as_ref())),
            Operation::ZonesByName => {
                let zones = Arc::clone(&self.state().zones);
                let content = list::zones_by_name(&zones, &request.query)?;
                Ok(xml::result("ListHostedZonesByNameResponse", &content))
            }
            Operation::Unknown => Err(Refusal::known(500, "InternalFailure")),
        }
    }

    fn admit(&self) -> Result<(), Refusal> {
        let now = self.clock.now();
        let admitted = self.state().buckets.as_mut().is_none_or(|(requests, _)| requests.take(1, now));
        if admitted { Ok(()) } else { Err(Refusal::known(400, "Throttling")) }
    }

    fn zone(&self, id: &str) -> Result<Arc<Zone>, Refusal> {
        self.state().zone(id)
    }

    async fn change(&self, zone: &str, body: &[u8]) -> Result<Response, Refusal> {
        let batch = parse::change_batch(body)?;
        let accepted = self.accept(zone, batch)?;
        let _busy = Busy { service: self, zone };
        tokio::time::sleep(self.processing).await;
        // The answer always says PENDING: a change that was just accepted cannot be everywhere.
        let content = change_info(&accepted, "PENDING");
        Ok(xml::result("ChangeResourceRecordSetsResponse", &content))
    }

    fn accept(&self, zone: &str, batch: parse::Batch) -> Result<Accepted, Refusal> {
        let now = self.clock.now();
        let mut state = self.state();
        let current = state.zone(zone)?;
        if state.busy.contains(zone) || state.held.contains(zone) {
            return Err(Refusal::known(400, "PriorRequestNotComplete"));
        }
        // First, because a batch that is too large never fits into a bucket: it is wrong, and not too early.
        batch::check_size(&batch.changes).map_err(|message| Refusal::invalid_batch(vec![message]))?;
        if let Some((_, changes)) = &mut state.buckets
            && !changes.take(batch::weight(&batch.changes), now)
        {
            return Err(Refusal::known(400, "Throttling"));
        }
        let (records, changes) = batch::apply(&current, &batch.changes).map_err(Refusal::invalid_batch)?;
        state.publish(Zone { records, ..current.as_ref().clone() });
        let accepted = Accepted {
            id: format!("C{:013}", state.next_change),
            zone: zone.to_owned(),
            comment: batch.comment,
            submitted_at: xml::timestamp(SystemTime::now()),
            changes,
            version: state.version,
        };
        state.next_change += 1;
        state.accepted.push(accepted.clone());
        state.busy.insert(zone.to_owned());
        Ok(accepted)
    }

    fn change_info(&self, id: &str) -> Result<String, Refusal> {
        let state = self.state();
        let accepted = state.accepted.iter().find(|accepted| accepted.id == id).ok_or_else(|| {
            Refusal::new(404, "NoSuchChange", &format!("Could not find resource with ID: {id}"))
        })?;
        let status = if state.everywhere(accepted.version) { "INSYNC" } else { "PENDING" };
        Ok(change_info(accepted, status))
    }
}

impl State {
    fn zone(&self, id: &str) -> Result<Arc<Zone>, Refusal> {
        self.zones.get(id).cloned().ok_or_else(|| {
            Refusal::new(404, "NoSuchHostedZone", &format!("No hosted zone found with ID: {id}"))
        })
    }

    fn everywhere(&self, version: u64) -> bool {
        self.replicas.iter().filter_map(Weak::upgrade).all(|replica| replica.version() >= version)
    }

    fn publish(&mut self, zone: Zone) {
        let mut zones = self.zones.as_ref().clone();
        zones.insert(zone.id.clone(), Arc::new(zone));
        self.zones = Arc::new(zones);
        self.version += 1;
        self.replicas.retain(|replica| replica.strong_count() > 0);
        for replica in self.replicas.iter().filter_map(Weak::upgrade) {
            replica.publish(self.version, Arc::clone(&self.zones));
        }
    }
}

/// A guard that keeps a zone busy while its change is processed, even when the client goes away meanwhile.
struct Busy<'a> {
    service: &'a Route53,
    zone: &'a str,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.service.state().busy.remove(self.zone);
    }
}

fn full_buckets(throttle: Option<Throttle>, clock: &Clock) -> Option<(Bucket, Bucket)> {
    let now = clock.now();
    throttle.map(|throttle| (Bucket::full(throttle.requests, now), Bucket::full(throttle.changes, now)))
}

fn change_info(accepted: &Accepted, status: &str) -> String {
    let mut content = element("Id", &format!("/change/{}", accepted.id))
        + &element("Status", status)
        + &element("SubmittedAt", &accepted.submitted_at);
    content += &accepted.comment.as_ref().map(|comment| element("Comment", comment)).unwrap_or_default();
    wrap("ChangeInfo", &content)
}

fn zone_details(zone: &Zone) -> Response {
    let more = if zone.private {
        let vpc = element("VPCRegion", "eu-west-1") + &element("VPCId", "vpc-0123456789abcdef0");
        wrap("VPCs", &wrap("VPC", &vpc))
    } else {
        let servers: String = zone
            .name_servers
            .iter()
            .map(|server| element("NameServer", server.strip_suffix('.').unwrap_or(server)))
            .collect();
        wrap("DelegationSet", &wrap("NameServers", &servers))
    };
    xml::result("GetHostedZoneResponse", &(xml::hosted_zone(zone) + &more))
}

/// The operation that a request asks for, by method and path.
#[derive(Clone, Copy, Debug)]
enum Operation<'a> {
    ChangeRecords(&'a str),
    ListRecords(&'a str),
    GetChange(&'a str),
    GetZone(&'a str),
    ZonesByName,
    Unknown,
}

impl<'a> Operation<'a> {
    fn of(request: &'a Request) -> Self {
        let path = request.path.strip_suffix('/').unwrap_or(&request.path);
        let parts: Vec<&str> = path.strip_prefix("/2013-04-01/").unwrap_or_default().split('/').collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("POST", ["hostedzone", zone, "rrset"]) => Self::ChangeRecords(zone),
            ("GET", ["hostedzone", zone, "rrset"]) => Self::ListRecords(zone),
            ("GET", ["change", id]) => Self::GetChange(id),
            ("GET", ["hostedzone", zone]) => Self::GetZone(zone),
            ("GET", ["hostedzonesbyname"]) => Self::ZonesByName,
            _ => Self::Unknown,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::ChangeRecords(_) => "ChangeResourceRecordSets",
            Self::ListRecords(_) => "ListResourceRecordSets",
            Self::GetChange(_) => "GetChange",
            Self::GetZone(_) => "GetHostedZone",
            Self::ZonesByName => "ListHostedZonesByName",
            Self::Unknown => "Unknown",
        }
    }
}

impl Service for Route53 {
    fn name(&self) -> ServiceName {
        ServiceName::Route53
    }

    fn action(&self, request: &Request) -> String {
        Operation::of(request).name().to_owned()
    }

    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            let (at, operation) = (self.clock.now(), Operation::of(request).name());
            let result = self.serve(request).await;
            let refusal = result.as_ref().err().map(|refusal| refusal.code().to_owned());
            self.state().calls.push(Call { at, operation, refusal });
            result.unwrap_or_else(|refusal| refusal.into_response(self.refusal_shape))
        })
    }

    fn error(&self, status: u16, code: &str) -> Response {
        let code = match (code, status) {
            ("", 503) => "ServiceUnavailable",
            ("", 500..) => "InternalFailure",
            ("", _) => "InvalidInput",
            (code, _) => code,
        };
        Refusal::known(status, code).into_response(self.refusal_shape)
    }
}
