//! The alarm curve: how many false alarms each threshold worth trying costs.
//!
//! A curve covers one instrument or several that share the threshold; budgets and the event precision-recall curve are
//! both read from it.

use super::episodes::Episodes;
use super::labelled_scores::{LabelledScores, recall};

/// Background scores to try at most, evenly spaced in the log of their rank (the benchmark's choice).
const GRID_POINTS: usize = 500;

/// Thresholds of the precision-recall curve, about (the benchmark's choice).
const CURVE_POINTS: usize = 250;

/// The precision-recall curve ends once there are more false alarms than this many per event (the benchmark's choice).
const FALSE_ALARMS_PER_EVENT_MAX: usize = 20;

/// Holds thresholds and their false alarms.
pub(super) struct AlarmCurve {
    points: Vec<Point>,
}

/// One threshold and the false alarms at it.
struct Point {
    threshold: f64,
    false_alarms: usize,
}

impl AlarmCurve {
    /// Counts the false alarms of all `instruments` together, at each threshold worth trying, from the highest down.
    pub fn new(instruments: &[LabelledScores]) -> Self {
        let background = descending_background(instruments);
        let mut episodes: Vec<Episodes> = instruments.iter().map(|_| Episodes::default()).collect();
        let mut false_alarms = 0;
        let mut rest = background.iter().peekable();
        let mut points = Vec::new();
        for threshold in candidate_thresholds(&background, instruments) {
            while let Some(tick) = rest.next_if(|tick| tick.score >= threshold) {
                let own = &mut episodes[tick.instrument];
                false_alarms -= own.cost();
                own.add(tick.tick);
                false_alarms += own.cost();
            }
            points.push(Point {
                threshold,
                false_alarms,
            });
        }
        Self { points }
    }

    /// Gives the lowest threshold that, like all higher ones, stays within the budget; ∞ if the first does not.
    ///
    /// Episodes that join make the count fall at times, so a lower threshold within the budget can lie beyond the one
    /// that breaks it; such a threshold is not taken.
    pub fn lowest_within(&self, budget: usize) -> f64 {
        let within = self.points.iter().take_while(|point| point.false_alarms <= budget);
        within.last().map_or(f64::INFINITY, |point| point.threshold)
    }

    /// Computes the area under the event precision-recall curve, as a step-wise sum of recall gain × precision.
    ///
    /// `event_maxima`: the highest score of each event.
    pub fn event_average_precision(&self, event_maxima: &[f64]) -> f64 {
        let mut area = 0.0;
        let mut detected_before = 0;
        for point in self.precision_recall(event_maxima) {
            if point.detected > detected_before {
                let recall_gain = (point.detected - detected_before) as f64 / event_maxima.len() as f64;
                area += recall_gain * point.precision();
                detected_before = point.detected;
            }
        }
        area
    }

    /// Gives the points of the event precision-recall curve, from the highest threshold down.
    ///
    /// `event_maxima`: the highest score of each event.
    pub fn precision_recall(&self, event_maxima: &[f64]) -> Vec<CurvePoint> {
        let mut curve = Vec::new();
        for point in self.points.iter().step_by((self.points.len() / CURVE_POINTS).max(1)) {
            let &Point {
                threshold,
                false_alarms,
            } = point;
            curve.push(CurvePoint {
                threshold,
                recall: recall(event_maxima, threshold),
                detected: event_maxima.iter().filter(|&&maximum| maximum >= threshold).count(),
                false_alarms,
            });
            if false_alarms > FALSE_ALARMS_PER_EVENT_MAX * event_maxima.len() {
                break;
            }
        }
        curve
    }
}

/// One point of the event precision-recall curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurvePoint {
    /// The threshold (score).
    pub threshold: f64,
    /// Share of the events that are detected (0–1).
    pub recall: f64,
    /// Number of those events.
    pub detected: usize,
    /// What the false alarms cost.
    pub false_alarms: usize,
}

impl CurvePoint {
    /// Gives detected / (detected + false alarms) (0–1); 1 where there is neither, since nothing wrong was said.
    pub fn precision(&self) -> f64 {
        match self.detected + self.false_alarms {
            0 => 1.0,
            said => self.detected as f64 / said as f64,
        }
    }
}

/// A tick that is a false alarm once the threshold sinks to its score.
struct BackgroundTick {
    score: f64,
    instrument: usize,
    tick: usize,
}

/// Lists the background ticks of all instruments by falling score.
fn descending_background(instruments: &[LabelledScores]) -> Vec<BackgroundTick> {
    let ticks_of = |(index, own): (usize, &LabelledScores)| -> Vec<BackgroundTick> {
        own.background
            .iter()
            .map(|&tick| BackgroundTick {
                score: own.scores[tick],
                instrument: index,
                tick,
            })
            .collect()
    };
    let mut ticks: Vec<BackgroundTick> = instruments.iter().enumerate().flat_map(ticks_of).collect();
    ticks.sort_unstable_by(|left, right| right.score.total_cmp(&left.score));
    ticks
}

/// Picks the finite thresholds to try, falling: background scores log-spaced by rank, and each event's highest score.
fn candidate_thresholds(background: &[BackgroundTick], instruments: &[LabelledScores]) -> Vec<f64> {
    let finite: Vec<f64> = background
        .iter()
        .map(|tick| tick.score)
        .filter(|score| score.is_finite())
        .collect();
    let maxima = instruments
        .iter()
        .flat_map(|instrument| instrument.event_maxima.iter().copied());
    let mut thresholds: Vec<f64> = log_spaced_ranks(finite.len())
        .into_iter()
        .map(|rank| finite[rank - 1])
        .collect();
    thresholds.extend(maxima.filter(|maximum| maximum.is_finite()));
    thresholds.sort_unstable_by(|left, right| right.total_cmp(left));
    thresholds.dedup();
    thresholds
}

/// Lists up to [`GRID_POINTS`] ranks from 1 to `count`, evenly spaced in their logarithm and rounded half to even.
fn log_spaced_ranks(count: usize) -> Vec<usize> {
    if count == 0 {
        return Vec::new();
    }
    let step = (count as f64).log10() / (GRID_POINTS - 1) as f64;
    let inner = (1..GRID_POINTS - 1).map(|index| 10_f64.powf(index as f64 * step).round_ties_even() as usize);
    let mut ranks: Vec<usize> = std::iter::once(1).chain(inner).chain([count]).collect();
    ranks.dedup();
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_rise_from_first_to_last() {
        assert!(log_spaced_ranks(0).is_empty());
        assert_eq!(log_spaced_ranks(1), [1]);
        assert_eq!(log_spaced_ranks(5), [1, 2, 3, 4, 5]);
        for count in [2, 499, 500, 501, 10_000, 271_288] {
            let ranks = log_spaced_ranks(count);
            assert!(ranks.is_sorted_by(|left, right| left < right) && ranks.len() <= GRID_POINTS);
            assert_eq!((ranks[0], ranks[ranks.len() - 1]), (1, count));
        }
    }

    #[test]
    fn threshold_beyond_a_broken_budget_is_not_taken() {
        let points = [(4.0, 0), (3.0, 2), (2.0, 3), (1.0, 2)];
        let points = points.map(|(threshold, false_alarms)| Point {
            threshold,
            false_alarms,
        });
        let curve = AlarmCurve {
            points: Vec::from(points),
        };
        assert_eq!(curve.lowest_within(0), 4.0);
        assert_eq!(curve.lowest_within(2), 3.0);
        assert_eq!(curve.lowest_within(3), 1.0);
        assert_eq!(AlarmCurve { points: Vec::new() }.lowest_within(9), f64::INFINITY);
    }

    #[test]
    fn precision_recall_curve_ends_at_20_false_alarms_per_event() {
        let area = |false_alarms| {
            let points = [(3.0, 0), (2.0, false_alarms), (1.0, 60)];
            let points = points.map(|(threshold, false_alarms)| Point {
                threshold,
                false_alarms,
            });
            AlarmCurve {
                points: Vec::from(points),
            }
            .event_average_precision(&[3.0, 1.0])
        };
        assert_eq!(area(40), 0.5 + 0.5 * 2.0 / 62.0);
        assert_eq!(area(41), 0.5);
    }

    #[test]
    fn ranks_are_those_of_numpy() {
        // ranks = np.unique(np.round(np.geomspace(1, count, 500)).astype(int)); print(len(ranks), ranks.sum())
        for (count, length, sum) in [(10, 10, 55), (12_000, 341, 642_117), (271_288, 392, 10_955_773)] {
            let ranks = log_spaced_ranks(count);
            assert_eq!((ranks.len(), ranks.iter().sum()), (length, sum), "{count}");
        }
    }

    #[test]
    fn precision_recall_curve_takes_every_second_of_500_thresholds() {
        let area = |count: usize| {
            let point = |index: usize| Point {
                threshold: (count - index) as f64,
                false_alarms: index,
            };
            AlarmCurve {
                points: (0..count).map(point).collect(),
            }
            .event_average_precision(&[(count - 1) as f64])
        };
        assert_eq!(area(499), 1.0 / 2.0); // found at the second threshold, which costs one false alarm
        assert_eq!(area(500), 1.0 / 3.0); // found at the third, as the second is skipped
    }
}
