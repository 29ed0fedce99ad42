//! The evaluation: how well scores or alerts find labelled events, against how many false alarms they cost.
//!
//! It computes what `score.py` of the tick benchmark computes, by the same definitions and within 1e-9:
//!
//! - An event is **detected** at a threshold when some tick from its start to [`GRACE_TICKS`] after its end scores at
//!   least the threshold.
//! - A **false alarm** is an episode of such ticks outside the events and the [`IGNORED_TICKS`] after each; a long
//!   episode costs more than one (see `episodes.rs`).
//! - One threshold serves all instruments; a false-alarm budget of one per 10,000 or per 1,000 ticks chooses it.
//! - No figure is point-adjusted: one detected tick never marks the other ticks of its event as found.
//!
//! It knows neither the model nor the detector, and of files only the labels; scores and alerts come as plain numbers.

mod alarm_curve;
mod breakdown;
mod episodes;
mod error;
mod figures;
mod labelled_scores;
mod labels;
mod soft_precision;

use std::collections::{BTreeMap, BTreeSet};

pub use alarm_curve::CurvePoint;
pub use breakdown::{Breakdown, EventFinding, FalseAlarm, KindFinding, breakdown};
pub use episodes::EPISODE_TICKS;
pub use error::EvaluationError;
pub use figures::{AlertFigures, Figures, HEAD, PerBudget, line, table};
pub use labels::{Event, Labels, check_labels, read_labels};

pub use crate::inject::GRACE_TICKS;

use alarm_curve::AlarmCurve;
use figures::{quantile, round_to_hundredths};
use labelled_scores::{LabelledScores, recall};

/// Ticks after an event's end that are never a false alarm, since a window of that many ticks may still hold the anomaly
/// (the benchmark's choice).
pub const IGNORED_TICKS: usize = 64;

/// The score that stands for an alert; ticks without one score −∞.
const ALERTED: f64 = 1.0;

/// Holds the scores of one instrument's test ticks.
#[derive(Debug, Clone, PartialEq)]
pub struct InstrumentScores {
    /// The instrument, as the labels name it.
    pub instrument: String,
    /// One score per test tick in arrival order, higher for more anomalous. Infinities are allowed; NaN counts as −∞.
    pub scores: Vec<f64>,
}

/// Holds the alerts on one instrument's test ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstrumentAlerts {
    /// The instrument, as the labels name it.
    pub instrument: String,
    /// The number of test ticks (ticks).
    pub ticks: usize,
    /// The alerted ticks (tick numbers, 0 to `ticks` − 1), in any order; repeats count once.
    pub alerted: Vec<usize>,
}

/// Computes all figures of one score per tick.
///
/// Every instrument of the test set belongs in `scores`, since its ticks count for the budget; labels of other
/// instruments are left out. With an instrument that has no event, the soft average precision is NaN, as in score.py.
///
/// # Errors
/// Returns an error when an instrument is given twice, an event lies outside its instrument's ticks or ends before it
/// starts, or the labels hold no event of these instruments.
pub fn evaluate(scores: &[InstrumentScores], labels: &Labels) -> Result<Figures, EvaluationError> {
    let instruments = labelled(scores, labels)?;
    let maxima: Vec<f64> = instruments
        .iter()
        .flat_map(|instrument| instrument.event_maxima.iter().copied())
        .collect();
    let ticks = instruments.iter().map(|instrument| instrument.scores.len()).sum();

    let curve = AlarmCurve::new(&instruments);
    let thresholds = PerBudget::of(|ticks_per_alarm| curve.lowest_within(ticks / ticks_per_alarm));
    let recalls = thresholds.map(|threshold| recall(&maxima, threshold));
    let curves: Vec<AlarmCurve> = instruments
        .iter()
        .map(|own| AlarmCurve::new(std::slice::from_ref(own)))
        .collect();
    let oracle = PerBudget::of(|ticks_per_alarm| oracle_recall(&instruments, &curves, ticks_per_alarm));

    let by_kind = maxima_by_kind(&instruments);
    let delays = detection_delays(&instruments, thresholds.per_1k);
    let soft_precisions = instruments.iter().map(soft_precision::soft_average_precision);
    Ok(Figures {
        recall_10k: recalls.per_10k,
        oracle_recall_10k: oracle.per_10k,
        recall_1k: recalls.per_1k,
        oracle_recall_1k: oracle.per_1k,
        event_average_precision: curve.event_average_precision(&maxima),
        soft_average_precision: soft_precisions.sum::<f64>() / instruments.len() as f64,
        delay_median_ticks: quantile(&delays, 0.5),
        delay_p90_ticks: quantile(&delays, 0.9),
        kinds: by_kind
            .iter()
            .map(|(&kind, maxima)| {
                (
                    kind.to_owned(),
                    thresholds.map(|threshold| round_to_hundredths(recall(maxima, threshold))),
                )
            })
            .collect(),
        counts: counts(&by_kind),
        by_instrument: recall_by_instrument(&instruments, thresholds.per_1k),
        thresholds,
        events: maxima.len(),
        ticks,
    })
}

/// Computes the figures of fixed alerts, which leave no threshold to choose.
///
/// Every instrument of the test set belongs in `alerts`, also one without any; labels of other instruments are left out.
///
/// # Errors
/// Returns an error when an alert lies outside its instrument's ticks, and where [`evaluate`] does.
pub fn evaluate_alerts(alerts: &[InstrumentAlerts], labels: &Labels) -> Result<AlertFigures, EvaluationError> {
    let scores: Vec<InstrumentScores> = alerts.iter().map(alert_scores).collect::<Result<_, _>>()?;
    let instruments = labelled(&scores, labels)?;
    let by_kind = maxima_by_kind(&instruments);

    let events: usize = by_kind.values().map(Vec::len).sum();
    let detected = by_kind
        .values()
        .flatten()
        .filter(|&&maximum| maximum >= ALERTED)
        .count();
    let false_alarms: usize = instruments
        .iter()
        .map(|instrument| instrument.false_alarms(ALERTED))
        .sum();
    let ticks: usize = alerts.iter().map(|instrument| instrument.ticks).sum();
    let delays = detection_delays(&instruments, ALERTED);
    Ok(AlertFigures {
        recall: detected as f64 / events as f64,
        false_alarms,
        false_alarms_per_10k: false_alarms as f64 / ticks as f64 * 1e4,
        precision: detected as f64 / (detected + false_alarms).max(1) as f64,
        f1: (2 * detected) as f64 / (detected + false_alarms + events) as f64,
        delay_median_ticks: (!delays.is_empty()).then(|| quantile(&delays, 0.5)),
        kinds: by_kind
            .iter()
            .map(|(&kind, maxima)| (kind.to_owned(), round_to_hundredths(recall(maxima, ALERTED))))
            .collect(),
        counts: counts(&by_kind),
        events,
        ticks,
        by_instrument: recall_by_instrument(&instruments, ALERTED),
    })
}

/// Turns one instrument's alerts into scores: [`ALERTED`] where one is, −∞ elsewhere.
fn alert_scores(alerts: &InstrumentAlerts) -> Result<InstrumentScores, EvaluationError> {
    let InstrumentAlerts {
        instrument,
        ticks,
        alerted,
    } = alerts;
    let mut scores = vec![f64::NEG_INFINITY; *ticks];
    for &tick in alerted {
        let outside = || EvaluationError::AlertOutside {
            instrument: instrument.clone(),
            tick,
            ticks: *ticks,
        };
        *scores.get_mut(tick).ok_or_else(outside)? = ALERTED;
    }
    Ok(InstrumentScores {
        instrument: instrument.clone(),
        scores,
    })
}

/// Puts each instrument's scores beside its events.
fn labelled<'a>(
    scores: &'a [InstrumentScores],
    labels: &'a Labels,
) -> Result<Vec<LabelledScores<'a>>, EvaluationError> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = scores.iter().find(|own| !seen.insert(&own.instrument)) {
        return Err(EvaluationError::RepeatedInstrument {
            instrument: twice.instrument.clone(),
        });
    }
    let instruments: Vec<LabelledScores> = scores
        .iter()
        .map(|InstrumentScores { instrument, scores }| {
            LabelledScores::new(instrument, scores, labels.get(instrument).map_or(&[], Vec::as_slice))
        })
        .collect::<Result<_, _>>()?;
    if instruments.iter().all(|instrument| instrument.events.is_empty()) {
        let scored = scores.iter().map(|own| own.instrument.as_str());
        return Err(EvaluationError::no_events(labels.keys().map(String::as_str), scored));
    }
    Ok(instruments)
}

/// Gives the event recall when each instrument has the best threshold for a budget of its own, at least one false alarm.
fn oracle_recall(instruments: &[LabelledScores], curves: &[AlarmCurve], ticks_per_alarm: usize) -> f64 {
    let mut detected = 0;
    let mut events = 0;
    for (instrument, curve) in instruments.iter().zip(curves) {
        let budget = (instrument.scores.len() / ticks_per_alarm).max(1);
        let threshold = curve.lowest_within(budget);
        detected += instrument
            .event_maxima
            .iter()
            .filter(|&&maximum| maximum >= threshold)
            .count();
        events += instrument.events.len();
    }
    detected as f64 / events as f64
}

/// Gives each instrument's recall, rounded to 0.01; NaN for one without events.
fn recall_by_instrument(instruments: &[LabelledScores], threshold: f64) -> BTreeMap<String, f64> {
    let rounded = |own: &LabelledScores| round_to_hundredths(recall(&own.event_maxima, threshold));
    instruments
        .iter()
        .map(|own| (own.instrument.to_owned(), rounded(own)))
        .collect()
}

/// Groups the events' highest scores by kind of event.
fn maxima_by_kind<'a>(instruments: &[LabelledScores<'a>]) -> BTreeMap<&'a str, Vec<f64>> {
    let mut by_kind: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for instrument in instruments {
        for (event, &maximum) in instrument.events.iter().zip(&instrument.event_maxima) {
            by_kind.entry(&event.kind).or_default().push(maximum);
        }
    }
    by_kind
}

/// Counts the events of each kind.
fn counts(by_kind: &BTreeMap<&str, Vec<f64>>) -> BTreeMap<String, usize> {
    by_kind
        .iter()
        .map(|(&kind, maxima)| (kind.to_owned(), maxima.len()))
        .collect()
}

/// Lists the ticks from start to first detection of each detected event, ascending.
fn detection_delays(instruments: &[LabelledScores], threshold: f64) -> Vec<usize> {
    let mut delays: Vec<usize> = instruments
        .iter()
        .flat_map(|own| own.detection_delays(threshold))
        .collect();
    delays.sort_unstable();
    delays
}

#[cfg(test)]
mod tests;
