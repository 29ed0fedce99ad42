//! The market time of one instrument: its event time, as far as it is believed.
//!
//! Exchanges' stamps leap and come back. A step forward of up to a minute is believed at once; a longer one, or one back,
//! only when the feed has stayed there for 64 ticks. Knows neither clocks nor arrival.

use serde::{Deserialize, Serialize};

use super::time::{EventTime, NANOS_PER_SEC};

/// Event time of one instrument that single wrong stamps do not move.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketTime {
    reached: Option<EventTime>,
    /// Ticks in a row that lie behind that time, or far ahead of it.
    astray: u32,
}

impl MarketTime {
    /// A longer step forward is believed only when the feed stays there (seconds): wrong stamps leap and come back.
    const STEP_SECS_MAX: f64 = 60.0;
    /// A feed stays where so many ticks in a row have been: whole blocks are stamped wrong, rarely more. (The guards
    /// wait as long for a feed to come back.)
    const ASTRAY_TICKS_MAX: u32 = 64;

    /// Takes one tick in; gives by how much time moves on where the stamp is believed (seconds; negative where the feed has
    /// gone back for good).
    pub fn observe(&mut self, time: EventTime) -> Option<f64> {
        let reached = *self.reached.get_or_insert(time);
        let step_secs = time.nanos_since(reached) as f64 / NANOS_PER_SEC as f64;
        if !(0.0..=Self::STEP_SECS_MAX).contains(&step_secs) {
            self.astray += 1;
            if self.astray < Self::ASTRAY_TICKS_MAX {
                return None;
            }
        }
        self.astray = 0;
        self.reached = Some(time);
        Some(step_secs)
    }

    /// Gives the time that is believed; none before the first tick.
    pub fn reached(&self) -> Option<EventTime> {
        self.reached
    }
}

/// A stretch of event time in which something happened, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSpan {
    start: EventTime,
    end: EventTime,
}

impl EventSpan {
    /// Makes the stretch of one moment.
    pub fn at(time: EventTime) -> Self {
        EventSpan { start: time, end: time }
    }

    /// Makes the stretch in which something happened that was seen at a tick with this stamp: it ends with the stamp, and
    /// begins with the latest of two times that are known not to lie after it, the stamp of the tick before and the market
    /// time. So a leap forward, which can be a long silence as well as a wrong stamp, counts from end to end; and a stamp
    /// that goes back behind both is wrong, and what happened did so at the market time.
    pub fn of(before: Option<EventTime>, market_time: Option<EventTime>, stamp: EventTime) -> Self {
        let known = [before, market_time];
        match known.into_iter().flatten().filter(|time| *time <= stamp).max() {
            Some(start) => EventSpan { start, end: stamp },
            None => EventSpan::at(market_time.unwrap_or(stamp)),
        }
    }

    /// Tells whether two stretches overlap or lie no further apart than this (nanoseconds, ≥ 0).
    pub fn is_near(&self, other: &EventSpan, nanos: i64) -> bool {
        self.start.nanos_since(other.end) <= nanos && other.start.nanos_since(self.end) <= nanos
    }

    /// Gives the latest stamp in it.
    pub fn end(&self) -> EventTime {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> EventTime {
        EventTime(secs * NANOS_PER_SEC)
    }

    #[test]
    fn single_wrong_stamps_move_nothing_and_a_feed_that_stays_is_followed() {
        let mut time = MarketTime::default();
        assert_eq!(time.observe(at(10)), Some(0.0));
        assert_eq!(time.observe(at(70)), Some(60.0));
        assert_eq!(time.observe(at(86_400)), None);
        assert_eq!(time.observe(at(60)), None);
        assert_eq!((time.observe(at(71)), time.reached()), (Some(1.0), Some(at(71))));
        let believed = (0..64).filter_map(|i| time.observe(at(90_000 + i))).count();
        assert_eq!((believed, time.reached()), (1, Some(at(90_063))));
    }

    #[test]
    fn spans_are_near_when_what_is_known_allows_it() {
        let near = |a: EventSpan, b: EventSpan| a.is_near(&b, 2 * NANOS_PER_SEC) && b.is_near(&a, 2 * NANOS_PER_SEC);
        let tick = |secs| EventSpan::of(Some(at(secs)), Some(at(secs)), at(secs));
        assert!(near(tick(10), tick(12)) && !near(tick(10), tick(13)));
        // A stamp of an hour ago is wrong, and so is nothing of the tick after it.
        let back = EventSpan::of(Some(at(3_600)), Some(at(3_600)), at(0));
        let after = EventSpan::of(Some(at(0)), Some(at(3_600)), at(3_601));
        assert_eq!(back, EventSpan::at(at(3_600)));
        assert!(near(after, tick(3_603)) && !near(after, tick(3_000)));
        // A leap is a silence, or a wrong stamp that the feed comes back from.
        let leap = EventSpan::of(Some(at(10)), Some(at(10)), at(3_600));
        let returned = EventSpan::of(Some(at(3_600)), Some(at(10)), at(11));
        assert!(
            near(leap, tick(10)) && near(leap, tick(3_600)) && near(returned, tick(12)) && !near(returned, tick(20))
        );
        assert_eq!(EventSpan::of(None, None, at(5)).end(), at(5));
    }
}
