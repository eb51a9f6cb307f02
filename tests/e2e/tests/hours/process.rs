//! The service in a process whose clock is moved by hand: hours pass as fast as it does what it does in them.
//!
//! The clock is tokio's, paused, and it never moves by itself: a blocking task that runs all the time forbids that. It is
//! moved by a second only while nothing is under way, so that no time-out ends because of it. Whether something is under
//! way is asked of the kernel: it has no packets to hand over, all threads of this process and of the cloud's sleep, and none
//! has woken since they were looked at before. Nobody who sleeps without a timer can be woken but by one of the others; the
//! stand-ins have no timers, and the agent's stand still.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, Write, stdin, stdout};
use std::os::unix::process::parent_id;
use std::process::Stdio;
use std::time::Duration;

use clap::Parser;
use host::agent::Agent;
use host::cli::Common;
use host::config::settings;
use host::interrupt::Interrupt;
use host::log::{self, Level};
use host::session::Session;
use plan::instance::Role;
use signal_hook_tokio::Signals;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::signal::unix::SignalKind;
use tokio::sync::{Mutex, mpsc};

/// What a line with figures begins with; other lines are the test harness's.
const MARK: &str = "hour";

/// The shortest interval of the default settings.
const STEP: Duration = Duration::from_secs(2);
const STEPS_PER_HOUR: u64 = 1800;

/// What bbb-agent is, but for its command line.
const AGENT: Agent = Agent {
    role: Role::Bbb,
    name: "bbb-agent",
    environment_prefix: "BBB_AGENT_",
    default_hostname: "vc-{instance}",
};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    common: Common,
}

/// One service at a time: the cloud of another would keep this process awake.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Runs this test program's ignored test of that name, which calls [`pass`], in a process with this command's environment
/// alone. After each hour `passed` gets its figures; then it may go on. Returns what the service logged.
pub(crate) async fn watch(mut command: Command, test: &str, mut passed: impl AsyncFnMut(&str)) -> String {
    let _alone = ALONE.lock().await;
    command.args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut service = command.spawn().unwrap();
    let (mut stdin, stdout) = (service.stdin.take().unwrap(), service.stdout.take().unwrap());
    let mut stderr = service.stderr.take().unwrap();
    let log = tokio::spawn(async move {
        let mut log = String::new();
        stderr.read_to_string(&mut log).await.unwrap();
        log
    });
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let Some(figures) = line.strip_prefix(MARK) else { continue };
        passed(figures).await;
        stdin.write_all(b"go on\n").await.unwrap();
    }
    log.await.unwrap()
}

/// This test program, with an environment of its own.
pub(crate) fn program() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env_clear();
    command
}

/// Is the service for so many hours. After each it writes a line `hour N TOTAL ANONYMOUS` with its resident memory in KiB, and
/// waits for a line on standard input.
pub(crate) fn pass(hours: u64) {
    log::start(AGENT.name, Level::Info);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let (steps, mut moved) = mpsc::unbounded_channel();
        tokio::task::spawn_blocking(move || keep_time(hours, &steps));
        let common = Flags::parse_from(["bbb-agent"]).common;
        let settings = settings::read(&AGENT, &common.flags()).unwrap();
        let signals = Signals::new([SignalKind::terminate().as_raw_value()]).unwrap();
        let (_never, interrupt) = Interrupt::manual();
        let session = Session::new(AGENT, settings, interrupt).unwrap();
        let clock = async {
            while let Some(done) = moved.recv().await {
                tokio::time::advance(STEP).await;
                drop::<std::sync::mpsc::Sender<()>>(done);
            }
        };
        tokio::select! {
            end = host::service::run(session, common, signals) => panic!("the service ended: {end:?}"),
            () = clock => {}
        }
    });
}

/// Moves the clock whenever nothing is under way.
fn keep_time(hours: u64, steps: &mpsc::UnboundedSender<std::sync::mpsc::Sender<()>>) {
    let own = fs::read_link("/proc/thread-self").unwrap();
    let own = own.file_name().unwrap().to_str().unwrap().to_owned();
    for hour in 1..=hours {
        for _ in 0..STEPS_PER_HOUR {
            wait_until_idle(&own);
            let (done, moved) = std::sync::mpsc::channel();
            steps.send(done).unwrap();
            // An error: the other end was dropped, as it is when the clock has been moved.
            let _ = moved.recv();
        }
        wait_until_idle(&own);
        let memory = ["VmRSS:", "RssAnon:"].map(memory);
        // On a line of its own: the harness has begun one. Nobody reads it: then nobody waits for it either.
        let _ = writeln!(stdout(), "\n{MARK} {hour} {} {}", memory[0], memory[1]);
        stdin().lock().read_line(&mut String::new()).unwrap();
    }
}

/// A field of this process's status, in KiB.
fn memory(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    value.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Returns once all other threads of both processes slept at the same time.
fn wait_until_idle(own: &str) {
    let mut before = None;
    loop {
        // Looked at before the threads: what is handed over meanwhile wakes one of them.
        let now = if on_its_way() { None } else { sleeping(own) };
        if now.is_some() && now == before {
            return;
        }
        before = now;
        std::thread::yield_now();
    }
}

/// Whether the kernel still has packets to hand over, which wake nobody yet: on a busy machine it leaves that to a thread of
/// its own (`/proc/net/softnet_stat`, the backlog of each processor).
fn on_its_way() -> bool {
    let queues = fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default();
    queues.lines().any(|line| line.split_whitespace().nth(11).is_some_and(|length| length != "00000000"))
}

/// How often each thread has given up its processor; none when one of them has not just now.
fn sleeping(own: &str) -> Option<BTreeMap<String, [String; 2]>> {
    let mut threads = BTreeMap::new();
    for process in [std::process::id(), parent_id()] {
        for thread in fs::read_dir(format!("/proc/{process}/task")).unwrap() {
            let thread = thread.unwrap().path();
            if thread.file_name().is_some_and(|name| name == own) {
                continue;
            }
            // It has ended since it was listed.
            let status = fs::read_to_string(thread.join("status")).ok()?;
            let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
            if !field("State:")?.trim().starts_with('S') {
                return None;
            }
            let switches = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"];
            let switches = switches.map(|name| field(name).unwrap_or_default().to_owned());
            threads.insert(thread.display().to_string(), switches);
        }
    }
    Some(threads)
}
