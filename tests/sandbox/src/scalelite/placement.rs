//! The load balancer as its clients see it: where a meeting is created, and whether it can be joined.

use serde::Serialize;

use super::Scalelite;
use super::store::{MappedMeeting, Server, ServerState};
use crate::bbb::{CallError, Secret, random_password};

/// The refusal to create or join a meeting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// `messageKey`, e.g. `serverUnavailable`, `notFound`, `internalError`.
    pub key: String,
    /// `message`.
    pub message: String,
}

impl Refusal {
    fn new(key: &str, message: &str) -> Self {
        Self { key: key.to_owned(), message: message.to_owned() }
    }

    fn internal(message: &str) -> Self {
        Self::new("internalError", message)
    }
}

impl Scalelite {
    /// Creates a meeting without asking for a tag; see [`Scalelite::create_meeting_tagged`].
    pub async fn create_meeting(&self, id: &str) -> Result<String, Refusal> {
        self.create_meeting_tagged(id, None).await
    }

    /// Creates a meeting, or creates a running one again, as `create` does: on the server to which it is mapped, or
    /// else on the one with the lowest load. Returns that server's URL once the host's own `create` succeeded.
    ///
    /// `tag` is the client's `meta_server-tag`: `x` prefers servers with that tag, `x!` insists on one.
    pub async fn create_meeting_tagged(&self, id: &str, tag: Option<&str>) -> Result<String, Refusal> {
        let (server, password) = match self.mapped(id).await? {
            Some(mapped) => mapped,
            None => self.place(id, tag)?,
        };
        let parameters = [("meetingID", id), ("name", id), ("moderatorPW", password.expose())];
        let call = self.call(&server, "create", &parameters);
        match call.await {
            Ok(_) => Ok(server.url),
            Err(CallError::Refused { key, message }) => Err(Refusal { key, message }),
            Err(CallError::Transport(_)) => Err(Refusal::internal("Unable to create meeting on server.")),
        }
    }

    /// Returns the server of a mapped meeting, whose state does not matter. One that is cordoned is asked first whether
    /// the meeting runs, since 1.8.4; if nobody has joined yet, Scalelite forgets the meeting.
    async fn mapped(&self, id: &str) -> Result<Option<(Server, Secret)>, Refusal> {
        let (server, password) = {
            let state = self.state();
            if state.redis_down {
                return Err(Refusal::internal("Internal Server Error"));
            }
            let Some(mapped) = state.store.meetings.get(id).cloned() else { return Ok(None) };
            let Some(server) = state.store.servers.get(&mapped.server_id).cloned() else {
                // The meeting is stuck: its record stays although its server was deleted.
                let message = format!("Couldn't find Server with id={}", mapped.server_id);
                return Err(Refusal::internal(&message));
            };
            (server, mapped.moderator_password)
        };
        if server.state == Some(ServerState::Cordoned) && self.config().version >= (1, 8, 4) {
            let parameters = [("meetingID", id)];
            let asked = self.call(&server, "isMeetingRunning", &parameters);
            if asked.await.is_ok_and(|answer| !answer.contains("<running>true</running>")) {
                self.state().store.meetings.remove(id);
                return Ok(None);
            }
        }
        Ok(Some((server, password)))
    }

    fn place(&self, id: &str, tag: Option<&str>) -> Result<(Server, Secret), Refusal> {
        let mut state = self.state();
        let Some(server) = state.store.available(tag) else {
            return Err(Refusal::internal("Could not find any available servers."));
        };
        let mapped = MappedMeeting {
            server_id: server.id.clone(),
            moderator_password: Secret::new(random_password()),
        };
        let password = mapped.moderator_password.clone();
        state.store.meetings.insert(id.to_owned(), mapped);
        if let Some(load) = state.store.placement.get_mut(&server.id) {
            *load += server.multiplier.value;
        }
        Ok((server, password))
    }

    /// Joins a meeting and returns the URL of the server to which the client is sent.
    pub fn join(&self, id: &str) -> Result<String, Refusal> {
        let state = self.state();
        if state.redis_down {
            return Err(Refusal::internal("Internal Server Error"));
        }
        let mapped =
            state.store.meetings.get(id).and_then(|mapped| state.store.servers.get(&mapped.server_id));
        let Some(server) = mapped else {
            return Err(Refusal::new(
                "notFound",
                "We could not find a meeting with that meeting ID - perhaps the meeting is not yet running?",
            ));
        };
        if !server.online || server.is_disabled() {
            return Err(Refusal::new(
                "serverUnavailable",
                "The server for this meeting is disabled/offline.",
            ));
        }
        Ok(server.url.clone())
    }

    /// Forgets a mapped meeting, then asks its host to end it. Tells whether the host did.
    pub(super) async fn end_mapped(&self, server: &Server, meeting: &str) -> bool {
        let mapped = self.state().store.meetings.remove(meeting);
        // Another request may have forgotten it meanwhile; the call below is made all the same.
        let password = mapped.map(|mapped| mapped.moderator_password).unwrap_or_default();
        let parameters = [("meetingID", meeting), ("password", password.expose())];
        self.call(server, "end", &parameters).await.is_ok()
    }
}
