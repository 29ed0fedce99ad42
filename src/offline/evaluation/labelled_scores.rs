//! One instrument's scores beside its events: what is detected, and what would be a false alarm.
//!
//! Everything here is about a single instrument; the figures over all of them are made by the module above.

use super::episodes::Episodes;
use super::labels::check_events;
use super::{EvaluationError, Event, GRACE_TICKS, IGNORED_TICKS};

/// Holds one instrument's scores, its events, and what is derived from both once for all thresholds.
pub(super) struct LabelledScores<'a> {
    /// The instrument.
    pub instrument: &'a str,
    /// One score per tick, free of NaN.
    pub scores: Vec<f64>,
    /// The labelled events.
    pub events: &'a [Event],
    /// The highest score of each event, grace included.
    pub event_maxima: Vec<f64>,
    /// The ticks that are not ignored, ascending: at or above a threshold they are false alarms.
    pub background: Vec<usize>,
}

impl<'a> LabelledScores<'a> {
    /// Puts scores beside events; NaN becomes −∞.
    pub fn new(instrument: &'a str, scores: &[f64], events: &'a [Event]) -> Result<Self, EvaluationError> {
        let ticks = scores.len();
        check_events(instrument, events, ticks)?;
        let scores: Vec<f64> = scores
            .iter()
            .map(|&score| if score.is_nan() { f64::NEG_INFINITY } else { score })
            .collect();
        let highest = |event: &Event| {
            with_grace(&scores, event)
                .iter()
                .copied()
                .fold(f64::NEG_INFINITY, f64::max)
        };
        let event_maxima = events.iter().map(highest).collect();
        let background = background_ticks(ticks, events);
        Ok(Self {
            instrument,
            scores,
            events,
            event_maxima,
            background,
        })
    }

    /// Counts the false alarms at one threshold.
    pub fn false_alarms(&self, threshold: f64) -> usize {
        let mut episodes = Episodes::default();
        for &tick in self.background.iter().filter(|&&tick| self.scores[tick] >= threshold) {
            episodes.add(tick);
        }
        episodes.cost()
    }

    /// Gives the ticks from start to first detection of each detected event.
    pub fn detection_delays(&self, threshold: f64) -> impl Iterator<Item = usize> {
        self.events
            .iter()
            .filter_map(move |event| self.detection_delay(event, threshold))
    }

    /// Gives the ticks from start to first detection of one event; none if it is missed.
    pub fn detection_delay(&self, event: &Event, threshold: f64) -> Option<usize> {
        with_grace(&self.scores, event)
            .iter()
            .position(|&score| score >= threshold)
    }
}

/// Gives the share of events whose highest score reaches the threshold; NaN if there are none.
pub(super) fn recall(event_maxima: &[f64], threshold: f64) -> f64 {
    let detected = event_maxima.iter().filter(|&&maximum| maximum >= threshold).count();
    detected as f64 / event_maxima.len() as f64
}

/// Gives the scores in which the event can be detected.
fn with_grace<'s>(scores: &'s [f64], event: &Event) -> &'s [f64] {
    &scores[event.start..scores.len().min(event.end + GRACE_TICKS + 1)]
}

/// Lists the ticks outside every event and the ignored ticks after it.
fn background_ticks(ticks: usize, events: &[Event]) -> Vec<usize> {
    let mut ignored = vec![false; ticks];
    for event in events {
        ignored[event.start..ticks.min(event.end + IGNORED_TICKS + 1)].fill(true);
    }
    (0..ticks).filter(|&tick| !ignored[tick]).collect()
}
