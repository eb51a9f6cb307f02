//! CloudFormation: signals of hosts.

use super::client::{Aws, Call, text};

fn signal(parameters: &str) -> Call {
    Call::form("cloudformation", format!("Version=2010-05-15&Action=SignalResource&{parameters}"))
}

const GOOD: &str = "StackName=bbb&LogicalResourceId=Group&Status=SUCCESS&UniqueId=i-0123456789abcdef0";

#[tokio::test]
async fn a_stack_gets_signals_while_it_waits_for_them() {
    let aws = Aws::start().await;
    let refused = async |call: &Call| {
        let (status, answer) = aws.send(call).await;
        assert_eq!((status.as_u16(), text(&answer, "Code").as_str()), (400, "ValidationError"), "{answer}");
    };
    refused(&signal(GOOD)).await;
    aws.cloud.cloudformation.create("bbb", "Group");
    for (right, wrong) in [
        ("Group", "Grp"),
        ("SUCCESS", "DONE"),
        ("bbb", "other"),
        ("&UniqueId=i-0123456789abcdef0", ""),
        ("i-0123456789abcdef0", &"x".repeat(65)),
    ] {
        refused(&signal(&GOOD.replace(right, wrong))).await;
    }
    let (status, answer) = aws.send(&signal(&GOOD.replace("SUCCESS", "FAILURE"))).await;
    assert_eq!(status, 200, "{answer}");
    let signals = aws.cloud.cloudformation.signals("bbb");
    assert_eq!((signals.len(), signals[0].success), (1, false));
    assert_eq!((signals[0].resource.as_str(), signals[0].id.as_str()), ("Group", "i-0123456789abcdef0"));
    aws.cloud.cloudformation.complete("bbb");
    refused(&signal(GOOD)).await;
    assert_eq!(aws.cloud.cloudformation.signals("bbb").len(), 1);
}
