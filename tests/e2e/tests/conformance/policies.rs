//! The real binaries against MiniStack with the shipped IAM policies and nothing else: every call that an agent makes is
//! allowed and understood, every action of a policy is needed, and what the policy does not grant is denied.
//!
//! MiniStack checks signatures, actions, resources and `aws:RequestedRegion`. It does not know Route 53's own condition
//! keys (which names, types and actions a batch may have): there, a batch outside those conditions is allowed. What they
//! allow is in a table of `tests/shipped` instead. It does not see which call to CloudWatch the SDK
//! makes (in CBOR), and allows it to everybody. And it takes GetChange for a call without a
//! resource, where AWS names the change: see [`policy`].
//!
//! IMDS, Scalelite and BBB are the sandbox's.

use std::net::Ipv4Addr;
use std::process::Output;
use std::sync::Arc;

use crate::ministack::{ACCOUNT, MiniStack, User, actions, shipped_policy, without};
use aws_sdk_route53::error::SdkError;
use aws_sdk_route53::types::{ResourceRecordSet, RrType};
use clients::aws::autoscaling::AutoScaling;
use plan::instance::InstanceId;
use plan::lifecycle::HookResult;
use sandbox::agent::Agent;
use sandbox::cloud::{Cloud, Host, Options, SCALELITE_SECRET_ID, SCALELITE_SECRET_KEY};
use sandbox::http::ServiceName;
use serde_json::{Value, json};

/// An agent with the shipped policy, on a host of the sandbox, in MiniStack's AWS.
struct World {
    aws: MiniStack,
    cloud: Arc<Cloud>,
    host: Arc<Host>,
    agent: Agent,
    zone: String,
    policy: Value,
    user: User,
}

impl World {
    async fn of(agent: &'static str) -> Self {
        let mut options = Options::default();
        // MiniStack's keys are in the environment, which counts where the instance has no role.
        options.host.facts.role = None;
        let cloud = Cloud::start(options).await.expect("a cloud");
        let host = cloud.hosts().into_iter().next().expect("a host");
        let region = host.imds.facts().expect("facts").region;
        let aws = MiniStack::start(&region).await;
        let zone = zone(&aws, &cloud.zone_name).await;
        let secret = secret(&aws, SCALELITE_SECRET_ID, "sandbox-loadbalancer-secret").await;
        let policy = policy(agent, &region, &cloud.group, &zone, &cloud.zone_name, &secret);
        let user = aws.user(agent, &policy).await;
        let installed = Agent::install(&cloud, &host, agent).expect("an agent");
        let drop_ins = installed.config().with_file_name("config.d");
        std::fs::create_dir_all(&drop_ins).expect("a directory");
        // MiniStack has no DNS.
        let settings = format!("[dns]\nzone_id = \"{zone}\"\nread = \"api\"\n");
        std::fs::write(drop_ins.join("ministack.toml"), settings).expect("a file");
        Self { aws, cloud, host, agent: installed, zone, policy, user }
    }

    fn region(&self) -> String {
        self.host.imds.facts().expect("facts").region
    }

    async fn output(&self, arguments: &[&str]) -> Output {
        let (id, secret) = &self.user.keys;
        let mut command = self.agent.command(arguments);
        command.env("AWS_ENDPOINT_URL", self.aws.url());
        command.env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", secret);
        command.output().await.expect("the agent runs")
    }

    /// Runs the agent, which has to end with this code; returns all that it printed.
    async fn run(&self, arguments: &[&str], expected: i32) -> String {
        let output = self.output(arguments).await;
        let text =
            [&output.stdout, &output.stderr].map(|stream| String::from_utf8_lossy(stream).into_owned());
        let text = text.concat();
        assert_eq!(output.status.code(), Some(expected), "{arguments:?}: {text}");
        text
    }

    /// What is in the zone beside its own NS and SOA, read with all permissions.
    async fn records(&self) -> Vec<ResourceRecordSet> {
        let client = aws_sdk_route53::Client::new(&self.aws.as_root().await);
        let answer =
            client.list_resource_record_sets().hosted_zone_id(&self.zone).send().await.expect("a list");
        let sets = answer.resource_record_sets.into_iter();
        sets.filter(|set| !matches!(set.r#type, RrType::Ns | RrType::Soa)).collect()
    }

    async fn addresses(&self) -> Vec<String> {
        let sets = self.records().await.into_iter().filter(|set| set.r#type == RrType::A);
        sets.flat_map(|set| set.resource_records.unwrap_or_default()).map(|record| record.value).collect()
    }

    fn move_to(&self, address: [u8; 4]) {
        self.host.imds.update(|facts| facts.public_ipv4 = Some(Ipv4Addr::from(address))).expect("an address");
    }

    /// All AWS calls of the agent went to MiniStack.
    fn nothing_went_to_the_sandbox(&self) {
        let services = [ServiceName::Imds, ServiceName::Bbb, ServiceName::Scalelite];
        let others =
            self.cloud.journal.tally().into_iter().filter(|((service, _), _)| !services.contains(service));
        assert_eq!(others.count(), 0, "{:?}", self.cloud.journal.tally());
    }
}

async fn zone(aws: &MiniStack, name: &str) -> String {
    let client = aws_sdk_route53::Client::new(&aws.as_root().await);
    let answer = client.create_hosted_zone().name(name).caller_reference(name).send().await.expect("a zone");
    answer.hosted_zone.expect("a zone").id.trim_start_matches("/hostedzone/").to_owned()
}

/// Stores a secret and returns its ARN.
async fn secret(aws: &MiniStack, name: &str, value: &str) -> String {
    let client = aws_sdk_secretsmanager::Client::new(&aws.as_root().await);
    let text = json!({ SCALELITE_SECRET_KEY: value }).to_string();
    let answer = client.create_secret().name(name).secret_string(text).send().await.expect("a secret");
    answer.arn.expect("an ARN")
}

/// The shipped policy. Two things are changed for MiniStack. It authorises GetChange on `*`: the only resources that
/// GetChange has are changes, so that it means the same to AWS. And it gives no request the condition keys of Route 53,
/// which the policy demands.
fn policy(agent: &str, region: &str, group: &str, zone: &str, domain: &str, secret: &str) -> Value {
    let placeholders = [
        ("Partition", "aws"),
        ("Region", region),
        ("Account", ACCOUNT),
        ("Group", group),
        ("HostedZoneId", zone),
        ("Domain", domain),
        ("SecretArn", secret),
    ];
    let mut policy = shipped_policy(agent, &placeholders);
    let statements = policy["Statement"].as_array_mut().expect("statements");
    let follow = statements.iter_mut().find(|statement| statement["Action"] == "route53:GetChange");
    let resource = &mut follow.expect("a statement for GetChange")["Resource"];
    assert_eq!(*resource, "arn:aws:route53:::change/*");
    *resource = json!("*");
    let change = statements.iter_mut().find(|statement| statement["Sid"] == "ChangeOwnRecordSets");
    let conditions = change.and_then(|change| change["Condition"].as_object_mut()).expect("conditions");
    assert!(conditions.remove("Null").is_some());
    policy
}

#[tokio::test]
async fn a_bbb_host_lives_its_life_with_the_shipped_policy() {
    let world = World::of("bbb-agent").await;
    let check = world.run(&["check"], 0).await;
    for line in ["ok   hosted zone", "ok   read records", "ok   change records", "ok   scalelite"] {
        assert!(check.contains(line), "{line:?} is not in {check}");
    }
    assert!(world.records().await.is_empty(), "check changes nothing");

    world.run(&["register", "--wait"], 0).await;
    assert_eq!(world.addresses().await.len(), 1);
    assert!(world.records().await.iter().any(|set| set.r#type == RrType::Txt), "the owner's mark");
    assert_eq!(world.cloud.scalelite.servers().len(), 1);
    assert!(world.run(&["register", "--wait"], 0).await.contains("nothing to do"));

    world.cloud.scalelite.poll().await;
    let status = world.output(&["status", "--json"]).await;
    let status: Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!(status["verdict"], "registered", "{status}");
    assert_eq!(status["auto_scaling"]["error"], Value::Null, "EC2 answered: {status}");

    world.move_to([203, 0, 113, 99]);
    world.run(&["register", "--wait"], 0).await;
    assert_eq!(world.addresses().await, ["203.0.113.99"]);

    // The record holds an address that the host has no more: EC2 is asked whose it is.
    world.move_to([203, 0, 113, 100]);
    world.run(&["deregister"], 0).await;
    assert!(world.records().await.is_empty());
    assert!(world.cloud.scalelite.servers().is_empty());
    assert!(world.run(&["deregister"], 0).await.contains("nothing to do"));
    world.run(&["status"], 3).await;
    world.nothing_went_to_the_sandbox();
}

#[tokio::test]
async fn a_turn_host_lives_its_life_with_the_shipped_policy() {
    let world = World::of("turn-agent").await;
    world.run(&["check"], 0).await;
    world.run(&["register", "--wait"], 0).await;
    assert!(world.run(&["register"], 0).await.contains("nothing to do"));
    world.run(&["status"], 0).await;
    world.move_to([203, 0, 113, 99]);
    world.run(&["register", "--wait"], 0).await;
    assert_eq!(world.addresses().await, ["203.0.113.99"]);
    world.move_to([203, 0, 113, 100]);
    world.run(&["deregister"], 0).await;
    assert!(world.records().await.is_empty());
    world.run(&["status"], 3).await;
    world.nothing_went_to_the_sandbox();
}

/// Each action of the policy in turn is taken away: a command has to fail, with the service's own refusal and the action
/// in its message.
#[tokio::test]
async fn without_any_one_action_a_command_fails_and_names_it() {
    let world = World::of("bbb-agent").await;
    // Auto Scaling is asked by the service only: see the next test. CloudWatch likewise, where MiniStack allows all.
    let by_commands =
        |action: &String| !action.starts_with("autoscaling:") && action != "cloudwatch:PutMetricData";
    for action in actions(&world.policy).into_iter().filter(by_commands) {
        world.aws.permit(&world.user, &world.policy).await;
        // DescribeInstances matters when the record holds an address that the host has no more.
        if action == "ec2:DescribeInstances" {
            world.run(&["register"], 0).await;
            world.move_to([203, 0, 113, 101]);
        } else {
            world.run(&["deregister"], 0).await;
        }
        let (command, code): (&[&str], i32) = match action.as_str() {
            "route53:ChangeResourceRecordSets" | "route53:ListResourceRecordSets" => (&["register"], 1),
            "route53:GetChange" => (&["register", "--wait"], 9),
            "route53:GetHostedZone" => (&["check"], 1),
            "secretsmanager:GetSecretValue" => (&["register"], 9),
            "ec2:DescribeInstances" => (&["deregister"], 6),
            other => panic!("the policy grants {other}, and nobody here knows what for"),
        };
        world.aws.permit(&world.user, &without(&world.policy, &action)).await;
        let said = world.run(command, code).await;
        let refused = refusal(&action);
        assert!(
            said.lines().any(|line| refused.iter().all(|words| line.contains(words))),
            "{command:?} without {action} says: {said}"
        );
    }
}

/// The calls of the service, made by its client: each is allowed for the own group, denied for any other group if it changes
/// anything, and denied without its action. Whether MiniStack understands a call otherwise does not matter here.
#[tokio::test]
async fn auto_scaling_is_allowed_for_the_own_group_only() {
    for agent in ["bbb-agent", "turn-agent"] {
        let world = World::of(agent).await;
        let own = refused_actions(&world, &world.cloud.group).await;
        let not_granted: &[&str] =
            if agent == "turn-agent" { &["autoscaling:SetInstanceProtection"] } else { &[] };
        assert_eq!(own, not_granted, "{agent}");
        let changing = [
            "autoscaling:RecordLifecycleActionHeartbeat",
            "autoscaling:CompleteLifecycleAction",
            "autoscaling:SetInstanceProtection",
        ];
        assert_eq!(refused_actions(&world, "another-fleet").await, changing, "{agent}");

        let granted = actions(&world.policy).into_iter().filter(|action| action.starts_with("autoscaling:"));
        // This call names the instance alone: AWS looks for its group, MiniStack does not.
        for action in granted.filter(|action| action != "autoscaling:SetInstanceHealth") {
            world.aws.permit(&world.user, &without(&world.policy, &action)).await;
            let refused = refused_actions(&world, &world.cloud.group).await;
            assert!(refused.contains(&action) && refused.len() == not_granted.len() + 1, "{refused:?}");
        }
    }
}

/// Makes all calls to Auto Scaling; returns the actions that the permissions refuse.
async fn refused_actions(world: &World, group: &str) -> Vec<String> {
    let client = AutoScaling::new(&world.aws.as_user(&world.user).await, &world.region());
    let instance = InstanceId::parse(world.host.id()).expect("an id");
    let answers = [
        client.membership(&instance).await.map(drop),
        client.members(&[group.to_owned()].into()).await.map(drop),
        client.hooks(group).await.map(drop),
        client.heartbeat(group, "drain", &instance).await,
        client.complete(group, "drain", &instance, HookResult::Continue).await,
        client.protect(group, &instance, true).await,
    ];
    let words = answers.into_iter().filter_map(Result::err).map(|error| error.to_string());
    let action = |words: String| {
        let (_, rest) = words.split_once("not authorized to perform: ")?;
        rest.split_whitespace().next().map(str::to_owned)
    };
    words.filter_map(action).collect()
}

/// What an agent's message has to contain when an action is denied.
fn refusal(action: &str) -> Vec<String> {
    match action.split_once(':').expect("a service") {
        // MiniStack refuses Route 53's calls with `<Error>`, as S3 does; Route 53 wraps that into `<ErrorResponse>`, where
        // the SDK finds code and message.
        ("route53", call) => vec![format!("Route 53 {call} on zone"), "403".to_owned()],
        ("ec2", _) => {
            vec!["UnauthorizedOperation".to_owned(), format!("not authorized to perform: {action}")]
        }
        _ => vec!["AccessDeniedException".to_owned(), format!("not authorized to perform: {action}")],
    }
}

/// What the agents' credentials must not be able to do, should somebody take them from a host.
#[tokio::test]
async fn everything_else_is_denied() {
    let world = World::of("bbb-agent").await;
    let other_zone = zone(&world.aws, "other.example").await;
    let other_secret = secret(&world.aws, "somebody/else", "not-for-agents").await;
    let config = world.aws.as_user(&world.user).await;
    let route53 = aws_sdk_route53::Client::new(&config);
    let ec2 = aws_sdk_ec2::Client::new(&config);
    let secrets = aws_sdk_secretsmanager::Client::new(&config);
    let zone = world.zone.as_str();

    // The control: these credentials work.
    route53.get_hosted_zone().id(zone).send().await.expect("allowed");
    secrets.get_secret_value().secret_id(SCALELITE_SECRET_ID).send().await.expect("allowed");

    let batch = some_batch("vc-1.other.example.");
    let reference = "new.example";
    denied(
        "route53:CreateHostedZone",
        route53.create_hosted_zone().name(reference).caller_reference(reference).send().await,
    );
    denied("route53:DeleteHostedZone", route53.delete_hosted_zone().id(zone).send().await);
    denied("route53:ListHostedZones", route53.list_hosted_zones().send().await);
    denied("route53:GetHostedZone", route53.get_hosted_zone().id(&other_zone).send().await);
    denied(
        "route53:ListResourceRecordSets",
        route53.list_resource_record_sets().hosted_zone_id(&other_zone).send().await,
    );
    let change = route53.change_resource_record_sets().hosted_zone_id(&other_zone).change_batch(batch);
    denied("route53:ChangeResourceRecordSets", change.send().await);
    denied("ec2:TerminateInstances", ec2.terminate_instances().instance_ids(world.host.id()).send().await);
    denied("ec2:StopInstances", ec2.stop_instances().instance_ids(world.host.id()).send().await);
    denied("ec2:CreateTags", ec2.create_tags().resources(world.host.id()).send().await);
    let own = SCALELITE_SECRET_ID;
    denied("secretsmanager:GetSecretValue", secrets.get_secret_value().secret_id(&other_secret).send().await);
    denied("secretsmanager:ListSecrets", secrets.list_secrets().send().await);
    denied(
        "secretsmanager:PutSecretValue",
        secrets.put_secret_value().secret_id(own).secret_string("x").send().await,
    );
    denied("secretsmanager:DeleteSecret", secrets.delete_secret().secret_id(own).send().await);
    let elsewhere = config.to_builder().region(aws_config::Region::new("us-west-2")).build();
    let ec2 = aws_sdk_ec2::Client::new(&elsewhere);
    denied("ec2:DescribeInstances", ec2.describe_instances().send().await);
}

#[tokio::test]
async fn a_turn_host_reads_no_secret() {
    let world = World::of("turn-agent").await;
    let secrets = aws_sdk_secretsmanager::Client::new(&world.aws.as_user(&world.user).await);
    let answer = secrets.get_secret_value().secret_id(SCALELITE_SECRET_ID).send().await;
    denied("secretsmanager:GetSecretValue", answer);
}

/// The service refused, and for the reason that the user may not do this.
fn denied<T: std::fmt::Debug, E: std::fmt::Debug>(action: &str, answer: Result<T, SdkError<E>>) {
    let error = answer.expect_err(action);
    let body = error.raw_response().and_then(|response| response.body().bytes()).unwrap_or_default();
    let body = String::from_utf8_lossy(body);
    assert!(body.contains(&format!("not authorized to perform: {action}")), "{action}: {error:?}");
}

fn some_batch(name: &str) -> aws_sdk_route53::types::ChangeBatch {
    use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ResourceRecord};
    let record = ResourceRecord::builder().value("192.0.2.1").build().expect("a record");
    let set = ResourceRecordSet::builder().name(name).r#type(RrType::A).ttl(60).resource_records(record);
    let change =
        Change::builder().action(ChangeAction::Create).resource_record_set(set.build().expect("a set"));
    ChangeBatch::builder().changes(change.build().expect("a change")).build().expect("a batch")
}
