//! The scales of one row: what its features were measured against, kept until the row has been judged.
//!
//! Alerts are made at the end of a batch, when the instrument may be hundreds of ticks on. Promises a small value of fixed
//! size, all of it from before the tick where the features use what was before it. What is not known is NaN, so that what
//! is made of it is NaN too. Knows no formula: that is [`super::inverse`].

use serde::{Deserialize, Serialize};

/// What one row's features were measured against.
///
/// Prices are distances of their natural logarithms from that of the reference price before the tick: so they keep their
/// precision in 32 bits, whatever the tick says. Levels of sizes are natural logarithms.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Scales {
    /// ln of the reference price before the tick; after it where it is the first.
    pub(super) reference_before: f64,
    /// The prices after it.
    pub(super) reference: f32,
    pub(super) bid: f32,
    pub(super) ask: f32,
    pub(super) trade: f32,
    /// Other prices before the tick.
    pub(super) bid_before: f32,
    pub(super) ask_before: f32,
    pub(super) trade_before: f32,
    /// Volatilities (differences of logarithms, > 0) by half-life; those of trades.
    pub(super) sigma: f32,
    pub(super) sigma_100: f32,
    pub(super) sigma_30: f32,
    pub(super) sigma_slow: f32,
    pub(super) trade_sigma: f32,
    pub(super) trade_sigma_30: f32,
    pub(super) sigma_15: f32,
    /// Volatilities over a half-life of 15 moves, times the updates between two moves: of the reference price, of bid and
    /// ask together, of trades.
    pub(super) quick_sigma: f32,
    pub(super) quick_quote_sigma: f32,
    pub(super) quick_trade_sigma: f32,
    /// Half the last spread above zero (difference of logarithms, > 0).
    pub(super) half_spread: f32,
    pub(super) median_9: f32,
    pub(super) median_65: f32,
    pub(super) bid_median_9: f32,
    pub(super) ask_median_9: f32,
    pub(super) trade_median_9: f32,
    /// The reference price 32, 128 and about 512 ticks ago.
    pub(super) ago: [f32; 3],
    /// Share of moving ticks, as trends count it.
    pub(super) moving: f32,
    /// The mid of the last quote (in the feed's unit), and the level of the spread that it was held against (share of the
    /// mid, > 0).
    pub(super) mid: f32,
    pub(super) spread_level: f32,
    /// Levels of sizes at the last quote that had some.
    pub(super) depth_level: f32,
    pub(super) bid_size_level: f32,
    pub(super) ask_size_level: f32,
    /// Level of the time between ticks (nanoseconds, > 0), before the tick and after it.
    pub(super) gap_level: f32,
    pub(super) gap_level_after: f32,
    /// σ of the time since the last tick in σ of one tick (≥ 1).
    pub(super) sigmas_of_time: f32,
    /// Level of sizes at the last trade that had one.
    pub(super) trade_size_level: f32,
    /// Mean size over 500 trades (> 0).
    pub(super) volume_slow: f32,
    /// Ticks before this one.
    pub(super) ticks_before: u32,
    pub(super) is_trade: bool,
    pub(super) has_quotes: bool,
    pub(super) has_trade_size: bool,
}

impl Scales {
    /// Nothing is known.
    pub(super) const UNKNOWN: Scales = Scales {
        reference_before: f64::NAN,
        reference: f32::NAN,
        bid: f32::NAN,
        ask: f32::NAN,
        trade: f32::NAN,
        bid_before: f32::NAN,
        ask_before: f32::NAN,
        trade_before: f32::NAN,
        sigma: f32::NAN,
        sigma_100: f32::NAN,
        sigma_30: f32::NAN,
        sigma_slow: f32::NAN,
        trade_sigma: f32::NAN,
        trade_sigma_30: f32::NAN,
        sigma_15: f32::NAN,
        quick_sigma: f32::NAN,
        quick_quote_sigma: f32::NAN,
        quick_trade_sigma: f32::NAN,
        half_spread: f32::NAN,
        median_9: f32::NAN,
        median_65: f32::NAN,
        bid_median_9: f32::NAN,
        ask_median_9: f32::NAN,
        trade_median_9: f32::NAN,
        ago: [f32::NAN; 3],
        moving: f32::NAN,
        mid: f32::NAN,
        spread_level: f32::NAN,
        depth_level: f32::NAN,
        bid_size_level: f32::NAN,
        ask_size_level: f32::NAN,
        gap_level: f32::NAN,
        gap_level_after: f32::NAN,
        sigmas_of_time: f32::NAN,
        trade_size_level: f32::NAN,
        volume_slow: f32::NAN,
        ticks_before: 0,
        is_trade: false,
        has_quotes: false,
        has_trade_size: false,
    };

    /// Gives the scales of a tick that had left the price where it was, which is what a model expects.
    pub(super) fn of_no_move(&self) -> Scales {
        Scales {
            reference: 0.0,
            mid: libm::exp(self.reference_before) as f32,
            ..*self
        }
    }

    /// Gives the distance of a price's logarithm from that of the reference price before the tick.
    pub(super) fn distance(&self, price: Option<f64>) -> f32 {
        price.map_or(f32::NAN, |price| (price - self.reference_before) as f32)
    }
}

/// Gives a scale that can be divided by; one that is not above zero says nothing.
pub(super) fn positive(scale: f64) -> f32 {
    if scale > 0.0 { scale as f32 } else { f32::NAN }
}
