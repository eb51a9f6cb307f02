//! The CloudWatch client against the sandbox's, over a real socket, with real signatures.

use std::sync::Arc;
use std::time::Duration;

use clients::aws;
use clients::aws::cloudwatch::{CloudWatch, Error};
use clients::dns::system::SystemResolver;
use clients::http::Tls;
use clients::imds::Imds;
use plan::metrics::{Datum, Metric};
use sandbox::cloud::{Cloud, Options};
use sandbox::faults::{Fault, Planned};
use sandbox::http::ServiceName;

const DATA: [Datum; 2] = [
    Datum { metric: Metric::Registered, value: 1.0 },
    Datum { metric: Metric::UnregisteredSeconds, value: 2.5 },
];

async fn start() -> (Arc<Cloud>, CloudWatch) {
    let cloud = Cloud::start(Options::default()).await.unwrap();
    let imds = Imds::new(&format!("http://{}", cloud.imds_address())).unwrap();
    let names = SystemResolver::asking(vec![cloud.resolver.address()]);
    // The settings name another region than the host's: Route 53 may be used from elsewhere.
    let config = aws::sdk_config(&Tls::new(None), &names, &imds, "us-east-1", None).await.unwrap();
    let config = config.into_builder().endpoint_url(cloud.aws_url()).build();
    let client = CloudWatch::new(&config, "eu-central-1");
    (cloud, client)
}

async fn put(client: &CloudWatch, namespace: &str, patience: Duration) -> Result<(), Error> {
    let dimensions = [("Group", "g".to_owned()), ("Instance", "i".to_owned())];
    client.put(namespace, &dimensions, &DATA, patience).await
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn each_datum_comes_once_for_each_dimension_in_one_call() {
    let (cloud, client) = start().await;
    put(&client, "BBB", LONG).await.unwrap();
    let stored: Vec<String> = cloud
        .cloudwatch
        .data()
        .into_iter()
        .map(|datum| {
            let unit = datum.unit.unwrap();
            format!("{} {:?} {} {:?} {unit}", datum.namespace, datum.dimensions, datum.name, datum.values)
        })
        .collect();
    assert_eq!(
        stored,
        [
            r#"BBB {"Group": "g"} Registered [1.0] Count"#,
            r#"BBB {"Group": "g"} UnregisteredSeconds [2.5] Seconds"#,
            r#"BBB {"Instance": "i"} Registered [1.0] Count"#,
            r#"BBB {"Instance": "i"} UnregisteredSeconds [2.5] Seconds"#,
        ]
    );
    assert_eq!(cloud.journal.count(ServiceName::CloudWatch, "PutMetricData"), 1);
}

#[tokio::test]
async fn refusals_are_told_apart_and_nothing_is_tried_twice() {
    let (cloud, client) = start().await;
    let error = |status, code: &str| Fault::Error { status, code: code.to_owned() };
    let refused = put(&client, "AWS/BBB", LONG).await.unwrap_err();
    assert!(matches!(&refused, Error::Refused { namespace, .. } if namespace == "AWS/BBB"), "{refused:?}");
    assert!(refused.to_string().starts_with("CloudWatch PutMetricData into AWS/BBB: InvalidParameterValue"));
    cloud.aws.deny("cloudwatch:PutMetricData");
    let denied = put(&client, "BBB", LONG).await.unwrap_err();
    assert!(matches!(denied, Error::NotAllowed { .. }), "{denied:?}");
    assert!(denied.to_string().ends_with("; the instance role has to allow it"), "{denied}");
    cloud.aws.allow("cloudwatch:PutMetricData");
    for fault in [error(400, "ThrottlingException"), error(500, "InternalFailure"), Fault::Close] {
        let (service, action) = (ServiceName::CloudWatch, None);
        cloud.faults.plan(Planned { service, action, fault: fault.clone(), times: Some(1) });
        let calls = cloud.journal.count(service, "PutMetricData");
        let passing = put(&client, "BBB", LONG).await.unwrap_err();
        assert!(matches!(passing, Error::Passing(_)), "{fault:?}: {passing:?}");
        assert_eq!(cloud.journal.count(service, "PutMetricData"), calls + 1, "{fault:?}");
    }
    assert!(cloud.cloudwatch.data().is_empty());
}

#[tokio::test]
async fn one_that_does_not_answer_is_not_waited_for() {
    let (cloud, client) = start().await;
    let (service, action) = (ServiceName::CloudWatch, None);
    cloud.faults.plan(Planned { service, action, fault: Fault::Hang, times: None });
    let late = put(&client, "BBB", Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(late, Error::Passing("no answer in time".to_owned()));
}
