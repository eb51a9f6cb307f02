//! Decimals as Ruby's `BigDecimal` has them: of any size, read loosely from text, shown in full.

/// The greatest exponent that is shown in full; a test needs 400.
const MOST: i64 = 100_000;

/// A load multiplier.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decimal {
    /// The number; infinite when it is too large.
    pub(super) value: f64,
    /// The number in full, with a fraction; none when there is no such number.
    shown: Option<String>,
}

impl Decimal {
    /// Returns the decimal of a number.
    pub(super) fn of(value: f64) -> Self {
        let shown = value.is_finite().then(|| {
            let text = value.to_string();
            if text.contains('.') { text } else { text + ".0" }
        });
        Self { value, shown }
    }

    /// Reads a decimal like `String#to_d`: the longest prefix that is one, or 0 when there is none. Observed on
    /// Scalelite 1.8.5: "1_000" is 1000.0, ".5" is 0.5, and "1e400" is shown with all its digits.
    pub(super) fn read(text: &str) -> Self {
        let text = text.trim_start();
        let (sign, text) = match text.strip_prefix('-') {
            Some(rest) => ("-", rest),
            None => ("", text.strip_prefix('+').unwrap_or(text)),
        };
        if text.starts_with("Infinity") {
            return Self::of(if sign.is_empty() { f64::INFINITY } else { f64::NEG_INFINITY });
        }
        if text.starts_with("NaN") {
            return Self::of(f64::NAN);
        }
        let (whole, rest) = digits(text);
        let (fraction, rest) = match rest.strip_prefix('.').map(digits) {
            Some((fraction, rest)) if !fraction.is_empty() => (fraction, rest),
            _ => (String::new(), rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Self::of(0.0);
        }
        let exponent = exponent(rest);
        let value = format!("{sign}{whole}.{fraction}e{exponent}").parse().unwrap_or_default();
        let shown = (exponent.abs() <= MOST).then(|| format!("{sign}{}", shift(&whole, &fraction, exponent)));
        Self { value, shown }
    }

    /// Returns the number as it stands in JSON: a string with a fraction, or none for null.
    pub(super) fn shown(&self) -> Option<String> {
        self.shown.clone()
    }

    pub(super) fn is_zero(&self) -> bool {
        self.value == 0.0
    }
}

/// Returns the digits at the beginning, with single underscores between them left out, and the rest.
fn digits(text: &str) -> (String, &str) {
    let (mut found, mut rest) = (String::new(), text);
    loop {
        let next = if found.is_empty() { rest } else { rest.strip_prefix('_').unwrap_or(rest) };
        match next.chars().next().filter(char::is_ascii_digit) {
            Some(digit) => {
                found.push(digit);
                rest = next.get(1..).unwrap_or_default();
            }
            None => return (found, rest),
        }
    }
}

/// Reads an exponent; what is not one is 0.
fn exponent(text: &str) -> i64 {
    let Some(text) = text.strip_prefix(['e', 'E']) else { return 0 };
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, _) = digits(text);
    if digits.is_empty() { 0 } else { digits.parse::<i64>().unwrap_or(i64::from(i32::MAX)) * sign }
}

/// Writes a number in full with its point moved by the exponent.
fn shift(whole: &str, fraction: &str, exponent: i64) -> String {
    let mut digits = format!("{whole}{fraction}");
    let mut point = i64::try_from(whole.len()).unwrap_or_default() + exponent;
    while point <= 0 {
        digits.insert(0, '0');
        point += 1;
    }
    let point = usize::try_from(point).unwrap_or_default();
    while digits.len() <= point {
        digits.push('0');
    }
    let (whole, fraction) = digits.split_at(point);
    let whole = Some(whole.trim_start_matches('0')).filter(|whole| !whole.is_empty()).unwrap_or("0");
    let fraction =
        Some(fraction.trim_end_matches('0')).filter(|fraction| !fraction.is_empty()).unwrap_or("0");
    format!("{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    #[test]
    fn numbers_are_shown_in_full() {
        for (number, text) in [
            (1.0, Some("1.0")),
            (-3.0, Some("-3.0")),
            (2.5, Some("2.5")),
            (1e20, Some("100000000000000000000.0")),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            assert_eq!(Decimal::of(number).shown().as_deref(), text);
        }
    }

    #[test]
    fn texts_are_read_loosely() {
        for (text, value, shown) in [
            ("2.5", 2.5, "2.5"),
            (" -3 ", -3.0, "-3.0"),
            ("2abc", 2.0, "2.0"),
            ("abc", 0.0, "0.0"),
            ("1e2x", 100.0, "100.0"),
            ("1e", 1.0, "1.0"),
            ("12e-3", 0.012, "0.012"),
            ("inf", 0.0, "0.0"),
            ("-", 0.0, "0.0"),
            ("1_000", 1000.0, "1000.0"),
            ("1__000", 1.0, "1.0"),
            ("_1", 0.0, "0.0"),
            (".5", 0.5, "0.5"),
            ("5.", 5.0, "5.0"),
            ("007.50", 7.5, "7.5"),
        ] {
            let read = Decimal::read(text);
            assert!((read.value - value).abs() < f64::EPSILON, "{text}: {read:?}");
            assert_eq!(read.shown().as_deref(), Some(shown), "{text}");
        }
        let large = Decimal::read("1e400");
        assert!(large.value.is_infinite());
        assert_eq!(large.shown().unwrap(), format!("1{}.0", "0".repeat(400)));
        assert!(Decimal::read("NaN").value.is_nan());
        assert_eq!(Decimal::read("-Infinity").shown(), None);
        assert_eq!(Decimal::read("1e99999999999999999999").shown(), None);
    }
}
