//! Time between ticks, message rate, and how long the price has stood still.

use serde::{Deserialize, Serialize};

use super::price::{Step, log_ratio};
use super::scales::positive;
use super::{Columns, Group, feature, log_count};
use crate::pipeline::robust::{LONG_PAST, Mean, Past, RECENT, Scale, relative};
use crate::pipeline::tick::Tick;
use crate::pipeline::time::EventTime;

/// The columns that are written here.
pub(super) const GROUP: Group = Group {
    title: "Pace",
    finds: "stuffing, pauses, lost rows, wrong stamps, frozen prices",
    features: &[
        feature(
            "return_in_time",
            "σ of what the time since the last tick makes usual",
            "Δr / (σ √(1 + max(g / G, 0)))",
            "1 tick; σ 200 moves; level 1,000 ticks",
            "a leap that no pause explains",
        ),
        feature(
            "gap",
            "asinh of time since the last tick over its level",
            "asinh(g / G)",
            "1 tick; level 1,000 ticks",
            "a pause, lost ticks, a wrong stamp",
        )
        .of_feed(),
        feature(
            "time_back",
            "asinh of time that the stamp goes back over the level of gaps",
            "asinh(max(−g, 0) / G)",
            "1 tick; level 1,000 ticks",
            "a stamp that goes back",
        )
        .of_feed(),
        feature(
            "rate_8",
            "ln of time for 8 ticks over its level",
            "ln(max(time for 8 ticks, 0) / (8 G) + 0.01)",
            "8 ticks; level 1,000 ticks",
            "a burst of ticks, a pause",
        )
        .of_feed(),
        feature(
            "rate_32",
            "ln of time for 32 ticks over its level",
            "ln(max(time for 32 ticks, 0) / (32 G) + 0.01)",
            "32 ticks; level 1,000 ticks",
            "stuffing, a slow feed",
        )
        .of_feed(),
        feature(
            "rate_128",
            "ln of time for 128 ticks over its level",
            "ln(max(time for 128 ticks, 0) / (128 G) + 0.01)",
            "128 ticks; level 1,000 ticks",
            "the same, for long",
        )
        .of_feed(),
        feature(
            "rate_512",
            "ln of time for 512 ticks over its level",
            "ln(max(time for 512 ticks, 0) / (512 G) + 0.01); of 505 to 512 ticks",
            "512 ticks; level 1,000 ticks",
            "a pace that has changed",
        )
        .of_feed(),
        feature(
            "tied_share",
            "share of ticks with the stamp of the tick before, half-life 16",
            "mean of 1 where g = 0, else 0",
            "16 ticks",
            "ticks within one stamp",
        )
        .of_feed()
        .in_words("share of ticks with the stamp of the tick before"),
        feature(
            "price_age",
            "ln of ticks since the reference price moved",
            "ln(1 + ticks since r moved)",
            "as long as it lasts",
            "a frozen price",
        )
        .of_feed(),
        feature(
            "price_age_time",
            "ln of time since the reference price moved",
            "ln(1 + time since r moved / G), this tick's g in G",
            "as long as it lasts; level 1,000 ticks",
            "a frozen price",
        )
        .of_feed(),
        feature(
            "stale_density",
            "ln of ticks against time since the price moved",
            "price_age − price_age_time",
            "as long as it lasts",
            "ticks that go on over a frozen price",
        )
        .of_feed()
        .in_words("ticks since the price last moved, against the time"),
        feature(
            "is_trade",
            "1 for a trade, 0 for a quote",
            "1 for a trade, 0 for a quote",
            "1 tick",
            "which of the two this is",
        )
        .in_words("whether the tick is a trade"),
        feature(
            "trade_share",
            "share of trades, half-life 64",
            "mean of is_trade",
            "64 ticks",
            "a mix of trades and quotes that has changed",
        )
        .in_words("share of trades"),
    ],
};

/// Added to the time for some ticks, as a share of the usual one.
pub(super) const RATE_FLOOR: f64 = 0.01;

/// What the pace is measured against.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PaceState {
    /// Stamps of the last ticks.
    stamps: Past<i64>,
    /// Level of the time between two ticks (nanoseconds).
    gap: Scale,
    tied: Mean,
    trades: Mean,
    price_age: u32,
    price_moved_at: Option<EventTime>,
}

impl PaceState {
    pub(super) fn new() -> Self {
        PaceState {
            stamps: Past::default(),
            gap: Scale::new(1000.0),
            tied: Mean::new(16.0),
            trades: Mean::new(64.0),
            price_age: 0,
            price_moved_at: None,
        }
    }

    /// Writes the pace columns.
    pub(super) fn observe(&mut self, tick: &Tick, step: &Step, columns: &mut Columns<'_>) {
        let time = tick.event_time;
        let gap = self.nanos_back(time, 1).unwrap_or(0.0);
        let moved = step.moves.reference;
        // What a random walk would have made of the time that has passed, at least of one tick's.
        let sigmas = (1.0 + self.gap.relative(gap).max(0.0)).sqrt();
        columns.push(relative(moved, step.volatility * sigmas));
        let scales = &mut *columns.scales;
        scales.sigmas_of_time = sigmas as f32;
        scales.gap_level = positive(self.gap.value());
        scales.ticks_before = u32::try_from(self.stamps.len()).unwrap_or(u32::MAX);
        columns.push(libm::asinh(self.gap.relative(gap)));
        columns.push(libm::asinh(self.gap.relative((-gap).max(0.0))));
        for span in [8, 32, RECENT] {
            columns.push(self.rate(self.nanos_back(time, span), span));
        }
        columns.push(self.rate(self.nanos_back_long(time), LONG_PAST));
        self.remember(time, gap, moved != 0.0);
        columns.scales.gap_level_after = positive(self.gap.value());
        columns.push(self.tied.value());
        let still = self
            .price_moved_at
            .map_or(0.0, |moved_at| time.nanos_since(moved_at).max(0) as f64);
        let still_gaps = libm::log1p(self.gap.relative(still));
        columns.push(log_count(self.price_age));
        columns.push(still_gaps);
        columns.push(log_count(self.price_age) - still_gaps);
        let is_trade = f64::from(u8::from(tick.is_trade()));
        self.trades.observe(is_trade);
        columns.push(is_trade);
        columns.push(self.trades.value());
    }

    /// Gives the nanoseconds since the tick `ticks` before this one; `None` while there is none.
    fn nanos_back(&self, time: EventTime, ticks: usize) -> Option<f64> {
        self.stamps
            .ago(ticks)
            .map(|stamp| time.nanos_since(EventTime(stamp)) as f64)
    }

    /// Gives the nanoseconds since the oldest sample, as if it were exactly the longest span ago.
    fn nanos_back_long(&self, time: EventTime) -> Option<f64> {
        let (stamp, ticks) = self.stamps.long_ago()?;
        Some(time.nanos_since(EventTime(stamp)) as f64 * LONG_PAST as f64 / ticks as f64)
    }

    /// Gives ln of the time for the last `span` ticks over what the level of the gap makes of it; a floor of a hundredth
    /// keeps bursts within one stamp finite.
    fn rate(&self, passed: Option<f64>, span: usize) -> f64 {
        let usual = self.gap.value() * span as f64;
        passed.map_or(0.0, |passed| log_ratio(passed.max(0.0) + RATE_FLOOR * usual, usual))
    }

    fn remember(&mut self, time: EventTime, gap: f64, price_moved: bool) {
        self.gap.observe(gap);
        self.tied.observe(f64::from(u8::from(gap == 0.0)));
        self.stamps.observe(time.0);
        if price_moved || self.price_moved_at.is_none() {
            self.price_age = 0;
            self.price_moved_at = Some(time);
        } else {
            self.price_age = self.price_age.saturating_add(1);
        }
    }
}
