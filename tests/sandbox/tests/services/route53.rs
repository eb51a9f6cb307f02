//! The Route 53 stand-in over HTTP: what it does and, row by row, what it refuses.

mod refusals;
mod rig;

use std::sync::Arc;
use std::time::Duration;

use refusals::refusals;
use rig::{NS, Rig, ZONE, a, batch, change, multivalue, options, seeds, set, set_with};
use sandbox::dns::NameServers;
use sandbox::faults::{Fault, Planned};
use sandbox::http::{Service, ServiceName};
use sandbox::route53::{
    Action, BucketSize, Clock, Options, Propagation, RecordSet, RecordType, RefusalShape, Routing, Throttle,
};

#[tokio::test]
async fn what_is_refused_changes_nothing() {
    for (what, changes, code, message) in refusals() {
        let rig = Rig::plain().await;
        seeds().into_iter().for_each(|set| rig.put(set));
        let before = rig.route53.records(ZONE).unwrap();
        let answer = rig.post(batch(&changes)).await;
        assert_eq!((answer.status, answer.text("Code").as_str()), (400, code), "{what}: {}", answer.body);
        assert!(answer.text("Message").contains(message), "{what}: {}", answer.body);
        assert_eq!(answer.text("Type"), "Sender", "{what}");
        assert_eq!(answer.text("RequestId").len(), 36, "{what}");
        assert_eq!(rig.route53.records(ZONE).unwrap(), before, "{what}");
        assert!(rig.route53.changes().is_empty(), "{what}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let rig = Rig::plain().await;
    let good = batch(&[change("CREATE", &a("x.example.org", "192.0.2.1"))]);
    for (what, body) in [
        ("nothing", String::new()),
        ("not XML", "{}".to_owned()),
        ("cut off", good[..good.len() - 1].to_owned()),
        ("another root", good.replace("ChangeResourceRecordSetsRequest", "ChangeBatchRequest")),
        ("another namespace", good.replace("2013-04-01", "2012-12-12")),
        ("no namespace", good.replace(&format!(" xmlns=\"{NS}\""), "")),
    ] {
        let answer = rig.post(body).await;
        assert_eq!((answer.status, answer.text("Code").as_str()), (400, "MalformedInput"), "{what}");
    }
    assert!(rig.route53.changes().is_empty());
    assert_eq!(rig.post(good).await.status, 200, "the control");
}

#[tokio::test]
async fn unknown_things_are_not_found() {
    let rig = Rig::plain().await;
    let body = batch(&[change("CREATE", &a("x.example.org", "192.0.2.1"))]);
    for (answer, code) in [
        (rig.post_to("Z0NOWHERE", body).await, "NoSuchHostedZone"),
        (rig.get("hostedzone/Z0NOWHERE").await, "NoSuchHostedZone"),
        (rig.get("hostedzone/Z0NOWHERE/rrset").await, "NoSuchHostedZone"),
        (rig.get("change/C0NOTHING").await, "NoSuchChange"),
        (rig.get("healthcheck").await, "UnknownOperationException"),
    ] {
        assert_eq!((answer.status, answer.text("Code").as_str()), (404, code));
    }
}

#[tokio::test]
async fn refused_batches_can_look_as_documented() {
    let rig = Rig::start(Options { refusal_shape: RefusalShape::Documented, ..options() }).await;
    let twice = [
        change("DELETE", &a("a.example.org", "192.0.2.1")),
        change("DELETE", &a("b.example.org", "192.0.2.1")),
    ];
    let answer = rig.post(batch(&twice)).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.body.contains(&format!("<InvalidChangeBatch xmlns=\"{NS}\"><Messages><Message>")),
        "{}",
        answer.body
    );
    let expected = ["a", "b"].map(|host| {
        format!(
            "Tried to delete resource record set [name='{host}.example.org.', type='A'] but it was not found"
        )
    });
    assert_eq!(answer.texts("Message"), expected);

    let rig = Rig::plain().await;
    let answer = rig.post(batch(&twice)).await;
    assert_eq!(answer.text("Message"), format!("[{}]", expected.join(", ")));
}

#[tokio::test]
async fn changes_are_applied_in_order_and_recorded() {
    let rig = Rig::plain().await;
    seeds().into_iter().for_each(|set| rig.put(set));
    let replace = [
        // The values in any order, the name in any case.
        change("DELETE", &set("WWW.example.org.", "A", 60, &["192.0.2.2", "192.0.2.1"])),
        change("CREATE", &a("www.example.org", "192.0.2.8")),
        change("CREATE", &set_with("several.example.org", "A", &multivalue("i-2"), 60, &["192.0.2.10"])),
        change("UPSERT", &set("_agent.www.example.org", "TXT", 30, &["\"a <b> & \\\"c\\\"\""])),
    ];
    let answer = rig.post(batch(&replace)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.text("Status"), "PENDING");
    assert_eq!(answer.text("Comment"), "a & b");

    let www = rig.route53.records_named(ZONE, "www.example.org");
    assert_eq!(www, [RecordSet::simple("www.example.org.", RecordType::A, 60, &["192.0.2.8"])]);
    let identifiers: Vec<_> = rig
        .route53
        .records_named(ZONE, "several.example.org")
        .into_iter()
        .map(|set| set.set_identifier.unwrap())
        .collect();
    assert_eq!(identifiers, ["i-1", "i-2"]);

    let accepted = rig.route53.changes();
    assert_eq!(accepted.len(), 1);
    let actions: Vec<_> = accepted[0].changes.iter().map(|change| change.action).collect();
    assert_eq!(actions, [Action::Delete, Action::Create, Action::Create, Action::Upsert]);
    assert_eq!(accepted[0].changes[0].set.name, "www.example.org.");
    let json = serde_json::to_value(&accepted).unwrap();
    assert_eq!(json[0]["changes"][2]["set"]["routing"], "multi_value");

    // Without name servers there is nobody to wait for.
    let id = answer.text("Id");
    assert_eq!(id, format!("/change/{}", accepted[0].id));
    assert_eq!(rig.get(id.trim_start_matches('/')).await.text("Status"), "INSYNC");

    // Exactly its own set of several.
    let mine = set_with("several.example.org", "A", &multivalue("i-1"), 60, &["192.0.2.9"]);
    assert_eq!(rig.post(batch(&[change("DELETE", &mine)])).await.status, 200);
    assert_eq!(rig.route53.records_named(ZONE, "several.example.org").len(), 1);
}

#[tokio::test]
async fn the_largest_batches_are_taken() {
    let rig = Rig::plain().await;
    let many: Vec<String> =
        (0..1000).map(|n| change("CREATE", &a(&format!("h{n}.example.org"), "192.0.2.1"))).collect();
    assert_eq!(rig.post(batch(&many)).await.status, 200);
    let ttl = [change("CREATE", &set("ttl.example.org", "A", 2_147_483_647, &["192.0.2.1"]))];
    assert_eq!(rig.post(batch(&ttl)).await.status, 200);
    let longest = format!("\"{}\" \"{}\"", "x".repeat(255), "y".repeat(255));
    let text = [change("CREATE", &set("txt.example.org", "TXT", 0, &[&longest]))];
    assert_eq!(rig.post(batch(&text)).await.status, 200);
}

#[tokio::test]
async fn a_name_has_a_hundred_multivalue_answers() {
    let rig = Rig::plain().await;
    let create = |n: usize| {
        let value = format!("192.0.2.{n}");
        change("CREATE", &set_with("turn.example.org", "A", &multivalue(&format!("i-{n}")), 60, &[&value]))
    };
    let hundred: Vec<String> = (0..100).map(create).collect();
    assert_eq!(rig.post(batch(&hundred)).await.status, 200);
    let refused = rig.post(batch(&[create(100)])).await;
    assert!(refused.status == 400 && refused.text("Message").contains("Limit of 100"), "{}", refused.body);
    // Another host's place is free again at once.
    let value = set_with("turn.example.org", "A", &multivalue("i-7"), 60, &["192.0.2.7"]);
    let swap = [change("DELETE", &value), create(100)];
    assert_eq!(rig.post(batch(&swap)).await.status, 200);
}

#[tokio::test]
async fn records_are_listed_in_order() {
    let rig = Rig::plain().await;
    let mut aliased = RecordSet::simple("alias2.example.org", RecordType::A, 0, &[]);
    aliased.ttl = None;
    aliased.alias = Some(sandbox::route53::Alias {
        hosted_zone_id: ZONE.to_owned(),
        dns_name: "WWW.example.org".to_owned(),
        evaluate_target_health: false,
    });
    seeds().into_iter().chain([aliased]).for_each(|set| rig.put(set));
    rig.put(RecordSet::simple("*.Wild.example.org", RecordType::A, 60, &["192.0.2.1"]));
    rig.put(RecordSet::simple("www.example.org", RecordType::Aaaa, 60, &["2001:db8::1"]));
    let answer = rig.get("hostedzone/Z0PUBLIC/rrset").await;
    let listed: Vec<_> = answer.texts("Name").into_iter().zip(answer.texts("Type")).collect();
    let expected = [
        ("example.org.", "NS"),
        ("example.org.", "SOA"),
        ("alias.example.org.", "CNAME"),
        ("alias2.example.org.", "A"),
        ("several.example.org.", "A"),
        ("\\052.wild.example.org.", "A"),
        ("www.example.org.", "A"),
        ("www.example.org.", "AAAA"),
        ("_agent.www.example.org.", "TXT"),
    ]
    .map(|(name, record_type)| (name.to_owned(), record_type.to_owned()));
    assert_eq!(listed, expected);
    assert_eq!((answer.text("IsTruncated"), answer.text("MaxItems")), ("false".to_owned(), "300".to_owned()));
    assert_eq!(answer.texts("MultiValueAnswer"), ["true"]);
    assert_eq!(
        (answer.text("DNSName"), answer.text("EvaluateTargetHealth")),
        ("www.example.org.".into(), "false".into())
    );
    assert!(answer.texts("Value").contains(&"\"owner\"".to_owned()));
}

#[tokio::test]
async fn listing_is_paged() {
    let rig = Rig::plain().await;
    for n in 0..400 {
        rig.put(RecordSet::simple(&format!("h{n:03}.example.org"), RecordType::A, 60, &["192.0.2.1"]));
    }
    let first = rig.get("hostedzone/Z0PUBLIC/rrset?maxitems=1000").await;
    assert_eq!((first.texts("Name").len(), first.text("MaxItems")), (300, "300".to_owned()));
    assert_eq!(
        (first.text("IsTruncated"), first.text("NextRecordName")),
        ("true".into(), "h298.example.org.".into())
    );
    let rest = format!("name={}&type={}", first.text("NextRecordName"), first.text("NextRecordType"));
    let second = rig.get(&format!("hostedzone/Z0PUBLIC/rrset?{rest}")).await;
    assert_eq!((second.texts("Name").len(), second.text("IsTruncated")), (102, "false".to_owned()));

    // A name that does not exist begins at the next one; any spelling, percent-encoded.
    let answer = rig.get("hostedzone/Z0PUBLIC/rrset?name=%483989.example.org&maxitems=1").await;
    assert_eq!(answer.texts("Name"), ["h399.example.org."]);
    for refused in [
        "maxitems=0",
        "maxitems=x",
        "type=A",
        "name=x.example.org&identifier=i",
        "name=a..b",
        "name=x&type=Y",
    ] {
        let answer = rig.get(&format!("hostedzone/Z0PUBLIC/rrset?{refused}")).await;
        assert_eq!((answer.status, answer.text("Code").as_str()), (400, "InvalidInput"), "{refused}");
    }
}

#[tokio::test]
async fn a_page_can_begin_between_the_sets_of_one_name() {
    let rig = Rig::plain().await;
    for identifier in ["i-1", "i-2", "i-3"] {
        let mut set = RecordSet::simple("m.example.org", RecordType::A, 60, &["192.0.2.1"]);
        set.set_identifier = Some(identifier.to_owned());
        set.routing = Some(Routing::Weight(7));
        rig.put(set);
    }
    let answer =
        rig.get("hostedzone/Z0PUBLIC/rrset?name=m.example.org&type=A&identifier=i-2&maxitems=1").await;
    assert_eq!((answer.text("SetIdentifier"), answer.text("Weight")), ("i-2".to_owned(), "7".to_owned()));
    assert_eq!(answer.text("NextRecordIdentifier"), "i-3");
}

#[tokio::test]
async fn zones_are_shown() {
    let rig = Rig::plain().await;
    let public = rig.get("hostedzone/Z0PUBLIC").await;
    assert_eq!(
        (public.text("Id"), public.text("Name")),
        ("/hostedzone/Z0PUBLIC".into(), "example.org.".into())
    );
    assert_eq!(
        (public.text("PrivateZone"), public.text("ResourceRecordSetCount")),
        ("false".into(), "2".into())
    );
    assert_eq!(public.texts("NameServer"), ["ns-1.awsdns.test", "ns-2.awsdns.test"]);
    let private = rig.get("hostedzone/Z0PRIVATE").await;
    assert_eq!((private.text("PrivateZone"), private.texts("NameServer").len()), ("true".to_owned(), 0));

    let all = rig.get("hostedzonesbyname").await;
    assert_eq!(all.texts("Name"), ["example.org.", "internal.example.org."]);
    let one = rig.get("hostedzonesbyname?dnsname=Example.org&maxitems=1").await;
    assert_eq!(
        (one.texts("Name"), one.text("IsTruncated")),
        (vec!["example.org.".to_owned()], "true".to_owned())
    );
    assert_eq!(one.text("NextHostedZoneId"), "Z0PRIVATE");
    let next = rig.get("hostedzonesbyname?dnsname=internal.example.org.&hostedzoneid=Z0PRIVATE").await;
    assert_eq!(next.texts("Name"), ["internal.example.org."]);
}

#[tokio::test]
async fn the_account_has_a_bucket() {
    let clock = Clock::manual();
    let rig =
        Rig::start(Options { throttle: Some(Throttle::default()), clock: clock.clone(), ..options() }).await;
    for _ in 0..50 {
        assert_eq!(rig.get("hostedzone/Z0PUBLIC").await.status, 200);
    }
    let throttled = rig.get("hostedzone/Z0PUBLIC").await;
    let said = (throttled.status, throttled.text("Code"), throttled.text("Message"));
    assert_eq!(said, (400, "Throttling".to_owned(), "Rate exceeded".to_owned()));
    let change = batch(&[change("CREATE", &a("x.example.org", "192.0.2.1"))]);
    assert_eq!(rig.post(change.clone()).await.text("Code"), "Throttling");

    // One tenth of a second is one token.
    clock.advance(Duration::from_millis(100));
    assert_eq!(rig.post(change).await.status, 200);
    assert_eq!(rig.get("hostedzone/Z0PUBLIC").await.text("Code"), "Throttling");

    // An hour fills it to the brim and no further.
    clock.advance(Duration::from_secs(3600));
    rig.route53.use_up(49);
    assert_eq!(rig.get("hostedzone/Z0PUBLIC").await.status, 200);
    assert_eq!(rig.get("hostedzone/Z0PUBLIC").await.text("Code"), "Throttling");

    rig.route53.set_throttle(Some(Throttle::five_a_second()));
    for expected in [200, 200, 200, 200, 200, 400] {
        assert_eq!(rig.get("hostedzone/Z0PUBLIC").await.status, expected);
    }
    rig.route53.set_throttle(None);
    assert_eq!(rig.get("hostedzone/Z0PUBLIC").await.status, 200);
}

#[tokio::test]
async fn record_changes_have_a_bucket_of_their_own() {
    let clock = Clock::manual();
    let throttle = Throttle { changes: BucketSize { capacity: 3, per_second: 1.0 }, ..Throttle::default() };
    let rig = Rig::start(Options { throttle: Some(throttle), clock: clock.clone(), ..options() }).await;
    let two = |n: usize| {
        let names = [format!("a{n}.example.org"), format!("b{n}.example.org")];
        batch(&names.map(|name| change("CREATE", &a(&name, "192.0.2.1"))))
    };
    assert_eq!(rig.post(two(1)).await.status, 200);
    assert_eq!(rig.post(two(2)).await.text("Code"), "Throttling");
    // To come back later would not help.
    let many: Vec<String> =
        (0..1001).map(|n| change("CREATE", &a(&format!("h{n}.example.org"), "192.0.2.1"))).collect();
    assert_eq!(rig.post(batch(&many)).await.text("Code"), "InvalidChangeBatch");
    assert_eq!(rig.get("hostedzone/Z0PUBLIC").await.status, 200, "reads are not changes");
    clock.advance(Duration::from_secs(1));
    assert_eq!(rig.post(two(2)).await.status, 200);
}

#[tokio::test]
async fn a_zone_processes_one_change_at_a_time() {
    let rig = Rig::plain().await;
    rig.route53.hold_processing(ZONE);
    let create = batch(&[change("CREATE", &a("x.example.org", "192.0.2.1"))]);
    let refused = rig.post(create.clone()).await;
    assert_eq!((refused.status, refused.text("Code").as_str()), (400, "PriorRequestNotComplete"));
    let elsewhere = batch(&[change("CREATE", &a("x.internal.example.org", "192.0.2.1"))]);
    assert_eq!(rig.post_to("Z0PRIVATE", elsewhere).await.status, 200, "per zone");
    assert_eq!(rig.get("hostedzone/Z0PUBLIC/rrset").await.status, 200, "only changes");
    rig.route53.finish_processing(ZONE);
    assert_eq!(rig.post(create).await.status, 200);
}

#[tokio::test]
async fn a_change_beside_another_is_refused() {
    let rig = Rig::start(Options { processing: Duration::from_secs(3600), ..options() }).await;
    let request = |name: &str| sandbox::http::Request {
        method: "POST".to_owned(),
        // Older clients send the final slash.
        path: format!("/2013-04-01/hostedzone/{ZONE}/rrset/"),
        query: String::new(),
        headers: hyper::HeaderMap::new(),
        body: batch(&[change("CREATE", &a(name, "192.0.2.1"))]).into(),
    };
    let (first, second, third) =
        (request("a.example.org"), request("b.example.org"), request("c.example.org"));
    let mut processing = rig.route53.answer(&first);
    assert!(futures_util::poll!(&mut processing).is_pending());
    assert_eq!(rig.route53.answer(&second).await.status().as_u16(), 400);
    assert_eq!(rig.route53.changes().len(), 1);

    // A client that goes away in the middle does not leave the zone busy.
    drop(processing);
    assert!(futures_util::poll!(&mut rig.route53.answer(&third)).is_pending());
    assert_eq!(rig.route53.changes().len(), 2);
}

#[tokio::test]
async fn a_change_is_in_sync_when_every_server_has_it() {
    let clock = Clock::manual();
    let rig = Rig::start(Options { clock: clock.clone(), ..options() }).await;
    let servers =
        NameServers::start(Arc::clone(&rig.route53), sandbox::dns::Options::default()).await.unwrap();
    servers.set_propagation(0, Propagation::After(Duration::from_secs(30)));
    servers.set_propagation(1, Propagation::Held);
    let answer = rig.post(batch(&[change("CREATE", &a("x.example.org", "192.0.2.1"))])).await;
    let id = answer.text("Id").trim_start_matches('/').to_owned();
    assert_eq!(rig.get(&id).await.text("Status"), "PENDING");
    clock.advance(Duration::from_secs(31));
    assert_eq!(rig.get(&id).await.text("Status"), "PENDING", "one server lacks it");
    servers.release(1);
    assert_eq!(rig.get(&id).await.text("Status"), "INSYNC");
    assert_eq!(rig.route53.in_sync(id.trim_start_matches("change/")), Some(true));
}

#[tokio::test]
async fn somebody_else_can_change_records() {
    let rig = Rig::start(Options { throttle: Some(Throttle::five_a_second()), ..options() }).await;
    rig.route53.use_up(5);
    rig.put(RecordSet::simple("x.example.org", RecordType::A, 60, &["192.0.2.1"]));
    rig.put(RecordSet::simple("x.example.org", RecordType::A, 60, &["192.0.2.2"]));
    assert_eq!(rig.route53.records_named(ZONE, "X.example.org")[0].values, ["192.0.2.2"]);
    assert!(rig.route53.remove(ZONE, "x.example.org", RecordType::A, None));
    assert!(!rig.route53.remove(ZONE, "x.example.org", RecordType::A, None));
    assert!(!rig.route53.remove(ZONE, "example.org", RecordType::Soa, None));
    assert!(
        rig.route53.put(ZONE, RecordSet::simple("x.example.com", RecordType::A, 60, &["192.0.2.1"])).is_err()
    );
    assert!(
        rig.route53.put("Z0NOWHERE", RecordSet::simple("x.example.org", RecordType::A, 60, &["::"])).is_err()
    );
    assert!(rig.route53.changes().is_empty());
}

#[tokio::test]
async fn faults_look_like_route_53() {
    let rig = Rig::plain().await;
    for (status, code, sender) in [
        (400, "Throttling", "Sender"),
        (400, "PriorRequestNotComplete", "Sender"),
        (500, "InternalFailure", "Receiver"),
        (503, "ServiceUnavailable", "Receiver"),
    ] {
        let fault = Fault::Error { status, code: code.to_owned() };
        rig.faults.plan(Planned { service: ServiceName::Route53, action: None, fault, times: Some(1) });
        let answer = rig.get("hostedzone/Z0PUBLIC").await;
        assert_eq!(
            (answer.status, answer.text("Code"), answer.text("Type")),
            (status, code.into(), sender.into())
        );
    }
    let fault = Fault::LoseReply;
    let action = Some("ChangeResourceRecordSets".to_owned());
    rig.faults.plan(Planned { service: ServiceName::Route53, action, fault, times: Some(1) });
    let url = format!("{}/hostedzone/{ZONE}/rrset", rig.base);
    let body = batch(&[change("CREATE", &a("x.example.org", "192.0.2.1"))]);
    assert!(rig.client.post(url).body(body).send().await.is_err());
    assert_eq!(rig.route53.records_named(ZONE, "x.example.org").len(), 1, "done, though nobody heard");
    assert_eq!(rig.journal.count(ServiceName::Route53, "GetHostedZone"), 4);
    assert_eq!(rig.journal.count(ServiceName::Route53, "ChangeResourceRecordSets"), 1);
}
