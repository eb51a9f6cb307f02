//! The width of the screen, and what is not known on it.

use super::*;

fn fleet(hosts: Vec<Host>) -> Fleet {
    Fleet {
        schema: 1,
        agent: "bbb-agent".into(),
        version: "1.2.3".into(),
        verdict: Verdict::Wrong,
        domain: "bbb.example.org".into(),
        region: "ap-southeast-1".into(),
        errors: Errors::default(),
        route53_calls: 3,
        totals: Totals { taking_meetings: Some(1), ..Totals::default() },
        hosts,
    }
}

fn host() -> Host {
    Host {
        instance: "i-0123456789abcdef0".into(),
        availability_zone: Some("ap-southeast-1a".into()),
        launched: Some(0),
        instance_state: Some("running".into()),
        group: Some("g".repeat(255)),
        lifecycle_state: Some("Warmed:Terminating:Proceed".into()),
        protected: Some(true),
        name: Some("vc-0123456789abcdef0.bbb.example.org".into()),
        name_state: Some("foreign".into()),
        entry: Some("cordoned".into()),
        online: Some(true),
        load: Some(123_456.0),
        standing: "wrong".into(),
        words: vec![
            "its name leads to 198.51.100.1, ".repeat(9),
            "i\u{1b}[2J\u{202e}\nverdict: in order".into(),
        ],
    }
}

#[test]
fn the_worst_host_fits_80_columns() {
    let far = Host {
        availability_zone: Some("us-east-1-wl1-bos-wlz-1".into()),
        lifecycle_state: Some("EnteringStandby".into()),
        launched: Some(1_700_000_000),
        load: Some(1e12),
        ..host()
    };
    let text = draw(&fleet(vec![host(), far]), 1_700_000_000, Paper::default());
    for line in text.lines() {
        assert!(line.chars().count() <= WIDTH, "{line}");
        assert_eq!(line, line.trim_end());
    }
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    assert_eq!(text.matches("\nverdict: ").count(), 1, "{text}");
    let row = "i-0123456789abcdef0 a    196~ Warmed        yes  foreign cordoned yes    123456";
    assert!(text.contains(row), "{text}");
}

#[test]
fn what_is_not_known_is_no_zero() {
    let unknown = Host {
        availability_zone: None,
        launched: None,
        instance_state: None,
        group: None,
        lifecycle_state: None,
        protected: None,
        name_state: None,
        entry: None,
        online: None,
        load: None,
        words: Vec::new(),
        ..host()
    };
    let text = draw(&fleet(vec![unknown]), 0, Paper::default());
    assert!(
        text.contains("i-0123456789abcdef0 -    -    -             -    -       -        -      -\n"),
        "{text}"
    );
}

#[test]
fn without_scalelite_its_columns_are_left_out() {
    let mut fleet = fleet(vec![host()]);
    fleet.totals.taking_meetings = None;
    let text = draw(&fleet, 0, Paper::default());
    assert!(!text.contains("load") && !text.contains("entry"), "{text}");
}

#[test]
fn a_small_terminal_shows_the_hosts_that_need_a_look() {
    let in_order = || Host { standing: "in-order".into(), words: Vec::new(), ..host() };
    let troubled = Host { instance: "i-0fedcba9876543210".into(), words: vec!["broken".into()], ..host() };
    let hosts = (0..40).map(|_| in_order()).chain([troubled]).collect();
    let fleet = fleet(hosts);
    let text = draw(&fleet, 0, Paper { rows: Some(12), ..Paper::default() });
    assert!(text.lines().count() < 12, "{text}");
    assert!(text.contains("i-0fedcba9876543210") && text.contains("    ! broken\n"), "{text}");
    assert!(text.contains("(40 more hosts: "), "{text}");
    assert!(text.ends_with("verdict: not as it should be\n"), "{text}");
    // Not even that one fits.
    let text = draw(&fleet, 0, Paper { rows: Some(3), ..Paper::default() });
    assert!(text.contains("(41 more hosts: "), "{text}");
    assert_eq!(draw(&fleet, 0, Paper { rows: Some(60), ..Paper::default() }).matches("i-0").count(), 41);
}

#[test]
fn colours_change_nothing_else() {
    let in_order = Host { standing: "in-order".into(), words: Vec::new(), ..host() };
    let out = Host { standing: "out".into(), ..host() };
    let fleet = fleet(vec![host(), in_order, out]);
    let painted = draw(&fleet, 0, Paper { colors: true, ..Paper::default() });
    let mut bare = painted.clone();
    for code in ["0", "1", "2", "31", "32", "33"] {
        bare = bare.replace(&format!("\x1b[{code}m"), "");
    }
    assert_eq!(bare, draw(&fleet, 0, Paper::default()));
    assert_eq!(
        painted.matches("\x1b[31m").count(),
        1 + 6 + 1,
        "one row with its words, and the verdict: {painted}"
    );
}
