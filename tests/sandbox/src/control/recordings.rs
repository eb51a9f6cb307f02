//! The calls for a host's recordings and the Redis with their queues.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::{Call, Outcome, Problem, done};
use crate::recordings::{Recordings, Stage};
use crate::redis::Manner;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recording {
    id: String,
    stage: Stage,
}

/// Files of a recording: see [`Recordings::put`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    id: String,
    files: String,
    #[serde(default)]
    age_seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Sender {
    /// The script's name; none means upstream's.
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Queues {
    queues: BTreeMap<String, u64>,
    manner: Manner,
    password: Option<String>,
}

pub(super) fn call(call: &Call<'_>) -> Option<Outcome> {
    let (method, path) = call.parts();
    if !matches!(path.first(), Some(&("recordings" | "redis"))) {
        return None;
    }
    let host = match call.host() {
        Ok(host) => host,
        Err(problem) => return Some(Err(problem)),
    };
    let recordings = &host.recordings;
    let outcome = match (method, path.as_slice()) {
        ("GET", ["recordings"]) => Ok(show(recordings)),
        ("POST", ["recordings"]) => call
            .body::<Recording>()
            .and_then(|recording| changed(recordings.reach(&recording.id, recording.stage), recordings)),
        ("POST", ["recordings", id, "advance"]) => changed(recordings.advance(id), recordings),
        ("POST", ["recordings", id, "fail"]) => changed(recordings.fail(id), recordings),
        ("POST", ["recordings", "sender"]) => call.body::<Sender>().and_then(|sender| {
            let installed = match sender.name {
                Some(name) if name.contains('/') => Err(ErrorKind::InvalidInput.into()),
                Some(name) => recordings.install_sender_as(&name),
                None => recordings.install_sender(),
            };
            changed(installed, recordings)
        }),
        ("POST", ["recordings", "files"]) => {
            call.body::<Files>().and_then(|Files { id, files, age_seconds }| {
                changed(recordings.put(&id, &files, Duration::from_secs(age_seconds)), recordings)
            })
        }
        ("PUT", ["redis"]) => call.body::<Queues>().and_then(|wanted| {
            wanted.queues.iter().for_each(|(name, jobs)| recordings.redis().set_queue(name, *jobs));
            recordings.redis().set_manner(wanted.manner);
            recordings.redis().set_password(wanted.password.as_deref());
            done()
        }),
        _ => return None,
    };
    Some(outcome)
}

fn show(recordings: &Recordings) -> serde_json::Value {
    json!({
        "directory": recordings.directory(),
        "stages": recordings.stages(),
        "redis": recordings.redis().address(),
        "queues": recordings.redis().queues(),
    })
}

fn changed(result: Result<(), Error>, recordings: &Recordings) -> Outcome {
    match result {
        Ok(()) => Ok(show(recordings)),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Problem::absent(error.to_string())),
        Err(error) if error.kind() == ErrorKind::InvalidInput => Err(Problem::bad(error.to_string())),
        Err(error) => Err(Problem::conflict(error.to_string())),
    }
}
