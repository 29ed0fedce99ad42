//! Prices that make no sense, stand elsewhere by a power of ten, or stand still.

use super::longest::Longest;
use super::{Failed, Guard, GuardConfig};
use crate::pipeline::robust::RunningMedian;
use crate::pipeline::tick::{Body, Quote, Trade};

/// What is remembered of an instrument's prices.
#[derive(Clone, Debug, Default)]
pub(super) struct Prices {
    recent: RunningMedian<9>,
    last_trade: Option<Trade>,
    last_quote: Option<Quote>,
    /// Ticks whose prices said nothing new …
    same_prices: Run,
    /// … and ticks that said nothing new at all: the rarer of the two where sizes are many.
    same_ticks: Run,
}

impl Prices {
    /// Checks one tick and takes it in.
    pub fn observe(&mut self, config: &GuardConfig, body: &Body, failed: &mut Failed) {
        let (prices, mid) = match body {
            Body::Quote(quote) => ([quote.bid, quote.ask], quote.mid()),
            Body::Trade(trade) => ([trade.price; 2], trade.price),
        };
        if let Body::Quote(quote) = body {
            failed.add_if(Guard::CrossedQuote, quote.bid > quote.ask);
            failed.add_if(Guard::LockedQuote, quote.bid == quote.ask);
        }
        // A shifted price is an absurd one with a finer name.
        let shifted = config.decimal_shift && prices.iter().any(|price| self.is_shifted(config, *price));
        failed.add_if(Guard::DecimalShift, shifted);
        let absurd = || prices.iter().any(|price| self.is_absurd(config, *price));
        failed.add_if(Guard::AbsurdPrice, !shifted && absurd());
        failed.add_if(Guard::Frozen, self.is_frozen(config, body));
        if mid > 0.0 {
            self.recent.observe(mid);
        }
    }

    fn is_absurd(&self, config: &GuardConfig, price: f64) -> bool {
        if price <= 0.0 {
            return true;
        }
        let Some(median) = self.recent.value() else {
            return false;
        };
        price > median * config.price_ratio_max || price * config.price_ratio_max < median
    }

    fn is_shifted(&self, config: &GuardConfig, price: f64) -> bool {
        const FACTORS: [f64; 4] = [10.0, 100.0, 0.1, 0.01];
        let Some(median) = self.recent.value() else {
            return false;
        };
        let ratio_max = 1.0 + config.decimal_shift_tolerance;
        let is_near = |expected: f64| price * ratio_max >= expected && price <= expected * ratio_max;
        FACTORS.iter().any(|factor| is_near(factor * median))
    }

    /// Compares a tick with the last of its kind, and tells whether a stretch has just become too long.
    fn is_frozen(&mut self, config: &GuardConfig, body: &Body) -> bool {
        let same = match *body {
            Body::Trade(trade) => self
                .last_trade
                .replace(trade)
                .map(|last| (last.price == trade.price, last == trade)),
            Body::Quote(quote) => self
                .last_quote
                .replace(quote)
                .map(|last| ((last.bid, last.ask) == (quote.bid, quote.ask), last == quote)),
        };
        let Some((same_prices, same_tick)) = same else {
            return false;
        };
        let prices = self.same_prices.observe(config, same_prices);
        let ticks = self.same_ticks.observe(config, same_tick);
        prices || ticks
    }
}

/// A stretch of ticks that say nothing new, and how long such stretches were.
#[derive(Clone, Debug)]
struct Run {
    ticks: u32,
    past: Longest,
}

impl Default for Run {
    fn default() -> Self {
        // Half-life 1,000 stretches: hours of a busy instrument, days of an idle one.
        Run {
            ticks: 0,
            past: Longest::new(1e3, 1.0),
        }
    }
}

impl Run {
    /// Stretches that must have ended before one can be too long; a price that never changes is never frozen.
    const PAST_MIN: u32 = 64;

    /// Takes one tick in; true at the one tick at which the stretch exceeds the limit.
    fn observe(&mut self, config: &GuardConfig, same: bool) -> bool {
        if !same {
            self.past.observe(f64::from(self.ticks));
            self.ticks = 0;
            return false;
        }
        self.ticks = self.ticks.saturating_add(1);
        let limit = (config.frozen_run_multiple * self.past.value()).max(f64::from(config.frozen_ticks_min));
        // The limit stands still while the stretch lasts, so this holds once.
        self.past.count() >= Self::PAST_MIN && f64::from(self.ticks) == limit.ceil()
    }
}
