//! The status as one screen for a person.

use std::fmt::Write as _;

use clients::aws::utc;
use plan::health::Verdict;
use plan::work::counted;
use serde_json::Value;

use super::facts::{
    Addresses, AutoScaling, BbbHost, Coturn, Dns, Entry, Identity, Scalelite, Service, Share, Status,
    WrongAddress,
};
use crate::control::CertificateFacts;
use crate::terminal::{Ink, Paper, wrapped};
use clients::untrusted::visible_line;

/// Draws the whole screen, with the verdict last, next to the prompt that follows.
pub(super) fn draw(status: &Status, paper: Paper) -> String {
    let mut screen = Screen { text: String::new(), paper };
    screen.row("agent", &format!("{} {}", status.agent, status.version));
    identity(&mut screen, &status.identity);
    if status.identity.fqdn.is_some() {
        dns(&mut screen, &status.dns);
        if let Some(entry) = &status.scalelite {
            scalelite(&mut screen, entry);
        } else if status.bbb.is_some() {
            screen.row("scalelite", "none is configured");
        }
        if let Some(host) = &status.bbb {
            bbb(&mut screen, host);
        }
        if let Some(server) = &status.coturn {
            coturn(&mut screen, server);
        }
        auto_scaling(&mut screen, &status.auto_scaling);
    }
    service(&mut screen, &status.service);
    verdict(&mut screen, status);
    screen.text
}

struct Screen {
    text: String,
    paper: Paper,
}

impl Screen {
    /// Adds a heading in the left column and a line beside it; further lines have an empty heading.
    fn row(&mut self, heading: &str, line: &str) {
        let ink = line.starts_with('!').then_some(Ink::Bad);
        self.inked(ink, heading, line);
    }

    fn inked(&mut self, ink: Option<Ink>, heading: &str, line: &str) {
        let (heading, line) = (format!("{heading:<13}"), visible_line(line));
        let lines = match self.paper.columns {
            Some(columns) => wrapped(&heading, &line, columns),
            None => vec![format!("{heading}{line}")],
        };
        for line in lines {
            let (heading, words) = line.split_at_checked(heading.len()).unwrap_or((&line, ""));
            let (heading, words) =
                (self.paper.paint(Some(Ink::Heading), heading), self.paper.paint(ink, words));
            // Writing to a String cannot fail.
            let _ = writeln!(self.text, "{heading}{words}");
        }
    }

    fn error(&mut self, error: Option<&String>) {
        if let Some(error) = error {
            self.row("", &format!("! {error}"));
        }
    }
}

fn identity(screen: &mut Screen, identity: &Identity) {
    let parts = [&identity.instance, &identity.instance_type, &identity.availability_zone];
    let known: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    screen.row("host", &if known.is_empty() { "not known".to_owned() } else { known.join(", ") });
    if let Some(fqdn) = &identity.fqdn {
        let addresses: Vec<&str> =
            [&identity.ipv4, &identity.ipv6].into_iter().flatten().map(String::as_str).collect();
        let addresses =
            if addresses.is_empty() { "no address to register".to_owned() } else { addresses.join(", ") };
        screen.row("", &format!("{fqdn} ({addresses})"));
    }
    screen.error(identity.error.as_ref());
}

fn dns(screen: &mut Screen, dns: &Dns) {
    let owner = match (&dns.owner, dns.since) {
        (Some(owner), Some(since)) => format!("owned by {owner} since {}", utc(since)),
        _ => "no owner".to_owned(),
    };
    screen.row("dns", &format!("{owner}; Route 53 calls: {}", dns.route53_calls));
    for server in &dns.servers {
        // An error already names its server.
        let named = server.detail.starts_with(&server.server);
        let source = if named { String::new() } else { format!("{}: ", server.server) };
        screen.row("", &format!("{:<10}{source}{}", server.state, server.detail));
    }
    if let Some(Share { name, state, .. }) = &dns.share {
        screen.row("", &format!("{state:<10}share in {name}"));
    }
    screen.error(dns.error.as_ref());
}

fn scalelite(screen: &mut Screen, scalelite: &Scalelite) {
    let known = scalelite.error.is_none();
    screen.row("scalelite", &scalelite.url);
    if known && scalelite.entries.is_empty() {
        screen.row("", "no entry for this host");
    }
    for entry in &scalelite.entries {
        screen.row("", &entry_line(entry));
    }
    if let Some(blocked) = &scalelite.blocked {
        screen.row("", &format!("! {blocked}"));
    }
    screen.error(scalelite.error.as_ref());
}

fn entry_line(entry: &Entry) -> String {
    // An entry that gets no meetings has no load.
    let load = match (entry.load, entry.state.as_str()) {
        (Some(load), _) => format!(", load {load}"),
        (None, "enabled") => ", load not known yet".to_owned(),
        (None, _) => String::new(),
    };
    let online = if entry.online { "online" } else { "offline" };
    let tag = entry
        .tag
        .as_deref()
        .filter(|tag| !tag.is_empty())
        .map(|tag| format!(", tag {tag}"))
        .unwrap_or_default();
    let secret = match entry.secret_matches {
        Some(false) => ", another secret than BBB's",
        Some(true) | None => "",
    };
    let url = match entry.url_matches {
        Some(false) => ", another URL than BBB's",
        Some(true) | None => "",
    };
    format!("{}, {online}{load}{tag}{url}{secret} (entry {})", entry.state, entry.id)
}

fn bbb(screen: &mut Screen, bbb: &BbbHost) {
    let version = bbb.version.as_deref().unwrap_or("version not known");
    let work = &bbb.work;
    let people = work.participants.map_or_else(
        || "an unknown number of people".to_owned(),
        |people| counted(people, "person", "people"),
    );
    let line = match (bbb.answers, work.meetings) {
        (true, Some(meetings)) => {
            format!("{version}, {} with {people}", counted(meetings as u64, "meeting", "meetings"))
        }
        (true, None) => format!("{version}, meetings not known"),
        (false, _) => "does not answer".to_owned(),
    };
    screen.row("bbb", &line);
    screen.error(bbb.error.as_ref());
    for meeting in &work.empty_meetings {
        screen.row("", &format!("nobody is in meeting {}{}", meeting.id, since(meeting.minutes)));
    }
    addresses(screen, &bbb.addresses);
    screen.row("recordings", work.recordings.summary.as_deref().unwrap_or("not known"));
    for recording in work.recordings.stuck.iter().flatten() {
        let format = recording.format.as_ref().map(|format| format!(" ({format})")).unwrap_or_default();
        let since = since(Some(recording.minutes));
        screen.row("", &format!("stuck before {}: {}{format}{since}", recording.stage, recording.id));
    }
    for failed in work.recordings.failed.iter().flatten() {
        screen.row("", &format!("failed: {failed}"));
    }
    screen.error(work.recordings.error.as_ref());
    screen.row("waits for", &work.waits_for);
}

fn addresses(screen: &mut Screen, addresses: &Addresses) {
    for WrongAddress { file, key, found, wanted } in &addresses.differences {
        screen.row("", &format!("! {key} is {found}, not {wanted} ({file})"));
    }
    screen.error(addresses.error.as_ref());
}

fn coturn(screen: &mut Screen, coturn: &Coturn) {
    let relays = coturn.relays.as_ref();
    let count = relays.map(|relays| match relays.count {
        Some(count) => format!(", {} in use", counted(count, "relay", "relays")),
        None => ", relays not known".to_owned(),
    });
    screen.row("coturn", &format!("{}{}", coturn.words, count.unwrap_or_default()));
    screen.error(coturn.error.as_ref());
    if let Some(found) = &coturn.addresses {
        addresses(screen, found);
    }
    screen.error(relays.and_then(|relays| relays.error.as_ref()));
}

/// Says for how many minutes something has been so, if that is known.
fn since(minutes: Option<u64>) -> String {
    match minutes {
        None => String::new(),
        Some(minutes) if minutes < 120 => format!(" for {minutes} min"),
        Some(minutes) if minutes < 2880 => format!(" for {} h", minutes / 60),
        Some(minutes) => format!(" for {} days", minutes / 1440),
    }
}

fn auto_scaling(screen: &mut Screen, auto_scaling: &AutoScaling) {
    let group = auto_scaling.group.as_deref();
    let line = match (&auto_scaling.target_state, group) {
        (None, _) => "not in a group".to_owned(),
        (Some(state), None) => format!("target state {state}"),
        (Some(state), Some(group)) => format!("group {group}, target state {state}"),
    };
    screen.row("auto scaling", &line);
    if let Some(notice) = &auto_scaling.spot_notice {
        screen.row("spot", &format!("EC2 will {notice}"));
    }
    screen.error(auto_scaling.error.as_ref());
}

fn service(screen: &mut Screen, service: &Service) {
    let line = match (&service.state, service.running) {
        (Some(state), _) if state.words.is_empty() => format!("running, {}", state.state),
        (Some(state), _) => format!("running, {}: {}", state.state, state.words),
        (None, Some(_)) => "not running".to_owned(),
        (None, None) => "not known".to_owned(),
    };
    screen.row("service", &line);
    screen.error(service.error.as_ref());
    if let Some(facts) = service.state.as_ref().and_then(super::certificate::told) {
        certificate(screen, &facts);
    }
    let metrics = service.state.as_ref().and_then(|state| state.more.get("metrics"));
    if let Some(line) = metrics.and_then(metrics_line) {
        screen.row("metrics", &line);
    }
}

fn certificate(screen: &mut Screen, facts: &CertificateFacts) {
    let line = match facts.end {
        Some(end) => format!("good until {}, from {}", utc(end), facts.secret),
        None => format!("not in place, from {}", facts.secret),
    };
    screen.row("certificate", &line);
    screen.error(facts.error.as_ref());
}

/// Describes the delivery of the metrics, as the service reports it; returns `None` where none are sent.
fn metrics_line(metrics: &Value) -> Option<String> {
    let metrics = metrics.as_object()?;
    let accepted = metrics.get("accepted").and_then(Value::as_u64);
    let error = metrics.get("error").and_then(Value::as_str);
    let last = accepted.map(|at| format!("CloudWatch took them at {}", utc(at)));
    Some(match (last, error) {
        (Some(last), None) => last,
        (None, None) => "none were sent yet".to_owned(),
        (Some(last), Some(error)) => format!("! dropped: {error}; {last}"),
        (None, Some(error)) => format!("! dropped: {error}"),
    })
}

fn verdict(screen: &mut Screen, status: &Status) {
    let verdict = status.verdict;
    let ink = match verdict {
        Verdict::Registered => Ink::Good,
        Verdict::CannotTell => Ink::Doubtful,
        Verdict::Drift | Verdict::NotRegistered => Ink::Bad,
    };
    match status.reasons.as_slice() {
        [] => screen.inked(Some(ink), "verdict", &verdict.to_string()),
        [first, more @ ..] => {
            let because = if verdict == Verdict::Registered { "but " } else { "because " };
            // The service's words say the same and why.
            let whole = first.starts_with("registered") || first.starts_with("not registered");
            let line = if whole { first.clone() } else { format!("{verdict}, {because}{first}") };
            screen.inked(Some(ink), "verdict", &line);
            more.iter().for_each(|reason| screen.row("", &format!("and {reason}")));
        }
    }
}
