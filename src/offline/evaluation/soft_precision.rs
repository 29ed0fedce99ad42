//! The soft average precision: how well scores rank an instrument's ticks, with labels that fade out after each event.
//!
//! Its mean over instruments is the benchmark's sVUS. Unlike recall it wants every tick of an event to score high.

use super::Event;
use super::labelled_scores::LabelledScores;

/// Lengths over which the label fades after an event's end (ticks; the benchmark's choice).
const TAILS_TICKS: [usize; 5] = [0, 8, 16, 32, 64];

/// Computes one instrument's average precision, as the mean over all tail lengths; NaN if it has no events.
///
/// Ticks with equal finite scores share a threshold. Infinite scores are each on their own, in arrival order.
pub(super) fn soft_average_precision(instrument: &LabelledScores) -> f64 {
    if instrument.events.is_empty() {
        return f64::NAN;
    }
    let scores = &instrument.scores;
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&left, &right| scores[right].total_cmp(&scores[left])); // stable: arrival order among equals
    let precisions =
        TAILS_TICKS.map(|tail| average_precision(scores, &order, &soft_labels(scores.len(), instrument.events, tail)));
    precisions.iter().sum::<f64>() / precisions.len() as f64
}

/// Computes the sum of recall gain × precision over the thresholds, from the highest down.
///
/// `order`: the ticks by falling score. `weights`: one soft label per tick (0–1), at least one above 0.
fn average_precision(scores: &[f64], order: &[usize], weights: &[f64]) -> f64 {
    let same_threshold = |&left: &usize, &right: &usize| scores[left] == scores[right] && scores[left].is_finite();
    let mut area = 0.0;
    let mut found = 0.0;
    let mut rank = 0;
    for tied in order.chunk_by(same_threshold) {
        let gain: f64 = tied.iter().map(|&tick| weights[tick]).sum();
        found += gain;
        rank += tied.len();
        area += gain * found / rank as f64;
    }
    area / found
}

/// Gives each tick a label: 1 in events, √(1 − k / (tail + 1)) on the k-th tick after one (k ≤ tail), 0 elsewhere.
fn soft_labels(ticks: usize, events: &[Event], tail: usize) -> Vec<f64> {
    let mut labels = vec![0.0_f64; ticks];
    for event in events {
        labels[event.start..=event.end].fill(1.0);
        for (k, label) in (1..=tail).zip(&mut labels[event.end + 1..]) {
            *label = label.max((1.0 - k as f64 / (tail + 1) as f64).sqrt());
        }
    }
    labels
}
