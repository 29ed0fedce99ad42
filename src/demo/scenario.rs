//! The scenario: which ticks are streamed, and where the faults are.

use std::collections::BinaryHeap;

use crate::inject::{self, Catalogue, Label};
use crate::pipeline::tick::{InstrumentTicks, Tick};
use crate::pipeline::time::NANOS_PER_SEC;

/// About one fault per that many ticks of an instrument: rare enough for an alert to end before the next begins.
const TICKS_PER_FAULT: usize = 1200;

/// Share of every instrument's ticks that stay clean, to learn from.
pub const CLEAN_SHARE: f64 = 0.4;

/// Why ticks make no scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// None at all.
    #[error("no ticks")]
    Empty,
    /// Too few to learn from.
    #[error(
        "{instrument} has {found} ticks and needs at least {needed}: the first 40 % of them are learnt from, and a \
         calibration takes {learnt} or more; leave the instrument out, or give more ticks"
    )]
    TooFewTicks {
        /// The instrument.
        instrument: String,
        /// Its ticks.
        found: usize,
        /// Ticks that it needs.
        needed: usize,
        /// Ticks that a calibration needs.
        learnt: usize,
    },
    /// Ticks that no fault fits.
    #[error("no fault can be injected into these ticks: their prices never move")]
    NoFaults,
}

/// Gives how many ticks an instrument needs for `learnt` clean ones.
fn needed(learnt: usize) -> usize {
    (learnt as f64 / CLEAN_SHARE).ceil() as usize
}

/// One instrument's part.
pub struct Feed {
    /// Name of the instrument.
    pub instrument: String,
    /// Clean ticks, then ticks with faults.
    pub ticks: Vec<Tick>,
    /// Where the faults are, as indices into `ticks`.
    pub labels: Vec<Label>,
    /// Clean ticks at the start, to learn from.
    pub clean: usize,
}

/// What is streamed.
pub struct Scenario {
    /// One feed per instrument.
    pub feeds: Vec<Feed>,
}

impl Scenario {
    /// Leaves the first `clean_share` (0–1) of every instrument's ticks, at most `clean_max`, as they are and injects
    /// faults of all kinds into the rest.
    pub fn new(market: Vec<InstrumentTicks>, clean_share: f64, clean_max: usize, seed: u64) -> Self {
        let catalogue = Catalogue {
            ticks_per_fault: TICKS_PER_FAULT,
            ..Catalogue::default()
        };
        let feeds = market
            .into_iter()
            .enumerate()
            .map(|(index, InstrumentTicks { instrument, ticks })| {
                let clean = ((ticks.len() as f64 * clean_share) as usize).min(clean_max);
                let seed = seed.wrapping_add(index as u64);
                let (ticks, labels) = inject::apply_after(clean, &ticks, &catalogue, seed);
                Feed {
                    instrument,
                    ticks,
                    labels,
                    clean,
                }
            })
            .collect();
        Scenario { feeds }
    }

    /// Makes sure that every instrument has at least `learnt` clean ticks, and that something was injected.
    ///
    /// # Errors
    /// [`ScenarioError`].
    pub fn check(&self, learnt: usize) -> Result<(), ScenarioError> {
        let needed = needed(learnt);
        if let Some(few) = self.feeds.iter().find(|feed| feed.ticks.len() < needed) {
            return Err(ScenarioError::TooFewTicks {
                instrument: few.instrument.clone(),
                found: few.ticks.len(),
                needed,
                learnt,
            });
        }
        match (
            self.feeds.is_empty(),
            self.feeds.iter().all(|feed| feed.labels.is_empty()),
        ) {
            (true, _) => Err(ScenarioError::Empty),
            (false, true) => Err(ScenarioError::NoFaults),
            (false, false) => Ok(()),
        }
    }

    /// Moves all stamps on by so many days, so that the scenario follows an earlier one.
    pub fn delay(&mut self, days: u64) {
        let nanos = (days as i64).saturating_mul(86_400).saturating_mul(NANOS_PER_SEC);
        for tick in self.feeds.iter_mut().flat_map(|feed| &mut feed.ticks) {
            tick.event_time = tick.event_time.plus_nanos(nanos);
        }
    }

    /// Gives the number of ticks.
    pub fn ticks(&self) -> usize {
        self.feeds.iter().map(|feed| feed.ticks.len()).sum()
    }

    /// Merges parts of all feeds by the time since each feed's first tick: `(feed, index)` in the order of sending.
    pub fn merged(&self, part: impl Fn(&Feed) -> std::ops::Range<usize>) -> Vec<(usize, usize)> {
        use std::cmp::Reverse;
        let ranges: Vec<_> = self.feeds.iter().map(part).collect();
        let elapsed = |feed: usize, index: usize| {
            let ticks = &self.feeds[feed].ticks;
            ticks[index].event_time.nanos_since(ticks[0].event_time)
        };
        let mut heap: BinaryHeap<_> = (0..ranges.len())
            .filter(|feed| !ranges[*feed].is_empty())
            .map(|feed| Reverse((elapsed(feed, ranges[feed].start), feed, ranges[feed].start)))
            .collect();
        let mut merged = Vec::with_capacity(ranges.iter().map(ExactSizeIterator::len).sum());
        while let Some(Reverse((sent_at, feed, index))) = heap.pop() {
            merged.push((feed, index));
            let next = index + 1;
            if next < ranges[feed].end {
                // A stamp that goes back keeps its place.
                heap.push(Reverse((sent_at.max(elapsed(feed, next)), feed, next)));
            }
        }
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::market::{MarketConfig, generate};
    use crate::pipeline::time::EventTime;

    #[test]
    fn ticks_that_make_no_demo_are_told_by_name() {
        let scenario = |ticks| Scenario::new(generate(&MarketConfig::unseen(ticks, 1)), CLEAN_SHARE, 2000, 1);
        assert_eq!(scenario(50_000).check(2_000), Ok(()));
        let few = scenario(40_000).check(2_000).unwrap_err().to_string();
        assert!(
            few.starts_with("EURFIC has ") && few.contains(" ticks and needs at least 5000: "),
            "{few}"
        );
        assert_eq!(Scenario { feeds: Vec::new() }.check(1), Err(ScenarioError::Empty));
        // All of it is to be learnt from.
        let clean = Scenario::new(generate(&MarketConfig::unseen(20_000, 1)), 1.0, usize::MAX, 1);
        assert_eq!(clean.check(1), Err(ScenarioError::NoFaults));
    }

    #[test]
    fn merging_keeps_every_tick_and_each_feeds_order() {
        let market = MarketConfig {
            instruments: 4,
            ticks: 12_000,
            seed: 3,
            start: EventTime(1_700_000_000_000_000_000),
        };
        let scenario = Scenario::new(generate(&market), 0.3, 2000, 3);
        assert!(scenario.feeds.iter().any(|feed| !feed.labels.is_empty()));
        let merged = scenario.merged(|feed| 0..feed.ticks.len());
        assert_eq!(merged.len(), scenario.ticks());
        for feed in 0..4 {
            let indices: Vec<_> = merged
                .iter()
                .filter(|(of, _)| *of == feed)
                .map(|(_, index)| *index)
                .collect();
            assert!(indices.is_sorted() && indices.len() == scenario.feeds[feed].ticks.len());
        }
    }
}
