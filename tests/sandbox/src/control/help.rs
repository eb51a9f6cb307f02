//! What `GET /` answers: every call with an example.

use std::fmt::Write as _;

/// Method, path, an example body, and what it does.
pub(super) const CALLS: &[(&str, &str, &str, &str)] = &[
    ("GET", "/state", "", "everything at once"),
    ("GET", "/requests", "", "the requests so far, with a tally"),
    ("DELETE", "/requests", "", "forget them"),
    ("GET", "/faults", "", "planned faults"),
    (
        "POST",
        "/faults",
        r#"{"service":"route53","kind":"error","status":400,"code":"Throttling","times":3}"#,
        "kinds: error, error_after, close, lose_reply, hang; optional: action, times",
    ),
    ("DELETE", "/faults?service=route53", "", "forget the faults of a service, or all"),
    ("POST", "/gate/scalelite/close", "", "refuse connections"),
    ("POST", "/gate/scalelite/open", "", "accept them again"),
    ("POST", "/clock/advance", r#"{"seconds":600}"#, "let time pass for lifecycle hooks and IMDS tokens"),
    ("GET", "/imds", "", "what the instance is told (?host=i-... for another host)"),
    ("PATCH", "/imds", r#"{"public_ipv4":"203.0.113.99"}"#, "change it; null removes"),
    ("POST", "/imds/expire-tokens", "", "all IMDS tokens end"),
    ("POST", "/imds/disable", "", "IMDS answers 403"),
    ("POST", "/imds/enable", "", "and again not"),
    ("POST", "/spot", r#"{"action":"terminate","seconds":120}"#, "a spot interruption notice"),
    ("DELETE", "/spot", "", "take it back"),
    ("POST", "/rebalance", "", "a rebalance recommendation"),
    ("DELETE", "/rebalance", "", "take it back"),
    ("POST", "/hosts", r#"{"number":2}"#, "add a host; optional: installed, group (null: none)"),
    ("GET", "/instances", "", "all instances"),
    ("POST", "/instances/i-0123456789abcd002/hide", "", "DescribeInstances does not know it yet"),
    ("POST", "/instances/i-0123456789abcd002/reveal", "", "now it does"),
    ("PUT", "/instances/i-0123456789abcd002/lifecycle", r#"{"state":"Standby"}"#, "any lifecycle state"),
    ("POST", "/instances/i-0123456789abcd002/terminate", "", "the group ends it: a hook holds it"),
    ("POST", "/instances/i-0123456789abcd002/shut-down", "", "EC2 ends it"),
    ("POST", "/instances/i-0123456789abcd002/finish", "", "it is gone"),
    ("GET", "/groups", "", "the Auto Scaling groups"),
    (
        "PUT",
        "/groups/bbb-fleet/hooks/drain",
        r#"{"transition":"autoscaling:EC2_INSTANCE_TERMINATING","heartbeat_timeout":300,"default_result":"CONTINUE"}"#,
        "add or replace a lifecycle hook",
    ),
    ("POST", "/groups/scale-in", "", "one instance less (/groups/NAME/scale-in for another group)"),
    ("DELETE", "/groups/bbb-fleet/hooks/drain", "", "remove a hook"),
    ("POST", "/credentials/rotate", r#"{"role":"bbb-fleet-host"}"#, "IMDS hands out new keys"),
    ("POST", "/credentials/expire", r#"{"role":"bbb-fleet-host"}"#, "the current keys end at once"),
    ("GET", "/denied", "", "what IAM denies"),
    ("PUT", "/denied/route53:ChangeResourceRecordSets", "", "deny it"),
    ("DELETE", "/denied/route53:ChangeResourceRecordSets", "", "allow it again"),
    ("GET", "/secrets", "", "Secrets Manager, without the values"),
    ("PUT", "/secrets/turn", "the value, as it is", "a secret"),
    ("DELETE", "/secrets/turn", "", "mark it for deletion"),
    ("GET", "/metrics", "", "what CloudWatch got"),
    ("DELETE", "/metrics", "", "forget it"),
    ("GET", "/records", "", "the record sets (?zone=Z... for another zone)"),
    (
        "PUT",
        "/records",
        r#"{"name":"www.example.org","type":"A","ttl":60,"values":["203.0.113.7"]}"#,
        "put one as somebody else would",
    ),
    (
        "DELETE",
        "/records?name=www.example.org&type=A",
        "",
        "remove one as somebody else would (&identifier=...)",
    ),
    ("GET", "/changes", "", "the accepted change batches"),
    (
        "PUT",
        "/throttle",
        r#"{"requests":{"capacity":5,"per_second":5},"changes":{"capacity":1000,"per_second":100}}"#,
        "Route 53's buckets; null switches throttling off",
    ),
    ("POST", "/processing/hold", "", "PriorRequestNotComplete from now on"),
    ("POST", "/processing/finish", "", "no longer"),
    ("GET", "/dns", "", "questions to the name servers and the resolver"),
    ("DELETE", "/dns", "", "forget the name servers' questions"),
    ("PUT", "/dns/0/propagation", r#""held""#, r#""immediate", "held" or {"after":{"secs":5,"nanos":0}}"#),
    ("POST", "/dns/0/release", "", "what was held arrives"),
    ("PUT", "/dns/0/behaviour", r#""silent""#, "answer, silent, refuse or fail"),
    ("POST", "/dns/flush", "", "the resolver forgets what was absent"),
    ("GET", "/scalelite", "", "Scalelite's servers and meetings"),
    (
        "POST",
        "/scalelite/servers",
        r#"{"url":"https://bbb9.example.org/bigbluebutton/api","secret":"s","state":"enabled"}"#,
        "an entry, as an operator adds one",
    ),
    ("POST", "/scalelite/poll", "", "one poll of all servers"),
    ("POST", "/scalelite/poll-begin", "", "the first half of one"),
    ("POST", "/scalelite/poll-end", "", "the second half"),
    ("POST", "/scalelite/hold", "", "stop changes between reading and committing"),
    ("POST", "/scalelite/release", "", "let them go on"),
    ("PUT", "/scalelite/refuse-panics", "3", "the next so many panics answer 400"),
    ("POST", "/scalelite/meetings", r#"{"id":"room 1"}"#, "a client creates a meeting"),
    ("POST", "/scalelite/join", r#"{"id":"room 1"}"#, "a client joins it"),
    ("PUT", "/scalelite/servers/ID/state", r#""cordoned""#, "enabled, cordoned or disabled"),
    ("DELETE", "/scalelite/servers/ID", "", "delete an entry behind the API's back"),
    ("GET", "/bbb", "", "the BBB host (?host=i-... for another)"),
    ("PUT", "/bbb/mode", r#""starting""#, "ready, starting or not_installed"),
    ("POST", "/bbb/uninstall", "", "no property files, no API"),
    ("POST", "/bbb/install", r#"{"secret":"another secret"}"#, "property files and API"),
    (
        "POST",
        "/bbb/meetings",
        r#"{"id":"room 2","participants":{"moderators":1,"viewers":2}}"#,
        "start a meeting",
    ),
    ("DELETE", "/bbb/meetings/room%202", "", "end it"),
    ("DELETE", "/bbb/meetings", "", "end all"),
];

pub(super) fn text(host: &str) -> String {
    let mut text = String::from("The sandbox's control API. JSON in and out.\n");
    for (method, path, body, what) in CALLS {
        let data = if body.is_empty() { String::new() } else { format!(" -d '{body}'") };
        let option = if *method == "GET" { String::new() } else { format!(" -X {method}") };
        // Writing to a string cannot fail.
        let _ = write!(text, "\n# {what}\ncurl -s{option} 'http://{host}{path}'{data}\n");
    }
    text
}
