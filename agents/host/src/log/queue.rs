//! The lines that wait to be written. Whoever logs never waits: what does not fit is counted instead.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most lines that wait.
const LINES: usize = 1024;
/// The most bytes that wait: at the level debug a line may show a whole answer.
const BYTES: usize = 1024 * 1024;

/// A bounded queue of lines between those who log and the one thread that writes.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// Each line with its size, and how many lines were lost before it.
    lines: VecDeque<(u64, usize, T)>,
    bytes: usize,
    /// The lines lost since the last one that fitted.
    lost: u64,
    /// All lines that were ever lost.
    lost_in_all: u64,
    /// Whether the writer is at work on what it has taken.
    writing: bool,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        let state = State { lines: VecDeque::new(), bytes: 0, lost: 0, lost_in_all: 0, writing: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line of this size, or counts it as lost.
    pub(super) fn push(&self, size: usize, line: T) {
        let mut state = self.state();
        if state.lines.len() >= LINES || state.bytes.saturating_add(size) > BYTES {
            state.lost = state.lost.saturating_add(1);
            state.lost_in_all = state.lost_in_all.saturating_add(1);
            return;
        }
        let lost = std::mem::take(&mut state.lost);
        state.bytes += size;
        state.lines.push_back((lost, size, line));
        self.changed.notify_all();
    }

    /// Returns how many lines were ever lost.
    pub(super) fn lost_in_all(&self) -> u64 {
        self.state().lost_in_all
    }

    /// Waits for the next line, if there is one, and tells how many were lost before it. Whatever was taken before
    /// counts as written now.
    pub(super) fn take(&self) -> (u64, Option<T>) {
        let mut state = self.state();
        state.writing = false;
        self.changed.notify_all();
        let nothing = |state: &mut State<T>| state.lines.is_empty() && state.lost == 0;
        let waited = self.changed.wait_while(state, nothing);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.writing = true;
        match state.lines.pop_front() {
            Some((lost, size, line)) => {
                state.bytes -= size;
                (lost, Some(line))
            }
            None => (std::mem::take(&mut state.lost), None),
        }
    }

    /// Waits until everything is written, but not longer than this.
    pub(super) fn flush(&self, patience: Duration) {
        let busy = |state: &mut State<T>| state.writing || state.lost > 0 || !state.lines.is_empty();
        drop(self.changed.wait_timeout_while(self.state(), patience, busy));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_where_it_is_missing() {
        let queue = Queue::new();
        for line in 0..LINES + 7 {
            queue.push(1, line);
        }
        assert_eq!(queue.take(), (0, Some(0)));
        queue.push(1, LINES + 7);
        queue.push(1, LINES + 8);
        for line in 1..LINES {
            assert_eq!(queue.take(), (0, Some(line)));
        }
        assert_eq!(queue.take(), (7, Some(LINES + 7)));
        assert_eq!(queue.take(), (1, None), "the last one came too early again");
        queue.push(1, LINES + 9);
        assert_eq!(queue.take(), (0, Some(LINES + 9)));
        assert_eq!(queue.lost_in_all(), 8);
    }

    #[test]
    fn long_lines_are_bounded_together() {
        let queue = Queue::new();
        for _ in 0..3 {
            queue.push(BYTES / 2, ());
        }
        assert_eq!((queue.take(), queue.take(), queue.take()), ((0, Some(())), (0, Some(())), (1, None)));
        queue.push(BYTES, ());
        assert_eq!(queue.take(), (0, Some(())));
    }

    #[test]
    fn a_flush_waits_for_the_line_that_is_being_written_and_for_nothing_else() {
        let queue = Arc::new(Queue::new());
        queue.flush(Duration::MAX);
        queue.push(1, ());
        queue.take();
        let begun = Instant::now();
        queue.flush(Duration::from_millis(50));
        assert!(begun.elapsed() >= Duration::from_millis(50), "it is not written yet");
        let writer = Arc::clone(&queue);
        std::thread::spawn(move || writer.take());
        queue.flush(Duration::MAX);
    }
}
