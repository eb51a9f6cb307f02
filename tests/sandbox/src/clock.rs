//! The cloud's clock: real time, plus the time that a test adds, so that a test need not wait for a deadline.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Time since 1970 as the stand-ins see it. Clones share one clock.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<Mutex<Duration>>);

impl Clock {
    /// Returns the present time, since 1970-01-01T00:00:00Z.
    pub fn now(&self) -> Duration {
        real_time() + *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the present time in whole seconds.
    pub fn seconds(&self) -> u64 {
        self.now().as_secs()
    }

    /// Lets time pass at once. Lifecycle hooks and IMDS tokens expire by this clock; request signatures and
    /// credentials do not, because their clients use the machine's clock.
    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

/// Returns the machine's time since 1970.
pub(crate) fn real_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Formats seconds since 1970 as `2026-01-31T23:59:59Z`.
pub fn iso8601(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Formats seconds since 1970 as `Sat, 31 Jan 2026 23:59:59 GMT`: a date in HTTP's headers (RFC 9110).
pub(crate) fn http_date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day) = civil(seconds / 86_400);
    let name = |names: &[&'static str], index: u64| names.get(index as usize).copied().unwrap_or_default();
    let (weekday, month) = (name(&DAYS, seconds / 86_400 % 7), name(&MONTHS, month - 1));
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Reads a time such as `20260131T235959Z`, as in the header `x-amz-date`.
pub(crate) fn parse_basic(text: &str) -> Option<u64> {
    let valid = text.len() == 16
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
    if !valid {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<u64>().ok());
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    if year < 1970
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

// Both conversions are Howard Hinnant's, https://howardhinnant.github.io/date_algorithms.html, for days since 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        for (seconds, iso, basic) in [
            (0, "1970-01-01T00:00:00Z", "19700101T000000Z"),
            (951_782_399, "2000-02-28T23:59:59Z", "20000228T235959Z"),
            (951_782_400, "2000-02-29T00:00:00Z", "20000229T000000Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z", "20251231T235959Z"),
            (1_767_225_600, "2026-01-01T00:00:00Z", "20260101T000000Z"),
        ] {
            assert_eq!(iso8601(seconds), iso);
            assert_eq!(parse_basic(basic), Some(seconds), "{basic}");
        }
        for bad in
            ["", "20260101", "20260101T000000", "20261301T000000Z", "2026-01-01T00:00Z", "+0260101T000000Z"]
        {
            assert_eq!(parse_basic(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_of_http_have_their_weekday() {
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT", "the RFC's own example");
    }

    #[test]
    fn advancing_moves_every_clone() {
        let clock = Clock::default();
        let other = clock.clone();
        let before = other.now();
        clock.advance(Duration::from_secs(3600));
        assert!(other.now() >= before + Duration::from_secs(3600));
    }
}
