//! The clock of one partition: what time it is where its records are judged.
//!
//! Records carry stamps, and a stamp can be wrong. The clock follows the stamps of its partition's records, never goes back,
//! and does not believe a stamp that lies further ahead of the wall clock than a limit. Everything that asks "how long
//! ago?" asks this clock, and nothing else reads a record's stamp as time. It reads no clock itself: the wall clock's time
//! is an argument.

use serde::{Deserialize, Serialize};

use super::time::{ArrivalTime, NANOS_PER_SEC};

/// The time of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// How far a stamp may lie ahead of the wall clock (nanoseconds, ≥ 0).
    #[serde(skip)]
    ahead_nanos: i64,
    /// The time; none before the first record.
    now: Option<ArrivalTime>,
    /// When the wall clock is looked at is nothing that a log says, so this is in no snapshot; what comes of it is told.
    #[serde(skip)]
    heard: Heard,
}

/// What the records since the last look at the wall clock have said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Heard {
    /// There were none.
    #[default]
    Nothing,
    /// None of their stamps was believed.
    Unbelieved,
    /// At least one stamp was believed.
    Believed,
}

/// What a record's stamp did to the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The time at which the record is judged.
    pub now: ArrivalTime,
    /// Whether its stamp lies too far ahead of the wall clock to be believed.
    pub is_ahead: bool,
}

impl Clock {
    /// Makes a clock that believes stamps up to so far ahead of the wall clock (seconds, 0 to a year).
    pub fn new(ahead_secs_max: u64) -> Self {
        let nanos = ahead_secs_max.saturating_mul(NANOS_PER_SEC as u64);
        Clock {
            ahead_nanos: i64::try_from(nanos).unwrap_or(i64::MAX),
            now: None,
            heard: Heard::Nothing,
        }
    }

    /// Goes on where another stood, under its own parameter.
    pub fn recall(self, memory: Clock) -> Self {
        Clock {
            now: memory.now,
            ..self
        }
    }

    /// Gives the time; none before the first record.
    pub fn now(&self) -> Option<ArrivalTime> {
        self.now
    }

    /// Takes in a record's stamp and gives the time at which the record is judged. A stamp that is not believed leaves the
    /// clock where it is, at the wall clock's time if it has none yet.
    pub fn record(&mut self, stamp: ArrivalTime, wall: ArrivalTime) -> Reading {
        let is_ahead = stamp.0.saturating_sub(wall.0) > self.ahead_nanos;
        let now = if is_ahead {
            if self.heard == Heard::Nothing {
                self.heard = Heard::Unbelieved;
            }
            self.now.unwrap_or(wall)
        } else {
            self.heard = Heard::Believed;
            self.now.map_or(stamp, |now| now.max(stamp))
        };
        self.now = Some(now);
        Reading { now, is_ahead }
    }

    /// Tells whether the time should follow the wall clock because no stamp since the last look was believed.
    pub fn look(&mut self) -> bool {
        std::mem::replace(&mut self.heard, Heard::Nothing) == Heard::Unbelieved
    }

    /// Moves on to the wall clock's time. Gives the time; none before the first record.
    pub fn follow(&mut self, wall: ArrivalTime) -> Option<ArrivalTime> {
        self.now = self.now.map(|now| now.max(wall));
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> ArrivalTime {
        ArrivalTime(secs * NANOS_PER_SEC)
    }

    #[test]
    fn it_follows_stamps_and_never_goes_back() {
        let mut clock = Clock::new(10);
        let times = [100, 103, 90, 104].map(|secs| clock.record(at(secs), at(200)).now);
        assert_eq!(times, [100, 103, 103, 104].map(at));
    }

    #[test]
    fn a_stamp_from_the_future_moves_nothing_and_is_told() {
        let mut clock = Clock::new(10);
        assert!(!clock.record(at(100), at(100)).is_ahead);
        let day = Reading {
            now: at(100),
            is_ahead: true,
        };
        assert_eq!(clock.record(at(86_400), at(101)), day);
        assert_eq!(clock.record(at(ArrivalTime(i64::MAX).0 / NANOS_PER_SEC), at(101)), day);
        assert_eq!(clock.record(at(110), at(101)).now, at(110), "within the limit");
        assert_eq!(Clock::new(10).record(at(86_400), at(7)).now, at(7));
    }

    #[test]
    fn the_wall_clock_tells_the_time_of_an_idle_partition_and_of_one_whose_stamps_are_all_wrong() {
        let mut clock = Clock::new(10);
        assert_eq!(clock.follow(at(50)), None, "nothing has been judged yet");
        clock.record(at(100), at(100));
        assert!(!clock.look(), "a backlog is worked off in its own time");
        assert_eq!(clock.follow(at(160)), Some(at(160)));
        assert_eq!(clock.follow(at(150)), Some(at(160)), "a wall clock that is set back");
        clock.record(at(9_000), at(170));
        assert!(clock.look());
        clock.record(at(9_000), at(172));
        clock.record(at(171), at(172));
        assert!(!clock.look());
    }
}
