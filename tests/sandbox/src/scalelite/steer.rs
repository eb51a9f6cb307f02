//! What a test or the control API does to Scalelite behind its API, and what it may look at.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::api::uuid;
use super::store::{Edit, MappedMeeting, Server, ServerState};
use super::{Scalelite, ServerIds};
use crate::bbb::Secret;

/// A server as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerSnapshot {
    /// Its id.
    pub id: String,
    /// Its URL as sent.
    pub url: String,
    /// Its secret, in clear when serialised.
    pub secret: Secret,
    /// Its tag.
    pub tag: Option<String>,
    /// The version last set with [`Scalelite::set_bbb_version`].
    pub bbb_version: Option<String>,
    /// Its state as the API shows it.
    pub state: ServerState,
    /// Its load as the API shows it; none when unavailable.
    pub load: Option<f64>,
    /// Its multiplier.
    pub load_multiplier: f64,
    /// Whether the poller takes it for online.
    pub online: bool,
    /// Whether new meetings can be placed there, which the API does not show.
    pub in_placement: bool,
}

/// Everything that Scalelite stores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// All servers, by id.
    pub servers: Vec<ServerSnapshot>,
    /// Where each meeting is mapped to.
    pub meetings: BTreeMap<String, MappedMeeting>,
    /// Whether Redis is down.
    pub redis_down: bool,
}

impl Scalelite {
    /// Everything at once.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state();
        let servers = state.store.all().into_iter().map(|loaded| {
            let in_placement = state.store.placement.contains_key(&loaded.server.id);
            let Server { id, url, secret, tag, bbb_version, state, online, multiplier } = loaded.server;
            ServerSnapshot {
                id,
                url,
                secret,
                tag,
                bbb_version,
                state: state.unwrap_or(ServerState::Disabled),
                load: loaded.load,
                load_multiplier: multiplier,
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

    /// All servers, by id.
    pub fn servers(&self) -> Vec<ServerSnapshot> {
        self.snapshot().servers
    }

    /// The servers that have exactly this URL.
    pub fn servers_with_url(&self, url: &str) -> Vec<ServerSnapshot> {
        self.servers().into_iter().filter(|server| server.url == url).collect()
    }

    /// Adds a server in this state, as an operator did before; returns its id. With hostname ids one that exists is
    /// replaced.
    pub fn add_server(&self, url: &str, secret: &str, state: ServerState) -> String {
        let host = || url.parse().ok().and_then(|uri: hyper::Uri| uri.host().map(str::to_ascii_lowercase));
        let id = match self.config.ids {
            ServerIds::Uuid => uuid(),
            ServerIds::Hostname => host().unwrap_or_else(uuid),
        };
        let server = Server {
            id: id.clone(),
            url: url.to_owned(),
            secret: Secret::new(secret),
            tag: None,
            bbb_version: None,
            state: Some(state),
            online: false,
            multiplier: 1.0,
        };
        let mut guard = self.state();
        guard.store.delete(&id);
        let version = guard.store.version();
        // It was just made sure that nothing stands in the way.
        let _ = guard.store.add(server, version);
        id
    }

    /// Sets a server's state, as an operator does. False when there is no such server.
    pub fn set_state(&self, id: &str, state: ServerState) -> bool {
        self.edit(id, Edit { state: Some(state), ..Edit::default() })
    }

    /// Sets a server's tag, or clears it. False when there is no such server.
    pub fn set_tag(&self, id: &str, tag: Option<&str>) -> bool {
        self.edit(id, Edit { tag: Some(tag.map(str::to_owned)), ..Edit::default() })
    }

    fn edit(&self, id: &str, edit: Edit) -> bool {
        let mut guard = self.state();
        let Some(loaded) = guard.store.find(id) else { return false };
        let version = loaded.version;
        guard.store.save(loaded, edit, version).is_ok()
    }

    /// Sets the `bbb_version` that the API shows. False when there is no such server.
    pub fn set_bbb_version(&self, id: &str, version: &str) -> bool {
        let mut guard = self.state();
        let Some(server) = guard.store.servers.get_mut(id) else { return false };
        server.bbb_version = Some(version.to_owned());
        true
    }

    /// Deletes a server behind the API's back; its meetings stay mapped.
    pub fn delete_server(&self, id: &str) {
        self.state().store.delete(id);
    }

    /// Maps a meeting to a server, as if it had been created there through the load balancer.
    pub fn map_meeting(&self, meeting: &str, server_id: &str) {
        let mapped = MappedMeeting { server_id: server_id.to_owned(), moderator_password: Secret::default() };
        self.state().store.meetings.insert(meeting.to_owned(), mapped);
    }

    /// Forgets a mapped meeting, as Scalelite does after a day at the latest. False when there is none.
    pub fn forget_meeting(&self, meeting: &str) -> bool {
        self.state().store.meetings.remove(meeting).is_some()
    }

    /// Where each meeting is mapped to.
    pub fn meetings(&self) -> BTreeMap<String, MappedMeeting> {
        self.state().store.meetings.clone()
    }

    /// Lets the next `times` calls of `panicServer` for existing servers answer 400, each forgetting one mapped meeting
    /// without ending it, as when the host does not answer.
    pub fn refuse_panics(&self, times: u32) {
        self.state().panics_to_refuse = times;
    }

    /// Takes Redis down or brings it back, with all that it stores.
    pub fn set_redis_down(&self, down: bool) {
        self.state().redis_down = down;
    }

    /// Puts an nginx before Scalelite that serves recordings only: 404 for everything else.
    pub fn set_recordings_only(&self, recordings_only: bool) {
        self.state().recordings_only = recordings_only;
    }

    /// Changes [`super::Config::processing`].
    pub fn set_processing(&self, delay: Duration) {
        self.pace.set_delay(delay);
    }

    /// Stops every add, update, delete and panic that comes from now on between reading and committing, until
    /// [`Scalelite::release`].
    pub fn hold(&self) {
        self.pace.hold(true);
    }

    /// Lets all go on that [`Scalelite::hold`] stopped.
    pub fn release(&self) {
        self.pace.hold(false);
    }

    /// Returns once at least so many requests are stopped.
    pub async fn held(&self, requests: usize) {
        self.pace.reached(requests).await;
    }
}
