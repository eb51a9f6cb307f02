//! Files that are read line by line.

use plan::addresses::Place;

use super::{Site, span_of};

/// Finds where coturn listens, relays and to whom: `allowed-peer-ip=203.0.113.10`, `external-ip=203.0.113.10/10.0.0.5`.
pub(super) fn coturn(text: &str) -> Vec<Site> {
    let site = |line: &str| {
        let (key, value) = line.trim().split_once(|end: char| end == '=' || end.is_whitespace())?;
        let place = match key {
            "allowed-peer-ip" => Place::AllowedPeer,
            "external-ip" => Place::TurnExternal,
            "listening-ip" => Place::TurnListening,
            "relay-ip" => Place::TurnRelay,
            "denied-peer-ip" => Place::DeniedPeer,
            _ => return None,
        };
        let value = value.trim().trim_start_matches('=').trim();
        let address = match place {
            Place::TurnExternal => value.split('/').next().unwrap_or(value),
            _ => value,
        };
        Some(Site { place, span: span_of(text, address) })
    };
    text.split('\n').filter_map(site).collect()
}

/// Finds where nginx sends WebSockets: `proxy_pass http://203.0.113.10:5066;`.
pub(super) fn nginx(text: &str) -> Vec<Site> {
    let site = |line: &str| {
        let code = line.split('#').next().unwrap_or_default();
        let mut words = code.split(|end: char| end.is_whitespace() || end == '{');
        words.find(|word| *word == "proxy_pass")?;
        let (_, authority) = words.find(|word| !word.is_empty())?.split_once("://")?;
        let host = authority.split([':', '/', ';']).next()?;
        Some(Site { place: Place::ProxyPass, span: span_of(text, host) })
    };
    text.split('\n').filter_map(site).collect()
}

/// Finds the address that a unit gives the host: `ExecStart=/sbin/ip addr add 203.0.113.10 dev lo`.
pub(super) fn unit(text: &str) -> Vec<Site> {
    let site = |line: &str| {
        let words: Vec<&str> = line.trim().strip_prefix("ExecStart=")?.split_whitespace().collect();
        let at = words
            .windows(2)
            .position(|pair| matches!(pair, ["addr" | "address" | "a", "add" | "replace"]))?;
        let loopback = words.windows(2).any(|pair| pair == ["dev", "lo"]);
        let address = words.get(at + 2).filter(|_| loopback)?;
        let address = address.strip_suffix("/32").unwrap_or(address);
        Some(Site { place: Place::Loopback, span: span_of(text, address) })
    };
    text.split('\n').filter_map(site).collect()
}

/// Finds the rules that turn the host's own packets to its public address back to itself, in the format of
/// iptables-save: `-A OUTPUT -s 10.0.0.5/32 -d 203.0.113.10/32 -p udp -j DNAT --to-destination 10.0.0.5`. A rule whose
/// source is not its target is none of bbb-install's.
pub(super) fn rules(text: &str) -> Vec<Site> {
    let mut table = "";
    let mut sites = Vec::new();
    for line in text.split('\n').map(str::trim) {
        if line.starts_with('*') {
            table = line;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        if table != "*nat" || !matches!(words.as_slice(), ["-A", "OUTPUT", ..]) || words.contains(&"!") {
            continue;
        }
        let after = |option: &str| {
            let at = words.iter().position(|word| *word == option)?;
            let value = words.get(at + 1)?;
            Some(value.strip_suffix("/32").unwrap_or(value))
        };
        let (source, target) = (after("-s"), after("--to-destination"));
        if let Some(destination) = after("-d").filter(|_| after("-j") == Some("DNAT"))
            && source.is_some()
            && source == target
        {
            sites.push(Site { place: Place::Dnat, span: span_of(text, destination) });
        }
    }
    sites
}
