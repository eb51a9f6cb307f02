//! The host's place in Scalelite's pool: observe, plan (`plan::membership`), execute, until nothing is left to do.

pub mod enabling;
mod known;
mod note;

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use plan::membership::{self, Action, Desired, Entry, State, Target};
use plan::work::counted;
use secrecy::SecretString;
use tokio::time::timeout_at;

use crate::execute::{Executor, Outcome};
use crate::report::{Exit, Failure, Said};
use crate::retry::{Pace, Patience};
use clients::bbb::Bbb;
use clients::scalelite::{Error, Management, Scalelite, Update};

pub use known::Known;
pub use note::Note;

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
    /// Whether an entry was enabled.
    pub enabled: bool,
    /// The host's entries as last read.
    pub entries: Vec<Entry>,
}

/// The part of a plan that was carried out.
enum CarriedOut {
    /// All of it.
    Whole,
    /// The actions before this one, which Scalelite refused.
    UpTo(Action, Error),
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
    /// The memory of its entries.
    pub known: &'a Known,
    /// Carries out the calls.
    pub executor: &'a Executor,
    /// How long to try.
    pub patience: Patience,
}

/// Who knows what runs on the host: BBB.
pub trait Meetings {
    /// Returns the number of meetings on the host; `None` when BBB does not say.
    fn running(&self) -> impl Future<Output = Option<u32>>;
}

impl Meetings for Bbb {
    async fn running(&self) -> Option<u32> {
        let meetings = self.meetings().await.ok().filter(|meetings| meetings.rest.is_none())?;
        u32::try_from(meetings.listed.len()).ok()
    }
}

impl<M: Management> Pool<'_, M> {
    /// Makes the host have exactly one entry, as desired, that takes meetings if `wanted` is [`State::Enabled`].
    /// Fails where an old entry of the host has to go first, and its meetings go on.
    pub async fn join(
        &self,
        wanted: State,
        desired: &Desired,
        bbb: &impl Meetings,
    ) -> Result<Applied, Failure> {
        let plan = async |entries: &[Entry], _| {
            let meetings = running(bbb, entries).await;
            membership::join(wanted, desired, entries, meetings)
        };
        self.known.forget();
        let applied = self.settle(plan, desired).await?;
        match applied.entries.iter().find(|entry| entry.id_is_host && !entry.url_matches) {
            Some(old) if !self.executor.is_dry_run() => Err(self.blocked_by(old)),
            _ => Ok(applied),
        }
    }

    fn blocked_by(&self, old: &Entry) -> Failure {
        let why = format!(
            "its entry {} has another URL than BBB now, and this Scalelite has one entry for each host name \
             (SERVER_ID_IS_HOSTNAME); the new one is added when the meetings of the old one have ended",
            old.id
        );
        Failure::new(Exit::TryAgain, format!("Scalelite entry {}", self.url)).because(why)
    }

    /// Looks after the host's entry as desired, in the state that it has. A missing one is not added.
    pub async fn keep(&self, desired: &Desired, bbb: &impl Meetings) -> Result<Applied, Failure> {
        let plan = async |entries: &[Entry], _| {
            let meetings = running(bbb, entries).await;
            membership::keep(desired, entries, meetings)
        };
        self.settle(plan, desired).await
    }

    /// Tells whether new meetings can be placed on no other host.
    pub async fn is_last(&self) -> Result<bool, Failure> {
        let mut pace = Pace::remote(self.patience);
        loop {
            match self.scalelite.entries(self.url, self.secret).await {
                Ok(own) => return Ok(own.others == 0),
                Err(error) => self.retry_or_fail(&mut pace, &error).await?,
            }
        }
    }

    /// Lets Scalelite place new meetings elsewhere; the running ones go on.
    pub async fn cordon(&self) -> Result<Applied, Failure> {
        let plan = async |entries: &[Entry], _| membership::cordon(entries);
        // An entry that is not known would get meetings.
        self.known.forget();
        self.settle(plan, &Desired::default()).await
    }

    /// Cordons once more, some polls after [`Pool::cordon`], whose call may have been lost in a poll.
    pub async fn recordon(&self) -> Result<Applied, Failure> {
        let plan = async |entries: &[Entry], carried_out| match carried_out {
            0 => membership::recordon(entries),
            _ => membership::cordon(entries),
        };
        // The meetings may come by an entry that another tool has added.
        self.known.forget();
        self.settle(plan, &Desired::default()).await
    }

    /// Takes all of the host's entries out of the pool. `notes` is told of the one that was kept up, before anything
    /// happens to it.
    pub async fn leave(&self, notes: impl Fn(&Entry)) -> Result<Said, Failure> {
        let plan = async |entries: &[Entry], _| {
            membership::kept(entries).0.into_iter().for_each(&notes);
            membership::leave(entries)
        };
        // Entries that are known go at once: listing a large pool costs Scalelite more than all of that. Only then the pool
        // is listed, for an entry that somebody else has added.
        let by_id = self.known.has_ids();
        let (url, mut done) = (self.url, self.settle(plan, &Desired::default()).await?.done);
        if by_id && !self.executor.is_dry_run() {
            self.known.forget();
            done.extend(self.settle(plan, &Desired::default()).await?.done);
        }
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
        let last = RefCell::new(None);
        match timeout_at(self.patience.deadline(), self.rounds(plan, desired, &last)).await {
            Ok(result) => result,
            Err(_) => {
                Err(Failure::new(Exit::TryAgain, format!("Scalelite entry {}: gave up waiting", self.url))
                    .because(
                        last.take()
                            .unwrap_or_else(|| "Scalelite did not answer all calls in time".to_owned()),
                    )
                    .advise("run the same command again; it goes on where this one stopped"))
            }
        }
    }

    /// Observe, plan, execute, until the plan is empty. Reading back after the last action is the last observation.
    async fn rounds(
        &self,
        plan: impl AsyncFn(&[Entry], u32) -> Vec<Action>,
        desired: &Desired,
        last: &RefCell<Option<String>>,
    ) -> Result<Applied, Failure> {
        let mut pace = Pace::remote(self.patience);
        let (mut done, mut enabled) = (Vec::new(), false);
        let mut rounds = 0;
        loop {
            // Another client changes the entry as often as we do: wait, and only then look.
            if rounds >= ROUNDS {
                pace.again("Scalelite", &"this host's entry does not stay as it was set").await?;
            }
            let known = self.known.entries(self.scalelite, self.url, self.secret, rounds > 0);
            let entries = match known.await {
                Ok(entries) => entries,
                Err(error) => {
                    last.replace(Some(error.to_string()));
                    self.retry_or_fail(&mut pace, &error).await?;
                    continue;
                }
            };
            let actions = plan(&entries, rounds).await;
            if actions.is_empty() {
                return Ok(Applied { done, enabled, entries });
            }
            match self.carry_out(&actions, desired, &mut done, last).await? {
                CarriedOut::Whole => {
                    rounds += 1;
                    enabled |= actions.iter().any(|action| matches!(action, Action::Enable(_)));
                }
                CarriedOut::UpTo(action, error) => {
                    // Only an entry that may have been added has an id that nobody knows.
                    if action == Action::Add {
                        self.known.forget();
                    }
                    last.replace(Some(error.to_string()));
                    self.retry_or_fail(&mut pace, &error).await?;
                }
            }
            if self.executor.is_dry_run() {
                return Ok(Applied { done, enabled, entries });
            }
        }
    }

    /// Carries out one plan, in order, up to the first error.
    async fn carry_out(
        &self,
        actions: &[Action],
        desired: &Desired,
        done: &mut Vec<String>,
        last: &RefCell<Option<String>>,
    ) -> Result<CarriedOut, Failure> {
        let mut added = String::new();
        for action in actions {
            let what = format!("Scalelite: {action}");
            let outcome =
                self.executor.run(action.name(), &what, self.call(action, desired, &added, last)).await?;
            match outcome {
                Outcome::Shown => {}
                Outcome::Ran(Ok(Some(id))) => {
                    self.known.added(&id);
                    added = id;
                }
                Outcome::Ran(Ok(None)) => {}
                Outcome::Ran(Err(error)) => return Ok(CarriedOut::UpTo(action.clone(), error)),
            }
            done.push(action.to_string());
        }
        Ok(CarriedOut::Whole)
    }

    /// One call to Scalelite; the id of the entry that it added, if it did.
    async fn call(
        &self,
        action: &Action,
        desired: &Desired,
        added: &str,
        last: &RefCell<Option<String>>,
    ) -> Result<Option<String>, Error> {
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
            Action::Panic(target) => self.panic(&id(target), last).await?,
            Action::Delete(target) => self.scalelite.delete(&id(target)).await?,
        }
        Ok(None)
    }

    /// Panics until Scalelite says that all meetings are ended and forgotten: it gives up at the first meeting that
    /// cannot be ended, having forgotten that one. A BBB that hangs costs it 20 s a meeting; what is left when the
    /// time is over is said exactly.
    async fn panic(&self, id: &str, last: &RefCell<Option<String>>) -> Result<(), Error> {
        let say = |forgotten: u32, why: &str| {
            last.replace(Some(format!(
                "entry {id} is disabled, and Scalelite has forgotten {}, but may have more: {why}; the next start of the \
                 service or the sweep of another host goes on",
                counted(forgotten.into(), "meeting of it", "meetings of it"),
            )));
        };
        say(0, "it has not answered yet, because BBB does not answer it");
        let patience = Patience::quietly(self.patience.deadline());
        let mut pace = Pace::new(patience, Duration::from_millis(50), Duration::from_millis(500));
        for forgotten in 1..PANICS {
            match self.scalelite.panic(id).await {
                Err(error @ Error::PanicIncomplete { .. }) => {
                    say(forgotten, &error.to_string());
                    if !pace.look_again().await {
                        return Err(error);
                    }
                    tracing::debug!("{error}; panicking again");
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
