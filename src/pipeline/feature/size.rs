//! Trade sizes against their own level.

use serde::{Deserialize, Serialize};

use super::book::{against_level, level_of};
use super::price::log_ratio;
use super::scales::positive;
use super::{Columns, Group, feature};
use crate::pipeline::robust::{Cusum, Level, Mean, RunningMedian, Scale, weight_of_half_life};
use crate::pipeline::tick::{Body, Tick};

/// The columns that are written here.
pub(super) const GROUP: Group = Group {
    title: "Sizes of trades",
    finds: "volume bursts and fat fingers",
    features: &[
        feature(
            "trade_size",
            "ln of size over its level",
            "z = ln size − level of it, 0 at ticks without a trade's size",
            "1 trade; level 500 trades",
            "a fat finger",
        ),
        feature(
            "trade_size_4",
            "mean of trade_size, half-life 4 trades",
            "mean of z",
            "4 trades; level 500 trades",
            "a burst of volume",
        ),
        feature(
            "trade_size_16",
            "mean of trade_size, half-life 16 trades",
            "mean of z",
            "16 trades; level 500 trades",
            "a longer burst of volume",
        ),
        feature(
            "trade_size_64",
            "mean of trade_size, half-life 64 trades",
            "mean of z",
            "64 trades; level 500 trades",
            "volume that stays high",
        ),
        feature(
            "trade_size_sum",
            "ln(1 + cumulative sum of trade_size above 1)",
            "sum(z − 1, 100)",
            "as long as it lasts; level 500 trades",
            "trades a little too large for a long time",
        )
        .in_words("how long trades have been too large"),
        feature(
            "trade_size_median",
            "median of trade_size over 7 trades",
            "median of z",
            "7 trades; level 500 trades",
            "large trades, not just one",
        ),
        feature(
            "trade_size_peak",
            "largest trade_size of late, half-life 16 trades",
            "max(z, 2^(−1/16) · the same before)",
            "16 trades; level 500 trades",
            "a fat finger a few trades ago",
        ),
        feature(
            "volume_ratio",
            "ln of mean size over 10 trades to that over 500",
            "ln(V₁₀ / V₅₀₀)",
            "10 trades against 500",
            "a burst of volume",
        ),
    ],
};

/// What trade sizes are measured against.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
