//! The EC2 client against answers in several pages, which no fleet of a test is large enough for.

use std::sync::{Arc, Mutex};

use clients::aws;
use clients::aws::ec2::{Described, Ec2, Instances};
use clients::dns::system::SystemResolver;
use clients::http::Tls;
use clients::imds::Imds;
use futures_util::future::BoxFuture;
use plan::instance::InstanceId;
use plan::sweep::Seen;
use sandbox::aws::xml::Xml;
use sandbox::cloud::{Cloud, Options};
use sandbox::http::{Request, Response, Service, ServiceName, reply};

use crate::served::Served;

const FIRST: &str = "i-00000000000000001";
const SECOND: &str = "i-00000000000000002";
const NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

/// An EC2 that tells one instance a page, with its state if it has one, and after each of these pages the token of the
/// next.
struct Pages {
    pages: Vec<(&'static str, Option<&'static str>)>,
    state: Option<&'static str>,
    /// The token of each request.
    asked: Mutex<Vec<Option<String>>>,
}

impl Service for Pages {
    fn name(&self) -> ServiceName {
        ServiceName::Ec2
    }

    fn action(&self, _: &Request) -> String {
        "DescribeInstances".to_owned()
    }

    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Response> {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let token = body.split('&').find_map(|pair| pair.strip_prefix("NextToken=")).map(str::to_owned);
        let mut asked = self.asked.lock().unwrap();
        let (instance, next) = self.pages[asked.len() % self.pages.len()];
        asked.push(token);
        let page = Xml::document("DescribeInstancesResponse", NAMESPACE, |xml| {
            xml.element("reservationSet", |xml| {
                xml.element("item", |xml| {
                    xml.element("instancesSet", |xml| {
                        xml.element("item", |xml| {
                            xml.text("instanceId", instance);
                            if let Some(state) = self.state {
                                xml.element("instanceState", |xml| {
                                    xml.text("name", state);
                                });
                            }
                        });
                    });
                });
            });
            xml.maybe("nextToken", next);
        });
        Box::pin(std::future::ready(reply(200, "text/xml;charset=UTF-8", page)))
    }

    fn error(&self, status: u16, code: &str) -> Response {
        reply(status, "text/plain", code.to_owned())
    }
}

struct Rig {
    pages: Arc<Pages>,
    client: Ec2,
    _served: Served,
    /// Has the keys for the signatures.
    _cloud: Arc<Cloud>,
}

impl Rig {
    async fn start(pages: &[(&'static str, Option<&'static str>)]) -> Self {
        Self::telling(Some("running"), pages).await
    }

    async fn telling(state: Option<&'static str>, pages: &[(&'static str, Option<&'static str>)]) -> Self {
        let cloud = Cloud::start(Options::default()).await.unwrap();
        let imds = Imds::new(&format!("http://{}", cloud.imds_address())).unwrap();
        let names = SystemResolver::asking(vec![cloud.resolver.address()]);
        let pages = Arc::new(Pages { pages: pages.to_vec(), state, asked: Mutex::default() });
        let served = Served::start(pages.clone()).await;
        let config = aws::sdk_config(&Tls::new(None), &names, &imds, "us-east-1", None).await.unwrap();
        let config = config.into_builder().endpoint_url(served.url()).build();
        Self { pages, client: Ec2::new(&config, "eu-central-1"), _served: served, _cloud: cloud }
    }

    fn asked(&self) -> Vec<Option<String>> {
        self.pages.asked.lock().unwrap().clone()
    }
}

fn id(text: &str) -> InstanceId {
    InstanceId::parse(text).unwrap()
}

#[tokio::test]
async fn what_only_the_second_page_tells_is_not_absent() {
    // An empty token is none.
    for last in [None, Some("")] {
        let rig = Rig::start(&[(FIRST, Some("further")), (SECOND, last)]).await;
        let there = Seen::There("running".to_owned());
        let seen = rig.client.seen(&[id(FIRST), id(SECOND)]).await.unwrap();
        assert_eq!(seen, [(id(FIRST), there.clone()), (id(SECOND), there)].into());
        assert_eq!(rig.asked(), [None, Some("further".to_owned())]);
        let holders = rig.client.holders([198, 51, 100, 1].into()).await.unwrap();
        assert_eq!(holders, [FIRST.to_owned(), SECOND.to_owned()].into());
        assert_eq!(rig.asked().len(), 4, "there is no third page");
    }
}

#[tokio::test]
async fn an_answer_without_end_proves_nothing() {
    let rig = Rig::start(&[(FIRST, Some("further"))]).await;
    let error = rig.client.seen(&[id(FIRST), id(SECOND)]).await.unwrap_err();
    assert!(!error.is_retryable(), "{error}");
    assert!(error.to_string().contains("more than 50 pages"), "{error}");
    assert_eq!(rig.asked().len(), 50);
}

#[tokio::test]
async fn only_terminated_is_terminated() {
    let there = |words: &str| Seen::There(words.to_owned());
    let rows = [
        (Some("terminated"), Seen::Terminated),
        (Some("shutting-down"), there("shutting-down")),
        (Some("stopped"), there("stopped")),
        (Some("of-a-later-version"), there("of-a-later-version")),
        (None, there("in no known state")),
    ];
    for (state, expected) in rows {
        let rig = Rig::telling(state, &[(FIRST, None)]).await;
        let seen = rig.client.seen(&[id(FIRST), id(SECOND)]).await.unwrap();
        assert_eq!(seen, [(id(FIRST), expected), (id(SECOND), Seen::Absent)].into(), "{state:?}");
    }
}

#[tokio::test]
async fn all_instances_are_those_of_all_pages() {
    let rig =
        Rig::telling(None, &[(FIRST, Some("further")), ("not-an-instance", Some("last")), (SECOND, None)])
            .await;
    let all = rig.client.all().await.unwrap();
    assert_eq!(all.keys().cloned().collect::<Vec<_>>(), [id(FIRST), id(SECOND)]);
    let nothing_told = Described {
        state: Seen::There("in no known state".to_owned()),
        availability_zone: None,
        launched: None,
        group: None,
        public_ipv4: None,
        private_ipv4: None,
        ipv6: [].into(),
    };
    assert_eq!(all[&id(FIRST)], nothing_told);
    assert_eq!(rig.asked(), [None, Some("further".to_owned()), Some("last".to_owned())]);
    let endless = Rig::start(&[(FIRST, Some("further"))]).await;
    let error = endless.client.all().await.unwrap_err().to_string();
    assert!(error.contains("more than 50 pages for all instances"), "{error}");
}

#[tokio::test]
async fn an_instance_is_described_with_all_that_ec2_tells() {
    let cloud = Cloud::start(Options::default()).await.unwrap();
    let imds = Imds::new(&format!("http://{}", cloud.imds_address())).unwrap();
    let names = SystemResolver::asking(vec![cloud.resolver.address()]);
    let config = aws::sdk_config(&Tls::new(None), &names, &imds, "eu-central-1", None).await.unwrap();
    let config = config.into_builder().endpoint_url(cloud.aws_url()).build();
    let me = id(cloud.imds.instance());
    let all = Ec2::new(&config, "eu-central-1").all().await.unwrap();
    let expected = Described {
        state: Seen::There("running".to_owned()),
        availability_zone: Some("eu-central-1a".to_owned()),
        launched: Some(cloud.fleet.instance(me.as_str()).unwrap().launched),
        group: Some(cloud.group.clone()),
        public_ipv4: Some([203, 0, 113, 10].into()),
        private_ipv4: Some([10, 0, 0, 10].into()),
        ipv6: ["2001:db8::10".parse().unwrap()].into(),
    };
    assert_eq!(all, [(me, expected)].into());
}
