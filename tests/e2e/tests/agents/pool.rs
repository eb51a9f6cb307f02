//! The host's entry in Scalelite: whatever is found there is repaired, nothing of others is touched, no duplicate is
//! made, the secret arrives byte for byte.

use e2e::{Rig, at_once};
use sandbox::bbb::NewMeeting;
use sandbox::cloud::{HostOptions, Options};
use sandbox::faults::Fault;
use sandbox::http::ServiceName::{Bbb, Route53, Scalelite};
use sandbox::scalelite::{Config, ServerIds, ServerState};

const SECRET: &str = "sandbox-bbb-secret";

/// A host with its name, and with these entries of its own: state and secret.
async fn with_entries(entries: &[(ServerState, &str)]) -> Rig {
    let rig = Rig::bbb().await;
    rig.expect(0, &["register", "--only", "dns"]).await;
    for (state, secret) in entries {
        rig.cloud.scalelite.add_server(&rig.host.scalelite_entry_url(), secret, *state);
    }
    rig.cloud.journal.clear();
    rig
}

#[tokio::test]
async fn an_entry_that_is_disabled_cordoned_or_has_an_old_secret_is_repaired() {
    let rows: [(ServerState, &str, &[&str]); 5] = [
        (ServerState::Disabled, SECRET, &["enable entry"]),
        (ServerState::Cordoned, SECRET, &["enable entry"]),
        (ServerState::Enabled, "old", &["update the secret of entry"]),
        (ServerState::Disabled, "old", &["update the secret of entry", "enable entry"]),
        (ServerState::Cordoned, "", &["update the secret of entry", "enable entry"]),
    ];
    at_once(rows, async |(state, secret, actions)| {
        let rig = with_entries(&[(state, secret)]).await;
        let id = rig.entry().id;
        rig.expect(0, &["register"]).await.says(actions);
        let entry = rig.entry();
        assert_eq!((entry.id, entry.state), (id, ServerState::Enabled), "{state:?} {secret}");
        assert_eq!(entry.secret.expose(), SECRET);
        let changes = rig.calls(Scalelite).len() - 2;
        assert_eq!(changes, actions.len(), "one call an action, between two readings");
        assert_eq!(rig.calls(Route53), [""; 0]);
        rig.expect(0, &["register"]).await.says(&["is enabled already, nothing to do"]);
    })
    .await;
}

#[tokio::test]
async fn an_entry_that_is_as_it_should_be_is_left_alone() {
    let rig = with_entries(&[(ServerState::Enabled, SECRET)]).await;
    let before = rig.state();
    rig.expect(0, &["register"]).await;
    assert_eq!(rig.state(), before);
}

#[tokio::test]
async fn duplicates_are_removed_and_one_enabled_entry_stays() {
    let rows: [&[(ServerState, &str)]; 5] = [
        &[(ServerState::Enabled, SECRET), (ServerState::Enabled, SECRET)],
        &[(ServerState::Disabled, SECRET), (ServerState::Enabled, SECRET)],
        &[(ServerState::Cordoned, "old"), (ServerState::Disabled, "older")],
        &[(ServerState::Disabled, SECRET), (ServerState::Disabled, SECRET)],
        &[(ServerState::Enabled, "old"), (ServerState::Enabled, SECRET), (ServerState::Cordoned, SECRET)],
    ];
    at_once(rows, async |entries| {
        let rig = with_entries(entries).await;
        let run = rig.expect(0, &["register"]).await;
        let entry = rig.entry();
        assert_eq!(entry.state, ServerState::Enabled, "{entries:?}:\n{run}");
        assert_eq!(entry.secret.expose(), SECRET, "{entries:?}:\n{run}");
        rig.expect(0, &["register"]).await.says(&["nothing to do"]);
    })
    .await;
}

#[tokio::test]
async fn a_duplicate_with_meetings_on_the_host_stays_cordoned_until_they_are_over() {
    let rig = with_entries(&[(ServerState::Enabled, SECRET), (ServerState::Enabled, SECRET)]).await;
    rig.host.bbb.start(NewMeeting { id: "room".into(), participants: 3.into(), ..NewMeeting::default() });
    rig.expect(0, &["register"]).await.says(&["1 superfluous entries stay until no meeting runs here"]);
    let mut states: Vec<ServerState> = rig.entries().into_iter().map(|entry| entry.state).collect();
    states.sort_by_key(|state| *state != ServerState::Enabled);
    assert_eq!(states, [ServerState::Enabled, ServerState::Cordoned]);
    assert!(rig.host.bbb.meeting("room").is_some());
    assert!(!rig.calls(Scalelite).contains(&"panicServer".to_owned()));

    rig.host.bbb.end_meeting("room");
    rig.expect(0, &["register"]).await;
    assert_eq!(rig.entry().state, ServerState::Enabled);
}

#[tokio::test]
async fn scalelite_answers_500_on_add_after_storing_it_and_no_duplicate_is_made() {
    at_once([1, 2], async |times| {
        let rig = Rig::bbb().await;
        rig.fault(
            Scalelite,
            "addServer",
            Fault::ErrorAfter { status: 500, code: String::new() },
            Some(times),
        );
        rig.expect(0, &["register"]).await;
        assert_eq!(rig.entry().state, ServerState::Enabled);
        assert_eq!(
            rig.cloud.journal.count(Scalelite, "addServer"),
            1,
            "it was looked for before adding again"
        );
    })
    .await;
}

#[tokio::test]
async fn scalelite_answers_500_on_add_without_storing_it() {
    let rig = Rig::bbb().await;
    rig.refuse(Scalelite, "addServer", 500, "", Some(2));
    rig.expect(0, &["register"]).await;
    assert_eq!(rig.entry().state, ServerState::Enabled);
    assert_eq!(rig.cloud.journal.count(Scalelite, "addServer"), 3);
}

#[tokio::test]
async fn the_servers_list_is_changed_by_others_meanwhile() {
    let rig = Rig::bbb().await;
    rig.refuse(Scalelite, "updateServer", 400, "Servers list concurrently modified", Some(2));
    let run = rig.expect(0, &["register"]).await;
    run.says(&["Servers list concurrently modified"]);
    assert_eq!(rig.entry().state, ServerState::Enabled);
}

#[tokio::test]
async fn scalelite_with_host_names_for_ids() {
    let scalelite = Config { ids: ServerIds::Hostname, ..Config::new("sandbox-loadbalancer-secret") };
    let rig = Rig::start(Options { scalelite, ..Options::with_tls() }).await;
    rig.fault(Scalelite, "addServer", Fault::LoseReply, Some(1));
    rig.expect(0, &["register"]).await;
    assert_eq!(rig.entry().id, rig.fqdn());
    rig.expect(0, &["deregister"]).await;
    assert_eq!(rig.cloud.scalelite.servers(), []);
}

#[tokio::test]
async fn the_first_scalelite_with_an_api_has_no_tags() {
    let scalelite = Config { version: (1, 5, 1), ..Config::new("sandbox-loadbalancer-secret") };
    let rig = Rig::start(Options { scalelite, ..Options::with_tls() }).await;
    rig.drop_in("tag", "scalelite.tag = \"big\"\n");
    rig.expect(0, &["register"]).await;
    rig.expect(0, &["register"]).await.says(&["is enabled already, nothing to do"]);
    rig.cloud.scalelite.poll().await;
    assert_eq!(rig.status(0).await["scalelite"]["entries"][0]["tag"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_multiplier_follows_the_hosts_cpus() {
    let cpus = std::thread::available_parallelism().unwrap().get() as u64;
    for reference in [cpus, 2 * cpus] {
        let rig = Rig::bbb().await;
        let reference_cpus = format!("scalelite.reference_cpus={reference}");
        let auto = ["--set", "scalelite.load_multiplier=auto", "--set", &reference_cpus];
        rig.expect(0, &[&["register"], &auto[..]].concat()).await;
        assert_eq!(rig.entry().load_multiplier, (reference / cpus) as f64);
        rig.expect(0, &[&["status"], &auto[..]].concat()).await;
    }
    let rig = Rig::bbb().await;
    let run = rig.expect(2, &["register", "--set", "scalelite.load_multiplier=automatic"]).await;
    run.says(&["scalelite.load_multiplier: must be a number or its word in quotes"]);
}

#[tokio::test]
async fn tag_and_multiplier_follow_the_configuration() {
    let rig = Rig::bbb().await;
    rig.drop_in("entry", "[scalelite]\ntag = \"big\"\nload_multiplier = 2.5\n");
    rig.expect(0, &["register"]).await;
    assert_eq!((rig.entry().tag.as_deref(), rig.entry().load_multiplier), (Some("big"), 2.5));
    assert_eq!(rig.cloud.journal.count(Scalelite, ""), 4, "both travel with the add");

    rig.drop_in("entry", "[scalelite]\ntag = \"\"\nload_multiplier = 1\n");
    rig.expect(4, &["status"]).await.says(&["another tag or load multiplier"]);
    rig.expect(0, &["register"]).await.says(&["update the tag and the load multiplier of entry"]);
    assert_eq!((rig.entry().tag.unwrap_or_default(), rig.entry().load_multiplier), (String::new(), 1.0));

    // What is not configured is left as an operator set it.
    rig.drop_in("entry", "");
    rig.cloud.scalelite.set_tag(&rig.entry().id, Some("by hand"));
    rig.expect(0, &["register"]).await.says(&["nothing to do"]);
    assert_eq!(rig.entry().tag.as_deref(), Some("by hand"));
}

#[tokio::test]
async fn entries_of_others_are_never_touched() {
    let rig = Rig::bbb().await;
    let url = rig.host.scalelite_entry_url();
    let others = [
        "https://other.example.org/bigbluebutton/api".to_owned(),
        url.replace("https://", "https://x"),
        url.replace("https://", "https://x."),
        url.replace(".example.org", ".example.org.uk"),
        "https://example.org/bigbluebutton/api".to_owned(),
        format!("https://other.example.org/?{url}"),
        "not a url".to_owned(),
    ];
    for other in &others {
        rig.cloud.scalelite.add_server(other, "theirs", ServerState::Cordoned);
    }
    let before = rig.cloud.scalelite.servers();
    rig.expect(0, &["register"]).await;
    assert_eq!(rig.cloud.scalelite.servers().len(), before.len() + 1);
    rig.expect(0, &["deregister"]).await;
    assert_eq!(rig.cloud.scalelite.servers(), before);
}

#[tokio::test]
async fn the_same_url_in_another_spelling_is_the_hosts_own() {
    let rig = Rig::bbb().await;
    let url = rig.host.scalelite_entry_url();
    let (host, path) = url.split_once("/bigbluebutton").unwrap();
    let spelling = format!("{}/bigbluebutton{path}/", host.to_uppercase());
    let id = rig.cloud.scalelite.add_server(&spelling, SECRET, ServerState::Disabled);
    rig.expect(0, &["register"]).await;
    let servers = rig.cloud.scalelite.servers();
    assert_eq!(servers.len(), 1, "{servers:?}");
    assert_eq!((&servers[0].id, servers[0].state), (&id, ServerState::Enabled));
}

#[tokio::test]
async fn bbb_secrets_with_any_characters_arrive_byte_for_byte() {
    let secrets = [
        "&",
        "/",
        "$",
        "%",
        "'",
        "\"",
        "|",
        "\\",
        ",",
        "a b",
        " a",
        "a ",
        "&amp;",
        "$HOME",
        "${x}",
        "$(id)",
        "`id`",
        "%41%20+",
        "a=b;c:d#e!f",
        "{{x}}",
        "*?[~]",
        "^(.*)$",
        "\\n\\u0041",
        "ü€",
        "日本語",
        "😀",
        "e\u{301}",
        "& / $ % ' \" | \\ , ü 😀 end",
        "<secret>]]>",
        "\u{7f}",
        "a\\",
        "\\\\",
        "=",
        "#x",
        "!x",
        ":x",
    ];
    let rig = Rig::bbb().await;
    rig.expect(0, &["register", "--only", "dns"]).await;
    for secret in secrets {
        rig.host.install(secret).unwrap();
        let run = rig.run(&["register", "--only", "scalelite"]).await;
        assert_eq!(run.code, 0, "{secret:?}: {run}");
        assert_eq!(rig.entry().secret.expose(), secret, "{run}");
        // Scalelite's own calls to the host are signed with what it stored.
        rig.cloud.scalelite.poll().await;
        assert!(rig.entry().online, "{secret:?}: Scalelite cannot talk to BBB with it");
    }
    assert!(rig.cloud.journal.count(Bbb, "getMeetings") > secrets.len());
}

#[tokio::test]
async fn a_blank_secret_which_scalelite_would_refuse_is_said_to_be_blank() {
    let rig = Rig::bbb().await;
    for blank in ["", " "] {
        rig.host.install(blank).unwrap();
        let run = rig.expect(9, &["register"]).await;
        run.says(&["BBB's settings on this host", "securitySalt", "it is blank", "bbb-conf --setsecret"]);
        assert_eq!(rig.calls(Scalelite), [""; 0]);
    }
}

#[tokio::test]
async fn hosts_that_join_at_once_get_one_entry_each() {
    let first = Rig::bbb().await;
    first.cloud.scalelite.set_processing(std::time::Duration::from_millis(20));
    let mut rigs = Vec::new();
    for number in 2..=5 {
        rigs.push(first.beside(number).await);
    }
    rigs.push(first);
    let running: Vec<_> = rigs.iter().map(|rig| rig.begin(&["register", "--only", "scalelite"])).collect();
    for running in running {
        let run = running.end().await;
        assert_eq!(run.code, 0, "{run}");
    }
    for rig in &rigs {
        assert_eq!(rig.entry().state, ServerState::Enabled);
    }
    assert_eq!(rigs[0].cloud.scalelite.servers().len(), rigs.len());
}

#[tokio::test]
async fn two_runs_on_one_host_at_once_end_with_one_entry() {
    let rig = Rig::bbb().await;
    let (one, two) = (rig.begin(&["register"]), rig.begin(&["register"]));
    for running in [one, two] {
        let run = running.end().await;
        assert_eq!(run.code, 0, "{run}");
    }
    rig.expect(0, &["register"]).await;
    assert_eq!(rig.entry().state, ServerState::Enabled);
    assert_eq!(rig.records(), rig.registered_now());
}

#[tokio::test]
async fn meetings_are_placed_after_a_join_and_the_next_poll() {
    let rig = Rig::start(Options::with_tls().polled_by_hand()).await;
    let run = rig.expect(0, &["register"]).await;
    run.says(&["the first meeting is placed here once a poll of Scalelite's"]);
    assert!(rig.cloud.scalelite.create_meeting("too early").await.is_err());
    rig.cloud.scalelite.poll().await;
    rig.cloud.scalelite.create_meeting("room").await.unwrap();
    assert!(rig.host.bbb.meeting("room").is_some());
}

#[tokio::test]
async fn a_secret_that_was_changed_later_is_brought_to_scalelite() {
    let host = HostOptions { secret: "first".to_owned(), ..HostOptions::default() };
    let rig = Rig::start(Options { host, ..Options::with_tls() }).await;
    rig.expect(0, &["register"]).await;
    rig.host.install("second").unwrap();
    rig.expect(4, &["status"]).await.says(&["another secret than"]);
    rig.expect(0, &["register"]).await;
    assert_eq!(rig.entry().secret.expose(), "second");
}
