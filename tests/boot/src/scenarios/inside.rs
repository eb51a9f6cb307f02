//! Checks inside the guest: how the unit is confined, which fields the journal has, where secrets are.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::guest::Guest;
use crate::stage::Stage;
use crate::world;
use crate::{Outcome, ensure};

const UNIT: &str = "bbb-agent.service";
/// BBB's own files, which `install-bbb` writes: the only ones that may have its secret.
const BBB: [&str; 2] =
    ["/etc/bigbluebutton/bbb-web.properties", "/usr/share/bbb-web/WEB-INF/classes/bigbluebutton.properties"];

pub(super) async fn inside(stage: &Stage<'_>) -> Outcome {
    let watched = Arc::new(AtomicBool::new(true));
    let watch = tokio::task::spawn_blocking({
        let (watched, secrets) = (Arc::clone(&watched), secrets(stage));
        move || watch_command_lines(&watched, &secrets)
    });
    let guest = stage.installed().await;
    watched.store(false, Ordering::Relaxed);
    let seen = watch.await?;
    ensure(seen.is_empty(), || format!("command lines had secrets in them: {seen:?}"))?;
    let guest = guest?;
    confinement(&guest).await?;
    reader(&guest).await?;
    fields(stage).await?;
    nowhere(stage, &guest).await?;
    guest.power_off().await
}

async fn confinement(guest: &Guest) -> Outcome {
    let process = guest.main_process(UNIT).await?;
    let (agent, first) = (status(guest, process).await?, status(guest, 1).await?);
    let is = |key: &str, wanted: &str| {
        let found = agent.get(key).map(String::as_str).unwrap_or_default();
        ensure(found == wanted, || format!("{key} of the agent is {found}, not {wanted}"))
    };
    for set in ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"] {
        is(set, "0000000000000000")?;
    }
    is("NoNewPrivs", "1")?;
    is("Seccomp", "2")?;
    // systemd-nspawn filters the system calls of all processes of the guest; the unit's filters are added to that.
    let filters =
        |of: &BTreeMap<String, String>| of.get("Seccomp_filters").and_then(|count| count.parse::<u32>().ok());
    ensure(filters(&agent) > filters(&first), || format!("no filter of the unit's: {:?}", filters(&agent)))?;
    let user = guest.run("id", &["--user", "bbb-agent"]).await?;
    ensure(user.trim() != "0", || "the agent's user is root".to_owned())?;
    let owner = guest.run("stat", &["--format=%u", &format!("/proc/{process}")]).await?;
    ensure(owner == user, || format!("the agent runs as {owner}"))?;

    // Even root cannot write anywhere in the agent's view of the disk.
    let target = process.to_string();
    for path in ["/x", "/etc/bbb-agent/x", "/usr/x", "/var/lib/x"] {
        let (code, said) = guest.ends("nsenter", &["--target", &target, "--mount", "touch", path]).await?;
        ensure(code != 0 && said.contains("Read-only file system"), || {
            format!("{path} could be written: {said}")
        })?;
    }
    // In the guest's own view, where mounts do not protect the files, the agent's user may not read BBB's secret.
    let user = ["--reuid=bbb-agent", "--regid=bbb-agent", "--clear-groups"];
    for path in BBB {
        let (code, said) = guest.ends("setpriv", &[&user[..], &["cat", path]].concat()).await?;
        ensure(code != 0 && said.contains("Permission denied"), || format!("{path} can be read: {said}"))?;
    }
    let directory = guest.run("stat", &["--format=%U:%a", "/run/bbb-agent"]).await?;
    ensure(directory == "bbb-agent:700\n", || format!("the service's directory is {directory}"))?;
    let socket = guest.run("stat", &["--format=%U:%a", "/run/bbb-agent-settings.sock"]).await?;
    ensure(socket == "bbb-agent:600\n", || format!("BBB's settings can be asked for by {socket}"))
}

/// What a reader that was taken over would try, each with the words before its result.
const TAKEN_OVER: &str = r#"[Service]
ExecStart=
ExecStart=/bin/sh -c 'exec 2>&1; \
    echo "uid: $$(id --user)"; \
    echo "capabilities: $$(sed -n "s/^CapEff:.//p" /proc/self/status)"; \
    echo "secret: $$(wc --lines </etc/bigbluebutton/bbb-web.properties)"; \
    touch /x /run/x /etc/x /var/lib/x /run/bbb-agent/x && echo "wrote: everything"; \
    for file in /x /run/x /etc/x /var/lib/x /run/bbb-agent/x; do [ ! -e $$file ] || echo "wrote: $$file"; done; \
    curl --silent --unix-socket /run/dbus/system_bus_socket http://bus/; echo "bus: $$?"; \
    curl --silent --unix-socket /run/open.sock http://open/; echo "socket: $$?"; \
    curl --silent http://169.254.169.254/; echo "network: $$?"'
"#;
/// The drop-in that has the reader do it.
const DROP_IN: &str = "/run/systemd/system/bbb-agent-settings@.service.d/taken-over.conf";

/// Checks what the reader of BBB's settings can do: it reads, and nothing else.
async fn reader(guest: &Guest) -> Outcome {
    let open = "systemd-socket-activate --listen=/run/open.sock --accept cat >/dev/null 2>&1 &";
    guest.run("/bin/sh", &["-c", open]).await?;
    let script = format!("mkdir -p ${{0%/*}} && cat >$0 <<'END'\n{TAKEN_OVER}END\nsystemctl daemon-reload");
    guest.run("/bin/sh", &["-c", &script, DROP_IN]).await?;
    let ask = ["--http0.9", "--silent", "--max-time", "10", "--unix-socket", "/run/bbb-agent-settings.sock"];
    let (_, said) = guest.ends("curl", &[&ask[..], &["http://settings/"]].concat()).await?;
    // CAP_DAC_READ_SEARCH is bit 2. curl's exit code 7: it could not connect.
    for words in ["capabilities: 0000000000000004", "bus: 7", "socket: 7", "network: 7"] {
        ensure(said.contains(words), || format!("{words:?} is not in what the reader could do:\n{said}"))?;
    }
    for words in ["uid: 0\n", "secret: 0\n", "secret: \n", "wrote: "] {
        ensure(!said.contains(words), || format!("{words:?} is in what the reader could do:\n{said}"))?;
    }
    // To others the socket answers: nothing but the confinement has refused the reader.
    let (code, _) = guest
        .ends("curl", &["--silent", "--max-time", "5", "--unix-socket", "/run/open.sock", "http://x/"])
        .await?;
    ensure(code != 7, || "nothing listens at the socket that the reader was to be refused at".to_owned())?;
    guest.run("rm", &[DROP_IN]).await?;
    guest.run("systemctl", &["daemon-reload"]).await.map(drop)
}

/// Reads `/proc/PROCESS/status` of the guest.
async fn status(guest: &Guest, process: u32) -> Outcome<BTreeMap<String, String>> {
    let text = guest.run("cat", &[&format!("/proc/{process}/status")]).await?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    Ok(lines.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect())
}

/// Checks the fields by which an operator finds lines in the journal.
async fn fields(stage: &Stage<'_>) -> Outcome {
    let text = stage.disk.journal(&["--output=json", "--unit=bbb-agent.service"]).await?;
    let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let has = |field: &str, wanted: &str| {
        let found = lines.iter().any(|line| line.get(field).and_then(Value::as_str) == Some(wanted));
        ensure(found, || format!("no line of the journal has {field}={wanted}"))
    };
    has("INSTANCE_ID", stage.cloud.imds.instance())?;
    has("FQDN", &stage.name())?;
    has("STATE", "serving")?;
    let some = |field: &str| {
        let found = lines
            .iter()
            .any(|line| line.get(field).and_then(Value::as_str).is_some_and(|text| !text.is_empty()));
        ensure(found, || format!("no line of the journal has a field {field}"))
    };
    some("ACTION")?;
    some("REASON")?;
    let joined = stage.disk.journal(&["--output=cat", "STATE=serving"]).await?;
    ensure(!joined.is_empty(), || "journalctl STATE=serving finds nothing".to_owned())
}

/// Returns all secrets of this world, each with a description.
fn secrets(stage: &Stage<'_>) -> Vec<(&'static str, String)> {
    let keys =
        stage.cloud.imds.facts().and_then(|facts| facts.role).map(|role| stage.cloud.vault.role(&role));
    let mut secrets = vec![
        ("Scalelite's secret", sandbox::cloud::Options::default().scalelite.secret.expose().to_owned()),
        ("BBB's secret", stage.cloud.bbb.snapshot().secret.expose().to_owned()),
    ];
    if let Some(keys) = keys {
        secrets.push(("the role's secret key", keys.secret_key));
        secrets.extend(keys.session_token.map(|token| ("the role's session token", token)));
    }
    secrets
}

/// Checks that no secret is in a written file, a unit, a command line or the journal.
async fn nowhere(stage: &Stage<'_>, guest: &Guest) -> Outcome {
    let secrets = secrets(stage);
    let journal = stage.disk.journal(&["--output=export"]).await?;
    let units = guest.run("systemctl", &["show", "--all", "bbb-agent*", "cloud-final.service"]).await?;
    let lines = command_lines(&guest.processes()?);
    let run = stage.disk.written().display().to_string();
    for (what, secret) in &secrets {
        for (place, text) in [
            ("the journal", &journal),
            ("what systemd shows of the units", &units),
            ("a command line", &lines),
        ] {
            ensure(!text.contains(secret.as_str()), || format!("{what} is in {place}"))?;
        }
        let files = files_with(&run, secret).await?;
        let other: Vec<_> =
            files.iter().filter(|file| !(*what == "BBB's secret" && BBB.contains(&file.as_str()))).collect();
        ensure(other.is_empty(), || format!("{what} is in {other:?}"))?;
        let (code, said) = guest.ends("grep", &["-rlF", "-e", secret, "/run", "/tmp", "/dev/shm"]).await?;
        ensure(code == 1 || said.is_empty(), || format!("{what} is in {said}"))?;
    }
    // The search itself must work, so it has to find a secret where there is one.
    let bbb = files_with(&run, stage.cloud.bbb.snapshot().secret.expose()).await?;
    ensure(bbb == [BBB[0]], || format!("BBB's secret was to be found in its own file, not in {bbb:?}"))
}

/// Returns the files below a directory that contain this text, by their paths in the guest. The text is on no command
/// line.
async fn files_with(directory: &str, text: &str) -> Outcome<Vec<String>> {
    let patterns = tempfile::NamedTempFile::new_in("/run")?;
    fs::write(patterns.path(), text)?;
    let patterns = patterns.path().display().to_string();
    // grep's exit code 1 means "nothing found".
    let script = "grep -rlF -f \"$0\" \"$1\" || [ $? = 1 ]";
    let found = world::run("sh", &["-c", script, &patterns, directory]).await?;
    Ok(found.lines().filter_map(|file| file.strip_prefix(directory)).map(str::to_owned).collect())
}

/// Reads all command lines again and again while this is wanted; returns which secrets were in them.
fn watch_command_lines(wanted: &AtomicBool, secrets: &[(&'static str, String)]) -> Vec<String> {
    let mut seen = Vec::new();
    while wanted.load(Ordering::Relaxed) {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let processes =
            processes.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()));
        let lines = command_lines(&processes.collect::<Vec<u32>>());
        let found = secrets.iter().filter(|(_, secret)| lines.contains(secret.as_str()));
        seen.extend(found.map(|(what, _)| (*what).to_owned()));
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    seen
}

/// Returns the command lines of those of these processes that have not ended meanwhile.
fn command_lines(processes: &[u32]) -> String {
    let lines = processes.iter().filter_map(|process| fs::read(format!("/proc/{process}/cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ") + "\n").collect()
}
