//! The relay of a TURN host: whether the host may have its name, and what its metric says.
//!
//! An open relay reaches the VPC for everybody, so nobody is led to it. A silent coturn keeps its name: UserData
//! installs it after the host has its name, because its certificate needs one.
//!
#![doc = include_str!("tables/relay.md")]

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

    /// Tells whether coturn serves those whom it should, and nobody else, as far as can be seen.
    pub fn serves(self) -> bool {
        matches!(self, Self::Closed | Self::Refuses(_))
    }
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
            ("cannot be asked", None) => None,
            (unknown, None) => panic!("unknown cell {unknown}"),
        }
    }

    #[test]
    fn name_and_metric_by_the_table() {
        for [cell, name, metric] in table::rows(include_str!("tables/relay.md")) {
            let coturn = relay(&cell);
            let found = if coturn.is_some_and(Relay::is_open) { "given up" } else { "kept" };
            assert_eq!(found, name, "{cell}");
            let serves = coturn.map_or("unknown".to_owned(), |relay| u8::from(relay.serves()).to_string());
            assert_eq!(serves, metric, "{cell}");
        }
    }
}
