//! Targets for the configuration: files, environment and flags.

use std::collections::BTreeMap;
use std::path::Path;

use host::agent::Agent;
use host::config::ConfigError;
use host::config::load::load_text;
use host::config::row::Kind;
use host::config::settings::{Naming, Settings, check};
use host::config::table;
use plan::instance::{InstanceId, Role};

use crate::{MARK, check_error, check_shown, text};

const BBB: Agent = Agent {
    role: Role::Bbb,
    name: "bbb-agent",
    environment_prefix: "BBB_AGENT_",
    default_hostname: "vc-{instance}",
};
const TURN: Agent = Agent {
    role: Role::Turn,
    name: "turn-agent",
    environment_prefix: "TURN_AGENT_",
    default_hostname: "tu-{instance}",
};
const FILE: &str = "/etc/bbb-agent/config.toml";

/// Checks a file: one that passes makes valid names, and one that fails is reported with the place of each problem.
pub(crate) fn file(input: &[u8]) {
    let Some(text) = text(input) else { return };
    for agent in [BBB, TURN] {
        judge(
            &agent,
            load_text(&agent, Path::new(FILE), text, &BTreeMap::new(), &[])
                .and_then(|raw| check(&agent, &raw)),
        );
    }
}

/// Checks variables and flags: each line of an input is used as both, `dns.ttl=60` and `BBB_AGENT_DNS_TTL=60`.
pub(crate) fn overrides(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let agent = BBB;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let environment = pairs
        .map(|(key, value)| (format!("BBB_AGENT_{}", key.replace('.', "_").to_uppercase()), value.to_owned()))
        .collect();
    let flags: Vec<String> = text.lines().map(str::to_owned).collect();
    for (environment, flags) in [(&environment, &[][..]), (&BTreeMap::new(), &flags)] {
        judge(
            &agent,
            load_text(&agent, Path::new(FILE), "", environment, flags).and_then(|raw| check(&agent, &raw)),
        );
    }
}

/// Checks that a secret is never shown when an operator writes it where its reference belongs.
pub(crate) fn secret(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let agent = BBB;
    let secret = format!("{MARK}{text}");
    let literal: String = secret.chars().filter(|c| *c != '\'' && !c.is_control()).collect();
    let environment = BTreeMap::from([("BBB_AGENT_SCALELITE_SECRET".to_owned(), secret.clone())]);
    let places = [
        (format!("scalelite.secret = '{literal}'"), BTreeMap::new(), Vec::new()),
        (format!("scalelite.secret = ['{literal}']"), BTreeMap::new(), Vec::new()),
        (format!("scalelite.secret = '{literal}"), BTreeMap::new(), Vec::new()),
        (format!("scalelite.secret = {literal}"), BTreeMap::new(), Vec::new()),
        (String::new(), environment, Vec::new()),
        (String::new(), BTreeMap::new(), vec![format!("scalelite.secret={secret}")]),
        (String::new(), BTreeMap::new(), vec![secret.replace('=', "")]),
    ];
    for (text, environment, flags) in places {
        let raw = load_text(&agent, Path::new(FILE), &text, &environment, &flags);
        let error = raw.and_then(|raw| check(&agent, &raw)).unwrap_err();
        error.problems.iter().for_each(|problem| check_error(problem));
    }
}

fn judge(agent: &Agent, settings: Result<Settings, ConfigError>) {
    match settings {
        Err(ConfigError { problems }) => {
            assert!(!problems.is_empty());
            problems.iter().for_each(|problem| check_shown(problem));
        }
        Ok(settings) => judge_settings(agent, &settings),
    }
}

fn judge_settings(agent: &Agent, settings: &Settings) {
    let dns = &settings.dns;
    let instance = InstanceId::parse("i-0123456789abcdef0").unwrap();
    let name = match &dns.naming {
        Naming::Fixed(name) => name.clone(),
        Naming::Template(template) => template.name(&instance, "eu-central-1", &dns.domain).unwrap(),
    };
    assert!(name.is_within(&dns.domain), "{name}");
    let ttl = table::of(agent.role).find(|setting| setting.path == "dns.ttl").unwrap();
    assert!(matches!(ttl.kind, Kind::Integer { range, .. } if range.contains(dns.ttl.into())));
    assert_eq!(settings.bbb.is_some(), agent.role == Role::Bbb);
    if let Some(scalelite) = &settings.scalelite {
        assert!(agent.role == Role::Bbb && scalelite.url.starts_with("http"));
        assert!(scalelite.entry.multiplier.is_none_or(|number| number.is_finite() && number > 0.0));
    }
}
