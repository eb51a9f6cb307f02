//! The recursive servers that `/etc/resolv.conf` names.
//!
//! Only its `nameserver` lines count (resolv.conf(5)). The agents look up full names alone, for which `search`,
//! `domain` and `ndots` mean nothing, and they have time limits of their own. So nothing else in the file can stop
//! them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::{fs, io};

/// The resolver that is asked where no line names a usable one, as glibc does.
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The recursive servers, in the order in which they are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NameServers {
    /// The addresses; there is at least one.
    pub(super) addresses: Vec<IpAddr>,
    /// Whether the file names no usable server, so that the one on this host is asked.
    pub(super) is_default: bool,
}

/// Reads the file. One that does not exist (yet) names no server.
pub(super) fn read(path: &Path) -> io::Result<NameServers> {
    match fs::read(path) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(parse(b"")),
        Err(error) => Err(error),
    }
}

fn parse(text: &[u8]) -> NameServers {
    let text = String::from_utf8_lossy(text);
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in text.trim_start_matches('\u{feff}').lines().filter_map(name_server) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.is_empty() {
        true => NameServers { addresses: vec![LOCAL], is_default: true },
        false => NameServers { addresses, is_default: false },
    }
}

/// Returns the address on a `nameserver` line. One with a scope (`fe80::1%eth0`) is passed over: the DNS library has
/// no place for the interface, and every host with such a server has another one.
fn name_server(line: &str) -> Option<IpAddr> {
    let mut words = line.split(|c: char| c.is_whitespace() || c == '#' || c == ';');
    let keyword = words.find(|word| !word.is_empty())?;
    let address = words.find(|word| !word.is_empty())?;
    (keyword == "nameserver" && line.trim_start().starts_with(keyword)).then_some(address)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> NameServers {
        parse(text.as_bytes())
    }

    fn named(addresses: &[&str]) -> NameServers {
        let addresses = addresses.iter().filter_map(|address| address.parse().ok()).collect();
        NameServers { addresses, is_default: false }
    }

    #[test]
    fn only_lines_that_name_a_server_count() {
        let local = NameServers { addresses: vec![LOCAL], is_default: true };
        for (text, expected) in [
            ("nameserver 192.0.2.53\nnameserver 2001:db8::53\n", named(&["192.0.2.53", "2001:db8::53"])),
            ("nameserver\t192.0.2.53\r\nsearch .example.com\r\n", named(&["192.0.2.53"])),
            ("\u{feff}nameserver 192.0.2.53", named(&["192.0.2.53"])),
            ("  nameserver   192.0.2.53;fast\nnameserver 192.0.2.53", named(&["192.0.2.53"])),
            ("options timeout:0\nnameserver 192.0.2.53#VPC", named(&["192.0.2.53"])),
            ("nameserver fe80::1%eth0\nnameserver 192.0.2.53", named(&["192.0.2.53"])),
            ("nameserver resolver.example.org\nnameserver 192.0.2.53", named(&["192.0.2.53"])),
            ("nameserver fe80::1%eth0\n", local.clone()),
            ("#nameserver 192.0.2.53\n; nameserver 192.0.2.53\n", local.clone()),
            ("nameservers 192.0.2.53\nnameserver\n192.0.2.53\n", local.clone()),
            ("search nameserver 192.0.2.53", local.clone()),
            ("", local),
        ] {
            assert_eq!(parsed(text), expected, "{text:?}");
        }
        assert_eq!(parse(b"search \xff\xfe\nnameserver 192.0.2.53\n"), named(&["192.0.2.53"]));
    }
}
