//! Targets for the metadata service's answers.

use std::net::{Ipv4Addr, Ipv6Addr};

use clients::imds::{Error, answers};
use plan::ownership::is_account;
use plan::record::{HostTemplate, Name, is_region};

use crate::names::check_instance;
use crate::{MARK, check_error, check_shown, marked};

const PATH: &str = "dynamic/instance-identity/document";

/// Checks that no document gives an instance id or a region that AWS would not use, and therefore no odd host name.
pub(crate) fn identity(input: &[u8]) {
    let Some(identity) = read(answers::identity(PATH, input)) else { return };
    check_instance(&identity.instance);
    assert!(is_region(&identity.region), "{}", identity.region);
    assert!(identity.account.as_deref().is_none_or(is_account));
    check_shown(&identity.availability_zone);
    check_shown(&identity.instance_type);
    let template = HostTemplate::parse("vc-{instance}.{region}").unwrap();
    let domain = Name::host("example.org").unwrap();
    let name = template.name(&identity.instance, &identity.region, &domain).unwrap();
    let found = template.instance(&name, &domain).unwrap();
    assert_eq!(found, (identity.instance, Some(identity.region)));
}

/// Checks that notices and events give only times and words.
pub(crate) fn notices(input: &[u8]) {
    if let Some(notice) = read(answers::spot_notice(PATH, input)) {
        check_shown(&notice.action);
    }
    read(answers::rebalance_notice(PATH, input));
    for event in read(answers::maintenance(PATH, input)).unwrap_or_default() {
        check_shown(&event.code);
        check_shown(&event.state);
    }
}

/// Checks single values: addresses, the target state, the names of the group and of the role.
pub(crate) fn values(input: &[u8]) {
    read(answers::address::<Ipv4Addr>(PATH, input));
    read(answers::address::<Ipv6Addr>(PATH, input));
    if let Some(line) = read(answers::line(PATH, input)) {
        check_shown(&line);
        assert_eq!(answers::line(PATH, line.as_bytes()), Ok(line));
    }
    if let Some(state) = read(answers::state(PATH, input)) {
        assert!(
            state.len() < 100 && !state.contains(|c: char| c.is_whitespace() || c.is_control()),
            "{state}"
        );
    }
    if let Some(role) = read(answers::role(PATH, input)).flatten() {
        assert!(!role.contains(['/', '?', '#', '%', '\\']) && !matches!(role.as_str(), "." | ".."), "{role}");
    }
}

/// Checks that credentials appear neither in an error nor in a `Debug` text, whatever surrounds them.
pub(crate) fn credentials(input: &[u8]) {
    match answers::credentials(PATH, &marked(input)) {
        Ok(credentials) => {
            // The key id and the expiration may be shown.
            let others = [&credentials.access_key_id, &credentials.expiration];
            let shown = format!("{credentials:?}");
            assert!(!shown.contains(MARK) || others.iter().any(|text| text.contains(MARK)), "{shown}");
        }
        Err(error) => refused(&error),
    }
}

fn read<T>(answer: Result<T, Error>) -> Option<T> {
    answer.inspect_err(refused).ok()
}

fn refused(error: &Error) {
    check_error(&error.to_string());
    assert!(!error.is_retryable(), "an answer that makes no sense will make none later");
}
