//! The files for Prometheus and Grafana name metrics that the agents have, and Prometheus' own tool accepts them.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use plan::instance::Role;
use plan::metrics::Metric;
use plan::prometheus::Counter;
use serde_json::{Value, json};

use crate::{read, read_json, root, tool};

const FOLDER: &str = "packaging/prometheus";

/// promtool; none where `tests/prepare` could not unpack it, which is told.
fn promtool() -> Option<PathBuf> {
    let path = root().join("target/tools/prometheus/usr/bin/promtool");
    if !path.is_file() {
        e2e::skipped("promtool is not in target/tools: run tests/prepare test");
        return None;
    }
    Some(path)
}

fn accepts(arguments: &[&str]) {
    let Some(promtool) = promtool() else { return };
    let output = Command::new(promtool).args(arguments).current_dir(root().join(FOLDER)).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && !said.contains("FAILED"), "{arguments:?}: {said}");
}

#[test]
fn promtool_accepts_the_rules() {
    accepts(&["check", "rules", "alerts.yml"]);
}

/// Each alert begins with its fault, and only with that.
#[test]
fn promtool_runs_the_rules() {
    accepts(&["test", "rules", "alerts_test.yml"]);
}

#[test]
fn promtool_accepts_the_configuration() {
    accepts(&["check", "config", "prometheus.yml"]);
}

/// The names that the agents export.
fn exported() -> BTreeSet<String> {
    let roles = [("bbb_agent", Role::Bbb), ("turn_agent", Role::Turn)];
    let metrics = roles.into_iter().flat_map(|(prefix, role)| {
        let own = Metric::ALL.into_iter().filter(move |metric| metric.is_of(role));
        own.map(move |metric| format!("{prefix}_{}", metric.series().name))
    });
    let counters = Counter::ALL.map(|counter| format!("{}_total", counter.name()));
    let counters =
        roles.into_iter().flat_map(|(prefix, _)| counters.iter().map(move |name| format!("{prefix}_{name}")));
    metrics.chain(counters).collect()
}

/// The names in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    let own = words.filter(|word| word.starts_with("bbb_agent_") || word.starts_with("turn_agent_"));
    own.map(str::to_owned).collect()
}

#[test]
fn rules_and_dashboard_name_what_the_agents_export() {
    let exported = exported();
    for file in ["alerts.yml", "alerts_test.yml"] {
        let named = named(&read(format!("{FOLDER}/{file}")));
        assert!(named.len() > 10 && named.is_subset(&exported), "{file}: {:?}", named.difference(&exported));
    }
    let dashboard = read_json(&format!("{FOLDER}/dashboard.json"));
    let panels = dashboard["panels"].as_array().unwrap();
    let expressions = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let expressions: String =
        expressions.map(|target| format!("{}\n", target["expr"].as_str().unwrap())).collect();
    assert_eq!(named(&expressions), exported, "the dashboard shows everything");
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let places: BTreeSet<String> = panels.iter().map(|panel| panel["gridPos"].to_string()).collect();
    assert_eq!(places.len(), panels.len(), "no panel covers another one");
    for panel in panels {
        let words = [&panel["title"], &panel["description"], &panel["type"]];
        assert!(words.iter().all(|word| word.as_str().is_some_and(|word| !word.is_empty())), "{panel}");
        assert_eq!(panel["datasource"]["uid"], "${source}", "{panel}");
    }
    let expressions: Vec<&str> = expressions.lines().collect();
    assert!(expressions.iter().all(|expression| expression.contains("group=~\"$group\"")), "{expressions:?}");
}

/// What Grafana's schema has against a dashboard, a fault a line; none where its SDK is not, which is told.
fn against(dashboard: &Value) -> Option<String> {
    let mut python = Command::new(tool("python"));
    python.env_clear().env("PYTHONDONTWRITEBYTECODE", "1");
    // The SDK needs Python 3.11.
    if !python.args(["-c", "import grafana_foundation_sdk"]).output().unwrap().status.success() {
        e2e::skipped("Grafana's SDK is not in target/tools: it needs Python 3.11, and tests/prepare test");
        return None;
    }
    let mut python = Command::new(tool("python"));
    python.env_clear().env("PYTHONDONTWRITEBYTECODE", "1");
    python.arg(root().join("tests/shipped/src/prometheus/grafana.py"));
    python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut python = python.spawn().unwrap();
    python.stdin.take().unwrap().write_all(dashboard.to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    let (faults, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(error.is_empty(), "{error}");
    assert_eq!(output.status.success(), faults.trim().is_empty(), "{faults}");
    Some(faults.trim().to_owned())
}

#[test]
fn grafanas_schema_has_all_that_the_dashboard_says() {
    let dashboard = read_json(&format!("{FOLDER}/dashboard.json"));
    if let Some(faults) = against(&dashboard) {
        assert_eq!(faults, "");
    }
}

#[test]
fn grafanas_schema_refuses_a_spoilt_dashboard() {
    for (pointer, value, words) in [
        ("/panels/0/type", json!("timeserie"), "no panel of the type"),
        ("/panels/0/gridPos/h", json!("8"), "GridPos.h"),
        ("/panels/0/fieldConfig/defaults/unit", json!(7), "FieldConfig.unit"),
        ("/panels/0/targets/0", json!({ "refId": "A", "expression": "up" }), "targets/0/expression"),
        ("/templating/list/0/type", json!("datasources"), "VariableModel.type"),
        ("/templating/list/1/refresh", json!(9), "VariableModel.refresh"),
        ("/time", json!({ "from": "now-6h", "until": "now" }), "/time/until"),
    ] {
        let mut dashboard = read_json(&format!("{FOLDER}/dashboard.json"));
        *dashboard.pointer_mut(pointer).unwrap() = value;
        let Some(faults) = against(&dashboard) else { return };
        assert!(faults.contains(words), "{pointer}: {faults:?}");
    }
}

/// An operator who moves from one to the other finds the same alarms.
#[test]
fn there_is_an_alert_for_each_alarm_in_cloudwatch() {
    let monitoring = read("cloudwatch/monitoring.yaml");
    let lines: Vec<&str> = monitoring.lines().collect();
    let alarms: BTreeSet<&str> = lines
        .windows(2)
        .filter(|pair| pair[1].trim() == "Type: AWS::CloudWatch::Alarm")
        .map(|pair| pair[0].trim().trim_end_matches(':'))
        .collect();
    let alerts = read(format!("{FOLDER}/alerts.yml"));
    let alerts: BTreeSet<&str> =
        alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alarms.len() >= 9, "{alarms:?}");
    assert_eq!(alerts, alarms);
}
