//! Where the price stands against its recent past, and how lively it is against its slow habit.

use serde::{Deserialize, Serialize};

use super::price::{Step, difference, log_ratio};
use super::scales::{Scales, positive};
use super::{Columns, Group, feature};
use crate::pipeline::robust::{Cusum, LONG_PAST, Level, Mean, Past, RECENT, RunningMedian, Scale, relative};
use crate::pipeline::tick::Tick;

/// The columns that are written here.
pub(super) const GROUP: Group = Group {
    title: "Trends",
    finds: "crashes, drifts, bursts of volatility, prices of another instrument",
    features: &[
        feature(
            "displacement_9",
            "σ from the median of 9 ticks",
            "(r − median of the 9 ticks before) / σ",
            "9 ticks; σ 200 moves",
            "a price off for a few ticks",
        ),
        feature(
            "displacement_65",
            "σ from the median of 65 ticks",
            "(r − median of the 65 ticks before) / σ",
            "65 ticks; σ 200 moves",
            "a crash that comes back, a price of another instrument",
        ),
        feature(
            "bid_displacement_9",
            "σ from the median bid of 9 ticks",
            "(b − median of the 9 quotes before) / σ",
            "9 quotes; σ 200 moves",
            "a bid off for a few quotes",
        ),
        feature(
            "ask_displacement_9",
            "σ from the median ask of 9 ticks",
            "(a − median of the 9 quotes before) / σ",
            "9 quotes; σ 200 moves",
            "an ask off for a few quotes",
        ),
        feature(
            "trade_displacement_9",
            "σ from the median of 9 trades",
            "(p − median of the 9 trades before) / σₚ where Δp ≠ 0, else 0",
            "9 trades; σ 200 moves",
            "a print off the others",
        ),
        feature(
            "trend_32",
            "move over 32 ticks in σ of a random walk as long",
            "(r − r of 32 ticks ago) / (σ √(32 · max(moving_share′, 0.02)))",
            "32 ticks; σ 200 moves",
            "a crash",
        ),
        feature(
            "trend_128",
            "move over 128 ticks in σ of a random walk as long",
            "(r − r of 128 ticks ago) / (σ √(128 · max(moving_share′, 0.02)))",
            "128 ticks; σ 200 moves",
            "a crash or a drift",
        ),
        feature(
            "trend_512",
            "move over 512 ticks in σ of a random walk as long",
            "(r − r of 512 ticks ago) / (σ √(512 · max(moving_share′, 0.02))); of 505 to 512 ticks ago",
            "512 ticks; σ 200 moves",
            "a slow drift",
        ),
        feature(
            "volatility_ratio",
            "ln of volatility over 10 moves to that over 200",
            "ln(σ₁₀ / σ)",
            "10 moves against 200",
            "a burst of volatility",
        ),
        feature(
            "volatility_ratio_slow",
            "ln of volatility over 30 moves to that over 1,000",
            "ln(σ₃₀ / σ₁₀₀₀)",
            "30 moves against 1,000",
            "a longer burst of volatility",
        ),
        feature(
            "activity_4",
            "mean |return| in σ over 1,000 moves, half-life 4",
            "mean of u, u = min(|Δr| / σ₁₀₀₀, 8)",
            "4 ticks; σ 1,000 moves",
            "a burst of moves",
        ),
        feature(
            "activity_16",
            "mean |return| in σ over 1,000 moves, half-life 16",
            "mean of u, u = min(|Δr| / σ₁₀₀₀, 8)",
            "16 ticks; σ 1,000 moves",
            "a longer burst of moves",
        ),
        feature(
            "activity_64",
            "mean |return| in σ over 1,000 moves, half-life 64",
            "mean of u, u = min(|Δr| / σ₁₀₀₀, 8)",
            "64 ticks; σ 1,000 moves",
            "a lively spell",
        ),
        feature(
            "activity_sum",
            "ln(1 + cumulative sum of |return| in σ over 1,000 moves above 1)",
            "sum(u − 1, 200)",
            "as long as it lasts; σ 1,000 moves",
            "moves a little too large for a long time",
        )
        .in_words("how long moves have been too large"),
        feature(
            "moving_share",
            "share of ticks that move the price, half-life 64",
            "mean of 1 where Δr ≠ 0, else 0",
            "64 ticks",
            "a price that stands still, or never does",
        )
        .in_words("share of ticks that move the price"),
        feature(
            "move_size_8",
            "mean of ln |move| over its level, half-life 8 moves",
            "mean over the moves of ln|Δr| − level of it",
            "8 moves; level 500 moves",
            "moves of another instrument, moves all alike",
        )
        .in_words("size of the last 8 moves against their level (ln)"),
    ],
};

/// Ticks of the shortest trend.
const SHORT: usize = 32;
/// Ticks of all trends.
pub(super) const SPANS: [usize; 3] = [SHORT, RECENT, LONG_PAST];

/// What prices are compared with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TrendState {
    median_9: RunningMedian<9>,
    median_65: RunningMedian<65>,
    bid_median_9: RunningMedian<9>,
    ask_median_9: RunningMedian<9>,
    trade_median_9: RunningMedian<9>,
    /// Logarithms of the reference prices.
    prices: Past<f64>,
    volatility: Scale,
    volatility_slow: Scale,
    volatility_30: Scale,
    volatility_10: Scale,
    activity_4: Mean,
    activity_16: Mean,
    activity_64: Mean,
    activity_sum: Cusum,
    moving: Mean,
    move_level: Level,
    move_size: Mean,
}

impl TrendState {
    /// One move counts for at most so many σ in the activity.
    const ACTIVITY_CLIP: f64 = 8.0;
    /// Shares of moving ticks below this are taken as this.
    const MOVING_MIN: f64 = 0.02;

    pub(super) fn new() -> Self {
        TrendState {
            median_9: RunningMedian::default(),
            median_65: RunningMedian::default(),
            bid_median_9: RunningMedian::default(),
            ask_median_9: RunningMedian::default(),
            trade_median_9: RunningMedian::default(),
            prices: Past::default(),
            volatility: Scale::new(200.0),
            volatility_slow: Scale::new(1000.0),
            volatility_30: Scale::new(30.0),
            volatility_10: Scale::new(10.0),
            activity_4: Mean::new(4.0),
            activity_sum: Cusum::new(1.0, 200.0),
            activity_16: Mean::new(16.0),
            activity_64: Mean::new(64.0),
            moving: Mean::new(64.0),
            move_level: Level::new(500.0),
            move_size: Mean::new(8.0),
        }
    }

    /// Writes the trend columns.
    pub(super) fn observe(&mut self, tick: &Tick, step: &Step, columns: &mut Columns<'_>) {
        self.write_displacements(step, columns);
        let ago = [
            self.prices.ago(SHORT),
            self.prices.ago(RECENT),
            self.prices.long_ago().map(|(before, _)| before),
        ];
        for (before, ticks) in ago.into_iter().zip(SPANS) {
            columns.push(self.trend(step, before, ticks));
        }
        self.write_scales(&mut *columns.scales, ago);
        self.observe_moves(step);
        columns.push(log_ratio(self.volatility_10.value(), self.volatility.value()));
        columns.push(log_ratio(self.volatility_30.value(), self.volatility_slow.value()));
        columns.push(self.activity_4.value());
        columns.push(self.activity_16.value());
        columns.push(self.activity_64.value());
        columns.push(self.activity_sum.column());
        columns.push(self.moving.value());
        columns.push(self.move_size.value());
        self.remember(tick, step);
    }

    fn write_displacements(&self, step: &Step, columns: &mut Columns<'_>) {
        let now = &step.now;
        for (price, median) in [
            (now.reference, self.median_9.value()),
            (now.reference, self.median_65.value()),
            (now.bid, self.bid_median_9.value()),
            (now.ask, self.ask_median_9.value()),
        ] {
            columns.push(relative(difference(price, median), step.volatility));
        }
        columns.push(match step.moves.trade == 0.0 {
            true => 0.0,
            false => relative(
                difference(now.trade, self.trade_median_9.value()),
                step.trade_volatility,
            ),
        });
    }

    fn write_scales(&self, scales: &mut Scales, ago: [Option<f64>; 3]) {
        scales.median_9 = scales.distance(self.median_9.value());
        scales.median_65 = scales.distance(self.median_65.value());
        scales.bid_median_9 = scales.distance(self.bid_median_9.value());
        scales.ask_median_9 = scales.distance(self.ask_median_9.value());
        scales.trade_median_9 = scales.distance(self.trade_median_9.value());
        scales.ago = ago.map(|price| scales.distance(price));
        scales.moving = self.moving.value().max(Self::MOVING_MIN) as f32;
        scales.sigma_slow = positive(self.volatility_slow.value());
    }

    /// Gives the move since the price `before`, `ticks` ticks ago, in units of what a random walk with this volatility and share of moving
    /// ticks would have made; 0 while there are too few.
    fn trend(&self, step: &Step, before: Option<f64>, ticks: usize) -> f64 {
        if step.volatility <= 0.0 {
            return 0.0;
        }
        let moves = ticks as f64 * self.moving.value().max(Self::MOVING_MIN);
        difference(step.now.reference, before) / (step.volatility * moves.sqrt())
    }

    fn observe_moves(&mut self, step: &Step) {
        let size = step.moves.reference.abs();
        let relative = self.volatility_slow.relative(size).min(Self::ACTIVITY_CLIP);
        self.activity_4.observe(relative);
        self.activity_sum.observe(relative);
        self.activity_16.observe(relative);
        self.activity_64.observe(relative);
        self.moving.observe(f64::from(u8::from(size > 0.0)));
        if size > 0.0 {
            let size = libm::log(size);
            self.move_size.observe(self.move_level.above(size));
            self.move_level.observe(size);
        }
    }

    fn remember(&mut self, tick: &Tick, step: &Step) {
        let size = step.moves.reference.abs();
        for volatility in [
            &mut self.volatility,
            &mut self.volatility_slow,
            &mut self.volatility_30,
            &mut self.volatility_10,
        ] {
            volatility.observe(size);
        }
        let now = &step.now;
        if let Some(reference) = now.reference {
            self.median_9.observe(reference);
            self.median_65.observe(reference);
            self.prices.observe(reference);
        }
        if let (false, Some(bid), Some(ask)) = (tick.is_trade(), now.bid, now.ask) {
            self.bid_median_9.observe(bid);
            self.ask_median_9.observe(ask);
        }
        if let (true, Some(trade)) = (tick.is_trade(), now.trade) {
            self.trade_median_9.observe(trade);
        }
    }
}
