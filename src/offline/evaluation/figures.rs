//! The figures of an evaluation, as numbers, as JSON and as a table.
//!
//! JSON has the keys of `score.py --json`; what is NaN or infinite becomes null there.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

/// The header of the table whose rows [`line()`] makes; the same as score.py's, so that rows can be put together.
pub const HEAD: &str = "\
| detector | R@1/10k | R@1/1k | RI@1/10k | RI@1/1k | evAP | sVUS | delay med/p90 |
|---|---|---|---|---|---|---|---|";

/// What [`table`] calls the detector.
const DETECTOR: &str = "tapewatch";

/// Holds one number for each false-alarm budget.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PerBudget {
    /// The number at one false alarm per 10,000 ticks.
    #[serde(rename = "1/10k")]
    pub per_10k: f64,
    /// The number at one false alarm per 1,000 ticks.
    #[serde(rename = "1/1k")]
    pub per_1k: f64,
}

impl PerBudget {
    /// Computes a number from the ticks per false alarm of each budget.
    pub(super) fn of(number: impl Fn(usize) -> f64) -> Self {
        Self {
            per_10k: number(10_000),
            per_1k: number(1_000),
        }
    }

    /// Computes a number from each number.
    pub(super) fn map(self, number: impl Fn(f64) -> f64) -> Self {
        Self {
            per_10k: number(self.per_10k),
            per_1k: number(self.per_1k),
        }
    }
}

/// Holds what [`evaluate`](super::evaluate) finds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Event recall at the single threshold for one false alarm per 10,000 ticks (0–1).
    #[serde(rename = "R@1/10k")]
    pub recall_10k: f64,
    /// Event recall at the best threshold of each instrument, one false alarm per 10,000 ticks (0–1).
    #[serde(rename = "RI@1/10k")]
    pub oracle_recall_10k: f64,
    /// Event recall at the single threshold for one false alarm per 1,000 ticks (0–1).
    #[serde(rename = "R@1/1k")]
    pub recall_1k: f64,
    /// Event recall at the best threshold of each instrument, one false alarm per 1,000 ticks (0–1).
    #[serde(rename = "RI@1/1k")]
    pub oracle_recall_1k: f64,
    /// Area under the event precision-recall curve over the single threshold (0–1).
    #[serde(rename = "evAP")]
    pub event_average_precision: f64,
    /// Tick-level average precision with soft labels, mean over instruments (0–1); NaN if one of them has no event.
    #[serde(rename = "sVUS")]
    pub soft_average_precision: f64,
    /// Median delay from start to detection at the 1/1k threshold (ticks, ≥ 0); NaN if nothing is detected.
    #[serde(rename = "delay_med")]
    pub delay_median_ticks: f64,
    /// 90th percentile of the same delay (ticks, ≥ 0); NaN if nothing is detected.
    #[serde(rename = "delay_p90")]
    pub delay_p90_ticks: f64,
    /// Kind of event → recall at the single threshold of each budget (0–1, rounded to 0.01).
    pub kinds: BTreeMap<String, PerBudget>,
    /// Kind of event → number of events.
    pub counts: BTreeMap<String, usize>,
    /// The single threshold of each budget (score); ∞ when no finite one is within it.
    #[serde(rename = "thr")]
    pub thresholds: PerBudget,
    /// Number of events.
    pub events: usize,
    /// Number of test ticks.
    pub ticks: usize,
    /// Instrument → recall at the 1/1k threshold (0–1, rounded to 0.01); NaN if it has no event.
    #[serde(rename = "by_inst")]
    pub by_instrument: BTreeMap<String, f64>,
}

/// Holds what [`evaluate_alerts`](super::evaluate_alerts) finds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertFigures {
    /// Share of the events that have an alert (0–1).
    pub recall: f64,
    /// What the alerts outside events cost (false alarms).
    pub false_alarms: usize,
    /// The same per 10,000 test ticks (false alarms, ≥ 0).
    #[serde(rename = "fa_per_10k")]
    pub false_alarms_per_10k: f64,
    /// Detected events / (detected events + false alarms) (0–1); 0 without any.
    pub precision: f64,
    /// Harmonic mean of precision and recall (0–1).
    pub f1: f64,
    /// Median delay from start to first alert over the detected events (ticks, ≥ 0); `None` if nothing is detected.
    #[serde(rename = "delay_med")]
    pub delay_median_ticks: Option<f64>,
    /// Kind of event → recall (0–1, rounded to 0.01).
    pub kinds: BTreeMap<String, f64>,
    /// Kind of event → number of events.
    pub counts: BTreeMap<String, usize>,
    /// Number of events.
    pub events: usize,
    /// Number of test ticks.
    pub ticks: usize,
    /// Instrument → recall (0–1, rounded to 0.01); NaN if it has no event.
    #[serde(rename = "by_inst")]
    pub by_instrument: BTreeMap<String, f64>,
}

/// Formats one row of the table that [`HEAD`] opens, as score.py does.
pub fn line(detector: &str, figures: &Figures) -> String {
    format!(
        "| {detector} | {} | {} | {} | {} | {} | {} | {} / {} |",
        fixed(figures.recall_10k, 2),
        fixed(figures.recall_1k, 2),
        fixed(figures.oracle_recall_10k, 2),
        fixed(figures.oracle_recall_1k, 2),
        fixed(figures.event_average_precision, 3),
        fixed(figures.soft_average_precision, 3),
        fixed(figures.delay_median_ticks, 0),
        fixed(figures.delay_p90_ticks, 0),
    )
}

/// Formats the figures for a reader: score.py's table of one row and, below it, a table of the kinds, both in Markdown.
pub fn table(figures: &Figures) -> String {
    let mut text = format!(
        "{HEAD}\n{}\n\n| kind | events | R@1/10k | R@1/1k |\n|---|---|---|---|\n",
        line(DETECTOR, figures)
    );
    for (kind, recalls) in &figures.kinds {
        let events = figures.counts.get(kind).copied().unwrap_or_default();
        let (per_10k, per_1k) = (fixed(recalls.per_10k, 2), fixed(recalls.per_1k, 2));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {kind} | {events} | {per_10k} | {per_1k} |");
    }
    text
}

/// Rounds to two decimals, exact ties to the even one, as Python's `round(number, 2)` does.
pub(super) fn round_to_hundredths(number: f64) -> f64 {
    // The decimal text is correctly rounded from the exact binary value; multiplying by 100 would not be.
    fixed(number, 2).parse().unwrap_or(number)
}

/// Gives a quantile of ascending values, with linear interpolation between neighbours; NaN if there are none.
pub(super) fn quantile(ascending: &[usize], probability: f64) -> f64 {
    let Some(last) = ascending.len().checked_sub(1) else {
        return f64::NAN;
    };
    let position = last as f64 * probability;
    let below = position.floor() as usize;
    let (low, high) = (ascending[below] as f64, ascending[last.min(below + 1)] as f64);
    low + (high - low) * (position - below as f64)
}

/// Formats a number with fixed decimals, exact ties to even; NaN as score.py writes it.
fn fixed(number: f64, decimals: usize) -> String {
    if number.is_nan() {
        "nan".to_owned()
    } else {
        format!("{number:.decimals$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_python() {
        // Eighths are exact ties; as binary numbers 0.145 lies below its tie and 0.035 above.
        let pairs = [
            (0.125, 0.12),
            (0.375, 0.38),
            (0.625, 0.62),
            (0.875, 0.88),
            (0.145, 0.14),
            (0.035, 0.04),
            (1.0, 1.0),
        ];
        for (number, rounded) in pairs {
            assert_eq!(round_to_hundredths(number), rounded, "{number}");
        }
        assert!(round_to_hundredths(f64::NAN).is_nan());
        assert_eq!([0.5, 1.5, 2.5].map(|number| fixed(number, 0)), ["0", "2", "2"]);
    }

    #[test]
    fn quantiles_interpolate_between_neighbours() {
        assert!(quantile(&[], 0.5).is_nan());
        assert_eq!(quantile(&[7], 0.9), 7.0);
        assert_eq!(quantile(&[1, 4], 0.5), 2.5);
        assert!((quantile(&[0, 10, 20, 100], 0.9) - 76.0).abs() < 1e-9);
    }
}
