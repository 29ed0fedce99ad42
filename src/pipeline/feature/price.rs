//! Moves of prices, in units of the instrument's own volatility, and what trades and quotes say of each other.

use serde::{Deserialize, Serialize};

use super::scales::{Scales, positive};
use super::{Columns, Group, feature};
use crate::pipeline::robust::Scale;
use crate::pipeline::tick::{Body, Quote, Tick};

/// The columns that are written here.
pub(super) const GROUP: Group = Group {
    title: "Prices",
    finds: "one wrong print, one wrong side, a trade that the quotes contradict",
    features: &[
        feature(
            "reference_return",
            "σ",
            "Δr / σ",
            "1 tick; σ 200 moves",
            "a wrong print or quote",
        ),
        feature("bid_return", "σ", "Δb / σ", "1 tick; σ 200 moves", "a wrong bid"),
        feature("ask_return", "σ", "Δa / σ", "1 tick; σ 200 moves", "a wrong ask"),
        feature(
            "trade_return",
            "σ of trades (half-life 200 moves)",
            "Δp / σₚ",
            "1 trade; σ 200 moves",
            "a wrong print",
        ),
        feature(
            "reference_return_100",
            "σ (half-life 100 moves)",
            "Δr / σ₁₀₀",
            "1 tick; σ 100 moves",
            "a wrong print or quote after the volatility has changed",
        ),
        feature(
            "reference_return_30",
            "σ (half-life 30 moves)",
            "Δr / σ₃₀",
            "1 tick; σ 30 moves",
            "the same, sooner after the change",
        ),
        feature(
            "trade_return_30",
            "σ of trades (half-life 30 moves)",
            "Δp / σₚ₃₀",
            "1 trade; σ 30 moves",
            "a wrong print after the volatility has changed",
        ),
        feature(
            "spread_change",
            "σ by which the ask moves more than the bid",
            "(Δa − Δb) / σ",
            "1 tick; σ 200 moves",
            "a side that moves alone",
        ),
        feature(
            "trade_against_mid",
            "half-spreads",
            "(p − r′) / h of a trade on a feed with quotes, else 0",
            "1 tick",
            "a print that the quotes contradict",
        ),
        feature(
            "trade_outside",
            "σ beyond the bid or the ask before",
            "(max(p − a′, 0) − max(b′ − p, 0)) / σ of a trade on a feed with quotes, else 0",
            "1 tick; σ 200 moves",
            "a print beyond bid or ask",
        ),
        feature(
            "mid_against_trade",
            "σ from the last trade",
            "(r − p) / σ on a feed with quotes, else 0",
            "since the last trade; σ 200 moves",
            "quotes that the trades contradict",
        ),
        feature(
            "crossing",
            "0, 1 for a locked quote, 1 + ln(1 + σ) for a crossed one",
            "0 for b < a, 1 for b = a, 1 + ln(1 + (b − a) / σ) for b > a, 0 at trades",
            "1 quote; σ 200 moves",
            "locked and crossed quotes",
        ),
    ],
};

/// What moves are measured against.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PriceState {
    has_quotes: bool,
    last: LogPrices,
    half_spread: f64,
    volatility: Scale,
    volatility_100: Scale,
    volatility_30: Scale,
    trade_volatility: Scale,
    trade_volatility_30: Scale,
}

/// Natural logarithms of the last prices, where there were any.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct LogPrices {
    pub reference: Option<f64>,
    pub bid: Option<f64>,
    pub ask: Option<f64>,
    pub trade: Option<f64>,
}

/// Moves of one tick against the prices before (differences of natural logarithms; 0 where nothing moved).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moves {
    pub reference: f64,
    pub bid: f64,
    pub ask: f64,
    pub trade: f64,
}

/// What one tick did to the prices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// The prices after it.
    pub now: LogPrices,
    /// The moves it made.
    pub moves: Moves,
    /// The volatility before it (half-life 200 moves, differences of natural logarithms).
    pub volatility: f64,
    /// That of trades.
    pub trade_volatility: f64,
    /// How far a trade on a feed with quotes printed above the ask (> 0) or below the bid (< 0) before it.
    pub outside: Option<f64>,
    /// Whether the reference price is taken from ticks of this kind.
    pub sets_reference: bool,
}

impl PriceState {
    pub(super) fn new() -> Self {
        PriceState {
            has_quotes: false,
            last: LogPrices::default(),
            half_spread: 0.0,
            volatility: Scale::new(200.0),
            volatility_100: Scale::new(100.0),
            volatility_30: Scale::new(30.0),
            trade_volatility: Scale::new(200.0),
            trade_volatility_30: Scale::new(30.0),
        }
    }

    /// Writes the price columns.
    pub(super) fn observe(&mut self, tick: &Tick, columns: &mut Columns<'_>) -> Step {
        let before = self.last;
        let half_spread = self.half_spread;
        let now = self.prices(tick);
        let moves = Moves {
            reference: difference(now.reference, before.reference),
            bid: difference(now.bid, before.bid),
            ask: difference(now.ask, before.ask),
            trade: difference(now.trade, before.trade),
        };
        self.write_moves(columns, &moves);
        let outside = (tick.is_trade() && self.has_quotes).then(|| beyond_quotes(&now, &before));
        self.write_contradictions(columns, outside, &now, &before, half_spread);
        columns.push(self.crossing(tick));
        self.write_scales(&mut *columns.scales, tick, &now, half_spread);
        let step = Step {
            now,
            moves,
            volatility: self.volatility.value(),
            trade_volatility: self.trade_volatility.value(),
            outside,
            sets_reference: tick.is_quote() || !self.has_quotes,
        };
        self.remember(&moves, now);
        step
    }

    /// Gives the prices after this tick.
    fn prices(&mut self, tick: &Tick) -> LogPrices {
        let mut now = self.last;
        match tick.body {
            Body::Quote(quote) => {
                if let Some((bid, ask)) = log_sides(&quote) {
                    self.has_quotes = true;
                    now.bid = Some(bid);
                    now.ask = Some(ask);
                    // The mean of the logarithms: within a ten-thousandth of a move of ln(mid), one logarithm cheaper.
                    now.reference = Some(0.5 * (bid + ask));
                    let half_spread = 0.5 * (ask - bid);
                    if half_spread > 0.0 {
                        self.half_spread = half_spread;
                    }
                }
            }
            Body::Trade(trade) if trade.price > 0.0 => {
                now.trade = Some(libm::log(trade.price));
                if !self.has_quotes {
                    now.reference = now.trade;
                }
            }
            Body::Trade(_) => {}
        }
        now
    }

    fn write_moves(&self, columns: &mut Columns<'_>, moves: &Moves) {
        columns.push(self.volatility.relative(moves.reference));
        columns.push(self.volatility.relative(moves.bid));
        columns.push(self.volatility.relative(moves.ask));
        columns.push(self.trade_volatility.relative(moves.trade));
        columns.push(self.volatility_100.relative(moves.reference));
        columns.push(self.volatility_30.relative(moves.reference));
        columns.push(self.trade_volatility_30.relative(moves.trade));
        columns.push(self.volatility.relative(moves.ask - moves.bid));
    }

    fn write_contradictions(
        &self,
        columns: &mut Columns<'_>,
        outside: Option<f64>,
        now: &LogPrices,
        before: &LogPrices,
        half_spread: f64,
    ) {
        let against_mid = match outside.is_some() && half_spread > 0.0 {
            true => difference(now.trade, before.reference) / half_spread,
            false => 0.0,
        };
        columns.push(against_mid);
        columns.push(self.volatility.relative(outside.unwrap_or(0.0)));
        let apart = match self.has_quotes {
            true => difference(now.reference, now.trade),
            false => 0.0,
        };
        columns.push(self.volatility.relative(apart));
    }

    fn crossing(&self, tick: &Tick) -> f64 {
        let Body::Quote(quote) = tick.body else { return 0.0 };
        match log_sides(&quote) {
            Some((bid, ask)) if bid > ask => 1.0 + libm::log1p(self.volatility.relative(bid - ask)),
            Some((bid, ask)) if bid == ask => 1.0,
            _ => 0.0,
        }
    }

    fn write_scales(&self, scales: &mut Scales, tick: &Tick, now: &LogPrices, half_spread: f64) {
        let before = &self.last;
        scales.is_trade = tick.is_trade();
        scales.has_quotes = self.has_quotes;
        scales.reference_before = before.reference.or(now.reference).unwrap_or(f64::NAN);
        scales.reference = scales.distance(now.reference);
        scales.bid = scales.distance(now.bid);
        scales.ask = scales.distance(now.ask);
        scales.trade = scales.distance(now.trade);
        scales.bid_before = scales.distance(before.bid);
        scales.ask_before = scales.distance(before.ask);
        scales.trade_before = scales.distance(before.trade);
        scales.sigma = positive(self.volatility.value());
        scales.sigma_100 = positive(self.volatility_100.value());
        scales.sigma_30 = positive(self.volatility_30.value());
        scales.trade_sigma = positive(self.trade_volatility.value());
        scales.trade_sigma_30 = positive(self.trade_volatility_30.value());
        scales.half_spread = positive(half_spread);
    }

    fn remember(&mut self, moves: &Moves, now: LogPrices) {
        let size = moves.reference.abs();
        self.volatility.observe(size);
        self.volatility_100.observe(size);
        self.volatility_30.observe(size);
        self.trade_volatility.observe(moves.trade.abs());
        self.trade_volatility_30.observe(moves.trade.abs());
        self.last = now;
    }
}

/// Gives how far a trade is above the ask (> 0) or below the bid (< 0) before it.
fn beyond_quotes(now: &LogPrices, before: &LogPrices) -> f64 {
    difference(now.trade, before.ask).max(0.0) - difference(before.bid, now.trade).max(0.0)
}

fn log_sides(quote: &Quote) -> Option<(f64, f64)> {
    (quote.bid > 0.0 && quote.ask > 0.0).then(|| (libm::log(quote.bid), libm::log(quote.ask)))
}

/// Gives the difference of two logarithms; 0 where one of them is missing.
pub(super) fn difference(now: Option<f64>, before: Option<f64>) -> f64 {
    match (now, before) {
        (Some(now), Some(before)) => now - before,
        _ => 0.0,
    }
}

/// Gives ln(numerator / denominator), 0 where either is 0.
pub(super) fn log_ratio(numerator: f64, denominator: f64) -> f64 {
    if numerator > 0.0 && denominator > 0.0 {
        libm::log(numerator / denominator)
    } else {
        0.0
    }
}
