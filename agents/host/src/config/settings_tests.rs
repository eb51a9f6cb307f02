use super::*;
use crate::config::choices::ReadFrom;
use crate::config::row::{Kind, Setting};
use crate::config::{defaults, load, table};

const BBB: Agent = Agent {
    role: Role::Bbb,
    name: "bbb-agent",
    environment_prefix: "BBB_AGENT_",
    default_hostname: "vc-{instance}",
};

const MINIMAL: &str = "[dns]\nzone_id = \"Z0123456789EXAMPLE\"\ndomain = \"example.org\"\n";

const TURN: Agent = Agent {
    role: Role::Turn,
    name: "turn-agent",
    environment_prefix: "TURN_AGENT_",
    default_hostname: "tu-{instance}",
};

/// Reads settings from a file with this text, these drop-ins, variables and `--set`s.
fn settings(
    text: &str,
    drop_ins: &[(&str, &str)],
    variables: &[(&str, &str)],
    set: &[&str],
) -> Result<Settings, ConfigError> {
    settings_of(&BBB, text, drop_ins, variables, set)
}

fn settings_of(
    agent: &Agent,
    text: &str,
    drop_ins: &[(&str, &str)],
    variables: &[(&str, &str)],
    set: &[&str],
) -> Result<Settings, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    std::fs::write(&file, text).unwrap();
    std::fs::create_dir(directory.path().join("config.d")).unwrap();
    for (name, text) in drop_ins {
        std::fs::write(directory.path().join("config.d").join(name), text).unwrap();
    }
    let flags = Flags { file: Some(file), set: set.iter().map(ToString::to_string).collect() };
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    load::load(agent, &flags, variables).and_then(|raw| check(agent, &raw)).map_err(|mut error| {
        let prefix = format!("{}/", directory.path().display());
        error.problems.iter_mut().for_each(|problem| *problem = problem.replace(&prefix, ""));
        error
    })
}

fn problems(text: &str) -> Vec<String> {
    settings(text, &[], &[], &[]).unwrap_err().problems
}

/// Returns the one problem of the minimal configuration with one more line, which is line 4.
fn problem(line: &str) -> String {
    let problems = problems(&format!("{MINIMAL}{line}\n"));
    assert_eq!(problems.len(), 1, "{line}: {problems:?}");
    problems[0].clone()
}

#[test]
fn the_later_place_wins_key_by_key() {
    let ttl = |drop_ins: &[(&str, &str)], variables: &[(&str, &str)], set: &[&str]| {
        let settings = settings(&format!("{MINIMAL}ttl = 10\n"), drop_ins, variables, set).unwrap();
        (settings.dns.ttl, settings.dns.zone_id)
    };
    let zone = "Z0123456789EXAMPLE".to_owned();
    let files: &[(&str, &str)] =
        &[("20-b.toml", "dns.ttl = 30"), ("10-a.toml", "[dns]\nttl = 20"), ("note.txt", "?")];
    assert_eq!(ttl(&[], &[], &[]), (10, zone.clone()));
    assert_eq!(ttl(files, &[], &[]), (30, zone.clone()));
    assert_eq!(ttl(files, &[("BBB_AGENT_DNS_TTL", "40"), ("OTHER", "x")], &[]), (40, zone.clone()));
    assert_eq!(ttl(files, &[("BBB_AGENT_DNS_TTL", "40")], &["dns.ttl=50", "dns.ttl=60"]), (60, zone));
}

#[test]
fn problems_name_file_line_and_key() {
    let rows = [
        ("tll = 5", "config.toml:4: dns.tll: there is no such setting (did you mean dns.ttl?)"),
        ("nonsense = 5", "config.toml:4: dns.nonsense: there is no such setting"),
        ("ttl = \"60\"", "config.toml:4: dns.ttl: must be a whole number"),
        ("[sweep]\npause = 0", "config.toml:5: sweep.pause: 0 is out of range (1 to 3600 seconds)"),
        ("[sweep]\ngrace = 299", "config.toml:5: sweep.grace: 299 is out of range (300 to 2592000 seconds)"),
        (
            "[sweep]\ninterval = 59",
            "config.toml:5: sweep.interval: 59 is out of range (60 to 604800 seconds)",
        ),
        ("ttl = 0", "config.toml:4: dns.ttl: 0 is out of range (1 to 86400 seconds)"),
        ("ttl = 86401", "config.toml:4: dns.ttl: 86401 is out of range (1 to 86400 seconds)"),
        ("ipv6 = 1", "config.toml:4: dns.ipv6: must be true or false"),
        (
            "ipv4 = \"both\"",
            "config.toml:4: dns.ipv4: must be \"public\", \"public-if-any\", \"private\" or \"off\"",
        ),
        ("read = \"dns\"", "config.toml:4: dns.read: must be \"auto\" or \"api\""),
        (
            "servers = [\"ns1\"]",
            "config.toml:4: dns.servers: \"ns1\" is not an IP address with or without a port",
        ),
        ("servers = [1]", "config.toml:4: dns.servers: must be a list of texts"),
        ("spread = -1", "config.toml:4: dns.spread: -1 is out of range (0 to 43200 seconds)"),
        (
            "spread = 151",
            "config.toml:4: dns.spread: 151 s is more than half of timeouts.register (300 s): a host could still wait for its turn when its time is over",
        ),
        ("apex = \"example.com\"", "config.toml:4: dns.apex: is not dns.domain (example.org) or above it"),
        (
            "role_arn = \"bbb-dns\"",
            "config.toml:4: dns.role_arn: must be the ARN of a role, for example arn:aws:iam::123456789012:role/bbb-dns",
        ),
        (
            "role_external_id = \"bbb\"",
            "config.toml:4: dns.role_external_id: is set without dns.role_arn, whose external id it is",
        ),
        (
            "role_external_id = \"b b\"",
            "config.toml:4: dns.role_external_id: must be 2 to 1224 letters, digits and characters of _+=,.@:/-",
        ),
        ("name = \"a.example.com\"", "config.toml:4: dns.name: is not below dns.domain"),
        (
            "[log]\nlevel = \"loud\"",
            "config.toml:5: log.level: must be \"error\", \"warn\", \"info\" or \"debug\"",
        ),
        ("[bbb]\naddress = \"localhost\"", "config.toml:5: bbb.address: must be an IP address"),
        (
            "[bbb]\nturn_server = \"turn.example.org\"",
            "config.toml:5: bbb.turn_server: is set without bbb.turn_secret; both are needed",
        ),
        (
            "[bbb]\nturn_secret = \"file:/secret\"",
            "config.toml:5: bbb.turn_secret: is set without bbb.turn_server; both are needed",
        ),
        (
            "[bbb]\naddresses = \"ignore\"\nturn_secret = \"file:/secret\"\nturn_server = \"turn.example.org\"",
            "config.toml:7: bbb.turn_server: needs another bbb.addresses than \"ignore\": the file would not be looked at",
        ),
        ("[bbb]\nproperties = \"bbb.properties\"", "config.toml:5: bbb.properties: must be an absolute path"),
        (
            "[aws]\nregion = \"Frankfurt\"",
            "config.toml:5: aws.region: must be an AWS region, for example eu-central-1",
        ),
        ("[timeouts]\nimds = 0", "config.toml:5: timeouts.imds: 0 is out of range (1 to 3600 seconds)"),
        (
            "[scalelite]\nurl = \"https://s\"",
            "config.toml:5: scalelite.url: is set without scalelite.secret; both are needed to join",
        ),
        ("[scalelite]\nload_multiplier = 0", "config.toml:5: scalelite.load_multiplier: must be above 0"),
        ("[scalelite]\nload_multiplier = nan", "config.toml:5: scalelite.load_multiplier: must be above 0"),
        (
            "[scalelite]\nload_multiplier = \"1\"",
            "config.toml:5: scalelite.load_multiplier: must be a number or its word in quotes",
        ),
    ];
    for (line, expected) in rows {
        assert_eq!(problem(line), expected);
    }
}

#[test]
fn bad_names_are_refused_with_their_reason() {
    let long = "a".repeat(60);
    let label = problem(&format!("hostname = \"{long}-{{instance}}\""));
    assert!(
        label.starts_with("config.toml:4: dns.hostname: host names would not fit: the label "),
        "{label}"
    );
    assert!(label.ends_with("has 78 characters; DNS allows 63"), "{label}");
    let template = problem("hostname = \"vc\"");
    assert!(template.contains("dns.hostname: \"vc\" has no {instance}"), "{template}");
    let many = vec!["a".repeat(60); 4].join(".");
    let name = problems(&format!("[dns]\nzone_id = \"Z1\"\ndomain = \"{many}\"\n"));
    assert!(
        name[0].starts_with("config.toml:3: dns.domain: host names would not fit: ")
            && name[0].contains("DNS allows 246 here"),
        "{name:?}"
    );
    let domain = problems("[dns]\nzone_id = \"Z1\"\ndomain = \"exa mple.org\"\n");
    assert!(
        domain[0].starts_with("config.toml:3: dns.domain: \"exa mple.org\" has the character ' '"),
        "{domain:?}"
    );
}

#[test]
fn zone_ids() {
    let with = |id: &str| settings(&MINIMAL.replace("Z0123456789EXAMPLE", id), &[], &[], &[]);
    assert_eq!(with("/hostedzone/Z1ABC").unwrap().dns.zone_id, "Z1ABC");
    for id in ["", "Z", "1ABC", "z1abc", "Z1 ABC", "Z1/ABC", &format!("Z{}", "A".repeat(32))] {
        let problems = with(id).unwrap_err().problems;
        assert!(
            problems[0].starts_with("config.toml:2: dns.zone_id: must be a Route 53 hosted zone id"),
            "{id}: {problems:?}"
        );
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let problems = problems("[dns]\nttl = 0\nread = 1\n[sclaelite]\nurl = \"x\"\n");
    assert_eq!(problems.len(), 2, "what cannot be read comes first: {problems:?}");
    let problems =
        settings("[dns]\nttl = 0\n", &[], &[], &["scalelite.url=x", "log.level=x"]).unwrap_err().problems;
    let starts = [
        "dns.zone_id is not set",
        "dns.domain is not set",
        "config.toml:2: dns.ttl",
        "--set: scalelite.url",
        "--set: log.level",
    ];
    for start in starts {
        assert!(problems.iter().any(|problem| problem.starts_with(start)), "{start}: {problems:?}");
    }
}

#[test]
fn unknown_variables_and_flags_are_refused() {
    let error = settings(MINIMAL, &[], &[("BBB_AGENT_DNS_TLL", "5")], &["ttl", "dns.tl=5"]).unwrap_err();
    assert_eq!(
        error.problems,
        [
            "environment variable BBB_AGENT_DNS_TLL: there is no such setting (did you mean BBB_AGENT_DNS_TTL?)",
            "--set: expects KEY=VALUE, for example --set dns.ttl=120",
            "--set: dns.tl: there is no such setting (did you mean dns.ttl?)",
        ]
    );
}

#[test]
fn what_is_not_toml_is_named_with_its_line() {
    let problems = problems("[dns]\nzone_id = Z1\n");
    assert!(problems[0].starts_with("config.toml:2: is not TOML: "), "{problems:?}");
}

#[test]
fn a_secret_in_place_of_its_reference_is_not_repeated() {
    let error =
        settings(MINIMAL, &[], &[], &["scalelite.url=https://s", "scalelite.secret=hunter2"]).unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(error.to_string().contains("scalelite.secret"), "{error}");
}

#[test]
fn a_missing_file_is_fine_only_where_nobody_asked_for_it() {
    let flags = Flags { file: Some("/nonexistent/config.toml".into()), set: Vec::new() };
    let error = load::load(&BBB, &flags, []).unwrap_err();
    assert!(error.problems[0].starts_with("/nonexistent/config.toml: cannot be read: "), "{error}");
}

/// Lists all settings of both agents.
fn rows() -> impl Iterator<Item = (&'static Agent, &'static Setting)> {
    [&BBB, &TURN].into_iter().flat_map(|agent| table::of(agent.role).map(move |setting| (agent, setting)))
}

/// Reads a configuration in which every setting has a meaning, with this value for one of them; returns it as text.
fn outcome(agent: &Agent, path: &str, value: &str) -> Result<String, Vec<String>> {
    let mut set = vec!["timeouts.register=86400".to_owned(), format!("{path}={value}")];
    let scalelite = ["scalelite.url=https://s.example.org", "scalelite.secret=file:/secret"];
    if agent.role == Role::Bbb {
        set.splice(0..0, scalelite.map(str::to_owned));
    }
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let settings = settings_of(agent, MINIMAL, &[], &[], &set);
    settings.map(|settings| format!("{settings:?}")).map_err(|error| error.problems)
}

#[test]
fn the_bounds_of_every_row_are_those_that_are_checked_and_shown() {
    let file = |agent| {
        defaults::file(agent).lines().map(|line| line.trim_start_matches("# ")).collect::<Vec<_>>().join(" ")
    };
    let mut count = 0;
    for (agent, Setting { path, kind, .. }) in rows() {
        let Kind::Integer { default, range } = *kind else { continue };
        count += 1;
        assert!(range.contains(default), "{path}: the default is {default}, the range {range}");
        for within in [range.least, range.most] {
            assert!(outcome(agent, path, &within.to_string()).is_ok(), "{path} = {within}");
        }
        for beyond in [i128::from(range.least) - 1, i128::from(range.most) + 1] {
            let problem = format!("--set: {path}: {beyond} is out of range ({range})");
            assert_eq!(outcome(agent, path, &beyond.to_string()), Err(vec![problem]));
        }
        let shown = format!("in {} ({} to {})", range.unit, range.least, range.most);
        assert!(table::find(path).unwrap().about().contains(&shown), "{path}: {shown}");
        assert!(file(agent).contains(&shown), "{path}: {shown}");
    }
    assert!(count > 25, "{count}");
}

#[test]
fn every_word_of_every_choice_is_taken_and_shown_and_no_other_is() {
    for (agent, Setting { path, kind, .. }) in rows() {
        let Kind::Choice { words, default } = *kind else { continue };
        assert!(words().iter().any(|(word, _)| *word == default), "{path}: {default}");
        for (word, meaning) in words() {
            assert!(outcome(agent, path, word).is_ok(), "{path} = {word}");
            let shown = format!("{:<12}{meaning}", format!("{word:?}"));
            assert!(defaults::file(agent).contains(&shown), "{path}: {shown}");
        }
        let [problem] = &outcome(agent, path, "else").unwrap_err()[..] else { panic!("{path}") };
        assert!(problem.starts_with(&format!("--set: {path}: must be \"{}\"", words()[0].0)), "{problem}");
    }
}

#[test]
fn lists_of_numbers_and_long_texts_keep_to_their_bounds() {
    for (agent, Setting { path, kind, .. }) in rows() {
        match *kind {
            Kind::List { numbers: Some(range) } => {
                for beyond in [range.least - 1, range.most + 1] {
                    let problem = format!(
                        "--set: {path}: \"{beyond}\" is not a number of {} ({} to {})",
                        range.unit, range.least, range.most
                    );
                    assert_eq!(outcome(agent, path, &format!("{},{beyond}", range.most)), Err(vec![problem]));
                }
                assert!(outcome(agent, path, &format!("{},{}", range.least, range.most)).is_ok());
            }
            Kind::Text { length: Some(range), .. } => {
                let text = |length: u64| "ü".repeat(usize::try_from(length).unwrap());
                for beyond in [range.least - 1, range.most + 1] {
                    let problem = format!("--set: {path}: must have {range}");
                    assert_eq!(outcome(agent, path, &text(beyond)), Err(vec![problem]));
                }
                assert!(outcome(agent, path, &text(range.least)).is_ok());
                assert!(outcome(agent, path, &text(range.most)).is_ok());
            }
            _ => {}
        }
    }
}

/// Ensures that code reads every row: otherwise a setting would have no effect.
#[test]
fn every_row_is_read() {
    for (agent, setting) in rows() {
        let other = match setting.kind {
            Kind::Bool { default } => (!default).to_string(),
            Kind::Integer { range, .. } => (range.most + 1).to_string(),
            Kind::Float { above, .. } => above.to_string(),
            Kind::Text { .. } | Kind::Choice { .. } | Kind::List { .. } => "?".to_owned(),
        };
        let usual = outcome(agent, "dns.ttl", "60");
        assert!(usual.is_ok(), "{usual:?}");
        assert_ne!(outcome(agent, setting.path, &other), usual, "{} = {other}", setting.path);
    }
}

#[test]
fn the_table_is_in_order() {
    for (agent, setting) in rows() {
        let Setting { path, text, kind, .. } = setting;
        assert_eq!(table::of(agent.role).filter(|other| other.path == *path).count(), 1, "{path}");
        assert!(text.ends_with('.') && !text.contains("  "), "{path}: {text}");
        assert!(!kind.shown(agent).is_empty(), "{path}: neither a default nor an example");
    }
}

#[test]
fn a_value_that_is_not_in_the_table_is_no_value() {
    let raw = Raw::default();
    let mut checker = Checker::new(&BBB, &raw);
    assert_eq!(checker.integer("dns.tll"), None);
    assert_eq!(checker.bool("dns.ttl"), None);
    assert_eq!(checker.choice::<ReadFrom>("dns.ipv4"), None);
    let fault = "is not in the table of settings as it is read (a fault of this program)";
    assert_eq!(checker.problems, ["dns.tll", "dns.ttl", "dns.ipv4"].map(|path| format!("{path}: {fault}")));
}

/// Compares the defaults in the shipped file with the values that apply when nothing is set.
#[test]
fn the_defaults_that_are_shown_are_those_that_are_used() {
    for agent in [&BBB, &TURN] {
        let shown =
            table::of(agent.role).filter_map(|setting| Some((setting.path, setting.kind.default(agent)?)));
        let set: Vec<String> = shown
            .map(|(path, default)| format!("{path}={}", default.trim_matches(['"', '[', ']'])))
            .collect();
        assert!(set.len() > 10, "{set:?}");
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        let with = settings_of(agent, MINIMAL, &[], &[], &set).unwrap();
        let without = settings_of(agent, MINIMAL, &[], &[], &[]).unwrap();
        assert_eq!(format!("{with:?}"), format!("{without:?}"));
    }
}

#[test]
fn a_turn_host_has_no_scalelite() {
    let set = ["dns.zone_id=Z1", "dns.domain=example.org", "scalelite.url=https://s"];
    let flags = Flags { file: None, set: set.iter().map(ToString::to_string).collect() };
    let error = load::load(&TURN, &flags, []).unwrap_err();
    assert_eq!(error.problems, ["--set: scalelite.url: there is no such setting"]);
}

/// Whether or not metrics are sent, an open relay is not registered.
#[test]
fn coturn_is_asked_as_configured() {
    let read = |agent, text: &str| {
        let text = format!("{MINIMAL}[metrics]\n{text}\n");
        let coturn = settings_of(agent, &text, &[], &[], &[]).unwrap().coturn;
        coturn.map(|coturn| coturn.address([10, 0, 0, 10].into()).to_string())
    };
    let at = |address: &str| Some(address.to_owned());
    assert_eq!(read(&BBB, ""), at("10.0.0.10:3478"));
    assert_eq!(read(&BBB, "coturn = \"auto\""), at("10.0.0.10:3478"));
    assert_eq!(read(&TURN, ""), at("127.0.0.1:3478"));
    assert_eq!(read(&TURN, "enabled = false"), at("127.0.0.1:3478"));
    for agent in [&BBB, &TURN] {
        assert_eq!(read(agent, "coturn = \"[::1]:3479\""), at("[::1]:3479"));
        assert_eq!(read(agent, "coturn = \"\""), None);
    }
    let text = format!("{MINIMAL}[metrics]\ncoturn = \"auto\"\n");
    let error = settings_of(&TURN, &text, &[], &[], &[]).unwrap_err();
    assert!(
        error.to_string().contains("metrics.coturn: must be \"\" or an IP address with a port"),
        "{error}"
    );
}

#[test]
fn relays_are_counted_at_their_ports() {
    let read = |text: &str| {
        let text = format!("{MINIMAL}[drain]\nrelays = \"{text}\"\n");
        settings_of(&TURN, &text, &[], &[], &[]).map(|settings| settings.relays)
    };
    assert_eq!(settings_of(&TURN, MINIMAL, &[], &[], &[]).unwrap().relays, Some(1024..=65_535));
    assert_eq!(settings_of(&BBB, MINIMAL, &[], &[], &[]).unwrap().relays, None);
    assert_eq!(read("49152-65535").unwrap(), Some(49_152..=65_535));
    assert_eq!(read("7-7").unwrap(), Some(7..=7));
    assert_eq!(read("").unwrap(), None);
    for bad in ["49152", "65535-49152", "0-9", "1-65536", "1-", "all"] {
        let error = read(bad).unwrap_err().to_string();
        assert!(
            error.contains("drain.relays: must be \"\" or two ports, for example 49152-65535"),
            "{error}"
        );
    }
}

#[test]
fn metrics_as_configured_and_by_default() {
    let read = |agent, text: &str| {
        let text = format!("{MINIMAL}[metrics]\n{text}\n");
        settings_of(agent, &text, &[], &[], &[]).unwrap().metrics
    };
    let at = |text: &str| Certificate::At(text.parse().unwrap());
    let bbb = read(&BBB, "").unwrap();
    let cloudwatch = bbb.cloudwatch.unwrap();
    assert_eq!((cloudwatch.namespace.as_str(), cloudwatch.dimension), ("BigBlueButton", Dimension::Group));
    assert_eq!(bbb.listen, None);
    assert_eq!((bbb.interval, bbb.certificate), (Duration::from_secs(60), Certificate::Bbb));
    let turn = read(&TURN, "").unwrap();
    assert_eq!(turn.cloudwatch.unwrap().namespace, "BigBlueButton/TURN");
    assert_eq!(turn.certificate, at("127.0.0.1:5349"));
    let turn = read(&TURN, "certificate = \"[::1]:443\"").unwrap();
    assert_eq!(turn.certificate, at("[::1]:443"));
    assert_eq!(read(&BBB, "certificate = \"\"").unwrap().certificate, Certificate::Off);
    assert_eq!(read(&BBB, "enabled = false"), None);
    for (text, expected) in [
        ("127.0.0.1:9688", Listen::At("127.0.0.1:9688".parse().unwrap())),
        ("[fd00::1]:9688", Listen::At("[fd00::1]:9688".parse().unwrap())),
        ("private:9688", Listen::Private(9688)),
        ("/run/bbb-agent/metrics.sock", Listen::Socket("/run/bbb-agent/metrics.sock".into())),
    ] {
        let metrics = read(&TURN, &format!("enabled = false\nlisten = \"{text}\"")).unwrap();
        assert_eq!((metrics.cloudwatch, metrics.listen), (None, Some(expected)), "{text}");
    }
    for (line, expected) in [
        ("namespace = \"AWS/EC2\"", "metrics.namespace: must be 1 to 255 letters"),
        ("namespace = \":x\"", "metrics.namespace: must be 1 to 255 letters"),
        ("namespace = \"\"", "metrics.namespace: must be 1 to 255 letters"),
        ("namespace = \" \"", "metrics.namespace: must be 1 to 255 letters"),
        ("namespace = \"ü\"", "metrics.namespace: must be 1 to 255 letters"),
        ("dimension = \"host\"", "metrics.dimension: must be \"group\""),
        ("interval = 9", "metrics.interval: 9 is out of range (10 to 3600 seconds)"),
        ("certificate = \"localhost:443\"", "metrics.certificate: must be \"auto\""),
        ("listen = \"0.0.0.0:9688\"", "metrics.listen: must be an IP address of this host"),
        ("listen = \"[::]:9688\"", "metrics.listen: must be an IP address of this host"),
        ("listen = \"[::ffff:0.0.0.0]:9688\"", "metrics.listen: must be an IP address of this host"),
        ("listen = \"127.0.0.1:0\"", "metrics.listen: must be an IP address of this host"),
        ("listen = \"private:0\"", "metrics.listen: must be an IP address of this host"),
        ("listen = \"localhost:9688\"", "metrics.listen: must be an IP address of this host"),
        ("listen = \"metrics.sock\"", "metrics.listen: must be an IP address of this host"),
        ("listen = \"/run/\"", "metrics.listen: must be an IP address of this host"),
        // Problems are reported even where no metrics are sent.
        ("enabled = false\ninterval = 9", "metrics.interval: 9 is out of range"),
    ] {
        let problem = problem(&format!("[metrics]\n{line}"));
        assert!(problem.contains(expected), "{line}: {problem}");
    }
}

#[test]
fn roles_are_told_by_their_arns() {
    let rows = [
        ("arn:aws:iam::123456789012:role/bbb-dns", true),
        ("arn:aws-cn:iam::123456789012:role/dns/BBB_dns+=,.@-1", true),
        ("arn:aws-eusc:iam::123456789012:role/r", true),
        ("arn:aws:iam::123456789012:role/", false),
        ("arn:aws:iam::123456789012:role/dns/", false),
        ("arn:aws:iam::12345678901:role/r", false),
        ("arn:aws:iam::123456789012:user/r", false),
        ("arn:aws:iam:eu-central-1:123456789012:role/r", false),
        ("arn:aws:sts::123456789012:assumed-role/r/s", false),
        ("arn:aws:iam::123456789012:role/a b", false),
        ("", false),
    ];
    for (arn, right) in rows {
        assert_eq!(super::dns::role_arn(arn).is_ok(), right, "{arn}");
    }
}

#[test]
fn the_shared_name_of_turn_hosts() {
    let read = |set: &[&str]| {
        let settings = settings_of(&TURN, MINIMAL, &[], &[], set);
        settings.map(|settings| settings.dns.shared).map_err(|error| error.problems.join("; "))
    };
    assert_eq!(read(&[]), Ok(None));
    let shared = read(&["turn.shared_name=TURN.example.org."]).unwrap().unwrap();
    assert_eq!((shared.name.as_str(), shared.health_check), ("turn.example.org", None));
    // The zone's own name is a matter of Route 53's, which `check` asks.
    assert!(read(&["turn.shared_name=example.org"]).unwrap().is_some());
    let check = "turn.shared_health_check=abcdef11-2222-3333-4444-555555fedcba";
    let shared = read(&["turn.shared_name=turn.example.org", check]).unwrap().unwrap();
    assert_eq!(shared.health_check.as_deref(), Some("abcdef11-2222-3333-4444-555555fedcba"));
    let name = "turn.shared_name=turn.example.org";
    for (set, words) in [
        (vec!["turn.shared_name=turn.example.com"], "is not dns.domain or below it"),
        (vec!["turn.shared_name=_x.example.org"], "has the character '_'"),
        (vec!["turn.shared_name=tu-0123456789abcdef0.example.org"], "is the name of one host"),
        (vec![name, "dns.name=turn.example.org"], "is the name of one host"),
        (vec![check], "is set without turn.shared_name"),
        (vec![name, "turn.shared_health_check=a,since=1"], "must be the id of a Route 53 health check"),
    ] {
        let problem = read(&set).unwrap_err();
        assert!(problem.contains(words), "{set:?}: {problem}");
    }
    let bbb = settings_of(&BBB, MINIMAL, &[], &[], &[name]).unwrap_err();
    assert!(bbb.problems.join("; ").contains("there is no such setting"), "{bbb:?}");
}
