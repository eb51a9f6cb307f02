//! Scalelite with its poller, as observed on 1.8.5 (an added entry is disabled; adding a URL twice makes two entries;
//! a panic that cannot end a meeting forgets the meeting and reports an error; changes fail now and then although
//! nobody else makes any), and the people who hold meetings there.

mod connections;
mod poller;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clients::scalelite::{Error, Management, Own, Update};
use plan::instance::InstanceId;
use plan::membership::{Entry, State as EntryState, host_of, normalise_url};
use plan::record::Name;
use secrecy::{ExposeSecret, SecretString};

use crate::bbb::Gathering;
use crate::fleet::{BBB_SECRET, Machines};
use crate::services::Stored;
use crate::world::{Lost, Service, State, World};

use self::connections::Connections;
pub(crate) use self::poller::{POLL, Poll};

/// Scalelite's words for a save that failed because of another one.
const CONFLICT: &str = "Servers list concurrently modified";

/// The entries; new meetings go to some of them.
pub(crate) struct Pool {
    pub(crate) entries: BTreeMap<String, Server>,
    /// A number that changes whenever an entry is added or deleted.
    version: u64,
    /// That number when the last poll ended.
    polled: u64,
    connections: Connections,
    /// The part of the poller's results that are lost beside joins and leaves.
    pub(crate) lost: f64,
    /// For the poller, whose lapses do not change what else is drawn.
    rng: fastrand::Rng,
    next: u32,
    meetings: u32,
    /// The number of calls that have changed something.
    pub(crate) writes: u64,
}

impl Pool {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            version: 0,
            polled: 0,
            connections: Connections::new(seed),
            lost: poller::LOST,
            rng: fastrand::Rng::with_seed(seed),
            next: 0,
            meetings: 0,
            writes: 0,
        }
    }

    /// Deletes an entry, by an agent or an outsider.
    pub(crate) fn remove(&mut self, id: &str) {
        if self.entries.remove(id).is_some() {
            self.version += 1;
        }
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Server {
    pub(crate) url: String,
    /// The host's name; an empty one where the URL leads nowhere.
    host: Name,
    secret: String,
    pub(crate) state: EntryState,
    /// Whether it was never given a state: it is shown as disabled, and to disable it is a change.
    fresh: bool,
    online: bool,
    /// The load in the set from which new meetings are placed. It may stand there whatever the state is.
    placed: Option<f64>,
    /// The load in the set of cordoned servers.
    cordoned: Option<f64>,
    multiplier: f64,
    tag: String,
    /// The meetings that Scalelite believes to be here.
    meetings: BTreeSet<String>,
    /// Failed polls in a row.
    failures: u32,
}

/// A change to an entry, as it is saved; a field that is none stays as it is.
#[derive(Default)]
struct Edit {
    state: Option<EntryState>,
    load: Option<Option<f64>>,
    online: Option<bool>,
}

impl Server {
    pub(crate) fn new(url: &str, secret: &str) -> Self {
        Self {
            url: url.to_owned(),
            host: Name::remote(normalise_url(url).as_deref().and_then(host_of).unwrap_or_default()),
            secret: secret.to_owned(),
            state: EntryState::Disabled,
            fresh: true,
            online: false,
            placed: None,
            cordoned: None,
            multiplier: 1.0,
            tag: String::new(),
            meetings: BTreeSet::new(),
            failures: 0,
        }
    }

    /// Returns an enabled copy, as a second entry for its host.
    pub(crate) fn again(&self) -> Self {
        Self { state: EntryState::Enabled, fresh: false, ..Self::new(&self.url, &self.secret) }
    }

    pub(crate) fn host(&self) -> Name {
        self.host.clone()
    }

    /// Whether new meetings can be placed here, which is not always what the state says.
    pub(crate) fn is_placed(&self) -> bool {
        self.placed.is_some()
    }

    /// The load by which it is chosen for new meetings, if any are placed here.
    pub(crate) fn rank(&self) -> Option<f64> {
        self.placed
    }

    /// Its load as Scalelite reads and shows it.
    fn load(&self) -> Option<f64> {
        match self.state {
            EntryState::Enabled => self.placed,
            EntryState::Cordoned => self.cordoned,
            EntryState::Disabled => None,
        }
    }

    /// Whether BBB on its host answers to this entry's secret.
    fn is_answered(&self, machines: &Machines) -> bool {
        self.secret == BBB_SECRET && machines.answers(&self.host())
    }

    fn changes_to(&self, state: Option<EntryState>) -> bool {
        state.is_some_and(|state| state != self.state || self.fresh)
    }

    /// Saves what was changed on a copy that was read before; anything else stays as others have left it meanwhile.
    fn save(&mut self, read: &Self, edit: &Edit) {
        let state = edit.state.unwrap_or(read.state);
        let state_changed = read.changes_to(edit.state);
        if state_changed {
            self.state = state;
            self.fresh = false;
        }
        if let Some(online) = edit.online.filter(|online| *online != read.online) {
            self.online = online;
        }
        let load = edit.load.unwrap_or(read.load());
        let (target, other) = match state {
            EntryState::Enabled => (&mut self.placed, &mut self.cordoned),
            EntryState::Cordoned => (&mut self.cordoned, &mut self.placed),
            EntryState::Disabled if state_changed => {
                (self.placed, self.cordoned) = (None, None);
                return;
            }
            // Nothing takes a disabled server out of the sets again.
            EntryState::Disabled => return,
        };
        if state_changed {
            let carried = other.take();
            *target = load.or(carried).or(*target);
        } else if load != read.load() {
            *target = load;
        }
    }

    pub(crate) fn stored(&self) -> Stored {
        Stored {
            state: self.state,
            online: self.online,
            load: self.load(),
            placed: self.is_placed(),
            meetings: self.meetings.clone(),
        }
    }

    fn shown(&self, id: &str, url: &str, secret: &SecretString) -> Entry {
        Entry {
            id: id.to_owned(),
            id_is_host: false,
            state: self.state,
            online: self.online,
            load: self.load(),
            multiplier: Some(self.multiplier),
            tag: Some(self.tag.clone()),
            secret_matches: self.secret == secret.expose_secret(),
            url_matches: normalise_url(&self.url).as_deref() == Some(url),
        }
    }
}

/// A text that is more than white space: Scalelite takes any other for none.
fn present(text: &str) -> Option<&str> {
    (!text.trim().is_empty()).then_some(text)
}

/// A refusal of a call that can never be done, in Scalelite's words.
fn bad_request(action: &str, message: &str) -> Error {
    Error::Http { action: action.to_owned(), status: 400, message: message.to_owned() }
}

impl State {
    /// Adds an entry as an outsider does.
    pub(crate) fn add_entry(&mut self, server: Server) -> String {
        self.pool.next += 1;
        self.pool.version += 1;
        let id = format!("entry-{:03}", self.pool.next);
        self.pool.entries.insert(id.clone(), server);
        id
    }

    /// Sets an entry's state, by an agent or an outsider.
    pub(crate) fn set_entry(&mut self, id: &str, to: EntryState) {
        let Some(server) = self.pool.entries.get_mut(id) else { return };
        // Out of the placement set only when the state changes: repeating the same call does not help.
        server.save(&server.clone(), &Edit { state: Some(to), ..Edit::default() });
    }

    /// Sends what is to be written for a call, if anything is. Fails where a `WATCH` was left that has failed since.
    fn commit(&mut self, changes: bool, action: impl FnOnce() -> String) -> Result<(), Error> {
        let version = self.pool.version;
        if !changes {
            self.pool.connections.leave(version);
            return Ok(());
        }
        if self.pool.connections.execute(version) {
            return Ok(());
        }
        self.note(format_args!("a watch that was left makes a change fail"));
        Err(Error::Conflict { action: action(), status: 400, message: CONFLICT.to_owned() })
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
        let changes = self.pool.entries.get(id).is_some_and(|server| server.changes_to(Some(to)));
        self.commit(changes, || format!("{what} entry {id}"))?;
        self.set_entry(id, to);
        Ok(())
    }

    /// Checks that a host which leaves or has left lets no meetings in any more. A call that was sent before may still
    /// arrive.
    fn judge_coming(&mut self, who: &InstanceId, what: &str) {
        let state = self.machines.state(who);
        // A stop that cordons cordons again what a poll has put back, which enables it for a moment.
        let again = what == "enable" && state == "stopping" && self.machine(who).only_cordons;
        if matches!(state, "leaving" | "unregistered" | "stopping" | "ended") && !again {
            self.breaks("it came after leaving", format_args!("{who}: {what} in state {state}"));
        }
    }

    /// Checks that a host which is to take no new meetings does not join for them.
    fn judge_enabling(&mut self, who: &InstanceId) {
        let machine = self.machine(who);
        if machine.rest_since.is_some() && machine.state == "joining" {
            self.breaks("a host that is to rest was enabled", who);
        }
    }

    /// Checks that a host which the agent has cordoned gets no meetings for long: Scalelite's poller may put it back,
    /// which shows with the first meeting that comes nevertheless.
    fn judge_placing(&mut self, id: &str, meeting: &str) {
        let (now, calm) = (self.now(), self.calm_since);
        let Some(server) = self.pool.entries.get(id) else { return };
        let Some(machine) = self.machines.of_name_mut(&server.host()) else { return };
        let settled = machine.rest_since.is_some_and(|since| since + 2 * POLL < now);
        if server.state == EntryState::Enabled || !machine.rests || !settled || !machine.bbb {
            return;
        }
        machine.listed &= !machine.activity.is_cut();
        if !machine.listed {
            machine.leaked = None;
            return;
        }
        let leaked = *machine.leaked.get_or_insert(now);
        let (name, words) = (machine.name.clone(), machine.words.clone());
        let patience = Duration::from_secs(if calm.is_some_and(|calm| calm <= leaked) { 120 } else { 400 });
        if leaked + patience < now {
            let what = format!("{meeting} on {name} ({words}), the first at {leaked:?}");
            self.breaks("a host that rests got one meeting after the other", what);
        }
    }

    /// Checks promise 3: no planned event ends a meeting before its time.
    fn judge_ending(&mut self, who: &InstanceId, id: &str, what: &str) {
        let now = self.now();
        let Some(host) = self.pool.entries.get(id).map(Server::host) else { return };
        let Some(machine) = self.machines.of_name(&host) else { return };
        let meetings = self.pool.entries.get(id).map(|server| server.meetings.clone()).unwrap_or_default();
        // An agent could not yet have seen a meeting that has only just begun.
        let running = meetings.iter().filter(|meeting| machine.activity.is_running(meeting, now));
        // Who is in a breakout room whose parent is gone finds the way back as long as the host does not leave.
        let leaves = matches!(machine.state, "leaving" | "stopping");
        let orphans = if leaves { machine.activity.orphans(now) } else { 0 };
        let count = running.count() + orphans;
        let allowed = !machine.alive || machine.excuse.is_some_and(|excuse| excuse <= now);
        if count > 0 && !allowed {
            let excuse = machine.excuse;
            self.breaks(
                "a planned event ended a meeting",
                format_args!("{who} at {id}: {what} ({count} running, allowed from {excuse:?})"),
            );
        }
    }

    fn add(
        &mut self,
        who: &InstanceId,
        url: &str,
        secret: &SecretString,
        multiplier: Option<f64>,
        tag: Option<&str>,
    ) -> Result<String, Error> {
        let action = || format!("add {url}");
        let (Some(url), Some(secret)) = (present(url), present(secret.expose_secret())) else {
            return Err(bad_request(&action(), "Server needs a URL and a secret"));
        };
        if self.mishap(8) {
            return Err(Error::Conflict { action: action(), status: 500, message: "collision".to_owned() });
        }
        self.pool.writes += 1;
        if self.commit(true, action).is_err() {
            return Err(Error::Conflict { action: action(), status: 500, message: "collision".to_owned() });
        }
        let id = self.add_entry(Server {
            multiplier: multiplier.filter(|multiplier| *multiplier != 0.0).unwrap_or(1.0),
            tag: tag.and_then(present).unwrap_or_default().to_owned(),
            ..Server::new(url, secret)
        });
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
        let now = self.now();
        let incomplete = || Error::PanicIncomplete {
            id: id.to_owned(),
            message: format!("Couldn't disable server id={id}"),
        };
        let Some(server) = self.pool.entries.get_mut(id) else { return Ok(()) };
        while let Some(meeting) = server.meetings.pop_first() {
            if !end(server, &mut self.machines, &meeting, now) {
                // It is gone already, or the host does not answer.
                return Err(incomplete());
            }
        }
        let changes = server.changes_to(Some(EntryState::Disabled));
        if self.commit(changes, String::new).is_err() {
            return Err(incomplete());
        }
        self.set_entry(id, EntryState::Disabled);
        Ok(())
    }

    fn update(&mut self, who: &InstanceId, id: &str, update: Update<'_>) -> Result<(), Error> {
        self.write(who, "update", id)?;
        let Update { secret, tag, multiplier } = update;
        let refused = |message| Err(bad_request(&format!("update entry {id}"), message));
        if secret.is_none() && tag.is_none() && multiplier.is_none() {
            return refused("param is missing or the value is empty: server");
        }
        if multiplier == Some(0.0) {
            return refused("Load-multiplier must be a non-zero number");
        }
        let Some(server) = self.pool.entries.get(id) else { return Ok(()) };
        let mut changed = server.clone();
        if let Some(secret) = secret.and_then(|secret| present(secret.expose_secret())) {
            changed.secret = secret.to_owned();
        }
        if let Some(tag) = tag {
            changed.tag = present(tag).unwrap_or_default().to_owned();
        }
        changed.multiplier = multiplier.unwrap_or(server.multiplier);
        // A multiplier is written even where it is the same.
        let changes = changed != *server || multiplier.is_some();
        self.commit(changes, || format!("update entry {id}"))?;
        self.pool.entries.insert(id.to_owned(), changed);
        Ok(())
    }

    fn delete(&mut self, who: &InstanceId, id: &str) -> Result<(), Error> {
        match self.write(who, "delete", id) {
            Err(error) if error.is_gone() => return Ok(()),
            other => other?,
        }
        let meetings = self.pool.entries.get(id).map_or(0, |server| server.meetings.len());
        let leaks = self.pool.entries.get(id).is_some_and(Server::is_placed);
        if meetings > 0 && !leaks {
            self.breaks("an entry with meetings was deleted", format_args!("{who}: {id} with {meetings}"));
        }
        // Not seen to fail: a delete does not look at what Redis answers.
        self.pool.connections.execute(self.pool.version);
        self.pool.remove(id);
        Ok(())
    }
}

/// Asks a server's host to end a meeting. Whether the host did.
fn end(server: &Server, machines: &mut Machines, meeting: &str, now: Duration) -> bool {
    server.is_answered(machines) && machines.end_meeting(&server.host(), meeting, now)
}

impl World {
    /// Begins meetings where Scalelite places them, until night.
    pub(crate) async fn meet(self) {
        loop {
            self.pause(20.0, 160.0).await;
            let mut state = self.state();
            if state.night {
                return;
            }
            let places = state.places();
            if places.is_empty() {
                continue;
            }
            let index = state.rng.usize(0..places.len());
            let gathering = Gathering::draw(&mut state);
            let Some(id) = places.get(index) else { continue };
            state.pool.meetings += 1;
            let meeting = format!("meeting-{}", state.pool.meetings);
            state.create_meeting(id, &meeting, gathering);
        }
    }
}

impl State {
    /// Where a new meeting may be placed: the set decides, whatever the state is and whether the server is online.
    pub(crate) fn places(&self) -> Vec<String> {
        let untagged = |server: &Server| server.is_placed() && server.tag.is_empty();
        self.pool.entries.iter().filter(|(_, server)| untagged(server)).map(|(id, _)| id.clone()).collect()
    }

    /// Creates a meeting at this server: it is mapped there also where the host does not answer.
    pub(crate) fn create_meeting(&mut self, id: &str, meeting: &str, gathering: Gathering) {
        self.judge_placing(id, meeting);
        let Some(server) = self.pool.entries.get_mut(id) else { return };
        server.meetings.insert(meeting.to_owned());
        if let Some(load) = &mut server.placed {
            *load += server.multiplier;
        }
        let host = server.host();
        if server.is_answered(&self.machines) && self.machines.begin_meeting(&host, meeting, gathering) {
            self.note(format_args!("{meeting} begins at {host} by {id}"));
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
            Err(Lost::Refused) => Err(Error::Conflict { action, status: 400, message: CONFLICT.to_owned() }),
        }
    }
}

impl Management for Client {
    async fn entries(&self, url: &str, secret: &SecretString) -> Result<Own, Error> {
        self.ask("list the servers", |state, _| {
            let host = host_of(url).map(Name::remote);
            let own = state.pool.entries.iter().filter(|(_, server)| Some(server.host()) == host);
            let entries = own.map(|(id, server)| server.shown(id, url, secret)).collect();
            let other = |(id, server): (&String, &Server)| {
                let shown = server.shown(id, url, secret);
                Some(server.host()) != host && shown.state == EntryState::Enabled && shown.online
            };
            let others = state.pool.entries.iter().filter(|entry| other(*entry)).count();
            Ok(Own { entries, pool: state.pool.entries.len(), others })
        })
        .await
    }

    async fn entry(&self, id: &str, url: &str, secret: &SecretString) -> Result<Option<Entry>, Error> {
        self.ask("read the server", |state, _| {
            let host = host_of(url).map(Name::remote);
            let own = state.pool.entries.get(id).filter(|server| Some(server.host()) == host);
            Ok(own.map(|server| server.shown(id, url, secret)))
        })
        .await
    }

    async fn names(&self) -> Result<BTreeSet<Name>, Error> {
        self.ask("list the servers", |state, _| {
            let hosts = state.pool.entries.values().map(Server::host);
            Ok(hosts.filter(|host| !host.as_str().is_empty()).collect())
        })
        .await
    }

    async fn add(
        &self,
        url: &str,
        secret: &SecretString,
        multiplier: Option<f64>,
        tag: Option<&str>,
    ) -> Result<String, Error> {
        self.world.state().judge_coming(&self.who, "add");
        self.ask("add", |state, who| state.add(who, url, secret, multiplier, tag)).await
    }

    async fn update(&self, id: &str, update: Update<'_>) -> Result<(), Error> {
        self.ask("update", |state, who| state.update(who, id, update)).await
    }

    async fn enable(&self, id: &str) -> Result<(), Error> {
        self.world.state().judge_coming(&self.who, "enable");
        self.world.state().judge_enabling(&self.who);
        self.ask("enable", |state, who| {
            let now = state.now();
            state.machine(who).enabled = now;
            state.set(who, "enable", id, EntryState::Enabled)
        })
        .await
    }

    async fn cordon(&self, id: &str) -> Result<(), Error> {
        self.ask("cordon", |state, who| {
            // Repeating the same call does not help.
            if state.pool.entries.get(id).is_some_and(|server| server.state == EntryState::Enabled) {
                state.machine(who).leaked = None;
            }
            state.set(who, "cordon", id, EntryState::Cordoned)
        })
        .await
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
