//! Targets for the answers of name servers and Route 53.

use std::net::{Ipv4Addr, Ipv6Addr};

use clients::aws::route53;
use clients::dns::authoritative;
use plan::dns::{Holder, Observed, Source};
use plan::instance::InstanceId;
use plan::record::{Name, RecordType};

use crate::{check_error, check_shown};

const ID: u16 = 0x1234;

/// Checks that an answer counts only for the name that was asked for, and gives that name only to an owner named in
/// it.
pub(crate) fn dns(input: &[u8]) {
    let host = Name::host("vc-1.example.org").unwrap();
    for kind in [RecordType::A, RecordType::Aaaa, RecordType::Txt] {
        let name = if kind == RecordType::Txt { host.ownership() } else { host.clone() };
        // An answer with another id is never accepted; the input gets the right id in a second try.
        assert_eq!(
            authoritative::understand(input, ID, "ns-1", &name, kind)
                .filter(|_| !input.starts_with(&[0x12, 0x34])),
            None
        );
        let mut packet = input.to_vec();
        if let Some(id) = packet.first_chunk_mut::<2>() {
            *id = ID.to_be_bytes();
        }
        match authoritative::understand(&packet, ID, "ns-1", &name, kind) {
            None => {}
            Some(Err(error)) => check_error(&error.to_string()),
            Some(Ok(found)) => check_found(&found, &name, kind),
        }
    }
}

fn check_found(found: &authoritative::Found, name: &Name, kind: RecordType) {
    found.alien.iter().for_each(|alien| check_shown(alien));
    let Some(set) = &found.set else { return };
    assert_eq!((&set.name, set.kind), (name, kind));
    assert!(!set.values.is_empty());
    check_shown(&set.to_string());
    for value in &set.values {
        match kind {
            RecordType::A => assert_eq!(value.parse::<Ipv4Addr>().unwrap().to_string(), *value),
            RecordType::Aaaa => assert_eq!(value.parse::<Ipv6Addr>().unwrap().to_string(), *value),
            RecordType::Txt => {}
        }
    }
    let me = InstanceId::parse("i-0123456789abcdef0").unwrap();
    let label = (kind == RecordType::Txt).then(|| set.clone());
    let observed = Observed { label, ..Observed::nothing(Source::Dns) };
    if let Holder::Me(_) = observed.holder(&me) {
        assert!(set.values.len() == 1 && set.values.iter().all(|text| text.contains(me.as_str())));
    }
}

/// Checks that a refused batch counts as a lost race only if Route 53 says so.
pub(crate) fn refused_batch(input: &[u8]) {
    let Some(messages) = route53::messages(input) else { return };
    let error = route53::refusal("Z0123456789ABCDEFGHIJ", &messages);
    check_error(&error.to_string());
    let lost = ["already exists", "not found", "do not match"].iter().any(|words| messages.contains(words));
    assert!(lost || !matches!(error, route53::Error::Conflict { .. }));
    assert!(!error.is_retryable(), "only after reading anew");
}
