//! Logging without waiting: the service's thread hands its lines over, and a thread of its own writes them. journald's
//! socket and a pipe make their writer wait when their reader does not read, and a service that waits there sends no
//! heartbeat, pings no watchdog and obeys no signal.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Debug;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tracing::dispatcher::{self, DefaultGuard};
use tracing::field::{DisplayValue, Field, Visit, display};
use tracing::span::{Attributes, EnteredSpan, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber, Value, error, field, info_span};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, registry};

use clients::untrusted::visible;

use super::queue::Queue;
use super::{Destination, HOST, Level, readable, targets};

/// The longest time for which the end of the process waits for its last lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The queue of this process, if it has one.
static LINES: OnceLock<Arc<Queue<Line>>> = OnceLock::new();

/// A line to write.
enum Line {
    /// The journal's or a terminal's events begin, at this level.
    Start(Destination, Level),
    /// An event with the values of its fields and of the host's span.
    Event(&'static Metadata<'static>, Vec<Option<Captured>>, Arc<Fields>),
    /// A text for standard error.
    Text(String),
}

/// The fields of the host's span.
type Fields = Vec<(&'static str, String)>;

/// A field's value as text.
enum Captured {
    /// The value is a text.
    Text(String),
    /// The value is anything else, as it shows itself.
    Shown(DisplayValue<String>),
}

impl Captured {
    fn value(&self) -> &dyn Value {
        match self {
            Self::Text(text) => text,
            Self::Shown(shown) => shown,
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Shown(shown) => shown.to_string().len(),
        }
    }
}

/// Begins to hand lines over for the rest of the process. Where no thread can be made, lines are written directly.
pub(super) fn begin() {
    let lines = Arc::new(Queue::new());
    let queue = Arc::clone(&lines);
    let writer = std::thread::Builder::new().name("log".to_owned());
    if writer.spawn(move || Writer::default().run(&queue)).is_ok() && LINES.set(lines).is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let trace = Backtrace::capture();
            let trace = (trace.status() == BacktraceStatus::Captured).then(|| format!("\n{trace}"));
            text(format!("{panic}{}", trace.unwrap_or_default()));
            flush();
        }));
    }
}

/// Makes the layer that hands over what is logged from now on; `None` where lines are written directly.
pub(super) fn layer(destination: &Destination, level: Level) -> Option<Relay> {
    let lines = Arc::clone(LINES.get()?);
    lines.push(0, Line::Start(destination.clone(), level));
    Some(Relay { lines, host: Mutex::default() })
}

/// Hands a text for standard error over; gives it back where it has to be written directly.
pub(super) fn text(text: String) -> Option<String> {
    match LINES.get() {
        Some(lines) => {
            lines.push(text.len(), Line::Text(text));
            None
        }
        None => Some(text),
    }
}

/// Waits a moment for what was handed over to be written.
pub(super) fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush(LAST_LINES);
    }
}

/// Returns how many lines were lost since the process began.
pub(super) fn lost() -> u64 {
    LINES.get().map_or(0, |lines| lines.lost_in_all())
}

/// The layer on the side of those who log.
pub(super) struct Relay {
    lines: Arc<Queue<Line>>,
    host: Mutex<Arc<Fields>>,
}

impl Relay {
    /// Notes the fields of the host's span, of which the last values count.
    fn note(&self, record: impl FnOnce(&mut dyn Visit)) {
        let mut host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fields = Fields::clone(&host);
        record(&mut Names(&mut fields));
        *host = Arc::new(fields);
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Relay {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        if attributes.metadata().target() == HOST {
            self.note(|visit| attributes.record(visit));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if context.metadata(id).is_some_and(|metadata| metadata.target() == HOST) {
            self.note(|visit| values.record(visit));
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut values = Values(event.metadata().fields().iter().map(|_| None).collect());
        event.record(&mut values);
        let host = Arc::clone(&self.host.lock().unwrap_or_else(PoisonError::into_inner));
        let size = values.0.iter().flatten().map(Captured::size).sum();
        self.lines.push(size, Line::Event(event.metadata(), values.0, host));
    }
}

/// Takes an event's values, in the order of its fields. journalctl shows a field with control characters as a blob, and
/// a person has to be able to read what an answer of others has led to.
struct Values(Vec<Option<Captured>>);

impl Values {
    fn put(&mut self, field: &Field, value: Captured) {
        if let Some(place) = self.0.get_mut(field.index()) {
            *place = Some(value);
        }
    }
}

impl Visit for Values {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Captured::Text(visible(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, Captured::Shown(display(visible(&format!("{value:?}")))));
    }
}

/// Takes a span's values by their names.
struct Names<'a>(&'a mut Fields);

impl Names<'_> {
    fn put(&mut self, field: &Field, value: String) {
        self.0.retain(|(name, _)| *name != field.name());
        self.0.push((field.name(), value));
    }
}

impl Visit for Names<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }
}

/// The other side: the thread that writes, and may wait for its readers.
#[derive(Default)]
struct Writer {
    /// Where events go, while there are any; dropped in this order.
    host: Option<(Arc<Fields>, EnteredSpan)>,
    dispatch: Option<(Dispatch, DefaultGuard)>,
}

impl Writer {
    fn run(mut self, lines: &Queue<Line>) {
        loop {
            let (lost, line) = lines.take();
            if lost > 0 {
                error!("{lost} log lines were lost: they were not read in time");
            }
            match line {
                Some(Line::Start(destination, level)) => self.start(destination, level),
                Some(Line::Event(metadata, values, host)) => self.event(metadata, &values, host),
                Some(Line::Text(text)) => drop(writeln!(std::io::stderr(), "{text}")),
                None => {}
            }
        }
    }

    fn start(&mut self, destination: Destination, level: Level) {
        let dispatch = match destination.journal() {
            Some(journal) => Dispatch::new(registry().with(targets(level, true)).with(journal)),
            None => {
                let readable = readable(std::io::stderr().is_terminal());
                Dispatch::new(registry().with(targets(level, false)).with(readable))
            }
        };
        let guard = dispatcher::set_default(&dispatch);
        self.dispatch = Some((dispatch, guard));
    }

    /// Repeats an event on this side, inside a span like the host's.
    fn event(
        &mut self,
        metadata: &'static Metadata<'static>,
        values: &[Option<Captured>],
        host: Arc<Fields>,
    ) {
        let Some((dispatch, _)) = &self.dispatch else { return };
        if self.host.as_ref().is_none_or(|(former, _)| *former != host) {
            // The former one has to be left before another one is entered.
            self.host = None;
            let span = info_span!(target: HOST, "host", instance_id = field::Empty, fqdn = field::Empty);
            for (name, value) in host.iter() {
                span.record(*name, value.as_str());
            }
            self.host = Some((host, span.entered()));
        }
        let values: Vec<Option<&dyn Value>> =
            values.iter().map(|value| value.as_ref().map(Captured::value)).collect();
        let values = metadata.fields().value_set_all(&values);
        dispatch.event(&Event::new(metadata, &values));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    use super::*;

    /// Runs only as a process of its own: see the other test.
    #[test]
    #[ignore = "it panics"]
    fn panics() {
        super::super::in_background();
        super::super::start("agent", Level::Info);
        tracing::info!(target: "host", kind = "last", "the last line");
        panic!("no way out");
    }

    fn panicking(stderr: UnixStream) -> Option<i32> {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "log::relay::tests::panics", "--nocapture"]);
        command.env_remove("JOURNAL_STREAM").stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::from(OwnedFd::from(stderr))).status().unwrap().code()
    }

    #[test]
    fn a_panic_comes_after_the_lines_before_it() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        assert_eq!(panicking(writer), Some(101));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        let (before, after) = text.split_once("no way out").unwrap_or_else(|| panic!("{text}"));
        assert!(before.contains("the last line kind=\"last\""), "{text}");
        assert!(!after.contains("the last line"), "{text}");
    }

    #[test]
    fn a_panic_that_nobody_reads_ends_the_process() {
        let (_reader, mut writer) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        while writer.write(&[b'x'; 4096]).is_ok() {}
        writer.set_nonblocking(false).unwrap();
        assert_eq!(panicking(writer), Some(101));
    }
}
