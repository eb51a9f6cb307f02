//! The configuration as a person meets it: clear errors with file, line and key, all at once, and which place wins.

use e2e::{Rig, Run, Running};

const MINIMAL: &str = "[dns]\nzone_id = \"Z0123456789EXAMPLE\"\ndomain = \"example.org\"\n";

fn write(rig: &Rig, text: &str) {
    std::fs::write(rig.agent.config(), text).unwrap();
}

/// Runs `hostname`, which needs little beside the configuration, with more environment.
async fn with_environment(rig: &Rig, variables: &[(&str, &str)], arguments: &[&str]) -> Run {
    let mut command = rig.command(&[&["hostname"], arguments].concat());
    command.envs(variables.iter().copied());
    Running::start(command).end().await
}

/// The configuration must be refused with exactly these problems; `FILE` stands for the file's path.
async fn refused(rig: &Rig, text: &str, problems: &[&str]) {
    write(rig, text);
    let run = rig.expect(2, &["hostname"]).await;
    let mut lines = run.stderr.lines();
    assert_eq!(lines.next(), Some("bbb-agent: the configuration cannot be used:"), "{run}");
    let found: Vec<String> =
        lines.map(|line| line.trim().replace(&rig.agent.config().display().to_string(), "FILE")).collect();
    assert_eq!(found, problems, "{text}");
    assert_eq!(run.stdout, "");
}

#[tokio::test]
async fn each_mistake_is_named_with_file_line_and_key() {
    let rig = Rig::bbb().await;
    let label = "a".repeat(60);
    let rows = [
        ("tll = 120", "FILE:4: dns.tll: there is no such setting (did you mean dns.ttl?)".to_owned()),
        ("nonsense = 1", "FILE:4: dns.nonsense: there is no such setting".to_owned()),
        ("[scalelight]\nurl = \"x\"", "FILE:4: scalelight: there is no such setting".to_owned()),
        ("ttl = \"60\"", "FILE:4: dns.ttl: must be a whole number".to_owned()),
        ("ttl = 0", "FILE:4: dns.ttl: 0 is out of range (1 to 86400 seconds)".to_owned()),
        ("ttl = 86401", "FILE:4: dns.ttl: 86401 is out of range (1 to 86400 seconds)".to_owned()),
        ("ipv6 = \"yes\"", "FILE:4: dns.ipv6: must be true or false".to_owned()),
        ("\n\n[timeouts]\nregister = 1.5", "FILE:7: timeouts.register: must be a whole number".to_owned()),
        (
            "servers = [\"ns1.example.org\"]",
            "FILE:4: dns.servers: \"ns1.example.org\" is not an IP address with or without a port".to_owned(),
        ),
        (
            &format!("hostname = \"{label}-{{instance}}\""),
            format!(
                "FILE:4: dns.hostname: host names would not fit: the label \"{label}-0123456789abcdef0\" has 78 \
                 characters; DNS allows 63"
            ),
        ),
    ];
    for (line, problem) in rows {
        refused(&rig, &format!("{MINIMAL}{line}\n"), &[&problem]).await;
    }
}

#[tokio::test]
async fn zones_domains_and_templates_that_cannot_work() {
    let rig = Rig::bbb().await;
    let rows = [
        (
            "zone_id = \"example.org\"\ndomain = \"example.org\"",
            "FILE:2: dns.zone_id: must be a Route 53 hosted zone id",
        ),
        ("zone_id = \"Z1\"\ndomain = \"exa mple.org\"", "FILE:3: dns.domain: "),
        ("zone_id = \"Z1\"\ndomain = \"-example.org\"", "FILE:3: dns.domain: "),
        ("zone_id = \"Z1\"\ndomain = \"example..org\"", "FILE:3: dns.domain: "),
        (
            "zone_id = \"Z1\"\ndomain = \"x.org\"\nhostname = \"vc\"",
            "FILE:4: dns.hostname: \"vc\" has no {instance}",
        ),
        (
            "zone_id = \"Z1\"\ndomain = \"x.org\"\nname = \"a.y.org\"",
            "FILE:4: dns.name: is not below dns.domain",
        ),
        (
            "zone_id = \"Z1\"\ndomain = \"x.org\"\nname = \"a.x.org\"\nhostname = \"vc-{instance}\"",
            "FILE:4: dns.name: is set together with dns.hostname",
        ),
    ];
    for (text, problem) in rows {
        write(&rig, &format!("[dns]\n{text}\n"));
        let run = rig.expect(2, &["hostname"]).await;
        run.says(&[&problem.replace("FILE", &rig.agent.config().display().to_string())]);
    }
    // Four labels of 60 characters fit into DNS's 253; with a host's own and `_agent.` before them they do not.
    let long = vec!["a".repeat(60); 4].join(".");
    write(&rig, &format!("[dns]\nzone_id = \"Z1\"\ndomain = \"{long}\"\n"));
    rig.expect(2, &["hostname"]).await.says(&["dns.domain: host names would not fit", "DNS allows"]);
}

#[tokio::test]
async fn several_problems_are_reported_at_once() {
    let rig = Rig::bbb().await;
    let text = "[dns]\nzone_id = \"zone\"\ndomain = \"example.org\"\nttl = 0\n[log]\nlevel = \"loud\"\n";
    let problems = [
        "FILE:2: dns.zone_id: must be a Route 53 hosted zone id: Z and up to 31 upper-case letters and digits",
        "FILE:4: dns.ttl: 0 is out of range (1 to 86400 seconds)",
        "FILE:6: log.level: must be \"error\", \"warn\", \"info\" or \"debug\"",
    ];
    refused(&rig, text, &problems).await;
    let text = "[dns]\ntll = 1\nttl = true\nzone = 5\n";
    write(&rig, text);
    let run = rig.expect(2, &["hostname"]).await;
    run.says(&[
        "dns.tll: there is no such setting",
        "dns.ttl: must be a whole number",
        "dns.zone: there is no such",
    ]);
}

#[tokio::test]
async fn what_is_not_toml_is_said_with_its_line() {
    let rig = Rig::bbb().await;
    write(&rig, &format!("{MINIMAL}ttl = \n"));
    rig.expect(2, &["hostname"]).await.says(&["config.toml:4: is not TOML: "]);
}

#[tokio::test]
async fn required_settings_are_named_with_their_places() {
    let rig = Rig::bbb().await;
    refused(
        &rig,
        "",
        &[
            "dns.zone_id is not set; set it in /etc/bbb-agent/config.toml or as BBB_AGENT_DNS_ZONE_ID",
            "dns.domain is not set; set it in /etc/bbb-agent/config.toml or as BBB_AGENT_DNS_DOMAIN",
        ],
    )
    .await;
    std::fs::remove_file(rig.agent.config()).unwrap();
    rig.expect(2, &["hostname"]).await.says(&["config.toml: cannot be read: No such file"]);
}

#[tokio::test]
async fn a_drop_in_is_stronger_than_the_file_a_variable_than_that_a_flag_than_all() {
    let rig = Rig::bbb().await;
    let name = |text: &str| format!("{text}-0123456789abcdef0.example.org\n");
    write(&rig, &format!("{MINIMAL}hostname = \"file-{{instance}}\"\n"));
    assert_eq!(rig.expect(0, &["hostname"]).await.stdout, name("file"));

    rig.drop_in("20-second", "[dns]\nhostname = \"second-{instance}\"\n");
    rig.drop_in("10-first", "dns.hostname = \"first-{instance}\"\n");
    std::fs::write(rig.agent.config().with_file_name("config.d").join("90.toml.bak"), "?").unwrap();
    assert_eq!(rig.expect(0, &["hostname"]).await.stdout, name("second"));

    let variable = [("BBB_AGENT_DNS_HOSTNAME", "variable-{instance}"), ("TURN_AGENT_DNS_TTL", "?")];
    assert_eq!(with_environment(&rig, &variable, &[]).await.stdout, name("variable"));

    let flag = ["--set", "dns.hostname=flag-{instance}"];
    assert_eq!(with_environment(&rig, &variable, &flag).await.stdout, name("flag"));

    // Key by key: the rest of the file counts all along, and --config names another file with drop-ins of its own.
    let other = rig.host.root.join("other.toml");
    std::fs::write(&other, MINIMAL.replace("example.org", "other.example.org")).unwrap();
    let run = rig.expect(0, &["hostname", "--config", other.to_str().unwrap()]).await;
    assert_eq!(run.stdout, "vc-0123456789abcdef0.other.example.org\n");
}

#[tokio::test]
async fn variables_and_flags_are_checked_like_files() {
    let rig = Rig::bbb().await;
    let rows = [
        (
            "BBB_AGENT_DNS_TLL",
            "1",
            "environment variable BBB_AGENT_DNS_TLL: there is no such setting (did you mean BBB_AGENT_DNS_TTL?)",
        ),
        (
            "BBB_AGENT_DNS_TTL",
            "long",
            "environment variable BBB_AGENT_DNS_TTL: dns.ttl: must be a whole number",
        ),
        ("BBB_AGENT_DNS_TTL", "0", "environment variable BBB_AGENT_DNS_TTL: dns.ttl: 0 is out of range"),
        (
            "BBB_AGENT_DNS_SERVERS",
            "127.0.0.1,x",
            "environment variable BBB_AGENT_DNS_SERVERS: dns.servers: \"x\"",
        ),
    ];
    for (name, value, problem) in rows {
        let run = with_environment(&rig, &[(name, value)], &[]).await;
        assert_eq!(run.code, 2, "{run}");
        run.says(&[problem]);
    }
    for (setting, problem) in [
        ("dns.tll=1", "--set: dns.tll: there is no such setting (did you mean dns.ttl?)"),
        ("dns.ttl=x", "--set: dns.ttl: must be a whole number"),
        ("dns.ttl", "--set: expects KEY=VALUE"),
    ] {
        rig.expect(2, &["hostname", "--set", setting]).await.says(&[problem]);
    }
}

#[tokio::test]
async fn a_secret_pasted_where_a_reference_belongs_is_not_echoed() {
    let rig = Rig::bbb().await;
    let pasted = "8cd8ef52e8e101574e400365b55e11a6";
    let scalelite = format!("[scalelite]\nurl = \"https://s.example.org\"\nsecret = \"{pasted}\"\n");
    write(&rig, &format!("{MINIMAL}{scalelite}"));
    let by_file = rig.expect(2, &["hostname"]).await;
    by_file.says(&["config.toml:6: scalelite.secret: not a reference to a secret (the value is not shown"]);

    write(&rig, &format!("{MINIMAL}[scalelite]\nurl = \"https://s.example.org\"\n"));
    let by_variable = with_environment(&rig, &[("BBB_AGENT_SCALELITE_SECRET", pasted)], &[]).await;
    let by_flag = with_environment(&rig, &[], &["--set", &format!("scalelite.secret={pasted}")]).await;
    let by_key = with_environment(&rig, &[], &["--set", pasted]).await;
    let by_broken_toml = {
        write(&rig, &format!("{MINIMAL}[scalelite]\nsecret = {pasted}\n"));
        rig.expect(2, &["hostname"]).await
    };
    for run in [by_file, by_variable, by_flag, by_key, by_broken_toml] {
        assert_eq!(run.code, 2, "{run}");
        assert!(!run.to_string().contains(pasted), "{run}");
    }
}

#[tokio::test]
async fn wrong_command_lines_end_with_2_and_help_with_0() {
    let rig = Rig::bbb().await;
    for arguments in [
        &["regster"][..],
        &["register", "--only", "route53"],
        &["register", "--dry-rum"],
        &["status", "extra"],
        &["--log-level", "loud", "status"],
        &[],
    ] {
        let run = rig.expect(2, arguments).await;
        assert_eq!(run.stdout, "", "{arguments:?}");
    }
    rig.expect(0, &["--version"]).await.says(&["bbb-agent ", "(commit "]);
    let help = rig.expect(0, &["--help"]).await;
    help.says(&["register", "deregister", "status", "hostname", "check", "Exit codes:", "Examples:"]);
    for command in ["register", "deregister", "status", "hostname", "check"] {
        rig.expect(0, &[command, "--help"]).await.says(&["Usage: bbb-agent"]);
    }
}
