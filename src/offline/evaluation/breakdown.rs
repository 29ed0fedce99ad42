//! The breakdown: what stands behind the figures, event by event and false alarm by false alarm.
//!
//! It judges by the thresholds that [`evaluate`](super::evaluate) has chosen and chooses none of its own.

use std::collections::BTreeMap;

use super::alarm_curve::{AlarmCurve, CurvePoint};
use super::episodes::JOIN_TICKS;
use super::figures::quantile;
use super::labelled_scores::{LabelledScores, recall};
use super::{EvaluationError, Event, InstrumentScores, Labels, PerBudget, labelled};

/// Holds what [`breakdown`] finds.
#[derive(Debug, Clone, PartialEq)]
pub struct Breakdown {
    /// All events, by instrument in the order of the scores, then in the order of the labels.
    pub events: Vec<EventFinding>,
    /// All false alarms at the 1/1k threshold, one per episode, by instrument, then by tick.
    pub false_alarms: Vec<FalseAlarm>,
    /// The event precision-recall curve, from the highest threshold down.
    pub curve: Vec<CurvePoint>,
    /// The point at the 1/10k threshold.
    pub at_10k: CurvePoint,
    /// The point at the 1/1k threshold.
    pub at_1k: CurvePoint,
}

/// Says what became of one labelled event.
#[derive(Debug, Clone, PartialEq)]
pub struct EventFinding {
    /// Index of the instrument in the scores.
    pub instrument: usize,
    /// The first tick.
    pub start: usize,
    /// The last tick, itself included.
    pub end: usize,
    /// The kind.
    pub kind: String,
    /// The highest score in which it can be detected, grace included.
    pub peak: f64,
    /// Ticks from start to detection at the 1/10k threshold; none if it is missed.
    pub delay_10k_ticks: Option<usize>,
    /// Ticks from start to detection at the 1/1k threshold; none if it is missed.
    pub delay_1k_ticks: Option<usize>,
}

/// Says where one false alarm is; a long one may cost more than one.
#[derive(Debug, Clone, PartialEq)]
pub struct FalseAlarm {
    /// Index of the instrument in the scores.
    pub instrument: usize,
    /// The first tick at or above the threshold.
    pub first: usize,
    /// The last tick at or above the threshold, itself included.
    pub last: usize,
    /// The tick with the highest score; the first of several.
    pub peak_tick: usize,
    /// Its score.
    pub peak: f64,
}

/// Says what became of all events of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct KindFinding {
    /// The kind.
    pub kind: String,
    /// Number of events.
    pub events: usize,
    /// Events found at the 1/10k threshold.
    pub found_10k: usize,
    /// Events found at the 1/1k threshold.
    pub found_1k: usize,
    /// Median delay of those found at the 1/1k threshold (ticks, ≥ 0); NaN if none is.
    pub delay_median_ticks: f64,
}

impl Breakdown {
    /// Sums the events up by kind, in the order of names.
    pub fn kinds(&self) -> Vec<KindFinding> {
        let mut by_kind: BTreeMap<&str, Vec<&EventFinding>> = BTreeMap::new();
        for event in &self.events {
            by_kind.entry(&event.kind).or_default().push(event);
        }
        let sum_up = |(kind, events): (&str, Vec<&EventFinding>)| {
            let mut delays: Vec<usize> = events.iter().filter_map(|event| event.delay_1k_ticks).collect();
            delays.sort_unstable();
            KindFinding {
                kind: kind.to_owned(),
                events: events.len(),
                found_10k: events.iter().filter(|event| event.delay_10k_ticks.is_some()).count(),
                found_1k: delays.len(),
                delay_median_ticks: quantile(&delays, 0.5),
            }
        };
        by_kind.into_iter().map(sum_up).collect()
    }
}

/// Breaks the figures down; `thresholds` are those of [`evaluate`](super::evaluate) for the same scores and labels.
///
/// # Errors
/// Where [`evaluate`](super::evaluate) returns one.
pub fn breakdown(
    scores: &[InstrumentScores],
    labels: &Labels,
    thresholds: PerBudget,
) -> Result<Breakdown, EvaluationError> {
    let instruments = labelled(scores, labels)?;
    let maxima: Vec<f64> = instruments
        .iter()
        .flat_map(|own| own.event_maxima.iter().copied())
        .collect();
    let numbered = || instruments.iter().enumerate();
    Ok(Breakdown {
        events: numbered()
            .flat_map(|(index, own)| events_of(index, own, thresholds))
            .collect(),
        false_alarms: numbered()
            .flat_map(|(index, own)| false_alarms_of(index, own, thresholds.per_1k))
            .collect(),
        curve: AlarmCurve::new(&instruments).precision_recall(&maxima),
        at_10k: point_at(&instruments, &maxima, thresholds.per_10k),
        at_1k: point_at(&instruments, &maxima, thresholds.per_1k),
    })
}

/// Lists one instrument's events.
fn events_of(instrument: usize, own: &LabelledScores, thresholds: PerBudget) -> Vec<EventFinding> {
    let finding = |(event, &peak): (&Event, &f64)| EventFinding {
        instrument,
        start: event.start,
        end: event.end,
        kind: event.kind.clone(),
        peak,
        delay_10k_ticks: own.detection_delay(event, thresholds.per_10k),
        delay_1k_ticks: own.detection_delay(event, thresholds.per_1k),
    };
    own.events.iter().zip(&own.event_maxima).map(finding).collect()
}

/// Joins one instrument's false alarms to episodes, each with its highest tick.
fn false_alarms_of(instrument: usize, own: &LabelledScores, threshold: f64) -> Vec<FalseAlarm> {
    let mut alarms: Vec<FalseAlarm> = Vec::new();
    for &tick in own.background.iter().filter(|&&tick| own.scores[tick] >= threshold) {
        let score = own.scores[tick];
        match alarms.last_mut().filter(|alarm| tick <= alarm.last + JOIN_TICKS) {
            Some(alarm) => {
                alarm.last = tick;
                if score > alarm.peak {
                    (alarm.peak_tick, alarm.peak) = (tick, score);
                }
            }
            None => alarms.push(FalseAlarm {
                instrument,
                first: tick,
                last: tick,
                peak_tick: tick,
                peak: score,
            }),
        }
    }
    alarms
}

/// Counts at one threshold.
fn point_at(instruments: &[LabelledScores], maxima: &[f64], threshold: f64) -> CurvePoint {
    CurvePoint {
        threshold,
        recall: recall(maxima, threshold),
        detected: maxima.iter().filter(|&&maximum| maximum >= threshold).count(),
        false_alarms: instruments.iter().map(|own| own.false_alarms(threshold)).sum(),
    }
}
