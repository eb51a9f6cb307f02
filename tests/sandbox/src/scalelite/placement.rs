//! The load balancer as its clients see it: where a meeting is created, and whether it can be joined.

use serde::Serialize;

use super::Scalelite;
use super::store::{MappedMeeting, Server};
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
        let (server, password) = self.place(id, tag)?;
        let parameters = [("meetingID", id), ("name", id), ("moderatorPW", password.expose())];
        let call = self.network.call(&server.url, server.secret.expose(), "create", &parameters);
        match call.await {
            Ok(_) => Ok(server.url),
            Err(CallError::Refused { key, message }) => Err(Refusal { key, message }),
            Err(CallError::Transport(_)) => Err(Refusal::internal("Unable to create meeting on server.")),
        }
    }

    fn place(&self, id: &str, tag: Option<&str>) -> Result<(Server, Secret), Refusal> {
        let mut state = self.state();
        if state.redis_down {
            return Err(Refusal::internal("Internal Server Error"));
        }
        // This is checked first, even for a meeting that is already mapped.
        let Some(available) = state.store.available(tag) else {
            return Err(Refusal::internal("Could not find any available servers."));
        };
        let fresh = || MappedMeeting {
            server_id: available.id.clone(),
            moderator_password: Secret::new(random_password()),
        };
        let mapped = state.store.meetings.entry(id.to_owned()).or_insert_with(fresh).clone();
        let Some(server) = state.store.servers.get(&mapped.server_id).cloned() else {
            // The meeting is stuck: its record stays although its server was deleted.
            let message = format!("Couldn't find Server with id={}", mapped.server_id);
            return Err(Refusal::internal(&message));
        };
        if let Some(load) = state.store.placement.get_mut(&server.id) {
            *load += server.multiplier;
        }
        Ok((server, mapped.moderator_password))
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
        self.network.call(&server.url, server.secret.expose(), "end", &parameters).await.is_ok()
    }
}
