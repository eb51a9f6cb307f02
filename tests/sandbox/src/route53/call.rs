//! The requests and their results, for tests that count calls.

use std::time::Instant;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// When the request came, by the clock of [`super::Options`].
    pub at: Instant,
    /// The operation, e.g. `ChangeResourceRecordSets`.
    pub operation: &'static str,
    /// The code of the refusal, e.g. `Throttling`; none when the request was carried out.
    pub refusal: Option<String>,
}
