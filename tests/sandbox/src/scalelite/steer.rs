//! Changes that a test or the control API makes to Scalelite without its API, and the views that they get.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::api::uuid;
use super::connections::Connections;
use super::decimal::Decimal;
use super::store::{Edit, MappedMeeting, Server, ServerState};
use super::{Config, Scalelite, ServerIds, Traffic};
use crate::bbb::Secret;

/// A server as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerSnapshot {
    /// The id.
    pub id: String,
    /// The URL as sent.
    pub url: String,
    /// The secret, in clear when serialised.
    pub secret: Secret,
    /// The tag.
    pub tag: Option<String>,
    /// The version last set with [`Scalelite::set_bbb_version`].
    pub bbb_version: Option<String>,
    /// The state as the API shows it.
    pub state: ServerState,
    /// The load as the API shows it; none when unavailable.
    pub load: Option<f64>,
    /// The load multiplier.
    pub load_multiplier: f64,
    /// Whether the poller considers the server online.
    pub online: bool,
    /// Whether new meetings can be placed here, which the API does not show.
    pub in_placement: bool,
}

/// The whole stored state of Scalelite.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// All servers, by id.
    pub servers: Vec<ServerSnapshot>,
    /// The server to which each meeting is mapped.
    pub meetings: BTreeMap<String, MappedMeeting>,
    /// Whether Redis is down.
    pub redis_down: bool,
}

impl Scalelite {
    /// Returns the whole state.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state();
        let servers = state.store.all().into_iter().map(|loaded| {
            let in_placement = state.store.placement.contains_key(&loaded.server.id);
            let Server { id, url, secret, tag, bbb_version, state, online, multiplier, .. } = loaded.server;
            ServerSnapshot {
                id,
                url,
                secret,
                tag,
                bbb_version,
                state: state.unwrap_or(ServerState::Disabled),
                load: loaded.load,
                load_multiplier: multiplier.value,
                online,
                in_placement,
            }
        });
        Snapshot {
            servers: servers.collect(),
            meetings: state.store.meetings.clone(),
            redis_down: state.redis_down,
        }
    }

    /// Returns all servers, by id.
    pub fn servers(&self) -> Vec<ServerSnapshot> {
        self.snapshot().servers
    }

    /// Returns the servers that have exactly this URL.
    pub fn servers_with_url(&self, url: &str) -> Vec<ServerSnapshot> {
        self.servers().into_iter().filter(|server| server.url == url).collect()
    }

    /// Returns the states that servers have come into by calls, by polls and by operators, with their ids, oldest
    /// first. A server that is added begins `disabled`, which is not in this list.
    pub fn history(&self) -> Vec<(String, ServerState)> {
        self.state().store.history.clone()
    }

    /// Adds a server in this state, as if an operator had done so before; returns its id. With hostname ids an
    /// existing server is replaced.
    pub fn add_server(&self, url: &str, secret: &str, state: ServerState) -> String {
        let host = || url.parse().ok().and_then(|uri: hyper::Uri| uri.host().map(str::to_ascii_lowercase));
        let id = match self.config().ids {
            ServerIds::Uuid => uuid(),
            ServerIds::Hostname => host().unwrap_or_else(uuid),
        };
        let server = Server {
            id: id.clone(),
            number: 0,
            url: url.to_owned(),
            secret: Secret::new(secret),
            tag: None,
            bbb_version: None,
            state: Some(state),
            online: false,
            multiplier: Decimal::of(1.0),
        };
        let mut guard = self.state();
        guard.store.delete(&id);
        let version = guard.store.version();
        // The checks above have removed every reason for a failure.
        let _ = guard.store.add(server, version);
        drop(guard);
        self.polled_at_once(&id);
        id
    }

    /// Sets a server's state, as an operator does. Returns false when there is no such server.
    pub fn set_state(&self, id: &str, state: ServerState) -> bool {
        self.edit(id, Edit { state: Some(state), ..Edit::default() })
    }

    /// Sets a server's tag, or clears it. Returns false when there is no such server.
    pub fn set_tag(&self, id: &str, tag: Option<&str>) -> bool {
        self.edit(id, Edit { tag: Some(tag.map(str::to_owned)), ..Edit::default() })
    }

    fn edit(&self, id: &str, edit: Edit) -> bool {
        let mut guard = self.state();
        let Some(loaded) = guard.store.find(id) else { return false };
        let version = loaded.version;
        let saved = guard.store.save(loaded, edit, version).is_ok();
        drop(guard);
        self.polled_at_once(id);
        saved
    }

    /// Lets a poll reach a server that was enabled, if the configuration says so.
    pub(super) fn polled_at_once(&self, id: &str) {
        let mut guard = self.state();
        let polled_at_once = guard.config.polled_at_once;
        let Some(loaded) = guard.store.find(id).filter(|_| polled_at_once) else { return };
        if loaded.server.state == Some(ServerState::Enabled) && loaded.load.is_none() {
            let version = loaded.version;
            let poll = Edit { load: Some(Some(0.0)), online: Some(true), ..Edit::default() };
            // It was read a moment ago.
            let _ = guard.store.save(loaded, poll, version);
        }
    }

    /// Sets the `bbb_version` that the API shows. Returns false when there is no such server.
    pub fn set_bbb_version(&self, id: &str, version: &str) -> bool {
        let mut guard = self.state();
        let Some(server) = guard.store.servers.get_mut(id) else { return false };
        server.bbb_version = Some(version.to_owned());
        true
    }

    /// Deletes a server without the API; its meetings stay mapped.
    pub fn delete_server(&self, id: &str) {
        self.state().store.delete(id);
    }

    /// Maps a meeting to a server, as if it had been created there through the load balancer.
    pub fn map_meeting(&self, meeting: &str, server_id: &str) {
        let mapped = MappedMeeting { server_id: server_id.to_owned(), moderator_password: Secret::default() };
        self.state().store.meetings.insert(meeting.to_owned(), mapped);
    }

    /// Forgets a mapped meeting, as Scalelite does after a day at the latest. Returns false when there is none.
    pub fn forget_meeting(&self, meeting: &str) -> bool {
        self.state().store.meetings.remove(meeting).is_some()
    }

    /// Returns the server to which each meeting is mapped.
    pub fn meetings(&self) -> BTreeMap<String, MappedMeeting> {
        self.state().store.meetings.clone()
    }

    /// Lets the next `times` calls of `panicServer` for existing servers answer 400, each forgetting one mapped
    /// meeting without ending it, as when the host does not answer.
    pub fn refuse_panics(&self, times: u32) {
        self.state().panics_to_refuse = times;
    }

    /// Takes Redis down or brings it back, with its whole content.
    pub fn set_redis_down(&self, down: bool) {
        self.state().redis_down = down;
    }

    /// Puts an nginx in front of Scalelite that serves only recordings: 404 for everything else.
    pub fn set_recordings_only(&self, recordings_only: bool) {
        self.state().recordings_only = recordings_only;
    }

    /// Loses all data, as Redis does when it is flushed: the pool is simply empty.
    pub fn lose_data(&self) {
        self.state().store.flush();
    }

    /// Lets the next `times` polls lose all their results: their changes are not saved ("Servers list concurrently
    /// modified"), while meetings that were cleared stay cleared.
    pub fn lose_polls(&self, times: u32) {
        self.state().polls_to_lose = times;
    }

    /// Returns the configuration.
    pub fn configuration(&self) -> Config {
        self.config()
    }

    /// Changes the configuration, as if Scalelite had been started with another one. What is left to chance begins
    /// again from the seed.
    pub fn configure(&self, change: impl FnOnce(&mut Config)) {
        let mut state = self.state();
        change(&mut state.config);
        state.connections = Connections::new(state.config.stray_watches, state.config.seed);
        state.rng = fastrand::Rng::with_seed(state.config.seed);
    }

    /// Changes [`super::Config::processing`].
    pub fn set_processing(&self, delay: Duration) {
        self.configure(|config| config.processing = delay);
    }

    /// Returns what the API has served so far, by operation.
    pub fn traffic(&self) -> Traffic {
        self.state().traffic.clone()
    }

    /// Counts from nothing again; returns what was served so far.
    pub fn take_traffic(&self) -> Traffic {
        std::mem::take(&mut self.state().traffic)
    }

    /// Stops every further add, update, delete and panic between reading and committing, until [`Scalelite::release`].
    pub fn hold(&self) {
        self.pace.hold(true);
    }

    /// Lets all requests go on that [`Scalelite::hold`] stopped.
    pub fn release(&self) {
        self.pace.hold(false);
    }

    /// Waits until at least this many requests are stopped.
    pub async fn held(&self, requests: usize) {
        self.pace.reached(requests).await;
    }
}
