//! What is shipped beside the binaries says the same as the binaries: configuration files, the reference, manual pages,
//! completions, units, IAM policies, CloudWatch settings.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use plan::record::Name;
use serde_json::{Value, json};

use crate::templates::template;
use crate::{read, read_json, root, run, said};

const AGENTS: [&str; 2] = ["bbb-agent", "turn-agent"];

/// The commands that `--help` lists.
fn commands(agent: &str) -> Vec<String> {
    let help = said(agent, &["--help"]);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = listed.take_while(|line| line.is_empty() || line.starts_with(' '));
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<String> =
        names.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect();
    assert!(names.iter().any(|name| name == "register") && names.len() >= 6, "{help}");
    names
}

#[test]
fn the_configuration_file_as_shipped_asks_for_what_is_required_and_nothing_else() {
    for agent in AGENTS {
        let file = written(&read(format!("packaging/{agent}/config.toml")));
        let output = run(agent, &["hostname", "--config", file.1.to_str().expect("a path")]);
        let complaint = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{complaint}");
        let problems: Vec<&str> = complaint
            .lines()
            .filter_map(|line| line.trim().split_once(" is not set").map(|(key, _)| key))
            .collect();
        assert_eq!(problems, ["dns.zone_id", "dns.domain"], "{complaint}");
    }
}

/// Every line with a key is a valid setting once its `#` is removed. Only dns.hostname and dns.name exclude each other.
#[test]
fn every_key_of_the_configuration_file_can_be_uncommented() {
    for agent in AGENTS {
        let shipped = read(format!("packaging/{agent}/config.toml"));
        assert_valid(agent, &uncommented(&shipped, "name"));
        assert_valid(agent, &uncommented(&shipped, "hostname"));
        let (_, complaint) = hostname(agent, &uncommented(&shipped, ""));
        assert!(complaint.contains("dns.name: is set together with dns.hostname"), "{complaint}");
        assert_eq!(complaint.trim_end().lines().count(), 2, "that is the only problem: {complaint}");
    }
}

/// The file with all keys active but one.
fn uncommented(text: &str, but: &str) -> String {
    let is_key = |line: &&str| {
        let name = line.strip_prefix('#').and_then(|rest| rest.split_once(" = ")).map(|(name, _)| name);
        name.is_some_and(|name| {
            name != but && name.bytes().all(|byte| byte.is_ascii_lowercase() || b"_46".contains(&byte))
        })
    };
    let lines = text.lines().map(|line| if is_key(&line) { &line[1..] } else { line });
    let text = lines.collect::<Vec<_>>().join("\n");
    // The examples of waiting times are long; the one that is waited for here is not what is tested.
    text.replace("\nimds = 120", "\nimds = 1")
}

fn assert_valid(agent: &str, text: &str) {
    let (code, complaint) = hostname(agent, text);
    // 8: the configuration is good, and the metadata service does not answer.
    assert_eq!(code, Some(8), "{complaint}\n{text}");
}

fn hostname(agent: &str, text: &str) -> (Option<i32>, String) {
    let file = written(text);
    let output = run(agent, &["hostname", "--config", file.1.to_str().expect("a path")]);
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.toml");
    std::fs::write(&path, text).expect("a file");
    (directory, path)
}

#[test]
fn completions_know_every_command() {
    for agent in AGENTS {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let script = said(agent, &["completions", shell]);
            for command in commands(agent) {
                assert!(script.contains(&command), "{agent} completions {shell}: no {command}");
            }
        }
    }
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    for agent in AGENTS {
        let page = said(agent, &["man"]);
        let directory = tempfile::tempdir().expect("a directory");
        said(agent, &["man", "--dir", directory.path().to_str().expect("a path")]);
        for command in commands(agent) {
            // Manual pages escape hyphens.
            assert!(
                page.replace('\\', "").contains(&format!("{agent}-{command}(1)")),
                "{agent}(1): no {command}"
            );
            let own = directory.path().join(format!("{agent}-{command}.1"));
            let own =
                std::fs::read_to_string(&own).unwrap_or_else(|error| panic!("{}: {error}", own.display()));
            assert!(own.starts_with(".ie") || own.contains(".TH"), "{own}");
        }
        assert!(directory.path().join(format!("{agent}.1")).is_file());
    }
}

/// The values of a unit's key.
fn settings(unit: &str, key: &str) -> Vec<String> {
    let lines = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.map(str::to_owned).collect()
}

fn setting(unit: &str, key: &str) -> String {
    let values = settings(unit, key);
    assert_eq!(values.len(), 1, "{key} in {unit}");
    values[0].clone()
}

/// A default in the shipped configuration file, as TOML.
fn toml_default<'a>(config: &'a str, key: &str) -> &'a str {
    let found: Vec<&str> =
        config.lines().filter_map(|line| line.strip_prefix(&format!("#{key} = "))).collect();
    // A section tells keys of one name apart; those that are asked for are the last of theirs.
    found.last().unwrap_or_else(|| panic!("no {key}"))
}

fn default(config: &str, key: &str) -> u64 {
    toml_default(config, key).parse().expect("a number")
}

fn text_default(config: &str, key: &str) -> String {
    toml_default(config, key).trim_matches('"').to_owned()
}

#[test]
fn the_units_give_the_agents_the_time_that_they_may_take() {
    for agent in AGENTS {
        let unit = read(format!("systemd/{agent}.service"));
        let config = read(format!("packaging/{agent}/config.toml"));
        let limit: u64 = setting(&unit, "TimeoutStopSec").trim_end_matches('s').parse().expect("seconds");
        let needed = default(&config, "deregister");
        assert!(limit >= needed + 10, "{agent}: {limit} s is too short for timeouts.deregister = {needed}");
        assert_eq!(setting(&unit, "TimeoutStartSec"), "infinity", "{agent}: readiness may take any time");
    }
}

#[test]
fn the_units_run_commands_that_exist_and_know_the_exit_codes() {
    for (unit, agent) in [
        ("bbb-agent.service", "bbb-agent"),
        ("turn-agent.service", "turn-agent"),
        ("bbb-agent-settings@.service", "bbb-agent"),
        ("bbb-agent-addresses@.service", "bbb-agent"),
        ("turn-agent-settings@.service", "turn-agent"),
        ("turn-agent-addresses@.service", "turn-agent"),
        ("bbb-agent-certificate@.service", "bbb-agent"),
        ("turn-agent-certificate@.service", "turn-agent"),
    ] {
        let lines = settings(&read(format!("systemd/{unit}")), "ExecStart");
        // What follows runs outside of the confinement, as root: it is a fixed program with the agent's name.
        let more: &[&str] = match unit {
            "bbb-agent-addresses@.service" => &["+/usr/lib/bbb-agent/restart-for-addresses bbb-agent"],
            "turn-agent-addresses@.service" => &["+/usr/lib/turn-agent/restart-for-addresses turn-agent"],
            "bbb-agent-certificate@.service" => &["+/usr/lib/bbb-agent/use-certificate bbb-agent"],
            "turn-agent-certificate@.service" => &["+/usr/lib/turn-agent/use-certificate turn-agent"],
            _ => &[],
        };
        assert_eq!(lines[1..], *more, "{unit}");
        let line = &lines[0];
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some(format!("/usr/bin/{agent}").as_str()));
        let arguments: Vec<&str> = words.chain(["--help"]).collect();
        said(agent, &arguments);
    }
    for agent in AGENTS {
        let unit = read(format!("systemd/{agent}.service"));
        assert_eq!(setting(&unit, "RestartPreventExitStatus"), "2", "any other fault may pass");
        assert!(said(agent, &["--help"]).contains("\n  2  the command line or the configuration is wrong"));
    }
}

/// Users, directories and sockets have one name in the units, in the files that make them and in the agents' defaults.
#[test]
fn the_units_fit_their_users_directories_and_sockets() {
    for agent in AGENTS {
        let unit = read(format!("systemd/{agent}.service"));
        let user = setting(&unit, "User");
        let makes = read(format!("systemd/sysusers.d/{agent}.conf"));
        let made: Vec<&str> = makes.lines().filter_map(|line| line.strip_prefix("u ")).collect();
        // The user of the service is the first; the others are those of its helpers.
        let users: Vec<&str> = made.iter().filter_map(|line| line.split(' ').next()).collect();
        let helpers = ["settings", "addresses", "certificate"];
        let helpers = helpers.iter().map(|helper| read(format!("systemd/{agent}-{helper}@.service")));
        let helpers = helpers.map(|unit| setting(&unit, "User"));
        assert_eq!(users, std::iter::once(user).chain(helpers).collect::<Vec<_>>(), "{makes}");
        let directory = text_default(&read(format!("packaging/{agent}/config.toml")), "directory");
        assert_eq!(directory, format!("/run/{}", setting(&unit, "RuntimeDirectory")), "service.directory");
        assert_eq!(setting(&unit, "RuntimeDirectoryPreserve"), "yes");
    }
    for (agent, helper, key) in [
        ("bbb-agent", "settings", "reader"),
        ("bbb-agent", "addresses", "repairer"),
        ("bbb-agent", "certificate", "installer"),
        ("turn-agent", "settings", "reader"),
        ("turn-agent", "addresses", "repairer"),
        ("turn-agent", "certificate", "installer"),
    ] {
        let unit = read(format!("systemd/{agent}.service"));
        let name = format!("{agent}-{helper}.socket");
        let socket = read(format!("systemd/{name}"));
        let path = text_default(&read(format!("packaging/{agent}/config.toml")), key);
        assert_eq!(setting(&socket, "ListenStream"), path, "{agent}: {key}");
        assert_eq!(setting(&socket, "SocketUser"), setting(&unit, "User"));
        assert_eq!(setting(&socket, "SocketMode"), "0600");
        for key in ["Wants", "After"] {
            let named = settings(&unit, key);
            assert!(named.iter().any(|names| names.split(' ').any(|unit| unit == name)), "{key}: {named:?}");
        }
    }
    // Each of them would keep the reader from being started while the host goes down.
    let socket = read("systemd/bbb-agent-settings.socket");
    let reader = read("systemd/bbb-agent-settings@.service");
    for unit in [&socket, &reader] {
        assert_eq!(setting(unit, "DefaultDependencies"), "no");
    }
    assert_eq!(setting(&reader, "Slice"), "system.slice");
    assert_eq!(settings(&reader, "PrivateTmp"), Vec::<String>::new());
}

/// The repair may write the files of BBB's that have the host's address or its name, and no directory but its own.
#[test]
fn the_repair_can_write_its_files_and_nothing_else() {
    let unit = read("systemd/bbb-agent-addresses@.service");
    let writable: BTreeSet<String> = settings(&unit, "ReadWritePaths").into_iter().collect();
    let addresses = plan::addresses::File::ALL.iter().map(|file| file.path());
    let files = addresses.chain(plan::image::FILES);
    assert_eq!(writable, files.map(|path| format!("-{path}")).collect());
    assert_eq!(setting(&unit, "ProtectSystem"), "strict");
    let state = setting(&unit, "StateDirectory");
    assert_eq!(state, "bbb-agent-addresses");
    let script = read("packaging/restart-for-addresses");
    assert!(script.contains("unfinished=/var/lib/$1-addresses/unfinished\n"), "{script}");
    // A TURN host has one of the files.
    let unit = read("systemd/turn-agent-addresses@.service");
    assert_eq!(settings(&unit, "ReadWritePaths"), ["-/etc/turnserver.conf"]);
    assert_eq!(setting(&unit, "StateDirectory"), "turn-agent-addresses");
}

/// The certificate lies in the directory of its unit, and root's part reads it from there as that unit's user.
#[test]
fn the_certificate_is_read_where_it_is_kept() {
    for agent in AGENTS {
        let unit = read(format!("systemd/{agent}-certificate@.service"));
        assert_eq!(setting(&unit, "StateDirectory"), format!("{agent}-certificate"));
        assert_eq!(setting(&unit, "User"), format!("{agent}-certificate"));
        assert_eq!(settings(&unit, "ReadWritePaths"), Vec::<String>::new());
    }
    let script = read("packaging/use-certificate");
    assert!(script.contains("kept=/var/lib/$agent-certificate/bundle.pem\n"), "{script}");
    assert!(script.contains("--reuid=\"$agent-certificate\""), "{script}");
}

#[test]
fn the_policies_grant_what_the_code_calls_and_nothing_else() {
    let mut called = calls();
    // Only hosts whose zone is in another account need this: see the next test.
    assert!(called.remove("sts:AssumeRole"), "{called:?}");
    assert!(called.contains("route53:ChangeResourceRecordSets"), "{called:?}");
    // Only BBB hosts have a Scalelite to tell a secret, and meetings to be protected for.
    let of_bbb_only =
        |call: &str| call.starts_with("secretsmanager:") || call.starts_with("autoscaling:SetInstance");
    let of_turn: BTreeSet<String> = called.iter().filter(|call| !of_bbb_only(call)).cloned().collect();
    for (agent, needed) in [("bbb-agent", &called), ("turn-agent", &of_turn)] {
        let policy = read_json(&format!("packaging/iam/{agent}.json"));
        let statements = policy["Statement"].as_array().expect("statements").iter();
        let (statements, denying): (Vec<_>, Vec<_>) =
            statements.partition(|statement| statement["Effect"] == "Allow");
        let denied: Vec<&str> = denying.iter().filter_map(|statement| statement["Sid"].as_str()).collect();
        assert_eq!(denied, ["LeaveFurtherLabels"], "{agent}");
        let granted: Vec<&str> =
            statements.iter().flat_map(|statement| texts(&statement["Action"])).collect();
        let different: BTreeSet<String> = granted.iter().map(|action| (*action).to_owned()).collect();
        assert_eq!(different, *needed, "{agent}");
        assert_eq!(granted.len(), different.len(), "{agent}: no action is granted twice");
        let everywhere = statements.iter().filter(|statement| statement["Resource"] == "*");
        let everywhere: Vec<&str> = everywhere.flat_map(|statement| texts(&statement["Action"])).collect();
        assert_eq!(
            everywhere,
            [
                "ec2:DescribeInstances",
                "autoscaling:DescribeAutoScalingInstances",
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeLifecycleHooks",
                "cloudwatch:PutMetricData",
            ],
            "EC2, Auto Scaling and CloudWatch know no resources for them; all others have one"
        );
    }
}

/// Whoever registers the name of a bucket that is no more must not become root on the hosts.
#[test]
fn releases_come_from_a_bucket_of_the_right_account() {
    let fetch = json!({
        "Sid": "FetchRelease",
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": "arn:${Partition}:s3:::${Bucket}/agents/*",
        "Condition": { "StringEquals": { "aws:ResourceAccount": "${BucketOwner}" } },
    });
    assert_eq!(read_json("packaging/iam/install.json")["Statement"], json!([fetch]));
}

/// A host that uses one more secret needs one more policy, by which it may read no other.
#[test]
fn each_further_secret_needs_one_more_policy() {
    let rows = [
        ("certificate", "ReadCertificate", "${CertificateSecretArn}"),
        ("turn-secret", "ReadTurnSecret", "${TurnSecretArn}"),
    ];
    for (policy, sid, secret) in rows {
        let read_it = json!({
            "Sid": sid,
            "Effect": "Allow",
            "Action": "secretsmanager:GetSecretValue",
            "Resource": secret,
        });
        assert_eq!(read_json(&format!("packaging/iam/{policy}.json"))["Statement"], json!([read_it]));
    }
}

/// A host can tell its own stack that it is ready, or that it is not, and no other one.
#[test]
fn user_data_may_signal_its_stack() {
    let signal = json!({
        "Sid": "SignalOwnStack",
        "Effect": "Allow",
        "Action": "cloudformation:SignalResource",
        "Resource": "arn:${Partition}:cloudformation:${Region}:${Account}:stack/${Stack}/*",
    });
    assert_eq!(read_json("packaging/iam/signal.json")["Statement"], json!([signal]));
    let mut called = Vec::new();
    for role in ["bbb", "turn"] {
        let script = read(format!("packaging/userdata/{role}-host.sh"));
        let words: Vec<&str> = script.split_whitespace().collect();
        for call in words.windows(4).filter(|words| words[0] == "tell" && words[2].starts_with("20")) {
            called.push(format!("{}:{}", call[1], call[3]));
        }
    }
    let expected = ["autoscaling:SetInstanceProtection", "cloudformation:SignalResource"];
    assert_eq!(called, [expected, expected].concat());
    assert!(read("packaging/iam/bbb-agent.json").contains(expected[0]));
}

/// What UserData needs only with some parameters is limited to what they name.
#[test]
fn further_policies_are_limited_to_what_is_named() {
    let only = |name: &str| read_json(&format!("packaging/iam/{name}.json"))["Statement"][0].clone();
    let keys = only("keys");
    let services = json!(["secretsmanager.${Region}.${UrlSuffix}", "s3.${Region}.${UrlSuffix}"]);
    assert_eq!((&keys["Action"], &keys["Resource"]), (&json!("kms:Decrypt"), &json!("${KeyArn}")));
    assert_eq!(keys["Condition"], json!({ "StringEquals": { "kms:ViaService": services } }));
    let spool = only("spool");
    assert_eq!(spool["Action"], json!(["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]));
    let point = "arn:${Partition}:elasticfilesystem:${Region}:${Account}:access-point/${AccessPointId}";
    let condition = json!({ "StringEquals": { "elasticfilesystem:AccessPointArn": point } });
    assert_eq!(spool["Condition"], condition);
    assert!(spool["Resource"].as_str().unwrap().ends_with(":file-system/${FileSystemId}"));
    let logs = only("logs");
    assert!(logs["Resource"].as_str().unwrap().ends_with(":log-group:${LogGroup}/*"));
    // The role of the AWS sample's file system has to have a tag.
    let tags = &template("packaging/cloudformation/fleet.yaml")["Resources"]["Role"]["Properties"]["Tags"];
    let tag = json!({ "Key": "Name", "Value": { "Fn::Sub": "${AWS::StackName}-BBBApplicationStack" } });
    assert_eq!(tags[0]["Fn::If"], json!(["HasFileSystem", tag, { "Ref": "AWS::NoValue" }]));
}

/// A host assumes one role, which trusts that host's role alone, and with an external id.
#[test]
fn a_zone_in_another_account_needs_two_more_policies() {
    let assume = json!({
        "Sid": "AssumeZoneRole",
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Resource": "${ZoneRoleArn}",
    });
    assert_eq!(read_json("packaging/iam/zone-role.json")["Statement"], json!([assume]));
    let trust = json!({
        "Sid": "TrustHosts",
        "Effect": "Allow",
        "Principal": { "AWS": "${HostRoleArn}" },
        "Action": "sts:AssumeRole",
        "Condition": { "StringEquals": { "sts:ExternalId": "${ExternalId}" } },
    });
    assert_eq!(read_json("packaging/iam/zone-role-trust.json")["Statement"], json!([trust]));
    // The README names the statements that the role itself needs: all that are about Route 53.
    for agent in AGENTS {
        let policy = read_json(&format!("packaging/iam/{agent}.json"));
        let statements = policy["Statement"].as_array().expect("statements");
        let of_zone = statements.iter().filter(|statement| {
            texts(&statement["Action"]).iter().all(|action| action.starts_with("route53:"))
        });
        let names: Vec<&str> = of_zone.filter_map(|statement| statement["Sid"].as_str()).collect();
        assert_eq!(names, ["ChangeOwnRecordSets", "LeaveFurtherLabels", "ReadZone", "FollowChanges"]);
    }
    let readme = read("packaging/iam/README.md").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(readme.contains("`ChangeOwnRecordSets`, `LeaveFurtherLabels`, `ReadZone` and `FollowChanges`"));
}

/// A batch with a share has the host's own names too, and one statement has to allow all of them.
#[test]
fn a_shared_name_needs_one_more_policy() {
    let mut statement = read_json("packaging/iam/turn-agent.json")["Statement"][0].clone();
    assert_eq!(statement["Sid"], "ChangeOwnRecordSets");
    statement["Sid"] = json!("ChangeOwnShare");
    let names = "route53:ChangeResourceRecordSetsNormalizedRecordNames";
    let names = statement["Condition"]["ForAllValues:StringLike"][names].as_array_mut().expect("names");
    names.push(json!("${SharedName}"));
    assert_eq!(read_json("packaging/iam/shared-name.json")["Statement"], json!([statement]));
}

/// The AWS operations that the code calls: methods without arguments of what is called a client, in files that use one of
/// the SDK's crates.
fn calls() -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    for file in rust_files(&root().join("agents/clients/src")) {
        let text: String = std::fs::read_to_string(&file).expect("a file").split_whitespace().collect();
        let crates = text.split("aws_sdk_").skip(1).filter_map(|rest| rest.split("::").next());
        let crates: BTreeSet<&str> = crates.collect();
        for method in
            text.split("client.").skip(1).filter_map(|rest| rest.split_once("()")).map(|(name, _)| name)
        {
            let named =
                method.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && method.contains('_');
            if named && !crates.is_empty() {
                assert_eq!(crates.len(), 1, "{}: whose is {method}?", file.display());
                calls.extend(crates.iter().map(|service| format!("{service}:{}", camel(method))));
            }
        }
    }
    calls
}

fn camel(method: &str) -> String {
    method.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    let (directories, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
    let below = directories.iter().flat_map(|directory| rust_files(directory));
    files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .chain(below)
        .collect()
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect(),
    }
}

/// The patterns of the policies are made of the default names, and the changes are those that the code makes. What they
/// allow and forbid is in a table of `policies`.
#[test]
fn the_policies_conditions_fit_the_record_sets_of_the_default_names() {
    for agent in AGENTS {
        let config = read(format!("packaging/{agent}/config.toml"));
        let template = config.lines().find_map(|line| line.strip_prefix("#hostname = ")).expect("a template");
        let pattern = template.trim_matches('"').replace("{instance}", "*");
        let host = Name::host("host.example.org").expect("a name");
        let marked = host.ownership().to_string().replace("host.example.org", &pattern);
        let policy = read_json(&format!("packaging/iam/{agent}.json"));
        let (change, leave) = (&policy["Statement"][0], &policy["Statement"][1]);
        assert_eq!(change["Action"], "route53:ChangeResourceRecordSets");
        let names = "route53:ChangeResourceRecordSetsNormalizedRecordNames";
        let expected = json!([format!("{pattern}.${{Domain}}"), format!("{marked}.${{Domain}}")]);
        assert_eq!(change["Condition"]["ForAllValues:StringLike"][names], expected);
        let expected = json!([format!("{pattern}.*.${{Domain}}"), format!("{marked}.*.${{Domain}}")]);
        assert_eq!(leave["Condition"]["ForAnyValue:StringLike"][names], expected);
    }
    let source = read("agents/clients/src/aws/route53.rs");
    assert!(source.contains("ChangeAction::Create") && source.contains("ChangeAction::Delete"));
    assert!(!source.contains("Upsert"), "the policies do not allow UPSERT");
}

/// A role's metrics have one namespace in the agent's default, in its policy and in its group's alarms. The two roles'
/// differ, and a group of BBB hosts scales by its own.
#[test]
fn metrics_go_where_the_policies_allow_it() {
    let mut namespaces = Vec::new();
    for (agent, fleet) in AGENTS.into_iter().zip(["fleet", "turn"]) {
        let namespace = text_default(&read(format!("packaging/{agent}/config.toml")), "namespace");
        let policy = read_json(&format!("packaging/iam/{agent}.json"));
        let statements = policy["Statement"].as_array().expect("statements");
        let send = statements.iter().find(|statement| statement["Action"] == "cloudwatch:PutMetricData");
        let expected = json!({ "StringEquals": { "cloudwatch:namespace": namespace } });
        assert_eq!(send.expect("a statement")["Condition"], expected);
        let template = template(&format!("packaging/cloudformation/{fleet}.yaml"));
        assert_eq!(template["Resources"]["Monitoring"]["Properties"]["Parameters"]["Namespace"], namespace);
        namespaces.push(namespace);
    }
    assert_ne!(namespaces[0], namespaces[1]);
    assert_eq!(template("cloudwatch/scaling.yaml")["Parameters"]["Namespace"]["Default"], namespaces[0]);
    // The alarms do not guess: with the other role's namespace they would see nothing.
    assert_eq!(template("cloudwatch/monitoring.yaml")["Parameters"]["Namespace"]["Default"], Value::Null);
}

#[test]
fn cloudwatch_gets_the_journal_of_the_units() {
    for agent in AGENTS {
        let settings = read_json(&format!("cloudwatch/{agent}.json"));
        let collected = &settings["logs"]["logs_collected"];
        let expected = json!([{
            "log_group_name": "SYSTEMLOGS_PLACEHOLDER",
            "log_stream_name": format!("{{instance_id}}-{agent}"),
            "units": [format!("{agent}.service")],
            "retention_in_days": 7,
        }]);
        assert_eq!(collected["journald"]["collect_list"], expected);
        assert!(!read(format!("systemd/{agent}.service")).is_empty());
        let mut streams = BTreeSet::new();
        for (kind, what, known) in LOG_KEYS {
            let entries = collected[kind]["collect_list"].as_array().expect("a list");
            let mut sources = BTreeSet::new();
            for entry in entries {
                let keys = entry.as_object().expect("an entry").keys();
                assert!(keys.clone().all(|key| known.contains(&key.as_str())), "{entry}");
                let group = entry["log_group_name"].as_str().expect("a group");
                assert!(
                    ["SYSTEMLOGS_PLACEHOLDER", "APPLICATIONLOGS_PLACEHOLDER"].contains(&group),
                    "{entry}"
                );
                // A group has one retention, whoever sets it last.
                assert_eq!(entry["retention_in_days"], 7, "{entry}");
                assert!(sources.insert(entry[what].to_string()), "{entry}: it is collected twice");
                assert!(streams.insert(entry["log_stream_name"].to_string()), "{entry}: one stream, one log");
            }
        }
    }
}

/// The keys that the CloudWatch agent's own schema knows for each kind of log (translator/config/schema.json in its sources);
/// it refuses a file with any other.
const LOG_KEYS: [(&str, &str, &[&str]); 2] = [
    (
        "files",
        "file_path",
        &["file_path", "log_group_name", "log_stream_name", "timestamp_format", "retention_in_days"],
    ),
    ("journald", "units", &["units", "log_group_name", "log_stream_name", "retention_in_days"]),
];

/// CloudWatch agents that cannot read the journal refuse a file that names it; they find the same in syslog's.
#[test]
fn older_cloudwatch_agents_get_all_but_the_journal() {
    for agent in AGENTS {
        let mut settings = read_json(&format!("cloudwatch/{agent}.json"));
        settings["logs"]["logs_collected"].as_object_mut().expect("logs").remove("journald");
        assert_eq!(read_json(&format!("cloudwatch/{agent}-syslog.json")), settings);
        let files = settings["logs"]["logs_collected"]["files"]["collect_list"].as_array().expect("a list");
        assert!(files.iter().any(|entry| entry["file_path"] == "/var/log/syslog"));
    }
}
