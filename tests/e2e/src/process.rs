//! A run of the real binary: what it prints while it runs, signals, how it ends.

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Nothing is measured by this: it only turns a test that would hang for ever into one that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How a run ended, and all that it printed.
#[derive(Clone, Debug)]
pub struct Run {
    /// The exit code; -1 when a signal ended the process itself.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, stdout, stderr } = self;
        write!(f, "exit code {code}\n--- standard output\n{stdout}--- standard error\n{stderr}---")
    }
}

impl Run {
    /// How often it said that it will try again.
    pub fn retries(&self) -> usize {
        self.stderr.matches("trying again in").count()
    }

    /// Fails unless all these texts are in what was printed, on either stream.
    pub fn says(&self, texts: &[&str]) -> &Self {
        for text in texts {
            assert!(self.stdout.contains(text) || self.stderr.contains(text), "{text:?} is missing:\n{self}");
        }
        self
    }
}

/// A run that goes on.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Stream,
    stderr: Stream,
}

#[derive(Debug)]
struct Stream {
    text: watch::Receiver<Vec<u8>>,
    reader: JoinHandle<()>,
}

impl Stream {
    fn read(from: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let mut from = from.expect("a pipe");
        let (sender, text) = watch::channel(Vec::new());
        let reader = tokio::spawn(async move {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut part).await {
                sender.send_modify(|text| text.extend(part.iter().take(length)));
            }
        });
        Self { text, reader }
    }

    async fn all(self) -> String {
        self.reader.await.expect("the reader");
        String::from_utf8_lossy(&self.text.borrow()).into_owned()
    }
}

impl Running {
    /// Starts a command without standard input.
    pub fn start(command: Command) -> Self {
        Self::start_with(command, Stdio::piped())
    }

    /// Starts a command without standard input, with this standard error, which is not read unless it is piped.
    pub fn start_with(mut command: Command, stderr: Stdio) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let stdout = Stream::read(child.stdout.take());
        let stderr = match child.stderr.take() {
            Some(stderr) => Stream::read(Some(stderr)),
            None => Stream::read(Some(tokio::io::empty())),
        };
        Self { child, stdout, stderr }
    }

    /// Returns once this text stands so often on its standard output, or on its standard error. Fails when the run ends
    /// before.
    pub async fn said(&mut self, words: &str, times: usize) {
        let enough = |text: &Vec<u8>| String::from_utf8_lossy(text).matches(words).count() >= times;
        let (stdout, stderr) = (&mut self.stdout.text, &mut self.stderr.text);
        let said = async {
            tokio::select! {
                Ok(_) = stdout.wait_for(enough) => true,
                Ok(_) = stderr.wait_for(enough) => true,
                else => false,
            }
        };
        let said = tokio::time::timeout(PATIENCE, said).await;
        let said = said.unwrap_or_else(|_| {
            panic!("the agent does not say {words:?} {times} times; it has said:\n{}", self.complaints())
        });
        assert!(said, "the agent ended before it said {words:?} {times} times");
    }

    /// All that it printed on standard error so far.
    pub fn complaints(&self) -> String {
        String::from_utf8_lossy(&self.stderr.text.borrow()).into_owned()
    }

    /// Whether it has not ended.
    pub fn goes_on(&mut self) -> bool {
        self.child.try_wait().expect("a process").is_none()
    }

    /// Sends a signal, e.g. `TERM`.
    pub async fn signal(&self, name: &str) {
        let id = self.child.id().expect("the process goes on").to_string();
        // The shell's own kill: there need not be a program of that name.
        let mut kill = Command::new("/bin/sh");
        let status = kill.args(["-c", "kill -s \"$0\" \"$1\"", name, &id]).status().await.expect("a shell");
        assert!(status.success(), "cannot send {name} to {id}");
    }

    /// Waits until it ends.
    pub async fn end(mut self) -> Run {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.expect("the agent should end").expect("a process");
        let (stdout, stderr) = (self.stdout.all().await, self.stderr.all().await);
        Run { code: status.code().unwrap_or(-1), stdout, stderr }
    }
}
