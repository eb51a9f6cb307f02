//! The cost of one run of a program.

use serde::{Deserialize, Serialize};

/// One run, as the helper `measure` reports it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Run {
    /// The time from before the start until the end, in microseconds.
    pub wall: u64,
    /// CPU time in user and kernel mode, in microseconds.
    pub cpu: u64,
    /// The highest memory, in bytes.
    pub peak: u64,
    /// The exit code; none when a signal ended the program.
    pub code: Option<i32>,
}

/// Returns the value below which this share (0 to 1) of the values lies; 0 without values.
pub fn quantile(values: &[u64], share: f64) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    // The lengths are small, so nothing is lost.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let index = (last as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_of_few_values() {
        let values = [5, 1, 3, 2, 4];
        assert_eq!(quantile(&values, 0.5), 3);
        assert_eq!(quantile(&values, 0.9), 5);
        assert_eq!(quantile(&values, 0.0), 1);
        assert_eq!(quantile(&[7], 0.5), 7);
        assert_eq!(quantile(&[], 0.5), 0);
    }
}
