//! The own entries: they are added, known, and deleted again whatever happens. No other entry is ever touched.

use std::time::Duration;

use sandbox::bbb::checksum::Algorithm;
use serde_json::{Map, Value, json};

use crate::shape::{list, object, single};
use crate::target::{Answer, Problem, Request, Target};
use crate::{HOST, SECRET, URL};

/// How often a request is sent that meets save conflicts.
const TRIES: u32 = 20;
/// The time before it is sent again.
const PAUSE: Duration = Duration::from_millis(20);
const CONFLICT: &str = "Servers list concurrently modified";

/// The own entries in a Scalelite.
pub(crate) struct Entries<'a> {
    target: &'a Target,
    pub(crate) algorithm: Algorithm,
    /// The ids of those that were added and not deleted again.
    ids: Vec<String>,
    /// The entry that rows speak of. It may have been deleted.
    pub(crate) current: Option<String>,
    pub(crate) conflicts: u32,
}

/// Reports whether an entry is an own one, perhaps of an earlier run that was killed.
fn is_own(entry: &Map<String, Value>) -> bool {
    let has = |key: &str| {
        entry.get(key).and_then(Value::as_str).is_some_and(|text| text.to_lowercase().contains(HOST))
    };
    has("url") || has("secret")
}

fn id(entry: &Map<String, Value>) -> Option<String> {
    entry.get("id").and_then(Value::as_str).map(str::to_owned)
}

/// Reports whether a request met a save conflict: a client that is alone meets them, too.
fn is_conflict(request: &Request, answer: &Answer) -> bool {
    let error = single(answer, "error");
    let says =
        |text: &str| error.as_ref().and_then(Value::as_str).is_some_and(|error| error.starts_with(text));
    match (request.action.as_str(), answer.status) {
        ("addServer", 500) => true,
        ("updateServer", 400) => says(CONFLICT),
        ("panicServer", 400) => says("Couldn't disable server"),
        ("deleteServer", 400) => says("Couldn't destroy server"),
        _ => false,
    }
}

impl<'a> Entries<'a> {
    pub(crate) fn new(target: &'a Target, algorithm: Algorithm) -> Self {
        Self { target, algorithm, ids: Vec::new(), current: None, conflicts: 0 }
    }

    /// Sends a request, again if it meets a save conflict where another answer is expected. Whatever it adds is known.
    pub(crate) async fn send(&mut self, request: &Request, expected: u16) -> Result<Answer, Problem> {
        let mut tries = TRIES;
        loop {
            let answer = self.target.send(request).await;
            if let Some(id) = answer.as_ref().ok().filter(|answer| answer.status == 201).and_then(added) {
                self.ids.push(id.clone());
                self.current = Some(id);
            }
            let answer = answer?;
            tries -= 1;
            if tries == 0 || answer.status == expected || !is_conflict(request, &answer) {
                return Ok(answer);
            }
            self.conflicts += 1;
            tokio::time::sleep(PAUSE).await;
            if request.action == "addServer" {
                self.delete_unknown().await?;
            }
        }
    }

    /// Deletes own entries that are not known: an add that answered 500 may have added one.
    async fn delete_unknown(&self) -> Result<(), Problem> {
        let (own, _) = self.list().await?;
        for id in own.iter().filter(|id| !self.ids.contains(id)) {
            self.target.send(&self.deletion(id)).await?;
        }
        Ok(())
    }

    fn deletion(&self, id: &str) -> Request {
        Request::new("POST", "deleteServer", self.algorithm, Some(json!({ "id": id }).to_string()))
    }

    /// Adds a plain entry.
    pub(crate) async fn add_plain(&mut self) -> Result<Map<String, Value>, Problem> {
        let body = json!({ "server": { "url": URL, "secret": SECRET } }).to_string();
        let request = Request::new("POST", "addServer", self.algorithm, Some(body));
        let answer = self.send(&request, 201).await?;
        let status = answer.status;
        object(&answer)
            .filter(|_| status == 201)
            .ok_or_else(|| format!("an entry cannot be added: {}", crate::shape::shown(&answer)))
    }

    /// Lists the pool: the own entries' ids, and the number of the others.
    pub(crate) async fn list(&self) -> Result<(Vec<String>, usize), Problem> {
        let request = Request::new("GET", "getServers", self.algorithm, None);
        let answer = self.target.send(&request).await?;
        if answer.status == 404 && single(&answer, "error").is_some() {
            return Ok((Vec::new(), 0));
        }
        let entries = list(&answer)
            .filter(|_| answer.status == 200)
            .ok_or_else(|| format!("the entries cannot be listed: {}", crate::shape::shown(&answer)))?;
        let (own, others): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|entry| is_own(entry) || id(entry).is_some_and(|id| self.ids.contains(&id)));
        Ok((own.iter().filter_map(id).collect(), others.len()))
    }

    /// Deletes all own entries. Returns the ids of those that are still there.
    pub(crate) async fn clear(&mut self) -> Result<Vec<String>, Problem> {
        let mut left = Vec::new();
        // What a delete answers does not tell whether it was one: the list does.
        for _ in 0..TRIES {
            left = self.list().await?.0;
            if left.is_empty() {
                self.ids.clear();
                self.current = None;
                break;
            }
            for id in &left {
                self.send(&self.deletion(id), 200).await?;
            }
        }
        Ok(left)
    }
}

/// Returns the id of the entry that an answer shows.
fn added(answer: &Answer) -> Option<String> {
    object(answer).as_ref().and_then(id)
}
