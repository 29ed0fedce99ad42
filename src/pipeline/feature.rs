//! Features: one row of numbers per tick, computed from this tick and earlier ones of the same instrument.
//!
//! Promises that every feature is causal, free of the price's unit, finite, and costs a bounded time per tick; that the
//! scales it divides by are those from before the tick, each moved by one wild tick only by a bounded amount; and that
//! trade-only, quote-only and mixed feeds give the same columns (a column that a feed cannot fill stays 0). Knows
//! nothing of scaling, windows or models.

mod pace;
mod price;
mod quote;
mod size;

use super::tick::{Body, Tick};

/// Features per row.
pub const FEATURES: usize = 36;

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
/// *Volatility*: the clipped mean of the non-zero moves before. σ below is that volatility.
pub const CATALOGUE: [Feature; FEATURES] = [
    // price.rs
    feature("reference_return", "σ (half-life 200 moves)"),
    feature("bid_return", "σ of the reference price"),
    feature("ask_return", "σ of the reference price"),
    feature("trade_return", "σ of trades (half-life 200 moves)"),
    feature("reference_return_short", "σ (half-life 30 moves)"),
    feature("trade_against_mid", "half-spreads"),
    feature("displacement_9", "σ from the median of 9 ticks"),
    feature("displacement_65", "σ from the median of 65 ticks"),
    feature("trade_displacement_9", "σ from the median of 9 trades"),
    feature("reversal", "σ of the smaller of two opposite moves"),
    feature("volatility_ratio", "ln of fast over slow volatility"),
    feature("moving_share", "share of ticks that move the price, half-life 64"),
    // quote.rs
    feature("spread", "ln of spread over its level"),
    feature("depth", "ln of both sizes over their level"),
    feature("bid_size", "ln of size over its level"),
    feature("ask_size", "ln of size over its level"),
    feature("imbalance", "(bid size − ask size) / (bid size + ask size)"),
    feature("imbalance_change_16", "mean |change of imbalance|, half-life 16"),
    feature("imbalance_change_64", "mean |change of imbalance|, half-life 64"),
    feature("spread_4", "mean spread column, half-life 4 quotes"),
    feature("spread_16", "mean spread column, half-life 16 quotes"),
    feature("bid_age", "ln of ticks since the bid moved"),
    feature("ask_age", "ln of ticks since the ask moved"),
    feature("repeated_quotes", "ln of the run of equal quotes"),
    // pace.rs
    feature("gap", "asinh of time since the last tick over its level"),
    feature("rate_8", "ln of time for 8 ticks over its level"),
    feature("rate_32", "ln of time for 32 ticks over its level"),
    feature("rate_128", "ln of time for 128 ticks over its level"),
    feature("price_age", "ln of ticks since the reference price moved"),
    feature("price_age_time", "ln of time since the reference price moved"),
    feature("stale_density", "ln of ticks against time since the price moved"),
    feature("is_trade", "1 for a trade, 0 for a quote"),
    // size.rs
    feature("trade_size", "ln of size over its level"),
    feature("trade_size_4", "mean trade_size, half-life 4"),
    feature("trade_size_16", "mean trade_size, half-life 16"),
    feature("volume_ratio", "ln of fast over slow mean size"),
];

/// Writes consecutive columns of a row, each made finite.
struct Columns<'a> {
    row: &'a mut FeatureRow,
    next: usize,
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
    quote: quote::QuoteState,
    pace: pace::PaceState,
    size: size::SizeState,
}

impl Default for FeatureState {
    fn default() -> Self {
        FeatureState {
            price: price::PriceState::new(),
            quote: quote::QuoteState::new(),
            pace: pace::PaceState::new(),
            size: size::SizeState::new(),
        }
    }
}

impl FeatureState {
    /// Computes the row of one tick and takes the tick in.
    ///
    /// Prices of zero or less say nothing about moves; such a tick counts as one that repeats the prices before.
    pub fn observe(&mut self, tick: &Tick) -> FeatureRow {
        let mut row = [0.0; FEATURES];
        let mut columns = Columns { row: &mut row, next: 0 };
        let moved = self.price.observe(tick, &mut columns);
        self.quote.observe(tick, &mut columns);
        self.pace.observe(tick, moved, &mut columns);
        self.size.observe(tick, &mut columns);
        debug_assert_eq!(columns.next, FEATURES);
        row
    }
}

/// Gives ln(1 + count), the scale on which ages and runs are compared.
fn log_count(count: u32) -> f64 {
    libm::log1p(f64::from(count))
}

fn is_trade(tick: &Tick) -> bool {
    matches!(tick.body, Body::Trade(_))
}

#[cfg(test)]
mod tests;
