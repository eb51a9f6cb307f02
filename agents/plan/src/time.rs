//! Times: the one format that no library reads, how long something takes in words, and times of day as moments of a
//! clock that never steps.

use std::time::Duration;

use thiserror::Error;

/// Formats a time as `2 h 5 min`, `5 min` or `40 s`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// The difference between two readings of one time that is no news: a time of day has whole seconds, and a clock that is
/// being set right runs a little faster or slower.
const SAME: Duration = Duration::from_secs(5);

/// Returns when a time of day comes, in the time since the boot. `today` and `now` are the present by both clocks. The
/// clock of the day may be set at any time, as it is soon after a boot: whoever waits for a time of day computes its
/// moment anew, and gives the `former` one, which stays where the difference is no news.
pub fn moment(time: u64, today: u64, now: Duration, former: Option<Duration>) -> Duration {
    let moment = match time.checked_sub(today) {
        Some(left) => now.saturating_add(Duration::from_secs(left)),
        None => now.saturating_sub(Duration::from_secs(today - time)),
    };
    former.filter(|former| former.abs_diff(moment) <= SAME).unwrap_or(moment)
}

/// The error for a text that is not a time: it has another form, or no calendar has that day.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a time such as 21 Jan 2019 09:00:43 GMT")]
pub struct InvalidTime(String);

/// The number of characters of such a text that are shown; every time is shorter.
const SHOWN: usize = 40;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Returns the seconds since 1970 of a time in the form that EC2's metadata uses for scheduled events, e.g. `21 Jan
/// 2019 09:00:43 GMT` (EC2 user guide, "View scheduled events"). A day below 10 may have one digit.
pub fn scheduled_event(text: &str) -> Result<u64, InvalidTime> {
    seconds(text).ok_or_else(|| InvalidTime(text.chars().take(SHOWN).collect()))
}

fn seconds(text: &str) -> Option<u64> {
    let mut words = text.split(' ');
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    let (clock, zone) = (words.next()?, words.next()?);
    if words.next().is_some() || zone != "GMT" {
        return None;
    }
    let month = MONTHS.iter().zip(1..).find(|(name, _)| **name == month).map(|(_, number)| number)?;
    let days = days(number(year, 4..=4)?, month, number(day, 1..=2)?)?;
    let mut parts = clock.split(':').map(|part| number(part, 2..=2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    // A leap second is written as :60, and counts as the first second of the next minute.
    let exists = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    exists.then_some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Reads a number with this many digits; `parse` alone would accept a sign too.
fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && digits.contains(&text.len());
    plain.then(|| text.parse().ok())?
}

/// Returns the days from 1970-01-01 to a day that exists and is not before it. Months are counted from March on, so
/// that a leap day is the last day of a year (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let divides = |divisor| year.is_multiple_of(divisor);
    let leap = divides(4) && (!divides(100) || divides(400));
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year < 1970 || !(1..=length).contains(&day) {
        return None;
    }
    let (year, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year / 4 - year / 100 + year / 400;
    Some(year * 365 + leaps + (153 * months + 2) / 5 + day - 1 - 719_468)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times() {
        for (text, seconds) in [
            ("1 Jan 1970 00:00:00 GMT", 0),
            ("28 Feb 2000 23:59:59 GMT", 951_782_399),
            ("29 Feb 2000 00:00:00 GMT", 951_782_400),
            ("1 Mar 2000 00:00:00 GMT", 951_868_800),
            ("31 Dec 2016 23:59:60 GMT", 1_483_228_800),
            ("21 Jan 2019 09:00:43 GMT", 1_548_061_243),
            ("31 Dec 2025 23:59:59 GMT", 1_767_225_599),
            ("01 Jan 2026 00:00:00 GMT", 1_767_225_600),
            ("28 Feb 2100 12:00:00 GMT", 4_107_499_200),
        ] {
            assert_eq!(scheduled_event(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn a_clock_that_is_set_moves_what_it_has_announced() {
        let seconds = Duration::from_secs;
        // Booted 100 s ago, with a clock that is an hour behind: EC2 takes the host back in two minutes.
        let wrong = moment(10_000, 10_000 - 120 - 3600, seconds(100), None);
        assert_eq!(wrong, seconds(100 + 120 + 3600));
        let right = moment(10_000, 10_000 - 90, seconds(130), Some(wrong));
        assert_eq!(right, seconds(100 + 120));
        // A second more or less is no news, nor is it that the time has come.
        assert_eq!(moment(10_000, 10_000 - 58, seconds(161), Some(right)), right);
        assert_eq!(moment(10_000, 10_030, seconds(250), Some(right)), right);
        assert_eq!(moment(10_000, 20_000, seconds(250), Some(right)), Duration::ZERO);
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "2019-01-21T09:00:43Z",
            "21 Jan 2019 09:00:43",
            "21 Jan 2019 09:00:43 UTC",
            "21 Jan 2019 09:00:43 GMT ",
            "Mon, 21 Jan 2019 09:00:43 GMT",
            "21  Jan 2019 09:00:43 GMT",
            "21 jan 2019 09:00:43 GMT",
            "0 Jan 2019 09:00:43 GMT",
            "32 Jan 2019 09:00:43 GMT",
            "31 Apr 2019 09:00:43 GMT",
            "29 Feb 2019 09:00:43 GMT",
            "29 Feb 2100 09:00:43 GMT",
            "31 Dec 1969 23:59:59 GMT",
            "21 Jan 19 09:00:43 GMT",
            "21 Jan 2019 24:00:00 GMT",
            "21 Jan 2019 09:60:00 GMT",
            "21 Jan 2019 09:00:61 GMT",
            "21 Jan 2019 9:00:43 GMT",
            "21 Jan 2019 09:00 GMT",
            "21 Jan 2019 09:00:43:00 GMT",
            "+1 Jan 2019 09:00:43 GMT",
        ] {
            assert_eq!(scheduled_event(text), Err(InvalidTime(text.to_owned())), "{text}");
        }
        let long = scheduled_event(&"é".repeat(1000)).unwrap_err().to_string();
        assert!(long.chars().count() < 100, "{long}");
    }

    proptest! {
        #[test]
        fn every_day_is_the_one_after_the_day_before(year in 1970u64..9999, month in 1u64..13, day in 1u64..32) {
            let next = [(year, month, day + 1), (year, month + 1, 1), (year + 1, 1, 1)];
            let next = next.into_iter().filter(|(_, month, _)| *month < 13);
            if let Some(today) = days(year, month, day) {
                let tomorrow = next.into_iter().find_map(|(year, month, day)| days(year, month, day));
                prop_assert_eq!(tomorrow, Some(today + 1));
            }
        }

        #[test]
        fn a_moment_is_never_far_from_the_time(
            time in any::<u64>(),
            clocks in prop::collection::vec((0u64..1_000_000, any::<u64>()), 1..20),
        ) {
            let (mut now, mut former) = (Duration::ZERO, None);
            for (passed, today) in clocks {
                now += Duration::from_secs(passed);
                let found = moment(time, today, now, former);
                let exact = moment(time, today, now, None);
                prop_assert!(found.abs_diff(exact) <= SAME);
                prop_assert!(Some(found) == former || found == exact);
                former = Some(found);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = scheduled_event(&text);
        }
    }
}
