//! Collects the parts of the status: asks all sources at once, each with its own time limit, and combines the answers.

use std::time::Duration;

use plan::dns::{self, Desired, Holder, Liveness, Observed};
use plan::health::{self, Part, Verdict};
use plan::membership;
use plan::record::RecordSet;
use plan::relay;
use plan::share::{SharedName, Sight};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::facts::{
    AutoScaling, BbbHost, Coturn, Dns, Entry, Identity, Scalelite, Server, Service, Share, Status,
};
use super::{addresses, certificate};
use crate::cli::VERSION;
use crate::config::settings;
use crate::control::{self, RelayFacts, WorkFacts};
use crate::dns::{Zone, words_of};
use crate::identity::Host;
use crate::report::Failure;
use crate::session::{Session, now, within};
use crate::work;
use clients::aws::ec2::GroupName;
use clients::aws::route53::RecordSets;
use clients::aws::utc;
use clients::bbb::{Installation, NotReady};
use clients::dns::authoritative::Authorities;
use clients::scalelite::Management;

/// The source that stands in where no server answers.
const API: &str = "Route 53 API";

const LATE: &str = "no answer in time";

const UNSENT: &str = "published recordings exist on this host only, because no program sends them to Scalelite: install its \
                      sender, or set recordings.sender to \"none\"";

/// The result of reading BBB's settings on this host; `None` on a TURN host.
type Local = Option<Result<Installation, NotReady>>;

/// A part of the status with its weight in the verdict.
type Weighed<T> = (T, Part);

pub(super) async fn collect(session: &Session) -> Status {
    let service = service(session).await;
    let on_purpose = service.state.as_ref().filter(|state| keeps_out(&state.state)).map(|state| &state.words);
    let known = Known {
        work: told(&service, "work"),
        relays: told(&service, "relays"),
        certificate: certificate::weighed(session, service.state.as_ref()),
    };
    let status = without_service(session, on_purpose.map(String::as_str), known).await;
    Status { service, ..status }
}

/// The facts that the service has found out already: a second count of the work might contradict its own.
struct Known {
    work: Option<WorkFacts>,
    relays: Option<RelayFacts>,
    certificate: Part,
}

/// Returns what the service has told under this name, if it has.
fn told<T: DeserializeOwned>(service: &Service, name: &str) -> Option<T> {
    serde_json::from_value(service.state.as_ref()?.more.get(name)?.clone()).ok()
}

/// Reports whether a service in this state wants the host to take no new meetings.
fn keeps_out(state: &str) -> bool {
    matches!(state, "cordoned" | "draining" | "leaving" | "unregistered" | "stopping")
}

/// Collects everything but the service; `on_purpose` is the service's reason when it keeps the host out itself.
async fn without_service(session: &Session, on_purpose: Option<&str>, known: Known) -> Status {
    let host = match session.host(within(session.settings.timeouts.status)).await {
        Ok(host) => host,
        Err(failure) => return unknown_host(session, &failure),
    };
    let local = session.installation(&host).await;
    let (named, bbb, announced, coturn, auto_scaling) = tokio::join!(
        names(session, &host),
        bbb_host(session, &host, &local, known.work),
        session.announced(&host, local.as_ref()),
        coturn(session, &host, known.relays),
        auto_scaling(session, &host)
    );
    let (dns, dns_part) = named;
    let explained = |part: Part| on_purpose.map_or(part.clone(), |words| part.explained(words));
    let dns_part = explained(dns_part);
    let (mut scalelite, scalelite_part) = scalelite(session, &host, &local).await;
    let mut scalelite_part = explained(scalelite_part);
    if matches!(scalelite_part, Part::Missing(_))
        && addresses::keep_out(&announced, session.settings.addresses.on)
    {
        scalelite_part = scalelite_part.explained(addresses::KEPT_OUT);
    }
    if let (Some(found), Part::Missing(why) | Part::Drift(why) | Part::Settling(why)) =
        (&mut scalelite, &scalelite_part)
    {
        found.blocked = Some(why.clone());
    }
    let (mut bbb, bbb_part) = bbb.map_or((None, Part::NotUsed), |(bbb, part)| (Some(bbb), part));
    let (mut coturn, coturn_part) =
        coturn.map_or((None, Part::NotUsed), |(coturn, part)| (Some(coturn), part));
    let (facts, addresses_part) = addresses::weighed(&announced, session.settings.addresses.on);
    match (&mut bbb, &mut coturn) {
        (Some(bbb), _) => bbb.addresses = facts,
        (None, Some(coturn)) => coturn.addresses = Some(facts),
        (None, None) => {}
    }
    let recordings_part = match &bbb {
        Some(bbb) if bbb.work.recordings.unsent => Part::Drift(UNSENT.to_owned()),
        _ => Part::InOrder,
    };
    let (verdict, reasons) = health::verdict(&[
        dns_part,
        scalelite_part,
        bbb_part,
        addresses_part,
        coturn_part,
        known.certificate,
        recordings_part,
    ]);
    Status {
        verdict,
        reasons,
        identity: identity(session, &host),
        dns,
        scalelite,
        bbb,
        coturn,
        auto_scaling,
        ..blank(session)
    }
}

fn blank(session: &Session) -> Status {
    Status {
        schema: 1,
        agent: session.agent.name.to_owned(),
        version: VERSION.to_owned(),
        verdict: Verdict::CannotTell,
        reasons: Vec::new(),
        identity: Identity { role: session.agent.role.to_string(), ..Identity::default() },
        dns: Dns::default(),
        scalelite: None,
        bbb: None,
        coturn: None,
        auto_scaling: AutoScaling::default(),
        service: Service::default(),
    }
}

fn unknown_host(session: &Session, failure: &Failure) -> Status {
    let mut status = blank(session);
    let (verdict, reasons) = health::verdict(&[Part::Unknown(failure.headline())]);
    status.verdict = verdict;
    status.reasons = reasons;
    status.identity.error = Some(failure.headline());
    status
}

fn identity(session: &Session, host: &Host) -> Identity {
    Identity {
        instance: Some(host.instance.to_string()),
        region: Some(host.region.clone()),
        availability_zone: Some(host.availability_zone.clone()),
        instance_type: Some(host.instance_type.clone()),
        role: session.agent.role.to_string(),
        fqdn: Some(host.name.to_string()),
        ipv4: host.ipv4.map(|address| address.to_string()),
        ipv6: host.ipv6.map(|address| address.to_string()),
        error: None,
    }
}

async fn names(session: &Session, host: &Host) -> Weighed<Dns> {
    let desired = match host.desired(session.agent.role, session.settings.dns.ttl, now()) {
        Ok(desired) => desired,
        Err(failure) => {
            let error = Some(failure.headline());
            return (Dns { error, ..Dns::default() }, Part::Missing(failure.headline()));
        }
    };
    let mut dns = Dns { desired: words_of(&desired.sets()), ..Dns::default() };
    let mut zone = match session.zone(host).await {
        Ok(zone) => zone,
        Err(failure) => {
            dns.error = Some(failure.headline());
            return (dns, Part::Unknown(failure.headline()));
        }
    };
    let mut seen = ask_servers(&mut dns, &zone, &desired).await;
    if !seen.is_empty()
        && !seen.contains(&Liveness::Live)
        && let Ok(Some(other)) = timeout(session.settings.timeouts.status, session.doubt(&zone)).await
    {
        // What the other zone shows says nothing about the host.
        dns = Dns { desired: dns.desired, error: Some(other.words), ..Dns::default() };
        zone.servers = other.servers;
        seen = ask_servers(&mut dns, &zone, &desired).await;
    }
    // A record of another host may come from a wildcard, or from a former owner whose records are about to disappear.
    let foreign = seen.iter().any(|liveness| matches!(liveness, Liveness::Foreign(_)));
    if seen.is_empty() || foreign && !seen.contains(&Liveness::Live) {
        seen = ask_api(session, &mut dns, &zone, &desired).await.into_iter().collect();
    }
    dns.route53_calls = zone.api.calls();
    let part = dns_part(&desired, &dns, &seen);
    match desired.shared() {
        Some(shared) => with_share(dns, part, &zone, &desired, shared, &seen).await,
        None => (dns, part),
    }
}

/// Returns the state at each server that answered.
async fn ask_servers(dns: &mut Dns, zone: &Zone, desired: &Desired) -> Vec<Liveness> {
    let servers = match &zone.servers {
        Ok(servers) => servers,
        Err(why) => {
            dns.error = Some(format!("the authoritative servers were not asked: {why}"));
            return Vec::new();
        }
    };
    let mut seen = Vec::new();
    for answer in servers.ask_all(&desired.name).await {
        match answer.result {
            Ok(observed) => seen.push(note(dns, answer.server, desired, &observed)),
            Err(error) => dns.servers.push(Server {
                server: answer.server,
                state: "unknown".to_owned(),
                detail: error.to_string(),
            }),
        }
    }
    seen
}

async fn ask_api(session: &Session, dns: &mut Dns, zone: &Zone, desired: &Desired) -> Option<Liveness> {
    let read = timeout(session.settings.timeouts.status, zone.read_of(desired)).await;
    let detail = match read {
        Ok(Ok(observed)) => return Some(note(dns, API.to_owned(), desired, &observed)),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    dns.servers.push(Server { server: API.to_owned(), state: "unknown".to_owned(), detail });
    None
}

fn note(dns: &mut Dns, server: String, desired: &Desired, observed: &Observed) -> Liveness {
    let liveness = dns::liveness(desired, observed);
    let holder = observed.holder(&desired.owner.instance);
    if let Holder::Me(owner) = &holder {
        dns.owner = Some(owner.instance.to_string());
        dns.since = Some(owner.since);
    }
    let sets: Vec<String> = observed.addresses.iter().map(brief).collect();
    let sets = sets.join(", ");
    let (state, detail) = match &liveness {
        Liveness::Live => ("live", sets),
        Liveness::Absent => ("absent", "no record sets".to_owned()),
        Liveness::Different => ("different", sets),
        Liveness::Shareless => ("shareless", sets),
        Liveness::Foreign(refusal) => {
            if let (dns::Refusal::Owner(owner), None) = (refusal, &dns.owner) {
                dns.owner = Some(owner.instance.to_string());
                dns.since = Some(owner.since);
            }
            ("foreign", refusal.to_string())
        }
    };
    dns.servers.push(Server { server, state: state.to_owned(), detail });
    liveness
}

/// Formats a record set whose name is known from the context: `A 203.0.113.10 (ttl 60)`.
fn brief(set: &RecordSet) -> String {
    let values: Vec<&str> = set.values.iter().map(String::as_str).collect();
    format!("{} {} (ttl {})", set.kind, values.join(" "), set.ttl)
}

fn dns_part(desired: &Desired, dns: &Dns, seen: &[Liveness]) -> Part {
    let name = &desired.name;
    let behind = dns.servers.iter().filter(|server| server.state != "live").count();
    if seen.contains(&Liveness::Live) {
        return match behind {
            0 => Part::InOrder,
            _ => Part::Settling(format!(
                "{behind} of {} authoritative servers do not answer with {name} yet",
                dns.servers.len()
            )),
        };
    }
    if seen.contains(&Liveness::Different) {
        return Part::Drift(format!(
            "{name} has other addresses or another TTL than this host: register sets that right"
        ));
    }
    if seen.contains(&Liveness::Shareless) {
        return Part::Drift(match desired.shared() {
            Some(shared) => format!(
                "{name} has no share in {}: register gives it one, check says what is in the way",
                shared.name
            ),
            None => format!("{name} has a share that is not wanted any more: register takes it away"),
        });
    }
    for liveness in seen {
        if let Liveness::Foreign(refusal) = liveness {
            return Part::Missing(format!("the name {name} is not this host's: {refusal}"));
        }
    }
    match seen.is_empty() {
        true => Part::Unknown(format!("nobody could say whether {name} is registered")),
        false => Part::Missing(format!("{name} has no record set: register makes it")),
    }
}

/// Adds the host's share, as far as the servers show it.
async fn with_share(
    mut dns: Dns,
    part: Part,
    zone: &Zone,
    desired: &Desired,
    shared: &SharedName,
    seen: &[Liveness],
) -> Weighed<Dns> {
    let name = &shared.name;
    // The API tells of the share too, and where it was asked no server answers.
    let by_api = dns.servers.iter().any(|server| server.server == API);
    let (state, own) = match seen.contains(&Liveness::Live) {
        true if by_api => ("live", Part::InOrder),
        true => match zone.sight(name, desired).await {
            Sight::Shown => ("live", Part::InOrder),
            Sight::Unknown => ("unseen", Part::InOrder),
            Sight::LeftOut if shared.health_check.is_some() => (
                "left-out",
                Part::Drift(format!("{name} leaves this host out, as it does while its health check fails")),
            ),
            Sight::LeftOut => {
                ("missing", Part::Drift(format!("{name} does not show this host: register sets that right")))
            }
        },
        false if seen.is_empty() => ("unknown", Part::InOrder),
        false => ("none", Part::InOrder),
    };
    let (name, health_check) = (name.to_string(), shared.health_check.clone());
    dns.share = Some(Share { name, health_check, state: state.to_owned() });
    (dns, if part == Part::InOrder { own } else { part })
}

async fn bbb_host(
    session: &Session,
    host: &Host,
    local: &Local,
    counted: Option<WorkFacts>,
) -> Option<Weighed<BbbHost>> {
    let local = local.as_ref()?;
    let patience = session.settings.timeouts.status;
    let work = async {
        match counted {
            Some(work) => work,
            None => {
                // Nobody knows whether the host has taken meetings before.
                let count = work::count(session, host, Some(local), true);
                match timeout(patience, count).await {
                    Ok(work) => WorkFacts::of(&work, &session.settings.drain.rules),
                    Err(_) => WorkFacts { meetings_unknown: Some(LATE.to_owned()), ..WorkFacts::default() },
                }
            }
        }
    };
    let version = async {
        let bbb = work::bbb(session, local)?;
        let version = timeout(patience, bbb.version()).await.map_err(|_| LATE.to_owned())?;
        version.map_err(|error| error.to_string())
    };
    let (work, version) = tokio::join!(work, version);
    let mut found = BbbHost { work, ..BbbHost::default() };
    let part = match (version, local) {
        (Err(error), Err(reading)) if !reading.may_come() => {
            found.error = Some(error.clone());
            Part::Unknown(error)
        }
        (Err(error), _) => {
            found.error = Some(error.clone());
            Part::Drift(format!("BBB does not answer on this host: {error}"))
        }
        (Ok(version), _) => {
            found.answers = true;
            found.version = Some(version.bbb.unwrap_or_else(|| format!("API {}", version.api)));
            found.error = found.work.meetings_unknown.clone();
            match &found.error {
                Some(error) => Part::Drift(format!("BBB does not tell its meetings: {error}")),
                None => Part::InOrder,
            }
        }
    };
    Some((found, part))
}

/// Asks coturn, and counts its relays on a TURN host unless the service has done so.
async fn coturn(session: &Session, host: &Host, counted: Option<RelayFacts>) -> Option<Weighed<Coturn>> {
    let address = session.coturn(host)?;
    let relays = async {
        match (counted, &session.settings.relays) {
            (Some(relays), _) => Some(relays),
            (None, Some(_)) => RelayFacts::of(&work::count(session, host, None, false).await),
            (None, None) => None,
        }
    };
    let (answer, relays) = tokio::join!(session.relay(address), relays);
    let part = relay::part(&answer, session.agent.role, address);
    let found = Coturn {
        address: address.to_string(),
        answer: answer.as_ref().ok().map(|relay| relay.as_str().to_owned()),
        words: answer
            .as_ref()
            .map_or_else(|_| format!("cannot be asked at {address}"), |relay| relay.at(address)),
        relays,
        addresses: None,
        error: answer.err(),
    };
    Some((found, part))
}

async fn scalelite(session: &Session, host: &Host, local: &Local) -> Weighed<Option<Scalelite>> {
    let Some(configured) = &session.settings.scalelite else { return (None, Part::NotUsed) };
    let mut found = Scalelite { url: configured.url.clone(), ..Scalelite::default() };
    let part = match entries(session, host, local, &mut found).await {
        Ok(entries) => {
            let known = matches!(local, Some(Ok(_)));
            found.entries = entries.iter().map(|entry| show(entry, known)).collect();
            standing(configured, entries, known, session.since_enabled())
        }
        Err(error) => {
            found.error = Some(error.clone());
            Part::Unknown(format!("Scalelite could not be asked: {error}"))
        }
    };
    (Some(found), part)
}

fn standing(
    configured: &settings::Scalelite,
    mut entries: Vec<membership::Entry>,
    settings_known: bool,
    enabled: Option<Duration>,
) -> Part {
    if !settings_known {
        // BBB's own part reports that its settings cannot be read; without them, URL and secret cannot be compared.
        entries.iter_mut().for_each(|entry| (entry.url_matches, entry.secret_matches) = (true, true));
    }
    health::scalelite(&configured.entry, &entries, enabled, configured.poll_interval)
}

async fn entries(
    session: &Session,
    host: &Host,
    local: &Local,
    found: &mut Scalelite,
) -> Result<Vec<membership::Entry>, String> {
    let deadline = within(session.settings.timeouts.status);
    let (url, secret) = match local {
        Some(Ok(installation)) => (installation.scalelite_url(), installation.secret.clone()),
        // Without BBB's settings the URL of the host's entry is unknown.
        Some(Err(error)) if !error.may_come() => return Err(error.to_string()),
        Some(Err(_)) | None => (host.server_url(), SecretString::default()),
    };
    found.server_url = Some(url.clone());
    let ask = async {
        let client = session.scalelite(host, deadline).await.map_err(|failure| failure.headline())?;
        let Some(client) = client else { return Ok(Vec::new()) };
        client.entries(&url, &secret).await.map(|own| own.entries).map_err(|error| error.to_string())
    };
    timeout(session.settings.timeouts.status, ask)
        .await
        .unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

fn show(entry: &membership::Entry, settings_known: bool) -> Entry {
    Entry {
        id: entry.id.clone(),
        state: entry.state.to_string(),
        online: entry.online,
        load: entry.load,
        load_multiplier: entry.multiplier,
        tag: entry.tag.clone(),
        secret_matches: settings_known.then_some(entry.secret_matches),
        url_matches: settings_known.then_some(entry.url_matches),
    }
}

async fn auto_scaling(session: &Session, host: &Host) -> AutoScaling {
    let imds = session.imds();
    let ask = async { tokio::join!(imds.target_lifecycle_state(), imds.spot_notice(), imds.group_name()) };
    let mut found = AutoScaling::default();
    let Ok((target, spot, group)) = timeout(session.settings.timeouts.status, ask).await else {
        found.error = Some("the metadata service gave no answer in time".to_owned());
        return found;
    };
    match target {
        Ok(target) => found.target_state = target,
        Err(error) => found.error = Some(error.to_string()),
    }
    match spot {
        Ok(notice) => {
            found.spot_notice = notice.map(|notice| format!("{} at {}", notice.action, utc(notice.time)));
        }
        Err(error) => found.error = Some(error.to_string()),
    }
    found.group = group.ok().flatten();
    // The metadata has the tags only where the instance allows it; EC2 always knows them.
    if found.group.is_none() && found.target_state.is_some() {
        match session.ec2(host).await {
            Ok(ec2) => {
                match timeout(session.settings.timeouts.status, ec2.group_name(&host.instance)).await {
                    Ok(Ok(GroupName::In(group))) => found.group = Some(group),
                    Ok(Ok(GroupName::UnknownInstance | GroupName::Nowhere)) => {}
                    Ok(Err(error)) => found.error = Some(error.to_string()),
                    Err(_) => found.error = Some("EC2 gave no answer in time".to_owned()),
                }
            }
            Err(failure) => found.error = Some(failure.headline()),
        }
    }
    found
}

async fn service(session: &Session) -> Service {
    let ask = control::state(&session.agent, &session.settings.service.directory);
    let unknown = |error: String| Service { error: Some(error), ..Service::default() };
    match timeout(session.settings.timeouts.status, ask).await {
        Ok(Ok(state)) => Service { running: Some(state.is_some()), state, error: None },
        Ok(Err(failure)) => unknown(failure.headline()),
        Err(_) => unknown("the service gave no answer in time".to_owned()),
    }
}
