//! What the judge is trained for: to find every event at least once, anywhere within it, and to stay low on clean ticks.
//!
//! Gives loss and gradient over log-odds, in closed form. Knows no network.

use std::ops::Range;

use crate::pipeline::run::QUIET_TICKS;

/// Weight of the mean over an event's own ticks beside its pool. It rewards finding an event early and with more than one
/// tick.
const TICKS_WEIGHT: f64 = 0.3;
/// Length of a clean stretch (ticks): clean ticks this near each other can raise only one false alarm together.
const EPISODE_TICKS: usize = QUIET_TICKS as usize;
/// Weight of one clean stretch. With one event in 400 ticks, the stretches between two events weigh about as much as one event.
const EPISODE_WEIGHT: f64 = 0.3;
/// Weight of one clean tick by itself.
const CLEAN_WEIGHT: f64 = 0.01;

/// An event that is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its own ticks.
    pub ticks: Range<usize>,
    /// The tick up to which it may still be found: the end of its own ticks, or later.
    pub found_before: usize,
}

/// What the judge should say of one sequence of ticks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The events, in order.
    pub events: Vec<Event>,
    /// Stretches that are clean.
    pub clean: Vec<Range<usize>>,
}

impl Question {
    /// Gives the same for a sequence without its first `rows` rows, which must not be part of an event or a clean stretch.
    pub fn moved_back(&self, rows: usize) -> Self {
        let moved = |range: &Range<usize>| range.start - rows..range.end - rows;
        let moved_event = |event: &Event| Event {
            ticks: moved(&event.ticks),
            found_before: event.found_before - rows,
        };
        Question {
            events: self.events.iter().map(moved_event).collect(),
            clean: self.clean.iter().map(moved).collect(),
        }
    }
}

/// Gives the loss of one sequence and adds its gradient.
///
/// An event costs softplus(−pool), pool = ln Σ exp(log-odds) − ½ ln n over the n ticks that it may be found in, plus the
/// mean of softplus(−log-odds) over its own ones; a clean tick costs softplus(log-odds), and a clean stretch
/// softplus(ln Σ exp(log-odds)).
///
/// `log_odds` and `gradient`: `(T,)`, those of tick t at `t * stride`.
pub fn event_loss(question: &Question, log_odds: &[f32], stride: usize, gradient: &mut [f32]) -> f64 {
    let at = |tick: usize| f64::from(log_odds[tick * stride]);
    let mut loss = 0.0;
    for event in &question.events {
        let found_in = event.ticks.start..event.found_before;
        let total = log_sum_exp(found_in.clone().map(at));
        let pool = total - 0.5 * libm::log(found_in.len() as f64);
        loss += softplus(-pool);
        for tick in found_in {
            let of_pool = sigmoid(-pool) * libm::exp(at(tick) - total);
            gradient[tick * stride] -= of_pool as f32;
        }
        let weight = TICKS_WEIGHT / event.ticks.len() as f64;
        for tick in event.ticks.clone() {
            loss += weight * softplus(-at(tick));
            gradient[tick * stride] -= (weight * sigmoid(-at(tick))) as f32;
        }
    }
    for clean in &question.clean {
        for start in clean.clone().step_by(EPISODE_TICKS) {
            let stretch = start..clean.end.min(start + EPISODE_TICKS);
            let total = log_sum_exp(stretch.clone().map(at));
            loss += EPISODE_WEIGHT * softplus(total);
            for tick in stretch {
                loss += CLEAN_WEIGHT * softplus(at(tick));
                let of_stretch = EPISODE_WEIGHT * sigmoid(total) * libm::exp(at(tick) - total);
                gradient[tick * stride] += (of_stretch + CLEAN_WEIGHT * sigmoid(at(tick))) as f32;
            }
        }
    }
    loss
}

fn log_sum_exp(numbers: impl Iterator<Item = f64> + Clone) -> f64 {
    let highest = numbers.clone().fold(f64::NEG_INFINITY, f64::max);
    highest + libm::log(numbers.map(|number| libm::exp(number - highest)).sum())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(ticks: Range<usize>, found_before: usize) -> Event {
        Event { ticks, found_before }
    }

    fn question() -> Question {
        Question {
            events: vec![event(2..3, 4), event(5..9, 9)],
            clean: vec![0..2, 10..12],
        }
    }

    #[test]
    fn gradient_is_that_of_finite_differences() {
        let log_odds: Vec<f32> = (0..24).map(|i| ((i * 7) % 11) as f32 * 0.7 - 3.0).collect();
        let mut gradient = vec![0.0; 24];
        event_loss(&question(), &log_odds, 2, &mut gradient);
        for place in 0..24 {
            let shifted = |by: f32| {
                let mut log_odds = log_odds.clone();
                log_odds[place] += by;
                event_loss(&question(), &log_odds, 2, &mut [0.0; 24])
            };
            let slope = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
            assert!((slope - f64::from(gradient[place])).abs() < 1e-3, "{place}: {slope}");
        }
    }

    #[test]
    fn one_sure_tick_finds_an_event_and_ticks_of_no_question_cost_nothing() {
        let mut log_odds = vec![-8.0; 12];
        let loss = |log_odds: &[f32]| event_loss(&question(), log_odds, 1, &mut [0.0; 12]);
        let unfound = loss(&log_odds);
        log_odds[4] = 8.0;
        assert_eq!(loss(&log_odds), unfound);
        log_odds[3] = 8.0;
        assert!(loss(&log_odds) < unfound - 7.0, "found by the tick after it");
        log_odds[3] = -8.0;
        log_odds[6] = 8.0;
        assert!(loss(&log_odds) < unfound - 7.0);
        log_odds[0] = 8.0;
        assert!(loss(&log_odds) > 0.2);
    }
}
