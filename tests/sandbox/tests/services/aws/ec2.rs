//! DescribeInstances.

use sandbox::cloud::HostOptions;

use super::client::{Aws, Call, ID, text, texts};

async fn ids(aws: &Aws, form: &str) -> Vec<String> {
    let (status, xml) = aws.send(&Call::ec2(&format!("Action=DescribeInstances&{form}"))).await;
    assert_eq!(status, 200, "{form}: {xml}");
    texts(&xml, "instanceId")
}

async fn fleet_of_three() -> Aws {
    let aws = Aws::start().await;
    for number in [2, 3] {
        aws.cloud.add_host(HostOptions::numbered(number)).await.unwrap();
    }
    aws
}

const SECOND: &str = "i-0123456789abcd002";
const THIRD: &str = "i-0123456789abcd003";

#[tokio::test]
async fn filters_choose() {
    let aws = fleet_of_three().await;
    aws.cloud.fleet.shut_down(THIRD).unwrap();
    for (name, value, expected) in [
        ("instance-id", ID, vec![ID]),
        ("instance-id", "i-00000000000000000", vec![]),
        ("ip-address", "203.0.113.10", vec![ID]),
        ("network-interface.addresses.association.public-ip", "198.51.100.2", vec![SECOND]),
        ("private-ip-address", "10.0.1.3", vec![THIRD]),
        ("network-interface.ipv6-addresses.ipv6-address", "2001%3Adb8%3A%3A10", vec![ID]),
        ("instance-state-name", "running", vec![SECOND, ID]),
        ("instance-state-name", "shutting-down", vec![THIRD]),
        ("tag%3AName", "bbb-2", vec![SECOND]),
        ("tag%3AName", "bbb-*", vec![SECOND, THIRD, ID]),
        ("tag%3ANone", "*", vec![]),
        ("tag-key", "Name", vec![SECOND, THIRD, ID]),
    ] {
        let form = format!("Filter.1.Name={name}&Filter.1.Value.1={value}");
        assert_eq!(ids(&aws, &form).await, expected, "{form}");
    }
    let both = "Filter.1.Name=instance-state-name&Filter.1.Value.1=running&Filter.1.Value.2=pending\
                &Filter.2.Name=tag%3AName&Filter.2.Value.1=bbb-0";
    assert_eq!(ids(&aws, both).await, [ID]);
    assert_eq!(ids(&aws, &format!("InstanceId.1={ID}&InstanceId.2={SECOND}")).await, [SECOND, ID]);
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let aws = Aws::start().await;
    let describe = "Action=DescribeInstances";
    for (form, status, code) in [
        (format!("{describe}&InstanceId.1=i-00000000000000000"), 400, "InvalidInstanceID.NotFound"),
        (format!("{describe}&InstanceId.1={ID}&InstanceId.2=i-0000000a"), 400, "InvalidInstanceID.NotFound"),
        (format!("{describe}&InstanceId.1=vm-1"), 400, "InvalidInstanceID.Malformed"),
        (format!("{describe}&InstanceId.1=i-XYZ"), 400, "InvalidInstanceID.Malformed"),
        (format!("{describe}&Filter.1.Name=colour&Filter.1.Value.1=red"), 400, "InvalidParameterValue"),
        (format!("{describe}&Filter.1.Name=instance-id"), 400, "InvalidParameterValue"),
        (format!("{describe}&MaxResults=4"), 400, "InvalidParameterValue"),
        (format!("{describe}&MaxResults=1001"), 400, "InvalidParameterValue"),
        (format!("{describe}&MaxResults=5&InstanceId.1={ID}"), 400, "InvalidParameterCombination"),
        (format!("{describe}&NextToken=nonsense"), 400, "InvalidParameterValue"),
        (format!("{describe}&Colour=red"), 400, "UnknownParameter"),
        (format!("{describe}&DryRun=true"), 412, "DryRunOperation"),
        ("Action=StopInstances".to_owned(), 400, "InvalidAction"),
        ("Nothing=1".to_owned(), 400, "MissingAction"),
    ] {
        let (got, xml) = aws.send(&Call::ec2(&form)).await;
        assert_eq!((got.as_u16(), text(&xml, "Code").as_str()), (status, code), "{form}");
        assert!(xml.contains("<Response><Errors><Error>") && xml.contains("<RequestID>"), "{xml}");
    }
    let (status, xml) =
        aws.send(&Call::form("ec2", "Version=2000-01-01&Action=DescribeInstances".to_owned())).await;
    assert_eq!((status.as_u16(), text(&xml, "Code").as_str()), (400, "NoSuchVersion"));
}

#[tokio::test]
async fn a_hidden_instance_is_unknown_until_revealed() {
    let aws = Aws::start().await;
    aws.cloud.fleet.hide(ID).unwrap();
    let filter = format!("Filter.1.Name=instance-id&Filter.1.Value.1={ID}");
    assert!(ids(&aws, &filter).await.is_empty());
    let (status, xml) = aws.send(&Call::ec2(&format!("Action=DescribeInstances&InstanceId.1={ID}"))).await;
    assert_eq!((status.as_u16(), text(&xml, "Code").as_str()), (400, "InvalidInstanceID.NotFound"));
    aws.cloud.fleet.reveal(ID).unwrap();
    assert_eq!(ids(&aws, &filter).await, [ID]);
}

#[tokio::test]
async fn pages_follow_each_other() {
    let aws = Aws::start().await;
    for number in 2..=7 {
        aws.cloud.add_host(HostOptions::numbered(number)).await.unwrap();
    }
    let (_, first) = aws.send(&Call::ec2("Action=DescribeInstances&MaxResults=5")).await;
    let token = text(&first, "nextToken");
    let (_, second) =
        aws.send(&Call::ec2(&format!("Action=DescribeInstances&MaxResults=5&NextToken={token}"))).await;
    assert_eq!(texts(&first, "instanceId").len(), 5);
    assert_eq!(texts(&second, "instanceId").len(), 2);
    assert!(texts(&second, "nextToken").is_empty());
}

#[tokio::test]
async fn an_instance_is_what_imds_says() {
    let aws = Aws::start().await;
    aws.cloud.imds.update(|facts| facts.public_ipv4 = Some([203, 0, 113, 77].into())).unwrap();
    let (_, xml) = aws.send(&Call::ec2("Action=DescribeInstances")).await;
    assert_eq!(text(&xml, "ipAddress"), "203.0.113.77");
    assert_eq!(text(&xml, "ipv6Address"), "2001:db8::10");
    assert_eq!(texts(&xml, "name"), ["running"]);
    aws.cloud.fleet.finish_termination(ID).unwrap();
    let (_, xml) = aws.send(&Call::ec2("Action=DescribeInstances")).await;
    assert!(texts(&xml, "ipAddress").is_empty());
    assert_eq!(texts(&xml, "name"), ["terminated"]);
}

#[tokio::test]
async fn a_volume_has_one_instance_until_that_is_gone() {
    let aws = fleet_of_three().await;
    aws.cloud.fleet.add_volume("vol-1");
    let attach = async |volume: &str, id: &str| {
        let form = format!("Action=AttachVolume&Device=/dev/sdf&VolumeId={volume}&InstanceId={id}");
        aws.send(&Call::ec2(&form)).await
    };
    let refused = async |volume: &str, id: &str| {
        let (status, xml) = attach(volume, id).await;
        assert_eq!(status, 400, "{xml}");
        text(&xml, "Code")
    };
    assert_eq!(refused("vol-2", SECOND).await, "InvalidVolume.NotFound");
    assert_eq!(refused("vol-1", "i-00000000000000000").await, "InvalidInstanceID.NotFound");
    let (status, xml) = attach("vol-1", SECOND).await;
    assert_eq!(status, 200, "{xml}");
    assert_eq!(text(&xml, "status"), "attaching");
    for id in [SECOND, THIRD] {
        assert_eq!(refused("vol-1", id).await, "VolumeInUse");
    }
    aws.cloud.fleet.shut_down(SECOND).unwrap();
    assert_eq!(refused("vol-1", THIRD).await, "VolumeInUse");
    aws.cloud.fleet.finish_termination(SECOND).unwrap();
    assert_eq!(attach("vol-1", THIRD).await.0, 200);
    assert_eq!(aws.cloud.fleet.volume_at("vol-1").as_deref(), Some(THIRD));
}
