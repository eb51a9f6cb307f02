//! The reason why the service is stopped, read from systemd's queue of jobs.
//!
//! systemd does not tell a service why it gets SIGTERM, but its queue of jobs does: a restart of the service is a job
//! of its own kind, and a host that goes down has a start job for the target that ends it (systemd.special(7);
//! `soft-reboot.target` since 254). Both are queued before the service is signalled and stay until it has ended. A
//! shutdown of the host outranks a job for the service itself. Where two shutdowns are queued, the one is assumed
//! after which the host does not come back to tidy up. Without any such job systemd does not stop the service: a
//! process was killed, or the job is gone already, and nobody has asked for anything that ends meetings.
//!
//! The service is `bbb-agent.service` in this table:
//!
#![doc = include_str!("tables/stop-cause.md")]

use crate::lifecycle::StopCause;

/// One of systemd's jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job<'a> {
    /// The unit that the job is for, e.g. `reboot.target`.
    pub unit: &'a str,
    /// The job's type: `start`, `stop`, `restart`, ...
    pub kind: &'a str,
}

/// Reads the output of `systemctl list-jobs --full --no-legend`: number, unit, type and state in one line per job,
/// aligned with spaces, without marks (`output_jobs_list` in systemd's sources, the same in 245 and 255). Lines that
/// are not jobs are skipped; so are lines whose unit name has no dot, since every unit name has one.
pub fn parse(text: &str) -> Vec<Job<'_>> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            words.next()?.parse::<u32>().ok()?;
            let job = Job { unit: words.next()?, kind: words.next()? };
            job.unit.contains('.').then_some(job)
        })
        .collect()
}

/// Returns why the service with this unit (`bbb-agent.service`) stops, given all of systemd's jobs.
pub fn cause(jobs: &[Job<'_>], own: &str) -> StopCause {
    let starts = |units: &[&str]| jobs.iter().any(|job| job.kind == "start" && units.contains(&job.unit));
    let restarts = jobs.iter().any(|job| job.unit == own && matches!(job.kind, "restart" | "try-restart"));
    if starts(&["poweroff.target", "halt.target"]) {
        StopCause::PowerOff
    } else if starts(&["reboot.target", "kexec.target", "soft-reboot.target"]) {
        StopCause::Reboot
    } else if restarts {
        StopCause::Restart
    } else if jobs.iter().any(|job| job.unit == own && job.kind == "stop") {
        StopCause::Stop
    } else {
        StopCause::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    /// Returns the jobs in a cell of the table as systemctl prints them.
    fn printed(cell: &str) -> String {
        if cell == "none" {
            return String::new();
        }
        let lines = cell.split(", ").enumerate().map(|(index, job)| {
            let (unit, kind) = job.split_once(' ').unwrap();
            format!("{:>5} {unit:<40} {kind:<11} waiting\n", 10 * index + 9)
        });
        lines.collect()
    }

    #[test]
    fn causes_by_the_table() {
        for [jobs, expected] in table::rows(include_str!("tables/stop-cause.md")) {
            let printed = printed(&jobs);
            let found = parse(&printed);
            assert_eq!(found.len(), if jobs == "none" { 0 } else { jobs.split(", ").count() }, "{jobs}");
            let words = match cause(&found, "bbb-agent.service") {
                StopCause::Restart => "restart",
                StopCause::Reboot => "reboot",
                StopCause::PowerOff => "power off",
                StopCause::Stop => "stop",
                StopCause::Unknown => "unknown",
            };
            assert_eq!(words, expected, "{jobs}");
        }
    }

    #[test]
    fn what_is_no_job_is_left_out() {
        let text = "JOB UNIT              TYPE    STATE\n  7 bbb-agent.service restart running\n\n  8 a.service\n\
                    x y z\n99999999999 reboot.target start waiting\n\n1 jobs listed.\nNo jobs running.\n";
        assert_eq!(parse(text), [Job { unit: "bbb-agent.service", kind: "restart" }]);
    }

    #[test]
    fn lines_need_no_state() {
        assert_eq!(parse("1 a.service stop"), [Job { unit: "a.service", kind: "stop" }]);
    }
}
