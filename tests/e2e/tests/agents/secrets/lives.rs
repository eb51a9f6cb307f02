//! The secrets of a service that runs while something fails.

use std::sync::Arc;

use e2e::{Running, Systemd};
use sandbox::cloud::SCALELITE_SECRET_KEY;
use sandbox::faults::Fault;
use sandbox::http::ServiceName;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{IMPATIENT, Spoil, Watched, files, plant_servers, rig};
use crate::leaks::{OTHER, SCALELITE, WRONG, search};

/// The service's life while something fails, at a level: what it prints, what it tells systemd, what it answers at its
/// socket, what it leaves in its directory.
async fn serve(spoil: Option<Spoil>, level: &str) {
    let mut watched = Watched::new(rig().await);
    plant_servers(&watched.rig);
    if let Some(spoil) = &spoil {
        watched.spoil(spoil).await;
    }
    let scenario = format!("run, {spoil:?}, {level}");
    let settings = ["checks.metadata=1", "checks.work=1", "metrics.enabled=true", "metrics.interval=10"];
    let settings = settings.map(str::to_owned);
    settings.into_iter().for_each(|setting| watched.set(setting));
    let settings: Vec<&str> = watched.settings.iter().map(String::as_str).collect();
    let mut command = watched.rig.command(&[&["run", "--log-level", level], settings.as_slice()].concat());
    let (systemd, home) = (Systemd::start(), watched.home.path());
    systemd.starts(&mut command);
    command.current_dir(home).env("HOME", home).env("TMPDIR", home);
    command.envs(watched.environment.iter().cloned());
    let running = Running::start(command);
    match &spoil {
        None => systemd.shows_exactly("registered").await,
        Some(_) => systemd.shows(&["joining Scalelite: "]).await,
    }
    running.signal("HUP").await;
    running.signal("USR1").await;
    for command in [["register"].as_slice(), &["status"], &["status", "--json"], &["drain"]] {
        let run = watched.rig.run(&[command, ["--log-level", level].as_slice(), &IMPATIENT].concat()).await;
        search(&format!("{scenario}: {command:?}: standard output"), run.stdout.as_bytes());
        search(&format!("{scenario}: {command:?}: standard error"), run.stderr.as_bytes());
    }
    search(&format!("{scenario}: what systemd is told"), systemd.told().join("\n").as_bytes());
    for (path, content) in files(watched.rig.agent.directory()) {
        search(&format!("{scenario}: {}", path.display()), &content);
    }
    running.signal("KILL").await;
    let run = running.end().await;
    search(&format!("{scenario}: standard output"), run.stdout.as_bytes());
    search(&format!("{scenario}: standard error"), run.stderr.as_bytes());
    assert!(!run.stderr.contains("panicked"), "{scenario}:\n{run}");
    assert_eq!(std::fs::read_dir(home).unwrap().count(), 0, "{scenario}: a file was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_gives_nothing_away() {
    use ServiceName::{Scalelite, SecretsManager};
    let wrong = serde_json::json!({ SCALELITE_SECRET_KEY: WRONG }).to_string();
    let cut = format!("{{\"{SCALELITE_SECRET_KEY}\":\"{SCALELITE}");
    let list = format!("[{{\"id\":\"1\",\"url\":\"https://h/\",\"secret\":[\"{OTHER}\"]}}]");
    let refused = Fault::Error { status: 200, code: "checksumError".to_owned() };
    let spoils = [
        Spoil::Secret(wrong),
        Spoil::Secret(cut),
        Spoil::NoSecret,
        Spoil::Denied("secretsmanager:GetSecretValue"),
        Spoil::OtherBbbSecret,
        Spoil::Properties("\nsecuritySalt=\n"),
        Spoil::RecordingsOnly,
        Spoil::Fault(Scalelite, refused),
        Spoil::Answer(Scalelite, 200, "application/json", list.clone()),
        Spoil::Answer(SecretsManager, 200, "application/json", list),
    ];
    let limit = Arc::new(Semaphore::new(12));
    let mut rows = JoinSet::new();
    for level in ["error", "warn", "info", "debug"] {
        for spoil in spoils.iter().cloned().map(Some).chain([None]) {
            let limit = Arc::clone(&limit);
            rows.spawn(async move {
                let _permit = limit.acquire_owned().await.unwrap();
                serve(spoil, level).await;
            });
        }
    }
    let mut failed = Vec::new();
    while let Some(ended) = rows.join_next().await {
        failed.extend(ended.err().map(|error| error.to_string()));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
