//! Prices that make no sense, stand elsewhere by a power of ten, or stand still.

use serde::{Deserialize, Serialize};

use super::longest::Longest;
use super::{Fact, Failed, Guard, GuardConfig, Side, Still};
use crate::pipeline::plausible::is_far;
use crate::pipeline::robust::RunningMedian;
use crate::pipeline::tick::{Body, Quote, Trade};

/// What is remembered of an instrument's prices.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Prices {
    recent: RunningMedian<9>,
    last_trade: Option<Trade>,
    last_quote: Option<Quote>,
    /// Ticks whose prices said nothing new …
    same_prices: Streak,
    /// … and ticks that said nothing new at all: the rarer of the two where sizes are many.
    same_ticks: Streak,
}

impl Prices {
    /// Checks one tick and takes it in.
    pub fn observe(&mut self, config: &GuardConfig, body: &Body, failed: &mut Failed) {
        let (prices, mid) = match body {
            Body::Quote(quote) => ([(Side::Bid, quote.bid), (Side::Ask, quote.ask)], quote.mid()),
            Body::Trade(trade) => ([(Side::Trade, trade.price); 2], trade.price),
        };
        if let Body::Quote(Quote { bid, ask, .. }) = *body {
            if bid > ask {
                failed.add(Guard::CrossedQuote, Fact::Quote { bid, ask });
            }
            if bid == ask {
                failed.add(Guard::LockedQuote, Fact::Quote { bid, ask });
            }
        }
        let median = self.recent.value();
        let first = |is_odd: &dyn Fn(f64) -> bool| {
            let (side, price) = prices.into_iter().find(|(_, price)| is_odd(*price))?;
            Some(Fact::Price { side, price, median })
        };
        // A shifted price is an absurd one with a finer name.
        let shifted = match config.decimal_shift {
            true => first(&|price| is_shifted(config, price, median)),
            false => None,
        };
        if let Some(fact) = shifted {
            failed.add(Guard::DecimalShift, fact);
        } else if let Some(fact) = first(&|price| is_absurd(config, price, median)) {
            failed.add(Guard::AbsurdPrice, fact);
        }
        if let Some(fact) = self.frozen(config, body) {
            failed.add(Guard::Frozen, fact);
        }
        if mid > 0.0 {
            self.recent.observe(mid);
        }
    }

    /// Compares a tick with the last of its kind; tells of a stretch that has just become too long.
    fn frozen(&mut self, config: &GuardConfig, body: &Body) -> Option<Fact> {
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
        let (same_prices, same_tick) = same?;
        let prices = self.same_prices.observe(config, same_prices);
        let ticks = self.same_ticks.observe(config, same_tick);
        let standstill = |what: Still, streak: &Streak| Fact::Standstill {
            what,
            ticks: streak.ticks,
            longest_ticks: streak.past.value(),
        };
        if ticks {
            Some(standstill(Still::Ticks, &self.same_ticks))
        } else {
            prices.then(|| standstill(Still::Prices, &self.same_prices))
        }
    }
}

fn is_absurd(config: &GuardConfig, price: f64, median: Option<f64>) -> bool {
    price <= 0.0 || median.is_some_and(|median| is_far(price, median, config.price_ratio_max))
}

fn is_shifted(config: &GuardConfig, price: f64, median: Option<f64>) -> bool {
    const FACTORS: [f64; 4] = [10.0, 100.0, 0.1, 0.01];
    let ratio_max = 1.0 + config.decimal_shift_tolerance;
    let is_near = |expected: f64| price * ratio_max >= expected && price <= expected * ratio_max;
    median.is_some_and(|median| FACTORS.iter().any(|factor| is_near(factor * median)))
}

/// A stretch of ticks that say nothing new, and how long such stretches were.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Streak {
    ticks: u32,
    past: Longest,
}

impl Default for Streak {
    fn default() -> Self {
        // Half-life 1,000 stretches: hours of a busy instrument, days of an idle one.
        Streak {
            ticks: 0,
            past: Longest::new(1e3, 1.0),
        }
    }
}

impl Streak {
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
