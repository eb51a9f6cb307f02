//! The poller: its calls to the hosts, and the changes that follow. Observed on Scalelite 1.8.5.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};

use super::store::{Edit, Loaded, ServerState};
use super::{Scalelite, State};
use crate::bbb::{CallError, Texts};

/// The age below which a meeting counts as at least [`YOUNG_PEOPLE`].
const YOUNG: Duration = Duration::from_secs(15 * 60);
const YOUNG_PEOPLE: u32 = 15;
/// The number of failed polls in a row that take a server offline.
const UNHEALTHY: u32 = 2;

/// The poller's weaknesses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Poller {
    /// The number of hosts that are polled at once.
    pub threads: usize,
    /// The part of the results that is lost when servers were added or deleted since the last poll, between 0 and 1: a
    /// host's load and whether it is online are then a poll late.
    pub lost: f64,
    /// The least and the longest time in seconds for which a host that does not answer keeps a thread busy, beyond the
    /// time that the call to it has taken.
    pub dead_host: (f64, f64),
}

impl Default for Poller {
    /// Returns the four threads of Scalelite 1.8.5, which lose nothing and lose no time.
    fn default() -> Self {
        Self { threads: 4, lost: 0.0, dead_host: (0.0, 0.0) }
    }
}

impl Poller {
    /// Returns what was observed on Scalelite 1.8.5: a host that is dead costs 5 to 20 s of one of four threads.
    /// Within 80 s of joins and leaves, 15 results were lost ("Servers list concurrently modified"); of how many is
    /// not known.
    pub fn as_observed() -> Self {
        Self { lost: 0.3, dead_host: (5.0, 20.0), ..Self::default() }
    }
}

/// A poller that runs until this is dropped.
#[derive(Debug)]
pub struct Polling(tokio::task::JoinHandle<()>);

impl Drop for Polling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What chance has for one server in a poll.
#[derive(Clone, Copy, Debug)]
struct Chance {
    /// It is lost for certain.
    lost: bool,
    /// It is lost if servers were added or deleted since the last poll.
    unlucky: bool,
    /// How long the host is waited for, if it is dead.
    dead_for: Duration,
}

/// A poll whose answers have come but are not saved yet.
#[derive(Debug)]
pub(super) struct Poll {
    /// Each server as it was read, with the people it counted; none when the host did not answer.
    servers: Vec<(Loaded, Option<u32>, Chance)>,
    /// The meetings that their hosts no longer know.
    ended: Vec<String>,
}

impl Scalelite {
    /// Runs a poll after the other, with this time in between, until the result is dropped.
    pub fn keep_polling(self: &Arc<Self>, interval: Duration) -> Polling {
        let scalelite = Arc::clone(self);
        Polling(tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                scalelite.poll().await;
            }
        }))
    }

    /// Runs one complete poll of all servers and meetings. Each server is read at the beginning and saved as soon as
    /// its host has answered.
    pub async fn poll(&self) {
        let Some(read) = self.state().read() else { return };
        stream::iter(read.servers)
            .for_each_concurrent(read.threads, async |(loaded, chance)| {
                let people = self.ask(&loaded, chance).await;
                self.save_result(loaded, people, chance).await;
            })
            .await;
        let ended = self.ended(read.meetings, read.threads).await;
        self.state().end_poll(ended);
    }

    /// Runs the first half of a poll: reads all servers and asks their hosts. Changes before [`Scalelite::poll_end`]
    /// race with the poll, which saves its own changes to the servers as they are now. A load that differs from the
    /// former one puts a server back into the placement set even if it was cordoned or disabled meanwhile.
    pub async fn poll_begin(&self) {
        let mut poll = Poll { servers: Vec::new(), ended: Vec::new() };
        let read = self.state().read();
        if let Some(read) = read {
            let asked = stream::iter(read.servers).map(|(loaded, chance)| async move {
                let people = self.ask(&loaded, chance).await;
                (loaded, people, chance)
            });
            poll.servers = asked.buffered(read.threads).collect().await;
            poll.ended = self.ended(read.meetings, read.threads).await;
        }
        self.state().poll = Some(poll);
    }

    /// Runs the second half of a poll. Returns false when no poll was begun.
    pub async fn poll_end(&self) -> bool {
        let Some(poll) = self.state().poll.take() else { return false };
        if self.state().redis_down {
            return true;
        }
        for (loaded, people, chance) in poll.servers {
            self.save_result(loaded, people, chance).await;
        }
        self.state().end_poll(poll.ended);
        true
    }

    /// Asks a host for its people; none when it does not answer.
    async fn ask(&self, loaded: &Loaded, chance: Chance) -> Option<u32> {
        let people = self.people(loaded).await;
        if people.is_none() && !chance.dead_for.is_zero() {
            tokio::time::sleep(chance.dead_for).await;
        }
        people
    }

    /// Returns the meetings that their hosts no longer know.
    async fn ended(&self, meetings: Vec<(String, Option<Loaded>)>, threads: usize) -> Vec<String> {
        let asked = stream::iter(meetings).map(|(id, server)| async move {
            match server {
                Some(server) => self.is_gone(&server, &id).await.then_some(id),
                // The server was deleted: the record stays.
                None => None,
            }
        });
        asked.buffered(threads).filter_map(std::future::ready).collect().await
    }

    async fn people(&self, Loaded { server, .. }: &Loaded) -> Option<u32> {
        let answer = self.call(server, "getMeetings", &[]).await.ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Some(count(&answer, now))
    }

    async fn is_gone(&self, Loaded { server, .. }: &Loaded, meeting: &str) -> bool {
        let parameters = [("meetingID", meeting)];
        let answer = self.call(server, "getMeetingInfo", &parameters).await;
        matches!(answer, Err(CallError::Refused { key, .. }) if key == "notFound")
    }

    async fn save_result(&self, loaded: Loaded, people: Option<u32>, chance: Chance) {
        let edit = match people {
            Some(people) => self.state().alive(&loaded, people),
            None => self.unanswered(&loaded).await,
        };
        let Some(edit) = edit else { return };
        let mut state = self.state();
        let version = state.store.version();
        if chance.lost || chance.unlucky && version != state.polled || state.redis_down {
            return;
        }
        // A server that was deleted meanwhile stays deleted.
        let _ = state.store.save(loaded, edit, version);
    }

    async fn unanswered(&self, loaded: &Loaded) -> Option<Edit> {
        let meetings = self.state().failed(loaded)?;
        for meeting in meetings {
            // A host that does not answer cannot end a meeting: the poller only warns.
            self.end_mapped(&loaded.server, &meeting).await;
        }
        Some(Edit { load: Some(None), online: Some(false), ..Edit::default() })
    }
}

/// What a poll reads at its beginning.
struct Read {
    servers: Vec<(Loaded, Chance)>,
    meetings: Vec<(String, Option<Loaded>)>,
    threads: usize,
}

impl State {
    /// Begins a poll; none while Redis is down.
    fn read(&mut self) -> Option<Read> {
        if self.redis_down {
            return None;
        }
        self.polls += 1;
        let lost = self.polls_to_lose > 0;
        self.polls_to_lose = self.polls_to_lose.saturating_sub(1);
        let mut servers = Vec::new();
        for loaded in self.store.all() {
            let chance = self.chance(&loaded, lost);
            servers.push((loaded, chance));
        }
        let meetings = self.store.meetings.iter();
        let meetings = meetings.map(|(id, mapped)| (id.clone(), self.store.find(&mapped.server_id)));
        let threads = self.config.poller.threads.max(1);
        Some(Read { meetings: meetings.collect(), servers, threads })
    }

    /// Draws for one server in this poll. Ids are random, and with them the order of the servers: the draw comes from
    /// the order in which they were added.
    fn chance(&self, loaded: &Loaded, lost: bool) -> Chance {
        let mut hasher = DefaultHasher::new();
        (self.config.seed, self.polls, loaded.server.number).hash(&mut hasher);
        let mut rng = fastrand::Rng::with_seed(hasher.finish());
        let poller = &self.config.poller;
        let unlucky = rng.f64() < poller.lost;
        let (least, most) = poller.dead_host;
        let dead_for = Duration::try_from_secs_f64(least + rng.f64() * (most - least)).unwrap_or_default();
        Chance { lost, unlucky, dead_for }
    }

    fn end_poll(&mut self, ended: Vec<String>) {
        if self.redis_down {
            return;
        }
        for meeting in ended {
            self.store.meetings.remove(&meeting);
        }
        self.polled = self.store.version();
    }

    fn alive(&mut self, loaded: &Loaded, people: u32) -> Option<Edit> {
        self.store.unhealthy.remove(&loaded.server.id);
        let load = f64::from(people) * loaded.server.multiplier.value;
        // Redis refuses to store it, and with it the whole record.
        if load.is_nan() {
            return None;
        }
        // A server that was never updated has no state, and then no load either.
        let load_edit = (!loaded.server.is_disabled()).then_some(Some(load));
        let empty = loaded.server.state == Some(ServerState::Cordoned) && load == 0.0;
        let state = empty.then_some(ServerState::Disabled);
        Some(Edit { state, load: load_edit, online: Some(true), ..Edit::default() })
    }

    /// Counts a failed poll; returns the meetings to clear when the server goes offline now.
    fn failed(&mut self, loaded: &Loaded) -> Option<Vec<String>> {
        if !loaded.server.online {
            return None;
        }
        let id = &loaded.server.id;
        let failures = self.store.unhealthy.entry(id.clone()).or_default();
        *failures += 1;
        if *failures < UNHEALTHY {
            return None;
        }
        self.store.unhealthy.remove(id);
        Some(self.store.meetings_of(id))
    }
}

/// Returns the people in the answer to `getMeetings` that count as load, without breakout rooms.
fn count(answer: &str, now: Duration) -> u32 {
    let answer = Texts::read(answer);
    let meetings = answer.all("meeting").into_iter();
    meetings.filter(|meeting| text(meeting, "isBreakout") != "true").map(|meeting| weigh(&meeting, now)).sum()
}

fn weigh(meeting: &Texts<'_>, now: Duration) -> u32 {
    // Ruby's `to_i` reads the digits before a comma.
    let number = |name| -> u32 {
        let text = text(meeting, name);
        text.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
    };
    // Moderators count twice: they are participants too.
    let people: u32 = number("participantCount").saturating_add(number("moderatorCount"));
    let created = Duration::from_millis(text(meeting, "createTime").parse().unwrap_or_default());
    if created + YOUNG > now { people.max(YOUNG_PEOPLE) } else { people }
}

fn text(meeting: &Texts<'_>, name: &str) -> String {
    meeting.first(name).unwrap_or_default()
}
