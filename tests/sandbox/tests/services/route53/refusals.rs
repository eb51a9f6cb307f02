//! What is refused, row by row.

use super::rig::{a, change, multivalue, set, set_with};

/// What is refused: what it is, the changes, the code, a part of the message.
pub(crate) fn refusals() -> Vec<(&'static str, Vec<String>, &'static str, &'static str)> {
    const BATCH: &str = "InvalidChangeBatch";
    const INPUT: &str = "InvalidInput";
    let create = |set: String| vec![change("CREATE", &set)];
    let long = format!("\"{}\"", "x".repeat(256));
    let many: Vec<String> =
        (0..1001).map(|n| change("CREATE", &a(&format!("h{n}.example.org"), "192.0.2.1"))).collect();
    let upserts: Vec<String> =
        (0..501).map(|n| change("UPSERT", &a(&format!("h{n}.example.org"), "192.0.2.1"))).collect();
    let full = format!("\"{}\"", "x".repeat(250));
    let wordy: Vec<String> =
        (0..128).map(|n| change("CREATE", &set(&format!("h{n}.example.org"), "TXT", 60, &[&full]))).collect();
    let without_ttl = "<Name>x.example.org</Name><Type>A</Type><ResourceRecords><ResourceRecord><Value>192.0.2.1\
                       </Value></ResourceRecord></ResourceRecords>";
    let alias = "<AliasTarget><HostedZoneId>Z0PUBLIC</HostedZoneId><DNSName>www.example.org</DNSName>\
                 <EvaluateTargetHealth>false</EvaluateTargetHealth></AliasTarget>";
    let policy_only = "<MultiValueAnswer>true</MultiValueAnswer>";
    let false_policy = "<SetIdentifier>i</SetIdentifier><MultiValueAnswer>false</MultiValueAnswer>";
    let weight = "<SetIdentifier>w</SetIdentifier><Weight>1</Weight>";
    let www = ["192.0.2.1", "192.0.2.2"];
    vec![
        (
            "create what exists",
            create(a("WWW.example.org", "192.0.2.7")),
            BATCH,
            "Tried to create resource record set [name='www.example.org.', type='A'] but it already exists",
        ),
        (
            "delete what is absent",
            vec![change("DELETE", &a("gone.example.org", "192.0.2.1"))],
            BATCH,
            "Tried to delete resource record set [name='gone.example.org.', type='A'] but it was not found",
        ),
        (
            "delete with another TTL",
            vec![change("DELETE", &set("www.example.org", "A", 61, &www))],
            BATCH,
            "[name='www.example.org.', type='A'] but the values provided do not match the current values",
        ),
        (
            "delete with fewer values",
            vec![change("DELETE", &a("www.example.org", "192.0.2.1"))],
            BATCH,
            "but the values provided do not match the current values",
        ),
        (
            "delete with other values",
            vec![change("DELETE", &set("www.example.org", "A", 60, &["192.0.2.1", "192.0.2.3"]))],
            BATCH,
            "but the values provided do not match the current values",
        ),
        (
            "delete of one type with another's name",
            vec![change("DELETE", &set("www.example.org", "AAAA", 60, &["2001:db8::1"]))],
            BATCH,
            "type='AAAA'] but it was not found",
        ),
        (
            "delete without the set identifier",
            vec![change("DELETE", &a("several.example.org", "192.0.2.9"))],
            BATCH,
            "but it was not found",
        ),
        (
            "delete with another set identifier",
            vec![change(
                "DELETE",
                &set_with("several.example.org", "A", &multivalue("i-2"), 60, &["192.0.2.9"]),
            )],
            BATCH,
            "set identifier='i-2'] but it was not found",
        ),
        (
            "the second of two changes, and nothing of the first",
            vec![
                change("CREATE", &a("new.example.org", "192.0.2.1")),
                change("CREATE", &a("www.example.org", "192.0.2.1")),
            ],
            BATCH,
            "but it already exists",
        ),
        (
            "a stale replacement",
            vec![
                change("DELETE", &a("www.example.org", "192.0.2.1")),
                change("CREATE", &a("www.example.org", "192.0.2.8")),
            ],
            BATCH,
            "but the values provided do not match the current values",
        ),
        (
            "one set changed twice",
            vec![
                change("CREATE", &a("new.example.org", "192.0.2.1")),
                change("DELETE", &a("new.example.org", "192.0.2.1")),
            ],
            BATCH,
            "The request contains an invalid set of changes for a resource record set 'A new.example.org.'",
        ),
        (
            "a name outside the zone",
            create(a("www.example.com", "192.0.2.1")),
            BATCH,
            "RRSet with DNS name www.example.com. is not permitted in zone example.org.",
        ),
        (
            "a name that only ends like the zone",
            create(a("badexample.org", "192.0.2.1")),
            BATCH,
            "is not permitted in zone example.org.",
        ),
        ("an empty label", create(a("a..example.org", "192.0.2.1")), BATCH, "DomainLabelEmpty"),
        ("a name with a space", create(a("a b.example.org", "192.0.2.1")), BATCH, "UnsupportedCharacter"),
        ("a bad IPv4 address", create(a("x.example.org", "192.0.2.300")), BATCH, "ARRDATAIllegalIPv4Address"),
        ("an empty value", create(a("x.example.org", "")), BATCH, "ARRDATAIllegalIPv4Address"),
        (
            "a bad IPv6 address",
            create(set("x.example.org", "AAAA", 60, &["2001:db8::g"])),
            BATCH,
            "AAAARRDATAIllegalIPv6Address",
        ),
        (
            "TXT without quotation marks",
            create(set("x.example.org", "TXT", 60, &["bare"])),
            BATCH,
            "InvalidCharacterString (Value should be enclosed in quotation marks) encountered with 'bare'",
        ),
        (
            "a TXT string over 255",
            create(set("x.example.org", "TXT", 60, &[&long])),
            BATCH,
            "CharacterStringTooLong",
        ),
        (
            "a value twice",
            create(set("x.example.org", "A", 60, &["192.0.2.1", "192.0.2.1"])),
            BATCH,
            "Duplicate Resource Record: '192.0.2.1'",
        ),
        (
            "an IPv6 address twice in two spellings",
            create(set("x.example.org", "AAAA", 60, &["2001:db8::1", "2001:DB8:0::1"])),
            BATCH,
            "Duplicate Resource Record",
        ),
        (
            "CNAME beside others",
            create(set("www.example.org", "CNAME", 60, &["x.example.org"])),
            BATCH,
            "is not permitted as it conflicts with other records with the same DNS name in zone example.org.",
        ),
        (
            "others beside CNAME",
            create(a("alias.example.org", "192.0.2.1")),
            BATCH,
            "because a conflicting RRSet of type  CNAME with the same DNS name already exists in zone example.org.",
        ),
        (
            "CNAME at the apex",
            create(set("example.org", "CNAME", 60, &["x.example.com"])),
            BATCH,
            "is not permitted at apex in zone example.org.",
        ),
        (
            "multivalue beside simple",
            create(set_with("www.example.org", "A", &multivalue("i-2"), 60, &["192.0.2.3"])),
            BATCH,
            "cannot be created because a non multivalue answer rrset exists with the same name and type.",
        ),
        (
            "simple beside multivalue",
            create(a("several.example.org", "192.0.2.3")),
            BATCH,
            "cannot be created because a multivalue answer rrset exists with the same name and type.",
        ),
        (
            "weighted beside multivalue",
            create(set_with("several.example.org", "A", weight, 60, &["192.0.2.3"])),
            BATCH,
            "cannot be created because a non weighted rrset exists",
        ),
        (
            "the zone's NS",
            vec![change(
                "DELETE",
                &set("example.org", "NS", 172_800, &["ns-1.awsdns.test.", "ns-2.awsdns.test."]),
            )],
            BATCH,
            "A HostedZone must contain at least one NS record for the zone itself.",
        ),
        (
            "the zone's SOA",
            vec![change(
                "DELETE",
                &set(
                    "example.org",
                    "SOA",
                    900,
                    &["ns-1.awsdns.test. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"],
                ),
            )],
            BATCH,
            "A HostedZone must contain exactly one SOA record.",
        ),
        ("over 1,000 records", many, BATCH, "Number of records limit of 1000 exceeded."),
        (
            "over 1,000 records, UPSERT counted twice",
            upserts,
            BATCH,
            "Number of records limit of 1000 exceeded.",
        ),
        ("over 32,000 characters", wordy, BATCH, "RDATA character limit of 32000 exceeded."),
        (
            "no TTL",
            create(without_ttl.to_owned()),
            INPUT,
            "Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or TrafficPolicyInstanceId], \
             but found none in Change with [Action=CREATE, Name=x.example.org, Type=A, SetIdentifier=null]",
        ),
        (
            "alias and values",
            create(a("x.example.org", "192.0.2.1") + alias),
            INPUT,
            "TrafficPolicyInstanceId], but found more than one in Change with",
        ),
        ("no values", create(set("x.example.org", "A", 60, &[])), INPUT, "but found none in Change with"),
        ("a TTL too large", create(set("x.example.org", "A", 2_147_483_648, &["192.0.2.1"])), INPUT, "TTL"),
        (
            "a negative TTL",
            create(a("x.example.org", "192.0.2.1").replace(">60<", ">-1<")),
            INPUT,
            "Value '-1' of TTL is not in the range",
        ),
        (
            "a policy without a set identifier",
            create(set_with("x.example.org", "A", policy_only, 60, &["192.0.2.1"])),
            INPUT,
            "Missing field 'SetIdentifier' in Change with",
        ),
        (
            "a set identifier without a policy",
            create(set_with("x.example.org", "A", "<SetIdentifier>i</SetIdentifier>", 60, &["192.0.2.1"])),
            INPUT,
            "or CidrRoutingConfig], but found none in Change with",
        ),
        (
            "two policies",
            create(set_with(
                "x.example.org",
                "A",
                &format!("{weight}<MultiValueAnswer>true</MultiValueAnswer>"),
                60,
                &["192.0.2.1"],
            )),
            INPUT,
            "or CidrRoutingConfig], but found more than one in Change with",
        ),
        (
            "MultiValueAnswer false",
            create(set_with("x.example.org", "A", false_policy, 60, &["192.0.2.1"])),
            INPUT,
            "MultiValueAnswer cannot be 'false'",
        ),
        (
            "a weight over 255",
            create(set_with(
                "x.example.org",
                "A",
                "<SetIdentifier>w</SetIdentifier><Weight>256</Weight>",
                60,
                &["192.0.2.1"],
            )),
            INPUT,
            "Weight",
        ),
        ("an unknown action", vec![change("REPLACE", &a("x.example.org", "192.0.2.1"))], INPUT, "REPLACE"),
        ("an unknown type", create(set("x.example.org", "BOGUS", 60, &["x"])), INPUT, "BOGUS"),
        (
            "an unknown element",
            create(a("x.example.org", "192.0.2.1") + "<Colour>red</Colour>"),
            INPUT,
            "'Colour'",
        ),
        ("an element twice", create(a("x.example.org", "192.0.2.1") + "<TTL>60</TTL>"), INPUT, "'TTL'"),
        ("no name", create(a("x", "192.0.2.1").replace("<Name>x</Name>", "")), INPUT, "'Name' is expected"),
        ("no changes", vec![], INPUT, "Member must have length greater than or equal to 1"),
    ]
}
