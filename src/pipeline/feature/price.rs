//! Moves and displacements of prices, in units of the instrument's own volatility.

use super::{Columns, is_trade};
use crate::pipeline::robust::{Mean, RunningMedian, Scale};
use crate::pipeline::tick::{Body, Quote, Tick};

/// What moves are measured against.
#[derive(Clone, Debug)]
pub(super) struct PriceState {
    has_quotes: bool,
    last: LogPrices,
    half_spread: f64,
    volatility: Scale,
    volatility_short: Scale,
    volatility_fast: Scale,
    trade_volatility: Scale,
    moving: Mean,
    last_return: f64,
    median_9: RunningMedian<9>,
    median_65: RunningMedian<65>,
    trade_median_9: RunningMedian<9>,
}

/// Natural logarithms of the last prices, where there were any.
#[derive(Clone, Copy, Debug, Default)]
struct LogPrices {
    reference: Option<f64>,
    bid: Option<f64>,
    ask: Option<f64>,
    trade: Option<f64>,
}

/// Moves of one tick against the prices before (differences of natural logarithms; 0 where nothing moved).
#[derive(Clone, Copy, Debug, Default)]
struct Moves {
    reference: f64,
    bid: f64,
    ask: f64,
    trade: f64,
}

impl PriceState {
    pub(super) fn new() -> Self {
        PriceState {
            has_quotes: false,
            last: LogPrices::default(),
            half_spread: 0.0,
            volatility: Scale::new(200.0),
            volatility_short: Scale::new(30.0),
            volatility_fast: Scale::new(10.0),
            trade_volatility: Scale::new(200.0),
            moving: Mean::new(64.0),
            last_return: 0.0,
            median_9: RunningMedian::default(),
            median_65: RunningMedian::default(),
            trade_median_9: RunningMedian::default(),
        }
    }

    /// Writes the price columns; tells whether the reference price moved.
    pub(super) fn observe(&mut self, tick: &Tick, columns: &mut Columns<'_>) -> bool {
        let mid_before = self.last.reference;
        let now = self.prices(tick);
        let moves = Moves {
            reference: difference(now.reference, self.last.reference),
            bid: difference(now.bid, self.last.bid),
            ask: difference(now.ask, self.last.ask),
            trade: difference(now.trade, self.last.trade),
        };
        let against_mid = match (is_trade(tick) && self.has_quotes, now.trade, mid_before) {
            (true, Some(trade), Some(mid)) if self.half_spread > 0.0 => (trade - mid) / self.half_spread,
            _ => 0.0,
        };
        self.write(columns, &moves, &now, against_mid);
        self.remember(tick, &moves, now);
        moves.reference != 0.0
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
                    self.half_spread = if half_spread > 0.0 {
                        half_spread
                    } else {
                        self.half_spread
                    };
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

    fn write(&self, columns: &mut Columns<'_>, moves: &Moves, now: &LogPrices, against_mid: f64) {
        let reference = self.volatility.relative(moves.reference);
        columns.push(reference);
        columns.push(self.volatility.relative(moves.bid));
        columns.push(self.volatility.relative(moves.ask));
        columns.push(self.trade_volatility.relative(moves.trade));
        columns.push(self.volatility_short.relative(moves.reference));
        columns.push(against_mid);
        columns.push(
            self.volatility
                .relative(difference(now.reference, self.median_9.value())),
        );
        columns.push(
            self.volatility
                .relative(difference(now.reference, self.median_65.value())),
        );
        columns.push(match moves.trade == 0.0 {
            true => 0.0,
            false => self
                .trade_volatility
                .relative(difference(now.trade, self.trade_median_9.value())),
        });
        columns.push(match moves.reference * self.last_return < 0.0 {
            true => {
                moves.reference.signum()
                    * self
                        .volatility
                        .relative(moves.reference.abs().min(self.last_return.abs()))
            }
            false => 0.0,
        });
        columns.push(log_ratio(self.volatility_fast.value(), self.volatility.value()));
        columns.push(self.moving.value());
    }

    fn remember(&mut self, tick: &Tick, moves: &Moves, now: LogPrices) {
        let size = moves.reference.abs();
        for volatility in [
            &mut self.volatility,
            &mut self.volatility_short,
            &mut self.volatility_fast,
        ] {
            volatility.observe(size);
        }
        self.trade_volatility.observe(moves.trade.abs());
        self.moving.observe(f64::from(u8::from(size > 0.0)));
        if size > 0.0 {
            self.last_return = moves.reference;
        }
        if let Some(reference) = now.reference {
            self.median_9.observe(reference);
            self.median_65.observe(reference);
        }
        if let (true, Some(trade)) = (is_trade(tick), now.trade) {
            self.trade_median_9.observe(trade);
        }
        self.last = now;
    }
}

fn log_sides(quote: &Quote) -> Option<(f64, f64)> {
    (quote.bid > 0.0 && quote.ask > 0.0).then(|| (libm::log(quote.bid), libm::log(quote.ask)))
}

fn difference(now: Option<f64>, before: Option<f64>) -> f64 {
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
