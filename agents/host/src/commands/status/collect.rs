//! Asks everybody at once, each with a bound of its own, and puts the answers together.

use plan::dns::{self, Desired, Holder, Liveness, Observed};
use plan::health::{self, Part, Verdict};
use plan::membership;
use plan::record::RecordSet;
use plan::recordings::Stage;
use secrecy::SecretString;
use tokio::time::timeout;

use super::facts::{
    AutoScaling, BbbHost, Dns, Entry, Identity, Recording, Recordings, Scalelite, Server, Service, Status,
};
use crate::cli::VERSION;
use crate::config::settings;
use crate::control;
use crate::dns::{Zone, words_of};
use crate::identity::Host;
use crate::report::Failure;
use crate::session::{Session, now, within};
use clients::aws::ec2::GroupName;
use clients::aws::route53::RecordSets;
use clients::aws::utc;
use clients::bbb::{self, Bbb, Installation, Meeting, NotReady, Version};
use clients::dns::authoritative::Authorities;
use clients::scalelite::Management;

/// What BBB's settings on this host say; none on a TURN host.
type Local = Option<Result<Installation, NotReady>>;

/// A part of the status with its weight in the verdict.
type Weighed<T> = (T, Part);

pub(super) async fn collect(session: &Session) -> Status {
    let service = service(session).await;
    let on_purpose = service.state.as_ref().filter(|state| keeps_out(&state.state)).map(|state| &state.words);
    let status = without_service(session, on_purpose.map(String::as_str)).await;
    Status { service, ..status }
}

/// Whether a service in this state wants the host to take no new meetings.
fn keeps_out(state: &str) -> bool {
    matches!(state, "cordoned" | "draining" | "leaving" | "unregistered" | "stopping")
}

/// All but the service; `on_purpose` is what it says where it keeps the host out itself.
async fn without_service(session: &Session, on_purpose: Option<&str>) -> Status {
    let host = match session.host(within(session.settings.timeouts.status)).await {
        Ok(host) => host,
        Err(failure) => return unknown_host(session, &failure),
    };
    let local = session.installation(&host).await;
    let (named, bbb, recordings, auto_scaling) = tokio::join!(
        names(session, &host),
        bbb_host(session, &local),
        recordings(session),
        auto_scaling(session, &host)
    );
    let (dns, dns_part) = named;
    let own = dns.owner.as_deref() == Some(host.instance.as_str());
    let age = dns.since.filter(|_| own).map(|since| now().saturating_sub(since));
    let explained = |part: Part| on_purpose.map_or(part.clone(), |words| part.explained(words));
    let dns_part = explained(dns_part);
    let (mut scalelite, scalelite_part) = scalelite(session, &host, &local, age).await;
    let scalelite_part = explained(scalelite_part);
    if let (Some(found), Part::Missing(why) | Part::Drift(why) | Part::Settling(why)) =
        (&mut scalelite, &scalelite_part)
    {
        found.blocked = Some(why.clone());
    }
    let (bbb, bbb_part) =
        bbb.map_or((None, Part::NotUsed), |(bbb, part)| (Some(BbbHost { recordings, ..bbb }), part));
    let (verdict, reasons) = health::verdict(&[dns_part, scalelite_part, bbb_part]);
    Status {
        verdict,
        reasons,
        identity: identity(session, &host),
        dns,
        scalelite,
        bbb,
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
    let mut dns = Dns { desired: words_of(&desired.addresses()), ..Dns::default() };
    let zone = match session.zone(host).await {
        Ok(zone) => zone,
        Err(failure) => {
            dns.error = Some(failure.headline());
            return (dns, Part::Unknown(failure.headline()));
        }
    };
    let mut seen = ask_servers(&mut dns, &zone, &desired).await;
    // Somebody else's record in DNS may be a wildcard, or a former owner's that is still on its way out.
    let foreign = seen.iter().any(|liveness| matches!(liveness, Liveness::Foreign(_)));
    if seen.is_empty() || foreign && !seen.contains(&Liveness::Live) {
        seen = ask_api(session, &mut dns, &zone, &desired).await.into_iter().collect();
    }
    dns.route53_calls = zone.api.calls();
    let part = dns_part(&desired, &dns, &seen);
    (dns, part)
}

/// What the servers say that answered.
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
    let read = timeout(session.settings.timeouts.status, zone.api.read(&desired.name)).await;
    let detail = match read {
        Ok(Ok(observed)) => return Some(note(dns, "Route 53 API".to_owned(), desired, &observed)),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    dns.servers.push(Server { server: "Route 53 API".to_owned(), state: "unknown".to_owned(), detail });
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

/// A record set at a name that is known: `A 203.0.113.10 (ttl 60)`.
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

async fn bbb_host(session: &Session, local: &Local) -> Option<Weighed<BbbHost>> {
    let failed = |error: String| BbbHost { error: Some(error), ..BbbHost::default() };
    let installation = match local.as_ref()? {
        Ok(installation) => installation,
        Err(error) if error.may_come() => {
            return Some((failed(error.to_string()), Part::Drift(error.to_string())));
        }
        Err(error) => return Some((failed(error.to_string()), Part::Unknown(error.to_string()))),
    };
    let client = match session.local_client(&installation.server_url) {
        Ok(client) => client,
        Err(failure) => return Some((failed(failure.headline()), Part::Unknown(failure.headline()))),
    };
    let bbb = Bbb::of(client, installation);
    let both = async { tokio::join!(bbb.version(), bbb.meetings()) };
    let found = match timeout(session.settings.timeouts.status, both).await {
        Ok((version, meetings)) => bbb_answers(version, meetings),
        Err(_) => failed("no answer in time".to_owned()),
    };
    let part = match &found.error {
        Some(error) if found.answers => Part::Drift(format!("BBB does not tell its meetings: {error}")),
        Some(error) => Part::Drift(format!("BBB does not answer on this host: {error}")),
        None => Part::InOrder,
    };
    Some((found, part))
}

fn bbb_answers(version: Result<Version, bbb::Error>, meetings: Result<Vec<Meeting>, bbb::Error>) -> BbbHost {
    let mut found = BbbHost { answers: version.is_ok(), ..BbbHost::default() };
    match version {
        Ok(version) => found.version = Some(version.bbb.unwrap_or_else(|| format!("API {}", version.api))),
        Err(error) => found.error = Some(error.to_string()),
    }
    match meetings {
        Ok(meetings) => {
            found.meetings = Some(meetings.len());
            found.participants = Some(meetings.iter().map(|meeting| u64::from(meeting.participants)).sum());
        }
        Err(error) => found.error = found.error.or(Some(error.to_string())),
    }
    found
}

/// What has not left the host is no reason for a verdict: a host with recordings is registered all the same.
async fn recordings(session: &Session) -> Recordings {
    let failed = |error: String| Recordings { error: Some(error), ..Recordings::default() };
    let Some(spool) = session.spool() else { return Recordings::default() };
    let found = match timeout(session.settings.timeouts.status, spool.look()).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return failed(error.to_string()),
        Err(_) => return failed("the recordings were not listed in time".to_owned()),
    };
    let summary = Some(found.to_string());
    let show = |(id, stage): (String, Stage)| Recording { id, stage: stage.as_str().to_owned() };
    Recordings {
        summary,
        pending: Some(found.pending.into_iter().map(show).collect()),
        failed: Some(found.failed.into_iter().collect()),
        jobs: Some(found.jobs),
        error: found.remark,
    }
}

async fn scalelite(
    session: &Session,
    host: &Host,
    local: &Local,
    age: Option<u64>,
) -> Weighed<Option<Scalelite>> {
    let Some(configured) = &session.settings.scalelite else { return (None, Part::NotUsed) };
    let mut found = Scalelite { url: configured.url.clone(), ..Scalelite::default() };
    let part = match entries(session, host, local, &mut found).await {
        Ok(entries) => {
            let known = matches!(local, Some(Ok(_)));
            found.entries = entries.iter().map(|entry| show(entry, known)).collect();
            standing(configured, entries, known, age)
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
    age: Option<u64>,
) -> Part {
    if !settings_known {
        // BBB's own part says that its settings cannot be read; here nothing can be said about URL and secret.
        entries.iter_mut().for_each(|entry| (entry.url_matches, entry.secret_matches) = (true, true));
    }
    health::scalelite(&configured.entry, &entries, age)
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
        // Without BBB's settings nobody knows under which URL the host is there.
        Some(Err(error)) if !error.may_come() => return Err(error.to_string()),
        Some(Err(_)) | None => (host.server_url(), SecretString::default()),
    };
    found.server_url = Some(url.clone());
    let ask = async {
        let client = session.scalelite(host, deadline).await.map_err(|failure| failure.headline())?;
        let Some(client) = client else { return Ok(Vec::new()) };
        client.entries(&url, &secret).await.map_err(|error| error.to_string())
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
    // Tags are in the metadata only where the instance allows it; EC2 knows them always.
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
