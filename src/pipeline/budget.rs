//! The false-alarm budget: which share of an instrument's ticks may be called anomalous, and the score that follows.
//!
//! A budget per day or per hour becomes a share by the rate of ticks, which is measured in market time and from the ticks
//! alone. Promises that the same ticks in the same order give the same shares, however they were cut into batches, and
//! that one instrument's share depends on others only where a total is set. Knows neither clocks nor scores.

use serde::{Deserialize, Serialize};

use super::market_time::MarketTime;
use super::time::EventTime;

/// The smallest share: a threshold of 9. Beyond that, no tail that was ever fitted means anything.
pub const SHARE_MIN: f64 = 1e-9;
/// The largest share, as of `alerts.false_alarms_per_10k_ticks`: a threshold of 1.
pub const SHARE_MAX: f64 = 0.1;

const SECS_PER_HOUR: f64 = 3_600.0;
const SECS_PER_DAY: f64 = 86_400.0;

/// Gives the score from which a tick is anomalous where so many of a normal feed may be (share, 0–1): its −log₁₀. The
/// only place where shares become scores.
pub fn threshold(share: f64) -> f32 {
    -libm::log10(share.clamp(SHARE_MIN, SHARE_MAX)) as f32
}

/// Ticks per second of market time, of late: a fading count over a fading span.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TickRate {
    /// What lies so far back counts for 1/e (seconds, > 0).
    memory_secs: f64,
    /// A shorter span is taken for so much (seconds, > 0).
    span_secs_min: f64,
    ticks: f64,
    span_secs: f64,
    /// Up to where the span has been counted.
    market_time: MarketTime,
}

impl TickRate {
    /// Makes a rate of no ticks.
    pub fn new(memory_secs: f64, span_secs_min: f64) -> Self {
        TickRate {
            memory_secs,
            span_secs_min,
            ticks: 0.0,
            span_secs: 0.0,
            market_time: MarketTime::default(),
        }
    }

    /// Takes one tick in. Time that goes back counts for nothing, and one step for no more than the memory.
    pub fn observe(&mut self, time: EventTime) {
        self.ticks += 1.0;
        if let Some(step_secs) = self.market_time.observe(time) {
            self.pass(step_secs.clamp(0.0, self.memory_secs));
        }
    }

    fn pass(&mut self, secs: f64) {
        if secs > 0.0 {
            let lost = -libm::expm1(-secs / self.memory_secs);
            self.ticks -= lost * self.ticks;
            self.span_secs += lost * (self.memory_secs - self.span_secs);
        }
    }

    /// Tells whether enough has been seen to say how fast ticks come.
    pub fn is_known(&self) -> bool {
        self.span_secs >= self.span_secs_min
    }

    /// Gives the ticks per second, too few while they are not known.
    pub fn per_sec(&self) -> f64 {
        self.ticks / self.span_secs.max(self.span_secs_min)
    }
}

/// What budgets remember of one instrument.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pace {
    /// Over days: nights and breaks count.
    days: TickRate,
    /// Over an hour: as it trades just now.
    hour: TickRate,
    /// What the hour's rate adds to the total (millionths of a tick per second).
    in_total: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            // Two days, so that the hour of the day matters little; known after an hour, of which a day is made then.
            days: TickRate::new(2.0 * SECS_PER_DAY, SECS_PER_HOUR),
            hour: TickRate::new(SECS_PER_HOUR, SECS_PER_HOUR / 12.0),
            in_total: 0,
        }
    }
}

/// What budgets a partition is given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowance {
    /// Alerts in 10,000 ticks of an instrument (false alarms, > 0).
    pub per_10k_ticks: f64,
    /// Alerts of one instrument in a day of market time (false alarms; 0: not set).
    pub per_instrument_day: f64,
    /// Alerts of all instruments together in an hour of market time (false alarms; 0: no total).
    pub per_hour: f64,
    /// Ticks for one that is scored (> 0).
    pub stride: u32,
}

/// The budgets of one partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Budget {
    /// By ticks.
    #[serde(skip)]
    share: f64,
    /// By time, for each instrument (false alarms per second; 0: not set).
    #[serde(skip)]
    per_instrument_sec: f64,
    /// By time, for all together (false alarms per second; 0: not set).
    #[serde(skip)]
    total_per_sec: f64,
    /// Ticks for one that is scored.
    #[serde(skip)]
    stride: f64,
    /// Ticks of all instruments (millionths of a tick per second): whole numbers, whose sum knows no order.
    total: u64,
}

impl Budget {
    /// No instrument adds more to the total (millionths of a tick per second), so that the sum has room.
    const IN_TOTAL_MAX: f64 = 1e12;

    /// Makes the budgets of a partition.
    pub fn new(allowance: &Allowance) -> Self {
        Budget {
            share: allowance.per_10k_ticks / 1e4,
            per_instrument_sec: allowance.per_instrument_day / SECS_PER_DAY,
            total_per_sec: allowance.per_hour / SECS_PER_HOUR,
            stride: f64::from(allowance.stride),
            total: 0,
        }
    }

    /// Goes on with the memory of another, under its own parameters.
    pub fn recall(self, memory: Budget) -> Self {
        Budget {
            total: memory.total,
            ..self
        }
    }

    /// Takes in one tick of an instrument.
    pub fn observe(&mut self, pace: &mut Pace, time: EventTime) {
        if self.per_instrument_sec > 0.0 {
            pace.days.observe(time);
        }
        if self.total_per_sec > 0.0 {
            pace.hour.observe(time);
            let in_total = (pace.hour.per_sec() * 1e6).min(Self::IN_TOTAL_MAX) as u64;
            self.total = self.total - pace.in_total + in_total;
            pace.in_total = in_total;
        }
    }

    /// Gives the share of an instrument's scored ticks that may be called anomalous now: its own, or less where the total
    /// of all instruments allows less ([`SHARE_MIN`]–[`SHARE_MAX`]).
    pub fn share(&self, pace: &Pace) -> f64 {
        let mut share = self.share;
        if self.per_instrument_sec > 0.0 && pace.days.is_known() {
            share = self.per_instrument_sec * self.stride / pace.days.per_sec();
        }
        if self.total_per_sec > 0.0 && self.total > 0 {
            share = share.min(self.total_per_sec * self.stride / (self.total as f64 * 1e-6));
        }
        share.clamp(SHARE_MIN, SHARE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::pipeline::time::NANOS_PER_SEC;

    const START: i64 = 1_700_000_000 * NANOS_PER_SEC;

    fn at(secs: f64) -> EventTime {
        EventTime(START + (secs * NANOS_PER_SEC as f64) as i64)
    }

    fn rate(times: impl Iterator<Item = f64>) -> TickRate {
        let mut rate = TickRate::new(2.0 * SECS_PER_DAY, SECS_PER_HOUR);
        times.for_each(|secs| rate.observe(at(secs)));
        rate
    }

    fn assert_near(found: f64, expected: f64, tolerance: f64) {
        assert!(
            (found / expected - 1.0).abs() < tolerance,
            "{found}, expected {expected}"
        );
    }

    fn budget_of(text: &str, stride: u32) -> Budget {
        let alerts = Config::from_toml(&format!("[alerts]\n{text}")).unwrap().alerts;
        Budget::new(&alerts.allowance(stride))
    }

    #[test]
    fn threshold_is_the_logarithm_of_the_share_within_bounds() {
        assert_eq!(threshold(1e-4), 4.0);
        assert_eq!(threshold(1e-3), 3.0);
        assert_eq!(threshold(0.0), 9.0);
        assert_eq!(threshold(1.0), 1.0);
    }

    #[test]
    fn rate_is_known_after_an_hour_and_counts_nights() {
        let hour = rate((0..3_590).map(f64::from));
        assert!(!hour.is_known());
        // Twelve days of eight hours, two ticks a second.
        let days =
            rate((0..12).flat_map(|day| (0..57_600).map(move |i| f64::from(day) * 86_400.0 + f64::from(i) / 2.0)));
        assert!(days.is_known());
        assert_near(days.per_sec(), 2.0 / 3.0, 0.25);
    }

    #[test]
    fn sparse_ticks_have_a_rate_too() {
        let sparse = rate((0..2_000).map(|i| 200.0 * f64::from(i)));
        assert_near(sparse.per_sec(), 1.0 / 200.0, 0.05);
    }

    #[test]
    fn stamps_that_leap_or_go_back_change_no_rate() {
        let times = || (0..200_000).map(f64::from);
        let clean = rate(times());
        let odd = |secs: f64| match secs as u64 % 1000 {
            // A block of a day ahead, one of a century ahead, and late ticks.
            10..40 => secs + 86_400.0,
            500..510 => secs + 3e9,
            600..640 => secs - 5_000.0,
            _ => secs,
        };
        assert_near(rate(times().map(odd)).per_sec(), clean.per_sec(), 1e-3);
        // A clock that is set back for good costs nothing, and one that is set ahead for good at most the memory.
        let back = rate(times().map(|secs| if secs > 1e5 { secs - 9e4 } else { secs }));
        assert_near(back.per_sec(), clean.per_sec(), 0.01);
        let ahead = rate(times().map(|secs| if secs > 1e5 { secs + 3e9 } else { secs }));
        assert!(ahead.per_sec() > 0.3 * clean.per_sec());
    }

    #[test]
    fn budget_per_day_takes_over_once_the_rate_is_known() {
        let mut budget = budget_of("false_alarms_per_instrument_day = 2.0", 1);
        let mut pace = Pace::default();
        let mut feed = |from: u32, to: u32| {
            (from..to).for_each(|i| budget.observe(&mut pace, at(f64::from(i) / 10.0)));
            budget.share(&pace)
        };
        assert_eq!(feed(0, 1_000), 1e-4);
        // Ten ticks a second: 864,000 a day, two of which may be alarms.
        assert_near(feed(1_000, 200_000), 2.0 / 864_000.0, 0.01);
    }

    #[test]
    fn stride_scores_fewer_ticks_so_each_may_be_an_alarm_more_often() {
        let share = |stride| {
            let mut budget = budget_of("false_alarms_per_instrument_day = 2.0", stride);
            let mut pace = Pace::default();
            (0..10_000).for_each(|i| budget.observe(&mut pace, at(f64::from(i))));
            budget.share(&pace)
        };
        assert_near(share(4), 4.0 * share(1), 1e-9);
    }

    #[test]
    fn total_lowers_the_share_of_all() {
        let mut budget = budget_of("false_alarms_per_hour = 1.0", 1);
        let mut paces = vec![Pace::default(); 4];
        for i in 0..20_000 {
            paces.iter_mut().for_each(|pace| budget.observe(pace, at(f64::from(i))));
        }
        // Four ticks a second: 14,400 an hour.
        assert_near(budget.share(&paces[0]), 1.0 / 14_400.0, 0.01);
        assert_eq!(budget.share(&paces[0]), budget.share(&paces[3]));
    }

    #[test]
    fn shares_stay_within_bounds() {
        let mut budget = budget_of("false_alarms_per_instrument_day = 1e9\nfalse_alarms_per_hour = 1e-9", 1);
        let mut pace = Pace::default();
        (0..10_000).for_each(|i| budget.observe(&mut pace, at(f64::from(i))));
        assert_eq!(budget.share(&pace), SHARE_MIN);
        let mut budget = budget_of("false_alarms_per_instrument_day = 1e9", 1);
        (0..10_000).for_each(|i| budget.observe(&mut pace, at(f64::from(i))));
        assert_eq!(budget.share(&pace), SHARE_MAX);
    }
}
