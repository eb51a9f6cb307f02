//! Scalelite with its poller, as observed on 1.8.5 (an added entry is disabled; adding a URL twice makes two entries;
//! a panic that cannot end a meeting forgets the meeting and reports an error; the poller can undo a cordon, a disable
//! or an enable that comes during its poll), and the people who hold meetings there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clients::scalelite::{Error, Management, Update};
use plan::instance::InstanceId;
use plan::membership::{Entry, State as EntryState, host_of};
use plan::record::Name;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::sleep;

use crate::world::{Lost, Service, State, World};

/// The interval at which the servers are polled.
pub(crate) const POLL: Duration = Duration::from_secs(60);

/// The entries; new meetings go to some of them.
#[derive(Default)]
pub(crate) struct Pool {
    pub(crate) entries: BTreeMap<String, Server>,
    next: u32,
    meetings: u32,
    /// The number of calls that have changed something.
    pub(crate) writes: u64,
}

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Server {
    pub(crate) url: String,
    secret: String,
    pub(crate) state: EntryState,
    online: bool,
    /// Whether new meetings are placed here, which does not always follow from the state.
    pub(crate) placed: bool,
    load: Option<f64>,
    multiplier: f64,
    tag: String,
    /// The meetings that Scalelite believes to be here.
    meetings: BTreeSet<String>,
}

impl Server {
    pub(crate) fn new(url: &str, secret: &str) -> Self {
        Self {
            url: url.to_owned(),
            secret: secret.to_owned(),
            state: EntryState::Disabled,
            online: false,
            placed: false,
            load: None,
            multiplier: 1.0,
            tag: String::new(),
            meetings: BTreeSet::new(),
        }
    }

    /// Returns an enabled copy, as a second entry for its host.
    pub(crate) fn again(&self) -> Self {
        Self { state: EntryState::Enabled, ..Self::new(&self.url, &self.secret) }
    }

    /// Returns the host's name.
    pub(crate) fn host(&self) -> Name {
        Name::remote(host_of(&self.url).unwrap_or_default())
    }

    fn shown(&self, id: &str, url: &str, secret: &SecretString) -> Entry {
        Entry {
            id: id.to_owned(),
            state: self.state,
            online: self.online,
            load: self.load,
            multiplier: Some(self.multiplier),
            tag: Some(self.tag.clone()),
            secret_matches: self.secret == secret.expose_secret(),
            url_matches: self.url == url,
        }
    }
}

impl State {
    /// Adds an entry as an outsider does.
    pub(crate) fn add_entry(&mut self, server: Server) -> String {
        self.pool.next += 1;
        let id = format!("entry-{:03}", self.pool.next);
        self.pool.entries.insert(id.clone(), server);
        id
    }

    /// Sets an entry's state, by an agent or an outsider.
    pub(crate) fn set_entry(&mut self, id: &str, to: EntryState) {
        let Some(server) = self.pool.entries.get_mut(id) else { return };
        // The entry leaves the placement set only when its state changes: repeating the same call does not help.
        if server.state != to && to != EntryState::Enabled {
            server.placed = false;
        }
        server.state = to;
    }

    fn write(&mut self, who: &InstanceId, what: &str, id: &str) -> Result<(), Error> {
        self.pool.writes += 1;
        self.note(format_args!("{who}: Scalelite {what} {id}"));
        let Some(server) = self.pool.entries.get(id) else {
            return Err(Error::Http {
                action: format!("{what} entry {id}"),
                status: 404,
                message: format!("Couldn't find server with id={id}"),
            });
        };
        let host = server.host();
        if self.machines.name(who) != Some(&host) && !self.machines.name_is_of_the_dead(&host) {
            self.breaks("another's entry was changed", format_args!("{who}: {what} {id} of {host}"));
        }
        Ok(())
    }

    fn set(&mut self, who: &InstanceId, what: &str, id: &str, to: EntryState) -> Result<(), Error> {
        self.write(who, what, id)?;
        match to {
            EntryState::Disabled => self.judge_ending(who, id, "nobody can join a meeting any more"),
            EntryState::Enabled | EntryState::Cordoned => {}
        }
        self.set_entry(id, to);
        Ok(())
    }

    /// Checks that a host which leaves or has left lets no meetings in any more. A call that was sent before may still
    /// arrive.
    fn judge_coming(&mut self, who: &InstanceId, what: &str) {
        let state = self.machines.state(who);
        if matches!(state, "leaving" | "unregistered" | "stopping" | "ended") {
            self.breaks("it came after leaving", format_args!("{who}: {what} in state {state}"));
        }
    }

    /// Checks promise 3: no planned event ends a meeting before its time.
    fn judge_ending(&mut self, who: &InstanceId, id: &str, what: &str) {
        let now = self.now();
        let Some(host) = self.pool.entries.get(id).map(Server::host) else { return };
        let Some(machine) = self.machines.of_name(&host) else { return };
        let meetings = self.pool.entries.get(id).map(|server| server.meetings.clone()).unwrap_or_default();
        // An agent could not yet have seen a meeting that has only just begun.
        let running = meetings.iter().filter(|meeting| {
            machine.meetings.get(*meeting).is_some_and(|(since, _)| *since + Duration::from_secs(45) < now)
        });
        let count = running.count();
        let allowed = !machine.alive || machine.excuse.is_some_and(|excuse| excuse <= now);
        if count > 0 && !allowed {
            let excuse = machine.excuse;
            self.breaks(
                "a planned event ended a meeting",
                format_args!("{who} at {id}: {what} ({count} running, allowed from {excuse:?})"),
            );
        }
    }

    fn add(&mut self, who: &InstanceId, url: &str, secret: &SecretString) -> Result<String, Error> {
        let action = || format!("add {url}");
        if self.mishap(8) {
            return Err(Error::Conflict { action: action(), status: 500, message: "collision".to_owned() });
        }
        self.pool.writes += 1;
        let id = self.add_entry(Server::new(url, secret.expose_secret()));
        self.note(format_args!("{who}: Scalelite add {url}: {id}"));
        let host = Name::remote(host_of(url).unwrap_or_default());
        if self.machines.name(who) != Some(&host) {
            self.breaks("a wrong host was added", format_args!("{who}: {url}"));
        }
        Ok(id)
    }

    fn panic(&mut self, who: &InstanceId, id: &str) -> Result<(), Error> {
        self.write(who, "panic", id)?;
        self.judge_ending(who, id, "its meetings were ended");
        let Some(server) = self.pool.entries.get_mut(id) else { return Ok(()) };
        let host = server.host();
        while let Some(meeting) = server.meetings.pop_first() {
            if !self.machines.end_meeting(&host, &meeting) {
                // The meeting is gone already, or the host does not answer.
                return Err(Error::PanicIncomplete {
                    id: id.to_owned(),
                    message: format!("Couldn't disable server id={id}"),
                });
            }
        }
        self.set_entry(id, EntryState::Disabled);
        Ok(())
    }

    fn delete(&mut self, who: &InstanceId, id: &str) -> Result<(), Error> {
        match self.write(who, "delete", id) {
            Err(error) if error.is_gone() => return Ok(()),
            other => other?,
        }
        let meetings = self.pool.entries.get(id).map_or(0, |server| server.meetings.len());
        let leaks = self.pool.entries.get(id).is_some_and(|server| server.placed);
        if meetings > 0 && !leaks {
            self.breaks("an entry with meetings was deleted", format_args!("{who}: {id} with {meetings}"));
        }
        self.pool.entries.remove(id);
        Ok(())
    }
}

impl World {
    /// Polls the servers, for ever.
    pub(crate) async fn poll(self) {
        loop {
            sleep(POLL).await;
            let read: Vec<(String, EntryState, Option<usize>)> = {
                let state = self.state();
                let read = |(id, server): (&String, &Server)| {
                    (id.clone(), server.state, state.machines.answers(&server.host()))
                };
                state.pool.entries.iter().map(read).collect()
            };
            self.pause(0.1, 4.0).await;
            for (id, entry, load) in read {
                self.state().polled(&id, entry, load);
            }
        }
    }

    /// Begins meetings where Scalelite places them, until night.
    pub(crate) async fn meet(self) {
        loop {
            self.pause(20.0, 160.0).await;
            let mut state = self.state();
            if state.night {
                return;
            }
            let places: Vec<String> = state
                .pool
                .entries
                .iter()
                .filter(|(_, server)| server.placed && server.online)
                .map(|(id, _)| id.clone())
                .collect();
            if places.is_empty() {
                continue;
            }
            let index = state.rng.usize(0..places.len());
            let (now, length) = (state.now(), state.between(30.0, 700.0));
            let Some(id) = places.get(index) else { continue };
            state.pool.meetings += 1;
            let meeting = format!("meeting-{}", state.pool.meetings);
            let Some(host) = state.pool.entries.get(id).map(Server::host) else { continue };
            if state.machines.begin_meeting(&host, &meeting, now, now + length) {
                state.note(format_args!("{meeting} begins at {host} by {id}"));
                if let Some(server) = state.pool.entries.get_mut(id) {
                    server.meetings.insert(meeting);
                }
            }
        }
    }
}

impl State {
    /// Writes the result of a poll, with the state that was read before it.
    fn polled(&mut self, id: &str, before: EntryState, load: Option<usize>) {
        let now = self.now();
        let Some(host) = self.pool.entries.get(id).map(Server::host) else { return };
        let running = self.machines.running(&host, now);
        let Some(server) = self.pool.entries.get_mut(id) else { return };
        server.online = load.is_some();
        server.load = load.map(|meetings| meetings as f64);
        match load {
            // Scalelite forgets the meetings of a host that does not answer.
            None => server.meetings.clear(),
            Some(_) => server.meetings.retain(|meeting| running.contains(meeting)),
        }
        match before {
            EntryState::Enabled => server.placed = server.online,
            EntryState::Cordoned if load == Some(0) => {
                // An enabling during the poll is overwritten.
                server.state = EntryState::Disabled;
                server.placed = false;
            }
            EntryState::Cordoned | EntryState::Disabled => {}
        }
    }
}

/// A client for Scalelite's management API, used by one instance.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) world: World,
    pub(crate) who: InstanceId,
}

impl Client {
    async fn ask<T>(
        &self,
        action: &str,
        act: impl FnOnce(&mut State, &InstanceId) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let who = &self.who;
        let answer = self.world.call(Service::Scalelite, who, |state| act(state, who)).await;
        let action = action.to_owned();
        match answer {
            Ok(answer) => answer,
            Err(Lost::Silence) => Err(Error::Transport { action, words: "no answer in time".to_owned() }),
            Err(Lost::Refused) => {
                let message = "Servers list concurrently modified".to_owned();
                Err(Error::Conflict { action, status: 400, message })
            }
        }
    }
}

impl Management for Client {
    async fn entries(&self, url: &str, secret: &SecretString) -> Result<Vec<Entry>, Error> {
        let host = Name::remote(host_of(url).unwrap_or_default());
        self.ask("list the servers", |state, _| {
            let own = state.pool.entries.iter().filter(|(_, server)| server.host() == host);
            Ok(own.map(|(id, server)| server.shown(id, url, secret)).collect())
        })
        .await
    }

    async fn names(&self) -> Result<BTreeSet<Name>, Error> {
        self.ask("list the servers", |state, _| Ok(state.pool.entries.values().map(Server::host).collect()))
            .await
    }

    async fn add(
        &self,
        url: &str,
        secret: &SecretString,
        _: Option<f64>,
        _: Option<&str>,
    ) -> Result<String, Error> {
        self.world.state().judge_coming(&self.who, "add");
        self.ask("add", |state, who| state.add(who, url, secret)).await
    }

    async fn update(&self, id: &str, update: Update<'_>) -> Result<(), Error> {
        self.ask("update", |state, who| {
            state.write(who, "update", id)?;
            if let (Some(server), Some(secret)) = (state.pool.entries.get_mut(id), update.secret) {
                server.secret = secret.expose_secret().to_owned();
            }
            Ok(())
        })
        .await
    }

    async fn enable(&self, id: &str) -> Result<(), Error> {
        self.world.state().judge_coming(&self.who, "enable");
        self.ask("enable", |state, who| {
            let now = state.now();
            state.machine(who).enabled = now;
            state.set(who, "enable", id, EntryState::Enabled)
        })
        .await
    }

    async fn cordon(&self, id: &str) -> Result<(), Error> {
        self.ask("cordon", |state, who| state.set(who, "cordon", id, EntryState::Cordoned)).await
    }

    async fn disable(&self, id: &str) -> Result<(), Error> {
        self.ask("disable", |state, who| state.set(who, "disable", id, EntryState::Disabled)).await
    }

    async fn panic(&self, id: &str) -> Result<(), Error> {
        self.ask("panic", |state, who| state.panic(who, id)).await
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.ask("delete", |state, who| state.delete(who, id)).await
    }
}
