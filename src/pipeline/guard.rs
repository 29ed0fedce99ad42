//! Guards: deterministic checks of one tick against the instrument's last ones, from the first tick, before any model.
//!
//! A finding is scored by how rarely it happened before on this instrument (−log₁₀ of its estimated probability), so a
//! venue whose quotes are locked a quarter of the time raises no alarm by being itself. Guards know neither models nor
//! thresholds.

use serde::{Deserialize, Serialize};

use super::robust::RunningMedian;
use super::tick::{Body, Tick};
use super::time::EventTime;

/// A deterministic feed-integrity check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// The bid stands above the ask.
    CrossedQuote,
    /// The bid equals the ask.
    LockedQuote,
    /// A price of zero or less, or one that is a multiple of the recent median.
    AbsurdPrice,
    /// The event time lies before that of the tick before.
    TimeRegress,
}

impl Guard {
    /// All guards, in a fixed order.
    pub const ALL: [Guard; 4] = [
        Guard::CrossedQuote,
        Guard::LockedQuote,
        Guard::AbsurdPrice,
        Guard::TimeRegress,
    ];

    /// Gives the name used in alerts, metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Guard::CrossedQuote => "crossed_quote",
            Guard::LockedQuote => "locked_quote",
            Guard::AbsurdPrice => "absurd_price",
            Guard::TimeRegress => "time_regress",
        }
    }

    /// Gives the ticks that a new instrument is taken to have shown without a finding: how rare the check's failure is
    /// on an ordinary feed. Quotes lock on many venues; time goes back and prices multiply on none.
    fn prior_ticks(self) -> f64 {
        match self {
            Guard::LockedQuote => 3e3,
            Guard::CrossedQuote => 1e4,
            Guard::AbsurdPrice | Guard::TimeRegress => 1e5,
        }
    }
}

/// Which guards run, and their limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardConfig {
    /// Whether crossed quotes are looked for.
    pub crossed_quote: bool,
    /// Whether locked quotes are looked for.
    pub locked_quote: bool,
    /// Whether absurd prices are looked for.
    pub absurd_price: bool,
    /// Whether event times that go back are looked for.
    pub time_regress: bool,
    /// A price is absurd from this many times the recent median, or below its inverse (ratio, > 1).
    pub price_ratio_max: f64,
}

/// What a guard has to say of one tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// The guard.
    pub guard: Guard,
    /// −log₁₀ of the probability of such a tick on this instrument (≥ 0).
    pub surprise: f32,
}

/// What the guards remember of one instrument.
#[derive(Clone, Debug, Default)]
pub struct GuardState {
    last_event_time: Option<EventTime>,
    recent_prices: RunningMedian<9>,
    ticks: f64,
    found: [f64; Guard::ALL.len()],
}

impl GuardState {
    /// The counts are halved at this many ticks, so that a feed that changes its habits is believed in the end.
    const TICKS_MAX: f64 = 1e6;

    /// Checks one tick, takes it in, and gives the most surprising finding.
    pub fn observe(&mut self, config: &GuardConfig, tick: &Tick) -> Option<Finding> {
        let failed = self.failed(config, tick);
        let finding = Guard::ALL
            .into_iter()
            .zip(failed)
            .filter(|(_, failed)| *failed)
            .map(|(guard, _)| Finding {
                guard,
                surprise: self.surprise(guard),
            })
            .reduce(|best, other| if other.surprise > best.surprise { other } else { best });
        self.remember(tick, failed);
        finding
    }

    fn failed(&self, config: &GuardConfig, tick: &Tick) -> [bool; Guard::ALL.len()] {
        let (crossed, locked) = match tick.body {
            Body::Quote(quote) => (quote.bid > quote.ask, quote.bid == quote.ask),
            Body::Trade(_) => (false, false),
        };
        let absurd = match tick.body {
            Body::Quote(quote) => self.is_absurd(config, quote.bid) || self.is_absurd(config, quote.ask),
            Body::Trade(trade) => self.is_absurd(config, trade.price),
        };
        let regress = self.last_event_time.is_some_and(|last| tick.event_time < last);
        [
            config.crossed_quote && crossed,
            config.locked_quote && locked,
            config.absurd_price && absurd,
            config.time_regress && regress,
        ]
    }

    fn is_absurd(&self, config: &GuardConfig, price: f64) -> bool {
        if price <= 0.0 {
            return true;
        }
        let Some(median) = self.recent_prices.value() else {
            return false;
        };
        price > median * config.price_ratio_max || price * config.price_ratio_max < median
    }

    /// Laplace's rule with the guard's prior: (found + 1) in (ticks + prior).
    fn surprise(&self, guard: Guard) -> f32 {
        let probability = (self.found[guard as usize] + 1.0) / (self.ticks + guard.prior_ticks());
        (-libm::log10(probability)).max(0.0) as f32
    }

    fn remember(&mut self, tick: &Tick, failed: [bool; Guard::ALL.len()]) {
        self.last_event_time = Some(tick.event_time);
        let price = match tick.body {
            Body::Quote(quote) => quote.mid(),
            Body::Trade(trade) => trade.price,
        };
        if price > 0.0 {
            self.recent_prices.observe(price);
        }
        self.ticks += 1.0;
        for (found, failed) in self.found.iter_mut().zip(failed) {
            *found += f64::from(u8::from(failed));
        }
        if self.ticks >= Self::TICKS_MAX {
            self.ticks *= 0.5;
            self.found.iter_mut().for_each(|found| *found *= 0.5);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tick::{Quote, Trade};

    const CONFIG: GuardConfig = GuardConfig {
        crossed_quote: true,
        locked_quote: true,
        absurd_price: true,
        time_regress: true,
        price_ratio_max: 3.0,
    };

    fn quote(time: i64, bid: f64, ask: f64) -> Tick {
        let body = Body::Quote(Quote {
            bid,
            ask,
            bid_size: None,
            ask_size: None,
        });
        Tick {
            event_time: EventTime(time),
            sequence: None,
            body,
        }
    }

    fn trade(time: i64, price: f64) -> Tick {
        Tick {
            event_time: EventTime(time),
            sequence: None,
            body: Body::Trade(Trade { price, size: None }),
        }
    }

    fn guard_of(state: &mut GuardState, tick: Tick) -> Option<Guard> {
        state.observe(&CONFIG, &tick).map(|finding| finding.guard)
    }

    #[test]
    fn each_guard_finds_its_fault_at_the_first_ticks() {
        let mut state = GuardState::default();
        assert_eq!(guard_of(&mut state, quote(1, 10.0, 10.1)), None);
        assert_eq!(guard_of(&mut state, quote(2, 10.2, 10.1)), Some(Guard::CrossedQuote));
        assert_eq!(guard_of(&mut state, quote(3, 10.1, 10.1)), Some(Guard::LockedQuote));
        assert_eq!(guard_of(&mut state, trade(2, 10.1)), Some(Guard::TimeRegress));
        assert_eq!(guard_of(&mut state, trade(2, 101.0)), Some(Guard::AbsurdPrice));
        assert_eq!(guard_of(&mut state, trade(2, 1.01)), Some(Guard::AbsurdPrice));
        assert_eq!(guard_of(&mut state, trade(3, -1.0)), Some(Guard::AbsurdPrice));
        assert_eq!(guard_of(&mut state, trade(3, 10.0)), None);
    }

    #[test]
    fn locked_quotes_of_a_venue_that_locks_often_lose_their_surprise() {
        let mut rare = GuardState::default();
        let mut often = GuardState::default();
        for i in 0..10_000 {
            rare.observe(&CONFIG, &quote(i, 10.0, 10.1));
            often.observe(&CONFIG, &quote(i, 10.0, if i % 4 == 0 { 10.0 } else { 10.1 }));
        }
        let locked = quote(10_000, 10.0, 10.0);
        let surprise = |state: &mut GuardState| state.observe(&CONFIG, &locked).unwrap().surprise;
        assert!(surprise(&mut rare) > 4.0);
        assert!(surprise(&mut often) < 0.75);
    }

    #[test]
    fn switched_off_guard_finds_nothing() {
        let config = GuardConfig {
            crossed_quote: false,
            ..CONFIG
        };
        assert_eq!(GuardState::default().observe(&config, &quote(1, 10.2, 10.1)), None);
    }
}
