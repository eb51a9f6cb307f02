//! The poller, and what a state means for meetings.

use sandbox::bbb::{Mode, NewMeeting, Participants, cases};
use sandbox::scalelite::ServerState;
use serde_json::json;

use super::world::{bbb, world};

#[tokio::test]
async fn enabling_is_not_enough_until_the_poll() {
    let (world, (_, url)) = (world().await, bbb().await);
    let id = world.add(&url).await;
    world.scalelite.poll().await;
    let polled = world.info(&id).await;
    assert_eq!(
        (&polled["online"], &polled["load"]),
        (&json!("online"), &json!("unavailable")),
        "disabled ones too"
    );
    world.update(&id, json!({ "state": "enable" })).await;
    let refusal = world.scalelite.create_meeting("r").await.unwrap_err();
    assert_eq!(refusal.message, "Could not find any available servers.");
    world.scalelite.poll().await;
    assert_eq!(world.info(&id).await["load"], json!(0.0));
    assert_eq!(world.scalelite.create_meeting("r").await.unwrap(), url);
}

#[tokio::test]
async fn loads() {
    let (world, (host, url)) = (world().await, bbb().await);
    let id = world.enabled(&url).await;
    let people = Participants { moderators: 2, viewers: 5, ..Participants::default() };
    let old =
        NewMeeting { id: "old".into(), participants: people, age_seconds: 3600, ..NewMeeting::default() };
    host.start(NewMeeting { id: "room".into(), breakout: true, parent: "old".into(), ..old.clone() });
    host.start(old);
    world.scalelite.poll().await;
    assert_eq!(world.info(&id).await["load"], json!(9.0));
    host.start_meeting("young", 1);
    world.update(&id, json!({ "load_multiplier": "0.5" })).await;
    world.scalelite.poll().await;
    assert_eq!(world.info(&id).await["load"], json!(12.0));
    world.update(&id, json!({ "load_multiplier": "Infinity" })).await;
    world.scalelite.poll().await;
    assert_eq!(world.info(&id).await["load"], json!(null));
}

#[tokio::test]
async fn two_failed_polls_take_a_server_offline() {
    let (world, (host, url)) = (world().await, bbb().await);
    let id = world.enabled(&url).await;
    world.scalelite.create_meeting("r").await.unwrap();
    host.set_mode(Mode::NotInstalled);
    world.scalelite.poll().await;
    assert_eq!(world.info(&id).await["online"], "online");
    host.set_mode(Mode::Ready);
    world.scalelite.poll().await;
    for online in ["online", "offline"] {
        host.set_mode(Mode::Starting);
        world.scalelite.poll().await;
        assert_eq!(world.info(&id).await["online"], online);
    }
    let offline = world.info(&id).await;
    assert_eq!((&offline["load"], &offline["state"]), (&json!("unavailable"), &json!("enabled")));
    assert!(world.scalelite.meetings().is_empty());
    assert_eq!(world.join_key("r"), "notFound");
    assert_eq!(world.create_key("r").await, "internalError");
    host.set_mode(Mode::Ready);
    world.scalelite.poll().await;
    assert_eq!(world.info(&id).await["online"], "online");
}

#[tokio::test]
async fn states_and_meetings() {
    let (world, (host, url), (_, other)) = (world().await, bbb().await, bbb().await);
    let id = world.enabled(&url).await;
    assert_eq!(world.scalelite.create_meeting("r").await.unwrap(), url);
    assert_eq!(world.scalelite.join("r").unwrap(), url);
    host.set_participants("r", 1);
    world.enabled(&other).await;

    world.update(&id, json!({ "state": "cordon" })).await;
    assert_eq!(world.scalelite.join("r").unwrap(), url);
    assert_eq!(world.scalelite.create_meeting("r").await.unwrap(), url);
    assert_eq!(world.scalelite.create_meeting("new 1").await.unwrap(), other);
    host.start_meeting("empty", 0);
    world.scalelite.map_meeting("empty", &id);
    assert_eq!(world.scalelite.create_meeting("empty").await.unwrap(), other, "nobody has joined it");

    world.update(&id, json!({ "state": "disable" })).await;
    assert_eq!(world.join_key("r"), "serverUnavailable");
    assert_eq!(world.scalelite.create_meeting("r").await.unwrap(), url);
    assert_eq!(world.scalelite.create_meeting("new 2").await.unwrap(), other);

    world.update(&id, json!({ "state": "cordon" })).await;
    host.end_all();
    world.scalelite.poll().await;
    assert_eq!(world.info(&id).await["state"], "disabled", "cordoned and empty");
    assert!(!world.scalelite.meetings().contains_key("r"));
    assert_eq!(world.join_key("r"), "notFound");
}

#[tokio::test]
async fn a_running_meeting_is_found_without_any_available_server() {
    let (world, (host, url)) = (world().await, bbb().await);
    let id = world.enabled(&url).await;
    world.scalelite.create_meeting("r").await.unwrap();
    host.set_participants("r", 2);
    world.update(&id, json!({ "state": "cordon" })).await;
    assert_eq!(world.scalelite.create_meeting("r").await.unwrap(), url);
    assert_eq!(world.create_key("new").await, "internalError");
    let states: Vec<ServerState> = world.scalelite.history().into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, [ServerState::Enabled, ServerState::Cordoned]);
}

#[tokio::test]
async fn a_list_that_is_not_well_formed_is_read_as_far_as_it_goes() {
    for (list, load) in [(cases::CUT_OFF, 2.0), (cases::ELEMENT_NAME, 1.0), (cases::THOUSAND, 1.0)] {
        let (world, (host, url)) = (world().await, bbb().await);
        let id = world.enabled(&url).await;
        host.set_listing(Some(list));
        world.scalelite.poll().await;
        assert_eq!(world.info(&id).await["load"], json!(load));
    }
}

#[tokio::test]
async fn tags_choose_servers() {
    let (world, (_, plain), (_, tagged)) = (world().await, bbb().await, bbb().await);
    let id = world.enabled(&tagged).await;
    world.update(&id, json!({ "tag": "x" })).await;
    assert_eq!(world.create_key("r").await, "internalError", "only a tagged server is there");
    world.enabled(&plain).await;
    for (meeting, tag, url) in
        [("1", None, &plain), ("2", Some("x"), &tagged), ("3", Some("x!"), &tagged), ("4", Some("y"), &plain)]
    {
        assert_eq!(&world.scalelite.create_meeting_tagged(meeting, tag).await.unwrap(), url, "{tag:?}");
    }
    assert!(world.scalelite.create_meeting_tagged("5", Some("y!")).await.is_err());
}

#[tokio::test]
async fn a_cordon_during_a_poll_may_leave_the_server_in_the_placement_set() {
    for (call, state) in [("cordon", "cordoned"), ("disable", "disabled")] {
        let (world, (host, url)) = (world().await, bbb().await);
        let id = world.enabled(&url).await;
        host.start_meeting("r", 20);
        world.scalelite.poll_begin().await;
        world.update(&id, json!({ "state": call })).await;
        assert!(world.scalelite.poll_end().await);
        assert!(!world.scalelite.poll_end().await);
        assert_eq!(world.info(&id).await["state"], state);
        assert_eq!(world.scalelite.create_meeting("new").await.unwrap(), url);
        world.update(&id, json!({ "state": call })).await;
        assert!(world.scalelite.servers()[0].in_placement, "repeating does not help");
        world.update(&id, json!({ "state": "enable" })).await;
        world.update(&id, json!({ "state": call })).await;
        assert!(!world.scalelite.servers()[0].in_placement);
        assert_eq!(world.create_key("newer").await, "internalError");
    }
}

#[tokio::test]
async fn an_enable_during_the_poll_that_disables_is_lost() {
    let (world, (_, url)) = (world().await, bbb().await);
    let id = world.enabled(&url).await;
    world.update(&id, json!({ "state": "cordon" })).await;
    world.scalelite.poll_begin().await;
    world.update(&id, json!({ "state": "enable" })).await;
    world.scalelite.poll_end().await;
    assert_eq!(world.info(&id).await["state"], "disabled");

    world.scalelite.poll_begin().await;
    world.post("deleteServer", &json!({ "id": id })).await;
    world.scalelite.poll_end().await;
    assert!(world.scalelite.servers().is_empty(), "a poll does not bring a deleted server back");
}
