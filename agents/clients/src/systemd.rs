//! systemd, as the service uses it: notifications, the watchdog, and the cause of a stop. Outside systemd nothing is
//! sent and nothing is asked.
//!
//! One call of `systemctl` asks for the cause of a stop: a D-Bus library would bring about 35 crates (zbus 5) for one
//! question in a service's life.

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

/// The time limit for systemd, a local process, to take a notification or to list its jobs.
const PATIENCE: Duration = Duration::from_secs(2);
/// The time limit for learning the cause of a stop, repeated questions included.
const ASKING: Duration = Duration::from_secs(10);
/// The pause before the question is repeated.
const AGAIN: Duration = Duration::from_millis(500);
/// The path that systemd itself uses where none is set.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A sender of notifications to systemd (sd_notify(3)). The agent does not fail over a notification that cannot be
/// sent: systemd has its own limits for those that it misses.
#[derive(Clone, Debug)]
pub struct Notifier {
    socket: Option<OsString>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Finds systemd through `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`. Leaves the environment as it is: the
    /// code that starts a child process has to withhold these variables from it.
    pub fn from_env() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty());
        Self { socket, watchdog: sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) }
    }

    /// Tells systemd that the service is up, so that units ordered after it may start. Also ends a
    /// [`reloading`](Self::reloading).
    pub fn ready(&self) {
        self.send(&[NotifyState::Ready]);
    }

    /// Sets the line that `systemctl status` shows for the service.
    pub fn status(&self, words: &str) {
        // A line break would begin another notification.
        self.send(&[NotifyState::Status(&visible_line(words))]);
    }

    /// Tells systemd that the service has begun to stop.
    pub fn stopping(&self) {
        self.send(&[NotifyState::Stopping]);
    }

    /// Tells systemd that the service reads its configuration again. [`ready`](Self::ready) must follow.
    pub fn reloading(&self) {
        // `Type=notify-reload` (systemd 253) also requires the time.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(_) => self.send(&[NotifyState::Reloading]),
        }
    }

    /// Asks systemd to allow this much time from now for starting, stopping or running on, whatever the unit sets.
    /// Must be repeated before the time is over; the most that one call can ask for is 71 minutes.
    pub fn extend(&self, time: Duration) {
        let microseconds = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self.send(&[NotifyState::ExtendTimeoutUsec(microseconds)]);
    }

    /// Returns how often [`ping`](Self::ping) has to be called: twice within the unit's limit (`WatchdogSec=`). `None`
    /// when systemd does not watch this process.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// Tells systemd's watchdog that the service is alive.
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

/// Sends one notification. The crate sd-notify does not do it, because it supports no abstract sockets and waits
/// without limit for a systemd that does not read.
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

/// Asks systemd why it stops this unit (`bbb-agent.service`); to be called once the service was told to stop. Outside
/// systemd the stop is an operator's. Where systemd cannot be asked, or has no job that stops the unit, nobody knows:
/// perhaps the host reboots. Takes at most ten seconds.
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
            match cause {
                StopCause::Unknown => {
                    warn!(
                        "systemd does not say why it stops {unit}: its queue of jobs has none that stops it"
                    );
                }
                cause => debug!("systemd stops {unit}: {cause:?}, with {} jobs in its queue", jobs.len()),
            }
            cause
        }
        Err(Unanswered { why, .. }) => {
            warn!("systemd does not say why it stops {unit}: systemctl list-jobs: {why}");
            StopCause::Unknown
        }
    }
}

/// A question about systemd's jobs that got no answer.
struct Unanswered {
    why: String,
    /// Whether a repeated question may be answered.
    passes: bool,
}

/// Repeats the question for a while: systemd does not answer while it reloads its units, which is just what happens
/// during a package upgrade.
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

/// Lists systemd's jobs, as systemctl prints them. Without `--full`, older versions shorten long names even when the
/// output is no terminal; `--plain` has no meaning for this command (systemctl(1) and `output_jobs_list` in its
/// sources).
async fn list_jobs() -> Result<String, Unanswered> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let mut command = Command::new("systemctl");
    command.args(["list-jobs", "--full", "--no-legend", "--no-pager"]);
    // The notification socket belongs to this process, and other variables could lead systemctl to another systemd.
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
