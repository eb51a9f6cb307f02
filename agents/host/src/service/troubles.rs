//! The troubles of the service, each told in the log when it is new, at growing intervals while it goes on, and when it
//! is over: see `plan::news`.

use std::cell::RefCell;
use std::collections::BTreeSet;

use plan::lifecycle::{Trouble, TroubleKind};
use plan::news::{self, News};
use plan::time::duration;
use tracing::{debug, info, warn};

use super::clock::Started;

/// The words about one failure.
#[derive(Debug)]
pub(super) struct Failing<'a> {
    /// The reason. Two failures for one reason are one trouble.
    pub(super) why: &'a str,
    /// The line to log.
    pub(super) line: String,
    /// Whether the service only waits for something that was to be expected.
    pub(super) expected: bool,
}

impl<'a> Failing<'a> {
    /// A failure, with the line to log about it.
    pub(super) fn new(why: &'a str, line: String) -> Self {
        Self { why, line, expected: false }
    }

    /// The failure of a job; `None` where the service itself has cancelled it.
    pub(super) fn of(trouble: &'a Trouble) -> Option<Self> {
        let why = trouble.words.as_str();
        let (line, expected) = match trouble.kind {
            TroubleKind::Cancelled => return None,
            TroubleKind::Waiting => (format!("waiting: {why}"), true),
            TroubleKind::Turn(wait) => (format!("{why}; next try in {} s", wait.as_secs()), true),
            TroubleKind::Passing | TroubleKind::Lasting => (format!("{why}; it is tried again"), false),
        };
        Some(Self { why, line, expected })
    }
}

/// All troubles of one service. They outlive a reload.
#[derive(Debug)]
pub(super) struct Troubles {
    started: Started,
    known: RefCell<news::Troubles<&'static str>>,
    /// Those that nobody expected: their end is told.
    unexpected: RefCell<BTreeSet<&'static str>>,
}

impl Troubles {
    pub(super) fn new(started: Started) -> Self {
        Self { started, known: RefCell::default(), unexpected: RefCell::default() }
    }

    /// Takes the result of something that is done again and again: `part` in the words of the log, `action` as the
    /// journal is filtered, and the state of the service where that matters.
    pub(super) fn take(
        &self,
        part: &'static str,
        action: &str,
        state: Option<&str>,
        result: Result<(), Failing<'_>>,
    ) {
        let (mut known, now) = (self.known.borrow_mut(), self.started.moment());
        match result {
            Ok(()) => {
                let told = known.went_well(&part, now).filter(|_| self.unexpected.borrow_mut().remove(part));
                if let Some(News::Works(time)) = told {
                    info!(action, state, "{part} works again after {}", duration(time));
                }
            }
            Err(Failing { why, line, expected }) => {
                if !expected {
                    self.unexpected.borrow_mut().insert(part);
                }
                let line = match known.failed(part, why, now) {
                    Some(News::StillFails(time)) => format!("{line} (for {} now)", duration(time)),
                    Some(_) => line,
                    None => return debug!("{line}"),
                };
                match expected {
                    true => info!(action, state, reason = why, "{line}"),
                    false => warn!(action, state, reason = why, "{line}"),
                }
            }
        }
    }

    /// Notes a fact that nothing ends; returns whether it is worth telling.
    pub(super) fn is_new(&self, fact: &'static str, words: &str) -> bool {
        self.known.borrow_mut().failed(fact, words, self.started.moment()) == Some(News::Fails)
    }

    /// Forgets what went wrong with a part that is not looked after any more.
    pub(super) fn forget(&self, parts: &[&'static str]) {
        let mut known = self.known.borrow_mut();
        for part in parts {
            known.forget(part);
            self.unexpected.borrow_mut().remove(part);
        }
    }
}
