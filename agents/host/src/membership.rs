//! The host's place in Scalelite's pool: observe, plan (`plan::membership`), execute, until nothing is left to do.

use std::future::Future;
use std::time::Duration;

use plan::membership::{self, Action, Desired, Entry, State, Target};
use secrecy::SecretString;
use tokio::time::{Instant, timeout_at};

use crate::execute::{Executor, Outcome};
use crate::report::{Exit, Failure, Said};
use crate::retry::Pace;
use clients::bbb::Bbb;
use clients::scalelite::{Error, Management, Scalelite, Update};

/// The number of tries to panic one entry. Each refusal drops one meeting record of the entry (observed on Scalelite
/// 1.8.5), so this is also how many meetings one host may have had.
const PANICS: u32 = 500;

/// The longest plan takes so many looks: cordon, disable, delete an entry with an old URL, then add one.
const ROUNDS: u32 = 5;

/// A plan that was applied to the pool.
#[derive(Debug, PartialEq)]
pub struct Applied {
    /// The changes that were made, or would be made, in words; empty when all was as desired.
    pub done: Vec<String>,
    /// The host's entries as last read.
    pub entries: Vec<Entry>,
}

/// The part of a plan that was carried out.
enum CarriedOut {
    /// All of it.
    Whole,
    /// The actions before the one that Scalelite refused.
    UpTo(Error),
}

/// The host as Scalelite knows it, with the means to change that.
#[derive(Debug)]
pub struct Pool<'a, M = Scalelite> {
    /// Scalelite's management API.
    pub scalelite: &'a M,
    /// The host's server URL, normalised.
    pub url: &'a str,
    /// The secret of BBB on this host. Leaving needs none: it may be empty then.
    pub secret: &'a SecretString,
    /// Carries out the calls.
    pub executor: &'a Executor,
    /// When to give up.
    pub deadline: Instant,
}

/// Who knows what runs on the host: BBB.
pub trait Meetings {
    /// Returns the number of meetings on the host; `None` when BBB does not say.
    fn running(&self) -> impl Future<Output = Option<u32>>;
}

impl Meetings for Bbb {
    async fn running(&self) -> Option<u32> {
        u32::try_from(self.meetings().await.ok()?.len()).ok()
    }
}

impl<M: Management> Pool<'_, M> {
    /// Makes the host take meetings through exactly one entry, as desired.
    pub async fn join(&self, desired: &Desired, bbb: &impl Meetings) -> Result<Applied, Failure> {
        let plan =
            async |entries: &[Entry], _| membership::join(desired, entries, running(bbb, entries).await);
        self.settle(plan, desired).await
    }

    /// Looks after the host's entry as desired, in the state that it has. A missing one is not added.
    pub async fn keep(&self, desired: &Desired, bbb: &impl Meetings) -> Result<Applied, Failure> {
        let plan = async |entries: &[Entry], _| {
            let meetings = running(bbb, entries).await;
            membership::keep(desired, entries, meetings)
        };
        self.settle(plan, desired).await
    }

    /// Lets Scalelite place new meetings elsewhere; the running ones go on.
    pub async fn cordon(&self) -> Result<Applied, Failure> {
        let plan = async |entries: &[Entry], _| membership::cordon(entries);
        self.settle(plan, &Desired::default()).await
    }

    /// Cordons once more, some polls after [`Pool::cordon`], whose call may have been lost in a poll.
    pub async fn recordon(&self) -> Result<Applied, Failure> {
        let plan = async |entries: &[Entry], carried_out| match carried_out {
            0 => membership::recordon(entries),
            _ => membership::cordon(entries),
        };
        self.settle(plan, &Desired::default()).await
    }

    /// Ends the meetings and lets nobody join, but keeps the host's entries: it will be back.
    pub async fn disable(&self) -> Result<Applied, Failure> {
        let plan = async |entries: &[Entry], carried_out| {
            let ended = |entry: &&Entry| carried_out > 0 && entry.state == State::Disabled;
            let left: Vec<Entry> = entries.iter().filter(|entry| !ended(entry)).cloned().collect();
            membership::disable(&left)
        };
        self.settle(plan, &Desired::default()).await
    }

    /// Takes all of the host's entries out of the pool.
    pub async fn leave(&self) -> Result<Said, Failure> {
        let plan = async |entries: &[Entry], _| membership::leave(entries);
        let (url, done) = (self.url, self.settle(plan, &Desired::default()).await?.done);
        Ok(match done.as_slice() {
            [] => Said::Nothing(format!("scalelite: {url} is not there, nothing to do")),
            _ if self.executor.is_dry_run() => Said::Shown,
            actions => Said::Done(format!("scalelite: {url} removed: {}", actions.join(", "))),
        })
    }

    /// The whole loop, within the deadline: what a slow Scalelite leaves undone, the next run does. `plan` is also told
    /// how many plans were carried out whole.
    async fn settle(
        &self,
        plan: impl AsyncFn(&[Entry], u32) -> Vec<Action>,
        desired: &Desired,
    ) -> Result<Applied, Failure> {
        // The last failure says more than that the time is over.
        let mut last = None;
        match timeout_at(self.deadline, self.rounds(plan, desired, &mut last)).await {
            Ok(result) => result,
            Err(_) => {
                Err(Failure::new(Exit::TryAgain, format!("Scalelite entry {}: gave up waiting", self.url))
                    .because(last.unwrap_or_else(|| "Scalelite did not answer all calls in time".to_owned()))
                    .advise("run the same command again; it goes on where this one stopped"))
            }
        }
    }

    /// Observe, plan, execute, until the plan is empty. Reading back after the last action is the last observation.
    async fn rounds(
        &self,
        plan: impl AsyncFn(&[Entry], u32) -> Vec<Action>,
        desired: &Desired,
        last: &mut Option<String>,
    ) -> Result<Applied, Failure> {
        let mut pace = Pace::remote(self.deadline);
        let mut done = Vec::new();
        let mut rounds = 0;
        loop {
            // Another client changes the entry as often as we do: wait, and only then look.
            if rounds >= ROUNDS {
                pace.again("Scalelite", &"this host's entry does not stay as it was set").await?;
            }
            let entries = match self.scalelite.entries(self.url, self.secret).await {
                Ok(entries) => entries,
                Err(error) => {
                    *last = Some(error.to_string());
                    self.retry_or_fail(&mut pace, &error).await?;
                    continue;
                }
            };
            let actions = plan(&entries, rounds).await;
            if actions.is_empty() {
                return Ok(Applied { done, entries });
            }
            match self.carry_out(&actions, desired, &mut done).await? {
                CarriedOut::Whole => rounds += 1,
                CarriedOut::UpTo(error) => {
                    *last = Some(error.to_string());
                    self.retry_or_fail(&mut pace, &error).await?;
                }
            }
            if self.executor.is_dry_run() {
                return Ok(Applied { done, entries });
            }
        }
    }

    /// Carries out one plan, in order, up to the first error.
    async fn carry_out(
        &self,
        actions: &[Action],
        desired: &Desired,
        done: &mut Vec<String>,
    ) -> Result<CarriedOut, Failure> {
        let mut added = String::new();
        for action in actions {
            let what = format!("Scalelite: {action}");
            let outcome = self.executor.run(action.name(), &what, self.call(action, desired, &added)).await?;
            match outcome {
                Outcome::Shown => {}
                Outcome::Ran(Ok(Some(id))) => added = id,
                Outcome::Ran(Ok(None)) => {}
                Outcome::Ran(Err(error)) => return Ok(CarriedOut::UpTo(error)),
            }
            done.push(action.to_string());
        }
        Ok(CarriedOut::Whole)
    }

    /// One call to Scalelite; the id of the entry that it added, if it did.
    async fn call(&self, action: &Action, desired: &Desired, added: &str) -> Result<Option<String>, Error> {
        let id = |target: &Target| match target {
            Target::Entry(id) => id.clone(),
            Target::Added => added.to_owned(),
        };
        match action {
            Action::Add => {
                let tag = desired.tag.as_deref();
                return self.scalelite.add(self.url, self.secret, desired.multiplier, tag).await.map(Some);
            }
            Action::Update(target, update) => {
                let secret = update.secret.then_some(self.secret);
                let update = Update { secret, tag: update.tag.as_deref(), multiplier: update.multiplier };
                self.scalelite.update(&id(target), update).await?;
            }
            Action::Enable(target) => self.scalelite.enable(&id(target)).await?,
            Action::Cordon(target) => self.scalelite.cordon(&id(target)).await?,
            Action::Disable(target) => self.scalelite.disable(&id(target)).await?,
            Action::Panic(target) => self.panic(&id(target)).await?,
            Action::Delete(target) => self.scalelite.delete(&id(target)).await?,
        }
        Ok(None)
    }

    /// Panics until Scalelite says that all meetings are ended and forgotten: it gives up at the first meeting that
    /// cannot be ended, having forgotten that one.
    async fn panic(&self, id: &str) -> Result<(), Error> {
        let mut pace = Pace::new(self.deadline, Duration::from_millis(50), Duration::from_millis(500));
        for _ in 1..PANICS {
            match self.scalelite.panic(id).await {
                Err(error @ Error::PanicIncomplete { .. }) if pace.look_again().await => {
                    tracing::info!("{error}; panicking again");
                }
                result => return result,
            }
        }
        self.scalelite.panic(id).await
    }

    async fn retry_or_fail(&self, pace: &mut Pace, error: &Error) -> Result<(), Failure> {
        if error.is_retryable() {
            return pace.again(&format!("Scalelite entry {}", self.url), error).await;
        }
        Err(Failure::new(Exit::Failed, format!("Scalelite entry {}", self.url))
            .because(error)
            .advise("check scalelite.url and scalelite.secret, for example with the command check"))
    }
}

/// Returns the number of meetings on the host; `None` when BBB does not say, and when it is not asked: only superfluous
/// entries need to know.
async fn running(bbb: &impl Meetings, entries: &[Entry]) -> Option<u32> {
    if membership::kept(entries).1.is_empty() {
        return None;
    }
    bbb.running().await
}
