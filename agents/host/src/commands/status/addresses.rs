//! The part of the status about the address that BBB announces.

use plan::addresses::{Announced, Difference, OnAddresses, decide};
use plan::health::Part;

use super::facts::{Addresses, WrongAddress};

/// The reason why a host has no entry in Scalelite.
pub(super) const KEPT_OUT: &str = "it does not join Scalelite while BBB announces another address";

/// Tells whether what BBB announces keeps the host out of Scalelite.
pub(super) fn keep_out(announced: &Announced, on: OnAddresses) -> bool {
    decide(on, Some(announced)).keeps_out()
}

/// Returns this part with its weight in the verdict.
pub(super) fn weighed(announced: &Announced, on: OnAddresses) -> (Addresses, Part) {
    let words = announced.to_string();
    let shown = Addresses {
        right: announced.wrong().map(|wrong| wrong == 0),
        differences: announced.differences().iter().map(shown).collect(),
        error: (announced.wrong().is_none() && !matches!(announced, Announced::Nothing(_)))
            .then(|| words.clone()),
    };
    let part = match (announced, on) {
        (_, OnAddresses::Ignore) | (Announced::Nothing(_), _) => Part::NotUsed,
        (Announced::Right, _) => Part::InOrder,
        (Announced::Other(_) | Announced::Unfinished | Announced::Image(_) | Announced::OtherTurn, _) => {
            Part::Drift(words)
        }
        (Announced::Unknown(_), _) => Part::Unknown(words),
    };
    (shown, part)
}

fn shown(difference: &Difference) -> WrongAddress {
    WrongAddress {
        file: difference.place.file().path().to_owned(),
        key: difference.place.key().to_owned(),
        found: difference.found.to_string(),
        wanted: difference.wanted.to_string(),
    }
}
