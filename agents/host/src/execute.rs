//! The only place where the agents change anything outside, and therefore the only place with a dry-run switch and the
//! only one that knows which action is in progress when a signal comes.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::rc::Rc;

use tracing::{debug, info};

use crate::interrupt::Interrupt;
use crate::report::{self, Exit, Failure};

/// An executor of actions, which in a dry run only prints them.
#[derive(Clone, Debug)]
pub struct Executor {
    interrupt: Interrupt,
    dry_run: bool,
    announced: Option<(&'static str, Announced)>,
}

/// The actions that were announced and have not succeeded yet: one that is tried again and again is announced once.
#[derive(Clone, Debug, Default)]
pub struct Announced(Rc<RefCell<BTreeSet<(&'static str, String)>>>);

impl Announced {
    /// Notes that this part of the work has succeeded: whatever is done for it from now on is announced again.
    pub fn done(&self, part: &str) {
        self.0.borrow_mut().retain(|(announced, _)| *announced != part);
    }

    fn is_new(&self, part: &'static str, what: &str) -> bool {
        self.0.borrow_mut().insert((part, what.to_owned()))
    }
}

/// The result of an action.
#[derive(Debug)]
pub enum Outcome<T> {
    /// The action was carried out, with this result.
    Ran(T),
    /// The action was only printed.
    Shown,
}

impl Executor {
    /// Creates an executor; with `dry_run`, it prints actions and does not carry them out.
    pub fn new(interrupt: Interrupt, dry_run: bool) -> Self {
        Self { interrupt, dry_run, announced: None }
    }

    /// Creates an executor for a part of the work that is done again until it succeeds.
    pub fn again_and_again(interrupt: Interrupt, announced: &Announced, part: &'static str) -> Self {
        Self { interrupt, dry_run: false, announced: Some((part, announced.clone())) }
    }

    /// Reports whether actions are only printed.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Carries out one action. `name` is its kind in one word, by which the journal can be filtered (`ACTION`); `what`
    /// names the action and its object. Fails when a signal came before it began.
    pub async fn run<T>(
        &self,
        name: &'static str,
        what: &str,
        action: impl Future<Output = T>,
    ) -> Result<Outcome<T>, Failure> {
        if self.dry_run {
            report::say(format_args!("would {what}"));
            return Ok(Outcome::Shown);
        }
        match self.announced.as_ref().is_none_or(|(part, announced)| announced.is_new(part, what)) {
            true => info!(action = name, "{what}"),
            false => debug!(action = name, "{what}"),
        }
        match self.interrupt.act(action).await {
            Some(result) => Ok(Outcome::Ran(result)),
            None => {
                let signal = self.interrupt.caught().unwrap_or_default();
                Err(Failure::new(Exit::Interrupted(signal), format!("stopped before: {what}")))
            }
        }
    }
}
