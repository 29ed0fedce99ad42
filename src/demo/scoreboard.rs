//! The scoreboard: which faults were caught, by which alerts, and what was a false alarm.

use std::collections::BTreeMap;

use serde::Serialize;

use super::scenario::Feed;
use crate::offline::evaluation::IGNORED_TICKS;

/// Share of the faults that must be caught.
const CAUGHT_SHARE_MIN: f64 = 0.8;
/// Most false alarms per tick.
const FALSE_ALARMS_PER_TICK_MAX: f64 = 1e-3;

/// A revision of an alert, as ticks of its instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised {
    /// Which feed.
    pub feed: usize,
    /// Tick that made the revision.
    pub tick: usize,
    /// Whether it opened the alert; else it is an update.
    pub opened: bool,
}

/// Injected and caught faults of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KindCount {
    /// Faults injected.
    pub injected: usize,
    /// Faults caught.
    pub caught: usize,
}

/// How the demo went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scoreboard {
    /// Faults injected.
    pub injected: usize,
    /// Faults with an alert on one of their ticks or shortly after.
    pub caught: usize,
    /// Opened alerts far from any fault.
    pub false_alarms: usize,
    /// Ticks streamed.
    pub ticks: usize,
    /// Ticks per second of streaming.
    pub ticks_per_sec: f64,
    /// Median ticks from a fault's start to its alert, over those caught.
    pub delay_ticks_median: Option<f64>,
    /// By kind of fault.
    pub kinds: BTreeMap<&'static str, KindCount>,
    /// Models at work during the demo.
    pub model_versions: Vec<u32>,
    /// Records produced that the daemon has not accounted for (negative: accounted for more than once).
    pub unaccounted: i64,
}

impl Scoreboard {
    /// Judges alerts against the faults of all feeds. An alert catches a fault when a tick of the fault, or one of the
    /// 16 ticks after, opened it or made it worse; up to 64 ticks after a fault no alert is a false one.
    pub fn new(feeds: &[Feed], raised: &[Raised]) -> Self {
        let mut kinds: BTreeMap<&'static str, KindCount> = BTreeMap::new();
        let mut delays = Vec::new();
        for (index, feed) in feeds.iter().enumerate() {
            for label in &feed.labels {
                let count = kinds.entry(label.fault.name()).or_default();
                count.injected += 1;
                let catches = |alert: &&Raised| alert.feed == index && label.found_in().contains(&alert.tick);
                if let Some(first) = raised.iter().filter(catches).map(|alert| alert.tick).min() {
                    count.caught += 1;
                    delays.push(first - label.start);
                }
            }
        }
        let is_false = |alert: &&Raised| {
            let near = |label: &crate::inject::Label| (label.start..=label.end + IGNORED_TICKS).contains(&alert.tick);
            alert.opened && !feeds[alert.feed].labels.iter().any(near)
        };
        Scoreboard {
            injected: kinds.values().map(|count| count.injected).sum(),
            caught: kinds.values().map(|count| count.caught).sum(),
            false_alarms: raised.iter().filter(is_false).count(),
            ticks: feeds.iter().map(|feed| feed.ticks.len()).sum(),
            ticks_per_sec: 0.0,
            delay_ticks_median: median(&mut delays),
            kinds,
            model_versions: Vec::new(),
            unaccounted: 0,
        }
    }

    /// Lists what keeps the demo from having gone well.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        if (self.caught as f64) < CAUGHT_SHARE_MIN * self.injected as f64 || self.injected == 0 {
            failures.push(format!(
                "{} of {} faults caught; expected at least 80 %",
                self.caught, self.injected
            ));
        }
        if self.false_alarms as f64 > FALSE_ALARMS_PER_TICK_MAX * self.ticks as f64 {
            failures.push(format!(
                "{} false alarms in {} ticks; expected at most 1 per 1,000",
                self.false_alarms, self.ticks
            ));
        }
        if self.unaccounted != 0 {
            failures.push(format!("{} records are not accounted for", self.unaccounted));
        }
        failures
    }

    /// Writes the scoreboard for people.
    pub fn to_text(&self) -> String {
        let mut text = format!("{:<18} {:>8} {:>8}\n", "fault", "injected", "caught");
        for (kind, count) in &self.kinds {
            text += &format!("{kind:<18} {:>8} {:>8}\n", count.injected, count.caught);
        }
        text += &format!("{:<18} {:>8} {:>8}\n", "all", self.injected, self.caught);
        let delay = self
            .delay_ticks_median
            .map_or_else(|| "–".into(), |delay| format!("{delay}"));
        text + &format!(
            "\n{} ticks at {:.0} per second; {} false alarms; median delay {delay} ticks; models at work: {}\n",
            self.ticks,
            self.ticks_per_sec,
            self.false_alarms,
            self.model_versions
                .iter()
                .map(u32::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        )
    }
}

fn median(delays: &mut [usize]) -> Option<f64> {
    delays.sort_unstable();
    let middle = delays.len() / 2;
    match delays.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(delays[middle] as f64),
        _ => Some((delays[middle - 1] + delays[middle]) as f64 / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::{Fault, Label};
    use crate::pipeline::tick::{Body, Tick, Trade};
    use crate::pipeline::time::EventTime;

    fn feed(spans: &[(usize, usize)]) -> Feed {
        let body = Body::Trade(Trade { price: 1.0, size: None });
        let label = |&(start, end): &(usize, usize)| Label {
            start,
            end,
            fault: Fault::PriceSpike,
            magnitude: 1.0,
        };
        Feed {
            instrument: "A".into(),
            ticks: vec![
                Tick {
                    event_time: EventTime(0),
                    sequence: None,
                    body
                };
                5000
            ],
            labels: spans.iter().map(label).collect(),
            clean: 0,
        }
    }

    #[test]
    fn alerts_are_judged_by_where_they_were_raised() {
        let feeds = [feed(&[(100, 110), (500, 500), (900, 900)])];
        let raised = |tick, opened| Raised { feed: 0, tick, opened };
        // Caught late; caught by an update; missed by one tick of grace but no false alarm; one false alarm.
        let alerts = [
            raised(104, true),
            raised(510, false),
            raised(917, true),
            raised(3000, true),
            raised(3001, false),
        ];
        let board = Scoreboard::new(&feeds, &alerts);
        assert_eq!((board.injected, board.caught, board.false_alarms), (3, 2, 1));
        assert_eq!(board.delay_ticks_median, Some(7.0));
        assert!(board.failures()[0].contains("2 of 3"));
    }

    #[test]
    fn records_that_are_not_accounted_for_fail_the_demo() {
        let mut board = Scoreboard::new(
            &[feed(&[(100, 110)])],
            &[Raised {
                feed: 0,
                tick: 100,
                opened: true,
            }],
        );
        assert!(board.failures().is_empty());
        board.unaccounted = 1;
        assert_eq!(board.failures().len(), 1);
    }
}
