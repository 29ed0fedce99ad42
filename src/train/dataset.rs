//! The dataset: consecutive chunks of one instrument's ticks as feature rows, split by time.
//!
//! Knows nothing of models: rows are raw.

use std::ops::Range;
use std::sync::Arc;

use crate::inject::Label;
use crate::pipeline::feature::{FeatureRow, FeatureState};
use crate::pipeline::tick::InstrumentTicks;

/// Rows after which an instrument's levels mean something: the first of a chunk are not learnt from.
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
    /// Computes the rows of one instrument's ticks from a fresh state.
    pub fn new(ticks: &InstrumentTicks, labels: Vec<Label>) -> Self {
        let mut state = FeatureState::default();
        let rows = ticks.ticks.iter().map(|tick| state.observe(tick)).collect();
        Chunk {
            instrument: ticks.instrument.as_str().into(),
            rows,
            labels,
        }
    }

    /// Gives the rows from which levels mean something.
    pub fn usable_rows(&self) -> &[FeatureRow] {
        self.rows.get(WARM_UP_ROWS..).unwrap_or(&[])
    }
}

/// How the rows of a chunk are used: the oldest to fit on, some to stop early by, the newest to calibrate on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Rows whose windows the weights are fitted to.
    pub fit: Range<usize>,
    /// Rows that tell when to stop.
    pub stop: Range<usize>,
    /// Rows that the weights have not been fitted to; thresholds come from them.
    pub held_back: Range<usize>,
}

impl Split {
    /// Part of the fitted rows that tells when to stop.
    const STOP_SHARE: f64 = 0.1;

    /// Splits `rows` rows by time; `held_back_share` of them (0–1) are held back.
    pub fn new(rows: usize, held_back_share: f64) -> Self {
        let start = WARM_UP_ROWS.min(rows);
        let usable = (rows - start) as f64;
        let held_back = rows - (usable * held_back_share) as usize;
        let stop = held_back - ((held_back - start) as f64 * Self::STOP_SHARE) as usize;
        Split {
            fit: start..stop,
            stop: stop..held_back,
            held_back: held_back..rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_covers_all_rows_after_warm_up_in_order() {
        for rows in [0, 10, 200, 201, 1000, 20_000] {
            let split = Split::new(rows, 0.3);
            assert_eq!(split.fit.end, split.stop.start);
            assert_eq!(split.stop.end, split.held_back.start);
            assert_eq!(split.held_back.end, rows);
            assert!(split.fit.start <= split.fit.end && split.stop.start <= split.stop.end);
        }
        assert_eq!(Split::new(10_200, 0.3).held_back, 7_200..10_200);
    }
}
