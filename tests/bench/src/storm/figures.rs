//! What a storm came to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use sandbox::route53::Call;
use sandbox::scalelite::{Served, Traffic, total};
use serde_json::{Value, json};

use super::Options;

const THROTTLED: &str = "Throttling";
const BUSY: &str = "PriorRequestNotComplete";

/// All of it.
#[derive(Clone, Debug)]
pub struct Figures {
    /// What kind of storm it was.
    pub options: Options,
    /// The least time in which they can be registered.
    pub least: Duration,
    /// How many names have an address.
    pub registered: usize,
    /// How many hosts were registered more than once.
    pub doubled: usize,
    /// How many hosts have an enabled entry in Scalelite.
    pub enabled: usize,
    /// How many entries there are.
    pub entries: usize,
    /// Whether every name server has every change.
    pub live: bool,
    /// When the last host took meetings.
    pub joined: Duration,
    /// The calls of Route 53 meanwhile.
    pub boot: Phase,
    /// What Scalelite has served meanwhile.
    pub scalelite: Traffic,
    /// How they left, if they did.
    pub left: Option<Left>,
}

/// How all hosts left at once.
#[derive(Clone, Debug)]
pub struct Left {
    /// The calls of Route 53 meanwhile.
    pub phase: Phase,
    /// How many names are still there.
    pub names: usize,
    /// How many entries in Scalelite are.
    pub entries: usize,
    /// What Scalelite has served meanwhile.
    pub scalelite: Traffic,
}

/// The calls of Route 53 in some time.
#[derive(Clone, Debug)]
pub struct Phase {
    /// Until the last change was accepted.
    pub time: Duration,
    /// How many calls of each kind, with the code of the refusal.
    pub calls: BTreeMap<(&'static str, String), usize>,
}

impl Phase {
    /// What these calls come to.
    pub(crate) fn of(calls: &[Call], began: Instant) -> Self {
        let change = |call: &&Call| call.operation == "ChangeResourceRecordSets" && call.refusal.is_none();
        let last = calls.iter().filter(change).map(|call| call.at).max();
        let mut tally = BTreeMap::new();
        for call in calls {
            *tally.entry((call.operation, call.refusal.clone().unwrap_or_default())).or_default() += 1;
        }
        Self {
            time: last.map(|last| last.saturating_duration_since(began)).unwrap_or_default(),
            calls: tally,
        }
    }

    /// How many calls were made.
    pub fn total(&self) -> usize {
        self.calls.values().sum()
    }

    /// What part of them was refused with this code.
    pub fn share(&self, code: &str) -> f64 {
        let refused: usize =
            self.calls.iter().filter(|((_, refusal), _)| refusal == code).map(|(_, count)| count).sum();
        refused as f64 / self.total().max(1) as f64
    }
}

/// One figure with what it should be.
#[derive(Clone, Debug)]
pub struct Aim {
    /// What it is.
    pub name: &'static str,
    /// What it came to.
    pub value: String,
    /// What it should be; empty when nothing is aimed at.
    pub aim: String,
    /// Whether it is.
    pub met: bool,
}

impl Aim {
    fn new(name: &'static str, value: String, aim: &str, met: bool) -> Self {
        Self { name, value, aim: aim.to_owned(), met }
    }

    fn equal(name: &'static str, value: usize, aim: usize) -> Self {
        Self::new(name, value.to_string(), &aim.to_string(), value == aim)
    }

    fn none(name: &'static str, value: String) -> Self {
        Self::new(name, value, "", true)
    }
}

impl Figures {
    fn hosts(&self) -> usize {
        usize::from(self.options.hosts)
    }

    fn ratio(&self) -> f64 {
        if self.least.is_zero() { 0.0 } else { self.boot.time.as_secs_f64() / self.least.as_secs_f64() }
    }

    /// The time may be this many times the least one. Each host draws its moment by itself, so the last one comes
    /// late by chance, which weighs more the fewer there are.
    fn tolerance(&self) -> f64 {
        match self.options.spread {
            _ if self.options.hosts < 500 => 1.5,
            0 => 1.25,
            _ => 1.15,
        }
    }

    /// Whether most hosts may pass at their first call: they spread these, or the quota lets all pass at once.
    fn passes_at_first(&self) -> bool {
        self.options.spread > 0 || self.least.is_zero()
    }

    /// How many calls each host may make.
    fn most_calls(&self) -> f64 {
        if self.passes_at_first() { 1.3 } else { 2.0 }
    }

    /// Every figure, with its aim.
    pub fn aims(&self) -> Vec<Aim> {
        let (hosts, boot, ratio) = (self.hosts(), &self.boot, self.ratio());
        let calls = boot.total() as f64 / hosts as f64;
        let throttled = boot.share(THROTTLED);
        let time =
            format!("{:.1} s = {ratio:.2} x {:.1} s", boot.time.as_secs_f64(), self.least.as_secs_f64());
        let mut aims = vec![
            Aim::equal("hosts registered", self.registered, hosts),
            Aim::equal("registered twice", self.doubled, 0),
            Aim::new("live on every name server", yes(self.live).to_owned(), yes(true), self.live),
            Aim::equal("hosts enabled in Scalelite", self.enabled, hosts),
            Aim::equal("entries in Scalelite", self.entries, hosts),
            // Where the quota lets all pass at once there is no least time to compare with.
            match self.least.is_zero() {
                true => Aim::none("time", format!("{:.1} s", boot.time.as_secs_f64())),
                false => Aim::new(
                    "time, of the least for this quota",
                    time,
                    &format!("<= {} x", self.tolerance()),
                    ratio <= self.tolerance(),
                ),
            },
            Aim::new(
                "Route 53 calls for each host",
                format!("{calls:.2}"),
                &format!("<= {}", self.most_calls()),
                calls <= self.most_calls(),
            ),
            match self.passes_at_first() {
                true => Aim::new("of these throttled", percent(throttled), "< 20 %", throttled < 0.2),
                false => Aim::none("of these throttled", percent(throttled)),
            },
            Aim::none("of these in the middle of another change", percent(boot.share(BUSY))),
            Aim::none("until the last takes meetings", format!("{:.1} s", self.joined.as_secs_f64())),
            self.served("Scalelite's calls for each host", &self.scalelite),
        ];
        if let Some(left) = &self.left {
            aims.extend(self.leaving(left));
        }
        aims
    }

    /// What the hosts have asked of Scalelite. Nothing is aimed at here: tests of the agents count it exactly.
    fn served(&self, name: &'static str, traffic: &Traffic) -> Aim {
        let Served { calls, rows, bytes } = total(traffic);
        let kilobytes = bytes / 1000;
        let calls = calls as f64 / self.hosts() as f64;
        Aim::none(name, format!("{calls:.1}, {rows} rows, {kilobytes} kB in all"))
    }

    fn leaving(&self, left: &Left) -> [Aim; 6] {
        let patience = self.options.leave.unwrap_or_default().as_secs_f64();
        // What does not pass in the time that the hosts have is left to the sweep; a fifth of what could pass may be,
        // too.
        let pass = f64::from(self.options.quota.capacity) + self.options.quota.per_second * patience;
        let most = (self.hosts() as f64 - 0.8 * pass).max(0.0).floor() as usize;
        let calls = left.phase.total() as f64 / self.hosts() as f64;
        [
            Aim::none("leaving: time", format!("{:.1} s of {patience} s", left.phase.time.as_secs_f64())),
            Aim::new(
                "leaving: names left to the sweep",
                left.names.to_string(),
                &format!("<= {most}"),
                left.names <= most,
            ),
            Aim::equal("leaving: entries left to the sweep", left.entries, 0),
            Aim::none("leaving: Route 53 calls for each host", format!("{calls:.2}")),
            Aim::none("leaving: of these throttled", percent(left.phase.share(THROTTLED))),
            self.served("leaving: Scalelite's calls for each host", &left.scalelite),
        ]
    }

    /// For people.
    pub fn table(&self) -> String {
        let Options { hosts, quota, spread, processes, unkind, .. } = &self.options;
        let mut text = format!(
            "{hosts} hosts at once, {processes} of them processes of their own; {} Route 53 calls a second and {} saved up; dns.spread {spread} s; {}\n",
            quota.per_second,
            quota.capacity,
            match unkind {
                Some(seed) => format!("Scalelite as observed, seed {seed}"),
                None => "a kind Scalelite".to_owned(),
            }
        );
        for Aim { name, value, aim, met } in self.aims() {
            let verdict = if met { "" } else { "   MISSED" };
            let _ = writeln!(text, "{}", format!("  {name:<42} {value:<26} {aim}{verdict}").trim_end());
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let hosts = self.hosts() as f64;
        let phase = |phase: &Phase| {
            let calls = phase.calls.iter().map(|((operation, refusal), count)| {
                (format!("{operation} {refusal}").trim_end().to_owned(), Value::from(*count))
            });
            json!({
                "calls": calls.collect::<serde_json::Map<_, _>>(),
                "seconds": phase.time.as_secs_f64(),
                "calls_per_host": phase.total() as f64 / hosts,
                "throttled": phase.share(THROTTLED),
                "busy": phase.share(BUSY),
            })
        };
        json!({
            "hosts": self.options.hosts,
            "rate": self.options.quota.per_second,
            "burst": self.options.quota.capacity,
            "processing_ms": u64::try_from(self.options.processing.as_millis()).unwrap_or(u64::MAX),
            "spread": self.options.spread,
            "registered": self.registered,
            "doubled": self.doubled,
            "live": self.live,
            "enabled": self.enabled,
            "entries": self.entries,
            "least_seconds": self.least.as_secs_f64(),
            "ratio": self.ratio(),
            "joined_seconds": self.joined.as_secs_f64(),
            "boot": phase(&self.boot),
            "scalelite": self.scalelite,
            "left": self.left.as_ref().map(|left| {
                json!({
                    "calls": phase(&left.phase),
                    "names": left.names,
                    "entries": left.entries,
                    "scalelite": left.scalelite,
                })
            }),
            "aims_met": self.aims().iter().all(|aim| aim.met),
        })
    }
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
