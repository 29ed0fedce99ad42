//! The gate: a challenger takes over only if it is no worse than the champion on the same recent ticks.
//!
//! Both are measured on the newest ticks as they came and on a copy with injected faults. Their errors are compared in
//! units common to both, since each has input transforms of its own. Knows nothing of where models are kept.

use std::fmt;

use serde::Serialize;

use super::calibrate::score_rows;
use super::dataset::{Chunk, Split};
use crate::inject::{self, Catalogue};
use crate::pipeline::arms::RowErrors;
use crate::pipeline::calibration::Calibration;
use crate::pipeline::feature::FEATURES;
use crate::pipeline::recent::Recent;
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

/// The figures of one model.
struct Figures {
    reconstruction_error: f64,
    false_alarm_share: f64,
    injected_recall: f64,
}

/// Ticks of one instrument that the gate looks at: enough for a recall over a few dozen faults.
const GATE_TICKS: usize = 4000;

/// On what terms models are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// Score from which a tick is anomalous.
    pub threshold: f32,
    /// Share of the newest ticks that neither model's weights were fitted to (0–1).
    pub held_back_share: f64,
    /// Which ticks are one alert.
    pub runs: RunRule,
    /// Seed of the injected faults.
    pub seed: u64,
}

impl Terms {
    /// Gives the rows, of so many, that are looked at.
    fn rows(&self, rows: usize) -> std::ops::Range<usize> {
        let held_back = Split::new(rows, self.held_back_share).held_back;
        held_back.start.max(rows.saturating_sub(GATE_TICKS))..rows
    }
}

/// Measures both models on the same ticks and compares them.
pub fn compare(champion: &Model, challenger: &Model, ticks: &[InstrumentTicks], terms: &Terms) -> Verdict {
    let clean: Vec<Chunk> = ticks.iter().map(|ticks| Chunk::new(ticks, Vec::new())).collect();
    let faulty: Vec<Chunk> = ticks
        .iter()
        .enumerate()
        .map(|(index, ticks)| injected(ticks, terms, terms.seed.wrapping_add(index as u64)))
        .collect();
    let champion = figures(champion, &clean, &faulty, terms);
    let challenger = figures(challenger, &clean, &faulty, terms);
    let budget = libm::exp10(-f64::from(terms.threshold));
    Verdict {
        measures: vec![
            Measure {
                name: "reconstruction_error",
                better: Better::Lower,
                champion: champion.reconstruction_error,
                challenger: challenger.reconstruction_error,
                tolerance: 0.05 * champion.reconstruction_error,
            },
            Measure {
                name: "false_alarm_share",
                better: Better::Lower,
                champion: champion.false_alarm_share,
                challenger: challenger.false_alarm_share,
                // Twice the budget is within what a few thousand ticks can tell.
                tolerance: 0.25 * champion.false_alarm_share + 2.0 * budget,
            },
            Measure {
                name: "injected_recall",
                better: Better::Higher,
                champion: champion.injected_recall,
                challenger: challenger.injected_recall,
                // The standard error of a recall over some two hundred faults.
                tolerance: 0.04,
            },
        ],
    }
}

/// Makes a chunk with faults injected into its newest part.
fn injected(ticks: &InstrumentTicks, terms: &Terms, seed: u64) -> Chunk {
    let start = terms.rows(ticks.ticks.len()).start;
    let (faulty, labels) = inject::apply_after(start, &ticks.ticks, &Catalogue::default(), seed);
    let ticks = InstrumentTicks {
        instrument: ticks.instrument.clone(),
        ticks: faulty,
    };
    Chunk::new(&ticks, labels)
}

fn figures(model: &Model, clean: &[Chunk], faulty: &[Chunk], terms: &Terms) -> Figures {
    let (mut error, mut scored, mut alarms) = (0.0, 0.0, 0.0);
    for chunk in clean {
        let calibration = model.calibrations.of(&chunk.instrument);
        let rows = terms.rows(chunk.rows.len());
        let common = InputTransform::fit(&chunk.rows[rows.clone()]);
        let found = score_rows(&*model.scorer, &calibration.transform, &chunk.rows, rows.clone());
        let skipped = rows.len() - found.rows.len();
        for (index, expected) in found.expected.iter().enumerate() {
            let raw = &chunk.rows[rows.start + skipped + index];
            error += common_error(&common, &calibration.transform, raw, expected);
        }
        let above = above(calibration, &found.rows, terms);
        alarms += above.iter().filter(|above| **above).count() as f64;
        scored += above.len() as f64;
    }
    let (found, events) = faulty
        .iter()
        .map(|chunk| recalled(model, chunk, terms))
        .fold((0, 0), |(found, events), (more_found, more_events)| {
            (found + more_found, events + more_events)
        });
    let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    Figures {
        reconstruction_error: share(error, scored),
        false_alarm_share: share(alarms, scored),
        injected_recall: share(f64::from(found), f64::from(events)),
    }
}

/// Tells which of consecutive rows a detector would find anomalous.
fn above(calibration: &Calibration, rows: &[RowErrors], terms: &Terms) -> Vec<bool> {
    let mut recent = Recent::default();
    let is_above = |row: &RowErrors| {
        let surprise = calibration.surprise(row, &recent);
        recent.habituation.take(surprise.rarity, terms.runs);
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

/// Counts the injected faults that the model finds, and all of them.
fn recalled(model: &Model, chunk: &Chunk, terms: &Terms) -> (u32, u32) {
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
    let is_found = |label: &&inject::Label| {
        let mut rows = (label.start..=label.end).filter_map(|row| above.get(row.checked_sub(first)?));
        rows.any(|above| *above)
    };
    (
        chunk.labels.iter().filter(is_found).count() as u32,
        chunk.labels.len() as u32,
    )
}
