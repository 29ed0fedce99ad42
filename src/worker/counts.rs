//! What a worker counts: verdicts, and errors that librdkafka reports.

use rdkafka::error::KafkaError;

use crate::metrics::Metrics;
use crate::pipeline::detector::{Effects, Outcome};
use crate::pipeline::verdict::{RecordOutcome, by_record};

/// Counts the verdicts of a batch.
pub(super) fn count_verdicts(metrics: &Metrics, effects: &Effects) {
    let mut counts = [0_u64; Outcome::ALL.len()];
    let (mut folded, mut above, mut allowed, mut ahead) = (0, 0, 0.0, 0);
    for verdict in &effects.verdicts {
        counts[verdict.outcome as usize] += 1;
        folded += u64::from(verdict.is_folded);
        ahead += u64::from(verdict.is_stamp_ahead);
        for field in verdict.odd.names() {
            metrics.odd_fields.with_label_values(&[field]).inc();
        }
        if let Some(guard) = verdict.guard {
            metrics.guard_findings.with_label_values(&[guard.name()]).inc();
        }
        if verdict.outcome == Outcome::Scored {
            metrics.anomaly_score.observe(f64::from(verdict.score));
            above += u64::from(verdict.is_above);
            allowed += verdict.allowed_share;
        }
    }
    for (outcome, count) in Outcome::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0) {
        metrics.ticks.with_label_values(&[outcome.name()]).inc_by(count);
    }
    count_records(metrics, effects);
    metrics.windows_scored.inc_by(counts[Outcome::Scored as usize]);
    metrics.alerts_grouped.inc_by(folded);
    metrics.stamps_ahead.inc_by(ahead);
    metrics.ticks_above_threshold.inc_by(above);
    metrics.false_alarms_allowed.inc_by(allowed);
}

/// Counts the records of a batch by what became of them.
fn count_records(metrics: &Metrics, effects: &Effects) {
    let mut counts = [0_u64; RecordOutcome::ALL.len()];
    for verdicts in by_record(&effects.verdicts) {
        let outcome = RecordOutcome::of(verdicts);
        let place = RecordOutcome::ALL.iter().position(|known| *known == outcome);
        counts[place.unwrap_or_default()] += 1;
    }
    for (outcome, count) in RecordOutcome::ALL
        .into_iter()
        .zip(counts)
        .filter(|(_, count)| *count > 0)
    {
        metrics.records.with_label_values(&[outcome.name()]).inc_by(count);
    }
}

/// Counts an error under its code.
pub(super) fn count_error(metrics: &Metrics, error: &KafkaError) {
    let code = error.rdkafka_error_code();
    let label = code.map_or_else(|| "other".into(), |code| format!("{code:?}"));
    metrics.kafka_errors.with_label_values(&[label.as_str()]).inc();
}
