//! When the learner is to act: decisions on times and counts, without a clock of their own.

use std::time::Duration;

/// Tells how old a model is that was `made` at one moment, with `now` at another (seconds since 1970), and that has been at
/// work here for `known_for`. A stamp that is missing or ahead of the clock says nothing, so there the model is as old as its
/// work here.
pub(super) fn age(made: Option<i64>, now: i64, known_for: Duration) -> Duration {
    let by_stamp = made.map_or(0, |made| now.saturating_sub(made));
    Duration::from_secs(u64::try_from(by_stamp).unwrap_or(0)).max(known_for)
}

/// Tells whether a model of this age is to be followed by another. `since_tried`: time since a training was last tried here;
/// one that was refused or failed is not tried again before its interval is over.
pub(super) fn is_training_due(age: Duration, since_tried: Option<Duration>, interval: Duration) -> bool {
    age >= interval && since_tried.is_none_or(|since| since >= interval)
}

/// When instruments that have become ready are calibrated: not more often than the least pause, and ever more rarely while
/// that adds none of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct CalibrationPace {
    pause_min: Duration,
    pause_max: Duration,
    pause: Duration,
}

impl CalibrationPace {
    /// Makes the pace of a learner that has not calibrated yet.
    pub fn new(pause_min: Duration, pause_max: Duration) -> Self {
        CalibrationPace {
            pause_min,
            pause_max: pause_max.max(pause_min),
            pause: pause_min,
        }
    }

    /// Tells whether to calibrate, with the most rows that an instrument without a calibration has shown, the rows that it
    /// takes, and the time since models were last made or tried here.
    pub fn is_due(&self, rows_max: usize, rows_needed: usize, since_tried: Option<Duration>) -> bool {
        rows_max >= rows_needed && since_tried.is_none_or(|since| since >= self.pause)
    }

    /// Notes how many instruments a calibration has added. None: what the workers have counted is not in the history, and
    /// the next look may find it missing too.
    pub fn note(&mut self, added: usize) {
        self.pause = match added {
            0 => self.pause.saturating_mul(2).min(self.pause_max),
            _ => self.pause_min,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    #[test]
    fn model_that_was_made_50_minutes_ago_is_due_in_10_after_a_restart() {
        let (made, interval) = (1_700_000_000, minutes(60));
        let is_due = |running: u64| {
            let age = age(Some(made), made + 50 * 60 + 60 * running as i64, minutes(running));
            is_training_due(age, None, interval)
        };
        assert_eq!((is_due(0), is_due(9), is_due(10)), (false, false, true));
    }

    #[test]
    fn stamp_that_is_missing_or_ahead_of_the_clock_counts_from_the_start() {
        for made in [None, Some(1_700_000_000), Some(i64::MAX)] {
            assert_eq!(age(made, 1_600_000_000, minutes(7)), minutes(7), "{made:?}");
        }
        assert_eq!(
            age(Some(i64::MIN), i64::MAX, minutes(7)),
            Duration::from_secs(i64::MAX as u64)
        );
    }

    #[test]
    fn refused_training_waits_for_its_interval() {
        let interval = minutes(60);
        let is_due = |tried| is_training_due(minutes(600), tried, interval);
        assert!(is_due(None) && is_due(Some(minutes(60))) && !is_due(Some(minutes(59))));
    }

    #[test]
    fn calibrations_are_never_closer_than_the_pause_and_rarer_while_they_add_nothing() {
        let mut pace = CalibrationPace::new(minutes(5), minutes(60));
        assert!(pace.is_due(800, 800, None) && !pace.is_due(799, 800, None));
        let pause_of = |pace: &CalibrationPace| (0..=70).find(|since| pace.is_due(800, 800, Some(minutes(*since))));
        assert_eq!(pause_of(&pace), Some(5));
        let mut pauses = Vec::new();
        for _ in 0..5 {
            pace.note(0);
            pauses.extend(pause_of(&pace));
        }
        assert_eq!(pauses, [10, 20, 40, 60, 60]);
        pace.note(1);
        assert_eq!(pause_of(&pace), Some(5));
    }
}
