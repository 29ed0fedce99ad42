//! Spread, and how long each side of the quote has stood still.

use serde::{Deserialize, Serialize};

use super::scales::positive;
use super::{Columns, Group, feature, log_count};
use crate::pipeline::robust::{Cusum, Mean, Scale};
use crate::pipeline::tick::{Body, Quote, Tick};

/// The columns that are written here.
pub(super) const GROUP: Group = Group {
    title: "Quotes",
    finds: "spread blow-outs, sides that stand still, repeated updates",
    features: &[
        feature(
            "spread",
            "ln of spread over its level",
            "w = ln((spread / mid / level of it + 0.1) / 1.1), a crossed quote as a locked one",
            "1 quote; level 500 quotes",
            "a spread that blows out or vanishes",
        ),
        feature(
            "spread_4",
            "mean of spread, half-life 4 quotes",
            "mean of w",
            "4 quotes; level 500 quotes",
            "the same, for some quotes",
        ),
        feature(
            "spread_16",
            "mean of spread, half-life 16 quotes",
            "mean of w",
            "16 quotes; level 500 quotes",
            "the same, for a while",
        ),
        feature(
            "spread_64",
            "mean of spread, half-life 64 quotes",
            "mean of w",
            "64 quotes; level 500 quotes",
            "the same, for long",
        ),
        feature(
            "spread_sum",
            "ln(1 + cumulative sum of spread above 0.5)",
            "sum(w − 0.5, 100)",
            "as long as it lasts; level 500 quotes",
            "a spread a little too wide for a long time",
        )
        .in_words("how long the spread has been too wide"),
        feature(
            "bid_age",
            "ln of quotes since the bid moved",
            "ln(1 + quotes since the bid moved)",
            "as long as it lasts",
            "a bid that stands still",
        )
        .of_feed(),
        feature(
            "ask_age",
            "ln of quotes since the ask moved",
            "ln(1 + quotes since the ask moved)",
            "as long as it lasts",
            "an ask that stands still",
        )
        .of_feed(),
        feature(
            "repeated_quotes",
            "ln of the run of equal quotes",
            "ln(1 + quotes in a row equal to the one before, sizes too)",
            "as long as it lasts",
            "a feed that repeats itself",
        )
        .of_feed(),
        feature(
            "touch_moving_share",
            "share of quotes that move bid or ask, half-life 32",
            "mean of 1 where bid or ask moved, else 0",
            "32 quotes",
            "quotes that stand still, or flicker",
        )
        .in_words("share of quotes that move bid or ask"),
        feature(
            "lone_side_share",
            "share of moving quotes in which one side moves alone, half-life 8",
            "mean over the quotes that moved bid or ask of 1 where the other side stood, else 0",
            "8 quotes that moved",
            "quotes of another instrument",
        )
        .in_words("share of quotes in which one side moves alone"),
        feature(
            "parallel_share",
            "share of moving quotes in which both sides move alike, half-life 8",
            "mean over the quotes that moved bid or ask of 1 where the spread stayed as it was, else 0",
            "8 quotes that moved",
            "quotes of another instrument, quotes that are made up",
        )
        .in_words("share of quotes in which both sides move alike"),
    ],
};

/// Added to a spread over its level, so that the logarithm of a locked quote is finite.
pub(super) const SPREAD_FLOOR: f64 = 0.1;

/// Moves of bid and ask are alike to within this share of the price: what rounding makes of equal ones.
const PARALLEL: f64 = 1e-9;

/// What quotes are measured against.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct QuoteState {
    last: Option<Quote>,
    /// ln of spread over its level; a trade repeats it, since the quote still stands.
    standing: f64,
    /// The mid that it is of, and the level that it is over.
    standing_mid: f32,
    standing_level: f32,
    spread: Scale,
    spread_4: Mean,
    spread_16: Mean,
    spread_64: Mean,
    spread_sum: Cusum,
    bid_age: u32,
    ask_age: u32,
    repeated: u32,
    moving: Mean,
    lone_side: Mean,
    parallel: Mean,
}

impl QuoteState {
    pub(super) fn new() -> Self {
        QuoteState {
            last: None,
            standing: 0.0,
            standing_mid: f32::NAN,
            standing_level: f32::NAN,
            spread: Scale::new(500.0),
            spread_4: Mean::new(4.0),
            spread_16: Mean::new(16.0),
            spread_64: Mean::new(64.0),
            spread_sum: Cusum::new(0.5, 100.0),
            bid_age: 0,
            ask_age: 0,
            repeated: 0,
            moving: Mean::new(32.0),
            lone_side: Mean::new(8.0),
            parallel: Mean::new(8.0),
        }
    }

    /// Writes the quote columns.
    pub(super) fn observe(&mut self, tick: &Tick, columns: &mut Columns<'_>) {
        if let Body::Quote(quote) = tick.body {
            self.observe_quote(&quote);
        }
        columns.push(self.standing);
        columns.push(self.spread_4.value());
        columns.push(self.spread_16.value());
        columns.push(self.spread_64.value());
        columns.push(self.spread_sum.column());
        columns.push(log_count(self.bid_age));
        columns.push(log_count(self.ask_age));
        columns.push(log_count(self.repeated));
        columns.push(self.moving.value());
        columns.push(self.lone_side.value());
        columns.push(self.parallel.value());
        columns.scales.mid = self.standing_mid;
        columns.scales.spread_level = self.standing_level;
    }

    fn observe_quote(&mut self, quote: &Quote) {
        if let Some(last) = self.last {
            grow_or_reset(&mut self.bid_age, quote.bid == last.bid);
            grow_or_reset(&mut self.ask_age, quote.ask == last.ask);
            grow_or_reset(&mut self.repeated, *quote == last);
            let (bid, ask) = (quote.bid - last.bid, quote.ask - last.ask);
            let moves = bid != 0.0 || ask != 0.0;
            self.moving.observe(share(moves));
            if moves {
                self.lone_side.observe(share(bid == 0.0 || ask == 0.0));
                self.parallel
                    .observe(share((ask - bid).abs() <= PARALLEL * quote.ask.abs()));
            }
        }
        self.standing = self.spread_column(quote);
        self.spread_4.observe(self.standing);
        self.spread_16.observe(self.standing);
        self.spread_64.observe(self.standing);
        self.spread_sum.observe(self.standing);
        self.last = Some(*quote);
    }

    /// Gives ln((spread + a tenth of its level) / (1.1 levels)), so that a locked quote is a finite −2.4; a crossed one
    /// counts as locked here, `crossing` tells the two apart.
    fn spread_column(&mut self, quote: &Quote) -> f64 {
        let mid = quote.mid();
        if mid <= 0.0 {
            return self.standing;
        }
        let spread = ((quote.ask - quote.bid) / mid).max(0.0);
        let level = self.spread.value();
        self.spread.observe(spread);
        self.standing_mid = mid as f32;
        self.standing_level = positive(level);
        if level > 0.0 {
            libm::log((spread / level + SPREAD_FLOOR) / (1.0 + SPREAD_FLOOR))
        } else {
            0.0
        }
    }
}

fn share(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

fn grow_or_reset(count: &mut u32, grows: bool) {
    *count = if grows { count.saturating_add(1) } else { 0 };
}
