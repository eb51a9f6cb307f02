//! The Route 53 client against the sandbox's zones, over a real socket, with real signatures.

use std::sync::Arc;

use clients::aws;
use clients::aws::route53::{Cursor, HostedZone, RecordSets};
use clients::dns::system::SystemResolver;
use clients::http::Tls;
use clients::imds::Imds;
use plan::record::Name;
use plan::sweep::Zone;
use sandbox::cloud::{Cloud, Options};
use sandbox::http::ServiceName;
use sandbox::route53::{RecordSet, RecordType, Routing};

struct Rig {
    cloud: Arc<Cloud>,
    zone: HostedZone,
}

impl Rig {
    async fn start() -> Self {
        let cloud = Cloud::start(Options::default()).await.unwrap();
        let imds = Imds::new(&format!("http://{}", cloud.imds_address())).unwrap();
        let names = SystemResolver::asking(vec![cloud.resolver.address()]);
        let config = aws::sdk_config(&Tls::new(None), &names, &imds, "eu-central-1", None).await.unwrap();
        let config = config.into_builder().endpoint_url(cloud.aws_url()).build();
        Self { zone: HostedZone::new(&config, &cloud.zone_id), cloud }
    }

    fn put(&self, set: RecordSet) {
        self.cloud.route53.put(&self.cloud.zone_id, set).unwrap();
    }
}

#[tokio::test]
async fn an_ownership_txt_behind_many_other_record_sets_is_found() {
    let rig = Rig::start().await;
    rig.put(RecordSet::simple("vc-1.example.org", RecordType::A, 60, &["192.0.2.1"]));
    // They come before `_agent`, and fill the page that begins with the name.
    for number in 0..25 {
        rig.put(RecordSet::simple(&format!("{number}.vc-1.example.org"), RecordType::A, 60, &["192.0.2.2"]));
    }
    rig.put(RecordSet::simple("_agent.vc-1.example.org", RecordType::Txt, 60, &["\"heritage=someone\""]));
    let observed = rig.zone.read(&Name::remote("vc-1.example.org")).await.unwrap();
    assert_eq!(observed.addresses.len(), 1, "{observed:?}");
    assert_eq!(observed.label.map(|label| label.values), Some(["heritage=someone".to_owned()].into()));
    assert_eq!(rig.zone.calls(), 2);
}

#[tokio::test]
async fn the_connection_is_opened_without_a_call_and_used_by_the_first_one() {
    let rig = Rig::start().await;
    // The call comes while the connection is opened, and waits for it.
    let (name, gate) = (Name::remote("vc-1.example.org"), rig.cloud.gate(ServiceName::Route53));
    let ((), read) = tokio::join!(biased; rig.zone.open(), rig.zone.read(&name));
    read.unwrap();
    assert_eq!(gate.connections(), 1);
    rig.zone.open().await;
    assert_eq!(gate.connections(), 1, "an idle connection is enough");
    assert_eq!(rig.zone.calls(), 1);
    assert_eq!(rig.cloud.journal.count(ServiceName::Route53, ""), 1);
    assert_eq!(
        rig.cloud.journal.count(ServiceName::Imds, "security-credentials"),
        2,
        "only the call needs keys"
    );
}

#[tokio::test]
async fn a_page_may_end_inside_the_weighted_sets_of_one_name() {
    let rig = Rig::start().await;
    // More of them than a page has room for: who asks for the name alone gets the same page again.
    for number in 0..320 {
        let (identifier, routing) = (format!("part {number:03}/320"), Routing::Weight(1));
        let simple = RecordSet::simple("b.example.org", RecordType::A, 60, &["192.0.2.1"]);
        rig.put(RecordSet { set_identifier: Some(identifier), routing: Some(routing), ..simple });
    }
    rig.put(RecordSet::simple("z.example.org", RecordType::A, 60, &["192.0.2.2"]));
    let domain = Name::remote("example.org");
    let (mut zone, mut next) = (Zone::new(), Some(Cursor::start(&domain)));
    for _ in 0..4 {
        let Some(cursor) = next else { break };
        next = rig.zone.page(&domain, cursor, &mut zone).await.unwrap();
    }
    assert_eq!(next, None, "a listing that does not come to its end");
    assert_eq!(rig.cloud.journal.count(ServiceName::Route53, "ListResourceRecordSets"), 2);
    let at = |name: &str| zone.get(&Name::remote(name)).unwrap();
    assert_eq!(at("z.example.org").addresses.len(), 1, "what stands behind them is seen");
    assert_eq!(at("b.example.org").alien.as_deref(), Some("a routing policy's A record set"));
}
