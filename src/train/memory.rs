//! Memory: what one training may hold at once, and how that is shared out.
//!
//! Half of the budget is for the ticks, which stay from reading to the gate. A quarter is for the work on one instrument,
//! whose rows are made, used and dropped before the next one's. The last quarter is for what is gathered over all
//! instruments: the pool of sequences in a fit, the pooled rows in a calibration. What the program and its libraries take
//! for themselves comes on top.

use crate::pipeline::arms::RowErrors;
use crate::pipeline::feature::FeatureRow;
use crate::pipeline::tick::Tick;
use crate::pipeline::tick_reader::TickBounds;

/// Smallest budget of a training (bytes): below it, an instrument would be left a few thousand ticks.
pub const MEMORY_BYTES_MIN: usize = 64 << 20;

/// One tick with the room that its list has to grow, what a calibration keeps of its row, and its part of the 44 kB that the
/// calibration of one instrument takes (bytes).
const TICK_BYTES: usize = size_of::<Tick>() * 5 / 4 + 32;

/// Work on one tick of the instrument at hand (bytes): its row, its row in a copy with faults or its model input, and, for
/// about a third of the rows, the model's errors on it.
const WORK_BYTES_PER_TICK: usize = 2 * size_of::<FeatureRow>() + size_of::<RowErrors>() / 3;

/// The memory budget of one training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it (bytes, ≥ [`MEMORY_BYTES_MIN`]).
    pub bytes_max: usize,
}

impl Memory {
    /// Gives the bounds of reading for a training that asks for `per_instrument_max` ticks of each of `instruments_max`
    /// instruments.
    pub fn tick_bounds(self, instruments_max: usize, per_instrument_max: usize) -> TickBounds {
        TickBounds {
            instruments_max,
            per_instrument_max,
            per_instrument_budget: self.instrument_ticks_max(),
            ticks_budget: (self.bytes_max / 2 / TICK_BYTES).max(1),
        }
    }

    /// Gives the most ticks of one instrument that can be worked on at once.
    pub fn instrument_ticks_max(self) -> usize {
        (self.bytes_max / 4 / WORK_BYTES_PER_TICK).max(1)
    }

    /// Gives how many of `wanted` things of `bytes` each can be gathered over all instruments; at least one.
    pub fn pooled_max(self, wanted: usize, bytes: usize) -> usize {
        wanted.min(self.bytes_max / 4 / bytes.max(1)).max(1)
    }

    /// Gives how many of the `wanted` things of `bytes` each that every one of so many instruments puts into a pool it can
    /// hold; at least one.
    pub fn pooled_max_each(self, wanted: usize, bytes: usize, instruments: usize) -> usize {
        self.pooled_max(wanted, bytes.saturating_mul(instruments.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_budget_holds_the_default_history_and_the_busiest_instrument() {
        let config = crate::config::Config::from_toml("").unwrap();
        let wanted = config.training.ticks_per_instrument_max;
        let bounds = config
            .training
            .memory()
            .tick_bounds(config.detector.instruments_max, wanted);
        assert!(bounds.ticks_budget >= config.retrain.history_ticks_max, "{bounds:?}");
        assert!(bounds.per_instrument_budget >= wanted, "{bounds:?}");
    }

    #[test]
    fn a_pool_is_shared_out_evenly_and_never_empty() {
        let memory = Memory { bytes_max: 4000 };
        assert_eq!(memory.pooled_max(5, 100), 5);
        assert_eq!(memory.pooled_max(50, 100), 10);
        assert_eq!(memory.pooled_max_each(50, 100, 4), 2);
        assert_eq!(memory.pooled_max_each(50, 100, 40), 1);
    }
}
