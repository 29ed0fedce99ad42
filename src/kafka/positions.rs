//! Where each assigned partition stands: which offset comes next, how much waits, and what was passed over.
//!
//! An offset that goes back says that the topic was made anew. An offset that leaps may leap over a transaction's marker or
//! over what compaction has removed; only where the broker's oldest record lies beyond what was to come were records passed
//! over. Pure bookkeeping; knows no client.

use crate::pipeline::position::TopicPartition;

/// How often the broker's ends are looked at before a leap counts as harmless.
const LOOKS_MAX: u8 = 3;

/// What comes next of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody knows yet.
    Unknown,
    /// The oldest record that there is.
    Oldest,
    /// The record at this offset.
    At(i64),
}

/// What the broker says of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The partition.
    pub at: TopicPartition,
    /// Offset of the oldest record, if it is known.
    pub oldest: Option<i64>,
    /// Offset after the newest record that may be read, if it is known.
    pub end: Option<i64>,
    /// Offset up to which everything has been handed in, markers included; none while records wait in the client.
    pub handed_in: Option<i64>,
}

/// What a record is to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It comes after them.
    On,
    /// Its offset was there before: the topic was made anew.
    Anew,
}

#[derive(Clone, Copy, Debug)]
struct Leap {
    expected: i64,
    found: i64,
    looks: u8,
}

#[derive(Debug)]
struct Place {
    at: TopicPartition,
    standing: Standing,
    /// The longest leap of late.
    leap: Option<Leap>,
}

/// Where all assigned partitions stand.
#[derive(Debug, Default)]
pub struct Positions(Vec<Place>);

impl Positions {
    /// Notes where a partition begins.
    pub fn begin(&mut self, at: TopicPartition, standing: Standing) {
        self.end(&[at]);
        let leap = None;
        self.0.push(Place { at, standing, leap });
    }

    /// Forgets partitions.
    pub fn end(&mut self, partitions: &[TopicPartition]) {
        self.0.retain(|place| !partitions.contains(&place.at));
    }

    /// Takes in the offset of a record that was polled.
    pub fn take(&mut self, at: TopicPartition, offset: i64) -> Step {
        let Some(place) = self.0.iter_mut().find(|place| place.at == at) else {
            self.begin(at, Standing::At(offset + 1));
            return Step::On;
        };
        let before = std::mem::replace(&mut place.standing, Standing::At(offset + 1));
        match before {
            Standing::At(expected) if offset < expected => {
                place.leap = None;
                Step::Anew
            }
            Standing::At(expected) if offset > expected => {
                let length = |leap: Leap| leap.found - leap.expected;
                if place.leap.is_none_or(|leap| length(leap) < offset - expected) {
                    place.leap = Some(Leap {
                        expected,
                        found: offset,
                        looks: 0,
                    });
                }
                Step::On
            }
            _ => Step::On,
        }
    }

    /// Counts the records that were passed over because the broker no longer has them.
    pub fn passed_over(&mut self, ends: &[Ends]) -> u64 {
        let mut passed_over = 0;
        for place in &mut self.0 {
            let Some(leap) = &mut place.leap else { continue };
            leap.looks += 1;
            let oldest = ends
                .iter()
                .find(|ends| ends.at == place.at)
                .and_then(|ends| ends.oldest);
            let missing = oldest.map_or(0, |oldest| oldest.min(leap.found) - leap.expected);
            if missing > 0 {
                passed_over += missing as u64;
            }
            if missing > 0 || leap.looks >= LOOKS_MAX {
                place.leap = None;
            }
        }
        passed_over
    }

    /// Counts the records that wait on a partition, if that is known.
    pub fn lag(&self, ends: &Ends) -> Option<i64> {
        let place = self.0.iter().find(|place| place.at == ends.at)?;
        let end = ends.end?;
        if ends.handed_in.is_some_and(|handed_in| handed_in >= end) {
            return Some(0);
        }
        let next = match place.standing {
            Standing::Unknown => return None,
            Standing::Oldest => ends.oldest?,
            Standing::At(next) => next,
        };
        Some((end - next).max(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::position::{Partition, TopicIndex};

    const AT: TopicPartition = TopicPartition {
        topic: TopicIndex(0),
        partition: Partition(0),
    };

    fn ends(oldest: i64, end: i64) -> Ends {
        Ends {
            at: AT,
            oldest: Some(oldest),
            end: Some(end),
            handed_in: None,
        }
    }

    fn standing_at(next: i64) -> Positions {
        let mut positions = Positions::default();
        positions.begin(AT, Standing::At(next));
        positions
    }

    #[test]
    fn an_offset_that_goes_back_is_of_a_topic_made_anew() {
        let mut positions = standing_at(300);
        assert_eq!(positions.take(AT, 300), Step::On);
        assert_eq!(positions.take(AT, 0), Step::Anew);
        assert_eq!(positions.take(AT, 1), Step::On);
    }

    #[test]
    fn records_that_the_broker_no_longer_has_are_counted_once_and_markers_are_not() {
        let mut positions = standing_at(100);
        positions.take(AT, 250);
        assert_eq!(positions.passed_over(&[ends(250, 300)]), 150);
        assert_eq!(positions.passed_over(&[ends(250, 300)]), 0);
        // A marker at 251: the oldest record lies before it.
        positions.take(AT, 252);
        assert_eq!(positions.passed_over(&[ends(250, 300)]), 0);
        // Compaction has removed most of what lies between.
        positions.take(AT, 290);
        for _ in 0..LOOKS_MAX {
            assert_eq!(positions.passed_over(&[ends(250, 300)]), 0);
        }
        assert_eq!(
            positions.passed_over(&[ends(290, 300)]),
            0,
            "an old leap is judged no more"
        );
    }

    #[test]
    fn lag_counts_from_the_position_and_what_is_unknown_is_no_lag() {
        assert_eq!(
            standing_at(300).lag(&ends(0, 300)),
            Some(0),
            "latest, and nobody writes"
        );
        assert_eq!(standing_at(100).lag(&ends(0, 300)), Some(200));
        assert_eq!(standing_at(500).lag(&ends(0, 300)), Some(0));
        let mut positions = Positions::default();
        assert_eq!(positions.lag(&ends(0, 300)), None);
        positions.begin(AT, Standing::Unknown);
        assert_eq!(positions.lag(&ends(0, 300)), None);
        positions.begin(AT, Standing::Oldest);
        assert_eq!(positions.lag(&ends(40, 300)), Some(260));
        let unknown = Ends {
            end: None,
            ..ends(0, 0)
        };
        assert_eq!(positions.lag(&unknown), None);
        // The last records are markers, which nobody is handed.
        let read = Ends {
            handed_in: Some(300),
            ..ends(0, 300)
        };
        assert_eq!(standing_at(299).lag(&read), Some(0));
    }
}
