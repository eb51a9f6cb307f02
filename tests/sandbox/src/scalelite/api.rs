//! The management API, call by call.

use serde_json::{Map, Value};

use super::answers::{ServerBody, empty, error, json_reply, page, refused, success, uncaught, unsupported};
use super::decimal::Decimal;
use super::load::Rows;
use super::params::{Fields, Nested, body, server};
use super::store::{Edit, Loaded, Server, ServerState};
use super::{Scalelite, ServerIds};
use crate::bbb::Secret;
use crate::bbb::checksum::{parameter, verify};
use crate::http::{Request, Response, reply};

const BASE: &str = "/scalelite/api/";
/// The largest body that the proxy lets through, nginx's default.
const BODY_LIMIT: usize = 1024 * 1024;
/// Rails' message for a missing `server`.
const NO_SERVER: &str = "param is missing or the value is empty: server";

/// Returns the last segment of a path of the API, without the format that Rails lets stand there: the checksum does
/// not cover it.
pub(super) fn operation(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(BASE)?.trim_end_matches('/');
    Some(rest.strip_suffix(".json").unwrap_or(rest))
}

pub(super) async fn answer(scalelite: &Scalelite, request: &Request) -> Response {
    if let Some(answer) = before_rails(scalelite, request) {
        return answer;
    }
    if matches!(request.path.as_str(), "/health_check" | "/") {
        return health_check(scalelite);
    }
    let Some(operation) = operation(&request.path).filter(|_| scalelite.config().has_api()) else {
        return unsupported();
    };
    match (request.method.as_str(), operation) {
        ("GET", "getServers" | "getServerInfo")
        | ("POST", "addServer" | "updateServer" | "deleteServer" | "panicServer") => {}
        _ => return unsupported(),
    }
    let body = match check(scalelite, request, operation) {
        Ok(body) => body,
        Err(answer) => return *answer,
    };
    if scalelite.state().redis_down {
        return uncaught(500, request);
    }
    scalelite.charge(operation).await;
    match operation {
        "getServers" => list(scalelite),
        "addServer" => add(scalelite, request, &body).await,
        _ => with_server(scalelite, request, operation, &body).await,
    }
}

/// Returns the answers of proxies and Rails' middleware, which come before Scalelite.
fn before_rails(scalelite: &Scalelite, request: &Request) -> Option<Response> {
    if scalelite.state().recordings_only {
        return Some(page(404));
    }
    if request.body.len() > BODY_LIMIT {
        return Some(page(413));
    }
    let host = request.header("host");
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let wanted = scalelite.config().url_host?;
    (!name.eq_ignore_ascii_case(&wanted)).then(|| empty(403))
}

/// Answers a health check, always with 200.
fn health_check(scalelite: &Scalelite) -> Response {
    let text = if scalelite.state().redis_down {
        "Health Check Failure: Cannot connect to Redis"
    } else {
        "success"
    };
    reply(200, "text/plain; charset=utf-8", text)
}

/// Checks content type, JSON and checksum; returns the body's parameters when all are right.
fn check(
    scalelite: &Scalelite,
    request: &Request,
    operation: &str,
) -> Result<Map<String, Value>, Box<Response>> {
    let mut parameters = Map::new();
    if request.method == "POST" {
        let content_type = request.header("content-type").split(';').next().unwrap_or_default().trim();
        if !content_type.eq_ignore_ascii_case("application/json") {
            return Err(Box::new(refused(
                "unsupportedContentType",
                "POST request Content-Type is missing or unsupported",
            )));
        }
        parameters = body(&request.body).map_err(|()| Box::new(uncaught(400, request)))?;
    }
    let config = scalelite.config();
    if !verify(operation, &request.query, config.secret.expose(), &config.algorithms) {
        return Err(Box::new(refused("checksumError", "You did not pass the checksum security check")));
    }
    Ok(parameters)
}

/// Shows a server; `sent` are the fields of the request.
fn show(scalelite: &Scalelite, status: u16, server: &Loaded, sent: Option<Fields<'_>>) -> Response {
    let body = ServerBody::new(server, scalelite.config().has_tags());
    let body = match sent {
        Some(fields) => body.with_numbers_as_sent(fields),
        None => body,
    };
    with_rows(1, json_reply(status, &body))
}

fn with_rows(rows: usize, mut response: Response) -> Response {
    response.extensions_mut().insert(Rows(rows as u64));
    response
}

fn list(scalelite: &Scalelite) -> Response {
    let servers = scalelite.state().store.all();
    if servers.is_empty() {
        return error(404, "No servers are configured");
    }
    let with_tags = scalelite.config().has_tags();
    let bodies: Vec<_> = servers.iter().map(|server| ServerBody::new(server, with_tags)).collect();
    with_rows(bodies.len(), json_reply(200, &bodies))
}

async fn add(scalelite: &Scalelite, request: &Request, body: &Map<String, Value>) -> Response {
    let fields = match server(body) {
        Nested::Missing => return refused("internalError", NO_SERVER),
        Nested::Wrong => return uncaught(500, request),
        Nested::Found(fields) => fields,
    };
    let (Some(url), Some(secret)) = (fields.present("url"), fields.present("secret")) else {
        return error(400, "Server needs a URL and a secret");
    };
    let Ok(multiplier) = fields.decimal("load_multiplier") else { return uncaught(500, request) };
    let config = scalelite.config();
    let id = match config.ids {
        ServerIds::Uuid => uuid(),
        ServerIds::Hostname => match host(&url) {
            Some(host) => host,
            None => return uncaught(500, request),
        },
    };
    let server = Server {
        id,
        number: 0,
        url,
        secret: Secret::new(secret),
        tag: fields.present("tag").filter(|_| config.has_tags()),
        bbb_version: None,
        state: None,
        online: false,
        multiplier: multiplier.filter(|given| !given.is_zero()).unwrap_or_else(|| Decimal::of(1.0)),
    };
    let version = scalelite.state().store.version();
    scalelite.gap().await;
    let added = scalelite.state().add(server, version);
    added.map_or_else(|_| uncaught(500, request), |added| show(scalelite, 201, &added, Some(fields)))
}

async fn with_server(
    scalelite: &Scalelite,
    request: &Request,
    operation: &str,
    body: &Map<String, Value>,
) -> Response {
    // Rails merges the query over the body.
    let id = parameter(&request.query, "id").unwrap_or_else(|| match body.get("id") {
        Some(Value::String(id)) => id.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    });
    let found = scalelite.state().store.find(&id);
    let Some(found) = found else { return error(404, &format!("Couldn't find server with id={id}")) };
    match operation {
        "updateServer" => update(scalelite, found, body).await,
        "deleteServer" => {
            scalelite.gap().await;
            scalelite.state().delete(&id);
            success(&format!("Server id={id} was destroyed"))
        }
        "panicServer" => panic(scalelite, found, body).await,
        _ => show(scalelite, 200, &found, None),
    }
}

async fn update(scalelite: &Scalelite, found: Loaded, body: &Map<String, Value>) -> Response {
    let fields = match server(body) {
        Nested::Missing => return error(400, NO_SERVER),
        Nested::Wrong => return error(400, "undefined method 'permit'"),
        Nested::Found(fields) => fields,
    };
    let edit = match edit(fields, scalelite.config().has_tags()) {
        Ok(edit) => edit,
        Err(message) => return error(400, &message),
    };
    let version = found.version;
    scalelite.gap().await;
    let saved = scalelite.state().save(found, edit, version);
    match saved {
        Ok(saved) => {
            scalelite.polled_at_once(&saved.server.id);
            show(scalelite, 200, &saved, Some(fields))
        }
        Err(failure) => error(400, &failure.to_string()),
    }
}

/// Reads the changes of an update; a changed URL is silently ignored.
fn edit(fields: Fields<'_>, with_tags: bool) -> Result<Edit, String> {
    let state = match fields.present("state").as_deref() {
        None => None,
        Some("enable") => Some(ServerState::Enabled),
        Some("cordon") => Some(ServerState::Cordoned),
        Some("disable") => Some(ServerState::Disabled),
        Some(other) => return Err(format!("Invalid state parameter: {other}")),
    };
    let multiplier =
        fields.decimal("load_multiplier").map_err(|()| "undefined method 'to_d' for true".to_owned())?;
    if multiplier.as_ref().is_some_and(Decimal::is_zero) {
        return Err("Load-multiplier must be a non-zero number".to_owned());
    }
    let tag = (with_tags && fields.given("tag")).then(|| fields.present("tag"));
    Ok(Edit { state, multiplier, secret: fields.present("secret"), tag, ..Edit::default() })
}

/// Forgets and ends one meeting after the other, and gives up at the first that the host does not end.
async fn panic(scalelite: &Scalelite, found: Loaded, body: &Map<String, Value>) -> Response {
    let id = found.server.id.clone();
    let refusal = || error(400, &format!("Couldn't disable server id={id}"));
    // It counts only at the top level, and any text that is not blank means true, even "false".
    let keep_state = Fields(body).present("keep_state").is_some();
    let meetings = scalelite.state().store.meetings_of(&id);
    if refuse(scalelite, meetings.first()) {
        return refusal();
    }
    for meeting in meetings {
        if !scalelite.end_mapped(&found.server, &meeting).await {
            return refusal();
        }
    }
    let version = scalelite.state().store.version();
    scalelite.gap().await;
    let state = (!keep_state).then_some(ServerState::Disabled);
    let saved = scalelite.state().save(found, Edit { state, ..Edit::default() }, version);
    match saved {
        Ok(_) => success(&format!("Server id={id} has been disabled and the meetings have been destroyed")),
        Err(_) => refusal(),
    }
}

/// Refuses a panic when a test demands it, as if the host did not end its first meeting.
fn refuse(scalelite: &Scalelite, first: Option<&String>) -> bool {
    let mut state = scalelite.state();
    let Some(left) = state.panics_to_refuse.checked_sub(1) else { return false };
    state.panics_to_refuse = left;
    if let Some(meeting) = first {
        state.store.meetings.remove(meeting);
    }
    true
}

fn host(url: &str) -> Option<String> {
    let uri: hyper::Uri = url.parse().ok()?;
    uri.scheme()?;
    uri.host().map(str::to_ascii_lowercase)
}

pub(super) fn uuid() -> String {
    let bits = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let text = format!("{bits:032x}");
    let part = |range| text.get(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}
