//! The poller: its calls to the hosts, and what it makes of them. It can undo a cordon, a disable or an enable that
//! comes during its poll, loses whole results beside joins and leaves, and is held up by dead hosts.

use std::time::Duration;

use plan::membership::State as EntryState;
use tokio::time::sleep;

use super::{Edit, Server, end};
use crate::fleet::Machines;
use crate::world::{State, World};

/// The time between two polls.
pub(crate) const POLL: Duration = Duration::from_secs(60);
/// Failed polls in a row that take a server offline.
const UNHEALTHY: u32 = 2;
/// The people that Scalelite counts at least for a meeting younger than 15 minutes, which all meetings without a crowd are.
const PEOPLE: u32 = 15;
/// The hosts that are polled at once.
const THREADS: usize = 4;
/// The least and the longest time in seconds for which a dead host keeps a thread busy.
const DEAD: (f64, f64) = (5.0, 20.0);
/// The part of the results that are lost when entries were added or deleted since the last poll.
pub(crate) const LOST: f64 = 0.3;

/// What the poller has read and not saved yet.
pub(crate) struct Poll {
    /// Each server as it was, with its host's load; none where the host did not answer.
    servers: Vec<(String, Server, Option<f64>)>,
    /// Meetings that their hosts no longer know, with their servers.
    ended: Vec<(String, String)>,
    /// Whether all of it is lost.
    pub(crate) lost: bool,
}

impl World {
    /// Polls the servers, for ever.
    pub(crate) async fn poll(self) {
        loop {
            let every = self.state().terms.as_ref().map_or(POLL, |terms| terms.policy.poll);
            sleep(every).await;
            let poll = self.state().begin_poll();
            // With many servers a poll takes its time, and more with dead ones.
            let most = if self.state().mishap(4) { 14.0 } else { 4.0 };
            self.pause(0.1, most).await;
            let held_up = self.state().held_up(&poll);
            sleep(held_up).await;
            self.state().end_poll(poll);
        }
    }
}

impl Server {
    /// What a poll makes of an answer with this load.
    fn polled(&mut self, read: &Self, load: f64) -> Edit {
        self.failures = 0;
        // An enabling that came meanwhile is overwritten.
        let empty = read.state == EntryState::Cordoned && load == 0.0;
        Edit {
            state: empty.then_some(EntryState::Disabled),
            load: (read.state != EntryState::Disabled).then_some(Some(load)),
            online: Some(true),
        }
    }

    /// What a poll makes of none.
    fn not_polled(&mut self, read: &Self, machines: &mut Machines, now: Duration) -> Option<Edit> {
        if !read.online {
            return None;
        }
        self.failures += 1;
        if self.failures < UNHEALTHY {
            return None;
        }
        self.failures = 0;
        while let Some(meeting) = self.meetings.pop_first() {
            // A host that still does not answer ends nothing.
            end(self, machines, &meeting, now);
        }
        Some(Edit { load: Some(None), online: Some(false), ..Edit::default() })
    }
}

impl State {
    /// The first half of a poll: reads all servers and asks their hosts. What is changed before the second half races
    /// with the poll.
    pub(crate) fn begin_poll(&mut self) -> Poll {
        let now = self.now();
        let mut poll = Poll { servers: Vec::new(), ended: Vec::new(), lost: false };
        for (id, server) in &self.pool.entries {
            let answered = server.is_answered(&self.machines);
            let running = answered.then(|| self.machines.running(&server.host(), now));
            if let Some(running) = &running {
                let ended = server.meetings.difference(running);
                poll.ended.extend(ended.map(|meeting| (id.clone(), meeting.clone())));
            }
            let load = running.map(|_| self.machines.load(&server.host(), PEOPLE, now) * server.multiplier);
            poll.servers.push((id.clone(), server.clone(), load));
        }
        poll
    }

    /// How long the hosts that did not answer hold a poll up.
    fn held_up(&mut self, poll: &Poll) -> Duration {
        let mut threads = [Duration::ZERO; THREADS];
        for _ in poll.servers.iter().filter(|(_, _, load)| load.is_none()) {
            let (least, most) = DEAD;
            let time = Duration::from_secs_f64(least + self.pool.rng.f64() * (most - least));
            // The next thread that is idle takes the next host.
            if let Some(thread) = threads.iter_mut().min() {
                *thread += time;
            }
        }
        threads.into_iter().max().unwrap_or_default()
    }

    /// Whether one result is lost ("Servers list concurrently modified").
    fn loses_result(&mut self, poll: &Poll) -> bool {
        let pool = &mut self.pool;
        poll.lost || pool.rng.f64() < pool.lost && pool.version != pool.polled
    }

    /// The second half: saves what was read, on the servers as they were.
    pub(crate) fn end_poll(&mut self, poll: Poll) {
        let now = self.now();
        for (id, read, load) in &poll.servers {
            let lost = self.loses_result(&poll);
            let Some(server) = self.pool.entries.get_mut(id) else { continue };
            let edit = match load {
                Some(load) => Some(server.polled(read, *load)),
                None => server.not_polled(read, &mut self.machines, now),
            };
            if let Some(edit) = edit.filter(|_| !lost) {
                server.save(read, &edit);
            }
        }
        self.pool.polled = self.pool.version;
        for (id, meeting) in poll.ended {
            if let Some(server) = self.pool.entries.get_mut(&id) {
                server.meetings.remove(&meeting);
            }
        }
    }
}
