//! The documents are short, lead to files that exist, and agree with the tables of the decisions.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::{read, root};

const TABLES: &str = "agents/plan/src/tables";

/// The files in a folder, without those in its subfolders.
fn files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let files =
        entries.filter(|path| path.is_file()).map(|path| path.strip_prefix(root()).unwrap().to_owned());
    files.collect()
}

/// Every document that a person reads, by its path from the root.
fn documents() -> Vec<PathBuf> {
    let folders = [
        "",
        "docs",
        "cloudwatch",
        "packaging",
        "packaging/cloudformation",
        "packaging/iam",
        "packaging/prometheus",
    ];
    let files = folders.into_iter().flat_map(files);
    let mut documents: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    documents.sort();
    assert!(documents.len() >= 12, "{documents:?}");
    documents
}

/// The lines of a document that are not code, with their numbers.
fn text(document: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    document.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        (!code && !fence && !line.starts_with("    ")).then_some((index + 1, line))
    })
}

/// The pieces of a line between an opening and a closing mark.
fn between<'line>(
    line: &'line str,
    open: &'static str,
    close: &'static str,
) -> impl Iterator<Item = &'line str> {
    line.split(open).skip(1).filter_map(move |rest| rest.split_once(close).map(|(inside, _)| inside))
}

#[test]
fn each_document_keeps_to_its_size() {
    let sizes = |path: &PathBuf| match path.to_str().unwrap() {
        "README.md" => Some(8_000),
        "ARCHITECTURE.md" => Some(10_000),
        path if path.starts_with("docs/") => Some(20_000),
        _ => None,
    };
    for path in documents() {
        let length = read(&path).len();
        if let Some(most) = sizes(&path) {
            assert!(length <= most, "{} has {length} bytes, more than {most}", path.display());
        }
    }
}

#[test]
fn no_line_is_longer_than_120_characters() {
    let too_long = |line: &str| line.chars().count() > 120;
    for (index, line) in read("README.md").lines().enumerate() {
        assert!(!too_long(line), "README.md:{}: {line}", index + 1);
    }
    for path in documents() {
        let document = read(&path);
        let generated = document.contains("\n<!-- Generated from the code");
        let prose = text(&document).filter(|(_, line)| !generated && !line.starts_with('|'));
        for (number, line) in prose {
            assert!(!too_long(line), "{}:{number}: {line}", path.display());
        }
    }
}

#[test]
fn the_architecture_links_every_table_and_no_document_copies_one() {
    let architecture = read("ARCHITECTURE.md");
    let tables = files(TABLES);
    assert!(tables.len() >= 20, "{tables:?}");
    let mut rows = BTreeSet::new();
    for table in tables {
        let link = format!("]({})", table.display());
        assert!(architecture.contains(&link), "ARCHITECTURE.md does not link {}", table.display());
        rows.extend(read(&table).lines().skip(2).map(|row| row.trim().to_owned()));
    }
    for path in documents() {
        let document = read(&path);
        let copied = document.lines().find(|line| rows.contains(line.trim()));
        assert_eq!(copied, None, "{} copies a row of a table in {TABLES}", path.display());
    }
}

/// The name that GitHub gives a heading for links to it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().chars();
    let kept = kept.filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    for path in documents() {
        let document = read(&path);
        let links = text(&document)
            .flat_map(|(number, line)| between(line, "](", ")").map(move |target| (number, target)));
        for (number, target) in links.filter(|(_, target)| !target.contains("://")) {
            let place = format!("{}:{number}: {target}", path.display());
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(root().join(&file).exists(), "{place}: there is no such file");
            if !heading.is_empty() {
                let there = read(&file);
                let mut headings = text(&there).filter(|(_, line)| line.starts_with('#'));
                assert!(
                    headings.any(|(_, line)| anchor(line) == heading),
                    "{place}: there is no such heading"
                );
            }
        }
    }
}

/// A path in the checkout is written from its root. The changelog speaks of what was.
#[test]
fn every_path_in_the_text_exists() {
    let folders = ["agents/", "docs/", "packaging/", "systemd/", "tests/"];
    // Names in the bucket that hosts install from, not in the checkout.
    let elsewhere = ["agents/install.sh", "agents/latest", "agents/latest.minisig", "agents/VERSION/"];
    let mut missing = Vec::new();
    for path in documents().into_iter().filter(|path| path != Path::new("CHANGELOG.md")) {
        for (number, line) in text(&read(&path)) {
            let spans = line.split('`').skip(1).step_by(2).filter_map(|span| span.split_whitespace().next());
            let paths = spans.filter(|span| folders.iter().any(|folder| span.starts_with(folder)));
            let paths = paths.filter(|span| !span.contains('*') && !elsewhere.contains(span));
            let absent = paths.filter(|span| !root().join(span).exists());
            missing.extend(absent.map(|span| format!("{}:{number}: {span}", path.display())));
        }
    }
    assert!(missing.is_empty(), "there is no such path:\n{}", missing.join("\n"));
}

/// Scripts take them from there: see `tests/fresh`.
#[test]
fn the_readme_has_its_two_commands_in_one_block() {
    let readme = read("README.md");
    let section = readme.split("\n## Two commands\n").nth(1).expect("the heading");
    let block = section.split("```\n").nth(1).expect("a block");
    let commands: Vec<&str> = block.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(commands, ["tests/story", "tests/run"]);
    assert!(section.contains("`tests/story --exit`"));
}

/// `joining` of `joining, named` and `cordoned` of `cordoned: standby`.
fn state(cell: &str) -> &str {
    cell.trim().split([',', ':', ' ']).next().unwrap()
}

#[test]
fn the_diagram_shows_the_transitions_of_the_table() {
    let table = read(format!("{TABLES}/lifecycle.md"));
    let cells = |line: &str| line.trim_matches('|').split('|').map(str::to_owned).collect::<Vec<_>>();
    let rows = table.lines().skip(2).map(|line| {
        let cells = cells(line);
        (state(&cells[0]).to_owned(), state(&cells[2]).to_owned())
    });
    let mut expected: BTreeSet<(String, String)> = rows.filter(|(from, to)| from != to).collect();
    let stops = read(format!("{TABLES}/stop.md"));
    let stopped = stops.lines().skip(2).map(cells).filter(|cells| cells[3].trim() != "nothing");
    expected.extend(stopped.map(|cells| (state(&cells[0]).to_owned(), "stopping".to_owned())));
    let architecture = read("ARCHITECTURE.md");
    let diagram = architecture.split("stateDiagram-v2").nth(1).unwrap().split("```").next().unwrap();
    let drawn =
        diagram.lines().filter(|line| !line.contains("[*]")).filter_map(|line| line.split_once(" --> "));
    let drawn: BTreeSet<(String, String)> =
        drawn.map(|(from, to)| (state(from).to_owned(), state(to).to_owned())).collect();
    assert_eq!(drawn, expected);
}

/// The page for operators names each state that the journal and `status --json` show.
#[test]
fn the_operators_page_explains_every_state() {
    let page = read("docs/operating.md");
    let table = read(format!("{TABLES}/lifecycle.md"));
    for row in table.lines().skip(2) {
        let state = state(row.trim_start_matches('|'));
        assert!(
            page.contains(&format!("| `{state}` |")),
            "docs/operating.md does not explain the state {state}"
        );
    }
}

/// The page for operators says of each cause of a stop what the table of decisions says.
#[test]
fn the_operators_page_says_what_a_stop_undoes() {
    let (page, table) = (read("docs/operating.md"), read(format!("{TABLES}/stop.md")));
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()
    };
    let serving: Vec<Vec<String>> = table
        .lines()
        .map(cells)
        .filter(|cells| cells.first().is_some_and(|state| state == "serving"))
        .collect();
    assert!(serving.len() >= 7, "{serving:?}");
    for row in serving {
        let [_, cause, on_stop, undone] = row.as_slice() else { panic!("{row:?}") };
        let begins = match (cause.as_str(), on_stop.as_str()) {
            ("restart", _) => "The service restarts",
            ("reboot", _) => "The host reboots",
            ("power off", _) => "The host powers off",
            ("stop", "leave") => "systemctl stop with service.on_stop = \"leave\"",
            ("stop", "cordon") => "systemctl stop with \"cordon\"",
            ("stop", "keep") => "systemctl stop with \"keep\"",
            ("unknown", _) => "Unknown:",
            other => panic!("{other:?}"),
        };
        let expected = match undone.as_str() {
            "nothing" => ("stays", "stays"),
            "everything" => ("deleted", "removed"),
            "cordon, the entry and the name stay" => ("stays", "cordoned"),
            "disable, panic and delete, the name stays" => ("stays", "removed"),
            other => panic!("{other:?}"),
        };
        let told =
            page.lines().map(cells).find(|cells| cells.first().is_some_and(|it| it.starts_with(begins)));
        let told = told.unwrap_or_else(|| panic!("docs/operating.md does not tell of {begins:?}"));
        let entry = told[2].split(';').next().unwrap();
        assert_eq!((told[1].as_str(), entry), expected, "docs/operating.md: {begins}");
    }
}

/// The agents' sources as one text, in which a text that goes on in the next line is in one piece.
fn sources() -> String {
    let mut folders = vec![root().join("agents")];
    let mut sources = String::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                let lines = source.split("\\\n").map(str::trim_start);
                sources.extend(lines);
            }
        }
    }
    sources
}

/// An operator searches for what the agent has said, so the page has the agent's own words; `...` stands for what
/// differs.
#[test]
fn the_symptoms_are_in_the_agents_words() {
    let page = read("docs/troubleshooting.md");
    let sources = sources();
    let symptoms = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let said: Vec<&str> = symptoms.flat_map(|symptom| symptom.split('"').skip(1).step_by(2)).collect();
    assert!(said.len() >= 15, "{said:?}");
    for words in said {
        let mut pieces = words.split("...");
        assert!(
            pieces.all(|piece| sources.contains(piece)),
            "no agent says {words:?}: see docs/troubleshooting.md"
        );
    }
}

/// The steps of `bbb-bootstrap.sh` of the AWS sample's version 6.0.0, in its order.
const STEPS: [&str; 12] = [
    "install_cloudwatch_agent",
    "configure_service_users",
    "configure_cloudwatch_agent",
    "install_required_packages",
    "install_efs_utils",
    "configure_hostname",
    "setup_route53_handler",
    "setup_storage",
    "wait_for_dns",
    "install_bbb",
    "setup_scalelite",
    "setup_scalelite_handler",
];

/// Further names of that version: files, templates, secrets, permissions.
const NAMES: [&str; 24] = [
    "bbb-bootstrap.sh",
    "bbb-cwagent-config.json",
    "cli53",
    "route53-handler.sh",
    "route53-handler.service",
    "scalelite-handler.sh",
    "scalelite-config.yml",
    "scalelite_post_publish.rb",
    "scalelite_batch_import.sh",
    "scalelite_prune_recordings",
    "setup.sh",
    "bbb-on-aws-application",
    "bbb-on-aws-storage",
    "bbb-on-aws-frontendapps",
    "BBBLoadbalancerSecret",
    "basekeyvalue",
    "AutoScalingReplacingUpdate",
    "cfn-signal",
    "ecs:ListClusters",
    "ecs:ListServices",
    "ecs:ListTasks",
    "ecs:DescribeTasks",
    "ecs:ExecuteCommand",
    "iam:PassRole",
];

/// The page about the sample says of each step of its newest version, first, what becomes of it, and forgets no file.
#[test]
fn every_step_of_the_sample_has_its_fate() {
    let page = read("packaging/replacing-the-scripts.md");
    let rows: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| `")).collect();
    let steps: Vec<&str> = rows
        .iter()
        .filter_map(|row| row.split_once("` | "))
        .filter(|(step, _)| STEPS.contains(step))
        .map(|(step, _)| step)
        .take(STEPS.len())
        .collect();
    assert_eq!(steps, STEPS);
    for step in STEPS {
        let row = rows.iter().find(|row| row.starts_with(&format!("{step}` | "))).unwrap();
        let fate = row.split_once("` | ").unwrap().1;
        assert!(["stays", "goes", "becomes"].iter().any(|word| fate.starts_with(word)), "{step}: {fate}");
    }
    for name in NAMES {
        assert!(page.contains(name), "{name}");
    }
    let newest = page.find("6.0.0").expect("the newest");
    for older in ["## Version 5", "## Version 4"] {
        assert!(page.find(older).is_some_and(|place| place > newest), "{older}");
    }
}
