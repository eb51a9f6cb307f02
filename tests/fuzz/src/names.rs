//! Targets for the contents of a zone, read through DNS or Route 53's API: names, ownership labels and values.

use plan::instance::InstanceId;
use plan::ownership::{Owner, is_account};
use plan::record::{HostTemplate, Name, RecordType, is_region, normalise_value, quote_txt, unquote_txt};

use crate::{check_shown, text};

/// Checks that an ownership label needs a complete instance id, and reads the same after it was written again.
pub(crate) fn ownership(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let Some(owner) = Owner::parse(text) else { return };
    assert!(text.contains("heritage=bbb-agents"));
    assert!(text.contains(owner.instance.as_str()));
    check_instance(&owner.instance);
    check_shown(&owner.to_string());
    assert!(owner.account.as_deref().is_none_or(is_account));
    assert_eq!(Owner::parse(&owner.to_string()), Some(owner));
}

/// Checks that a TXT value reads the same after it was written again, in a form that Route 53 accepts.
pub(crate) fn txt(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let quoted = quote_txt(text);
    assert_eq!(unquote_txt(&quoted), text);
    assert!(quoted.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{quoted}");
    let read = unquote_txt(text);
    assert_eq!(unquote_txt(&quote_txt(&read)), read);
    for kind in [RecordType::A, RecordType::Aaaa] {
        let once = normalise_value(kind, text);
        assert_eq!(normalise_value(kind, &once), once, "{kind}");
    }
}

/// Checks that a host's name fits into DNS and reads back as itself, and that a remote name never turns into another
/// one.
pub(crate) fn host_name(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let remote = Name::remote(text);
    check_shown(remote.as_str());
    assert_eq!(remote.as_str(), remote.as_str().to_ascii_lowercase());
    assert_eq!(remote.ownership().owned(), Some(remote.clone()));
    let domain = Name::host("example.org");
    if let Ok(domain) = &domain {
        let template = HostTemplate::parse("vc-{instance}.{region}");
        if let Some((instance, region)) =
            template.ok().and_then(|template| template.instance(&remote, domain))
        {
            check_instance(&instance);
            assert!(region.as_deref().is_some_and(is_region));
        }
    }
    let Ok(name) = Name::host(text) else { return };
    assert_eq!(name, remote, "no host's name needs escapes");
    assert_eq!(Name::host(name.as_str()).as_ref(), Ok(&name));
    assert!(name.ownership().as_str().len() <= 253);
    for label in name.as_str().split('.') {
        assert!((1..=63).contains(&label.len()));
        assert!(label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')));
    }
    assert!(name.as_str().contains('.'));
}

/// Checks an instance id, the only part of outside data that may become part of a host's name.
pub(crate) fn check_instance(instance: &InstanceId) {
    let digits = instance.digits();
    assert!(matches!(digits.len(), 8 | 17), "{instance}");
    assert!(digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{instance}");
}
