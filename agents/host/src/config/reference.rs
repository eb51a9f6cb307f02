//! The commented configuration file that the packages ship: every key with its default, its unit and its variable.

use std::fmt::Write as _;

use super::keys::{self, Key};
use crate::agent::Agent;

const WIDTH: usize = 100;

/// The whole file. All keys are commented out, so that it changes nothing until a person edits it.
pub fn file(agent: &Agent) -> String {
    let name = agent.name;
    let prefix = agent.environment_prefix;
    let mut text = format!(
        "# {name}: settings. Every key stands here with its default or, where it has none, with an example.\n\
         # Stronger than this file, key by key: config.d/*.toml beside it (in the order of their names), environment\n\
         # variables ({prefix}DNS_TTL=120), and --set dns.ttl=120 on the command line.\n\
         # Try it out: {name} check\n"
    );
    let mut section = "";
    for key in keys::of(agent.role) {
        let (table, leaf) = key.path.split_once('.').unwrap_or(("", key.path));
        if table != section {
            section = table;
            // Writing to a String cannot fail.
            let _ = write!(text, "\n[{table}]\n");
        }
        for line in wrap(key.about) {
            let _ = writeln!(text, "# {line}");
        }
        let _ = writeln!(text, "#{leaf} = {}\n", value(agent, key));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// A key's default as TOML, or its example.
fn value(agent: &Agent, key: &Key) -> String {
    match key.path {
        "dns.hostname" => format!("{:?}", agent.default_hostname),
        "service.directory" => format!("{:?}", agent.directory().display().to_string()),
        _ => key.default.unwrap_or(key.example).to_owned(),
    }
}

fn wrap(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let full = lines.last().is_some_and(|line| !line.is_empty() && line.len() + word.len() >= WIDTH);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
