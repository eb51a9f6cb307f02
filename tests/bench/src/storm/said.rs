//! What `tests/storm --json` says of many hosts that boot at once, as figures. The floor of the time is the least in which the
//! account's quota lets all of them register, that of the calls is one for each.

use serde::Deserialize;

use crate::figures::{Aim, Figure, Unit};

/// Of the least time.
const TIME: f64 = 1.15;
/// Route 53 calls of a host.
const CALLS: f64 = 1.3;
/// One in so many of the calls may be throttled.
const THROTTLED: u64 = 5;

/// The line; fields that are not needed here are left out.
#[derive(Debug, Deserialize)]
struct Storm {
    hosts: u64,
    registered: u64,
    doubled: u64,
    enabled: u64,
    least_seconds: f64,
    boot: Boot,
}

#[derive(Debug, Deserialize)]
struct Boot {
    seconds: f64,
    calls_per_host: f64,
    /// The part of the calls.
    throttled: f64,
}

/// The figures in the last line that the storm has printed.
pub fn figures(output: &str) -> Result<Vec<Figure>, serde_json::Error> {
    let Storm { hosts, registered, doubled, enabled, least_seconds, boot } =
        serde_json::from_str(output.lines().last().unwrap_or_default())?;
    let figure =
        |what: &str, unit, value| Figure::new(format!("storm of {hosts} hosts: {what}"), unit, value);
    let none = |what: &str, value| figure(what, Unit::Count, value).aim(Aim::AtMost(0));
    let (microseconds, each) = (1_000_000.0, parts(boot.calls_per_host, hosts));
    Ok(vec![
        none("not registered", hosts.saturating_sub(registered)),
        none("registered twice", doubled),
        none("not enabled in Scalelite", hosts.saturating_sub(enabled)),
        figure("time", Unit::Microseconds, whole(boot.seconds * microseconds))
            .floor(whole(least_seconds * microseconds))
            .aim(Aim::Times(TIME)),
        figure("Route 53 calls", Unit::Count, each).floor(hosts).aim(Aim::Times(CALLS)),
        figure("throttled calls", Unit::Count, parts(boot.throttled, each))
            .aim(Aim::AtMost(each / THROTTLED)),
    ])
}

#[allow(clippy::cast_precision_loss)]
fn parts(share: f64, of: u64) -> u64 {
    whole(share * of as f64)
}

/// Times and counts are far below 2^53, and never negative.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_read() {
        let output = "50 hosts at once\n  hosts registered 50\n\
            {\"aims_met\":false,\"boot\":{\"busy\":0.03,\"calls_per_host\":1.3,\"seconds\":10.119613309,\"throttled\":0.23},\
            \"burst\":5,\"doubled\":1,\"enabled\":48,\"hosts\":50,\"least_seconds\":9.0,\"left\":null,\"registered\":49}\n";
        let figures = figures(output).unwrap();
        let said: Vec<(&str, u64, Option<u64>, Option<bool>)> = figures
            .iter()
            .map(|figure| (figure.name.as_str(), figure.value, figure.floor, figure.met()))
            .collect();
        assert_eq!(
            said,
            [
                ("storm of 50 hosts: not registered", 1, None, Some(false)),
                ("storm of 50 hosts: registered twice", 1, None, Some(false)),
                ("storm of 50 hosts: not enabled in Scalelite", 2, None, Some(false)),
                ("storm of 50 hosts: time", 10_119_613, Some(9_000_000), Some(true)),
                ("storm of 50 hosts: Route 53 calls", 65, Some(50), Some(true)),
                ("storm of 50 hosts: throttled calls", 15, None, Some(false)),
            ]
        );
        assert!(super::figures("storm: no cloud\n").is_err());
        assert!(super::figures("").is_err());
    }
}
