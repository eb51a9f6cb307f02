//! The rows of the table.

use sandbox::bbb::checksum::Algorithm;

use crate::target::{Checksum, Request};
use crate::{SECRET, URL};

const TABLE: &str = include_str!("table.md");

/// One request with its recorded answer.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is about.
    pub what: String,
    /// The conditions, all of which have to hold.
    pub conditions: Vec<String>,
    /// The own entries before it.
    pub before: Before,
    request: String,
    body: String,
    /// The recorded status.
    pub status: u16,
    /// The recorded answer.
    pub answer: String,
}

/// The own entries before a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Those that the row before has left.
    AsTheyAre,
    /// None.
    None,
    /// A plain one.
    One,
}

/// Returns all rows, or the first line that is none.
pub fn rows() -> Result<Vec<Row>, String> {
    TABLE.lines().skip(2).map(row).collect()
}

fn row(line: &str) -> Result<Row, String> {
    let wrong = |what: &str| format!("{what}: {line}");
    let inner = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
    let cells: Vec<&str> =
        inner.ok_or_else(|| wrong("no row"))?.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
    let [what, conditions, before, request, body, status, answer] = cells.as_slice() else {
        return Err(wrong("not 7 cells"));
    };
    Ok(Row {
        what: (*what).to_owned(),
        conditions: conditions
            .split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .map(str::to_owned)
            .collect(),
        before: match *before {
            "" => Before::AsTheyAre,
            "none" => Before::None,
            "one" => Before::One,
            _ => return Err(wrong("unknown entries before it")),
        },
        request: (*request).to_owned(),
        body: (*body).to_owned(),
        status: status.parse().map_err(|_| wrong("no status"))?,
        answer: (*answer).to_owned(),
    })
}

impl Row {
    /// Reports whether the row needs an entry of before.
    pub(crate) fn needs_id(&self) -> bool {
        [&self.request, &self.body, &self.answer].iter().any(|text| text.contains("$ID"))
    }

    /// Returns the recorded answer for this entry.
    pub(crate) fn answer_for(&self, id: &str) -> String {
        filled(&self.answer, id)
    }

    /// Returns the request for this entry; `usual` is the algorithm where the row names none.
    pub(crate) fn request_for(&self, id: &str, usual: Algorithm) -> Result<Request, String> {
        let (request, modifier) = match self.request.split_once(" (") {
            Some((request, modifier)) => (request, modifier.trim_end_matches(')')),
            None => (self.request.as_str(), ""),
        };
        let (method, path) = request.split_once(' ').ok_or_else(|| format!("no request: {request}"))?;
        let (action, query) = path.split_once('?').unwrap_or((path, ""));
        let mut filled_in = Request {
            method: method.to_owned(),
            action: action.to_owned(),
            query: filled(query, id),
            checksum: Checksum::Right,
            algorithm: usual,
            content_type: (method != "GET").then(|| "application/json".to_owned()),
            accept: "application/json".to_owned(),
            body: (method != "GET").then(|| filled(&self.body, id)),
        };
        match modifier {
            "" => {}
            "no checksum" => filled_in.checksum = Checksum::Missing,
            "wrong checksum" => filled_in.checksum = Checksum::Wrong,
            "upper-case checksum" => filled_in.checksum = Checksum::UpperCase,
            "checksum first" => filled_in.checksum = Checksum::First,
            "accepts anything" => filled_in.accept = "*/*".to_owned(),
            "SHA-1" => filled_in.algorithm = Algorithm::Sha1,
            "SHA-256" => filled_in.algorithm = Algorithm::Sha256,
            "SHA-512" => filled_in.algorithm = Algorithm::Sha512,
            other => match (other.strip_prefix("checksum of "), other.strip_prefix("type ")) {
                (Some(action), _) => filled_in.checksum = Checksum::Of(action.to_owned()),
                (_, Some(content_type)) => filled_in.content_type = Some(content_type.to_owned()),
                (None, None) => return Err(format!("unknown: {other}")),
            },
        }
        Ok(filled_in)
    }

    /// Returns the request as a person reads it.
    pub(crate) fn shown(&self) -> String {
        format!("{} {}", self.request, self.body).trim_end().to_owned()
    }
}

fn filled(text: &str, id: &str) -> String {
    text.replace("$ID", id).replace("$URL", URL).replace("$SECRET", SECRET)
}

#[cfg(test)]
mod tests {
    use super::{Before, rows};
    use crate::shape::Shape;
    use sandbox::bbb::checksum::Algorithm;

    #[test]
    fn every_row_is_understood() {
        let rows = rows().unwrap();
        assert!(rows.len() > 80);
        for row in &rows {
            row.request_for("id", Algorithm::Sha256).unwrap_or_else(|error| panic!("{}: {error}", row.what));
            Shape::parse(&row.answer_for("id")).unwrap_or_else(|error| panic!("{}: {error}", row.what));
            for condition in &row.conditions {
                assert!(
                    ["empty pool", "tags", "uuid ids", "hostname ids"].contains(&condition.as_str()),
                    "{condition}"
                );
            }
        }
        assert!(rows.iter().any(|row| row.before == Before::One && !row.conditions.is_empty()));
    }

    /// Entries that a program which was killed leaves behind are found again.
    #[test]
    fn every_entry_that_is_added_can_be_told_from_others() {
        for row in rows().unwrap() {
            let request = row.request_for("id", Algorithm::Sha256).unwrap();
            if row.status == 201 {
                assert!(request.body.unwrap().to_lowercase().contains(crate::HOST), "{}", row.what);
            }
        }
    }
}
