//! systemd as the service uses it: this test plays the notification socket and `systemctl`. The real code reads the
//! environment, so each row runs in a process of its own: this test program once more.

use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use clients::systemd::{Notifier, stop_cause};

/// Runs one of the parts below with this environment and nothing else.
fn part(name: &str, environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("systemd::{name}"), "--ignored", "--nocapture", "--test-threads", "1"]);
    let output = command.env_clear().envs(environment.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
#[ignore = "a part that other tests run with an environment"]
fn notify_everything() {
    tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::stderr).init();
    let systemd = Notifier::from_env();
    systemd.status("starting\nREADY=1");
    systemd.ready();
    systemd.reloading();
    systemd.ready();
    systemd.ping();
    systemd.extend(Duration::from_millis(90_000));
    systemd.extend(Duration::from_secs(100_000));
    systemd.stopping();
    writeln!(std::io::stdout(), "interval: {:?}.", systemd.watchdog_interval()).unwrap();
}

#[test]
#[ignore = "a part that other tests run with an environment"]
fn ask_why() {
    tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cause = runtime.block_on(stop_cause("bbb-agent.service"));
    writeln!(std::io::stdout(), "cause: {cause:?}.").unwrap();
}

const NOTIFICATIONS: [&str; 8] = [
    "STATUS=starting READY=1\n",
    "READY=1\n",
    "RELOADING=1\nMONOTONIC_USEC=",
    "READY=1\n",
    "WATCHDOG=1\n",
    "EXTEND_TIMEOUT_USEC=90000000\n",
    "EXTEND_TIMEOUT_USEC=4294967295\n",
    "STOPPING=1\n",
];

fn received(socket: &UnixDatagram) -> Vec<String> {
    // Everything has been sent by now, so the socket need not wait.
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    let mut all = Vec::new();
    while let Ok(length) = socket.recv(&mut buffer) {
        all.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    all
}

#[test]
fn notifications_reach_sockets_of_both_kinds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let name = format!("bbb-agents-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    for (variable, socket) in [
        (path.display().to_string(), UnixDatagram::bind(&path).unwrap()),
        (format!("@{name}"), UnixDatagram::bind_addr(&address).unwrap()),
    ] {
        let output = part("notify_everything", &[("NOTIFY_SOCKET", &variable)]);
        let received = received(&socket);
        assert_eq!(received.len(), NOTIFICATIONS.len(), "{variable}: {received:?}: {}", said(&output));
        for (received, wanted) in received.iter().zip(NOTIFICATIONS) {
            let exact = received == wanted;
            assert!(exact || wanted.ends_with('=') && received.starts_with(wanted), "{variable}: {received}");
        }
    }
}

#[test]
fn without_anybody_who_listens_nothing_fails() {
    let directory = tempfile::tempdir().unwrap();
    let gone = directory.path().join("gone").display().to_string();
    let quiet = part("notify_everything", &[]);
    assert!(!said(&quiet).contains("was not told"), "{quiet:?}");
    for socket in [gone.as_str(), "@bbb-agents-nobody", &"x".repeat(200)] {
        let output = part("notify_everything", &[("NOTIFY_SOCKET", socket)]);
        assert_eq!(said(&output).matches("was not told").count(), NOTIFICATIONS.len(), "{output:?}");
    }
    assert!(!said(&part("notify_everything", &[("NOTIFY_SOCKET", "")])).contains("was not told"));
}

#[test]
fn the_watchdog_is_fed_twice_in_its_time_where_it_is_ours() {
    for (environment, wanted) in [
        (&[][..], "None."),
        (&[("WATCHDOG_USEC", "60000000")], "Some(30s)."),
        (&[("WATCHDOG_USEC", "60000000"), ("WATCHDOG_PID", "1")], "None."),
        (&[("WATCHDOG_USEC", "0")], "None."),
        (&[("WATCHDOG_USEC", "soon")], "None."),
    ] {
        let output = said(&part("notify_everything", environment));
        assert!(output.contains(&format!("interval: {wanted}")), "{environment:?}: {output}");
    }
    // The shell's own process becomes the agent's.
    let mut command = Command::new("/bin/sh");
    let script = "WATCHDOG_PID=$$ exec \"$0\" --exact systemd::notify_everything --ignored --nocapture";
    command.args(["-c", script]).arg(std::env::current_exe().unwrap());
    let output = said(&command.env_clear().env("WATCHDOG_USEC", "5000000").output().unwrap());
    assert!(output.contains("interval: Some(2.5s)."), "{output}");
}

/// Puts a systemctl into the directory, and returns a PATH that begins with it.
fn systemctl(directory: &Path, script: &str) -> String {
    let file = directory.join("systemctl");
    sandbox::binaries::script(&file, &format!("#!/bin/sh\n{script}\n")).unwrap();
    format!("{}:/usr/bin:/bin", directory.display())
}

/// Returns a systemctl that lists these jobs if it is called with the right arguments and none of this process's
/// environment.
fn lists(jobs: &str) -> String {
    format!(
        "test \"$*\" = 'list-jobs --full --no-legend --no-pager' || exit 9\n\
         test -z \"$NOTIFY_SOCKET$INVOCATION_ID$SYSTEMD_COLORS\" || exit 8\nprintf '{jobs}'"
    )
}

const INVOCATION: (&str, &str) = ("INVOCATION_ID", "0123456789abcdef0123456789abcdef");

#[test]
fn systemd_says_why_it_stops_the_service() {
    for (jobs, wanted) in [
        ("", "Unknown"),
        ("  91 nginx.service     stop    running\\n", "Unknown"),
        ("  91 bbb-agent.service stop    running\\n", "Stop"),
        ("1702 bbb-agent.service restart running\\n", "Restart"),
        (" 801 bbb-agent.service stop    running\\n 790 reboot.target     start   waiting\\n", "Reboot"),
        (" 801 bbb-agent.service stop    running\\n 790 poweroff.target   start   waiting\\n", "PowerOff"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = systemctl(directory.path(), &lists(jobs));
        for by in [INVOCATION, ("NOTIFY_SOCKET", "/nowhere")] {
            let output = part("ask_why", &[("PATH", &path), by, ("SYSTEMD_COLORS", "1")]);
            let said = said(&output);
            assert!(said.contains(&format!("cause: {wanted}.")), "{jobs}: {said}");
            assert_eq!(said.contains("WARN"), wanted == "Unknown", "{jobs}: {said}");
        }
    }
}

/// Waits until the process has ended. It may stay a zombie: the process that inherits it has to collect it.
fn ended(stat: &str) {
    let begin = Instant::now();
    while std::fs::read_to_string(stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(begin.elapsed() < Duration::from_secs(60), "{stat} was left behind");
        std::thread::yield_now();
    }
}

#[test]
fn a_systemd_that_cannot_be_asked_leaves_the_cause_unknown() {
    let restarts = "printf '1 bbb-agent.service restart running\\n'";
    let rows = [
        (format!("{restarts}\necho 'Failed to connect to bus: Host is down' >&2\nexit 1"), "Host is down"),
        (format!("{restarts}\nexit 3"), "exit status: 3: it does not say why"),
        (format!("{restarts}\nkill -9 $$"), "signal: 9"),
        // A process that does not answer is not left behind.
        ("echo $$ > \"${0%/*}/asked\"\nexec sleep 600".to_owned(), "no answer within 2 s"),
    ];
    // Each is asked repeatedly for a while.
    let row = |(script, why): &(String, &str)| {
        let directory = tempfile::tempdir().unwrap();
        let path = systemctl(directory.path(), script);
        let said = said(&part("ask_why", &[("PATH", &path), INVOCATION]));
        assert!(said.contains("cause: Unknown.") && said.contains("WARN"), "{script}: {said}");
        assert!(said.contains("bbb-agent.service") && said.contains(why), "{script}: {said}");
        assert!(said.contains("asking again"), "{script}: {said}");
        if let Ok(asked) = std::fs::read_to_string(directory.path().join("asked")) {
            ended(&format!("/proc/{}/stat", asked.trim()));
        }
    };
    std::thread::scope(|scope| rows.iter().for_each(|one| drop(scope.spawn(|| row(one)))));
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().display().to_string();
    let said = said(&part("ask_why", &[("PATH", &nowhere), INVOCATION]));
    assert!(said.contains("cause: Unknown.") && said.contains("No such file"), "{said}");
    assert!(!said.contains("asking again"), "it will not be there a moment later: {said}");
}

#[test]
fn a_systemd_that_reads_its_units_anew_is_asked_until_it_answers() {
    let directory = tempfile::tempdir().unwrap();
    let restarts = lists("1702 bbb-agent.service restart running\\n");
    let first =
        "test -e \"${0%/*}/once\" || { : > \"${0%/*}/once\"; echo 'Connection reset by peer' >&2; exit 1; }";
    let path = systemctl(directory.path(), &format!("{first}\n{restarts}"));
    let said = said(&part("ask_why", &[("PATH", &path), INVOCATION]));
    assert!(said.contains("cause: Restart.") && !said.contains("WARN"), "{said}");
}

#[test]
fn outside_systemd_nobody_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let path = systemctl(directory.path(), ": > \"${0%/*}/asked\"");
    let said = said(&part("ask_why", &[("PATH", &path)]));
    assert!(said.contains("cause: Stop."), "{said}");
    assert!(!directory.path().join("asked").exists());
    part("ask_why", &[("PATH", &path), INVOCATION]);
    assert!(directory.path().join("asked").exists(), "inside it is asked");
}
