//! Groups, lifecycle hooks, protection.

use std::time::Duration;

use sandbox::cloud::HostOptions;
use sandbox::fleet::{Hook, HookResult, LifecycleState, Transition};

use super::client::{Aws, Call, ID, text, texts};

const SECOND: &str = "i-0123456789abcd002";

async fn ok(aws: &Aws, form: &str) -> String {
    let (status, xml) = aws.send(&Call::autoscaling(form)).await;
    assert_eq!(status, 200, "{form}: {xml}");
    xml
}

async fn refused(aws: &Aws, form: &str) -> (String, String) {
    let (status, xml) = aws.send(&Call::autoscaling(form)).await;
    assert_eq!(status, 400, "{form}: {xml}");
    assert_eq!(text(&xml, "Type"), "Sender");
    (text(&xml, "Code"), text(&xml, "Message"))
}

fn state(aws: &Aws, id: &str) -> LifecycleState {
    aws.cloud.fleet.membership(id).unwrap().1.state
}

const HEARTBEAT: &str =
    "Action=RecordLifecycleActionHeartbeat&AutoScalingGroupName=bbb-fleet&LifecycleHookName=drain";
const COMPLETE: &str =
    "Action=CompleteLifecycleAction&AutoScalingGroupName=bbb-fleet&LifecycleHookName=drain";

#[tokio::test]
async fn groups_instances_and_hooks_are_described() {
    let aws = Aws::start().await;
    let form = format!("Action=DescribeAutoScalingInstances&InstanceIds.member.1={ID}");
    let xml = ok(&aws, &form).await;
    assert_eq!(text(&xml, "AutoScalingGroupName"), "bbb-fleet");
    assert_eq!(text(&xml, "LifecycleState"), "InService");
    assert_eq!(text(&xml, "ProtectedFromScaleIn"), "false");
    let unknown = "Action=DescribeAutoScalingInstances&InstanceIds.member.1=i-00000000000000000";
    assert!(texts(&ok(&aws, unknown).await, "InstanceId").is_empty());
    let xml = ok(&aws, "Action=DescribeAutoScalingGroups&AutoScalingGroupNames.member.1=bbb-fleet").await;
    assert_eq!(text(&xml, "DesiredCapacity"), "1");
    assert_eq!(text(&xml, "InstanceId"), ID);
    let xml = ok(&aws, "Action=DescribeAutoScalingGroups&AutoScalingGroupNames.member.1=none").await;
    assert!(texts(&xml, "AutoScalingGroupARN").is_empty());
    let xml = ok(&aws, "Action=DescribeLifecycleHooks&AutoScalingGroupName=bbb-fleet").await;
    assert_eq!(text(&xml, "LifecycleHookName"), "drain");
    assert_eq!(text(&xml, "HeartbeatTimeout"), "900");
    assert_eq!(text(&xml, "GlobalTimeout"), "90000");
    assert_eq!(text(&xml, "LifecycleTransition"), "autoscaling:EC2_INSTANCE_TERMINATING");
}

#[tokio::test]
async fn the_ceiling_is_48_hours_or_100_heartbeats() {
    for (heartbeat_timeout, ceiling) in [(30, 3000), (900, 90_000), (7200, 172_800)] {
        let hook = Hook {
            name: "drain".to_owned(),
            transition: Transition::Terminating,
            heartbeat_timeout,
            default_result: HookResult::Continue,
        };
        assert_eq!(hook.global_timeout(), ceiling);
    }
}

#[tokio::test]
async fn a_hook_holds_a_terminating_instance_until_it_completes() {
    let aws = Aws::start().await;
    for result in ["CONTINUE", "ABANDON"] {
        aws.cloud.fleet.set_lifecycle_state(ID, LifecycleState::InService).unwrap();
        assert_eq!(aws.cloud.fleet.terminate(ID).unwrap(), LifecycleState::TerminatingWait);
        ok(&aws, &format!("{COMPLETE}&InstanceId={ID}&LifecycleActionResult={result}")).await;
        assert_eq!(state(&aws, ID), LifecycleState::TerminatingProceed, "{result}");
    }
    aws.cloud.fleet.shut_down(ID).unwrap();
    aws.cloud.fleet.finish_termination(ID).unwrap();
    assert!(aws.cloud.fleet.membership(ID).is_none());
}

#[tokio::test]
async fn heartbeats_extend_up_to_the_ceiling() {
    let aws = Aws::start().await;
    aws.cloud.fleet.terminate(ID).unwrap();
    let heartbeat = format!("{HEARTBEAT}&InstanceId={ID}");
    for beats in 1..=110_u32 {
        aws.cloud.clock.advance(Duration::from_secs(800));
        ok(&aws, &heartbeat).await;
        let member = aws.cloud.fleet.membership(ID).unwrap().1;
        assert_eq!(member.actions[0].heartbeats, beats);
    }
    // 110 x 800 s are past, the ceiling is 90,000 s: heartbeats help no longer.
    assert_eq!(state(&aws, ID), LifecycleState::TerminatingWait);
    ok(&aws, &heartbeat).await;
    aws.cloud.clock.advance(Duration::from_secs(2001));
    assert_eq!(state(&aws, ID), LifecycleState::TerminatingProceed);
}

#[tokio::test]
async fn an_expired_hook_takes_its_default_result() {
    let aws = Aws::start().await;
    aws.cloud.fleet.terminate(ID).unwrap();
    aws.cloud.clock.advance(Duration::from_secs(899));
    assert_eq!(state(&aws, ID), LifecycleState::TerminatingWait);
    aws.cloud.clock.advance(Duration::from_secs(2));
    assert_eq!(state(&aws, ID), LifecycleState::TerminatingProceed);
    let (code, message) = refused(&aws, &format!("{HEARTBEAT}&InstanceId={ID}")).await;
    assert_eq!(code, "ValidationError");
    assert_eq!(message, format!("No active Lifecycle Action found with instance ID {ID}"));
}

#[tokio::test]
async fn a_launch_hook_holds_and_may_give_up() {
    let aws = Aws::start().await;
    let hook = Hook {
        name: "boot".to_owned(),
        transition: Transition::Launching,
        heartbeat_timeout: 300,
        default_result: HookResult::Abandon,
    };
    aws.cloud.fleet.put_hook("bbb-fleet", hook).unwrap();
    let options = HostOptions { group: None, ..HostOptions::numbered(2) };
    aws.cloud.add_host(options).await.unwrap();
    aws.cloud.fleet.launch_into("bbb-fleet", SECOND).unwrap();
    assert_eq!(state(&aws, SECOND), LifecycleState::PendingWait);
    let complete = COMPLETE.replace("drain", "boot");
    ok(&aws, &format!("{complete}&InstanceId={SECOND}&LifecycleActionResult=CONTINUE")).await;
    assert_eq!(state(&aws, SECOND), LifecycleState::InService);
    aws.cloud.fleet.set_lifecycle_state(SECOND, LifecycleState::WarmedStopped).unwrap();
    assert_eq!(aws.cloud.fleet.launch_from_pool(SECOND).unwrap(), LifecycleState::PendingWait);
    aws.cloud.clock.advance(Duration::from_secs(301));
    // Given up: the termination hook holds it now.
    assert_eq!(state(&aws, SECOND), LifecycleState::TerminatingWait);
}

#[tokio::test]
async fn without_a_hook_nothing_holds() {
    let aws = Aws::start().await;
    aws.cloud.fleet.remove_hook("bbb-fleet", "drain").unwrap();
    assert_eq!(aws.cloud.fleet.terminate(ID).unwrap(), LifecycleState::Terminating);
}

#[tokio::test]
async fn two_hooks_hold_until_both_continue_or_one_abandons() {
    let aws = Aws::start().await;
    let hook = Hook {
        name: "logs".to_owned(),
        transition: Transition::Terminating,
        heartbeat_timeout: 300,
        default_result: HookResult::Continue,
    };
    aws.cloud.fleet.put_hook("bbb-fleet", hook).unwrap();
    aws.cloud.fleet.terminate(ID).unwrap();
    ok(&aws, &format!("{COMPLETE}&InstanceId={ID}&LifecycleActionResult=CONTINUE")).await;
    assert_eq!(state(&aws, ID), LifecycleState::TerminatingWait);
    aws.cloud.clock.advance(Duration::from_secs(301));
    assert_eq!(state(&aws, ID), LifecycleState::TerminatingProceed);
    aws.cloud.fleet.set_lifecycle_state(ID, LifecycleState::InService).unwrap();
    aws.cloud.fleet.terminate(ID).unwrap();
    ok(&aws, &format!("{COMPLETE}&InstanceId={ID}&LifecycleActionResult=ABANDON")).await;
    assert_eq!(state(&aws, ID), LifecycleState::TerminatingProceed);
}

#[tokio::test]
async fn scale_in_skips_the_protected_and_takes_the_oldest() {
    let aws = Aws::start().await;
    aws.cloud.clock.advance(Duration::from_secs(60));
    aws.cloud.add_host(HostOptions::numbered(2)).await.unwrap();
    let protect = "Action=SetInstanceProtection&AutoScalingGroupName=bbb-fleet&InstanceIds.member.1=";
    ok(&aws, &format!("{protect}{ID}&ProtectedFromScaleIn=true")).await;
    assert_eq!(aws.cloud.fleet.scale_in("bbb-fleet").unwrap().as_deref(), Some(SECOND));
    assert_eq!(state(&aws, SECOND), LifecycleState::TerminatingWait);
    assert_eq!(aws.cloud.fleet.scale_in("bbb-fleet").unwrap(), None);
    assert_eq!(state(&aws, ID), LifecycleState::InService);
    assert!(aws.cloud.fleet.scale_in("bbb-fleet").unwrap_err().message.contains("below min value 0"));
    // Protection does not keep the group from replacing it.
    assert_eq!(aws.cloud.fleet.terminate(ID).unwrap(), LifecycleState::TerminatingWait);
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let aws = Aws::start().await;
    let options = HostOptions { group: None, ..HostOptions::numbered(2) };
    aws.cloud.add_host(options).await.unwrap();
    let protect = "Action=SetInstanceProtection&AutoScalingGroupName=bbb-fleet";
    let no_action = format!("No active Lifecycle Action found with instance ID {ID}");
    let rows = [
        (format!("{HEARTBEAT}&InstanceId={ID}"), no_action.as_str()),
        (format!("{COMPLETE}&InstanceId={ID}&LifecycleActionResult=CONTINUE"), no_action.as_str()),
        (
            format!("{COMPLETE}&LifecycleActionToken=bcd2f1b8&LifecycleActionResult=CONTINUE"),
            "No active Lifecycle Action found with token bcd2f1b8",
        ),
        (format!("{COMPLETE}&InstanceId={ID}&LifecycleActionResult=STOP"), "CONTINUE or ABANDON"),
        (format!("{COMPLETE}&InstanceId={ID}"), "Value null at 'lifecycleActionResult'"),
        (HEARTBEAT.to_owned(), "Either a token or an instance ID"),
        (
            format!("{HEARTBEAT}&InstanceId={ID}").replace("bbb-fleet", "none"),
            "AutoScalingGroup name not found - none",
        ),
        (format!("{HEARTBEAT}&InstanceId={ID}").replace("drain", "none"), "Lifecycle Hook none not found"),
        (
            format!("{protect}&InstanceIds.member.1={SECOND}&ProtectedFromScaleIn=true"),
            "is not part of Auto Scaling group bbb-fleet.",
        ),
        (format!("{protect}&ProtectedFromScaleIn=true"), "0 instance ids given; 1 to 50 are allowed"),
        (format!("{protect}&InstanceIds.member.1={ID}"), "Value null at 'protectedFromScaleIn'"),
        (
            "Action=DescribeLifecycleHooks&AutoScalingGroupName=none".to_owned(),
            "AutoScalingGroup name not found - none",
        ),
    ];
    for (form, expected) in rows {
        let (code, message) = refused(&aws, &form).await;
        assert_eq!(code, "ValidationError", "{form}");
        assert!(message.contains(expected), "{form}: {message}");
    }
    aws.cloud.fleet.terminate(ID).unwrap();
    let (_, message) =
        refused(&aws, &format!("{protect}&InstanceIds.member.1={ID}&ProtectedFromScaleIn=true")).await;
    assert_eq!(message, format!("The instance {ID} is not in InService or EnteringStandby or Standby."));
    assert_eq!(refused(&aws, "Action=DeleteAutoScalingGroup").await.0, "InvalidAction");
    assert_eq!(refused(&aws, "Action=DescribeAutoScalingGroups&NextToken=x").await.0, "InvalidNextToken");
}

#[tokio::test]
async fn warm_instances_are_not_listed_in_the_group() {
    let aws = Aws::start().await;
    aws.cloud.fleet.set_lifecycle_state(ID, LifecycleState::WarmedRunning).unwrap();
    let xml = ok(&aws, "Action=DescribeAutoScalingGroups").await;
    assert!(texts(&xml, "InstanceId").is_empty());
    let xml = ok(&aws, "Action=DescribeAutoScalingInstances").await;
    assert_eq!(text(&xml, "LifecycleState"), "Warmed:Running");
    aws.cloud.fleet.terminate(ID).unwrap();
    assert_eq!(state(&aws, ID), LifecycleState::WarmedTerminatingWait);
}
