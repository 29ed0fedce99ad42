//! Spread, sizes at the best prices, and how long each side has stood still.

use super::{Columns, log_count};
use crate::pipeline::robust::{Level, Mean, Scale};
use crate::pipeline::tick::{Body, Quote, Tick};

/// What quotes are measured against.
#[derive(Clone, Debug)]
pub(super) struct QuoteState {
    last: Option<Quote>,
    /// The columns of the last quote; a trade repeats them, since the quote still stands.
    standing: [f64; 5],
    spread: Scale,
    depth: Level,
    bid_size: Level,
    ask_size: Level,
    imbalance_change_16: Mean,
    imbalance_change_64: Mean,
    spread_4: Mean,
    spread_16: Mean,
    bid_age: u32,
    ask_age: u32,
    repeated: u32,
}

impl QuoteState {
    /// Sizes are compared with their level over this many quotes.
    const SIZE_HALF_LIFE: f64 = 500.0;

    pub(super) fn new() -> Self {
        QuoteState {
            last: None,
            standing: [0.0; 5],
            spread: Scale::new(500.0),
            depth: Level::new(Self::SIZE_HALF_LIFE),
            bid_size: Level::new(Self::SIZE_HALF_LIFE),
            ask_size: Level::new(Self::SIZE_HALF_LIFE),
            imbalance_change_16: Mean::new(16.0),
            imbalance_change_64: Mean::new(64.0),
            spread_4: Mean::new(4.0),
            spread_16: Mean::new(16.0),
            bid_age: 0,
            ask_age: 0,
            repeated: 0,
        }
    }

    pub(super) fn observe(&mut self, tick: &Tick, columns: &mut Columns<'_>) {
        if let Body::Quote(quote) = tick.body {
            self.observe_quote(&quote);
        }
        self.standing.iter().for_each(|value| columns.push(*value));
        columns.push(self.imbalance_change_16.value());
        columns.push(self.imbalance_change_64.value());
        columns.push(self.spread_4.value());
        columns.push(self.spread_16.value());
        columns.push(log_count(self.bid_age));
        columns.push(log_count(self.ask_age));
        columns.push(log_count(self.repeated));
    }

    fn observe_quote(&mut self, quote: &Quote) {
        if let Some(last) = self.last {
            self.bid_age = if quote.bid == last.bid {
                self.bid_age.saturating_add(1)
            } else {
                0
            };
            self.ask_age = if quote.ask == last.ask {
                self.ask_age.saturating_add(1)
            } else {
                0
            };
            self.repeated = if *quote == last {
                self.repeated.saturating_add(1)
            } else {
                0
            };
        }
        self.standing[0] = self.spread_column(quote);
        self.spread_4.observe(self.standing[0]);
        self.spread_16.observe(self.standing[0]);
        if let (Some(bid_size), Some(ask_size)) = (quote.bid_size, quote.ask_size) {
            self.observe_sizes(bid_size, ask_size);
        }
        self.last = Some(*quote);
    }

    /// Gives ln((spread + a tenth of its level) / (1.1 levels)), so that a locked quote is a finite −2.4; a crossed one
    /// counts as locked here, the guards tell the two apart.
    fn spread_column(&mut self, quote: &Quote) -> f64 {
        const FLOOR: f64 = 0.1;
        let mid = quote.mid();
        if mid <= 0.0 {
            return self.standing[0];
        }
        let spread = ((quote.ask - quote.bid) / mid).max(0.0);
        let level = self.spread.value();
        self.spread.observe(spread);
        if level > 0.0 {
            libm::log((spread / level + FLOOR) / (1.0 + FLOOR))
        } else {
            0.0
        }
    }

    fn observe_sizes(&mut self, bid_size: f64, ask_size: f64) {
        let total = bid_size + ask_size;
        let imbalance = if total > 0.0 {
            (bid_size - ask_size) / total
        } else {
            0.0
        };
        let change = (imbalance - self.standing[4]).abs();
        self.imbalance_change_16.observe(change);
        self.imbalance_change_64.observe(change);
        self.standing[1] = against_level(&mut self.depth, total);
        self.standing[2] = against_level(&mut self.bid_size, bid_size);
        self.standing[3] = against_level(&mut self.ask_size, ask_size);
        self.standing[4] = imbalance;
    }
}

/// Gives ln(size) above its level and takes it in; an empty side counts as the smallest size that is told apart.
pub(super) fn against_level(level: &mut Level, size: f64) -> f64 {
    const SIZE_MIN: f64 = 1e-9;
    let log_size = libm::log(size.max(SIZE_MIN));
    let above = level.above(log_size);
    level.observe(log_size);
    above
}
