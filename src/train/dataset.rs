//! The dataset: consecutive chunks of one instrument's ticks as feature rows, split by time.
//!
//! Knows nothing of models: rows are raw.

use std::ops::Range;
use std::sync::Arc;

use crate::inject::Label;
use crate::pipeline::feature::{FEATURES, FeatureRow, FeatureState};
use crate::pipeline::tick::Tick;

/// Rows after which an instrument's levels mean something: the first of a chunk are not learnt from. `detector.warm_up_rows`
/// says the same of scoring by default.
pub const WARM_UP_ROWS: usize = 200;

/// A consecutive stretch of one instrument's ticks.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Name of the instrument.
    pub instrument: Arc<str>,
    /// One raw row per tick, in arrival order.
    pub rows: Vec<FeatureRow>,
    /// Where faults were injected; empty for ticks as they came.
    pub labels: Vec<Label>,
}

impl Chunk {
    /// Computes the rows of one instrument's ticks from a fresh state. A tick whose prices are implausible has no row of its
    /// own: the one before stands in its place, as a tick that says nothing new.
    pub fn new(instrument: &str, ticks: &[Tick], labels: Vec<Label>) -> Self {
        let mut state = FeatureState::default();
        let mut last = [0.0; FEATURES];
        let row = |tick| {
            last = state.observe(tick).unwrap_or(last);
            last
        };
        let rows = ticks.iter().map(row).collect();
        Chunk {
            instrument: instrument.into(),
            rows,
            labels,
        }
    }

    /// Gives the rows from which levels mean something.
    pub fn usable_rows(&self) -> &[FeatureRow] {
        self.rows.get(WARM_UP_ROWS..).unwrap_or(&[])
    }
}

/// What the rows that are held back are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBack {
    /// All of them calibrate the model: nothing will be measured on these ticks.
    Calibration,
    /// The newest of them are left to the gate, and the older ones calibrate.
    CalibrationAndGate,
}

/// How the rows of a chunk are used, oldest first: to fit, to stop early, to calibrate, and for the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Rows whose windows the weights are fitted to.
    pub fit: Range<usize>,
    /// Rows that tell when to stop.
    pub stop: Range<usize>,
    /// Rows that the weights have not been fitted to; thresholds come from them.
    pub calibrate: Range<usize>,
    /// Rows that nothing in the model has seen; models are compared on them. The training after this one leaves out as many,
    /// so the champion has not seen the rows on which its challenger is measured either.
    pub gate: Range<usize>,
}

impl Split {
    /// Part of the fitted rows that tells when to stop.
    const STOP_SHARE: f64 = 0.1;
    /// The gate is left one in so many of the rows that are held back …
    const GATE_PART: usize = 3;
    /// … but no more than this: enough, over a few instruments, for a recall of a few dozen faults.
    const GATE_ROWS_MAX: usize = 4000;

    /// Splits `rows` rows by time; `held_back_share` of them (0–1) are held back.
    pub fn new(rows: usize, held_back_share: f64, held_back: HeldBack) -> Self {
        let start = WARM_UP_ROWS.min(rows);
        let usable = (rows - start) as f64;
        let held_back_rows = (usable * held_back_share) as usize;
        let gate_rows = match held_back {
            HeldBack::Calibration => 0,
            HeldBack::CalibrationAndGate => (held_back_rows / Self::GATE_PART).min(Self::GATE_ROWS_MAX),
        };
        let (calibrate, gate) = (rows - held_back_rows, rows - gate_rows);
        let stop = calibrate - ((calibrate - start) as f64 * Self::STOP_SHARE) as usize;
        Split {
            fit: start..stop,
            stop: stop..calibrate,
            calibrate: calibrate..gate,
            gate: gate..rows,
        }
    }

    /// Gives the rows from which a model may learn what is usual: all usable ones but those left to the gate.
    pub fn known(&self) -> Range<usize> {
        self.fit.start..self.gate.start
    }

    /// Gives the rows that calibrate weights which were fitted to other ticks: as many as otherwise, the newest that are not
    /// left to the gate.
    pub fn calibrate_unfitted(&self) -> Range<usize> {
        let start = self.calibrate.start.saturating_sub(self.gate.len());
        start.max(self.fit.start)..self.calibrate.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [HeldBack; 2] = [HeldBack::Calibration, HeldBack::CalibrationAndGate];

    #[test]
    fn split_covers_all_rows_after_warm_up_in_order() {
        for rows in [0, 10, 200, 201, 1000, 20_000] {
            for held_back in KINDS {
                let split = Split::new(rows, 0.3, held_back);
                assert_eq!(split.fit.end, split.stop.start);
                assert_eq!(split.stop.end, split.calibrate.start);
                assert_eq!(split.calibrate.end, split.gate.start);
                assert_eq!(split.gate.end, rows);
                assert!(split.fit.start <= split.fit.end && split.stop.start <= split.stop.end);
                assert!(split.calibrate.start <= split.calibrate.end);
            }
        }
        assert_eq!(Split::new(10_200, 0.3, HeldBack::Calibration).calibrate, 7_200..10_200);
    }

    #[test]
    fn instruments_warm_up_alike_in_training_and_scoring() {
        let config = crate::config::Config::from_toml("").unwrap();
        assert_eq!(config.detector.warm_up_rows as usize, WARM_UP_ROWS);
    }

    #[test]
    fn the_gate_has_rows_of_its_own_and_the_weights_learn_the_same_ones_without_it() {
        let [alone, shared] = KINDS.map(|held_back| Split::new(10_200, 0.3, held_back));
        assert_eq!((alone.fit, alone.stop), (shared.fit.clone(), shared.stop.clone()));
        assert_eq!(
            (shared.calibrate.clone(), shared.gate.clone()),
            (7_200..9_200, 9_200..10_200)
        );
        assert_eq!(shared.calibrate_unfitted(), 6_200..9_200);
        assert_eq!(
            Split::new(80_200, 0.3, HeldBack::CalibrationAndGate).gate,
            76_200..80_200
        );
    }

    #[test]
    fn a_later_training_measures_on_rows_that_the_one_before_has_not_calibrated_on() {
        // The history grows, or is full and moves on: rows are counted from the first that ever was.
        for (rows, later_from, later_to) in [(2_200, 0, 2_300), (2_200, 0, 9_000), (80_000, 500, 80_500)] {
            let before = Split::new(rows, 0.3, HeldBack::CalibrationAndGate);
            let later = Split::new(later_to - later_from, 0.3, HeldBack::CalibrationAndGate);
            assert!(before.calibrate.end <= later_from + later.gate.start, "{rows}");
        }
    }
}
