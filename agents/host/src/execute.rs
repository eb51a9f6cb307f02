//! The only place where the agents change anything outside: so the only dry-run switch, and the only place that knows
//! what is under way when a signal comes.

use std::future::Future;

use tracing::info;

use crate::interrupt::Interrupt;
use crate::report::{self, Exit, Failure};

/// Carries out actions, or only says what it would do.
#[derive(Clone, Debug)]
pub struct Executor {
    interrupt: Interrupt,
    dry_run: bool,
}

/// How an action ended.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It was carried out, with this result.
    Ran(T),
    /// It was only shown.
    Shown,
}

impl Executor {
    /// With `dry_run`, actions are printed and not carried out.
    pub fn new(interrupt: Interrupt, dry_run: bool) -> Self {
        Self { interrupt, dry_run }
    }

    /// Whether actions are only shown.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Carries out one action. `name` is its kind in a word, by which the journal is filtered (`ACTION`); `what` says on
    /// what object. Fails when a signal came before it began.
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
