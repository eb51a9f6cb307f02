//! The circumstances of a refusal by AWS, which tell whether it passes: how far the clocks differ, and how old the keys
//! of the instance's role are. [`super::connector`] notes them in the answer's headers, because an SDK error carries
//! nothing else that is ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

/// The least difference of the clocks, in seconds, that explains a refusal: AWS tolerates five minutes, and the SDK
/// (aws-runtime's `service_clock_skew`) suspects the clock from four on.
const SKEW: u64 = 4 * 60;
/// The age, in seconds, up to which keys count as young: IAM's changes need "a minute or more" to be known everywhere.
const YOUNG: u64 = 5 * 60;

/// The header with the seconds by which AWS's clock is ahead.
const AHEAD: &str = "x-agent-clock-ahead";
/// The header with the age of the role's keys in seconds.
const AGE: &str = "x-agent-keys-age";

/// The time at which the keys in use were issued, in seconds since 1970; 0 unless they are the instance's role's.
#[derive(Clone, Debug, Default)]
pub(super) struct Issued(Arc<AtomicU64>);

impl Issued {
    pub(super) fn note(&self, time: Option<u64>) {
        self.0.store(time.unwrap_or_default(), Ordering::Relaxed);
    }
}

/// The circumstances of a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Circumstances {
    /// The seconds by which AWS's clock is ahead of this host's.
    pub(super) ahead: i64,
    /// The age of the role's keys in seconds, by AWS's clock.
    pub(super) age: Option<u64>,
}

impl Circumstances {
    /// Notes the circumstances of an answer that has just come, by the time in it, and replaces what the server may
    /// have written in their place.
    pub(super) fn note(answer: &mut HttpResponse, issued: &Issued) {
        let headers = answer.headers_mut();
        headers.remove(AHEAD);
        headers.remove(AGE);
        let date = headers.get("date").and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        let Some(theirs) = date.map(|date| date.secs()) else { return };
        // A clock before 1970 is as wrong as one at 1970.
        let ours = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs());
        let ours = ours.ok().and_then(|ours| i64::try_from(ours).ok()).unwrap_or_default();
        headers.insert(AHEAD, theirs.saturating_sub(ours).to_string());
        let issued = i64::try_from(issued.0.load(Ordering::Relaxed)).unwrap_or_default();
        if issued > 0 {
            // The keys are dated by AWS's clock, too.
            headers.insert(AGE, theirs.saturating_sub(issued).max(0).to_string());
        }
    }

    /// Reads what [`Self::note`] has noted.
    pub(super) fn of(answer: &HttpResponse) -> Self {
        let headers = answer.headers();
        // An answer without a time does not blame the clock: the refusal keeps its own words.
        let ahead = headers.get(AHEAD).and_then(|text| text.parse().ok()).unwrap_or_default();
        Self { ahead, age: headers.get(AGE).and_then(|text| text.parse().ok()) }
    }

    /// Reports whether the clocks differ by more than AWS tolerates.
    pub(super) fn is_skewed(self) -> bool {
        self.ahead.unsigned_abs() >= SKEW
    }

    /// Reports whether AWS may not know the keys, or the role's permissions, everywhere yet.
    pub(super) fn is_young(self) -> bool {
        self.age.is_some_and(|age| age <= YOUNG)
    }

    /// Says how wrong this host's clock is: `47 minutes behind AWS's`.
    pub(super) fn clock(self) -> String {
        let off = self.ahead.unsigned_abs();
        let (number, unit) = match off {
            0..120 => (off, "seconds"),
            120..7200 => ((off + 30) / 60, "minutes"),
            7200..172_800 => ((off + 1800) / 3600, "hours"),
            _ => ((off + 43_200) / 86_400, "days"),
        };
        format!("{number} {unit} {} AWS's", if self.ahead > 0 { "behind" } else { "ahead of" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_in_words() {
        let rows = [
            (2820, true, "47 minutes behind AWS's"),
            (-2820, true, "47 minutes ahead of AWS's"),
            (-7200, true, "2 hours ahead of AWS's"),
            (31_536_000, true, "365 days behind AWS's"),
            (240, true, "4 minutes behind AWS's"),
            (239, false, "4 minutes behind AWS's"),
            (5, false, "5 seconds behind AWS's"),
        ];
        for (ahead, skewed, words) in rows {
            let circumstances = Circumstances { ahead, age: None };
            assert_eq!(
                (circumstances.is_skewed(), circumstances.clock().as_str()),
                (skewed, words),
                "{ahead}"
            );
        }
    }

    #[test]
    fn only_our_own_notes_are_read() {
        let mut answer = HttpResponse::new(403.try_into().unwrap(), "".into());
        answer.headers_mut().insert(AHEAD, "9000");
        answer.headers_mut().insert(AGE, "1");
        Circumstances::note(&mut answer, &Issued::default());
        assert_eq!(Circumstances::of(&answer), Circumstances::default(), "there was no date");

        answer.headers_mut().insert("date", "Thu, 01 Jan 1970 02:00:00 GMT");
        let issued = Issued::default();
        issued.note(Some(7000));
        Circumstances::note(&mut answer, &issued);
        let found = Circumstances::of(&answer);
        assert_eq!(found.age, Some(200));
        assert!(found.is_skewed() && found.is_young() && found.ahead < 0, "{found:?}");
    }
}
