//! The calls for Scalelite and the BBB hosts.

use serde::Deserialize;
use serde_json::json;

use super::{Call, Outcome, Problem, done};
use crate::bbb::{Mode, NewMeeting, ParentIds};
use crate::scalelite::{Refusal, ServerState};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Meeting {
    id: String,
    #[serde(default)]
    tag: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    url: String,
    secret: String,
    state: ServerState,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Install {
    secret: String,
}

pub(super) async fn call(call: &Call<'_>) -> Option<Outcome> {
    let scalelite = &call.cloud.scalelite;
    let (method, path) = call.parts();
    let outcome = match (method, path.as_slice()) {
        ("GET", ["scalelite"]) => Ok(json!(scalelite.snapshot())),
        ("POST", ["scalelite", "poll"]) => {
            scalelite.poll().await;
            Ok(json!(scalelite.snapshot()))
        }
        ("POST", ["scalelite", "poll-begin"]) => {
            scalelite.poll_begin().await;
            done()
        }
        ("POST", ["scalelite", "poll-end"]) => {
            if scalelite.poll_end().await {
                done()
            } else {
                Err(Problem::conflict("no poll was begun"))
            }
        }
        ("POST", ["scalelite", "hold"]) => {
            scalelite.hold();
            done()
        }
        ("POST", ["scalelite", "release"]) => {
            scalelite.release();
            done()
        }
        ("PUT", ["scalelite", "refuse-panics"]) => call.body().and_then(|times| {
            scalelite.refuse_panics(times);
            done()
        }),
        ("POST", ["scalelite", "meetings"]) => create(call).await,
        ("POST", ["scalelite", "join"]) => {
            call.body::<Meeting>().and_then(|meeting| placed(scalelite.join(&meeting.id)))
        }
        ("POST", ["scalelite", "servers"]) => call
            .body::<Entry>()
            .map(|entry| json!({ "id": scalelite.add_server(&entry.url, &entry.secret, entry.state) })),
        ("PUT", ["scalelite", "servers", id, "state"]) => set_state(call, id),
        ("DELETE", ["scalelite", "servers", id]) => delete(call, id),
        (_, ["bbb", ..]) => return bbb(call),
        _ => return None,
    };
    Some(outcome)
}

async fn create(call: &Call<'_>) -> Outcome {
    let meeting: Meeting = call.body()?;
    placed(call.cloud.scalelite.create_meeting_tagged(&meeting.id, meeting.tag.as_deref()).await)
}

/// Returns the server's URL, or the refusal as a load balancer's client sees it.
fn placed(result: Result<String, Refusal>) -> Outcome {
    match result {
        Ok(url) => Ok(json!({ "server": url })),
        Err(refusal) => Err(Problem::conflict(format!("{}: {}", refusal.key, refusal.message))),
    }
}

fn known(call: &Call<'_>, id: &str) -> Result<(), Problem> {
    let known = call.cloud.scalelite.servers().iter().any(|server| server.id == id);
    if known { Ok(()) } else { Err(Problem::absent(format!("no server {id}"))) }
}

fn set_state(call: &Call<'_>, id: &str) -> Outcome {
    known(call, id)?;
    let state: ServerState = call.body()?;
    if call.cloud.scalelite.set_state(id, state) {
        done()
    } else {
        Err(Problem::conflict("it changed meanwhile"))
    }
}

fn delete(call: &Call<'_>, id: &str) -> Outcome {
    known(call, id)?;
    call.cloud.scalelite.delete_server(id);
    done()
}

fn bbb(call: &Call<'_>) -> Option<Outcome> {
    let host = match call.host() {
        Ok(host) => host,
        Err(problem) => return Some(Err(problem)),
    };
    let (method, path) = call.parts();
    let outcome = match (method, path.as_slice()) {
        ("GET", ["bbb"]) => Ok(json!(host.bbb.snapshot())),
        ("PUT", ["bbb", "mode"]) => call.body::<Mode>().and_then(|mode| {
            host.bbb.set_mode(mode);
            done()
        }),
        ("PUT", ["bbb", "parent-ids"]) => call.body::<ParentIds>().and_then(|ids| {
            host.bbb.set_parent_ids(ids);
            done()
        }),
        ("PUT", ["bbb", "listing"]) => call.text().and_then(|text| {
            host.bbb.set_listing(Some(text));
            done()
        }),
        ("DELETE", ["bbb", "listing"]) => {
            host.bbb.set_listing(None);
            done()
        }
        ("POST", ["bbb", "install"]) => call
            .body::<Install>()
            .and_then(|install| {
                host.install(&install.secret).map_err(|error| Problem::conflict(error.to_string()))
            })
            .and_then(|()| done()),
        ("POST", ["bbb", "uninstall"]) => {
            host.bbb.set_mode(Mode::NotInstalled);
            host.files.remove().map_err(|error| Problem::conflict(error.to_string())).and_then(|()| done())
        }
        ("POST", ["bbb", "meetings"]) => start(call, |meeting| host.bbb.start(meeting)),
        ("DELETE", ["bbb", "meetings"]) => {
            host.bbb.end_all();
            done()
        }
        ("DELETE", ["bbb", "meetings", id]) => {
            if host.bbb.end_meeting(id) {
                done()
            } else {
                Err(Problem::absent(format!("no meeting {id}")))
            }
        }
        _ => return None,
    };
    Some(outcome)
}

fn start(call: &Call<'_>, start: impl FnOnce(NewMeeting)) -> Outcome {
    let meeting: NewMeeting = call.body()?;
    if meeting.id.is_empty() {
        return Err(Problem::bad("the meeting needs an id"));
    }
    start(meeting);
    done()
}
