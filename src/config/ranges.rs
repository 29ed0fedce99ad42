//! The range of every number in the configuration, in one table that is checked before anything is made of it.
//!
//! Promises that no number gets past the configuration that its uses cannot bear: durations fit nanoseconds, counts fit
//! memory that somebody may have. All numbers that are out of range are found at once. Which numbers must fit each other
//! stands in `relations.rs`.

use std::fmt;
use std::ops::RangeInclusive;

use config::{Value, ValueKind};

use super::Problem;
use crate::model::spec::ModelSpec;
use crate::train::memory::MEMORY_BYTES_MIN;

const MINUTE: i128 = 60;
const HOUR: i128 = 60 * MINUTE;
const DAY: i128 = 24 * HOUR;
const YEAR: i128 = 365 * DAY;
const MIB: i128 = 1 << 20;

/// What a number may be, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// A whole number.
    Whole(i128, i128),
    /// Any finite number.
    Real(f64, f64),
}

/// The range of one key.
struct Bound {
    /// Path of the key, such as `worker.workers`.
    key: &'static str,
    range: Range,
    /// What is counted: a plural, or nothing for a ratio.
    unit: &'static str,
}

const fn whole(key: &'static str, range: RangeInclusive<i128>, unit: &'static str) -> Bound {
    let range = Range::Whole(*range.start(), *range.end());
    Bound { key, range, unit }
}

const fn real(key: &'static str, range: RangeInclusive<f64>, unit: &'static str) -> Bound {
    let range = Range::Real(*range.start(), *range.end());
    Bound { key, range, unit }
}

/// Every number of `default.toml`, in its order.
const BOUNDS: &[Bound] = &[
    whole("kafka.start_timeout_secs", 1..=HOUR, "seconds"),
    // A dead letter carries the record, and a producer of ours sends at most 16 MiB.
    whole("decode.record_bytes_max", 64..=8 * MIB, "bytes"),
    // A batch holds as many ticks as its records hold elements.
    whole("decode.elements_max", 1..=65_536, "elements"),
    whole("decode.instrument_bytes_max", 1..=1024, "bytes"),
    // What nanoseconds since 1970 reach in 64 bits.
    whole("decode.year_min", 1678..=2261, ""),
    whole("decode.year_max", 1678..=2261, ""),
    whole("detector.stride", 1..=10_000, "rows"),
    // An instrument takes some ten kilobytes.
    whole("detector.instruments_max", 1..=1_000_000, "instruments"),
    whole("detector.warm_up_rows", 0..=1_000_000, "rows"),
    // The longest lookback of any model.
    whole("detector.rows_kept", 2..=ModelSpec::LOOKBACK_MAX as i128, "rows"),
    whole("detector.stamp_ahead_secs_max", 0..=DAY, "seconds"),
    // At 1, every price is absurd.
    real("guards.price_ratio_max", 1.01..=1e6, ""),
    // From a half on, 10 times the median and the median itself are one name.
    real("guards.decimal_shift_tolerance", 0.001..=0.5, ""),
    real("guards.time_jump_secs_max", 0.001..=DAY as f64, "seconds"),
    real("guards.time_future_secs_max", 0.0..=DAY as f64, "seconds"),
    whole("guards.sequence_run_min", 1..=1_000_000, "ticks"),
    whole("guards.sequence_hole_max", 1..=1_000_000_000_000, "numbers"),
    real("guards.stale_gap_multiple", 1.0..=1e6, ""),
    real("guards.stale_secs_min", 0.001..=(7 * DAY) as f64, "seconds"),
    real("guards.stale_secs_max", 0.001..=(7 * DAY) as f64, "seconds"),
    real("guards.frozen_run_multiple", 1.0..=1e6, ""),
    whole("guards.frozen_ticks_min", 1..=1_000_000, "ticks"),
    // The smallest and largest share: beyond, no tail that was ever fitted means anything.
    real("alerts.false_alarms_per_10k_ticks", 1e-5..=1e3, "alerts"),
    real("alerts.false_alarms_per_instrument_day", 0.0..=1e9, "alerts"),
    real("alerts.false_alarms_per_hour", 0.0..=1e9, "alerts"),
    whole("alerts.quiet_ticks", 1..=1_000_000, "ticks"),
    real("alerts.hysteresis_decades", 0.0..=9.0, "decades"),
    real("alerts.critical_decades", 0.01..=100.0, "decades"),
    real("alerts.update_decades", 0.01..=100.0, "decades"),
    whole("alerts.silence_secs", 1..=7 * DAY, "seconds"),
    whole("alerts.shock_instruments_min", 0..=1_000_000, "instruments"),
    real("alerts.shock_share", 0.001..=1.0, ""),
    real("alerts.shock_window_secs", 0.001..=HOUR as f64, "seconds"),
    real("alerts.shock_active_secs", 0.001..=DAY as f64, "seconds"),
    // A layer of more costs more per tick than anyone pays.
    whole("model.hidden_size", 1..=ModelSpec::HIDDEN_MAX as i128, "units"),
    whole("model.lookback", 2..=ModelSpec::LOOKBACK_MAX as i128, "rows"),
    whole("model.decoded_rows", 1..=ModelSpec::LOOKBACK_MAX as i128, "rows"),
    whole("model.judge_hidden", 0..=ModelSpec::HIDDEN_MAX as i128, "units"),
    whole("model.experimental.layers", 1..=ModelSpec::LAYERS_MAX as i128, "layers"),
    real("model.experimental.dropout", 0.0..=0.95, ""),
    whole(
        "model.experimental.bottleneck",
        0..=ModelSpec::HIDDEN_MAX as i128,
        "numbers",
    ),
    whole(
        "model.experimental.horizon",
        0..=ModelSpec::LOOKBACK_MAX as i128,
        "rows",
    ),
    // What a whole number of TOML can be.
    whole("training.seed", 0..=i64::MAX as i128, ""),
    whole(
        "training.memory_bytes_max",
        MEMORY_BYTES_MIN as i128..=MIB * MIB,
        "bytes",
    ),
    whole("training.ticks_per_instrument_max", 1..=100_000_000, "ticks"),
    whole("training.ticks_per_instrument_min", 1..=100_000_000, "ticks"),
    // Both parts must hold something: what is fitted to, and what thresholds come from.
    real("training.held_back_share", 0.01..=0.99, ""),
    whole("training.fit.batch_windows", 1..=65_536, "windows"),
    whole("training.fit.windows_max", 1..=100_000_000, "windows"),
    whole("training.fit.epochs_max", 1..=100_000, "epochs"),
    whole("training.fit.patience_epochs", 1..=100_000, "epochs"),
    // No weight survives a step of 1.
    real("training.fit.learning_rate", 1e-6..=1.0, ""),
    whole("training.exposure.copies", 1..=100_000, "copies"),
    whole("training.exposure.ticks_max", 1..=1_000_000_000_000, "ticks"),
    whole("training.exposure.batch_sequences", 1..=4096, "sequences"),
    real("training.exposure.learning_rate", 1e-6..=1.0, ""),
    real("training.exposure.feature_dropout", 0.0..=0.95, ""),
    real("training.exposure.state_dropout", 0.0..=0.95, ""),
    real("training.exposure.weight_decay", 0.0..=1.0, ""),
    real("training.exposure.row_weight", 0.0..=1000.0, ""),
    whole("retrain.interval_secs", 1..=YEAR, "seconds"),
    whole("retrain.calibration_interval_secs", 1..=DAY, "seconds"),
    whole("retrain.history_secs", 1..=YEAR, "seconds"),
    // Ticks that are read take a hundred bytes each.
    whole("retrain.history_ticks_max", 1..=1_000_000_000, "ticks"),
    whole("retrain.models_kept", 1..=10_000, "models"),
    whole("retrain.watch_interval_secs", 1..=HOUR, "seconds"),
    whole("retrain.first_model_wait_secs", 0..=DAY, "seconds"),
    whole(
        "state.snapshot_bytes_per_sec_max",
        1024..=1_000_000_000,
        "bytes per second",
    ),
    whole("worker.workers", 1..=256, "workers"),
    whole("worker.batch_records_max", 1..=65_536, "records"),
    // A worker reports every second, and looks for a stop between two polls.
    whole("worker.poll_timeout_ms", 1..=1000, "milliseconds"),
    whole("worker.commit_interval_ms", 1..=HOUR * 1000, "milliseconds"),
    whole("worker.in_flight_max", 1..=1_000_000, "records"),
    whole("worker.in_flight_bytes_max", MIB..=MIB * MIB, "bytes"),
    // Nobody waits longer for a process to stop; the session's time-out is mostly below it.
    whole("worker.drain_secs", 1..=5 * MINUTE, "seconds"),
    whole("worker.stall_secs", 1..=DAY, "seconds"),
];

/// A number as it was found.
enum Number {
    Whole(i128),
    Real(f64),
}

impl Range {
    /// Reads a number that stands on a command line.
    ///
    /// # Errors
    /// A text that says the range.
    pub fn parse(self, text: &str) -> Result<f64, String> {
        let number = number_in(text).ok_or_else(|| format!("expected {self}, found {text:?}"))?;
        self.check(&number, "")?;
        Ok(match number {
            Number::Whole(found) => found as f64,
            Number::Real(found) => found,
        })
    }

    fn check(self, number: &Number, unit: &str) -> Result<(), String> {
        let (found, is_within) = match (self, number) {
            (Range::Whole(min, max), Number::Whole(found)) => (found.to_string(), (min..=max).contains(found)),
            (Range::Whole(min, max), Number::Real(found)) => {
                // From outside, a whole number can be written with a point.
                let is_whole = found.fract() == 0.0;
                if found.is_finite() && !is_whole {
                    return Err(format!("expected a whole number, {self}{unit}, found {found}"));
                }
                let within = min as f64..=max as f64;
                (found.to_string(), is_whole && within.contains(found))
            }
            (Range::Real(min, max), Number::Whole(found)) => {
                (found.to_string(), (min..=max).contains(&(*found as f64)))
            }
            (Range::Real(min, max), Number::Real(found)) => (found.to_string(), (min..=max).contains(found)),
        };
        match is_within {
            true => Ok(()),
            false => Err(format!("expected {self}{unit}, found {found}")),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Range::Whole(min, max) => write!(formatter, "{min} to {max}"),
            Range::Real(min, max) => write!(formatter, "{min} to {max}"),
        }
    }
}

impl Bound {
    fn check(&self, found: &Value) -> Result<(), String> {
        if let ValueKind::Array(items) = &found.kind {
            return items.iter().try_for_each(|item| self.check(item));
        }
        let unit = match self.unit {
            "" => String::new(),
            unit => format!(" {unit}"),
        };
        match number(found) {
            Some(number) => self.range.check(&number, &unit),
            None => Err(format!("expected {}{unit}, found {}", self.range, shown(found))),
        }
    }
}

fn number(value: &Value) -> Option<Number> {
    match &value.kind {
        ValueKind::I64(found) => Some(Number::Whole((*found).into())),
        ValueKind::I128(found) => Some(Number::Whole(*found)),
        ValueKind::U64(found) => Some(Number::Whole((*found).into())),
        ValueKind::U128(found) => Some(i128::try_from(*found).map_or(Number::Real(*found as f64), Number::Whole)),
        ValueKind::Float(found) => Some(Number::Real(*found)),
        ValueKind::String(text) => number_in(text),
        ValueKind::Nil | ValueKind::Boolean(_) | ValueKind::Table(_) | ValueKind::Array(_) => None,
    }
}

fn number_in(text: &str) -> Option<Number> {
    let whole = text.parse().map(Number::Whole);
    whole.or_else(|_| text.parse().map(Number::Real)).ok()
}

fn shown(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Table(_) => "a table".into(),
        _ => value.to_string(),
    }
}

/// Lists the numbers that are out of their range, and puts the default in the place of each, so that what depends on it
/// can be looked at as well.
pub(super) fn check(found: &mut Value, defaults: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    for bound in BOUNDS {
        let Some(default) = at(defaults, bound.key) else {
            continue;
        };
        let Some(value) = at_mut(found, bound.key) else {
            continue;
        };
        if let Err(text) = bound.check(value) {
            problems.push(Problem::new(bound.key, text));
            value.kind = default.kind.clone();
        }
    }
    problems
}

pub(super) fn at<'a>(root: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(root, |value, part| match &value.kind {
        ValueKind::Table(table) => table.get(part),
        _ => None,
    })
}

fn at_mut<'a>(root: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    key.split('.').try_fold(root, |value, part| match &mut value.kind {
        ValueKind::Table(table) => table.get_mut(part),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{Config, DEFAULTS};

    fn problems(text: &str) -> String {
        Config::from_toml(text).unwrap_err().to_string()
    }

    /// The section and the key of `section.key` as TOML has them.
    fn assignment(key: &str, value: &str) -> String {
        let (section, name) = key.rsplit_once('.').unwrap();
        format!("[{section}]\n{name} = {value}\n")
    }

    /// Keys of all numbers in a file, with what stands behind each, in order.
    fn numbers(text: &str) -> Vec<(String, &str)> {
        let mut section = "";
        let mut numbers = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']');
            } else if let Some((name, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#'))
                && value.starts_with(|first: char| first.is_ascii_digit() || first == '[')
                && !value.contains('"')
                && value != "[]"
            {
                numbers.push((format!("{section}.{name}"), value));
            }
        }
        numbers
    }

    #[test]
    fn every_number_has_a_range_that_stands_beside_it() {
        let numbers = numbers(DEFAULTS);
        let keys: Vec<&str> = numbers.iter().map(|(key, _)| key.as_str()).collect();
        let bounded: Vec<&str> = BOUNDS.iter().map(|bound| bound.key).collect();
        assert_eq!(keys, bounded, "default.toml and BOUNDS do not list the same numbers");
        for ((key, value), bound) in numbers.iter().zip(BOUNDS) {
            let comment = value.split_once(" # ").map(|(_, comment)| comment);
            assert_eq!(comment, Some(bound.range.to_string().as_str()), "{key} in default.toml");
        }
    }

    #[test]
    fn a_number_beyond_either_end_of_its_range_is_refused_by_name_and_range() {
        for bound in BOUNDS {
            let beyond = match bound.range {
                Range::Whole(min, max) => [(min - 1).to_string(), (max + 1).to_string()],
                Range::Real(min, max) => [format!("{:?}", min - 1e-9), format!("{:?}", max * 1.001)],
            };
            for value in beyond
                .into_iter()
                .chain(["true".into(), "\"much\"".into(), "nan".into()])
            {
                let in_place = if bound.key == "model.judge_hidden" {
                    format!("[{value}, 1]")
                } else {
                    value.clone()
                };
                let text = problems(&assignment(bound.key, &in_place));
                let expected = format!("{}: expected {}", bound.key, bound.range);
                assert!(text.contains(&expected), "{expected} for {value}: {text}");
            }
        }
    }

    #[test]
    fn numbers_out_of_range_are_all_found_at_once() {
        let out_of_range = |bound: &Bound| match bound.range {
            Range::Whole(_, max) => (max + 1).to_string(),
            Range::Real(_, max) => format!("{:?}", max * 2.0),
        };
        let text: String = BOUNDS
            .iter()
            .filter(|bound| bound.key != "model.judge_hidden")
            .fold(
                std::collections::BTreeMap::<&str, String>::new(),
                |mut sections, bound| {
                    let (section, name) = bound.key.rsplit_once('.').unwrap();
                    *sections.entry(section).or_default() += &format!("{name} = {}\n", out_of_range(bound));
                    sections
                },
            )
            .iter()
            .map(|(section, keys)| format!("[{section}]\n{keys}"))
            .collect();
        let found = problems(&text);
        let keys: BTreeSet<&str> = found.lines().filter_map(|line| line.split(": ").next()).collect();
        assert_eq!(keys.len(), BOUNDS.len() - 1, "{found}");
    }

    #[test]
    fn numbers_that_no_integer_holds_are_refused_by_name() {
        let text = problems("[alerts]\nsilence_secs = 18446744073709551615");
        assert_eq!(
            text,
            "alerts.silence_secs: expected 1 to 604800 seconds, found 18446744073709551615"
        );
        let text = problems("[worker]\ndrain_secs = 1000000000000000000000000000000000000000000");
        assert!(
            text.starts_with("worker.drain_secs: expected 1 to 300 seconds"),
            "{text}"
        );
    }

    #[test]
    fn a_fraction_is_no_whole_number() {
        let text = problems("[worker]\nworkers = 2.5");
        assert_eq!(
            text,
            "worker.workers: expected a whole number, 1 to 256 workers, found 2.5"
        );
        assert_eq!(Config::from_toml("[worker]\nworkers = 2.0").unwrap().worker.workers, 2);
    }

    #[test]
    fn the_budget_reaches_as_far_as_thresholds_do() {
        use crate::pipeline::budget::{SHARE_MAX, SHARE_MIN, threshold};
        assert_eq!(threshold(1e-5 / 1e4), threshold(SHARE_MIN));
        assert_eq!(threshold(1e3 / 1e4), threshold(SHARE_MAX));
    }

    #[test]
    fn every_duration_fits_the_stamps_that_it_is_added_to() {
        for bound in BOUNDS {
            let longest = match bound.range {
                Range::Whole(_, max) => max,
                Range::Real(_, max) => max as i128,
            };
            let nanos = match bound.key.rsplit('_').find(|part| ["secs", "ms"].contains(part)) {
                Some("secs") => longest * 1_000_000_000,
                Some("ms") => longest * 1_000_000,
                _ => continue,
            };
            // Stamps of the years that are believed, at most 2261, stay below half of what 64 bits hold from 1970 on.
            assert!(nanos < i128::from(i64::MAX) / 100, "{}", bound.key);
        }
    }
}
