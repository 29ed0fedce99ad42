//! Features: one row of numbers per tick, computed from this tick and earlier ones of the same instrument.
//!
//! Promises that every feature is causal, free of the price's unit, finite, and costs a bounded time per tick; that the
//! scales it divides by are those from before the tick, each moved by one wild tick only by a bounded amount; and that
//! trade-only, quote-only and mixed feeds give the same columns (a column that a feed cannot fill stays 0). Knows
//! nothing of scaling, windows or models.

mod book;
pub mod inverse;
mod pace;
mod price;
mod quote;
mod scales;
mod size;
mod trend;

use super::tick::Tick;
pub use scales::Scales;

/// Features per row.
pub const FEATURES: usize = 85;

/// The numbers computed at one tick, in the order of [`CATALOGUE`].
pub type FeatureRow = [f32; FEATURES];

/// Name and unit of one feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Name used in alerts, artifacts and docs.
    pub name: &'static str,
    /// Unit of the raw value.
    pub unit: &'static str,
}

const fn feature(name: &'static str, unit: &'static str) -> Feature {
    Feature { name, unit }
}

/// All features, in the order of a row. *Reference price*: the mid where the feed has quotes, else the last trade.
/// *Volatility*: the clipped mean of the non-zero moves before. σ below is that of the reference price over a half-life of
/// 200 moves, unless another is named. *Half-life* counts ticks, or the quotes, trades or moves that are named.
pub const CATALOGUE: [Feature; FEATURES] = [
    // price.rs: one wrong print, one wrong side, a trade that the quotes contradict.
    feature("reference_return", "σ"),
    feature("bid_return", "σ"),
    feature("ask_return", "σ"),
    feature("trade_return", "σ of trades (half-life 200 moves)"),
    feature("reference_return_100", "σ (half-life 100 moves)"),
    feature("reference_return_30", "σ (half-life 30 moves)"),
    feature("trade_return_30", "σ of trades (half-life 30 moves)"),
    feature("spread_change", "σ by which the ask moves more than the bid"),
    feature("trade_against_mid", "half-spreads"),
    feature("trade_outside", "σ beyond the bid or the ask before"),
    feature("mid_against_trade", "σ from the last trade"),
    feature("reversal", "σ of the smaller of two opposite moves"),
    feature("bid_reversal", "σ of the smaller of two opposite moves of the bid"),
    feature("ask_reversal", "σ of the smaller of two opposite moves of the ask"),
    feature("trade_reversal", "σ of trades of the smaller of two opposite moves"),
    feature("quote_reversal", "σ of the smaller reversal of bid and ask together"),
    feature(
        "round_trip",
        "σ by which two opposite moves cancel beyond what is left of them",
    ),
    feature(
        "trade_round_trip",
        "σ of trades by which two opposite moves cancel beyond what is left of them",
    ),
    feature("crossing", "0, 1 for a locked quote, 1 + ln(1 + σ) for a crossed one"),
    // trend.rs: crashes, drifts, bursts of volatility, prices of another instrument.
    feature("displacement_9", "σ from the median of 9 ticks"),
    feature("displacement_65", "σ from the median of 65 ticks"),
    feature("bid_displacement_9", "σ from the median bid of 9 ticks"),
    feature("ask_displacement_9", "σ from the median ask of 9 ticks"),
    feature("trade_displacement_9", "σ from the median of 9 trades"),
    feature("trend_32", "move over 32 ticks in σ of a random walk as long"),
    feature("trend_128", "move over 128 ticks in σ of a random walk as long"),
    feature("trend_512", "move over 512 ticks in σ of a random walk as long"),
    feature("volatility_ratio", "ln of volatility over 10 moves to that over 200"),
    feature(
        "volatility_ratio_slow",
        "ln of volatility over 30 moves to that over 1,000",
    ),
    feature("activity_4", "mean |return| in σ over 1,000 moves, half-life 4"),
    feature("activity_16", "mean |return| in σ over 1,000 moves, half-life 16"),
    feature("activity_64", "mean |return| in σ over 1,000 moves, half-life 64"),
    feature(
        "activity_sum",
        "ln(1 + cumulative sum of |return| in σ over 1,000 moves above 1)",
    ),
    feature("moving_share", "share of ticks that move the price, half-life 64"),
    // quote.rs: spread blow-outs, sides that stand still, repeated updates.
    feature("spread", "ln of spread over its level"),
    feature("spread_4", "mean of spread, half-life 4 quotes"),
    feature("spread_16", "mean of spread, half-life 16 quotes"),
    feature("spread_64", "mean of spread, half-life 64 quotes"),
    feature("spread_sum", "ln(1 + cumulative sum of spread above 0.5)"),
    feature("bid_age", "ln of quotes since the bid moved"),
    feature("ask_age", "ln of quotes since the ask moved"),
    feature("repeated_quotes", "ln of the run of equal quotes"),
    feature(
        "touch_moving_share",
        "share of quotes that move bid or ask, half-life 32",
    ),
    // book.rs: layering, vanished depth, sizes that stand still.
    feature("depth", "ln of both sizes over their level"),
    feature("bid_size", "ln of size over its level"),
    feature("ask_size", "ln of size over its level"),
    feature("imbalance", "(bid size − ask size) / (bid size + ask size)"),
    feature("imbalance_change_16", "mean |change of imbalance|, half-life 16 quotes"),
    feature("imbalance_change_64", "mean |change of imbalance|, half-life 64 quotes"),
    feature("bid_size_8", "mean of bid_size, half-life 8 quotes"),
    feature("ask_size_8", "mean of ask_size, half-life 8 quotes"),
    feature("bid_size_64", "mean of bid_size, half-life 64 quotes"),
    feature("ask_size_64", "mean of ask_size, half-life 64 quotes"),
    feature(
        "bid_size_change_16",
        "mean |change of ln bid size|, half-life 16 quotes",
    ),
    feature(
        "ask_size_change_16",
        "mean |change of ln ask size|, half-life 16 quotes",
    ),
    feature(
        "bid_size_change_64",
        "mean |change of ln bid size|, half-life 64 quotes",
    ),
    feature(
        "ask_size_change_64",
        "mean |change of ln ask size|, half-life 64 quotes",
    ),
    feature(
        "larger_side_16",
        "mean of the larger of bid_size and ask_size, half-life 16 quotes",
    ),
    feature(
        "larger_side_64",
        "mean of the larger of bid_size and ask_size, half-life 64 quotes",
    ),
    feature(
        "side_flips",
        "share of quotes whose larger side is another, weighted by its excess, half-life 32",
    ),
    feature("tilt_swing_32", "variance of bid_size − ask_size, half-life 32 quotes"),
    feature(
        "tilt_swing_128",
        "variance of bid_size − ask_size, half-life 128 quotes",
    ),
    feature("tilt_sum", "ln(1 + cumulative sum of |bid_size − ask_size| above 1)"),
    feature("size_moving_share", "share of quotes that change a size, half-life 32"),
    // pace.rs: stuffing, pauses, lost rows, wrong stamps, frozen prices.
    feature("return_in_time", "σ of what the time since the last tick makes usual"),
    feature("gap", "asinh of time since the last tick over its level"),
    feature(
        "time_back",
        "asinh of time that the stamp goes back over the level of gaps",
    ),
    feature("rate_8", "ln of time for 8 ticks over its level"),
    feature("rate_32", "ln of time for 32 ticks over its level"),
    feature("rate_128", "ln of time for 128 ticks over its level"),
    feature("rate_512", "ln of time for 512 ticks over its level"),
    feature(
        "tied_share",
        "share of ticks with the stamp of the tick before, half-life 16",
    ),
    feature("price_age", "ln of ticks since the reference price moved"),
    feature("price_age_time", "ln of time since the reference price moved"),
    feature("stale_density", "ln of ticks against time since the price moved"),
    feature("is_trade", "1 for a trade, 0 for a quote"),
    feature("trade_share", "share of trades, half-life 64"),
    // size.rs: volume bursts and fat fingers.
    feature("trade_size", "ln of size over its level"),
    feature("trade_size_4", "mean of trade_size, half-life 4 trades"),
    feature("trade_size_16", "mean of trade_size, half-life 16 trades"),
    feature("trade_size_64", "mean of trade_size, half-life 64 trades"),
    feature("trade_size_sum", "ln(1 + cumulative sum of trade_size above 1)"),
    feature("trade_size_median", "median of trade_size over 7 trades"),
    feature("trade_size_peak", "largest trade_size of late, half-life 16 trades"),
    feature("volume_ratio", "ln of mean size over 10 trades to that over 500"),
];

/// Writes consecutive columns of a row, each made finite, and beside them what they were measured against.
struct Columns<'a> {
    row: &'a mut FeatureRow,
    next: usize,
    scales: &'a mut Scales,
}

impl Columns<'_> {
    /// No feature means more beyond this; it keeps squares within `f32`.
    const LIMIT: f64 = 1e6;

    fn push(&mut self, value: f64) {
        let finite = if value.is_nan() {
            0.0
        } else {
            value.clamp(-Self::LIMIT, Self::LIMIT)
        };
        self.row[self.next] = finite as f32;
        self.next += 1;
    }
}

/// What the features remember of one instrument.
#[derive(Clone, Debug)]
pub struct FeatureState {
    price: price::PriceState,
    trend: trend::TrendState,
    quote: quote::QuoteState,
    book: book::BookState,
    pace: pace::PaceState,
    size: size::SizeState,
    /// Of the last row.
    scales: Scales,
}

impl Default for FeatureState {
    fn default() -> Self {
        FeatureState {
            price: price::PriceState::new(),
            trend: trend::TrendState::new(),
            quote: quote::QuoteState::new(),
            book: book::BookState::new(),
            pace: pace::PaceState::new(),
            size: size::SizeState::new(),
            scales: Scales::UNKNOWN,
        }
    }
}

impl FeatureState {
    /// Computes the row of one tick and takes the tick in.
    ///
    /// Prices of zero or less say nothing about moves; such a tick counts as one that repeats the prices before.
    pub fn observe(&mut self, tick: &Tick) -> FeatureRow {
        let mut row = [0.0; FEATURES];
        let mut columns = Columns {
            row: &mut row,
            next: 0,
            scales: &mut self.scales,
        };
        let step = self.price.observe(tick, &mut columns);
        self.trend.observe(tick, &step, &mut columns);
        self.quote.observe(tick, &mut columns);
        self.book.observe(tick, &mut columns);
        self.pace.observe(tick, &step, &mut columns);
        self.size.observe(tick, &mut columns);
        debug_assert_eq!(columns.next, FEATURES);
        row
    }

    /// Gives what the last row was measured against, which [`inverse`] turns its features back with.
    pub fn scales(&self) -> &Scales {
        &self.scales
    }
}

/// Gives ln(1 + count), the scale on which ages and runs are compared.
fn log_count(count: u32) -> f64 {
    libm::log1p(f64::from(count))
}

#[cfg(test)]
mod tests;
