//! The gate: a challenger takes over only if it is no worse than the champion on the same recent ticks.
//!
//! Both are measured on the newest ticks, which neither was fitted to or calibrated on ([`HeldBack::CalibrationAndGate`]), as
//! they came and in a copy with injected faults. A fault is found as everywhere: by a score above the threshold in
//! [`Label::found_in`]. Errors are compared in units common to both, since each model has input transforms of its own. One
//! instrument is looked at after the other, so that no more than its rows are held. Knows nothing of where models are kept.

use std::fmt;
use std::ops::{ControlFlow, Range};

use serde::Serialize;

use super::calibrate::score_rows;
use super::dataset::{Chunk, HeldBack, Split};
use crate::inject::{self, Catalogue, Label};
use crate::pipeline::adaptation::Adaptation;
use crate::pipeline::arms::RowErrors;
use crate::pipeline::calibration::Calibration;
use crate::pipeline::feature::FEATURES;
use crate::pipeline::run::RunRule;
use crate::pipeline::scaler::InputTransform;
use crate::pipeline::score::Model;
use crate::pipeline::tick::InstrumentTicks;

/// Which way a measure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// The lower the better.
    Lower,
    /// The higher the better.
    Higher,
}

/// One named figure of both models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// What is measured.
    pub name: &'static str,
    /// Which way it is better.
    pub better: Better,
    /// The present model's figure.
    pub champion: f64,
    /// The new model's figure.
    pub challenger: f64,
    /// How much worse the challenger may be, in the measure's unit.
    pub tolerance: f64,
}

impl Measure {
    /// Tells whether the challenger is no worse than the tolerance allows.
    pub fn holds(&self) -> bool {
        match self.better {
            Better::Lower => self.challenger <= self.champion + self.tolerance,
            Better::Higher => self.challenger >= self.champion - self.tolerance,
        }
    }
}

/// What the gate decides, and on what grounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Every measure taken.
    pub measures: Vec<Measure>,
}

impl Verdict {
    /// Tells whether the challenger takes over.
    pub fn accepted(&self) -> bool {
        self.measures.iter().all(Measure::holds)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.accepted() { "accepted" } else { "refused" })?;
        for measure in &self.measures {
            let mark = if measure.holds() { "" } else { " (worse)" };
            write!(
                formatter,
                "; {} {:.4} → {:.4}{mark}",
                measure.name, measure.champion, measure.challenger
            )?;
        }
        Ok(())
    }
}

/// What one model shows, summed over instruments.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    error: f64,
    scored: f64,
    alarms: f64,
    found: f64,
    events: f64,
}

impl Sums {
    fn reconstruction_error(&self) -> f64 {
        share(self.error, self.scored)
    }

    fn false_alarm_share(&self) -> f64 {
        share(self.alarms, self.scored)
    }

    fn injected_recall(&self) -> f64 {
        share(self.found, self.events)
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// On what terms models are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// Score from which a tick is anomalous.
    pub threshold: f32,
    /// Share of the newest ticks that both trainings held back (0–1).
    pub held_back_share: f64,
    /// Which ticks are one alert.
    pub runs: RunRule,
    /// Seed of the injected faults.
    pub seed: u64,
}

impl Terms {
    /// Gives the rows, of so many, that are looked at.
    fn rows(&self, rows: usize) -> Range<usize> {
        Split::new(rows, self.held_back_share, HeldBack::CalibrationAndGate).gate
    }
}

/// Measures both models on the same ticks and compares them; nothing when `progress` (0–1) breaks.
pub fn compare(
    champion: &Model,
    challenger: &Model,
    ticks: &[InstrumentTicks],
    terms: &Terms,
    progress: &mut dyn FnMut(f64) -> ControlFlow<()>,
) -> Option<Verdict> {
    let mut sums = [Sums::default(); 2];
    for (index, own) in ticks.iter().enumerate() {
        if progress(index as f64 / ticks.len() as f64).is_break() {
            return None;
        }
        let rows = terms.rows(own.ticks.len());
        if rows.is_empty() {
            continue;
        }
        let clean = Chunk::new(&own.instrument, &own.ticks, Vec::new());
        let common = InputTransform::fit(&clean.rows[rows.clone()]);
        for (sums, model) in sums.iter_mut().zip([champion, challenger]) {
            add_clean(sums, model, &clean, &rows, &common, terms);
        }
        drop(clean);
        for copy in 0..faulty_copies(rows.len()) {
            let seed = terms.seed.wrapping_add((copy * ticks.len() + index) as u64);
            let (faulty, labels) = inject::apply_after(rows.start, &own.ticks, &Catalogue::default(), seed);
            let faulty = Chunk::new(&own.instrument, &faulty, labels);
            for (sums, model) in sums.iter_mut().zip([champion, challenger]) {
                add_faulty(sums, model, &faulty, terms);
            }
        }
    }
    let [champion, challenger] = sums;
    Some(verdict(&champion, &challenger, terms))
}

/// Gives how many copies with faults are made of so many rows (> 0): one, but of few rows several, or there would be no fault in
/// them.
fn faulty_copies(rows: usize) -> usize {
    const ROWS: usize = 1000;
    const COPIES_MAX: usize = 8;
    ROWS.div_ceil(rows).min(COPIES_MAX)
}

fn verdict(champion: &Sums, challenger: &Sums, terms: &Terms) -> Verdict {
    let budget = libm::exp10(-f64::from(terms.threshold));
    let error = champion.reconstruction_error();
    let alarms = champion.false_alarm_share();
    Verdict {
        measures: vec![
            Measure {
                name: "reconstruction_error",
                better: Better::Lower,
                champion: error,
                challenger: challenger.reconstruction_error(),
                tolerance: 0.05 * error,
            },
            Measure {
                name: "false_alarm_share",
                better: Better::Lower,
                champion: alarms,
                challenger: challenger.false_alarm_share(),
                // Twice the budget is within what a few thousand ticks can tell.
                tolerance: 0.25 * alarms + 2.0 * budget,
            },
            Measure {
                name: "injected_recall",
                better: Better::Higher,
                champion: champion.injected_recall(),
                challenger: challenger.injected_recall(),
                // The standard error of a recall over some two hundred faults.
                tolerance: 0.04,
            },
        ],
    }
}

/// Adds a model's errors and false alarms on an instrument's ticks as they came.
fn add_clean(
    sums: &mut Sums,
    model: &Model,
    chunk: &Chunk,
    rows: &Range<usize>,
    common: &InputTransform,
    terms: &Terms,
) {
    let calibration = model.calibrations.of(&chunk.instrument);
    let scored = score_rows(&*model.scorer, &calibration.transform, &chunk.rows, rows.clone());
    let skipped = rows.len() - scored.rows.len();
    for (index, expected) in scored.expected.iter().enumerate() {
        let raw = &chunk.rows[rows.start + skipped + index];
        sums.error += common_error(common, &calibration.transform, raw, expected);
    }
    let above = above(calibration, &scored.rows, terms);
    sums.alarms += above.iter().filter(|above| **above).count() as f64;
    sums.scored += above.len() as f64;
}

/// Adds the injected faults that a model finds, and all of them.
fn add_faulty(sums: &mut Sums, model: &Model, chunk: &Chunk, terms: &Terms) {
    let calibration = model.calibrations.of(&chunk.instrument);
    let first = chunk
        .labels
        .first()
        .map_or(0, |label| label.start)
        .max(model.scorer.lookback() - 1);
    let scored = score_rows(
        &*model.scorer,
        &calibration.transform,
        &chunk.rows,
        first..chunk.rows.len(),
    );
    let above = above(calibration, &scored.rows, terms);
    sums.found += chunk
        .labels
        .iter()
        .filter(|label| is_found(label, &above, first))
        .count() as f64;
    sums.events += chunk.labels.len() as f64;
}

/// Tells whether a fault is found by rows above the threshold, the first of which is row number `first`.
fn is_found(label: &Label, above: &[bool], first: usize) -> bool {
    let mut rows = label.found_in().filter_map(|row| above.get(row.checked_sub(first)?));
    rows.any(|above| *above)
}

/// Tells which of consecutive rows a detector would find anomalous.
fn above(calibration: &Calibration, rows: &[RowErrors], terms: &Terms) -> Vec<bool> {
    let mut adaptation = Adaptation::default();
    let is_above = |row: &RowErrors| {
        let surprise = calibration.surprise(row, &adaptation);
        adaptation.habituation.take(surprise.rarity, terms.runs);
        surprise.score >= terms.threshold
    };
    rows.iter().map(is_above).collect()
}

/// Mean absolute error over features in units common to both models, each feature's bounded so that none drowns the rest.
fn common_error(
    common: &InputTransform,
    own: &InputTransform,
    raw: &[f32; FEATURES],
    expected: &[f32; FEATURES],
) -> f64 {
    const BOUND: f32 = 3.0;
    let seen = common.apply(raw);
    let rebuilt = common.apply(&std::array::from_fn(|feature| own.invert(feature, expected[feature])));
    let sum: f32 = seen.iter().zip(&rebuilt).map(|(a, b)| (a - b).abs().min(BOUND)).sum();
    f64::from(sum) / FEATURES as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::{Fault, GRACE_TICKS};

    #[test]
    fn a_fault_is_found_up_to_the_grace_after_it_and_no_later() {
        let label = Label {
            start: 110,
            end: 112,
            fault: Fault::PriceSpike,
            magnitude: 1.0,
        };
        let found_at = |row: usize| {
            let above: Vec<bool> = (100..200).map(|other| other == row).collect();
            is_found(&label, &above, 100)
        };
        assert!(!found_at(109) && found_at(110) && found_at(112 + GRACE_TICKS));
        assert!(!found_at(113 + GRACE_TICKS));
    }
}
