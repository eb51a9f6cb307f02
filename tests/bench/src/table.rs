//! The table: what was measured, what was aimed at, and whether that was met.

use bench::measure::quantile;
use sandbox::http::ServiceName;

use crate::agents::Agents;
use crate::daemon::Usage;
use crate::record::{Asked, Row};
use crate::rig::Rig;
use crate::say;
use crate::service::{Idle, Reaction};

/// The most that wall time may be of the floor's.
const RATIO: f64 = 2.5;
/// CPU time, in microseconds.
const CPU: u64 = 30_000;
/// Memory, in bytes.
const PEAK: u64 = 16 * 1024 * 1024;
/// Wall time of a command that asks nobody, in microseconds.
const START: u64 = 5_000;
/// Memory of the service, in bytes.
const RESIDENT: u64 = 12 * 1024 * 1024;
/// CPU time of the service in a second, in microseconds: 0.1 % of a core.
const CPU_SHARE: u64 = 1_000;
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

/// Prints what was measured of the service.
pub(crate) fn service(idle: &Idle, reactions: &[Reaction]) {
    let Idle { seconds, agent, floor, calls, questions } = idle;
    say("");
    say(&format!(
        "{:<34} {:<6} {:>9} {:>11} {:>10} {:>10}",
        format!("the service, idle for {seconds} s"),
        "who",
        "CPU",
        "of a core",
        "resident",
        "peak"
    ));
    for (who, usage) in [("agent", agent), ("floor", floor)] {
        say(&format!(
            "{:<34} {who:<6} {:>9} {:>11} {:>10} {:>10}",
            "",
            milliseconds(usage.cpu),
            share(*usage, *seconds),
            mebibytes(usage.resident),
            mebibytes(usage.peak),
        ));
    }
    say("");
    say(&format!("{:<34} {:>9} {:>11} {:>11} {:>11}", "reaction", "runs", "p50", "p90", "longest"));
    for Reaction { name, times, .. } in reactions {
        let [median, late, longest] = [0.5, 0.9, 1.0].map(|share| milliseconds(quantile(times, share)));
        say(&format!("{name:<34} {:>9} {median:>11} {late:>11} {longest:>11}", times.len()));
    }
    say("");
    say("aims");
    let name = "the service, idle";
    let cpu = agent.cpu < CPU_SHARE * seconds;
    verdict(name, "CPU", &share(*agent, *seconds), "under 0.1 % of a core", cpu);
    let resident = agent.resident < RESIDENT;
    verdict(name, "resident", &mebibytes(agent.resident), "under 12 MiB", resident);
    let made = |service| calls.get(&service).copied().unwrap_or_default();
    for (what, service) in
        [("Route 53", ServiceName::Route53), ("EC2", ServiceName::Ec2), ("groups", ServiceName::AutoScaling)]
    {
        let count = made(service);
        verdict(name, what, &format!("{count} calls"), "0", count == 0);
    }
    let hourly = |count: usize| count * 3600 / usize::try_from(*seconds).unwrap_or(usize::MAX).max(1);
    let others = [ServiceName::Imds, ServiceName::Scalelite, ServiceName::SecretsManager, ServiceName::Bbb];
    let [imds, scalelite, secrets, bbb] = others.map(|service| hourly(made(service)));
    say(&format!(
        "  {name:<34} and asked in an hour {imds} x IMDS, {} x DNS, {scalelite} x Scalelite, {secrets} x Secrets Manager, {bbb} x BBB",
        hourly(*questions)
    ));
    for Reaction { name, times, aim } in reactions {
        let median = quantile(times, 0.5);
        verdict(name, "median", &milliseconds(median), &format!("under {} ms", aim / 1000), median < *aim);
    }
}

/// The part of a core that was used.
fn share(usage: Usage, seconds: u64) -> String {
    // Hundred-thousandths of a core.
    let parts = usage.cpu / (10 * seconds.max(1));
    format!("{}.{:03} %", parts / 1000, parts % 1000)
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
