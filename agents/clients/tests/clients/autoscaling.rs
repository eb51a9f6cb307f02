//! The Auto Scaling client against the sandbox's groups, over a real socket, with real signatures.

use std::sync::Arc;
use std::time::Duration;

use clients::aws;
use clients::aws::autoscaling::{self, AutoScaling, Error, Hook, Membership};
use clients::dns::system::SystemResolver;
use clients::http::Tls;
use clients::imds::Imds;
use plan::fleet::Member;
use plan::instance::InstanceId;
use plan::lifecycle::HookResult;
use sandbox::aws::xml::Xml;
use sandbox::cloud::{Cloud, Options};
use sandbox::faults::{Fault, Planned};
use sandbox::fleet::{self, LifecycleState, Transition};
use sandbox::http::ServiceName;

use crate::served::{Canned, Served};

const NAMESPACE: &str = "http://autoscaling.amazonaws.com/doc/2011-01-01/";
const GROUP: &str = "bbb-fleet";
const HOOK: &str = "drain";

struct Rig {
    cloud: Arc<Cloud>,
    client: AutoScaling,
    instance: InstanceId,
}

impl Rig {
    async fn start() -> Self {
        let cloud = Cloud::start(Options::default()).await.unwrap();
        let instance = InstanceId::parse(cloud.imds.instance()).unwrap();
        Self { client: client(&cloud, &cloud.aws_url()).await, cloud, instance }
    }

    /// A client with the keys of this cloud for another Auto Scaling.
    async fn client_at(&self, url: &str) -> AutoScaling {
        client(&self.cloud, url).await
    }

    fn id(&self) -> &str {
        self.instance.as_str()
    }

    fn state(&self) -> LifecycleState {
        self.cloud.fleet.membership(self.id()).unwrap().1.state
    }

    fn fail(&self, fault: Fault) {
        let service = ServiceName::AutoScaling;
        self.cloud.faults.plan(Planned { service, action: None, fault, times: Some(1) });
    }

    async fn heartbeat(&self) -> Result<(), Error> {
        self.client.heartbeat(GROUP, HOOK, &self.instance).await
    }

    async fn complete(&self, verdict: HookResult) -> Result<(), Error> {
        self.client.complete(GROUP, HOOK, &self.instance, verdict).await
    }
}

async fn client(cloud: &Cloud, url: &str) -> AutoScaling {
    let imds = Imds::new(&format!("http://{}", cloud.imds_address())).unwrap();
    let names = SystemResolver::asking(vec![cloud.resolver.address()]);
    // The settings name another region than the host's: Route 53 may be used from elsewhere.
    let config = aws::sdk_config(&Tls::new(None), &names, &imds, "us-east-1", None).await.unwrap();
    AutoScaling::new(&config.into_builder().endpoint_url(url).build(), "eu-central-1")
}

#[tokio::test]
async fn where_an_instance_is() {
    let rig = Rig::start().await;
    let expected = Membership { group: GROUP.into(), state: "InService".into(), protected: false };
    assert_eq!(rig.client.membership(&rig.instance).await.unwrap(), Some(expected));
    rig.cloud.fleet.terminate(rig.id()).unwrap();
    let held = rig.client.membership(&rig.instance).await.unwrap().unwrap();
    assert_eq!(held.state, "Terminating:Wait");
    let stranger = InstanceId::parse("i-0fedcba9876543210").unwrap();
    assert_eq!(rig.client.membership(&stranger).await.unwrap(), None);
}

#[tokio::test]
async fn an_instance_whose_group_or_state_is_not_told_is_not_outside_a_group() {
    for told in [["", "InService"], ["bbb-fleet", ""], ["", ""]] {
        let rig = Rig::start().await;
        let row = Xml::document("DescribeAutoScalingInstancesResponse", NAMESPACE, |xml| {
            xml.element("DescribeAutoScalingInstancesResult", |xml| {
                xml.element("AutoScalingInstances", |xml| {
                    xml.element("member", |xml| {
                        xml.text("InstanceId", rig.id());
                        for (name, value) in ["AutoScalingGroupName", "LifecycleState"].into_iter().zip(told)
                        {
                            xml.maybe(name, Some(value).filter(|value| !value.is_empty()));
                        }
                    });
                });
            });
        });
        let (status, content_type, body) = (200, "text/xml", row.into_bytes());
        let canned = Canned { name: ServiceName::AutoScaling, status, content_type, body };
        let served = Served::start(Arc::new(canned)).await;
        let error = rig.client_at(&served.url()).await.membership(&rig.instance).await.unwrap_err();
        assert!(
            error.to_string().contains("without a group's name or a lifecycle state"),
            "{told:?}: {error}"
        );
    }
}

#[tokio::test]
async fn the_groups_hooks_are_listed_with_their_way() {
    let rig = Rig::start().await;
    let hook = |name: &str, transition, heartbeat_timeout| fleet::Hook {
        name: name.into(),
        transition,
        heartbeat_timeout,
        default_result: fleet::HookResult::Continue,
    };
    rig.cloud.fleet.put_hook(GROUP, hook("boot", Transition::Launching, 60)).unwrap();
    rig.cloud.fleet.put_hook(GROUP, hook("long", Transition::Terminating, 7200)).unwrap();
    let named = |name: &str, transition, heartbeat, ceiling| Hook {
        name: name.into(),
        transition,
        heartbeat_timeout: Duration::from_secs(heartbeat),
        ceiling: Duration::from_secs(ceiling),
    };
    let (into, out) = (autoscaling::Transition::Launching, autoscaling::Transition::Terminating);
    let hooks = rig.client.hooks(GROUP).await.unwrap();
    let all =
        [named(HOOK, out, 900, 90_000), named("boot", into, 60, 6000), named("long", out, 7200, 172_800)];
    assert_eq!(hooks, all);

    let error = rig.client.hooks("nobody's").await.unwrap_err();
    assert!(!error.is_retryable() && !error.is_gone());
    assert!(
        error
            .to_string()
            .starts_with("Auto Scaling DescribeLifecycleHooks of group nobody's: ValidationError"),
        "{error}"
    );
}

#[tokio::test]
async fn a_hook_holds_the_instance_until_it_is_completed() {
    for verdict in [HookResult::Continue, HookResult::Abandon] {
        let rig = Rig::start().await;
        rig.cloud.fleet.terminate(rig.id()).unwrap();
        for _ in 0..2 {
            // Without the heartbeat, the timeout would be over after the second of these.
            rig.cloud.clock.advance(Duration::from_secs(600));
            rig.heartbeat().await.unwrap();
            assert_eq!(rig.state(), LifecycleState::TerminatingWait);
        }
        rig.complete(verdict).await.unwrap();
        assert_eq!(rig.state(), LifecycleState::TerminatingProceed);
        for error in [rig.complete(verdict).await.unwrap_err(), rig.heartbeat().await.unwrap_err()] {
            assert!(error.is_gone() && !error.is_retryable(), "{error:?}");
            assert!(
                error.to_string().contains("by hook drain of group bbb-fleet: ValidationError: "),
                "{error}"
            );
            assert!(error.to_string().contains(rig.id()), "{error}");
        }
    }
}

#[tokio::test]
async fn what_does_not_hold_the_instance_is_gone() {
    let rig = Rig::start().await;
    assert!(rig.heartbeat().await.unwrap_err().is_gone(), "it is in service");
    rig.cloud.fleet.terminate(rig.id()).unwrap();
    rig.cloud.clock.advance(Duration::from_secs(901));
    assert!(rig.heartbeat().await.unwrap_err().is_gone(), "the heartbeat timeout is over");

    let error = rig.client.complete("nobody's", HOOK, &rig.instance, HookResult::Continue).await.unwrap_err();
    assert!(!error.is_gone() && !error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("nobody's"), "{error}");
}

#[tokio::test]
async fn after_a_lost_reply_the_completion_is_gone() {
    let rig = Rig::start().await;
    rig.cloud.fleet.terminate(rig.id()).unwrap();
    rig.fail(Fault::LoseReply);
    let error = rig.complete(HookResult::Continue).await.unwrap_err();
    assert!(error.is_retryable() && !error.is_gone(), "{error:?}");
    assert!(rig.complete(HookResult::Continue).await.unwrap_err().is_gone());
}

#[tokio::test]
async fn protection_from_scale_in() {
    let rig = Rig::start().await;
    for protected in [true, true, false] {
        rig.client.protect(GROUP, &rig.instance, protected).await.unwrap();
        assert_eq!(rig.client.membership(&rig.instance).await.unwrap().unwrap().protected, protected);
    }
    rig.cloud.fleet.terminate(rig.id()).unwrap();
    let error = rig.client.protect(GROUP, &rig.instance, true).await.unwrap_err();
    assert!(!error.is_retryable() && !error.is_gone(), "{error:?}");
    assert!(error.to_string().contains("is not in InService"), "{error}");
}

#[tokio::test]
async fn nothing_is_retried_here_and_errors_say_whether_to() {
    let rig = Rig::start().await;
    let error = |status, code: &str| Fault::Error { status, code: code.to_owned() };
    for (fault, again) in [
        (error(400, "Throttling"), true),
        (error(500, "ResourceContention"), true),
        (error(503, "ServiceUnavailable"), true),
        (error(403, "AccessDenied"), false),
        (error(400, "ValidationError"), false),
        (Fault::Close, true),
    ] {
        let before = rig.cloud.journal.count(ServiceName::AutoScaling, "");
        rig.fail(fault.clone());
        let error = rig.client.membership(&rig.instance).await.unwrap_err();
        assert_eq!((error.is_retryable(), error.is_gone()), (again, false), "{fault:?}: {error}");
        assert_eq!(rig.cloud.journal.count(ServiceName::AutoScaling, ""), before + 1);
        let named = format!("Auto Scaling DescribeAutoScalingInstances of {}: ", rig.id());
        assert!(error.to_string().starts_with(&named), "{error}");
    }
}

#[tokio::test]
async fn the_members_of_groups() {
    let rig = Rig::start().await;
    let members = async |group: &str| rig.client.members(&[group.to_owned()].into()).await;
    rig.cloud.fleet.protect(GROUP, &[rig.id().to_owned()], true).unwrap();
    let expected = Member {
        group: GROUP.into(),
        state: "InService".into(),
        protected: Some(true),
        availability_zone: Some("eu-central-1a".into()),
    };
    assert_eq!(members(GROUP).await.unwrap(), [(rig.instance.clone(), expected)].into());
    assert_eq!(members("another").await.unwrap(), [].into());
    rig.cloud.journal.clear();
    assert_eq!(rig.client.members(&[].into()).await.unwrap(), [].into());
    assert_eq!(rig.cloud.journal.entries().len(), 0, "no group is not every group");
    rig.cloud.aws.deny("autoscaling:DescribeAutoScalingGroups");
    let error = members(GROUP).await.unwrap_err();
    assert!(!error.is_retryable());
    assert!(
        error.to_string().starts_with("Auto Scaling DescribeAutoScalingGroups of bbb-fleet: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_member_without_a_state_is_none_that_is_in_service() {
    let rig = Rig::start().await;
    let body = Xml::document("DescribeAutoScalingGroupsResponse", NAMESPACE, |xml| {
        xml.element("DescribeAutoScalingGroupsResult", |xml| {
            xml.element("AutoScalingGroups", |xml| {
                xml.element("member", |xml| {
                    xml.text("AutoScalingGroupName", GROUP);
                    xml.element("Instances", |xml| {
                        xml.element("member", |xml| {
                            xml.text("InstanceId", rig.id());
                        });
                    });
                });
            });
        });
    });
    let name = ServiceName::AutoScaling;
    let canned = Canned { name, status: 200, content_type: "text/xml", body: body.into() };
    let served = Served::start(Arc::new(canned)).await;
    let error = rig.client_at(&served.url()).await.members(&[GROUP.to_owned()].into()).await.unwrap_err();
    assert!(error.to_string().contains("without an id or a lifecycle state"), "{error}");
}

#[tokio::test]
async fn what_becomes_of_the_group() {
    let rig = Rig::start().await;
    rig.cloud.fleet.protect(GROUP, &[rig.id().to_owned()], true).unwrap();
    assert_eq!(rig.client.is_closing(GROUP).await, Ok(false));
    assert_eq!(rig.client.is_closing("none").await, Ok(false), "who is not listed says nothing");
    rig.cloud.fleet.delete_group(GROUP).unwrap();
    assert_eq!(rig.client.is_closing(GROUP).await, Ok(true));
    assert_eq!(rig.state(), LifecycleState::InService, "it waits for a protected instance");
    let rig = Rig::start().await;
    rig.cloud.fleet.empty(GROUP).unwrap();
    assert_eq!(rig.client.is_closing(GROUP).await, Ok(true));
    assert_eq!(rig.state(), LifecycleState::TerminatingWait, "and for no other");
    rig.fail(Fault::Error { status: 403, code: "AccessDenied".to_owned() });
    let error = rig.client.is_closing(GROUP).await.unwrap_err().to_string();
    assert!(error.starts_with("Auto Scaling DescribeAutoScalingGroups of bbb-fleet: "), "{error}");
}
