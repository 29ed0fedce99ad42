//! Time between ticks, message rate, and how long the price has stood still.

use super::price::log_ratio;
use super::{Columns, is_trade, log_count};
use crate::pipeline::robust::Scale;
use crate::pipeline::tick::Tick;
use crate::pipeline::time::EventTime;

/// Ticks of the longest rate.
const SPAN_MAX: usize = 128;

/// What the pace is measured against.
#[derive(Clone, Debug)]
pub(super) struct PaceState {
    /// Stamps of the last ticks, a ring: the tick `count - i` stands at `(count - i) % SPAN_MAX`.
    stamps: [i64; SPAN_MAX],
    count: usize,
    /// Level of the time between two ticks (nanoseconds).
    gap: Scale,
    price_age: u32,
    price_moved_at: Option<EventTime>,
}

impl PaceState {
    pub(super) fn new() -> Self {
        PaceState {
            stamps: [0; SPAN_MAX],
            count: 0,
            gap: Scale::new(1000.0),
            price_age: 0,
            price_moved_at: None,
        }
    }

    pub(super) fn observe(&mut self, tick: &Tick, price_moved: bool, columns: &mut Columns<'_>) {
        let time = tick.event_time;
        let gap = self.nanos_back(time, 1);
        columns.push(libm::asinh(self.gap.relative(gap)));
        for span in [8, 32, SPAN_MAX] {
            columns.push(self.rate(time, span));
        }
        self.remember(time, gap, price_moved);
        let still = self
            .price_moved_at
            .map_or(0.0, |moved_at| time.nanos_since(moved_at).max(0) as f64);
        let still_gaps = self.gap.relative(still);
        columns.push(log_count(self.price_age));
        columns.push(libm::log1p(still_gaps));
        columns.push(log_count(self.price_age) - libm::log1p(still_gaps));
        columns.push(f64::from(u8::from(is_trade(tick))));
    }

    /// Gives the nanoseconds since the tick `ticks` before this one; 0 while there is none.
    fn nanos_back(&self, time: EventTime, ticks: usize) -> f64 {
        if self.count < ticks {
            return 0.0;
        }
        time.nanos_since(EventTime(self.stamps[(self.count - ticks) % SPAN_MAX])) as f64
    }

    /// Gives ln of the time for the last `span` ticks over what the level of the gap makes of it; a floor of a hundredth
    /// keeps bursts within one stamp finite.
    fn rate(&self, time: EventTime, span: usize) -> f64 {
        const FLOOR: f64 = 0.01;
        if self.count < span {
            return 0.0;
        }
        let usual = self.gap.value() * span as f64;
        log_ratio(self.nanos_back(time, span).max(0.0) + FLOOR * usual, usual)
    }

    fn remember(&mut self, time: EventTime, gap: f64, price_moved: bool) {
        self.gap.observe(gap);
        self.stamps[self.count % SPAN_MAX] = time.0;
        self.count += 1;
        if price_moved || self.price_moved_at.is_none() {
            self.price_age = 0;
            self.price_moved_at = Some(time);
        } else {
            self.price_age = self.price_age.saturating_add(1);
        }
    }
}
