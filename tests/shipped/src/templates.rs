//! The CloudFormation templates say the same as the code and as what is shipped beside them: permissions, UserData, metrics.
//!
//! That they are valid templates is cfn-lint's part (`tests/run`).

mod user_data;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use plan::instance::Role;
use plan::metrics::Metric;
use serde_json::{Map, Value, json};

pub(crate) use user_data::{parameters, user_data};

use crate::userdata::host_functions;
use crate::{read, root, tool};

/// The fleets' templates, with the role of their hosts.
const FLEETS: [(&str, &str, Role); 2] = [
    ("packaging/cloudformation/fleet.yaml", "bbb-agent", Role::Bbb),
    ("packaging/cloudformation/turn.yaml", "turn-agent", Role::Turn),
];
const MONITORING: &str = "cloudwatch/monitoring.yaml";
const SCALING: &str = "cloudwatch/scaling.yaml";

/// cfn-lint reads YAML with CloudFormation's short forms (`!Sub`) and resolves those to the long ones (`Fn::Sub`).
const TO_JSON: &str = "
import json, sys
from cfnlint.decode import decode
template, problems = decode(sys.argv[1])
assert not problems, problems
json.dump(template, sys.stdout)
";

pub(crate) fn template(path: &str) -> Value {
    let output = Command::new(tool("python")).args(["-c", TO_JSON]).arg(root().join(path)).output().unwrap();
    assert!(output.status.success(), "{path}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The properties of a template's resource.
fn resource<'a>(template: &'a Value, name: &str) -> &'a Value {
    let properties = &template["Resources"][name]["Properties"];
    assert!(properties.is_object(), "there is no {name}");
    properties
}

/// The value with references as the text that `Fn::Sub` would take: `{"Ref": "Domain"}` is `${Domain}`. It is that of a
/// fleet, or else that of a single server without a load balancer.
fn resolved(value: &Value, single: bool) -> Value {
    match value {
        Value::Object(fields) if fields.len() == 1 => match fields.iter().next().unwrap() {
            (name, Value::String(text)) if name == "Fn::Sub" => json!(text),
            (name, Value::Array(parts)) if name == "Fn::Sub" => {
                let mut text = parts[0].as_str().unwrap().to_owned();
                for (variable, value) in parts[1].as_object().unwrap() {
                    let value = resolved(value, single);
                    text = text.replace(&format!("${{{variable}}}"), value.as_str().unwrap());
                }
                json!(text)
            }
            (name, Value::String(target)) if name == "Ref" => json!(format!("${{{target}}}")),
            (name, Value::Array(parts)) if name == "Fn::If" && parts[0] == "IsSingle" => {
                resolved(&parts[if single { 1 } else { 2 }], single)
            }
            (name, Value::Array(parts)) if name == "Fn::If" && parts[0] == "HasScalelite" => {
                resolved(&parts[if single { 2 } else { 1 }], single)
            }
            // The parameter, or what counts where it is empty.
            (name, Value::Array(parts)) if name == "Fn::If" && parts[0] == "HasBucketOwner" => {
                json!(format!(
                    "${{{} or {}}}",
                    parts[1]["Ref"].as_str().unwrap(),
                    parts[2]["Ref"].as_str().unwrap()
                ))
            }
            (name, value) => json!({ name: resolved(value, single) }),
        },
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), resolved(value, single)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => {
            let items = items.iter().map(|item| resolved(item, single));
            items.filter(|item| *item != "${AWS::NoValue}").collect()
        }
        other => other.clone(),
    }
}

fn substituted(value: &Value) -> Value {
    resolved(value, false)
}

/// A policy of `packaging/iam` with the names that the templates have for its placeholders.
fn shipped_policy(name: &str) -> Value {
    let names = [
        ("Partition", "AWS::Partition"),
        ("Region", "AWS::Region"),
        ("Account", "AWS::AccountId"),
        ("Group", "AWS::StackName"),
        ("Stack", "AWS::StackName"),
        ("KeyArn", "KeyArns"),
        ("UrlSuffix", "AWS::URLSuffix"),
        ("SecretArn", "ScaleliteSecretArn"),
        ("BucketOwner", "BucketOwner or AWS::AccountId"),
    ];
    let mut text = read(format!("packaging/iam/{name}.json"));
    for (placeholder, name) in names {
        text = text.replace(&format!("${{{placeholder}}}"), &format!("${{{name}}}"));
    }
    serde_json::from_str(&text).unwrap()
}

/// The policies of the role of a fleet's hosts, by their names. Some are there under a condition only.
pub(crate) fn role_policies(path: &str) -> BTreeMap<String, Value> {
    policies_of(path, false)
}

/// Those of a single server without a load balancer.
pub(crate) fn single_policies() -> BTreeMap<String, Value> {
    policies_of(FLEETS[0].0, true)
}

fn policies_of(path: &str, single: bool) -> BTreeMap<String, Value> {
    let template = template(path);
    let policies = resource(&template, "Role")["Policies"].as_array().unwrap();
    let policies = policies.iter().map(|policy| policy.get("Fn::If").map_or(policy, |of| &of[1]));
    let document = |policy: &Value| resolved(&policy["PolicyDocument"], single);
    policies.map(|policy| (text(&policy["PolicyName"]), document(policy))).collect()
}

#[test]
fn the_hosts_roles_have_the_shipped_policies() {
    for (path, agent, _) in FLEETS {
        let policies = role_policies(path);
        let both = ["install", "zone-role", "signal", "keys", "logs", "certificate"].map(|name| (name, name));
        for (name, shipped) in both.into_iter().chain([("agent", agent)]) {
            let policy = policies.get(name).unwrap_or_else(|| panic!("{path} has no policy {name}"));
            assert_eq!(*policy, shipped_policy(shipped), "{path}: as packaging/iam/{shipped}.json");
        }
        let shares = policies.get("shared-name").cloned();
        let expected = (agent == "turn-agent").then(|| shipped_policy("shared-name"));
        assert_eq!(shares, expected, "{path}: as packaging/iam/shared-name.json");
        let spool = policies.get("spool").cloned();
        let expected = (agent == "bbb-agent").then(|| shipped_policy("spool"));
        assert_eq!(spool, expected, "{path}: as packaging/iam/spool.json");
        let volume = policies.get("data-volume").cloned();
        let expected = (agent == "bbb-agent").then(|| shipped_policy("data-volume"));
        assert_eq!(volume, expected, "{path}: as packaging/iam/data-volume.json");
        // What a host installs beside the agent may need permissions of its own; they are not mixed with the agent's.
        let known = [
            "install",
            "agent",
            "turn-secret",
            "zone-role",
            "shared-name",
            "signal",
            "keys",
            "logs",
            "spool",
            "data-volume",
            "certificate",
        ];
        assert!(policies.keys().all(|name| known.contains(&name.as_str())), "{:?}", policies.keys());
        let group = resource(&template(path), "Group")["AutoScalingGroupName"].clone();
        assert_eq!(group, json!({ "Ref": "AWS::StackName" }));
    }
}

/// A single server has the policy of a fleet's host for its one name, and none for a load balancer that it has not.
#[test]
fn a_single_server_has_the_policy_of_its_name() {
    let mut expected = shipped_policy("bbb-agent").to_string().replace("vc-*", "${ServerName}");
    let mut document: Value = serde_json::from_str(&expected).unwrap();
    let statements = document["Statement"].as_array_mut().unwrap();
    statements.retain(|statement| statement["Sid"] != "ReadLoadBalancerSecret");
    expected = document.to_string();
    assert_eq!(single_policies()["agent"].to_string(), expected);
}

/// It goes before its successor comes, which gets its name and its volume; contradictions are refused with the stack.
#[test]
fn a_single_server_is_one() {
    let template = template(FLEETS[0].0);
    let group = resolved(resource(&template, "Group"), true);
    let bounds = json!({ "MinHealthyPercentage": 0, "MaxHealthyPercentage": 100 });
    assert_eq!(group["InstanceMaintenancePolicy"], bounds);
    assert_eq!(group["CapacityRebalance"], false);
    let fleet = resolved(resource(&template, "Group"), false);
    let bounds = json!({ "MinHealthyPercentage": 100, "MaxHealthyPercentage": 110 });
    assert_eq!((&fleet["InstanceMaintenancePolicy"], &fleet["CapacityRebalance"]), (&bounds, &json!(true)));
    let is_set = |name: &str| json!({ "Fn::Not": [{ "Fn::Equals": [{ "Ref": name }, ""] }] });
    let at_most_one = |name: &str| json!({ "Fn::Contains": [["0", "1"], { "Ref": name }] });
    let rules = &template["Rules"];
    for (rule, condition, assertions) in [
        ("ASingleServerIsOne", is_set("ServerName"), vec![at_most_one("MaxSize"), at_most_one("MinSize")]),
        (
            "OnlyASingleServerHasNoScalelite",
            json!({ "Fn::Equals": [{ "Ref": "ScaleliteUrl" }, ""] }),
            vec![is_set("ServerName")],
        ),
        ("ScaleliteHasASecret", is_set("ScaleliteUrl"), vec![is_set("ScaleliteSecretArn")]),
        (
            "AVolumeIsOfASingleServer",
            is_set("DataVolumeId"),
            vec![is_set("ServerName"), json!({ "Fn::Equals": [{ "Ref": "DataVolumeSize" }, "0"] })],
        ),
    ] {
        assert_eq!(rules[rule]["RuleCondition"], condition, "{rule}");
        let found = rules[rule]["Assertions"].as_array().unwrap().iter();
        let found: Vec<Value> = found.map(|assertion| assertion["Assert"].clone()).collect();
        assert_eq!(found, assertions, "{rule}");
    }
    // The longest name fits into what Linux allows a host.
    let longest = |name: &str| template["Parameters"][name]["MaxLength"].as_u64().unwrap();
    assert_eq!(longest("ServerName") + 1 + longest("Domain"), 64);
}

#[test]
fn the_metadata_are_for_the_host_alone() {
    for (path, ..) in FLEETS {
        let template = template(path);
        let expected = json!({
            "HttpEndpoint": "enabled",
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
            "InstanceMetadataTags": "enabled",
        });
        let launch = resource(&template, "LaunchTemplate");
        assert_eq!(launch["LaunchTemplateData"]["MetadataOptions"], expected, "{path}");
    }
}

/// The commands in a text that run `install.sh`, with the lines that continue them.
fn install_commands(text: &str) -> Vec<String> {
    let mut lines = text.lines().map(str::trim);
    let mut commands = Vec::new();
    while let Some(line) = lines.next() {
        let Some((_, command)) = line.split_once("sh /root/install.sh ") else { continue };
        let mut command = command.to_owned();
        while let Some(begun) = command.strip_suffix('\\') {
            command = format!("{begun} {}", lines.next().expect("a line that goes on"));
        }
        commands.push(command.trim_end_matches("&&").to_owned());
    }
    commands
}

/// What install.sh says to a command line that it accepts, before it does anything: here it is not root, because it finds no
/// program that could tell.
const ACCEPTED: &str = "has to be run as root";

/// The options that a first boot gives install.sh, quoted for a shell, for these lines of settings.
fn options(settings: &str) -> String {
    let functions = host_functions();
    let script = format!("{settings}\n{functions}\noptions\nprintf '%q ' \"${{options[@]}}\"\n");
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// `settings` are the lines before, which set variables.
fn install(settings: &str, command: &str) -> String {
    let settings = settings.replace("set -euo pipefail", "set -eu");
    // The sample's variables, as its bootstrap has them.
    let output = Command::new("/bin/sh")
        .args(["-c", &format!("{settings}\nexec /bin/sh packaging/install.sh {command}")])
        .current_dir(root())
        .env_clear()
        .envs([("PATH", "/nonexistent"), ("AWSRegion", "eu-central-1"), ("BBBDomainName", "bbb.example.org")])
        .envs([("BBBStackBucketStack", "example-releases"), ("BBBHostedZone", "Z0123456789ABCDEFGHIJ")])
        .env(
            "BBBLoadbalancerSecret",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:Scalelite-a1B2c3",
        )
        .output()
        .unwrap();
    String::from_utf8(output.stderr).unwrap()
}

/// The stack waits for its hosts' word, is rolled back without it, and has its alarms before.
#[test]
fn a_first_deployment_waits_for_its_hosts() {
    for (path, ..) in FLEETS {
        let template = template(path);
        let group = &template["Resources"]["Group"];
        let signal = &group["CreationPolicy"]["ResourceSignal"];
        assert_eq!(signal["Count"], json!({ "Ref": "MinSize" }), "{path}");
        let minutes = signal["Timeout"].as_str().unwrap().trim_start_matches("PT").trim_end_matches('M');
        assert!((30..=180).contains(&minutes.parse::<u32>().unwrap()), "{path}: {minutes}");
        assert_eq!(group["DependsOn"], "Monitoring", "{path}");
        let script =
            text(&resource(&template, "LaunchTemplate")["LaunchTemplateData"]["UserData"]["Fn::Base64"]);
        assert!(script.contains("\nstack='${AWS::StackName}'\n"), "{script}");
        assert!(script.contains("LogicalResourceId=Group&"), "the resource that has the policy");
    }
}

/// A stack with a hash that cannot fit is refused; each of its hosts would be, too.
#[test]
fn a_hash_needs_a_version() {
    for (path, ..) in FLEETS {
        let template = template(path);
        let expected = json!({
            "RuleCondition": { "Fn::Equals": [{ "Ref": "AgentVersion" }, "latest"] },
            "Assertions": [{
                "Assert": { "Fn::Equals": [{ "Ref": "ReleaseSha256" }, ""] },
                "AssertDescription": "ReleaseSha256 fits one version, so AgentVersion has to say which.",
            }],
        });
        assert_eq!(template["Rules"]["ReleaseSha256FitsOneVersion"], expected, "{path}");
    }
}

/// So is one with a health check of nothing.
#[test]
fn a_health_check_needs_a_shared_name() {
    let rules = &template("packaging/cloudformation/turn.yaml")["Rules"];
    let is_set = |name: &str| json!({ "Fn::Not": [{ "Fn::Equals": [{ "Ref": name }, ""] }] });
    let rule = &rules["SharedHealthCheckIsOfASharedName"];
    assert_eq!(rule["RuleCondition"], is_set("SharedHealthCheck"));
    assert_eq!(rule["Assertions"][0]["Assert"], is_set("SharedName"));
    assert_eq!(rules.as_object().unwrap().len(), 2);
    // A sender has to send somewhere, and a file system is reached by an access point.
    let rules = &template("packaging/cloudformation/fleet.yaml")["Rules"];
    assert_eq!(
        rules["SenderHasASpool"]["RuleCondition"],
        json!({ "Fn::Equals": [{ "Ref": "RecordingsSender" }, "scalelite"] })
    );
    assert_eq!(rules["SenderHasASpool"]["Assertions"][0]["Assert"], is_set("FileSystemId"));
    assert_eq!(rules["SpoolHasAnAccessPoint"]["RuleCondition"], is_set("FileSystemId"));
    assert_eq!(rules["SpoolHasAnAccessPoint"]["Assertions"][0]["Assert"], is_set("AccessPointId"));
    assert_eq!(rules["TurnServerHasASecret"]["RuleCondition"], is_set("TurnServer"));
    assert_eq!(rules["TurnServerHasASecret"]["Assertions"][0]["Assert"], is_set("TurnSecretArn"));
    assert_eq!(rules.as_object().unwrap().len(), 8);
}

/// What shellcheck says of a script; the installer that it reads is not here.
fn checked_as_shell(path: &str, script: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script).unwrap();
    let output =
        Command::new("shellcheck").args(["--exclude", "SC1091,SC2034"]).arg(file.path()).output().unwrap();
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn user_data_and_documents_run_install_sh_as_it_can_be_run() {
    assert!(install("", "--role bbb --nonsense x").contains("no such option"));
    for (path, agent, _) in FLEETS {
        let script = user_data(path, &[]);
        checked_as_shell(path, &script);
        // The settings, and what makes options of them.
        let (settings, _) = script.split_once("\n# ---\n").expect("the end of the settings");
        let made = options(settings);
        assert!(made.contains(&format!("--role {} ", agent.trim_end_matches("-agent"))), "{made}");
        let said = install("", &made);
        assert!(said.contains(ACCEPTED), "{path}: {said}");
    }
    for (document, count) in
        [("README.md", 1), ("docs/install.md", 1), ("packaging/replacing-the-scripts.md", 2)]
    {
        let text = read(document).replace("BUCKET", "example-releases");
        // An upgrade keeps the options of the host.
        let whole = |command: &String| !command.starts_with("--keep");
        let commands: Vec<String> = install_commands(&text).into_iter().filter(whole).collect();
        assert_eq!(commands.len(), count, "{document}: {commands:?}");
        for command in commands {
            let said = install("", &command);
            assert!(said.contains(ACCEPTED), "{document}: {command}: {said}");
        }
    }
}

/// The hook is one that the agent takes for its own, is there before the first host, and lasts as long as a drain may.
#[test]
fn the_groups_hold_their_hosts_until_they_are_empty() {
    for (path, agent, _) in FLEETS {
        let template = template(path);
        let group = resource(&template, "Group");
        let hooks = group["LifecycleHookSpecificationList"].as_array().unwrap();
        assert_eq!(hooks.len(), 2, "with several that end, the agent would have to be told which is its own");
        let (hook, launch) = (&hooks[0], &hooks[1]["Fn::If"][1]);
        assert_eq!(hooks[1]["Fn::If"][0], "HasLaunchHook");
        assert_eq!(launch["LifecycleTransition"], "autoscaling:EC2_INSTANCE_LAUNCHING");
        let with = user_data(path, &[("LaunchHook", "yes")]);
        let setting = format!("service.launch_hook={}", launch["LifecycleHookName"].as_str().unwrap());
        assert!(with.contains(&setting), "{with}");
        let config = read(format!("packaging/{agent}/config.toml"));
        assert!(
            config.contains(&format!("#hook = {}", hook["LifecycleHookName"])),
            "the name in the example"
        );
        assert_eq!(hook["LifecycleTransition"], "autoscaling:EC2_INSTANCE_TERMINATING");
        assert_eq!(hook["DefaultResult"], "CONTINUE");
        let deadline = config.lines().find_map(|line| line.strip_prefix("#deadline = "));
        let deadline: u64 = deadline.map_or(0, |seconds| seconds.parse().unwrap());
        // A hook can be prolonged to 100 times its timeout (Auto Scaling's limit).
        assert!(hook["HeartbeatTimeout"].as_u64().unwrap() * 100 > deadline, "{path}");
        let replacing = &template["Resources"]["Group"]["UpdatePolicy"];
        assert_eq!(replacing["AutoScalingRollingUpdate"], Value::Null, "it would not wait for meetings");
        assert_eq!(replacing["AutoScalingReplacingUpdate"], Value::Null);
        // No scale-in waits for an idle host, and turn-agent may not end a protection.
        assert_eq!(group["NewInstancesProtectedFromScaleIn"], false, "{path}");
        let settings = template["Parameters"]["Settings"]["Default"].as_str().unwrap_or_default();
        let drains = settings.split(' ').any(|setting| setting == "protection.enabled=false");
        assert_eq!(drains, agent == "bbb-agent", "{path}: {settings}");
    }
}

/// The fleets' templates hand their parameters on to the alarms' one.
#[test]
fn the_fleets_have_their_alarms() {
    let monitoring = template(MONITORING);
    for (path, agent, _) in FLEETS {
        let template = template(path);
        let stack = resource(&template, "Monitoring");
        let url = stack["TemplateURL"].as_str().unwrap();
        let named = root().join(path).parent().unwrap().join(url).canonicalize().unwrap();
        assert_eq!(named, root().join(MONITORING).canonicalize().unwrap());
        let role = agent.trim_end_matches("-agent");
        assert_eq!(stack["Parameters"]["Role"], role);
        // By its name, because the group comes later.
        assert_eq!(stack["Parameters"]["Group"], json!({ "Ref": "AWS::StackName" }));
        for parameter in stack["Parameters"].as_object().unwrap().keys() {
            assert!(monitoring["Parameters"][parameter].is_object(), "{MONITORING} has no {parameter}");
        }
        let enabled: BTreeSet<&str> = resource(&template, "Group")["MetricsCollection"][0]["Metrics"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let of_role = |condition: &Value| match condition.as_str() {
            None => true,
            Some(condition) => condition.strip_prefix("Is").unwrap().eq_ignore_ascii_case(role),
        };
        for reference in references(&monitoring, of_role) {
            if reference.namespace == "AWS/AutoScaling" {
                assert!(
                    enabled.contains(reference.name.as_str()),
                    "{path} does not enable {}",
                    reference.name
                );
            }
        }
    }
}

/// A metric that a template reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reference {
    namespace: String,
    name: String,
    /// Names and values of its dimensions, by turns.
    dimensions: Vec<String>,
    resource: String,
}

fn text(value: &Value) -> String {
    substituted(value).as_str().unwrap_or_else(|| panic!("{value} is not text")).to_owned()
}

/// All metrics in the resources whose condition is wanted.
fn references(template: &Value, wanted: impl Fn(&Value) -> bool) -> BTreeSet<Reference> {
    let mut found = BTreeSet::new();
    for (name, resource) in template["Resources"].as_object().unwrap() {
        if wanted(&resource["Condition"]) {
            collect(name, &resource["Properties"], &mut found);
            if resource["Type"] == "AWS::CloudWatch::Dashboard" {
                found.extend(shown(name, &dashboard(resource)));
            }
        }
    }
    found
}

/// Metrics of alarms and scaling policies.
fn collect(resource: &str, value: &Value, found: &mut BTreeSet<Reference>) {
    match value {
        Value::Object(fields) => {
            if let Some(name) = fields.get("MetricName") {
                let dimensions = fields["Dimensions"].as_array().unwrap();
                found.insert(Reference {
                    namespace: text(&fields["Namespace"]),
                    name: text(name),
                    dimensions: dimensions
                        .iter()
                        .flat_map(|one| [text(&one["Name"]), text(&one["Value"])])
                        .collect(),
                    resource: resource.to_owned(),
                });
            }
            fields.values().for_each(|value| collect(resource, value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(resource, value, found)),
        _ => {}
    }
}

fn dashboard(resource: &Value) -> Value {
    let body = text(&resource["Properties"]["DashboardBody"]);
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("the dashboard is not JSON: {error}\n{body}"))
}

/// Metrics of a dashboard: `["Namespace", "Metric", "Dimension", "value", {...}]`; expressions begin with an object.
fn shown(resource: &str, dashboard: &Value) -> Vec<Reference> {
    let widgets = dashboard["widgets"].as_array().unwrap();
    let metrics = widgets.iter().filter_map(|widget| widget["properties"]["metrics"].as_array()).flatten();
    let texts = metrics.map(|metric| {
        let parts = metric.as_array().unwrap().iter().filter_map(Value::as_str);
        parts.map(str::to_owned).collect::<Vec<String>>()
    });
    let named = texts.filter(|texts| !texts.is_empty());
    named
        .map(|texts| Reference {
            namespace: texts[0].clone(),
            name: texts[1].clone(),
            dimensions: texts[2..].to_vec(),
            resource: resource.to_owned(),
        })
        .collect()
}

/// Alarms, dashboards and the scaling policy read what the agents of that role send by default, and nothing else; every
/// metric is in an alarm or on a dashboard.
#[test]
fn what_is_watched_is_what_the_agents_send() {
    let monitoring = template(MONITORING);
    let scaling = template(SCALING);
    let choices = scaling["Parameters"]["Metric"]["AllowedValues"].as_array().unwrap();
    for choice in choices {
        assert!(
            Metric::ALL.iter().any(|metric| metric.is_of(Role::Bbb) && *choice == metric.name()),
            "{choice}"
        );
    }
    let policy = references(&scaling, Value::is_null);
    let named: Vec<&str> = policy.iter().map(|reference| reference.name.as_str()).collect();
    assert_eq!(named, ["${Metric}", "GroupDesiredCapacity"]);
    let fleet = template(FLEETS[0].0);
    let collected = resource(&fleet, "Group")["MetricsCollection"][0]["Metrics"].as_array().unwrap();
    assert!(collected.contains(&json!("GroupDesiredCapacity")), "{collected:?}");
    for (role, condition) in [(Role::Bbb, "IsBbb"), (Role::Turn, "IsTurn")] {
        let sent: BTreeSet<&str> =
            Metric::ALL.iter().filter(|metric| metric.is_of(role)).map(|metric| metric.name()).collect();
        let all = references(&monitoring, |of| of.is_null() || of == condition);
        for reference in all.iter().chain(&policy) {
            assert_eq!(reference.dimensions, ["AutoScalingGroupName", "${Group}"], "{reference:?}");
            assert!(
                ["${Namespace}", "AWS/AutoScaling"].contains(&reference.namespace.as_str()),
                "{reference:?}"
            );
        }
        let own = all.iter().filter(|reference| reference.namespace == "${Namespace}");
        let watched: BTreeSet<&str> = own.map(|reference| reference.name.as_str()).collect();
        assert_eq!(watched, sent, "{role:?}");
    }
}

/// Alarms speak to who is called at night; CloudWatch takes 1024 characters (`PutMetricAlarm` in its API reference).
#[test]
fn every_alarm_says_what_to_do_and_tells_somebody() {
    let monitoring = template(MONITORING);
    let resources = monitoring["Resources"].as_object().unwrap();
    let alarms: Vec<_> =
        resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::CloudWatch::Alarm").collect();
    assert!(alarms.len() >= 7, "{}", alarms.len());
    let readme = read("cloudwatch/README.md");
    for (name, alarm) in alarms {
        let properties = &alarm["Properties"];
        let description = text(&properties["AlarmDescription"]);
        assert!((200..1000).contains(&description.len()), "{name}: {}", description.len());
        assert_eq!(properties["AlarmActions"], json!([{ "Ref": "AlarmTopic" }]), "{name}");
        let title = text(&properties["AlarmName"]);
        let title = title.strip_prefix("${Group}: ").unwrap();
        assert!(readme.contains(&format!("| {title}")), "cloudwatch/README.md lacks {title:?}");
        assert!(properties["TreatMissingData"].is_string(), "{name} leaves open what silence means");
        let on_dashboards: Vec<_> = resources
            .values()
            .filter(|resource| resource["Type"] == "AWS::CloudWatch::Dashboard")
            .filter(|resource| alarm["Condition"].is_null() || alarm["Condition"] == resource["Condition"])
            .map(|resource| text(&resource["Properties"]["DashboardBody"]))
            .collect();
        assert!(!on_dashboards.is_empty());
        assert!(on_dashboards.iter().all(|body| body.contains(&format!("${{{name}.Arn}}"))), "{name}");
    }
}
