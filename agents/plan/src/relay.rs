//! The relay on a host: whether a TURN host may have its name, what `status` and the metric say, and which sockets are
//! relays in use.
//!
//! An open relay reaches the VPC for everybody, so nobody is led to a TURN host that has one. A silent coturn keeps its
//! name: UserData installs it after the host has its name, because its certificate needs one. A BBB host joins whatever
//! its coturn does: its meetings work for all who reach it directly, and keeping it out would close no relay, because
//! an attacker who scans addresses needs no name. The alarm and `status` say it.
//!
#![doc = include_str!("tables/relay.md")]
//!
//! # Relays in use
//! Debian 12's and Ubuntu 22.04's coturn have no drain of their own (SIGUSR1 has one from 4.6.3), and nothing to ask for
//! allocations without a password. But each relay is a UDP socket, and the kernel lists those for everybody. Observed
//! with 4.6.1: an idle coturn has only the sockets at which it listens; an allocation has one more, bound to one of
//! `relay-ip` and a port between `min-port` and `max-port`, not connected; it goes a moment after the allocation has
//! ended. A client that reserves a pair of ports (EVEN-PORT, which browsers do not use) has two, of which the second
//! stays some time longer. Relays of TCP are not counted.
//!
//! The same ports serve as source ports of other programs. Those sockets are bound to no address, or connected; the
//! owner tells the rest apart. In the agent's unit every user but root and the agent's own is shown as one and the
//! same (`PrivateUsers=`), so the owner alone would not be enough. A coturn that root has started changes its user
//! after it listens, so that its relays have another owner: then the owner says nothing.
//!
#![doc = include_str!("tables/relay-sockets.md")]

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use crate::health::Part;
use crate::instance::Role;

/// What coturn does for a client without credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relay {
    /// It asks for credentials.
    Closed,
    /// It relays for everybody.
    Open,
    /// It refuses with this code, and does not ask for credentials.
    Refuses(u16),
    /// It does not answer.
    Silent,
    /// It does not answer, and is not installed.
    Absent,
}

impl Relay {
    /// Returns what a refusal with this code says. A server that wants credentials asks for them before it looks at its
    /// quotas (486) and its ports (508), so without that question it only happens to be full (RFC 8656, 7.2).
    pub fn refusing(code: u16) -> Self {
        match code {
            401 => Self::Closed,
            486 | 508 => Self::Open,
            code => Self::Refuses(code),
        }
    }

    /// Tells whether everybody may use the relay.
    pub fn is_open(self) -> bool {
        self == Self::Open
    }

    /// Tells whether a host of this role may not be found while its coturn does this.
    pub fn keeps_out(self, role: Role) -> bool {
        role == Role::Turn && self.is_open()
    }

    /// Tells whether coturn serves those whom it should, and nobody else, as far as can be seen; `None` on a BBB host
    /// without coturn, which may use TURN hosts.
    pub fn answers(self, role: Role) -> Option<bool> {
        match (self, role) {
            (Self::Closed | Self::Refuses(_), _) => Some(true),
            (Self::Open | Self::Silent, _) | (Self::Absent, Role::Turn) => Some(false),
            (Self::Absent, Role::Bbb) => None,
        }
    }

    /// Returns a stable word for programs: `asks-for-credentials`, `relays`, `refuses`, `silent`, `not-installed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "asks-for-credentials",
            Self::Open => "relays",
            Self::Refuses(_) => "refuses",
            Self::Silent => "silent",
            Self::Absent => "not-installed",
        }
    }

    /// Describes what coturn does that was asked at this address.
    pub fn at(self, address: SocketAddr) -> String {
        match self {
            Self::Closed => format!("asks for credentials at {address}"),
            Self::Open => format!("gives relays at {address} to everybody, without credentials"),
            Self::Refuses(code) => format!("refuses a relay at {address} with {code}"),
            Self::Silent => format!("does not answer at {address} (UDP)"),
            Self::Absent => "is not installed".to_owned(),
        }
    }
}

/// Returns what the answer of coturn at this address means for the verdict of `status`; the error says why it could not
/// be asked.
pub fn part(answer: &Result<Relay, String>, role: Role, address: SocketAddr) -> Part {
    let relay = match answer {
        Ok(relay) => *relay,
        Err(why) => return Part::Unknown(format!("coturn cannot be asked at {address}: {why}")),
    };
    let words = format!("coturn on this host {}", relay.at(address));
    match relay {
        Relay::Closed | Relay::Refuses(_) => Part::InOrder,
        Relay::Open if relay.keeps_out(role) => Part::Missing(words),
        Relay::Absent if role == Role::Bbb => Part::NotUsed,
        Relay::Open | Relay::Silent | Relay::Absent => Part::Drift(words),
    }
}

/// A UDP socket of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Whether it is bound to one address, and not to all.
    pub bound: bool,
    /// Its port.
    pub port: u16,
    /// Whether it is connected to a peer.
    pub connected: bool,
    /// The user who has opened it, as far as the reader may know: 65534 stands for all who have no number there.
    pub owner: u32,
}

/// The ports at which coturn listens unless it is told otherwise: for plain TURN and for TLS, each with the next one,
/// which serves RFC 5780.
const USUAL: [u16; 4] = [3478, 3479, 5349, 5350];

/// Returns how many of these sockets are relays in use. `asked` is the port at which coturn is asked for relays, if it
/// is; `ports` are those of its relays.
pub fn in_use(sockets: &[Socket], asked: Option<u16>, ports: &RangeInclusive<u16>) -> u64 {
    let listens = |port: u16| {
        let asked = asked.is_some_and(|asked| [asked, asked.saturating_add(1)].contains(&port));
        asked || USUAL.contains(&port)
    };
    let owners = sockets.iter().filter(|socket| asked == Some(socket.port) && !socket.connected);
    let owners: Vec<u32> = owners.map(|socket| socket.owner).collect();
    let is_root = owners.contains(&0);
    let owned = |socket: &Socket| is_root || owners.is_empty() || owners.contains(&socket.owner);
    let relays = sockets.iter().filter(|socket| {
        socket.bound
            && !socket.connected
            && ports.contains(&socket.port)
            && !listens(socket.port)
            && owned(socket)
    });
    relays.count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    fn relay(cell: &str) -> Option<Relay> {
        let code = cell.split_once('(').map(|(_, code)| code.trim_end_matches(')').parse().unwrap());
        match (cell, code) {
            (_, Some(code)) => Some(Relay::refusing(code)),
            ("relays", None) => Some(Relay::Open),
            ("is silent", None) => Some(Relay::Silent),
            ("is not installed", None) => Some(Relay::Absent),
            ("cannot be asked", None) => None,
            (unknown, None) => panic!("unknown cell {unknown}"),
        }
    }

    fn verdict(part: &Part) -> &'static str {
        match part {
            Part::NotUsed => "not used",
            Part::InOrder => "in order",
            Part::Settling(_) => "settles",
            Part::Unknown(_) => "cannot tell",
            Part::Drift(_) => "differs",
            Part::Missing(_) => "not registered",
        }
    }

    #[test]
    fn name_status_and_metric_by_the_table() {
        let address = SocketAddr::from(([10, 0, 0, 10], 3478));
        for [cell, name, joins, turn, bbb, metric] in table::rows(include_str!("tables/relay.md")) {
            let coturn = relay(&cell);
            let out = |role| coturn.is_some_and(|relay| relay.keeps_out(role));
            assert_eq!(if out(Role::Turn) { "given up" } else { "kept" }, name, "{cell}");
            assert_eq!(if out(Role::Bbb) { "no" } else { "yes" }, joins, "{cell}");
            let answer = coturn.ok_or_else(|| "no socket".to_owned());
            for (role, expected) in [(Role::Turn, turn), (Role::Bbb, bbb)] {
                assert_eq!(verdict(&part(&answer, role, address)), expected, "{cell}: {role}");
            }
            let told = [Role::Bbb, Role::Turn].map(|role| {
                let answers = coturn.and_then(|relay| relay.answers(role));
                answers.map_or("unknown".to_owned(), |answers| u8::from(answers).to_string())
            });
            let told = if told[0] == told[1] {
                told[0].clone()
            } else {
                format!("{}; a TURN host: {}", told[0], told[1])
            };
            assert_eq!(told, metric, "{cell}");
        }
    }

    /// Reads a socket such as `10.0.0.10:49152 of 113, connected`.
    fn socket(cell: &str) -> Socket {
        let (at, rest) = cell.split_once(" of ").unwrap();
        let (address, port) = at.rsplit_once(':').unwrap();
        let (owner, connected) = match rest.split_once(", ") {
            Some((owner, "connected")) => (owner, true),
            None => (rest, false),
            Some(other) => panic!("{other:?}"),
        };
        let owner = owner.parse().unwrap();
        Socket { bound: address != "*", port: port.parse().unwrap(), connected, owner }
    }

    #[test]
    fn sockets_by_the_table() {
        let sockets = |cell: &str| match cell {
            "none" => Vec::new(),
            cell => cell.split("; ").map(socket).collect(),
        };
        for [listening, others, ports, relays] in table::rows(include_str!("tables/relay-sockets.md")) {
            let (asked, listening) = match listening.strip_prefix("not asked; ") {
                Some(listening) => (None, sockets(listening)),
                None => (Some(3478), sockets(&listening)),
            };
            let (least, most) = ports.split_once('-').unwrap();
            let ports = least.parse().unwrap()..=most.parse().unwrap();
            let all: Vec<Socket> = listening.into_iter().chain(sockets(&others)).collect();
            assert_eq!(in_use(&all, asked, &ports).to_string(), relays, "{all:?}");
        }
    }

    #[test]
    fn a_coturn_at_another_port_does_not_count_itself() {
        let sockets = [socket("10.0.0.10:40000 of 113"), socket("10.0.0.10:40001 of 113")];
        assert_eq!(in_use(&sockets, Some(40_000), &(1024..=65_535)), 0);
        assert_eq!(in_use(&sockets, Some(65_535), &(1024..=65_535)), 2);
    }
}
