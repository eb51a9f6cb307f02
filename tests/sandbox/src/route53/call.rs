//! What was asked and how that ended, for whoever counts calls.

use std::time::Instant;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it came, by the clock of [`super::Options`].
    pub at: Instant,
    /// E.g. `ChangeResourceRecordSets`.
    pub operation: &'static str,
    /// The code of the refusal, e.g. `Throttling`; none when it was carried out.
    pub refusal: Option<String>,
}
