//! The table: what was measured, what was aimed at, and whether that was met.

use crate::agents::Agents;
use crate::record::{Asked, Row};
use crate::rig::Rig;
use crate::say;

/// The most that wall time may be of the floor's.
const RATIO: f64 = 2.5;
/// CPU time, in microseconds.
const CPU: u64 = 30_000;
/// Memory, in bytes.
const PEAK: u64 = 16 * 1024 * 1024;
/// Wall time of a command that asks nobody, in microseconds.
const START: u64 = 5_000;
/// The size of a binary, in bytes.
const SIZE: u64 = 8 * 1024 * 1024;

/// Prints everything.
pub(crate) fn print(agents: &Agents, rig: &Rig, rows: &[Row], runs: usize) {
    say(&format!(
        "{runs} runs of each, in turn; TLS to every endpoint but IMDS; {} certificate authorities",
        rig.trusted
    ));
    if let Ok(load) = std::fs::read_to_string("/proc/loadavg") {
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        say(&format!("load {}on {cores} cores (other work makes all times longer)", short_load(&load)));
    }
    if agents.are_debug_builds() {
        say("THESE ARE DEVELOPMENT BUILDS: times and sizes say nothing about a release");
    }
    say("");
    say(&format!(
        "{:<34} {:<6} {:>9} {:>9} {:>9} {:>10}",
        "command", "who", "wall p50", "wall p90", "CPU p50", "peak"
    ));
    for row in rows {
        measured(row);
    }
    say("");
    say("aims");
    for row in rows {
        aims(row);
    }
    for (name, size) in &agents.sizes {
        let whole = format!("{size} bytes ({})", mebibytes(*size));
        verdict(name, "binary", &whole, "at most 8 MiB", *size <= SIZE);
    }
}

fn short_load(load: &str) -> String {
    load.split(' ').take(3).map(|number| format!("{number} ")).collect()
}

fn measured(row: &Row) {
    let runs = [("agent", Some(&row.agent)), ("floor", row.floor.as_ref())];
    for (who, runs) in runs.into_iter().filter_map(|(who, runs)| Some((who, runs?))) {
        say(&format!(
            "{:<34} {who:<6} {:>9} {:>9} {:>9} {:>10}",
            if who == "agent" { row.name.as_str() } else { "" },
            milliseconds(runs.wall(0.5)),
            milliseconds(runs.wall(0.9)),
            milliseconds(runs.cpu(0.5)),
            mebibytes(runs.peak()),
        ));
    }
}

fn aims(row: &Row) {
    let name = &row.name;
    let (wall, cpu, peak) = (row.agent.wall(0.5), row.agent.cpu(0.5), row.agent.peak());
    match &row.floor {
        None => verdict(name, "wall", &milliseconds(wall), "under 5 ms", wall < START),
        Some(floor) => {
            // Microseconds of a run fit into a double exactly.
            #[allow(clippy::cast_precision_loss)]
            let ratio = wall as f64 / floor.wall(0.5).max(1) as f64;
            verdict(
                name,
                "wall",
                &format!("{ratio:.2} x the floor"),
                "at most 2.5 x the floor",
                ratio <= RATIO,
            );
        }
    }
    verdict(name, "CPU", &milliseconds(cpu), "under 30 ms", cpu < CPU);
    verdict(name, "peak", &mebibytes(peak), "under 16 MiB", peak < PEAK);
    match row.processes {
        Some(count) => verdict(name, "processes", &count.to_string(), "1", count == 1),
        None => say(&format!("  {name:<34} processes  not counted: strace is missing or may not trace")),
    }
    if let Some(asked) = row.asked {
        calls(name, asked);
    }
}

fn calls(name: &str, asked: Asked) {
    let Asked { imds, dns, route53, secrets, bbb, scalelite } = asked;
    let first = route53 > 0;
    let route53_aim = usize::from(first);
    verdict(name, "Route 53", &format!("{route53} calls"), &route53_aim.to_string(), route53 == route53_aim);
    if scalelite > 0 {
        let aim = if first { 4 } else { 1 };
        verdict(name, "Scalelite", &format!("{scalelite} calls"), &aim.to_string(), scalelite == aim);
    }
    say(&format!(
        "  {name:<34} and asked {imds} x IMDS, {dns} x DNS, {secrets} x Secrets Manager, {bbb} x BBB"
    ));
}

fn verdict(name: &str, what: &str, value: &str, aim: &str, met: bool) {
    let word = if met { "met" } else { "MISSED" };
    say(&format!("  {name:<34} {what:<10} {value:<24} aim: {aim:<24} {word}"));
}

fn milliseconds(microseconds: u64) -> String {
    format!("{}.{:02} ms", microseconds / 1000, microseconds % 1000 / 10)
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes * 10 / (1024 * 1024);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}
