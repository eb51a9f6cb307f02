//! What the shipped policies, and those of the templates, allow and forbid, by table.
//!
//! [`iam`] evaluates them as AWS documents it. No emulator does: MiniStack, which runs the agents under these policies
//! (`tests/e2e`), gives its requests none of Route 53's condition keys.

mod iam;

use iam::{Policy, Request};
use serde_json::Value;

use crate::read_json;
use crate::templates::{role_policies, single_policies};

const DOMAIN: &str = "bbb.example.org";
const ZONE: &str = "arn:aws:route53:::hostedzone/Z0123456789EXAMPLE";
const NAMES: &str = "route53:ChangeResourceRecordSetsNormalizedRecordNames";
const TYPES: &str = "route53:ChangeResourceRecordSetsRecordTypes";
const ACTIONS: &str = "route53:ChangeResourceRecordSetsActions";

/// A role's policy as shipped and as in its template; the prefix of its hosts' names; that of the other role.
fn policies() -> Vec<(String, Policy, &'static str, &'static str)> {
    let roles = [
        ("packaging/iam/bbb-agent.json", "packaging/cloudformation/fleet.yaml", "vc", "tu"),
        ("packaging/iam/turn-agent.json", "packaging/cloudformation/turn.yaml", "tu", "vc"),
    ];
    let both = |(file, template, own, other)| {
        let in_template = role_policies(template).remove("agent").expect("a policy");
        [(file, read_json(file), own, other), (template, in_template, own, other)]
    };
    roles
        .into_iter()
        .flat_map(both)
        .map(|(path, document, own, other)| (path.to_owned(), policy(&document), own, other))
        .collect()
}

/// The policy with its placeholders filled in.
fn policy(document: &Value) -> Policy {
    let mut text = document.to_string();
    let values = [
        ("Partition", "aws"),
        ("AWS::Partition", "aws"),
        ("HostedZoneId", "Z0123456789EXAMPLE"),
        ("Domain", DOMAIN),
        ("SharedName", "turn.bbb.example.org"),
    ];
    for (placeholder, value) in values {
        text = text.replace(&format!("${{{placeholder}}}"), value);
    }
    Policy::parse(&serde_json::from_str(&text).expect("JSON"))
}

/// A change of record sets, as Route 53 describes it to IAM: all names of the batch in lower case without the final dot,
/// other characters than letters, digits, hyphen, underscore and dot as octal numbers; all its types; all its actions.
fn change(names: &[&str], types: &[&str], actions: &[&str]) -> Request {
    let request = Request::new("route53:ChangeResourceRecordSets", ZONE);
    request.with(NAMES, names).with(TYPES, types).with(ACTIONS, actions)
}

/// `OWN` is the prefix of the role's hosts, `OTHER` that of the other role's. All names are below the domain.
const NAMES_OF_BATCHES: [(&[&str], bool, &str); 27] = [
    (&["OWN-0123456789abcdef0", "_agent.OWN-0123456789abcdef0"], true, "the host's own"),
    (
        &["OWN-fedcba9876543210f", "_agent.OWN-fedcba9876543210f"],
        true,
        "a sibling's: IAM cannot tell hosts apart",
    ),
    (&["OWN-login"], true, "one label that begins like a host's"),
    (&["OWN-x._domainkey"], false, "a key for mail that is signed by the domain"),
    (&["OWN-login.portal"], false, "a name below another one"),
    (&["OWN-x.OWN-0123456789abcdef0"], false, "a name below a host's"),
    (&["OWN-a.b.c"], false, "two more labels"),
    (&["OWN-.x"], false, "an empty rest of the first label"),
    (&["_agent.OWN-x._domainkey"], false, "further labels behind the mark"),
    (&["_agent.OWN-x.OWN-y"], false, "a mark below a host's name"),
    (&["OWN-0123456789abcdef0", "OWN-x._domainkey"], false, "one of both would be allowed"),
    (&["OWN-x._domainkey", "OWN-0123456789abcdef0"], false, "in the other order too"),
    (&["OWN-0123456789abcdef0", "www"], false, "one of both is foreign"),
    (&["OTHER-0123456789abcdef0"], false, "the other role's"),
    (&["_agent.OTHER-0123456789abcdef0"], false, "the other role's mark"),
    (&["www"], false, "anything else in the domain"),
    (&["_dmarc"], false, "a policy for mail"),
    (&["_acme-challenge.OWN-0123456789abcdef0"], false, "the proof for a certificate"),
    (&["_agent"], false, "the mark of nothing"),
    (&["x.OWN-0123456789abcdef0"], false, "a label before a host's name"),
    (&["xOWN-0123456789abcdef0"], false, "a longer label"),
    (&["\\052.OWN-0123456789abcdef0"], false, "a wildcard below a host's name"),
    (&["\\052"], false, "a wildcard"),
    (&["turn"], false, "a name that TURN hosts share: it needs shared-name.json"),
    (&["_agent.turn"], false, "its mark"),
    (&["_agent.OWN-0123456789abcdef0.turn"], false, "a mark of one host below it"),
    (&[""], false, "the domain itself"),
];

#[test]
fn the_names_that_a_role_may_change() {
    for (path, policy, own, other) in policies() {
        for (names, allowed, what) in NAMES_OF_BATCHES {
            let names = names.iter().map(|name| {
                let name = name.replace("OWN", own).replace("OTHER", other);
                format!("{name}.{DOMAIN}").trim_start_matches('.').to_owned()
            });
            let names: Vec<String> = names.collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            for kind in ["A", "AAAA", "TXT"] {
                for action in ["CREATE", "DELETE"] {
                    let found = policy.allows(&change(&names, &[kind], &[action]));
                    assert_eq!(found, allowed, "{path}: {action} {kind} {names:?}: {what}");
                }
            }
        }
        // Another domain whose name only ends or begins like this one.
        for name in [format!("{own}-1.x{DOMAIN}"), format!("{own}-1.{DOMAIN}.evil.org"), "example.org".into()]
        {
            assert!(!policy.allows(&change(&[&name], &["A"], &["CREATE"])), "{path}: {name}");
        }
    }
}

/// A single server changes its own name and no other.
#[test]
fn the_names_that_a_single_server_may_change() {
    let text = single_policies().remove("agent").expect("a policy").to_string();
    let policy = policy(&serde_json::from_str(&text.replace("${ServerName}", "meet")).expect("JSON"));
    for (names, allowed) in [
        (&["meet", "_agent.meet"][..], true),
        (&["meet"], true),
        (&["meet", "www"], false),
        (&["meets"], false),
        (&["vc-0123456789abcdef0"], false),
        (&["_agent.vc-0123456789abcdef0"], false),
        (&["x.meet"], false),
        (&["meet.x"], false),
        (&["_acme-challenge.meet"], false),
    ] {
        let names: Vec<String> = names.iter().map(|name| format!("{name}.{DOMAIN}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(policy.allows(&change(&names, &["A"], &["CREATE"])), allowed, "{names:?}");
    }
}

/// The policy of a TURN host with a shared name, as shipped and as in the template.
fn sharing() -> Vec<(&'static str, Policy)> {
    let both = |mut policy: Value, more: Value| {
        let statements = policy["Statement"].as_array_mut().expect("statements");
        statements.extend(more["Statement"].as_array().expect("statements").clone());
        self::policy(&policy)
    };
    let shipped =
        both(read_json("packaging/iam/turn-agent.json"), read_json("packaging/iam/shared-name.json"));
    let mut of = role_policies("packaging/cloudformation/turn.yaml");
    let mut take = |name: &str| of.remove(name).expect("a policy");
    vec![("packaging/iam", shipped), ("turn.yaml", both(take("agent"), take("shared-name")))]
}

#[test]
fn the_names_that_a_turn_host_with_a_shared_name_may_change() {
    let rows: [(&[&str], bool, &str); 14] = [
        (&["tu-0123456789abcdef0", "turn", "_agent.tu-0123456789abcdef0"], true, "a host's whole batch"),
        (&["tu-0123456789abcdef0", "_agent.tu-0123456789abcdef0"], true, "without a share"),
        (&["turn"], true, "a share alone: a sweep"),
        (&["_agent.turn"], false, "a mark of the shared name, which has none"),
        (&["x.turn"], false, "a name below it"),
        (&["xturn"], false, "a longer label"),
        (&["\\052.turn"], false, "a wildcard below it"),
        (&["turn", "www"], false, "one of both is foreign"),
        (&["turn", "vc-0123456789abcdef0"], false, "the other role's"),
        (&["turn", "tu-x._domainkey"], false, "a further label beside it"),
        (&["tu-x._domainkey"], false, "and alone"),
        (&["_dmarc"], false, "a policy for mail"),
        (&["_acme-challenge.turn"], false, "the proof for a certificate"),
        (&[""], false, "the domain itself"),
    ];
    for (path, policy) in sharing() {
        for (names, allowed, what) in rows {
            let names: Vec<String> = names
                .iter()
                .map(|name| format!("{name}.{DOMAIN}").trim_start_matches('.').to_owned())
                .collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            for action in ["CREATE", "DELETE"] {
                let found = policy.allows(&change(&names, &["A", "AAAA", "TXT"], &[action]));
                assert_eq!(found, allowed, "{path}: {action} {names:?}: {what}");
            }
            assert!(!policy.allows(&change(&names, &["A"], &["UPSERT"])), "{path}: {what}");
            assert!(!policy.allows(&change(&names, &["CNAME"], &["CREATE"])), "{path}: {what}");
        }
        let share = change(&["turn.bbb.example.org"], &["A"], &["CREATE"]);
        for key in [NAMES, TYPES, ACTIONS] {
            assert!(!policy.allows(&share.clone().without(key)), "{path}: without {key}");
        }
        assert!(!policy.allows(&share.of("arn:aws:route53:::hostedzone/ZOTHER")), "{path}: another zone");
    }
}

#[test]
fn the_types_and_actions_that_a_role_may_use() {
    let rows: [(&[&str], &[&str], bool); 13] = [
        (&["A"], &["CREATE"], true),
        (&["AAAA"], &["DELETE"], true),
        (&["A", "AAAA", "TXT"], &["DELETE", "CREATE"], true),
        (&["A"], &["UPSERT"], false),
        (&["A"], &["CREATE", "UPSERT"], false),
        (&["CNAME"], &["CREATE"], false),
        (&["NS"], &["CREATE"], false),
        (&["MX"], &["CREATE"], false),
        (&["CAA"], &["CREATE"], false),
        (&["SOA"], &["CREATE"], false),
        (&["PTR"], &["DELETE"], false),
        (&["SVCB"], &["CREATE"], false),
        (&["A", "NS"], &["CREATE"], false),
    ];
    for (path, policy, own, _) in policies() {
        let name = format!("{own}-0123456789abcdef0.{DOMAIN}");
        for (types, actions, allowed) in rows {
            let found = policy.allows(&change(&[&name], types, actions));
            assert_eq!(found, allowed, "{path}: {actions:?} {types:?}");
        }
        let elsewhere = change(&[&name], &["A"], &["CREATE"]).of("arn:aws:route53:::hostedzone/ZOTHER");
        assert!(!policy.allows(&elsewhere), "{path}: another zone");
    }
}

/// `ForAllValues` is true of a key that the request does not have.
#[test]
fn a_change_that_does_not_say_what_it_changes_is_refused() {
    for (path, policy, own, _) in policies() {
        let name = format!("{own}-0123456789abcdef0.{DOMAIN}");
        let whole = change(&[&name], &["A"], &["CREATE"]);
        assert!(policy.allows(&whole), "{path}");
        for key in [NAMES, TYPES, ACTIONS] {
            assert!(!policy.allows(&whole.clone().without(key)), "{path}: without {key}");
        }
        assert!(!policy.allows(&Request::new("route53:ChangeResourceRecordSets", ZONE)), "{path}");
    }
}

/// A TURN host must not be able to steer the group of BBB hosts, which scales by a metric of theirs.
#[test]
fn the_namespaces_that_a_role_may_write_metrics_into() {
    for (path, policy, own, _) in policies() {
        let put = Request::new("cloudwatch:PutMetricData", "*");
        let rows = [
            ("BigBlueButton", own == "vc"),
            ("BigBlueButton/TURN", own == "tu"),
            ("bigbluebutton", false),
            ("BigBlueButton/", false),
            ("AWS/EC2", false),
            ("", false),
        ];
        for (namespace, allowed) in rows {
            let found = policy.allows(&put.clone().with("cloudwatch:namespace", &[namespace]));
            assert_eq!(found, allowed, "{path}: {namespace:?}");
        }
        assert!(!policy.allows(&put), "{path}: no namespace");
    }
}
