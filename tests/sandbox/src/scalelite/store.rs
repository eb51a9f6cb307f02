//! The records that Scalelite keeps in Redis, and how they are saved: only the fields that a caller changed on its own
//! copy are written, which makes lost updates possible. Observed on Scalelite 1.8.5.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::decimal::Decimal;
use crate::bbb::Secret;

/// The administrative state of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// New meetings are placed here.
    Enabled,
    /// Running meetings go on.
    Cordoned,
    /// The server is not in use.
    Disabled,
}

/// A server's record.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) id: String,
    /// Its place in the order in which servers were added.
    pub(super) number: u64,
    pub(super) url: String,
    pub(super) secret: Secret,
    pub(super) tag: Option<String>,
    pub(super) bbb_version: Option<String>,
    /// The state; none until the first update, and then shown as `disabled`.
    pub(super) state: Option<ServerState>,
    pub(super) online: bool,
    pub(super) multiplier: Decimal,
}

impl Server {
    pub(super) fn is_disabled(&self) -> bool {
        matches!(self.state, None | Some(ServerState::Disabled))
    }
}

/// A meeting's record: the server on which it was placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MappedMeeting {
    /// The id of the server; it may have been deleted since.
    pub server_id: String,
    /// The password with which `end` is called.
    pub moderator_password: Secret,
}

/// A caller's own copy of a record, as it was when it was read.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) server: Server,
    pub(super) load: Option<f64>,
    /// The version of the set of servers when it was read (`WATCH servers`).
    pub(super) version: u64,
}

/// The changes of a caller; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Edit {
    pub(super) state: Option<ServerState>,
    pub(super) multiplier: Option<Decimal>,
    pub(super) secret: Option<String>,
    pub(super) tag: Option<Option<String>>,
    pub(super) load: Option<Option<f64>>,
    pub(super) online: Option<bool>,
}

impl Edit {
    /// Tells whether there is nothing to write when this copy is saved: then Redis is sent no transaction. A
    /// multiplier is always written.
    pub(super) fn is_empty_for(&self, copy: &Loaded) -> bool {
        let server = &copy.server;
        let state = self.state.or(server.state);
        let has_load = matches!(state, Some(ServerState::Enabled | ServerState::Cordoned));
        state == server.state
            && self.online.is_none_or(|online| online == server.online)
            && self.multiplier.is_none()
            && self.secret.as_deref().is_none_or(|secret| secret == server.secret.expose())
            && self.tag.as_ref().is_none_or(|tag| *tag == server.tag)
            && (!has_load || self.load.is_none_or(|load| load == copy.load))
    }
}

/// The reason why a record was not saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SaveError {
    /// The set of servers changed after it was read.
    Conflict,
    /// A server with that id exists.
    Exists(String),
    /// The server was deleted.
    Deleted(String),
}

impl std::fmt::Display for SaveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Conflict => f.write_str("Servers list concurrently modified"),
            Self::Exists(id) => write!(f, "Server already exists with id '{id}'"),
            Self::Deleted(id) => write!(f, "Server with id '{id}' is deleted"),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Store {
    /// A number that changes whenever a server is added to or removed from the set.
    version: u64,
    /// The number of servers that were ever added.
    added: u64,
    pub(super) servers: BTreeMap<String, Server>,
    /// The placement set (`server_load`).
    pub(super) placement: BTreeMap<String, f64>,
    cordoned: BTreeMap<String, f64>,
    pub(super) meetings: BTreeMap<String, MappedMeeting>,
    /// The number of failed polls in a row, by server; it outlives the server's record.
    pub(super) unhealthy: BTreeMap<String, u32>,
    /// The states that servers have come into, with their ids, oldest first.
    pub(super) history: Vec<(String, ServerState)>,
}

impl Store {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn find(&self, id: &str) -> Option<Loaded> {
        let server = self.servers.get(id)?.clone();
        let load = match server.state {
            Some(ServerState::Enabled) => self.placement.get(id).copied(),
            Some(ServerState::Cordoned) => self.cordoned.get(id).copied(),
            None | Some(ServerState::Disabled) => None,
        };
        Some(Loaded { server, load, version: self.version })
    }

    pub(super) fn all(&self) -> Vec<Loaded> {
        self.servers.keys().filter_map(|id| self.find(id)).collect()
    }

    pub(super) fn add(&mut self, mut server: Server, version: u64) -> Result<Loaded, SaveError> {
        if self.servers.contains_key(&server.id) {
            return Err(SaveError::Exists(server.id));
        }
        if version != self.version {
            return Err(SaveError::Conflict);
        }
        self.version += 1;
        self.added += 1;
        server.number = self.added;
        let copy = Loaded { server: server.clone(), load: None, version: self.version };
        self.servers.insert(server.id.clone(), server);
        Ok(copy)
    }

    /// Writes the changes of an edit to a copy, and returns the copy as the caller now sees it.
    pub(super) fn save(&mut self, copy: Loaded, edit: Edit, version: u64) -> Result<Loaded, SaveError> {
        let id = copy.server.id.clone();
        let Some(stored) = self.servers.get_mut(&id) else { return Err(SaveError::Deleted(id)) };
        if edit.is_empty_for(&copy) {
            return Ok(copy);
        }
        if version != self.version {
            return Err(SaveError::Conflict);
        }
        let Loaded { mut server, load: old_load, .. } = copy;
        let state_changed = edit.state.is_some() && edit.state != server.state;
        if state_changed {
            server.state = edit.state;
            stored.state = edit.state;
            self.history.extend(edit.state.map(|state| (id.clone(), state)));
        }
        if let Some(online) = edit.online.filter(|online| *online != server.online) {
            server.online = online;
            stored.online = online;
        }
        if let Some(multiplier) = edit.multiplier {
            server.multiplier = multiplier.clone();
            stored.multiplier = multiplier;
        }
        if let Some(secret) = edit.secret {
            server.secret = Secret::new(secret);
            stored.secret = server.secret.clone();
        }
        if let Some(tag) = edit.tag {
            server.tag.clone_from(&tag);
            stored.tag = tag;
        }
        let load = edit.load.unwrap_or(old_load);
        let load = self.place(&server, state_changed, load, load != old_load);
        Ok(Loaded { server, load, version: self.version })
    }

    /// Updates the sets of loads as the saved copy demands. A cordon between a poll's reading and its saving can put a
    /// server back into the placement set although its state is `cordoned`.
    fn place(
        &mut self,
        server: &Server,
        state_changed: bool,
        load: Option<f64>,
        load_changed: bool,
    ) -> Option<f64> {
        let id = server.id.clone();
        let (target, other, carried) = match server.state {
            None => return None,
            Some(ServerState::Disabled) => {
                if state_changed {
                    self.placement.remove(&id);
                    self.cordoned.remove(&id);
                }
                return None;
            }
            Some(ServerState::Enabled) => {
                let carried = self.cordoned.get(&id).copied();
                (&mut self.placement, &mut self.cordoned, carried)
            }
            Some(ServerState::Cordoned) => {
                let carried = self.placement.get(&id).copied();
                (&mut self.cordoned, &mut self.placement, carried)
            }
        };
        let load = if state_changed { load.or(carried) } else { load };
        if state_changed {
            other.remove(&id);
        }
        match load {
            Some(load) if state_changed || load_changed => {
                target.insert(id, load);
            }
            None if load_changed => {
                target.remove(&id);
            }
            _ => {}
        }
        load
    }

    /// Removes a server, whatever has changed since it was read; its meetings stay mapped.
    pub(super) fn delete(&mut self, id: &str) {
        if self.servers.remove(id).is_some() {
            self.version += 1;
        }
        self.placement.remove(id);
        self.cordoned.remove(id);
    }

    /// Forgets everything, as Redis does when its data are lost.
    pub(super) fn flush(&mut self) {
        let history = std::mem::take(&mut self.history);
        *self = Self { version: self.version + 1, history, ..Self::default() };
    }

    /// Returns the server with the lowest load for this tag: `x` prefers servers with that tag, `x!` insists; without
    /// a tag only servers without one count. The set decides, not the state.
    pub(super) fn available(&self, tag: Option<&str>) -> Option<Server> {
        let lowest = |tag: Option<&str>| {
            let candidates = self.placement.iter().filter_map(|(id, load)| {
                let server = self.servers.get(id)?;
                (server.tag.as_deref() == tag).then_some((load, server))
            });
            candidates.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, server)| server.clone())
        };
        match tag.filter(|tag| !tag.is_empty()) {
            None => lowest(None),
            Some(tag) => match tag.strip_suffix('!') {
                Some(required) => lowest(Some(required)),
                None => lowest(Some(tag)).or_else(|| lowest(None)),
            },
        }
    }

    pub(super) fn meetings_of(&self, server_id: &str) -> Vec<String> {
        let mapped = self.meetings.iter().filter(|(_, meeting)| meeting.server_id == server_id);
        mapped.map(|(id, _)| id.clone()).collect()
    }
}
