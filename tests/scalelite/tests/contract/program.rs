//! `tests/contract` as a person runs it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use sandbox::scalelite::Config;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::{SECRET, world};

/// How the secret comes to the script.
#[derive(Clone, Copy, Debug)]
enum Way {
    Argument,
    Environment,
    Input,
    InputWithoutLineBreak,
}

/// A program that notes how it was started, and then is the real one.
fn noting(directory: &Path) -> std::path::PathBuf {
    let path = directory.join("program");
    let text = format!(
        "#!/bin/sh\n{{ printf '%s\\n' \"$@\"; env; cat /proc/$$/cmdline; }} >{}\nexec {} \"$@\"\n",
        directory.join("started").display(),
        env!("CARGO_BIN_EXE_contract")
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn script(way: Way, base: &str, secret: &str, program: &Path) -> (i32, String) {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../contract"));
    command.arg(base).env("CONTRACT_PROGRAM", program).env_remove("LOADBALANCER_SECRET");
    let mut input = String::new();
    match way {
        Way::Argument => drop(command.arg(secret)),
        Way::Environment => drop(command.env("LOADBALANCER_SECRET", secret)),
        Way::Input => input = format!("{secret}\n"),
        Way::InputWithoutLineBreak => secret.clone_into(&mut input),
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // The script may not read it.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secret_reaches_the_program_on_no_command_line_and_in_no_environment() {
    let world = world(Config::new(SECRET)).await;
    let directory = tempfile::tempdir().unwrap();
    let program = noting(directory.path());
    for way in [Way::Argument, Way::Environment, Way::Input, Way::InputWithoutLineBreak] {
        let (code, text) = script(way, &world.base, SECRET, &program).await;
        assert_eq!(code, 0, "{way:?}: {text}");
        assert!(text.contains(" 0 different") && text.ends_with("0 entries left\n"), "{way:?}: {text}");
        let started = std::fs::read_to_string(directory.path().join("started")).unwrap();
        assert!(started.contains(&world.base) && !started.contains(SECRET), "{way:?}: {started}");
        assert!(!text.contains(SECRET), "{way:?}: {text}");
    }
    assert_eq!(world.scalelite.servers(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_codes() {
    let world = world(Config::new(SECRET)).await;
    let program = Path::new(env!("CARGO_BIN_EXE_contract"));
    for (base, secret, code, words) in [
        (world.base.as_str(), SECRET, 0, "answers as recorded, 0 different"),
        (&world.base, "wrong", 1, "ENDED EARLY: the checksum is refused"),
        ("http://127.0.0.1:1", SECRET, 1, "ENDED EARLY: GET getServers"),
        ("scalelite.example.org", SECRET, 1, "the base URL is expected like"),
        ("--help", SECRET, 2, "tests/contract BASE_URL SECRET"),
    ] {
        let (got, text) = script(Way::Argument, base, secret, program).await;
        assert_eq!(got, code, "{base}: {text}");
        assert!(text.contains(words), "{base}: {text}");
    }
}
