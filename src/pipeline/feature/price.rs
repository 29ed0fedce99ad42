//! Moves of prices, in units of the instrument's own volatility, and what trades and quotes say of each other.

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
            "reversal",
            "σ of the smaller of two opposite moves",
            "back(r) / σ",
            "2 moves; σ 200 moves",
            "a wrong print or quote that is taken back",
        ),
        feature(
            "bid_reversal",
            "σ of the smaller of two opposite moves of the bid",
            "back(b) / σ",
            "2 moves of the bid; σ 200 moves",
            "a wrong bid that is taken back",
        ),
        feature(
            "ask_reversal",
            "σ of the smaller of two opposite moves of the ask",
            "back(a) / σ",
            "2 moves of the ask; σ 200 moves",
            "a wrong ask that is taken back",
        ),
        feature(
            "trade_reversal",
            "σ of trades of the smaller of two opposite moves",
            "back(p) / σₚ",
            "2 moves of trades; σ 200 moves",
            "a wrong print that is taken back",
        ),
        feature(
            "quote_reversal",
            "σ of the smaller reversal of bid and ask together",
            "the smaller of back(b) and back(a) / σ where both have one sign, else 0",
            "2 moves; σ 200 moves",
            "a wrong quote on both sides that is taken back",
        ),
        feature(
            "round_trip",
            "σ by which two opposite moves cancel beyond what is left of them",
            "sign(Δr) · max(|back(r)| − |Δr + Δr⁻|, 0) / σ",
            "2 moves; σ 200 moves",
            "a price that has been elsewhere and is back",
        ),
        feature(
            "trade_round_trip",
            "σ of trades by which two opposite moves cancel beyond what is left of them",
            "sign(Δp) · max(|back(p)| − |Δp + Δp⁻|, 0) / σₚ",
            "2 moves of trades; σ 200 moves",
            "a print that has been elsewhere and is back",
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
#[derive(Clone, Debug)]
pub(super) struct PriceState {
    has_quotes: bool,
    last: LogPrices,
    half_spread: f64,
    volatility: Scale,
    volatility_100: Scale,
    volatility_30: Scale,
    trade_volatility: Scale,
    trade_volatility_30: Scale,
    /// The last moves that were not zero.
    last_moves: Moves,
}

/// Natural logarithms of the last prices, where there were any.
#[derive(Clone, Copy, Debug, Default)]
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
            last_moves: Moves::default(),
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
        self.write_contradictions(columns, tick, &now, &before, half_spread);
        self.write_reversals(columns, &moves);
        columns.push(self.crossing(tick));
        self.write_scales(&mut *columns.scales, tick, &now, half_spread);
        let step = Step {
            now,
            moves,
            volatility: self.volatility.value(),
            trade_volatility: self.trade_volatility.value(),
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
        tick: &Tick,
        now: &LogPrices,
        before: &LogPrices,
        half_spread: f64,
    ) {
        let is_quoted_trade = tick.is_trade() && self.has_quotes;
        let against_mid = match is_quoted_trade && half_spread > 0.0 {
            true => difference(now.trade, before.reference) / half_spread,
            false => 0.0,
        };
        columns.push(against_mid);
        let outside = match is_quoted_trade {
            true => difference(now.trade, before.ask).max(0.0) - difference(before.bid, now.trade).max(0.0),
            false => 0.0,
        };
        columns.push(self.volatility.relative(outside));
        let apart = match self.has_quotes {
            true => difference(now.reference, now.trade),
            false => 0.0,
        };
        columns.push(self.volatility.relative(apart));
    }

    fn write_reversals(&self, columns: &mut Columns<'_>, moves: &Moves) {
        let last = &self.last_moves;
        columns.push(self.volatility.relative(reversal(moves.reference, last.reference)));
        columns.push(self.volatility.relative(reversal(moves.bid, last.bid)));
        columns.push(self.volatility.relative(reversal(moves.ask, last.ask)));
        columns.push(self.trade_volatility.relative(reversal(moves.trade, last.trade)));
        let (bid, ask) = (reversal(moves.bid, last.bid), reversal(moves.ask, last.ask));
        let both = if bid * ask > 0.0 {
            bid.signum() * bid.abs().min(ask.abs())
        } else {
            0.0
        };
        columns.push(self.volatility.relative(both));
        columns.push(self.volatility.relative(round_trip(moves.reference, last.reference)));
        columns.push(self.trade_volatility.relative(round_trip(moves.trade, last.trade)));
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
        let last = &mut self.last_moves;
        keep_if_moved(&mut last.reference, moves.reference);
        keep_if_moved(&mut last.bid, moves.bid);
        keep_if_moved(&mut last.ask, moves.ask);
        keep_if_moved(&mut last.trade, moves.trade);
        self.last = now;
    }
}

/// Gives the smaller of a move and the opposite one before it, with the sign of the newer; 0 where they agree.
fn reversal(now: f64, before: f64) -> f64 {
    if now * before < 0.0 {
        now.signum() * now.abs().min(before.abs())
    } else {
        0.0
    }
}

/// Gives how much of a move and the opposite one before it cancels beyond what is left of them, with the sign of the newer:
/// the price has been elsewhere and is back; 0 where more is left than cancels.
fn round_trip(now: f64, before: f64) -> f64 {
    let back = reversal(now, before);
    back.signum() * (back.abs() - (now + before).abs()).max(0.0)
}

fn keep_if_moved(last: &mut f64, moved: f64) {
    if moved != 0.0 {
        *last = moved;
    }
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
