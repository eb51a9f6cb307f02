//! systemd, as the service meets it: notifications to it, its watchdog, and why it stops the service. Outside systemd
//! nothing is sent and nobody is asked.
//!
//! Why the service stops is asked with one call of `systemctl`: a D-Bus library would bring about 35 crates (zbus 5) for
//! one question in a service's life.

use std::ffi::{OsStr, OsString};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Output, Stdio};
use std::time::Duration;

use plan::lifecycle::StopCause;
use plan::stop_cause;
use sd_notify::NotifyState;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use crate::untrusted::visible_line;

/// How long systemd may take to take a notification or to say what it is doing. It is a local process.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it is asked why it stops the service.
const ASKING: Duration = Duration::from_secs(10);
/// How soon it is asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// What systemd itself uses where no path is set.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Tells systemd how the service is doing (sd_notify(3)). A notification that cannot be sent is no reason to fail: systemd
/// has limits of its own for what it misses.
#[derive(Clone, Debug)]
pub struct Notifier {
    socket: Option<OsString>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Finds systemd through `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`. The environment stays as it is: it is
    /// for whoever starts a process to keep these variables from it.
    pub fn from_env() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty());
        Self { socket, watchdog: sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) }
    }

    /// The service does what it is for: what waits for it may start. Also ends what [`reloading`](Self::reloading) began.
    pub fn ready(&self) {
        self.send(&[NotifyState::Ready]);
    }

    /// What the service is doing, for `systemctl status`; a single line.
    pub fn status(&self, words: &str) {
        // A line of its own would be a notification of its own.
        self.send(&[NotifyState::Status(&visible_line(words))]);
    }

    /// The service has begun to stop.
    pub fn stopping(&self) {
        self.send(&[NotifyState::Stopping]);
    }

    /// The service reads its configuration again. To be followed by [`ready`](Self::ready).
    pub fn reloading(&self) {
        // The time is what `Type=notify-reload` of systemd 253 wants to know besides.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(_) => self.send(&[NotifyState::Reloading]),
        }
    }

    /// Starting, stopping or running on may take this long from now, whatever the unit says. To be repeated in time;
    /// 71 minutes at most at once.
    pub fn extend(&self, time: Duration) {
        let microseconds = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self.send(&[NotifyState::ExtendTimeoutUsec(microseconds)]);
    }

    /// How often [`ping`](Self::ping) has to be called: twice within what the unit allows (`WatchdogSec=`). `None` when
    /// systemd does not watch this process.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// The service is alive.
    pub fn ping(&self) {
        self.send(&[NotifyState::Watchdog]);
    }

    fn send(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        let message: String = states.iter().map(|state| format!("{state}\n")).collect();
        if let Err(error) = send(socket, message.as_bytes()) {
            debug!("systemd was not told {:?}: {}: {error}", message.trim_end(), socket.display());
        }
    }
}

/// Sends one notification. Not left to the crate sd-notify: that knows no abstract sockets, and waits for ever for a
/// systemd that does not read.
fn send(socket: &OsStr, message: &[u8]) -> std::io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let sender = UnixDatagram::unbound()?;
    sender.set_write_timeout(Some(PATIENCE))?;
    sender.send_to_addr(message, &address)?;
    Ok(())
}

/// Why the service with this unit (`bbb-agent.service`) is being stopped; to be asked once it was told to stop. Outside
/// systemd, and where systemd cannot be asked, somebody stops it. Takes ten seconds at most.
pub async fn stop_cause(unit: &str) -> StopCause {
    let started_by_systemd =
        ["INVOCATION_ID", "NOTIFY_SOCKET"].map(std::env::var_os).iter().any(Option::is_some);
    if !started_by_systemd {
        return StopCause::Stop;
    }
    match patiently().await {
        Ok(printed) => {
            let jobs = stop_cause::parse(&printed);
            let cause = stop_cause::cause(&jobs, unit);
            debug!("systemd stops {unit}: {cause:?}, with {} jobs in its queue", jobs.len());
            cause
        }
        Err(Unanswered { why, .. }) => {
            warn!(
                "systemd does not say why it stops {unit}, which counts as a stop by hand: systemctl list-jobs: {why}"
            );
            StopCause::Stop
        }
    }
}

/// Why systemd did not list its jobs.
struct Unanswered {
    why: String,
    /// Whether it may answer when it is asked again.
    passes: bool,
}

/// Asks again for a while: a systemd that reads its units anew answers nobody, and it does so just when packages are upgraded.
async fn patiently() -> Result<String, Unanswered> {
    let deadline = Instant::now() + ASKING;
    loop {
        match list_jobs().await {
            Err(Unanswered { why, passes: true }) if Instant::now() + AGAIN + PATIENCE <= deadline => {
                debug!("systemctl list-jobs: {why}; asking again");
                sleep(AGAIN).await;
            }
            answer => return answer,
        }
    }
}

/// What systemd is doing, as systemctl prints it. Without `--full` older ones shorten long names even where nobody looks;
/// `--plain` has no meaning for this command (systemctl(1) and `output_jobs_list` in its sources).
async fn list_jobs() -> Result<String, Unanswered> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let mut command = Command::new("systemctl");
    command.args(["list-jobs", "--full", "--no-legend", "--no-pager"]);
    // The notification socket is this process's, and whatever else is set may lead systemctl to another systemd.
    command.env_clear().env("PATH", path);
    command.stdin(Stdio::null()).kill_on_drop(true);
    match timeout(PATIENCE, command.output()).await {
        Err(_) => {
            let why = format!("no answer within {} s", PATIENCE.as_secs());
            Err(Unanswered { why, passes: true })
        }
        Ok(Err(error)) => Err(Unanswered { why: error.to_string(), passes: false }),
        Ok(Ok(Output { status, stdout, stderr })) => match status.success() {
            true => Ok(String::from_utf8_lossy(&stdout).into_owned()),
            false => {
                let complaint = String::from_utf8_lossy(&stderr);
                let complaint = complaint.lines().next().unwrap_or("it does not say why");
                Err(Unanswered { why: format!("{status}: {complaint}"), passes: true })
            }
        },
    }
}
