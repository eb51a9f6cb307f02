//! Route 53's API, for the host's own name and the sweep. Each method makes one call (`read` at most two); none
//! retries.

mod listing;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_credential_types::Credentials;
use aws_sdk_route53::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_route53::operation::change_resource_record_sets::ChangeResourceRecordSetsError;
use aws_sdk_route53::types as r53;
use plan::backoff::Retryable;
use plan::dns::{Change, ChangeBatch, Observed, Source, address_type};
use plan::instance::InstanceId;
use plan::record::{Name, RecordSet, RecordType, normalise_value, quote_txt};
use plan::share::{Share, Shares};
use plan::sweep::Zone;
use thiserror::Error;

pub use self::listing::Cursor;

use crate::aws::connector::OPEN_ONLY;
use crate::aws::failure::is_of_session;
use crate::aws::{self, AssumedRole};
use crate::untrusted::clean;
use crate::xml::{Elements, Step};

/// The record sets of a hosted zone, as the loops need them. [`HostedZone`] is the real implementation.
pub trait RecordSets {
    /// Reads the record sets at a host's name and at its ownership name.
    fn read(&self, name: &Name) -> impl Future<Output = Result<Observed, Error>>;

    /// Reads the share of an instance in a shared name, and whether the name has room for shares.
    fn shares(&self, shared: &Name, instance: &InstanceId) -> impl Future<Output = Result<Shares, Error>>;

    /// Reads a page of the record sets at and below the domain into `zone`, and returns where the next page begins.
    fn page(
        &self,
        domain: &Name,
        from: Cursor,
        zone: &mut Zone,
    ) -> impl Future<Output = Result<Option<Cursor>, Error>>;

    /// Applies a batch, all or nothing.
    fn change(&self, batch: &ChangeBatch) -> impl Future<Output = Result<ChangeId, Error>>;

    /// Reports whether all name servers have an accepted batch.
    fn is_in_sync(&self, change: &ChangeId) -> impl Future<Output = Result<bool, Error>>;

    /// Returns the number of calls made through this client and its clones: the whole account shares a small budget.
    fn calls(&self) -> u32;
}

/// A hosted zone.
#[derive(Clone, Debug)]
pub struct HostedZone {
    client: aws_sdk_route53::Client,
    role: Option<AssumedRole>,
    id: String,
    calls: Arc<AtomicU32>,
}

/// A hosted zone's description by Route 53.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The zone's own name.
    pub name: Name,
    /// Whether it is answered only inside VPCs.
    pub private: bool,
    /// The names of its authoritative servers; none for a private zone.
    pub servers: Vec<String>,
}

/// A batch that Route 53 accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeId(pub String);

/// A Route 53 call that failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// A compare-and-swap failed: the record sets are not (any more) as the batch expects them.
    #[error("Route 53 zone {zone}: the record sets changed meanwhile: {message}")]
    Conflict {
        /// The zone's id.
        zone: String,
        /// Route 53's messages.
        message: String,
    },
    /// Route 53 refused, or could not be asked.
    #[error("Route 53 {action} on zone {zone}: {message}")]
    Failed {
        /// The call.
        action: &'static str,
        /// The zone's id.
        zone: String,
        /// The service's message, or why the call got no answer.
        message: String,
        /// The kind of refusal, if trying again may help.
        passing: Option<Retryable>,
    },
}

impl Error {
    /// Reports whether trying again may help; after a conflict only after reading anew.
    pub fn is_retryable(&self) -> bool {
        self.passing().is_some()
    }

    /// Returns the kind of refusal, if trying again may help.
    pub fn passing(&self) -> Option<Retryable> {
        match self {
            Self::Failed { passing, .. } => *passing,
            Self::Conflict { .. } => None,
        }
    }
}

/// The page size, more than a host's own name ever needs: two address sets, the ownership TXT, and room for record
/// sets that others made below it.
const PAGE: i32 = 20;

impl HostedZone {
    /// Creates a client for the zone with this id.
    pub fn new(config: &aws_config::SdkConfig, id: &str) -> Self {
        let client = aws_sdk_route53::Client::new(config);
        Self { client, role: None, id: id.to_owned(), calls: Arc::default() }
    }

    /// Creates a client for a zone that is another account's: all calls are made in this role.
    pub fn assuming(config: &aws_config::SdkConfig, id: &str, role: AssumedRole) -> Self {
        let config =
            aws_sdk_route53::config::Builder::from(config).credentials_provider(role.clone()).build();
        let client = aws_sdk_route53::Client::from_conf(config);
        Self { client, role: Some(role), id: id.to_owned(), calls: Arc::default() }
    }

    /// Opens the connection for the calls that will come. Makes no call, which would come out of the account's quota:
    /// the request only lets the SDK name the endpoint, and the connector does not send it.
    pub async fn open(&self) {
        let nobody = Credentials::new("nobody", "nothing", None, None, "nowhere");
        let config = aws_sdk_route53::Config::builder().credentials_provider(nobody);
        let request = self.client.get_change().id("none").customize().config_override(config);
        let _ = request
            .mutate_request(|request| {
                request.headers_mut().insert(OPEN_ONLY, "yes");
            })
            .send()
            .await;
    }

    /// Lists the first page of record sets from a name on, and whether it is the last. Route 53 orders by labels from
    /// the right, so a name's own sets come first and everything below it follows.
    async fn list(&self, from: &Name) -> Result<(Vec<r53::ResourceRecordSet>, bool), Error> {
        self.count();
        let request = self.client.list_resource_record_sets().hosted_zone_id(&self.id);
        let page = request.start_record_name(from.as_str()).max_items(PAGE).send().await;
        let page = page.map_err(|error| self.failed("ListResourceRecordSets", &error))?;
        Ok((page.resource_record_sets, !page.is_truncated))
    }

    /// Returns the zone's description (GetHostedZone).
    pub async fn describe(&self) -> Result<Description, Error> {
        self.count();
        let request = self.client.get_hosted_zone().id(&self.id);
        let answer = request.send().await.map_err(|error| self.failed("GetHostedZone", &error))?;
        let zone = answer.hosted_zone.as_ref();
        Ok(Description {
            name: Name::remote(zone.map(|zone| zone.name.as_str()).unwrap_or_default()),
            private: zone.and_then(|zone| zone.config.as_ref()).is_some_and(|config| config.private_zone),
            servers: answer.delegation_set.map(|set| set.name_servers).unwrap_or_default(),
        })
    }

    fn count(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn change_failed(&self, error: &SdkError<ChangeResourceRecordSetsError>) -> Error {
        let Some(messages) = refused_batch(error) else {
            return self.failed("ChangeResourceRecordSets", error);
        };
        refusal(&self.id, &messages)
    }

    fn failed<E: ProvideErrorMetadata + std::error::Error + 'static>(
        &self,
        action: &'static str,
        error: &SdkError<E>,
    ) -> Error {
        if let Some(role) = self.role.as_ref().filter(|_| is_of_session(error)) {
            role.forget();
        }
        let passing = match (aws::is_throttled(error), aws::is_retryable(error)) {
            (true, _) => Some(Retryable::Throttled),
            (false, true) => Some(Retryable::Passing),
            (false, false) => None,
        };
        Error::Failed { action, zone: self.id.clone(), message: aws::explain(error), passing }
    }

    fn invalid(&self, error: &aws_sdk_route53::error::BuildError) -> Error {
        let (zone, message) = (self.id.clone(), error.to_string());
        Error::Failed { action: "ChangeResourceRecordSets", zone, message, passing: None }
    }
}

impl RecordSets for HostedZone {
    /// Calls ListResourceRecordSets once or twice.
    async fn read(&self, name: &Name) -> Result<Observed, Error> {
        let (sets, complete) = self.list(name).await?;
        let mut observed = Observed::nothing(Source::Api);
        let ownership = name.ownership();
        let seen = sets.iter().any(|set| Name::remote(&set.name) == ownership);
        let more = if seen || complete { Vec::new() } else { self.list(&ownership).await?.0 };
        for set in sets.iter().chain(&more) {
            sort_in(&mut observed, name, &ownership, set);
        }
        // Those of a shared name, not at the host's own, are its.
        observed.shares.clear();
        Ok(observed)
    }

    /// Calls ListResourceRecordSets once for every 300 record sets at the name.
    async fn shares(&self, shared: &Name, instance: &InstanceId) -> Result<Shares, Error> {
        let (mut shares, mut next) = (Shares::default(), Some(Cursor::start(shared)));
        while let Some(cursor) = next.take() {
            let page = self.listed(shared, cursor).await?;
            next = page.read_shares(shared, instance, &mut shares);
        }
        Ok(shares)
    }

    /// Calls ListResourceRecordSets.
    async fn page(&self, domain: &Name, from: Cursor, zone: &mut Zone) -> Result<Option<Cursor>, Error> {
        Ok(self.listed(domain, from).await?.read_into(zone))
    }

    /// Calls ChangeResourceRecordSets.
    async fn change(&self, ChangeBatch(changes): &ChangeBatch) -> Result<ChangeId, Error> {
        self.count();
        let changes: Vec<r53::Change> =
            changes.iter().map(wire).collect::<Result<_, _>>().map_err(|error| self.invalid(&error))?;
        let batch = r53::ChangeBatch::builder()
            .set_changes(Some(changes))
            .build()
            .map_err(|error| self.invalid(&error))?;
        let request = self.client.change_resource_record_sets().hosted_zone_id(&self.id).change_batch(batch);
        match request.send().await {
            Ok(accepted) => Ok(ChangeId(accepted.change_info.map(|info| info.id).unwrap_or_default())),
            Err(error) => Err(self.change_failed(&error)),
        }
    }

    /// Calls GetChange.
    async fn is_in_sync(&self, ChangeId(id): &ChangeId) -> Result<bool, Error> {
        self.count();
        let change =
            self.client.get_change().id(id).send().await.map_err(|error| self.failed("GetChange", &error))?;
        Ok(change.change_info.is_some_and(|info| info.status == r53::ChangeStatus::Insync))
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }
}

/// Translates Route 53's refusal of a batch, by its messages.
pub fn refusal(zone: &str, messages: &str) -> Error {
    let (zone, message) = (zone.to_owned(), clean(messages));
    // Only the wording tells a lost race from a batch that can never be applied.
    let lost_race = ["already exists", "was not found", "do not match the current values"];
    if lost_race.iter().any(|words| messages.contains(words)) {
        return Error::Conflict { zone, message };
    }
    Error::Failed { action: "ChangeResourceRecordSets", zone, message, passing: None }
}

/// Returns Route 53's objection to a batch. It comes in one of two shapes: `<ErrorResponse>` with the code
/// `InvalidChangeBatch`, which the SDK reads, and the documented `<InvalidChangeBatch><Messages>`, in which the SDK
/// finds no code (seen in aws-sdk-route53 1.132).
fn refused_batch(error: &SdkError<ChangeResourceRecordSetsError>) -> Option<String> {
    if let Some(ChangeResourceRecordSetsError::InvalidChangeBatch(invalid)) = error.as_service_error() {
        let message = invalid.message().map(str::to_owned);
        return Some(invalid.messages().iter().cloned().chain(message).collect::<Vec<_>>().join("; "));
    }
    let body = error.raw_response().and_then(|response| response.body().bytes())?;
    messages(body)
}

/// Extracts the messages of a documented `<InvalidChangeBatch>`; returns `None` when the body is something else.
pub fn messages(body: &[u8]) -> Option<String> {
    let mut elements = Elements::new(std::str::from_utf8(body).ok()?);
    let mut messages = Vec::new();
    while let Some(step) = elements.step() {
        match step {
            Step::Begin if elements.path().first()? != "InvalidChangeBatch" => return None,
            Step::End { name, text: Some(text) } if name == "Message" => messages.push(text),
            _ => {}
        }
    }
    elements.defect().is_none().then(|| messages.join("; "))
}

/// Puts a record set from Route 53 in its place: at the host's name, at the ownership name, or nowhere.
fn sort_in(observed: &mut Observed, name: &Name, ownership: &Name, set: &r53::ResourceRecordSet) {
    let at = Name::remote(&set.name);
    let simple = set.set_identifier.is_none() && set.alias_target.is_none();
    if at == *name {
        match address_type(set.r#type.as_str()) {
            Some(kind) if simple => observed.addresses.push(read(at, kind, set)),
            Some(kind) => {
                observed.alien = Some(format!("{} {} record set", routing(set), set.r#type));
                observed.shares.extend(share(set).map(|share| read_share(at, kind, set, share)));
            }
            None if set.r#type == r53::RrType::Cname => observed.alien = Some("a CNAME".to_owned()),
            // MX, CAA and other types may stand beside addresses; they do not concern us.
            None => {}
        }
    } else if at == *ownership && set.r#type == r53::RrType::Txt {
        if simple {
            observed.label = Some(read(at, RecordType::Txt, set));
        } else {
            observed.alien = Some(format!("marked by {} TXT record set", routing(set)));
        }
    }
}

fn routing(set: &r53::ResourceRecordSet) -> &'static str {
    match set.alias_target {
        Some(_) => "an alias",
        None => "a routing policy's",
    }
}

fn read(name: Name, kind: RecordType, set: &r53::ResourceRecordSet) -> RecordSet {
    let records = set.resource_records.iter().flatten();
    RecordSet {
        name,
        kind,
        ttl: set.ttl.and_then(|ttl| u32::try_from(ttl).ok()).unwrap_or_default(),
        values: records.map(|record| normalise_value(kind, &record.value)).collect(),
        share: None,
    }
}

/// Returns whose share a record set is, if it is one: a multivalue answer whose set identifier is an instance id.
fn share(set: &r53::ResourceRecordSet) -> Option<Share> {
    let instance = InstanceId::parse(set.set_identifier.as_deref()?).ok()?;
    let is_multivalue = set.multi_value_answer == Some(true) && set.alias_target.is_none();
    is_multivalue.then(|| Share { instance, health_check: set.health_check_id.clone() })
}

fn read_share(name: Name, kind: RecordType, set: &r53::ResourceRecordSet, share: Share) -> RecordSet {
    RecordSet { share: Some(share), ..read(name, kind, set) }
}

fn wire(change: &Change) -> Result<r53::Change, aws_sdk_route53::error::BuildError> {
    let action = match change {
        Change::Create(_) => r53::ChangeAction::Create,
        Change::Delete(_) => r53::ChangeAction::Delete,
    };
    let set = change.set();
    let kind = match set.kind {
        RecordType::A => r53::RrType::A,
        RecordType::Aaaa => r53::RrType::Aaaa,
        RecordType::Txt => r53::RrType::Txt,
    };
    let values = set.values.iter().map(|value| match set.kind {
        RecordType::Txt => quote_txt(value),
        RecordType::A | RecordType::Aaaa => value.clone(),
    });
    let records = values.map(|value| r53::ResourceRecord::builder().value(value).build());
    let share = set.share.as_ref();
    let set = r53::ResourceRecordSet::builder()
        .set_set_identifier(share.map(|share| share.instance.to_string()))
        .set_multi_value_answer(share.map(|_| true))
        .set_health_check_id(share.and_then(|share| share.health_check.clone()))
        .name(format!("{}.", set.name))
        .r#type(kind)
        .ttl(i64::from(set.ttl))
        .set_resource_records(Some(records.collect::<Result<_, _>>()?));
    r53::Change::builder().action(action).resource_record_set(set.build()?).build()
}
