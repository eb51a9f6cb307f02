//! The sandbox's AWS services driven by the real SDK: it signs, serialises and reads as in production, so what it
//! understands here is what AWS would have answered. One good way and one refusal for each service.

use std::sync::Arc;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit, StatisticSet};
use aws_sdk_ec2::error::ProvideErrorMetadata;
use aws_sdk_ec2::types::Filter;
use aws_sdk_route53::types::{
    Change, ChangeAction, ChangeBatch, ChangeStatus, ResourceRecord, ResourceRecordSet, RrType,
};
use clients::dns::system::SystemResolver;
use clients::http::Tls;
use clients::imds::Imds;
use sandbox::cloud::{Cloud, Options, SCALELITE_SECRET_ID};
use sandbox::dns::Propagation;
use sandbox::fleet::LifecycleState;

const ID: &str = "i-0123456789abcdef0";
const ABSENT: &str = "i-00000000000000000";
const GROUP: &str = "bbb-fleet";

/// A cloud, and settings with the keys of its host's role. The tests' own environment has no say.
async fn start() -> (Arc<Cloud>, SdkConfig) {
    let mut options = Options::with_tls();
    // Its account's budget does not refill by itself.
    options.route53.clock = sandbox::route53::Clock::manual();
    let cloud = Cloud::start(options).await.unwrap();
    let names = SystemResolver::asking(vec![cloud.resolver.address()]);
    let imds = Imds::new(&format!("http://{}", cloud.imds_address())).unwrap();
    let tls = Tls::new(cloud.ca_file().map(Into::into));
    let config = clients::aws::sdk_config(&tls, &names, &imds, "eu-central-1", None).await.unwrap();
    let keys = cloud.vault.role("bbb-fleet-host");
    let keys = Credentials::new(keys.access_key, keys.secret_key, keys.session_token, None, "sandbox");
    let config = config
        .into_builder()
        .endpoint_url(cloud.aws_url_by_name())
        .region(aws_config::Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .build();
    (cloud, config)
}

/// The service's own code and message, as the SDK read them.
fn refusal<E: ProvideErrorMetadata, R>(error: &aws_sdk_ec2::error::SdkError<E, R>) -> (String, String) {
    let error = error.as_service_error().expect("an answer of the service");
    (error.code().unwrap_or_default().to_owned(), error.message().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn route_53() {
    let (cloud, config) = start().await;
    let client = aws_sdk_route53::Client::new(&config);
    cloud.dns.set_propagation(1, Propagation::Held);
    let create = |value: &'static str| {
        let record = ResourceRecord::builder().value(value).build().unwrap();
        let set = ResourceRecordSet::builder().name("Host*.example.org").r#type(RrType::A).ttl(60);
        let set = set.resource_records(record).build().unwrap();
        let change = Change::builder().action(ChangeAction::Create).resource_record_set(set).build().unwrap();
        let batch = ChangeBatch::builder().changes(change).comment("a test").build().unwrap();
        client.change_resource_record_sets().hosted_zone_id(&cloud.zone_id).change_batch(batch).send()
    };
    let info = create("192.0.2.1").await.unwrap().change_info.unwrap();
    assert_eq!(info.status, ChangeStatus::Pending);
    assert!(info.id.starts_with("/change/C"));

    let get = || client.get_change().id(&info.id).send();
    assert_eq!(get().await.unwrap().change_info.unwrap().status, ChangeStatus::Pending);
    cloud.dns.release(1);
    assert_eq!(get().await.unwrap().change_info.unwrap().status, ChangeStatus::Insync);

    let page = client.list_resource_record_sets().hosted_zone_id(&cloud.zone_id);
    let page = page.start_record_name("host*.example.org").max_items(1).send().await.unwrap();
    let found = &page.resource_record_sets[0];
    assert_eq!((found.name.as_str(), found.ttl), ("host\\052.example.org.", Some(60)));
    assert_eq!(found.resource_records()[0].value, "192.0.2.1");

    let zone = client.get_hosted_zone().id(&cloud.zone_id).send().await.unwrap();
    assert_eq!(zone.hosted_zone.unwrap().name, "example.org.");
    assert_eq!(zone.delegation_set.unwrap().name_servers.len(), 2);
    let zones = client.list_hosted_zones_by_name().dns_name("example.org").send().await.unwrap();
    assert_eq!(zones.hosted_zones[0].id, format!("/hostedzone/{}", cloud.zone_id));

    let error = create("192.0.2.2").await.unwrap_err();
    let body = String::from_utf8_lossy(error.raw_response().unwrap().body().bytes().unwrap()).into_owned();
    assert!(body.contains("InvalidChangeBatch") && body.contains("it already exists"), "{body}");
    let error = client.get_hosted_zone().id("Z0987654321EXAMPLE").send().await.unwrap_err();
    assert_eq!(refusal(&error).0, "NoSuchHostedZone");
    cloud.route53.use_up(50);
    let error = client.get_hosted_zone().id(&cloud.zone_id).send().await.unwrap_err();
    assert_eq!(refusal(&error), ("Throttling".to_owned(), "Rate exceeded".to_owned()));
}

#[tokio::test]
async fn ec2() {
    let (cloud, config) = start().await;
    let client = aws_sdk_ec2::Client::new(&config);
    let filtered = |name: &str, value: &str| {
        let filter = Filter::builder().name(name).values(value).build();
        client.describe_instances().filters(filter).send()
    };
    for (name, value) in [
        ("instance-id", ID),
        ("ip-address", "203.0.113.10"),
        ("private-ip-address", "10.0.0.10"),
        ("network-interface.ipv6-addresses.ipv6-address", "2001:db8::10"),
    ] {
        let answer = filtered(name, value).await.unwrap();
        let instance = &answer.reservations()[0].instances()[0];
        assert_eq!(instance.instance_id(), Some(ID), "{name}");
        assert_eq!(instance.public_ip_address(), Some("203.0.113.10"));
        assert_eq!(instance.state().unwrap().name().unwrap().as_str(), "running");
        let tag = instance.tags().iter().find(|tag| tag.key() == Some("aws:autoscaling:groupName")).unwrap();
        assert_eq!(tag.value(), Some(GROUP));
    }
    assert!(filtered("instance-id", ABSENT).await.unwrap().reservations().is_empty());

    let error = client.describe_instances().instance_ids(ABSENT).send().await.unwrap_err();
    assert_eq!(
        refusal(&error),
        ("InvalidInstanceID.NotFound".to_owned(), format!("The instance ID '{ABSENT}' does not exist"))
    );
    cloud.aws.deny("ec2:DescribeInstances");
    assert_eq!(refusal(&filtered("instance-id", ID).await.unwrap_err()).0, "UnauthorizedOperation");
}

#[tokio::test]
async fn auto_scaling() {
    let (cloud, config) = start().await;
    let client = aws_sdk_autoscaling::Client::new(&config);
    let described = client.describe_auto_scaling_instances().instance_ids(ID).send().await.unwrap();
    let instance = &described.auto_scaling_instances()[0];
    assert_eq!(instance.auto_scaling_group_name(), Some(GROUP));
    assert_eq!(instance.lifecycle_state(), Some("InService"));
    let groups = client.describe_auto_scaling_groups().auto_scaling_group_names(GROUP).send().await.unwrap();
    assert_eq!(groups.auto_scaling_groups()[0].max_size(), Some(10));
    let hooks = client.describe_lifecycle_hooks().auto_scaling_group_name(GROUP).send().await.unwrap();
    assert_eq!(hooks.lifecycle_hooks()[0].heartbeat_timeout(), Some(900));

    let protect = |protected: bool| {
        let request = client.set_instance_protection().auto_scaling_group_name(GROUP).instance_ids(ID);
        request.protected_from_scale_in(protected).send()
    };
    protect(true).await.unwrap();
    assert!(cloud.fleet.membership(ID).unwrap().1.protected);
    protect(false).await.unwrap();
    assert!(!cloud.fleet.membership(ID).unwrap().1.protected);

    let heartbeat = || {
        let request = client.record_lifecycle_action_heartbeat().auto_scaling_group_name(GROUP);
        request.lifecycle_hook_name("drain").instance_id(ID).send()
    };
    let error = heartbeat().await.unwrap_err();
    assert_eq!(
        refusal(&error),
        ("ValidationError".to_owned(), format!("No active Lifecycle Action found with instance ID {ID}"))
    );
    cloud.fleet.terminate(ID).unwrap();
    assert_eq!(cloud.imds.facts().unwrap().instance_id, ID);
    heartbeat().await.unwrap();
    let complete = client.complete_lifecycle_action().auto_scaling_group_name(GROUP);
    let complete = complete.lifecycle_hook_name("drain").instance_id(ID).lifecycle_action_result("CONTINUE");
    complete.send().await.unwrap();
    assert_eq!(cloud.fleet.membership(ID).unwrap().1.state, LifecycleState::TerminatingProceed);
    assert_eq!(refusal(&protect(true).await.unwrap_err()).0, "ValidationError");
}

#[tokio::test]
async fn cloudwatch() {
    let (cloud, config) = start().await;
    let client = aws_sdk_cloudwatch::Client::new(&config);
    let dimension = Dimension::builder().name("AutoScalingGroupName").value(GROUP).build();
    let meetings = MetricDatum::builder()
        .metric_name("Meetings")
        .dimensions(dimension)
        .unit(StandardUnit::Count)
        .value(3.0)
        .timestamp(std::time::SystemTime::now().into());
    let people = StatisticSet::builder().sample_count(2.0).sum(30.0).minimum(10.0).maximum(20.0).build();
    let people = MetricDatum::builder().metric_name("Participants").statistic_values(people);
    let load = MetricDatum::builder().metric_name("Load").values(1.0).values(2.5).counts(1.0).counts(1.0);
    let request = client.put_metric_data().namespace("BBB");
    let request = request.metric_data(meetings.build()).metric_data(people.build()).metric_data(load.build());
    request.send().await.unwrap();

    let data = cloud.cloudwatch.data();
    let seen: Vec<(&str, &[f64])> =
        data.iter().map(|datum| (datum.name.as_str(), datum.values.as_slice())).collect();
    assert_eq!(seen, [("Meetings", &[3.0][..]), ("Participants", &[30.0]), ("Load", &[1.0, 2.5])]);
    assert_eq!(data[0].dimensions["AutoScalingGroupName"], GROUP);
    assert_eq!((data[0].namespace.as_str(), data[0].unit.as_deref()), ("BBB", Some("Count")));
    assert!(data[0].timestamp.is_some() && data[1].timestamp.is_none());

    let datum = MetricDatum::builder().metric_name("Meetings").value(f64::NAN).build();
    let error = client.put_metric_data().namespace("BBB").metric_data(datum).send().await.unwrap_err();
    assert!(error.as_service_error().unwrap().is_invalid_parameter_value_exception(), "{error:?}");
    assert_eq!(cloud.cloudwatch.data().len(), 3);
    cloud.aws.deny("cloudwatch:PutMetricData");
    let datum = MetricDatum::builder().metric_name("Meetings").value(1.0).build();
    let error = client.put_metric_data().namespace("BBB").metric_data(datum).send().await.unwrap_err();
    assert_eq!(refusal(&error).0, "AccessDenied");
}

#[tokio::test]
async fn secrets_manager() {
    let (cloud, config) = start().await;
    let client = aws_sdk_secretsmanager::Client::new(&config);
    let get = |id: &str| client.get_secret_value().secret_id(id).send();
    let found = get(SCALELITE_SECRET_ID).await.unwrap();
    assert_eq!(found.secret_string(), Some("{\"loadbalancer_secret\":\"sandbox-loadbalancer-secret\"}"));
    let by_arn = get(found.arn().unwrap()).await.unwrap();
    assert_eq!(by_arn.secret_string(), found.secret_string());
    cloud.secrets.put_binary("binary", &[0, 159, 255]);
    assert_eq!(get("binary").await.unwrap().secret_binary().unwrap().as_ref(), [0, 159, 255]);

    let error = get("none").await.unwrap_err();
    assert!(error.as_service_error().unwrap().is_resource_not_found_exception());
    assert_eq!(refusal(&error).1, "Secrets Manager can't find the specified secret.");
    cloud.aws.deny("secretsmanager:GetSecretValue");
    assert_eq!(refusal(&get("binary").await.unwrap_err()).0, "AccessDeniedException");
}

#[tokio::test]
async fn keys_that_are_wrong_or_over() {
    let (cloud, config) = start().await;
    let keys = cloud.vault.role("bbb-fleet-host");
    let forged = Credentials::new(keys.access_key, "forged", keys.session_token, None, "sandbox");
    let wrong = config.to_builder().credentials_provider(SharedCredentialsProvider::new(forged)).build();
    let get =
        |config: &SdkConfig| aws_sdk_route53::Client::new(config).get_hosted_zone().id(&cloud.zone_id).send();
    assert_eq!(refusal(&get(&wrong).await.unwrap_err()).0, "SignatureDoesNotMatch");
    get(&config).await.unwrap();
    cloud.vault.expire("bbb-fleet-host");
    assert_eq!(refusal(&get(&config).await.unwrap_err()).0, "ExpiredToken");
}
