//! The Route 53 client against the sandbox's zones, over a real socket, with real signatures.

use std::sync::Arc;

use clients::aws;
use clients::aws::route53::{Cursor, HostedZone, RecordSets};
use clients::dns::system::SystemResolver;
use clients::http::Tls;
use clients::imds::Imds;
use plan::dns::{Change, ChangeBatch};
use plan::instance::InstanceId;
use plan::record::Name;
use plan::share::SharedName;
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

fn instance(number: usize) -> InstanceId {
    InstanceId::parse(&format!("i-{number:017x}")).unwrap()
}

/// The share of an instance, as an agent creates it.
fn share(number: usize, health_check: Option<&str>) -> plan::record::RecordSet {
    let shared =
        SharedName { name: Name::remote("turn.example.org"), health_check: health_check.map(str::to_owned) };
    let number_in_address = u8::try_from(number).unwrap();
    let own = plan::record::RecordSet::a(
        Name::remote("tu-1.example.org"),
        60,
        std::net::Ipv4Addr::new(192, 0, 2, number_in_address),
    );
    shared.share(&[own], &instance(number)).remove(0)
}

#[tokio::test]
async fn a_share_is_written_read_and_deleted() {
    let rig = Rig::start().await;
    let shared = Name::remote("turn.example.org");
    let sets = [share(1, Some("check-1")), share(2, None)];
    rig.zone.change(&ChangeBatch(sets.iter().cloned().map(Change::Create).collect())).await.unwrap();
    let stored = rig.cloud.route53.records_named(&rig.cloud.zone_id, "turn.example.org");
    assert_eq!(stored[0].set_identifier.as_deref(), Some("i-00000000000000001"));
    assert_eq!(stored[0].routing, Some(Routing::MultiValue));
    assert_eq!(stored[0].health_check_id.as_deref(), Some("check-1"));
    assert_eq!(stored[1].health_check_id, None);

    for (number, set) in [(1, &sets[0]), (2, &sets[1])] {
        let found = rig.zone.shares(&shared, &instance(number)).await.unwrap();
        assert_eq!((found.own, found.alien), (vec![set.clone()], None));
    }
    assert_eq!(rig.zone.shares(&shared, &instance(3)).await.unwrap(), Default::default());

    // A zone's listing has them all, at the shared name.
    let (domain, mut zone) = (Name::remote("example.org"), Zone::new());
    rig.zone.page(&domain, Cursor::start(&domain), &mut zone).await.unwrap();
    assert_eq!(zone.get(&shared).unwrap().shares, sets);
    // At a host's own name they are no share of it.
    let own = rig.zone.read(&shared).await.unwrap();
    assert_eq!((own.alien.as_deref(), own.shares.len()), (Some("a routing policy's A record set"), 0));

    // Without its health check the set is another one.
    let without = Change::Delete(share(1, None));
    assert!(
        rig.zone.change(&ChangeBatch(vec![without])).await.unwrap_err().to_string().contains("meanwhile")
    );
    rig.zone.change(&ChangeBatch(sets.into_iter().map(Change::Delete).collect())).await.unwrap();
    assert_eq!(rig.cloud.route53.records_named(&rig.cloud.zone_id, "turn.example.org").len(), 0);
}

#[tokio::test]
async fn a_share_is_found_among_many_and_nobody_elses_is_one() {
    let rig = Rig::start().await;
    let shared = Name::remote("turn.example.org");
    let many: Vec<_> = (1..=90).map(|number| Change::Create(share(number, None))).collect();
    rig.zone.change(&ChangeBatch(many)).await.unwrap();
    // A set that another program has made, and a name below.
    let mut other = RecordSet::simple("turn.example.org", RecordType::A, 60, &["192.0.2.200"]);
    (other.set_identifier, other.routing) = (Some("by-hand".to_owned()), Some(Routing::MultiValue));
    rig.put(other);
    rig.put(RecordSet::simple("a.turn.example.org", RecordType::A, 60, &["192.0.2.201"]));
    rig.put(RecordSet::simple("turn.example.org", RecordType::Txt, 60, &["\"v=spf1 -all\""]));
    let calls = rig.zone.calls();
    let found = rig.zone.shares(&shared, &instance(77)).await.unwrap();
    assert_eq!((found.own, found.alien), (vec![share(77, None)], None));
    assert_eq!(rig.zone.calls() - calls, 1);
}

#[tokio::test]
async fn what_leaves_no_room_for_shares_is_told() {
    let rig = Rig::start().await;
    let weighted = RecordSet {
        set_identifier: Some(instance(1).to_string()),
        routing: Some(Routing::Weight(1)),
        ..RecordSet::simple("weighted.example.org", RecordType::A, 60, &["192.0.2.1"])
    };
    rig.put(weighted);
    rig.put(RecordSet::simple("simple.example.org", RecordType::Aaaa, 60, &["2001:db8::1"]));
    rig.put(RecordSet::simple("cname.example.org", RecordType::Cname, 60, &["www.example.org"]));
    for (name, alien) in [
        ("weighted", "a routing policy's A record set"),
        ("simple", "a simple AAAA record set"),
        ("cname", "a CNAME"),
    ] {
        let found =
            rig.zone.shares(&Name::remote(&format!("{name}.example.org")), &instance(1)).await.unwrap();
        assert_eq!((found.own.len(), found.alien.as_deref()), (0, Some(alien)));
    }
}
