//! Scalelite's answers, as observed on 1.8.5.

use serde::Serialize;
use serde_json::{Value, json};

use super::params::Fields;
use super::store::{Loaded, ServerState};
use crate::http::{Request, Response, reply};
use crate::xml::escape;

/// Returns a refusal with HTTP status 200, whatever the client accepts.
pub(super) fn refused(key: &str, message: &str) -> Response {
    let (key, message) = (escape(key), escape(message));
    let body = format!(
        "<?xml version=\"1.0\"?>\n<response>\n  <returncode>FAILED</returncode>\n  \
         <messageKey>{key}</messageKey>\n  <message>{message}</message>\n</response>\n"
    );
    reply(200, "application/xml; charset=utf-8", body)
}

pub(super) fn unsupported() -> Response {
    refused("unsupportedRequest", "This request is not supported.")
}

/// Returns an error that Scalelite did not catch: empty HTML, or short JSON for clients that ask for it.
pub(super) fn uncaught(status: u16, request: &Request) -> Response {
    if accepts_json(request.header("accept")) { uncaught_json(status) } else { empty(status) }
}

pub(super) fn uncaught_json(status: u16) -> Response {
    let reason = hyper::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    json_reply(status, &json!({ "status": status, "error": reason.unwrap_or_default() }))
}

pub(super) fn empty(status: u16) -> Response {
    reply(status, "text/html; charset=utf-8", "")
}

/// Tells whether the client gets JSON: Rails takes a list with `*/*` for a browser's, and answers a browser with HTML.
fn accepts_json(accept: &str) -> bool {
    let mut types = accept.split(',').map(|part| part.split(';').next().unwrap_or_default().trim());
    let browser = accept.contains(',') && types.clone().any(|part| part == "*/*");
    !browser && types.next() == Some("application/json")
}

pub(super) fn error(status: u16, message: &str) -> Response {
    json_reply(status, &json!({ "error": message }))
}

pub(super) fn success(message: &str) -> Response {
    json_reply(200, &json!({ "success": message }))
}

pub(super) fn json_reply(status: u16, body: &impl Serialize) -> Response {
    let body = serde_json::to_string(body).unwrap_or_default();
    reply(status, "application/json; charset=utf-8", body)
}

/// Returns a page of the proxy in front of Scalelite.
pub(super) fn page(status: u16) -> Response {
    crate::bbb::nginx_page(status)
}

/// A server as the API shows it; the fields are in this order.
#[derive(Serialize)]
pub(super) struct ServerBody {
    id: String,
    url: Value,
    secret: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bbb_version: Option<String>,
    state: ServerState,
    load: Load,
    load_multiplier: Option<String>,
    online: &'static str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Load {
    /// A number; infinity becomes null, as JSON has none.
    Known(f64),
    Unavailable(&'static str),
}

impl ServerBody {
    /// Creates a server's body; `with_tag` is false before 1.6.0.
    pub(super) fn new(copy: &Loaded, with_tag: bool) -> Self {
        let server = &copy.server;
        Self {
            id: server.id.clone(),
            url: server.url.clone().into(),
            secret: server.secret.expose().into(),
            tag: with_tag.then(|| server.tag.clone().unwrap_or_default().into()),
            bbb_version: with_tag.then(|| server.bbb_version.clone().unwrap_or_default()),
            state: server.state.unwrap_or(ServerState::Disabled),
            load: copy.load.map_or(Load::Unavailable("unavailable"), Load::Known),
            load_multiplier: server.multiplier.shown(),
            online: if server.online { "online" } else { "offline" },
        }
    }

    /// Shows what was sent as a number as a number, as the answer to that request does. What is read from Redis is
    /// text.
    pub(super) fn with_numbers_as_sent(mut self, fields: Fields<'_>) -> Self {
        let Self { url, secret, tag, .. } = &mut self;
        for (name, shown) in [("url", Some(url)), ("secret", Some(secret)), ("tag", tag.as_mut())] {
            if let (Some(shown), Some(number)) = (shown, fields.number(name)) {
                // A URL in an update is ignored.
                let text = number.to_string();
                if shown.as_str() == Some(&text) {
                    *shown = number.clone();
                }
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::accepts_json;

    #[test]
    fn who_gets_json() {
        for (accept, json) in [
            ("application/json", true),
            ("application/json;q=0.9, text/html", true),
            ("application/json, text/plain, */*", false),
            ("*/*", false),
            ("", false),
        ] {
            assert_eq!(accepts_json(accept), json, "{accept}");
        }
    }
}
