//! The commented configuration file that the packages ship: every setting with its default, its bounds and its unit.

use std::fmt::Write as _;

use super::table;
use crate::agent::Agent;

const WIDTH: usize = 100;

/// Writes the whole file. All settings are commented out, so that it changes nothing until a person edits it.
pub fn file(agent: &Agent) -> String {
    let name = agent.name;
    let prefix = agent.environment_prefix;
    let mut text = format!(
        "# {name}: settings. Each is shown with its default or, where it has none, with an example.\n\
         # What overrides this file, setting by setting: config.d/*.toml beside it (in the order of their names), environment\n\
         # variables ({prefix}DNS_TTL=120), and --set dns.ttl=120 on the command line.\n\
         # Try it out: {name} check\n"
    );
    let mut section = "";
    for setting in table::of(agent.role) {
        let (table, leaf) = setting.path.split_once('.').unwrap_or(("", setting.path));
        // Writing to a String cannot fail.
        if table != section {
            section = table;
            let _ = write!(text, "\n[{table}]\n");
        }
        for line in wrap(&setting.about()) {
            let _ = writeln!(text, "# {line}");
        }
        for (word, meaning) in setting.kind.words() {
            let _ = writeln!(text, "#   {:<12}{meaning}", format!("{word:?}"));
        }
        let _ = writeln!(text, "#{leaf} = {}\n", setting.kind.shown(agent));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
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
