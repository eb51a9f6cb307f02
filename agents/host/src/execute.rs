//! The only place where the agents change anything outside, and therefore the only place with a dry-run switch and the
//! only one that knows which action is in progress when a signal comes.

use std::future::Future;

use tracing::info;

use crate::interrupt::Interrupt;
use crate::report::{self, Exit, Failure};

/// An executor of actions, which in a dry run only prints them.
#[derive(Clone, Debug)]
pub struct Executor {
    interrupt: Interrupt,
    dry_run: bool,
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
        Self { interrupt, dry_run }
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
        info!(action = name, "{what}");
        match self.interrupt.act(action).await {
            Some(result) => Ok(Outcome::Ran(result)),
            None => {
                let signal = self.interrupt.caught().unwrap_or_default();
                Err(Failure::new(Exit::Interrupted(signal), format!("stopped before: {what}")))
            }
        }
    }
}
