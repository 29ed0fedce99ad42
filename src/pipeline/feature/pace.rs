//! Time between ticks, message rate, and how long the price has stood still.

use super::price::{Step, log_ratio};
use super::{Columns, is_trade, log_count};
use crate::pipeline::robust::{Mean, Scale};
use crate::pipeline::tick::Tick;
use crate::pipeline::time::EventTime;

/// Ticks of the longest rate that is counted tick by tick.
const SPAN_MAX: usize = 128;
/// The longest rate looks back over so many samples …
const LONG_SAMPLES: usize = 64;
/// … of one in so many ticks: 512 ticks in all.
const LONG_STRIDE: usize = 8;

/// What the pace is measured against.
#[derive(Clone, Debug)]
pub(super) struct PaceState {
    /// Stamps of the last ticks, a ring: the tick `count - i` stands at `(count - i) % SPAN_MAX`.
    stamps: [i64; SPAN_MAX],
    /// Stamps of one in [`LONG_STRIDE`] ticks, a ring.
    samples: [i64; LONG_SAMPLES],
    count: usize,
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
            stamps: [0; SPAN_MAX],
            samples: [0; LONG_SAMPLES],
            count: 0,
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
        let gap = self.nanos_back(time, 1);
        let moved = step.moves.reference;
        columns.push(match step.volatility > 0.0 {
            // What a random walk would have made of the time that has passed, at least of one tick's.
            true => moved / (step.volatility * (1.0 + self.gap.relative(gap).max(0.0)).sqrt()),
            false => 0.0,
        });
        columns.push(libm::asinh(self.gap.relative(gap)));
        columns.push(libm::asinh(self.gap.relative((-gap).max(0.0))));
        for span in [8, 32, SPAN_MAX] {
            let passed = (self.count >= span).then(|| self.nanos_back(time, span));
            columns.push(self.rate(passed, span));
        }
        columns.push(self.rate(self.nanos_back_long(time), LONG_SAMPLES * LONG_STRIDE));
        self.remember(time, gap, moved != 0.0);
        columns.push(self.tied.value());
        let still = self
            .price_moved_at
            .map_or(0.0, |moved_at| time.nanos_since(moved_at).max(0) as f64);
        let still_gaps = libm::log1p(self.gap.relative(still));
        columns.push(log_count(self.price_age));
        columns.push(still_gaps);
        columns.push(log_count(self.price_age) - still_gaps);
        let is_trade = f64::from(u8::from(is_trade(tick)));
        self.trades.observe(is_trade);
        columns.push(is_trade);
        columns.push(self.trades.value());
    }

    /// Gives the nanoseconds since the tick `ticks` before this one; 0 while there is none.
    fn nanos_back(&self, time: EventTime, ticks: usize) -> f64 {
        if self.count < ticks {
            return 0.0;
        }
        time.nanos_since(EventTime(self.stamps[(self.count - ticks) % SPAN_MAX])) as f64
    }

    /// Gives the nanoseconds since the oldest sample, as if it were exactly the longest span ago.
    fn nanos_back_long(&self, time: EventTime) -> Option<f64> {
        let span = LONG_SAMPLES * LONG_STRIDE;
        if self.count < span {
            return None;
        }
        let newest = (self.count - 1) / LONG_STRIDE;
        let oldest = newest + 1 - LONG_SAMPLES;
        let ticks = self.count - oldest * LONG_STRIDE;
        let nanos = time.nanos_since(EventTime(self.samples[oldest % LONG_SAMPLES])) as f64;
        Some(nanos * span as f64 / ticks as f64)
    }

    /// Gives ln of the time for the last `span` ticks over what the level of the gap makes of it; a floor of a hundredth
    /// keeps bursts within one stamp finite.
    fn rate(&self, passed: Option<f64>, span: usize) -> f64 {
        const FLOOR: f64 = 0.01;
        let usual = self.gap.value() * span as f64;
        passed.map_or(0.0, |passed| log_ratio(passed.max(0.0) + FLOOR * usual, usual))
    }

    fn remember(&mut self, time: EventTime, gap: f64, price_moved: bool) {
        self.gap.observe(gap);
        self.tied.observe(f64::from(u8::from(gap == 0.0)));
        self.stamps[self.count % SPAN_MAX] = time.0;
        if self.count.is_multiple_of(LONG_STRIDE) {
            self.samples[self.count / LONG_STRIDE % LONG_SAMPLES] = time.0;
        }
        self.count += 1;
        if price_moved || self.price_moved_at.is_none() {
            self.price_age = 0;
            self.price_moved_at = Some(time);
        } else {
            self.price_age = self.price_age.saturating_add(1);
        }
    }
}
