//! Batches of deletions: Route 53 applies all of a batch or nothing, and limits its size.

use super::Finding;
use crate::dns::{Change, ChangeBatch};
use crate::record::{RecordSet, RecordType, quote_txt};

/// The most values in a batch (Route 53 developer guide, "Quotas": ResourceRecord elements).
const VALUES: usize = 1000;
/// The most characters in all values of a batch (likewise).
const CHARACTERS: usize = 32_000;

/// Plans the deletion of these hosts' record sets by exact value, the sets of a host in one batch. Hosts share
/// batches, so that a fleet that died costs few calls; `apart` gives each host its own, for when one of them was
/// changed meanwhile. A host with an unusual name always has its own batch, since IAM may deny it.
pub fn batches<'a>(gone: &[&'a Finding], apart: bool) -> Vec<(Vec<&'a Finding>, ChangeBatch)> {
    let mut batches: Vec<(Vec<&Finding>, ChangeBatch)> = Vec::new();
    let mut room = None;
    for finding in gone {
        let needed = size(&finding.sets);
        let deletes = finding.sets.iter().cloned().map(Change::Delete);
        let shares = !apart && finding.is_usual;
        let left = room.and_then(|(values, characters): (usize, usize)| {
            Some((values.checked_sub(needed.0)?, characters.checked_sub(needed.1)?))
        });
        match (left.filter(|_| shares), batches.last_mut()) {
            (Some(left), Some((hosts, ChangeBatch(changes)))) => {
                hosts.push(finding);
                changes.extend(deletes);
                room = Some(left);
            }
            _ => {
                batches.push((vec![finding], ChangeBatch(deletes.collect())));
                room = shares.then(|| (VALUES.saturating_sub(needed.0), CHARACTERS.saturating_sub(needed.1)));
            }
        }
    }
    batches
}

/// Returns how many values there are, and how many characters in all.
fn size(sets: &[RecordSet]) -> (usize, usize) {
    let values = sets.iter().flat_map(|set| set.values.iter().map(move |value| (set.kind, value)));
    let lengths = values.map(|(kind, value)| match kind {
        RecordType::Txt => quote_txt(value).len(),
        RecordType::A | RecordType::Aaaa => value.len(),
    });
    lengths.fold((0, 0), |(count, sum), length| (count + 1, sum + length))
}
