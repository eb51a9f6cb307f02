//! `docs/reference.md` and the pages beside it are written from the code's own tables: settings, command lines, exit
//! codes, and the documented fields and variants of `status --json`, `fleet --json` and the metrics.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use host::agent::Agent;
use host::config::row::Setting;
use host::config::table;
use host::report::EXIT_CODES;
use plan::instance::Role;
use plan::metrics::{Metric, Unit};
use plan::prometheus::{Counter, prefix};
use serde_json::{Value, json};

/// The command that writes the generated files again.
const UPDATE: &str = "UPDATE=1 cargo test --workspace --test agents generated";

#[allow(dead_code)]
#[path = "../../../../agents/bbb-agent/src/cli.rs"]
mod bbb_cli;
#[path = "../../../../agents/bbb-agent/src/role.rs"]
mod bbb_role;
#[allow(dead_code)]
#[path = "../../../../agents/turn-agent/src/cli.rs"]
mod turn_cli;
#[path = "../../../../agents/turn-agent/src/role.rs"]
mod turn_role;

use bbb_role::AGENT as BBB;
use turn_role::AGENT as TURN;

const GENERATED: &str =
    "<!-- Generated from the code: UPDATE=1 cargo test --workspace --test agents generated -->\n";

/// Returns the path of a file of the checkout.
fn place(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(place(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Fails where a generated file is not what it would be now. With `UPDATE` in the environment it is written instead.
fn up_to_date(path: &str, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(place(path), text).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let is = std::fs::read_to_string(place(path)).unwrap_or_default();
    let line = is.lines().zip(text.lines()).take_while(|(is, should)| is == should).count() + 1;
    assert!(is == text, "{path} is out of date from line {line} on: {UPDATE}");
}

#[test]
fn the_shipped_configuration_files_are_up_to_date() {
    for agent in [&BBB, &TURN] {
        let text = host::config::defaults::file(agent);
        up_to_date(&format!("packaging/{}/config.toml", agent.name), &text);
        let active = text.lines().find(|line| !(line.is_empty() || line.starts_with(['#', '['])));
        assert_eq!(active, None, "every key is commented out");
    }
}

#[test]
fn the_reference_of_the_settings_is_up_to_date() {
    up_to_date("docs/reference-settings.md", &settings());
}

#[test]
fn the_reference_is_up_to_date() {
    let text = [
        "# Reference\n",
        GENERATED,
        "\nSettings have [a page of their own](reference-settings.md), and so has [JSON](reference-json.md).\n",
        &commands(&BBB, &bbb_cli::Cli::command()),
        &commands(&TURN, &turn_cli::Cli::command()),
        &common_options(&bbb_cli::Cli::command()),
        &exit_codes(),
        &metrics(),
    ];
    up_to_date("docs/reference.md", &text.concat());
}

#[test]
fn the_reference_of_json_is_up_to_date() {
    let about = "\nFields are added, never renamed or removed, while `schema` is 1. A value that is not known is null. `[]` marks a list.\n";
    let text = ["# JSON\n", GENERATED, about, &status(), &fleet()];
    up_to_date("docs/reference-json.md", &text.concat());
}

#[test]
fn the_names_in_prometheus_are_up_to_date() {
    let mut text = format!(
        "# Metrics in Prometheus\n{GENERATED}\n| series | in CloudWatch | meaning |\n|---|---|---|\n"
    );
    let names = |name: &str, own: &dyn Fn(Role) -> bool| {
        let agents = [&BBB, &TURN].into_iter().filter(|agent| own(agent.role));
        agents.map(|agent| format!("`{}_{name}`", prefix(agent.name))).collect::<Vec<_>>().join(", ")
    };
    for metric in Metric::ALL {
        let series = metric.series();
        let names = names(series.name, &|role| metric.is_of(role));
        text += &row(&[&names, &format!("`{}`", metric.name()), series.help]);
    }
    for counter in Counter::ALL {
        text += &row(&[&names(&format!("{}_total", counter.name()), &|_| true), "", counter.help()]);
    }
    let info =
        "Always 1. Its labels say version, role, group, instance_id and name, as far as they are known.";
    text += &row(&[&names("info", &|_| true), "", info]);
    up_to_date("packaging/prometheus/metrics.md", &text);
}

#[test]
fn the_dashboard_for_grafana_is_up_to_date() {
    let text = serde_json::to_string_pretty(&dashboard()).unwrap();
    up_to_date("packaging/prometheus/dashboard.json", &format!("{text}\n"));
}

/// Every metric has a panel: the sum over the group's hosts where that means something, else each host.
fn dashboard() -> Value {
    let source = json!({ "type": "prometheus", "uid": "${source}" });
    let mut panels = Vec::new();
    let mut panel = |title: String, help: &str, mut defaults: Value, expressions: Vec<(String, &str)>| {
        // A panel that began at 0 would hide how long a certificate has been over.
        if !help.contains("negative") {
            defaults["min"] = json!(0);
        }
        let (id, place) = (panels.len() + 1, panels.len());
        let targets: Vec<Value> = expressions
            .into_iter()
            .zip(["A", "B"])
            .map(|((expr, legend), id)| {
                json!({ "refId": id, "datasource": source, "expr": expr, "legendFormat": legend })
            })
            .collect();
        panels.push(json!({
            "id": id, "type": "timeseries", "title": title, "description": help, "datasource": source,
            "gridPos": { "h": 8, "w": 12, "x": place % 2 * 12, "y": place / 2 * 8 },
            "fieldConfig": { "defaults": defaults, "overrides": [] },
            "targets": targets,
        }));
    };
    for metric in Metric::ALL {
        let series = metric.series();
        let own = [&BBB, &TURN].into_iter().filter(|agent| metric.is_of(agent.role));
        let expressions = own.map(|agent| {
            let name = format!("{}_{}{{group=~\"$group\"}}", prefix(agent.name), series.name);
            match (series.unit, metric) {
                (Unit::Seconds, _) | (_, Metric::LargestMeeting) => (name, "{{instance}}"),
                _ => (format!("sum by (group) ({name})"), "{{group}}"),
            }
        });
        let unit = if series.unit == Unit::Seconds { "s" } else { "short" };
        panel(series.name.replace('_', " "), series.help, json!({ "unit": unit }), expressions.collect());
    }
    for counter in Counter::ALL {
        let expressions = [&BBB, &TURN].map(|agent| {
            let name = format!("{}_{}_total", prefix(agent.name), counter.name());
            let labels = match counter {
                Counter::Jobs => "job, outcome",
                Counter::Drains => "cause, end",
                Counter::Messages => "outcome",
                Counter::Lines | Counter::Retries => "group",
                Counter::Calls => "service, outcome",
            };
            (format!("sum by ({labels}) (increase({name}{{group=~\"$group\"}}[1h]))"), "__auto")
        });
        let title = format!("{} in an hour", counter.name().replace('_', " "));
        panel(title, counter.help(), json!({ "unit": "short" }), expressions.to_vec());
    }
    let groups = "label_values({__name__=~\"(bbb|turn)_agent_registered\"}, group)";
    json!({
        "title": "BigBlueButton and TURN hosts", "uid": "bbb-agent", "schemaVersion": 39, "editable": true,
        "refresh": "1m", "time": { "from": "now-6h", "to": "now" }, "tags": ["bigbluebutton"],
        "templating": { "list": [
            { "name": "source", "label": "data source", "type": "datasource", "query": "prometheus" },
            { "name": "group", "type": "query", "datasource": source, "refresh": 2, "multi": true,
              "includeAll": true, "allValue": ".*", "query": { "query": groups, "refId": "groups" } },
        ] },
        "panels": panels,
    })
}

/// A row of a table.
fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('\n', " ").replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn settings() -> String {
    let mut text = format!(
        "# Settings\n{GENERATED}\n\
         Settings stand in `/etc/bbb-agent/config.toml` or `/etc/turn-agent/config.toml`, where each is shown with its default.\n\
         Files `config.d/*.toml` beside it override it (in the order of their names), environment variables override files, and\n\
         `--set dns.ttl=120` on the command line overrides all. turn-agent's variables begin with `{}` instead of `{}`.\n\
         Texts and lists of a variable or of `--set` stand without quotes; commas separate the items of a list.\n",
        TURN.environment_prefix, BBB.environment_prefix,
    );
    for (title, agent, role) in [
        ("Both agents", &BBB, None),
        ("bbb-agent only", &BBB, Some(Role::Bbb)),
        ("turn-agent only", &TURN, Some(Role::Turn)),
    ] {
        let rows = table::of(agent.role).filter(|setting| setting.only == role);
        let rows: String = rows.map(|setting| setting_row(setting, agent)).collect();
        let head = "| setting | variable | default | meaning |\n|---|---|---|---|\n";
        text += &format!("\n## {title}\n{head}{rows}");
    }
    text
}

fn setting_row(setting: &Setting, agent: &Agent) -> String {
    let default = match (setting.kind.default(&BBB), setting.kind.default(&TURN)) {
        (None, _) => format!("none; e.g. `{}`", setting.kind.shown(agent)),
        (Some(bbb), Some(turn)) if bbb != turn => format!("`{bbb}`; turn-agent: `{turn}`"),
        (Some(default), _) => format!("`{default}`"),
    };
    let words = setting.kind.words().into_iter().map(|(word, meaning)| format!("`{word:?}`: {meaning}"));
    let words = words.collect::<Vec<_>>().join("; ");
    let meaning = if words.is_empty() { setting.about() } else { format!("{} {words}.", setting.about()) };
    row(&[&format!("`{}`", setting.path), &format!("`{}`", setting.variable(agent)), &default, &meaning])
}

/// The commands of an agent, each with its options.
fn commands(agent: &Agent, cli: &clap::Command) -> String {
    let mut text = format!("\n## Commands of {}\n| command | meaning |\n|---|---|\n", agent.name);
    for command in cli.get_subcommands().filter(|command| !command.is_hide_set()) {
        let options: Vec<&clap::Arg> = command.get_arguments().collect();
        let short: Vec<String> = options.iter().map(|option| format!(" {}", usage(option))).collect();
        let about = command.get_long_about().or_else(|| command.get_about()).unwrap().to_string();
        let about = about.trim_end().replace("\n\n", ". ");
        let about = format!("{}.", about.trim_end_matches('.'));
        text += &row(&[&format!("`{}{}`", command.get_name(), short.concat()), &about]);
        for option in options.iter().filter(|option| option.get_help().is_some()) {
            text += &row(&[&format!("… `{}`", plain_usage(option)), &help(option)]);
        }
    }
    text
}

/// The options that every command has.
fn common_options(cli: &clap::Command) -> String {
    let mut text = "\n## Options of every command\n| option | meaning |\n|---|---|\n".to_owned();
    for option in cli.get_arguments() {
        text += &row(&[&format!("`{}`", plain_usage(option)), &help(option)]);
    }
    text
}

/// `--only HALF`, `SHELL`.
fn plain_usage(option: &clap::Arg) -> String {
    let value = option.get_action().takes_values().then(|| option.get_value_names()).flatten();
    let value = value.and_then(|names| names.first()).map(|name| name.to_string());
    let long = option.get_long().map(|long| format!("--{long}"));
    [long, value].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The same, in brackets where it may be left out.
fn usage(option: &clap::Arg) -> String {
    let usage = plain_usage(option);
    if option.is_required_set() { usage } else { format!("[{usage}]") }
}

fn help(option: &clap::Arg) -> String {
    let words = option.get_possible_values().into_iter().map(|value| {
        let meaning = value.get_help().map(|help| format!(": {help}")).unwrap_or_default();
        format!("`{}`{meaning}", value.get_name())
    });
    let words: Vec<String> = words.collect();
    let help = option.get_help().unwrap().to_string();
    let is_flag = !option.get_action().takes_values();
    if is_flag || words.is_empty() { format!("{help}.") } else { format!("{help}. {}.", words.join("; ")) }
}

fn exit_codes() -> String {
    let rows = EXIT_CODES.iter().map(|(exit, meaning)| row(&[&exit.code().to_string(), meaning]));
    format!("\n## Exit codes\n| code | meaning |\n|---|---|\n{}", rows.collect::<String>())
}

fn metrics() -> String {
    let items = documented(&read("agents/plan/src/metrics.rs"), "enum Metric");
    let rows = items.iter().zip(Metric::ALL).map(|(item, metric)| {
        assert_eq!((item.name.as_str(), item.name.as_str()), (metric.name(), &*format!("{metric:?}")));
        let agents = [&BBB, &TURN].into_iter().filter(|agent| metric.is_of(agent.role));
        let agents = agents.map(|agent| agent.name).collect::<Vec<_>>().join(", ");
        row(&[&format!("`{}`", metric.name()), &format!("{:?}", metric.unit()), &agents, &item.text])
    });
    format!(
        "\n## Metrics\n\
         What is not known is left out, and is never zero. The setting `metrics.dimension` chooses the dimension:\n\
         `AutoScalingGroupName` (outside a group `Domain`), `InstanceId`, or both.\n\n\
         | metric | unit | sent by | meaning |\n|---|---|---|---|\n{}",
        rows.collect::<String>()
    )
}

fn status() -> String {
    let sources = [
        "agents/host/src/commands/status/facts.rs",
        "agents/host/src/control/message.rs",
        "agents/host/src/control/work.rs",
    ];
    let source = sources.map(read).concat();
    let mut rows = String::new();
    fields(&source, "Status", "", &mut BTreeMap::new(), &mut rows);
    format!(
        "\n## `status --json`\n\
         The reason why a value is not known is in the nearest `error`.\n\n\
         | field | content |\n|---|---|\n{rows}"
    )
}

fn fleet() -> String {
    let mut rows = String::new();
    let source = read("agents/host/src/commands/fleet/facts.rs");
    fields(&source, "Fleet", "", &mut BTreeMap::new(), &mut rows);
    format!(
        "\n## `fleet --json`\nThe reasons why values are not known are in `errors` and in `hosts[].words`.\n\n| field | content |\n|---|---|\n{rows}"
    )
}

/// Writes a row for each field of a struct, and for the fields of structs in it. `known` has the structs whose fields
/// have rows, with the path where these are.
fn fields(source: &str, name: &str, prefix: &str, known: &mut BTreeMap<String, String>, rows: &mut String) {
    known.insert(name.to_owned(), prefix.trim_end_matches('.').to_owned());
    for item in documented(source, &format!("struct {name}")) {
        let inner = item.kind.trim_start_matches("Option<").trim_start_matches("Vec<").trim_end_matches('>');
        // A map stands for a struct that its comment names.
        let inner = match inner.starts_with("Map<") {
            true => item.text.split(['[', ']']).nth(1).unwrap().trim_matches('`'),
            false => inner,
        };
        let has_fields = source.contains(&format!("pub struct {inner} {{"));
        if item.flattened {
            fields(source, inner, prefix, known, rows);
            continue;
        }
        let list = if item.kind.contains("Vec<") { "[]" } else { "" };
        let path = format!("{prefix}{}{list}", item.name);
        let same = known
            .get(inner)
            .filter(|_| has_fields)
            .map(|known| format!(" Its fields are those of `{known}`."));
        *rows += &row(&[&format!("`{path}`"), &format!("{}{}", item.text, same.clone().unwrap_or_default())]);
        if has_fields && same.is_none() {
            fields(source, inner, &format!("{path}."), known, rows);
        }
    }
}

/// A field or a variant with its comment.
#[derive(Default)]
struct Item {
    name: String,
    /// The type of a field.
    kind: String,
    text: String,
    flattened: bool,
}

/// The public fields of a struct, or the variants of an enum, as the source documents them.
fn documented(source: &str, item: &str) -> Vec<Item> {
    let (_, body) = source.split_once(&format!("pub {item} {{\n")).unwrap_or_else(|| panic!("no {item}"));
    let (body, _) = body.split_once("\n}").unwrap();
    let mut items = Vec::new();
    let mut next = Item::default();
    for line in body.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            next.text += comment;
        } else if line.starts_with("#[") {
            next.flattened |= line.contains("flatten");
        } else if !line.is_empty() {
            let declared = line.trim_start_matches("pub ").trim_end_matches(',');
            let (name, kind) = declared.split_once(": ").unwrap_or((declared, ""));
            (next.name, next.kind) = (name.to_owned(), kind.to_owned());
            next.text = next.text.trim().to_owned();
            assert!(!next.text.is_empty(), "{item}: {name} has no comment");
            items.push(std::mem::take(&mut next));
        }
    }
    items
}
