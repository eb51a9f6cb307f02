//! The replay of the table against one Scalelite.

use std::future::Future;
use std::pin::pin;

use futures_util::future::{Either, select};
use sandbox::bbb::checksum::Algorithm;
use serde_json::{Map, Value};

use crate::entries::Entries;
use crate::report::{Report, Verdict};
use crate::row::{Before, Row, rows};
use crate::shape::{Shape, refusal, shown};
use crate::target::{Problem, Request, Target};
use crate::{HOST, URL};

/// What is known of a Scalelite before the rows are asked.
struct Facts {
    allowed: Vec<Algorithm>,
    others: usize,
    tags: bool,
    hostname_ids: bool,
}

/// Asks all rows, then deletes what was added, also when `stop` comes first.
pub async fn replay(target: &Target, stop: impl Future<Output = ()>) -> Report {
    let mut report = Report::default();
    let allowed = match allowed(target).await {
        Ok(allowed) => allowed,
        Err(why) => return Report { ended: Some(why), ..report },
    };
    let Some(usual) = allowed.first().copied() else {
        let why = "the checksum is refused by every algorithm: is this the load balancer's secret?";
        return Report { ended: Some(why.to_owned()), ..report };
    };
    let mut entries = Entries::new(target, usual);
    let stopped = {
        let all = pin!(ask_all(&mut entries, allowed, &mut report));
        match select(all, pin!(stop)).await {
            Either::Left((ended, _)) => ended.err(),
            Either::Right(((), _)) => Some("it was stopped".to_owned()),
        }
    };
    report.ended = stopped;
    match entries.clear().await {
        Ok(left) => report.left = left,
        Err(why) => {
            let why = format!("what was added may still be there (its URLs contain {HOST}): {why}");
            report.ended = Some(report.ended.map_or(why.clone(), |ended| format!("{ended}; {why}")));
        }
    }
    report.conflicts = entries.conflicts;
    report
}

/// Returns the algorithms that Scalelite allows for checksums, the agents' own first.
async fn allowed(target: &Target) -> Result<Vec<Algorithm>, Problem> {
    let mut allowed = Vec::new();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Sha1] {
        let answer = target.send(&Request::new("GET", "getServers", algorithm, None)).await?;
        match (answer.status, refusal(&answer).as_deref()) {
            (200 | 404, None) => allowed.push(algorithm),
            (200, Some("checksumError")) => {}
            (200, Some("unsupportedRequest")) => {
                return Err("this Scalelite has no management API: it is older than 1.5.1".to_owned());
            }
            _ => return Err(format!("this is no answer of Scalelite's API: {}", shown(&answer))),
        }
    }
    Ok(allowed)
}

async fn ask_all(
    entries: &mut Entries<'_>,
    allowed: Vec<Algorithm>,
    report: &mut Report,
) -> Result<(), Problem> {
    let facts = look(entries, allowed).await?;
    report.notes = notes(&facts);
    for row in rows()? {
        let verdict = match obstacle(&row, &facts, entries) {
            Some(why) => Verdict::NotAsked(why),
            None => ask(&row, &facts, entries).await?,
        };
        report.rows.push((row.what.clone(), row.shown(), verdict));
    }
    Ok(())
}

/// Finds out what decides which rows can be asked.
async fn look(entries: &mut Entries<'_>, allowed: Vec<Algorithm>) -> Result<Facts, Problem> {
    let left = entries.clear().await?;
    if !left.is_empty() {
        return Err(format!("entries of an earlier run cannot be deleted: {}", left.join(", ")));
    }
    let (_, others) = entries.list().await?;
    let plain: Map<String, Value> = entries.add_plain().await?;
    let hostname_ids = plain.get("id").and_then(Value::as_str) == Some(HOST);
    let tags = plain.contains_key("tag");
    if plain.get("url").and_then(Value::as_str) != Some(URL) {
        return Err("the entry that was added is not the one that is shown".to_owned());
    }
    Ok(Facts { allowed, others, tags, hostname_ids })
}

fn notes(facts: &Facts) -> Vec<String> {
    let mut notes = vec![match facts.others {
        0 => "The pool is empty.".to_owned(),
        others => format!("The pool is in use ({others} entries): what needs an empty one is not asked."),
    }];
    if facts.hostname_ids {
        notes.push("SERVER_ID_IS_HOSTNAME is set.".to_owned());
    }
    if !facts.tags {
        notes.push("This Scalelite has no tags: it is older than 1.6.0.".to_owned());
    }
    notes
}

/// Returns why a row cannot be asked here, if it cannot.
fn obstacle(row: &Row, facts: &Facts, entries: &Entries<'_>) -> Option<String> {
    let unmet = row.conditions.iter().find_map(|condition| match condition.as_str() {
        "empty pool" if facts.others > 0 => Some("the pool is in use"),
        "tags" if !facts.tags => Some("this Scalelite has no tags"),
        "uuid ids" if facts.hostname_ids => Some("SERVER_ID_IS_HOSTNAME is set"),
        "hostname ids" if !facts.hostname_ids => Some("SERVER_ID_IS_HOSTNAME is not set"),
        _ => None,
    });
    let algorithm = row.request_for("", entries.algorithm).map(|request| request.algorithm);
    let refused = algorithm.is_ok_and(|algorithm| !facts.allowed.contains(&algorithm));
    let unmet = unmet.or(refused.then_some("LOADBALANCER_CHECKSUM_ALGORITHM does not allow it"));
    let lost = row.needs_id() && row.before != Before::One && entries.current.is_none();
    unmet.or(lost.then_some("the entry that it is about was not added")).map(str::to_owned)
}

async fn ask(row: &Row, facts: &Facts, entries: &mut Entries<'_>) -> Result<Verdict, Problem> {
    if row.before != Before::AsTheyAre {
        let left = entries.clear().await?;
        if !left.is_empty() {
            return Err(format!("an entry cannot be deleted: {}", left.join(", ")));
        }
    }
    if row.before == Before::One {
        entries.add_plain().await?;
    }
    let before = entries.current.clone().unwrap_or_default();
    let request = row.request_for(&before, entries.algorithm)?;
    let recorded = row.answer_for(&before);
    let shape = Shape::parse(&recorded)?;
    let answer = entries.send(&request, row.status).await?;
    let difference = match answer.status == row.status {
        true => shape.difference(&answer, entries.current.as_deref(), facts.tags),
        false => Some("another status".to_owned()),
    };
    Ok(match difference {
        None => Verdict::Alike,
        Some(what) => Verdict::Differs {
            recorded: format!("{} {recorded}", row.status),
            here: format!("{} ({what})", shown(&answer)),
        },
    })
}
