//! The scoreboard: which faults were caught, by which alerts, and what was a false alarm.

use std::collections::BTreeMap;

use serde::Serialize;

use super::scenario::Feed;
use crate::inject::Label;
use crate::offline::evaluation::IGNORED_TICKS;

/// Share of the faults that must be caught: below it, something is broken. Ten seeds caught 0.75 to 0.95.
const CAUGHT_SHARE_MIN: f64 = 0.6;
/// Most false alarms, in budgets. Ten seeds had 0 to 0.8 budgets of them.
const BUDGETS_MAX: f64 = 3.0;

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
    /// Whether a signal ended it early; then only what was scored until then counts, and there is no verdict.
    pub interrupted: bool,
    /// Seed of market and faults.
    pub seed: u64,
    /// Alerts that may open in 10,000 ticks of a normal feed.
    pub budget_per_10k_ticks: f64,
    /// Faults injected into the ticks scored.
    pub injected: usize,
    /// Faults with an alert on one of their ticks or shortly after.
    pub caught: usize,
    /// Alerts opened on a fault or shortly after one.
    pub hits: usize,
    /// Alerts opened far from any fault.
    pub false_alarms: usize,
    /// Ticks scored.
    pub ticks: usize,
    /// Ticks that were to be scored.
    pub ticks_in_all: usize,
    /// Ticks per second of streaming.
    pub ticks_per_sec: f64,
    /// Median ticks from a fault's start to its alert, over those caught.
    pub delay_ticks_median: Option<f64>,
    /// By kind of fault.
    pub kinds: BTreeMap<&'static str, KindCount>,
    /// Models at work during the demo.
    pub model_versions: Vec<u32>,
    /// Records produced that the daemon has not accounted for (negative: accounted for more than once); not known of an
    /// interrupted demo.
    pub unaccounted: Option<i64>,
}

/// Tells whether an alert that opened at a tick is far from every fault of its feed.
pub fn is_false_alarm(feed: &Feed, tick: usize) -> bool {
    let near = |label: &Label| (label.start..=label.end + IGNORED_TICKS).contains(&tick);
    !feed.labels.iter().any(near)
}

impl Scoreboard {
    /// Judges alerts against the faults of all feeds, as far as `seen` ticks of each go. An alert catches a fault when a
    /// tick of the fault, or one of the 16 ticks after, opened it or made it worse; up to 64 ticks after a fault no alert
    /// is a false one.
    pub fn new(feeds: &[Feed], raised: &[Raised], seen: &[usize]) -> Self {
        let mut kinds: BTreeMap<&'static str, KindCount> = BTreeMap::new();
        let mut delays = Vec::new();
        for (index, feed) in feeds.iter().enumerate() {
            // Whoever is interrupted within a fault might have caught it yet.
            let is_over = |label: &&Label| label.found_in().end.min(feed.ticks.len()) <= seen[index];
            for label in feed.labels.iter().filter(is_over) {
                let count = kinds.entry(label.fault.name()).or_default();
                count.injected += 1;
                let catches = |alert: &&Raised| alert.feed == index && label.found_in().contains(&alert.tick);
                if let Some(first) = raised.iter().filter(catches).map(|alert| alert.tick).min() {
                    count.caught += 1;
                    delays.push(first - label.start);
                }
            }
        }
        let opened = || raised.iter().filter(|alert| alert.opened);
        let false_alarms = opened()
            .filter(|alert| is_false_alarm(&feeds[alert.feed], alert.tick))
            .count();
        Scoreboard {
            interrupted: false,
            seed: 0,
            budget_per_10k_ticks: 0.0,
            injected: kinds.values().map(|count| count.injected).sum(),
            caught: kinds.values().map(|count| count.caught).sum(),
            hits: opened().count() - false_alarms,
            false_alarms,
            ticks: seen.iter().sum(),
            ticks_in_all: feeds.iter().map(|feed| feed.ticks.len()).sum(),
            ticks_per_sec: 0.0,
            delay_ticks_median: median(&mut delays),
            kinds,
            model_versions: Vec::new(),
            unaccounted: None,
        }
    }

    /// Most false alarms of a demo that has gone well.
    fn false_alarms_max(&self) -> f64 {
        BUDGETS_MAX * self.budget_per_10k_ticks * self.ticks as f64 / 1e4
    }

    /// Lists what keeps the demo from having gone well; of an interrupted demo, nothing is known.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        if self.interrupted {
            return failures;
        }
        if (self.caught as f64) < CAUGHT_SHARE_MIN * self.injected as f64 || self.injected == 0 {
            failures.push(format!(
                "{} of {} faults caught; expected at least {:.0} %",
                self.caught,
                self.injected,
                100.0 * CAUGHT_SHARE_MIN
            ));
        }
        if self.false_alarms as f64 > self.false_alarms_max() {
            failures.push(format!(
                "{} false alarms in {} ticks; expected at most {:.0}, {BUDGETS_MAX:.0} times the budget",
                self.false_alarms,
                self.ticks,
                self.false_alarms_max()
            ));
        }
        if let Some(unaccounted) = self.unaccounted.filter(|records| *records != 0) {
            failures.push(format!("{unaccounted} records are not accounted for"));
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
        let versions: Vec<String> = self.model_versions.iter().map(u32::to_string).collect();
        text += &format!(
            "\n{} ticks of seed {} at {:.0} per second\n\
             median delay: {delay} ticks; versions of models at work: {}\n\
             {} alerts: {} on faults, {} false; a budget of {} per 10,000 ticks allows {:.1}\n",
            self.ticks,
            self.seed,
            self.ticks_per_sec,
            if versions.is_empty() {
                "–".into()
            } else {
                versions.join(", ")
            },
            self.hits + self.false_alarms,
            self.hits,
            self.false_alarms,
            self.budget_per_10k_ticks,
            self.budget_per_10k_ticks * self.ticks as f64 / 1e4,
        );
        if self.interrupted {
            text += &format!(
                "interrupted after {} of {} ticks: this is what was seen until then, and no verdict\n",
                self.ticks, self.ticks_in_all
            );
        }
        text
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
        let feeds = [feed(&[(100, 110), (500, 500), (900, 900), (4000, 4000)])];
        let raised = |tick, opened| Raised { feed: 0, tick, opened };
        // Caught late; caught by an update; missed by one tick of grace but no false alarm; one false alarm.
        let alerts = [
            raised(104, true),
            raised(510, false),
            raised(917, true),
            raised(3000, true),
            raised(3001, false),
        ];
        let mut board = Scoreboard::new(&feeds, &alerts, &[5000]);
        assert_eq!((board.injected, board.caught, board.false_alarms), (4, 2, 1));
        assert_eq!((board.hits, board.delay_ticks_median), (2, Some(7.0)));
        board.budget_per_10k_ticks = 0.5;
        let failures = board.failures();
        assert!(
            failures[0].contains("2 of 4") && failures[1].contains("1 false alarms"),
            "{failures:?}"
        );
        board.budget_per_10k_ticks = 1.0;
        assert_eq!(board.failures().len(), 1, "{:?}", board.failures());
    }

    #[test]
    fn interrupted_demo_counts_only_what_was_seen_and_has_no_verdict() {
        let feeds = [feed(&[(100, 110), (500, 520), (900, 900)])];
        let raised = Raised {
            feed: 0,
            tick: 104,
            opened: true,
        };
        let mut board = Scoreboard::new(&feeds, &[raised], &[525]);
        // The second fault may still be caught by the ticks that follow.
        assert_eq!((board.injected, board.caught, board.ticks), (1, 1, 525));
        board.interrupted = true;
        board.caught = 0;
        assert!(board.failures().is_empty());
        assert!(board.to_text().contains("\ninterrupted after 525 of 5000 ticks"));
    }

    #[test]
    fn records_that_are_not_accounted_for_fail_the_demo() {
        let raised = Raised {
            feed: 0,
            tick: 100,
            opened: true,
        };
        let mut board = Scoreboard::new(&[feed(&[(100, 110)])], &[raised], &[5000]);
        assert!(board.failures().is_empty());
        board.unaccounted = Some(0);
        assert!(board.failures().is_empty());
        board.unaccounted = Some(1);
        assert_eq!(board.failures().len(), 1);
    }
}
