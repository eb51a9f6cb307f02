//! The fleet as a table of 80 columns for a person: the same on a terminal and in a pipe.

use std::fmt::Write as _;

use plan::fleet::Verdict;

use super::facts::{Errors, Fleet, Host, Totals};
use crate::terminal::{Ink, Paper, wrapped};
use clients::aws::utc;
use clients::untrusted::visible_line;

/// The columns: heading and width. The last ones need a Scalelite.
const COLUMNS: [(&str, usize); 9] = [
    ("instance", 19),
    ("zone", 4),
    ("age", 4),
    ("state", 13),
    ("prot", 4),
    ("name", 7),
    ("entry", 8),
    ("online", 6),
    ("load", 6),
];
/// The number of columns without Scalelite.
const WITHOUT_SCALELITE: usize = 6;
/// The width of the screen.
const WIDTH: usize = 80;
/// The place of a value that is not known.
const UNKNOWN: &str = "-";

/// Draws the whole screen at `now`, in seconds since 1970, with the verdict last. Where the paper has too few rows, hosts
/// in order are left out first.
pub(super) fn draw(fleet: &Fleet, now: u64, paper: Paper) -> String {
    let count = if fleet.has_scalelite() { COLUMNS.len() } else { WITHOUT_SCALELITE };
    let mut head =
        wrapped("", &visible_line(&format!("{} in {}, {}", fleet.domain, fleet.region, utc(now))), WIDTH);
    head.push(paper.paint(Some(Ink::Heading), &line(&COLUMNS.map(|(heading, _)| heading.to_owned()), count)));
    let tail = tail(fleet, paper);
    let mut hosts: Vec<(&Host, Vec<String>)> =
        fleet.hosts.iter().map(|host| (host, lines(host, fleet, count, now, paper))).collect();
    let room = paper.rows.map(|rows| rows.saturating_sub(head.len() + tail.len() + 2));
    let mut left_out = 0;
    if let Some(room) = room {
        let needed =
            |hosts: &[(&Host, Vec<String>)]| hosts.iter().map(|(_, lines)| lines.len()).sum::<usize>();
        let all = hosts.len();
        if needed(&hosts) > room {
            hosts.retain(|(host, _)| !host.is_in_order());
        }
        while needed(&hosts) > room && hosts.pop().is_some() {}
        left_out = all - hosts.len();
    }
    let mut all: Vec<String> = head;
    all.extend(hosts.into_iter().flat_map(|(_, lines)| lines));
    if left_out > 0 {
        all.push(format!(
            "({left_out} more hosts: the terminal is too small, and those in order are left out first)"
        ));
    }
    all.extend(tail);
    all.into_iter().fold(String::new(), |text, line| text + &line + "\n")
}

/// Draws one host: its row, and its words below.
fn lines(host: &Host, fleet: &Fleet, count: usize, now: u64, paper: Paper) -> Vec<String> {
    let ink = match host.standing.as_str() {
        "wrong" | "debris" => Some(Ink::Bad),
        "unknown" => Some(Ink::Doubtful),
        "out" => Some(Ink::Faint),
        _ => None,
    };
    let mark = if host.needs_a_look() { "    ! " } else { "      " };
    let row = std::iter::once(line(&cells(host, &fleet.region, now), count));
    let words = host.words.iter().flat_map(|words| wrapped(mark, &visible_line(words), WIDTH));
    row.chain(words).map(|line| paper.paint(ink, &line)).collect()
}

/// Draws what stands below the table.
fn tail(fleet: &Fleet, paper: Paper) -> Vec<String> {
    let Errors { route53, scalelite, ec2, auto_scaling } = &fleet.errors;
    let errors = [route53, scalelite, ec2, auto_scaling].into_iter().flatten();
    let errors = errors.flat_map(|error| wrapped("! ", &visible_line(&format!("not known: {error}")), WIDTH));
    let mut lines: Vec<String> = errors.map(|line| paper.paint(Some(Ink::Doubtful), &line)).collect();
    lines.extend(wrapped("", &figures(&fleet.totals, fleet.route53_calls), WIDTH));
    let (words, ink) = verdict(fleet.verdict);
    lines.push(paper.paint(Some(ink), words));
    lines
}

/// Draws a line of the table.
fn line(cells: &[String; COLUMNS.len()], count: usize) -> String {
    let cells = cells.iter().zip(COLUMNS).take(count);
    let cells: Vec<String> = cells.map(|(text, (_, width))| fitted(text, width)).collect();
    cells.join(" ").trim_end().to_owned()
}

/// Makes a text as wide as its column; one that was cut ends with a tilde.
fn fitted(text: &str, width: usize) -> String {
    let text = visible_line(text);
    if text.chars().count() <= width {
        return format!("{text:<width$}");
    }
    text.chars().take(width.saturating_sub(1)).chain(['~']).collect()
}

fn cells(host: &Host, region: &str, now: u64) -> [String; COLUMNS.len()] {
    let zone = host.availability_zone.as_deref();
    // The region stands above the table.
    let zone = zone.map(|zone| zone.strip_prefix(region).unwrap_or(zone));
    let age = host.launched.map(|launched| age(now.saturating_sub(launched)));
    // The group says more than EC2, of a host that it lists.
    let state = host.lifecycle_state.as_deref().map(|state| state.split(':').next().unwrap_or(state));
    let state = state.or(host.instance_state.as_deref());
    [
        host.instance.clone(),
        known(zone),
        known(age.as_deref()),
        known(state),
        known(host.protected.map(yes)),
        known(host.name_state.as_deref()),
        known(host.entry.as_deref()),
        known(host.online.map(yes)),
        known(host.load.map(load).as_deref()),
    ]
}

fn known(text: Option<&str>) -> String {
    text.unwrap_or(UNKNOWN).to_owned()
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

/// Shows an age in its largest unit.
fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Shows a load with at most one decimal.
fn load(load: f64) -> String {
    let text = format!("{load:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

fn figures(totals: &Totals, route53_calls: u32) -> String {
    let Totals { hosts, in_order, out, unknown, debris, wrong, .. } = totals;
    let mut words = format!(
        "{hosts} hosts: {in_order} in order, {out} out, {wrong} wrong, {debris} debris, {unknown} not known"
    );
    if let Some(taking) = totals.taking_meetings {
        let _ = write!(words, "; {taking} take meetings");
    }
    if let Some(sum) = totals.load {
        let _ = write!(words, ", load {}", load(sum));
    }
    if let Some(others) = totals.other_entries.filter(|others| *others > 0) {
        let _ = write!(words, "; {others} other entries in Scalelite");
    }
    let _ = write!(words, " (Route 53 calls: {route53_calls})");
    words
}

fn verdict(verdict: Verdict) -> (&'static str, Ink) {
    match verdict {
        Verdict::InOrder => ("verdict: in order", Ink::Good),
        Verdict::Wrong => ("verdict: not as it should be", Ink::Bad),
        Verdict::CannotTell => ("verdict: cannot tell", Ink::Doubtful),
    }
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
