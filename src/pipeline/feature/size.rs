//! Trade sizes against their own level.

use super::Columns;
use super::book::{against_level, level_of};
use super::price::log_ratio;
use super::scales::positive;
use crate::pipeline::robust::{Cusum, Level, Mean, RunningMedian, Scale, weight_of_half_life};
use crate::pipeline::tick::{Body, Tick};

/// What trade sizes are measured against.
#[derive(Clone, Debug)]
pub(super) struct SizeState {
    level: Level,
    /// The level that the last size was over (ln of size).
    over: f32,
    above_4: Mean,
    above_16: Mean,
    above_64: Mean,
    above_sum: Cusum,
    median: RunningMedian<7>,
    peak: f64,
    fast: Scale,
    slow: Scale,
}

impl SizeState {
    pub(super) fn new() -> Self {
        SizeState {
            level: Level::new(500.0),
            over: f32::NAN,
            above_4: Mean::new(4.0),
            above_16: Mean::new(16.0),
            above_64: Mean::new(64.0),
            above_sum: Cusum::new(1.0, 100.0),
            median: RunningMedian::default(),
            peak: 0.0,
            fast: Scale::new(10.0),
            slow: Scale::new(500.0),
        }
    }

    /// Writes the size columns; between trades the slow ones stand still.
    pub(super) fn observe(&mut self, tick: &Tick, columns: &mut Columns<'_>) {
        let mut above = 0.0;
        columns.scales.has_trade_size = false;
        if let Body::Trade(trade) = tick.body
            && let Some(size) = trade.size
        {
            columns.scales.has_trade_size = true;
            self.over = level_of(&self.level);
            above = against_level(&mut self.level, size);
            self.above_4.observe(above);
            self.above_16.observe(above);
            self.above_64.observe(above);
            self.above_sum.observe(above);
            self.median.observe(above);
            self.peak = above.max(self.peak * (1.0 - weight_of_half_life(16.0)));
            self.fast.observe(size);
            self.slow.observe(size);
        }
        columns.push(above);
        columns.push(self.above_4.value());
        columns.push(self.above_16.value());
        columns.push(self.above_64.value());
        columns.push(self.above_sum.column());
        columns.push(self.median.value().unwrap_or(0.0));
        columns.push(self.peak);
        columns.push(log_ratio(self.fast.value(), self.slow.value()));
        columns.scales.trade_size_level = self.over;
        columns.scales.volume_slow = positive(self.slow.value());
    }
}
