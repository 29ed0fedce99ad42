//! Stamps that go back, leap or lie ahead, and silences in market time.

use serde::{Deserialize, Serialize};

use super::longest::Longest;
use super::{Fact, Failed, Guard, GuardConfig};
use crate::pipeline::bounded::below;
use crate::pipeline::time::{ArrivalTime, EventTime, NANOS_PER_SEC};

/// What is remembered of an instrument's stamps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stamps {
    last: Option<EventTime>,
    /// The stamp before the last leap forward, and the ticks left for the feed to come back.
    leap: Option<(EventTime, u32)>,
    /// The stamp that the feed went back from, and the ticks left in which silence counts from there.
    retreat: Option<(EventTime, u32)>,
    /// Whether the last stamp lay too far ahead of its arrival.
    was_ahead: bool,
    /// The longest waits between two ticks (seconds).
    waits: Longest,
    breaks: Breaks,
}

impl Default for Stamps {
    fn default() -> Self {
        // Half-life 20,000 ticks: about a session of an ordinary instrument, minutes of the busiest ones.
        Stamps {
            last: None,
            leap: None,
            retreat: None,
            was_ahead: false,
            waits: Longest::new(2e4, 1e-3),
            breaks: Breaks::default(),
        }
    }
}

impl Stamps {
    /// Waits that must be known before one can be too long.
    const WAITS_MIN: u32 = 1000;
    /// A leap or retreat is forgotten after so many ticks: whole blocks are stamped wrong or come late, rarely more.
    const REMEMBERED_TICKS: u32 = 64;

    /// Checks one stamp and takes it in.
    pub fn observe(&mut self, config: &GuardConfig, time: EventTime, now: ArrivalTime, failed: &mut Failed) {
        // Where arrival times mean nothing, the guard is off, and nobody can tell.
        let lead = seconds(time.0.saturating_sub(now.0));
        let is_ahead = config.time_future && lead > config.time_future_secs_max;
        // Of a stretch of such stamps, or a clock that is always fast, the first tick is news.
        if is_ahead && !self.was_ahead {
            let fact = Fact::Ahead {
                stamp: time,
                arrival: now,
            };
            failed.add(Guard::TimeFuture, fact);
        }
        self.was_ahead = is_ahead;
        let Some(last) = self.last.replace(time) else {
            return;
        };
        let step = seconds(time.nanos_since(last));
        // Coming back from a leap is going back, with a finer name.
        if let Some(before) = self.returned_to(config, time, step) {
            let fact = Fact::Return {
                before,
                leap: last,
                stamp: time,
            };
            failed.add(Guard::TimeJump, fact);
        } else if step < 0.0 {
            let fact = Fact::Regress {
                before: last,
                stamp: time,
            };
            failed.add(Guard::TimeRegress, fact);
        }
        self.remember(config, last, step);
        let since = self.retreat.map_or(last, |(high, _)| high.max(last));
        let silence = seconds(time.nanos_since(since));
        if silence >= 0.0 {
            if self.is_stale(config, silence) && !is_ahead {
                let fact = Fact::Silence {
                    secs: silence,
                    longest_secs: self.waits.value(),
                };
                failed.add(Guard::Stale, fact);
            }
            self.waits.observe(silence);
        }
    }

    /// Tells whether the feed comes back from a leap, to a stamp that is possible after the one before it, which it gives.
    fn returned_to(&self, config: &GuardConfig, time: EventTime, step: f64) -> Option<EventTime> {
        let (base, _) = self.leap.filter(|(base, _)| time >= *base)?;
        (config.time_jump && step < -config.time_jump_secs_max).then_some(base)
    }

    /// Remembers leaps and retreats.
    fn remember(&mut self, config: &GuardConfig, last: EventTime, step: f64) {
        for turn in [&mut self.leap, &mut self.retreat] {
            *turn = turn
                .filter(|(_, ticks_left)| *ticks_left > 0)
                .map(|(from, ticks_left)| (from, ticks_left - 1));
        }
        if step < 0.0 {
            self.leap = None;
            self.retreat = Some((last, Self::REMEMBERED_TICKS));
        } else if step > config.time_jump_secs_max.max(self.waits.value()) {
            self.leap = Some((last, Self::REMEMBERED_TICKS));
        }
    }

    /// Tells whether a silence is long for the instrument and no closed market.
    fn is_stale(&mut self, config: &GuardConfig, silence: f64) -> bool {
        let limit = (config.stale_gap_multiple * self.waits.value()).max(config.stale_secs_min);
        silence > limit
            && silence <= config.stale_secs_max
            && self.waits.count() >= Self::WAITS_MIN
            && !self.breaks.knows(silence)
    }
}

/// The last long silences: breaks of a session come again at the same length.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Breaks {
    lengths: [f64; 4],
    #[serde(deserialize_with = "below::<4, _>")]
    next: usize,
}

impl Breaks {
    /// A shorter silence is no break of a session (seconds); lunch breaks and maintenance last longer.
    const SECS_MIN: f64 = 600.0;
    /// Two breaks are alike within this ratio; the first and the last tick of a session vary.
    const RATIO_MAX: f64 = 1.25;

    /// Tells whether a silence is like one of the last long ones; remembers it otherwise.
    fn knows(&mut self, silence: f64) -> bool {
        if silence < Self::SECS_MIN {
            return false;
        }
        let is_alike = |length: &f64| silence <= length * Self::RATIO_MAX && *length <= silence * Self::RATIO_MAX;
        if self.lengths.iter().any(is_alike) {
            return true;
        }
        self.lengths[self.next] = silence;
        self.next = (self.next + 1) % self.lengths.len();
        false
    }
}

fn seconds(nanos: i64) -> f64 {
    nanos as f64 / NANOS_PER_SEC as f64
}
