//! The table of inverses, and the formulas at work.

use super::FeedUnit::{Price, PriceDifference, Quotes, Seconds, Size, Ticks};
use super::{FeedUnit, Inverse};
use crate::pipeline::feature::Columns;
use crate::pipeline::feature::book::SIZE_MIN;
use crate::pipeline::feature::pace::RATE_FLOOR;
use crate::pipeline::feature::quote::SPREAD_FLOOR;
use crate::pipeline::feature::scales::Scales;
use crate::pipeline::feature::trend::SPANS;

const fn inverse(
    features: &'static [&'static str],
    quantity: &'static str,
    unit: FeedUnit,
    formula: &'static str,
    of: fn(&Scales, f64) -> f64,
) -> Inverse {
    Inverse {
        features,
        quantity,
        unit,
        formula,
        of,
    }
}

/// All inverses, in the order of the catalogue. *Before* is before the tick; σ, levels and medians are the feature's own,
/// from before the tick too.
pub const INVERSES: [Inverse; 57] = [
    // price.rs
    inverse(
        &["reference_return"],
        "reference price",
        Price,
        "reference before · exp(x σ)",
        |s, x| price(s, s.reference, REFERENCE_BEFORE, x, s.sigma),
    ),
    inverse(&["bid_return"], "bid", Price, "bid before · exp(x σ)", |s, x| {
        price(s, s.bid, s.bid_before, x, s.sigma)
    }),
    inverse(&["ask_return"], "ask", Price, "ask before · exp(x σ)", |s, x| {
        price(s, s.ask, s.ask_before, x, s.sigma)
    }),
    inverse(
        &["trade_return"],
        "trade price",
        Price,
        "trade before · exp(x σ)",
        |s, x| price(s, s.trade, s.trade_before, x, s.trade_sigma),
    ),
    inverse(
        &["reference_return_100"],
        "reference price",
        Price,
        "reference before · exp(x σ)",
        |s, x| price(s, s.reference, REFERENCE_BEFORE, x, s.sigma_100),
    ),
    inverse(
        &["reference_return_30"],
        "reference price",
        Price,
        "reference before · exp(x σ)",
        |s, x| price(s, s.reference, REFERENCE_BEFORE, x, s.sigma_30),
    ),
    inverse(
        &["trade_return_30"],
        "trade price",
        Price,
        "trade before · exp(x σ)",
        |s, x| price(s, s.trade, s.trade_before, x, s.trade_sigma_30),
    ),
    inverse(
        &["spread_change"],
        "spread",
        PriceDifference,
        "2 · reference · sinh((ln(ask before / bid before) + x σ) / 2)",
        |s, x| match x.abs() < Columns::LIMIT {
            true => width(s, wide(s.ask_before) - wide(s.bid_before) + x * wide(s.sigma)),
            false => at(s, s.ask) - at(s, s.bid),
        },
    ),
    inverse(
        &["trade_against_mid"],
        "trade price",
        Price,
        "reference before · exp(x · half-spread before); of trades on a feed with quotes",
        |s, x| {
            only(
                s.is_trade && s.has_quotes,
                price(s, s.trade, REFERENCE_BEFORE, x, s.half_spread),
            )
        },
    ),
    inverse(
        &["trade_outside"],
        "trade beyond the quote",
        PriceDifference,
        "ask before · (exp(x σ) − 1) above the ask, bid before · (exp(x σ) − 1) below the bid, 0 between; of trades on a feed with quotes",
        |s, x| {
            let touch = if x < 0.0 { s.bid_before } else { s.ask_before };
            let beyond = match x.abs() < Columns::LIMIT {
                true => change(s, touch, x * wide(s.sigma)),
                false => at(s, s.trade) - at(s, touch),
            };
            only(s.is_trade && s.has_quotes, beyond)
        },
    ),
    inverse(
        &["mid_against_trade"],
        "reference price",
        Price,
        "last trade · exp(x σ); on a feed with quotes",
        |s, x| only(s.has_quotes, price(s, s.reference, s.trade, x, s.sigma)),
    ),
    inverse(
        &["crossing"],
        "bid above the ask",
        PriceDifference,
        "2 · reference · sinh(σ · (exp(x − 1) − 1) / 2), 0 for x ≤ 1; of quotes",
        |s, x| only(!s.is_trade, width(s, wide(s.sigma) * libm::expm1((x - 1.0).max(0.0)))),
    ),
    // reversal.rs
    inverse(
        &["reversal", "quote_reversal"],
        "move back",
        PriceDifference,
        "reference before · (exp(x σ) − 1): what the smaller of the two moves was, as if from there",
        |s, x| change(s, REFERENCE_BEFORE, x * wide(s.sigma)),
    ),
    inverse(
        &["bid_reversal"],
        "move back of the bid",
        PriceDifference,
        "bid before · (exp(x σ) − 1)",
        |s, x| change(s, s.bid_before, x * wide(s.sigma)),
    ),
    inverse(
        &["ask_reversal"],
        "move back of the ask",
        PriceDifference,
        "ask before · (exp(x σ) − 1)",
        |s, x| change(s, s.ask_before, x * wide(s.sigma)),
    ),
    inverse(
        &["trade_reversal"],
        "move back of the trades",
        PriceDifference,
        "trade before · (exp(x σ) − 1)",
        |s, x| change(s, s.trade_before, x * wide(s.trade_sigma)),
    ),
    inverse(
        &["round_trip"],
        "round trip",
        PriceDifference,
        "reference before · (exp(x σ) − 1)",
        |s, x| change(s, REFERENCE_BEFORE, x * wide(s.sigma)),
    ),
    inverse(
        &["trade_round_trip"],
        "round trip of the trades",
        PriceDifference,
        "trade before · (exp(x σ) − 1)",
        |s, x| change(s, s.trade_before, x * wide(s.trade_sigma)),
    ),
    inverse(
        &["quick_reversal"],
        "quick move back",
        PriceDifference,
        "reference before · (exp(x σ n) − 1)",
        |s, x| change(s, REFERENCE_BEFORE, x * wide(s.quick_sigma)),
    ),
    inverse(
        &["quick_quote_reversal"],
        "quick move back",
        PriceDifference,
        "reference before · (exp(x σ n) − 1)",
        |s, x| change(s, REFERENCE_BEFORE, x * wide(s.quick_quote_sigma)),
    ),
    inverse(
        &["quick_trade_reversal"],
        "quick move back of the trades",
        PriceDifference,
        "trade before · (exp(x σ n) − 1)",
        |s, x| change(s, s.trade_before, x * wide(s.quick_trade_sigma)),
    ),
    inverse(
        &["outside_and_back"],
        "move back of a trade beyond the quote",
        PriceDifference,
        "trade before · (exp(x σ) − 1); of trades on a feed with quotes",
        |s, x| {
            only(
                s.is_trade && s.has_quotes,
                change(s, s.trade_before, x * wide(s.sigma_15)),
            )
        },
    ),
    // trend.rs
    inverse(
        &["displacement_9"],
        "reference price",
        Price,
        "median of 9 ticks · exp(x σ)",
        |s, x| price(s, s.reference, s.median_9, x, s.sigma),
    ),
    inverse(
        &["displacement_65"],
        "reference price",
        Price,
        "median of 65 ticks · exp(x σ)",
        |s, x| price(s, s.reference, s.median_65, x, s.sigma),
    ),
    inverse(
        &["bid_displacement_9"],
        "bid",
        Price,
        "median bid of 9 quotes · exp(x σ)",
        |s, x| price(s, s.bid, s.bid_median_9, x, s.sigma),
    ),
    inverse(
        &["ask_displacement_9"],
        "ask",
        Price,
        "median ask of 9 quotes · exp(x σ)",
        |s, x| price(s, s.ask, s.ask_median_9, x, s.sigma),
    ),
    inverse(
        &["trade_displacement_9"],
        "trade price",
        Price,
        "median of 9 trades · exp(x σ); of a trade that moved",
        |s, x| {
            only(
                s.trade != s.trade_before,
                price(s, s.trade, s.trade_median_9, x, s.trade_sigma),
            )
        },
    ),
    inverse(
        &["trend_32"],
        "reference price",
        Price,
        "reference 32 ticks ago · exp(x σ √(32 · share of moving ticks))",
        |s, x| trend(s, 0, x),
    ),
    inverse(
        &["trend_128"],
        "reference price",
        Price,
        "reference 128 ticks ago · exp(x σ √(128 · share of moving ticks))",
        |s, x| trend(s, 1, x),
    ),
    inverse(
        &["trend_512"],
        "reference price",
        Price,
        "reference 512 ticks ago · exp(x σ √(512 · share of moving ticks))",
        |s, x| trend(s, 2, x),
    ),
    inverse(
        &["volatility_ratio"],
        "mean move over 10 moves",
        PriceDifference,
        "reference · σ · exp(x); one move counts for at most 5 means",
        |s, x| typical_move(s, wide(s.sigma) * libm::exp(x)),
    ),
    inverse(
        &["volatility_ratio_slow"],
        "mean move over 30 moves",
        PriceDifference,
        "reference · σ (half-life 1,000 moves) · exp(x); one move counts for at most 5 means",
        |s, x| typical_move(s, wide(s.sigma_slow) * libm::exp(x)),
    ),
    inverse(
        &["activity_4", "activity_16", "activity_64"],
        "mean move per tick",
        PriceDifference,
        "reference · σ (half-life 1,000 moves) · x; one move counts for at most 8 σ",
        |s, x| typical_move(s, wide(s.sigma_slow) * x),
    ),
    // quote.rs
    inverse(
        &["spread"],
        "spread",
        PriceDifference,
        "mid · level · (1.1 exp(x) − 0.1), at least 0: of a crossed quote too",
        spread,
    ),
    inverse(
        &["spread_4", "spread_16", "spread_64"],
        "mean spread",
        PriceDifference,
        "mid · level · (1.1 exp(x) − 0.1), at least 0: a mean by logarithms",
        spread,
    ),
    inverse(
        &["bid_age"],
        "age of the bid",
        Quotes,
        "exp(x) − 1; on a feed with quotes",
        |s, x| only(s.has_quotes, count(x)),
    ),
    inverse(
        &["ask_age"],
        "age of the ask",
        Quotes,
        "exp(x) − 1; on a feed with quotes",
        |s, x| only(s.has_quotes, count(x)),
    ),
    inverse(
        &["repeated_quotes"],
        "run of equal quotes",
        Quotes,
        "exp(x) − 1; on a feed with quotes",
        |s, x| only(s.has_quotes, count(x)),
    ),
    // book.rs
    inverse(&["depth"], "depth", Size, "level · exp(x)", |s, x| {
        size(s.depth_level, x)
    }),
    inverse(&["bid_size"], "bid size", Size, "level · exp(x)", |s, x| {
        size(s.bid_size_level, x)
    }),
    inverse(&["ask_size"], "ask size", Size, "level · exp(x)", |s, x| {
        size(s.ask_size_level, x)
    }),
    inverse(
        &["bid_size_8", "bid_size_64"],
        "mean bid size",
        Size,
        "level · exp(x): a mean by logarithms",
        |s, x| size(s.bid_size_level, x),
    ),
    inverse(
        &["ask_size_8", "ask_size_64"],
        "mean ask size",
        Size,
        "level · exp(x): a mean by logarithms",
        |s, x| size(s.ask_size_level, x),
    ),
    // pace.rs
    inverse(
        &["return_in_time"],
        "reference price",
        Price,
        "reference before · exp(x σ √(1 + time since the last tick / level of it))",
        |s, x| price(s, s.reference, REFERENCE_BEFORE, x, s.sigma * s.sigmas_of_time),
    ),
    inverse(
        &["gap"],
        "time since the last tick",
        Seconds,
        "level · sinh(x)",
        |s, x| seconds(s.gap_level, libm::sinh(x)),
    ),
    inverse(
        &["time_back"],
        "time that the stamp goes back",
        Seconds,
        "level · sinh(x), at least 0",
        |s, x| seconds(s.gap_level, libm::sinh(x).max(0.0)),
    ),
    inverse(
        &["rate_8"],
        "time for 8 ticks",
        Seconds,
        "8 · level of gaps · (exp(x) − 0.01), at least 0",
        |s, x| time_for(s, 8, x),
    ),
    inverse(
        &["rate_32"],
        "time for 32 ticks",
        Seconds,
        "32 · level of gaps · (exp(x) − 0.01), at least 0",
        |s, x| time_for(s, 32, x),
    ),
    inverse(
        &["rate_128"],
        "time for 128 ticks",
        Seconds,
        "128 · level of gaps · (exp(x) − 0.01), at least 0",
        |s, x| time_for(s, 128, x),
    ),
    inverse(
        &["rate_512"],
        "time for 512 ticks",
        Seconds,
        "512 · level of gaps · (exp(x) − 0.01), at least 0",
        |s, x| time_for(s, 512, x),
    ),
    inverse(&["price_age"], "age of the price", Ticks, "exp(x) − 1", |_, x| {
        count(x)
    }),
    inverse(
        &["price_age_time"],
        "age of the price",
        Seconds,
        "level of gaps · (exp(x) − 1)",
        |s, x| seconds(s.gap_level_after, count(x)),
    ),
    // size.rs
    inverse(
        &["trade_size"],
        "trade size",
        Size,
        "level · exp(x); of trades with a size",
        |s, x| only(s.has_trade_size, size(s.trade_size_level, x)),
    ),
    inverse(
        &["trade_size_4", "trade_size_16", "trade_size_64"],
        "mean trade size",
        Size,
        "level · exp(x): a mean by logarithms",
        |s, x| size(s.trade_size_level, x),
    ),
    inverse(
        &["trade_size_median"],
        "median trade size",
        Size,
        "level · exp(x)",
        |s, x| size(s.trade_size_level, x),
    ),
    inverse(
        &["trade_size_peak"],
        "largest trade size of late",
        Size,
        "level · exp(x): it fades to the level",
        |s, x| size(s.trade_size_level, x),
    ),
    inverse(
        &["volume_ratio"],
        "mean trade size over 10 trades",
        Size,
        "mean over 500 trades · exp(x); one trade counts for at most 5 means",
        |s, x| wide(s.volume_slow) * libm::exp(x),
    ),
];

/// The distance of the reference price before the tick from itself.
const REFERENCE_BEFORE: f32 = 0.0;

fn wide(scale: f32) -> f64 {
    f64::from(scale)
}

/// Gives a value where the row has such a quantity.
fn only(is_there: bool, value: f64) -> f64 {
    if is_there { value } else { f64::NAN }
}

/// Gives the price at a distance.
fn at(scales: &Scales, distance: f32) -> f64 {
    libm::exp(scales.reference_before + wide(distance))
}

/// Gives the price that `x` of `scale` lead to from `from`; where the feature was cut off, the price `now`.
fn price(scales: &Scales, now: f32, from: f32, x: f64, scale: f32) -> f64 {
    match x.abs() < Columns::LIMIT {
        true => libm::exp(scales.reference_before + wide(from) + x * wide(scale)),
        false => at(scales, now),
    }
}

/// Gives the difference of prices that such a move makes.
fn change(scales: &Scales, from: f32, log_move: f64) -> f64 {
    at(scales, from) * libm::expm1(log_move)
}

/// Gives the difference of two prices around the reference price whose logarithms are so far apart.
fn width(scales: &Scales, apart: f64) -> f64 {
    2.0 * at(scales, scales.reference) * libm::sinh(0.5 * apart)
}

/// Gives the move that a small one (difference of logarithms) is at the reference price; never below 0.
fn typical_move(scales: &Scales, log_move: f64) -> f64 {
    only(log_move.is_finite(), at(scales, scales.reference) * log_move.max(0.0))
}

fn trend(scales: &Scales, span: usize, x: f64) -> f64 {
    let sigmas = (SPANS[span] as f32 * scales.moving).sqrt();
    price(scales, scales.reference, scales.ago[span], x, scales.sigma * sigmas)
}

fn spread(scales: &Scales, x: f64) -> f64 {
    wide(scales.mid) * wide(scales.spread_level) * ((1.0 + SPREAD_FLOOR) * libm::exp(x) - SPREAD_FLOOR).max(0.0)
}

/// Gives the count whose logarithm this is (see `log_count`).
fn count(x: f64) -> f64 {
    libm::expm1(x).max(0.0)
}

/// Gives a size; one that is no more than none is 0.
fn size(level: f32, x: f64) -> f64 {
    let size = libm::exp(wide(level) + x);
    if size < 2.0 * SIZE_MIN { 0.0 } else { size }
}

fn seconds(level_nanos: f32, levels: f64) -> f64 {
    wide(level_nanos) * levels * 1e-9
}

/// Gives the seconds that the last `span` ticks took.
fn time_for(scales: &Scales, span: u32, x: f64) -> f64 {
    /// What is left of a logarithm in 32 bits for no time at all.
    const NONE: f64 = 1e-7;
    let share = libm::exp(x) - RATE_FLOOR;
    let took = if share < NONE { 0.0 } else { share };
    only(
        scales.ticks_before >= span,
        f64::from(span) * seconds(scales.gap_level, took),
    )
}
