//! The fleet as a table of 80 columns for a person: the same on a terminal and in a pipe.

use std::fmt::Write as _;

use plan::fleet::Verdict;

use super::facts::{Errors, Fleet, Host, Totals};
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

/// Draws the whole screen at `now`, in seconds since 1970, with the verdict last.
pub(super) fn draw(fleet: &Fleet, now: u64) -> String {
    let count = if fleet.has_scalelite() { COLUMNS.len() } else { WITHOUT_SCALELITE };
    let mut screen = Screen { text: String::new(), count };
    screen.wrapped("", &format!("{} in {}", fleet.domain, fleet.region));
    screen.line(&COLUMNS.map(|(heading, _)| heading.to_owned()));
    for host in &fleet.hosts {
        screen.line(&cells(host, &fleet.region, now));
        let mark = if host.needs_a_look() { "    ! " } else { "      " };
        host.words.iter().for_each(|words| screen.wrapped(mark, words));
    }
    let Errors { route53, scalelite, ec2, auto_scaling } = &fleet.errors;
    for error in [route53, scalelite, ec2, auto_scaling].into_iter().flatten() {
        screen.wrapped("! ", &format!("not known: {error}"));
    }
    screen.wrapped("", &figures(&fleet.totals, fleet.route53_calls));
    screen.wrapped("", verdict(fleet.verdict));
    screen.text
}

struct Screen {
    text: String,
    /// The number of columns.
    count: usize,
}

impl Screen {
    /// Adds a line of the table.
    fn line(&mut self, cells: &[String; COLUMNS.len()]) {
        let cells = cells.iter().zip(COLUMNS).take(self.count);
        let cells: Vec<String> = cells.map(|(text, (_, width))| fitted(text, width)).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{}", cells.join(" ").trim_end());
    }

    /// Adds words behind a mark, in as many lines as they need.
    fn wrapped(&mut self, mark: &str, words: &str) {
        let (mut line, mut used) = (mark.to_owned(), mark.chars().count());
        let mut is_empty = true;
        for word in visible_line(words).split_whitespace() {
            let width = word.chars().count();
            if !is_empty && used + 1 + width > WIDTH {
                let _ = writeln!(self.text, "{line}");
                (line, used, is_empty) = (" ".repeat(mark.chars().count()), mark.chars().count(), true);
            }
            if !is_empty {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += width;
            is_empty = false;
        }
        let _ = writeln!(self.text, "{line}");
    }
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

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::InOrder => "verdict: in order",
        Verdict::Wrong => "verdict: not as it should be",
        Verdict::CannotTell => "verdict: cannot tell",
    }
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
