use proptest::prelude::*;

use super::*;
use crate::table;

fn desired() -> Desired {
    Desired { multiplier: Some(1.0), tag: Some("blue".into()) }
}

/// Returns the entries that a cell of the table names, with the ids 1, 2, ...
fn entries(cell: &str) -> Vec<Entry> {
    if cell == "none" {
        return Vec::new();
    }
    let entries = cell.split(" + ").enumerate().map(|(index, words)| {
        let (words, id_is_host) = match words.strip_suffix(", id is the name") {
            Some(words) => (words, true),
            None => (words, false),
        };
        let (state, but) = words.split_once(", ").unwrap_or((words, ""));
        let state = match state {
            "enabled" => State::Enabled,
            "cordoned" => State::Cordoned,
            "disabled" => State::Disabled,
            unknown => panic!("unknown state {unknown}"),
        };
        assert!(
            ["", "old secret", "other tag", "other multiplier", "other URL"].contains(&but),
            "unknown attribute {but}"
        );
        Entry {
            id: (index + 1).to_string(),
            id_is_host,
            state,
            online: true,
            load: Some(0.0),
            multiplier: Some(if but == "other multiplier" { 2.0 } else { 1.0 }),
            tag: Some(if but == "other tag" { "green".into() } else { "blue".into() }),
            secret_matches: but != "old secret",
            url_matches: but != "other URL",
        }
    });
    entries.collect()
}

fn words(actions: &[Action]) -> String {
    if actions.is_empty() {
        return "nothing".into();
    }
    let id = |target: &Target| match target {
        Target::Entry(id) => id.clone(),
        Target::Added => "the new one".into(),
    };
    let words = actions.iter().map(|action| match action {
        Action::Add => "add".into(),
        Action::Enable(target) => format!("enable {}", id(target)),
        Action::Cordon(target) => format!("cordon {}", id(target)),
        Action::Disable(target) => format!("disable {}", id(target)),
        Action::Panic(target) => format!("panic {}", id(target)),
        Action::Delete(target) => format!("delete {}", id(target)),
        Action::Update(target, update) => {
            let what = match update {
                Update { secret: true, tag: None, multiplier: None } => "secret",
                Update { secret: false, tag: Some(_), multiplier: None } => "tag",
                Update { secret: false, tag: None, multiplier: Some(_) } => "multiplier",
                other => panic!("unexpected {other:?}"),
            };
            format!("update {} {what}", id(target))
        }
    });
    words.collect::<Vec<String>>().join(", ")
}

fn join_enabled(desired: &Desired, own: &[Entry], meetings: Option<u32>) -> Vec<Action> {
    join(State::Enabled, desired, own, meetings)
}

/// Compares a plan that depends on the number of meetings with its table.
#[track_caller]
fn by_the_table(document: &str, plan: fn(&Desired, &[Entry], Option<u32>) -> Vec<Action>) {
    for [own, meetings, expected] in table::rows(document) {
        let counts = match meetings.as_str() {
            "any" => vec![None, Some(0), Some(3)],
            "unknown" => vec![None],
            number => vec![Some(number.parse().unwrap())],
        };
        for count in counts {
            assert_eq!(words(&plan(&desired(), &entries(&own), count)), expected, "{own}, {count:?}");
        }
    }
}

#[test]
fn join_by_the_table() {
    by_the_table(include_str!("tables/join.md"), join_enabled);
}

#[test]
fn join_cordoned_by_the_table() {
    let plan = |desired: &Desired, own: &[Entry], meetings| join(State::Cordoned, desired, own, meetings);
    by_the_table(include_str!("tables/join-cordoned.md"), plan);
}

#[test]
fn keep_by_the_table() {
    by_the_table(include_str!("tables/keep.md"), keep);
}

#[test]
fn cordon_by_the_table() {
    for [own, once, again] in table::rows(include_str!("tables/cordon.md")) {
        assert_eq!(words(&cordon(&entries(&own))), once, "{own}");
        assert_eq!(words(&recordon(&entries(&own))), again, "{own}, again");
    }
}

#[test]
fn multiplier_by_the_table() {
    for [cpus, reference, expected] in table::rows(include_str!("tables/multiplier.md")) {
        let found = multiplier(cpus.parse().unwrap(), reference.parse().unwrap());
        assert_eq!(found.to_string(), expected, "{cpus} of {reference}");
    }
}

#[test]
fn leave_by_the_table() {
    for [own, expected] in table::rows(include_str!("tables/leave.md")) {
        assert_eq!(words(&leave(&entries(&own))), expected, "{own}");
    }
}

#[test]
fn an_online_entry_is_kept_before_an_offline_one() {
    let mut own = entries("enabled + enabled");
    own[0].online = false;
    assert_eq!(words(&join_enabled(&desired(), &own, Some(0))), "cordon 1");
}

#[test]
fn what_is_not_desired_is_left_alone() {
    let own = entries("enabled, other tag");
    assert_eq!(words(&join_enabled(&Desired::default(), &own, None)), "nothing");
}

#[test]
fn a_scalelite_without_tags_is_not_asked_for_one() {
    let mut own = entries("enabled");
    own[0].tag = None;
    assert_eq!(words(&join_enabled(&desired(), &own, None)), "nothing");
}

#[test]
fn urls() {
    let same = [
        "https://bbb.example.org/bigbluebutton/api",
        "https://bbb.example.org/bigbluebutton/api/",
        "HTTPS://BBB.example.org:443/bigbluebutton/api",
        " https://bbb.example.org/bigbluebutton/api ",
        "https://bbb.example.org:/bigbluebutton/api",
        "https://bbb.example.org:0443/bigbluebutton/api",
    ];
    for url in same {
        assert_eq!(normalise_url(url).as_deref(), Some(same[0]));
    }
    assert_eq!(host_of("https://bbb.example.org:8443/bigbluebutton/api"), Some("bbb.example.org"));
    assert_eq!(host_of("http://bbb.example.org"), Some("bbb.example.org"));
    assert_eq!(host_of("http://[2001:db8::1]:8080/x:y"), Some("[2001:db8::1]"));
    assert_eq!(host_of("http://[2001:db8::1]"), Some("[2001:db8::1]"));
    assert_eq!(normalise_url("http://[2001:DB8::1]:8080").as_deref(), Some("http://[2001:db8::1]:8080"));
    for url in [
        "",
        "bbb.example.org",
        "ftp://x",
        "https://",
        "https:///x",
        "https://:443",
        "https://u@h/",
        "https://h/a b",
        "https://h/?x",
        "https://h:port/",
        "https://h:65536/",
        "https://h:80:80/",
        "https://[2001:db8::1]x/",
    ] {
        assert_eq!(normalise_url(url), None, "{url}");
    }
}

/// Carries out a plan as Scalelite would, as far as the actions change it; a panic ends the entry's meetings.
fn apply(own: &mut Vec<Entry>, actions: &[Action]) {
    for action in actions {
        let find = |own: &mut Vec<Entry>, target: &Target| -> usize {
            match target {
                Target::Added => own.len() - 1,
                Target::Entry(id) => own.iter().position(|entry| entry.id == *id).unwrap(),
            }
        };
        match action {
            Action::Add => {
                let template = entries("disabled").remove(0);
                own.push(Entry { id: format!("new{}", own.len()), ..template });
            }
            Action::Update(target, update) => {
                let index = find(own, target);
                let entry = &mut own[index];
                entry.secret_matches |= update.secret;
                entry.tag = update.tag.clone().or(entry.tag.take());
                entry.multiplier = update.multiplier.or(entry.multiplier);
            }
            Action::Enable(target) => {
                let index = find(own, target);
                own[index].state = State::Enabled;
            }
            Action::Cordon(target) => {
                let index = find(own, target);
                own[index].state = State::Cordoned;
            }
            Action::Disable(target) => {
                let index = find(own, target);
                own[index].state = State::Disabled;
            }
            Action::Panic(target) => {
                let index = find(own, target);
                assert_eq!(own[index].state, State::Disabled);
            }
            Action::Delete(target) => {
                let index = find(own, target);
                own.remove(index);
            }
        }
    }
}

fn any_entries() -> impl Strategy<Value = Vec<Entry>> {
    let state = prop::sample::select(vec![State::Enabled, State::Cordoned, State::Disabled]);
    let entry = (state, any::<bool>(), any::<bool>(), any::<bool>(), 0u8..2, 0u8..2);
    prop::collection::vec(entry, 0..5).prop_map(|list| {
        let entries = list.into_iter().enumerate().map(|(index, entry)| {
            let (state, online, secret_matches, url_matches, tag, multiplier) = entry;
            Entry {
                id: index.to_string(),
                state,
                online,
                load: None,
                multiplier: Some(f64::from(multiplier)),
                tag: Some(["blue", "green"][usize::from(tag)].into()),
                secret_matches,
                url_matches,
                id_is_host: false,
            }
        });
        entries.collect()
    })
}

proptest! {
    #[test]
    fn joining_ends_with_one_enabled_entry(mut own in any_entries()) {
        for _ in 0..5 {
            let actions = join_enabled(&desired(), &own, Some(0));
            apply(&mut own, &actions);
        }
        prop_assert_eq!(join_enabled(&desired(), &own, Some(0)), vec![]);
        prop_assert_eq!(own.len(), 1);
        prop_assert_eq!(own[0].state, State::Enabled);
        prop_assert!(own[0].secret_matches && own[0].url_matches);
    }

    #[test]
    fn keeping_ends_with_one_entry_in_the_state_that_it_had(mut own in any_entries()) {
        let Some(state) = kept(&own).0.map(|kept| kept.state) else {
            prop_assert_eq!(keep(&desired(), &own, Some(0)), vec![]);
            return Ok(());
        };
        for _ in 0..4 {
            let actions = keep(&desired(), &own, Some(0));
            apply(&mut own, &actions);
        }
        prop_assert_eq!(keep(&desired(), &own, Some(0)), vec![]);
        prop_assert_eq!(own.len(), 1);
        prop_assert_eq!(own[0].state, state);
        prop_assert!(own[0].secret_matches);
    }

    #[test]
    fn cordoning_leaves_nothing_enabled_and_ends_no_meeting(own in any_entries()) {
        for plan in [cordon, recordon] {
            let mut own = own.clone();
            let actions = plan(&own);
            let gentle = |action: &Action| matches!(action, Action::Enable(_) | Action::Cordon(_));
            prop_assert!(actions.iter().all(gentle));
            apply(&mut own, &actions);
            prop_assert!(own.iter().all(|entry| entry.state != State::Enabled));
            prop_assert_eq!(cordon(&own), vec![]);
        }
    }

    #[test]
    fn joining_and_keeping_end_no_meeting(own in any_entries(), meetings in prop::option::of(1u32..100)) {
        let actions = [join_enabled(&desired(), &own, meetings), keep(&desired(), &own, meetings)].concat();
        let ends = |action: &Action| matches!(action, Action::Panic(_) | Action::Delete(_) | Action::Disable(_));
        prop_assert!(!actions.iter().any(ends));
    }

    #[test]
    fn leaving_leaves_nothing(mut own in any_entries()) {
        let actions = leave(&own);
        apply(&mut own, &actions);
        prop_assert!(own.is_empty());
    }

    #[test]
    fn normalising_twice_changes_nothing(url in "(http|https|HTTP|ftp)://[a-zA-Z0-9.:/@]{0,30}") {
        if let Some(normal) = normalise_url(&url) {
            prop_assert_eq!(normalise_url(&normal), Some(normal));
        }
    }
}
