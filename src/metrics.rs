//! Every metric of the daemon, in one place; the catalogue in `docs/operations.md` lists the same names.
//!
//! Labels are bounded: partition, kind, severity, reason, never an instrument.

mod process;

use prometheus::{
    Counter, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use crate::pipeline::alert::{AlertState, Mode, Severity};
use crate::pipeline::decode::OddFields;
use crate::pipeline::detector::Outcome;
use crate::pipeline::guard::Guard;
use crate::pipeline::verdict::RecordOutcome;
use crate::status::ModelState;
use process::ProcessMetrics;

/// All metrics.
pub struct Metrics {
    registry: Registry,
    /// Records polled.
    pub records_in: IntCounter,
    /// Records by what became of them.
    pub records: IntCounterVec,
    /// Ticks by what became of them.
    pub ticks: IntCounterVec,
    /// Optional fields that could not be read, by name.
    pub odd_fields: IntCounterVec,
    /// Windows scored.
    pub windows_scored: IntCounter,
    /// Scores of all ticks (−log₁₀ of the p-value).
    pub anomaly_score: Histogram,
    /// Scored ticks at or above their threshold.
    pub ticks_above_threshold: IntCounter,
    /// How many of the scored ticks could have been, by the budget: the sum of their shares.
    pub false_alarms_allowed: Counter,
    /// From a record's stamp to its alert being handed to the producer.
    pub tick_to_alert_seconds: Histogram,
    /// Records not yet polled, per partition.
    pub lag_records: IntGaugeVec,
    /// Alert revisions.
    pub alerts: IntCounterVec,
    /// Alerts that were folded into a shock's.
    pub alerts_grouped: IntCounter,
    /// Records whose stamp was not believed.
    pub stamps_ahead: IntCounter,
    /// Records that the broker had deleted before they were read.
    pub records_passed_over: IntCounter,
    /// Partitions whose offsets have begun again.
    pub partitions_begun_anew: IntCounter,
    /// Open alerts.
    pub alerts_open: IntGauge,
    /// Dead letters.
    pub dead_letters: IntCounterVec,
    /// Guard findings.
    pub guard_findings: IntCounterVec,
    /// Instruments remembered, by whether the model has a calibration for them.
    pub instruments: IntGaugeVec,
    /// Alerts and dead letters not acknowledged.
    pub in_flight_records: IntGauge,
    /// Deliveries that failed and were sent again.
    pub delivery_failures: IntCounter,
    /// Commits by result.
    pub commits: IntCounterVec,
    /// Time for one batch, from the first record to the last effect.
    pub batch_seconds: Histogram,
    /// Version of the model at work.
    pub model_version: IntGauge,
    /// What kind of model that is: 1 for its state, 0 for the others.
    pub model_state: IntGaugeVec,
    /// When it was made, if it is one's own.
    pub model_made_timestamp_seconds: Gauge,
    /// Event time of the newest tick that it was made from, if it is one's own.
    pub model_newest_tick_timestamp_seconds: Gauge,
    /// Versions of the model store that could not be read.
    pub models_unreadable: IntCounter,
    /// Trainings by outcome.
    pub trainings: IntCounterVec,
    /// How far the present training has come.
    pub training_progress_ratio: Gauge,
    /// Time that a swap keeps a worker from its ticks.
    pub swap_pause_seconds: Histogram,
    /// Partitions that began, by whether there was state of them.
    pub restores: IntCounterVec,
    /// Bytes of state that were written.
    pub changelog_bytes: IntCounter,
    /// Errors that librdkafka reported.
    pub kafka_errors: IntCounterVec,
    /// Version of the program.
    pub build_info: GaugeVec,
}

/// Results of commits.
pub const COMMIT_RESULTS: [&str; 2] = ["ok", "failed"];
/// Outcomes of restores.
pub const RESTORE_OUTCOMES: [&str; 2] = ["restored", "cold"];
/// Outcomes of trainings.
pub const TRAINING_OUTCOMES: [&str; 5] = ["accepted", "calibrated", "refused", "failed", "too_few_ticks"];
/// Modes of instruments.
const MODES: [Mode; 2] = [Mode::Learning, Mode::Scoring];

/// Makes metrics and registers them; a name given twice or a malformed one is a bug in this file.
struct Maker {
    registry: Registry,
}

impl Maker {
    fn register<M: prometheus::core::Collector + Clone + 'static>(&self, metric: prometheus::Result<M>) -> M {
        #[expect(
            clippy::expect_used,
            reason = "names and labels are literals of this file; a test makes them all"
        )]
        let metric = metric.expect("a well-formed metric");
        #[expect(
            clippy::expect_used,
            reason = "names are literals of this file; a test makes them all"
        )]
        self.registry
            .register(Box::new(metric.clone()))
            .expect("a name of its own");
        metric
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn histogram(&self, name: &str, help: &str, buckets: Vec<f64>) -> Histogram {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)))
    }

    /// Adds what the kernel tells of the process; gives the registry.
    fn with_process(self) -> Registry {
        #[expect(clippy::expect_used, reason = "names are literals; a test makes them all")]
        ProcessMetrics::new()
            .and_then(|process| self.registry.register(Box::new(process)))
            .expect("well-formed metrics with names of their own");
        self.registry
    }
}

/// Upper bounds of the scores' buckets: half decades where thresholds lie, and a last one that holds every score there is
/// ([`SURPRISE_MAX`](crate::pipeline::tail::SURPRISE_MAX)), so that no quantile is cut off.
fn score_buckets() -> Vec<f64> {
    let half_decades = (1..=16).map(|half| 0.5 * f64::from(half));
    half_decades.chain([9.0, 10.0, 11.0, 12.5]).collect()
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Makes all metrics, those with known labels at zero, so that a first increase is seen.
    pub fn new() -> Self {
        let make = Maker {
            registry: Registry::new(),
        };
        let seconds = |start: f64, count| (0..count).map(|step| start * f64::from(1 << step)).collect::<Vec<_>>();
        let metrics = Metrics {
            records_in: make.counter("tapewatch_records_in_total", "Records polled."),
            records: make.counters(
                "tapewatch_records_total",
                "Records by what became of them.",
                &["outcome"],
            ),
            ticks: make.counters(
                "tapewatch_ticks_total",
                "Ticks by what became of them, and records that hold none.",
                &["outcome"],
            ),
            odd_fields: make.counters(
                "tapewatch_odd_fields_total",
                "Optional fields that were there and could not be read; the ticks went on without them.",
                &["field"],
            ),
            windows_scored: make.counter("tapewatch_windows_scored_total", "Windows scored by a model."),
            anomaly_score: make.histogram(
                "tapewatch_anomaly_score",
                "Scores of all ticks (minus log10 of the p-value).",
                score_buckets(),
            ),
            ticks_above_threshold: make.counter(
                "tapewatch_ticks_above_threshold_total",
                "Scored ticks at or above their threshold, real anomalies among them.",
            ),
            false_alarms_allowed: make.register(Counter::new(
                "tapewatch_false_alarms_allowed_total",
                "False alarms that the budget has allowed over the scored ticks.",
            )),
            tick_to_alert_seconds: make.histogram(
                "tapewatch_tick_to_alert_seconds",
                "Time from a record's stamp to its opened alert.",
                seconds(0.001, 16),
            ),
            lag_records: make.gauges(
                "tapewatch_lag_records",
                "Records not yet polled.",
                &["topic", "partition"],
            ),
            alerts: make.counters(
                "tapewatch_alerts_total",
                "Alert revisions.",
                &["state", "kind", "severity"],
            ),
            alerts_grouped: make.counter(
                "tapewatch_alerts_grouped_total",
                "Alerts folded into a shock's and not published one by one.",
            ),
            stamps_ahead: make.counter(
                "tapewatch_stamps_ahead_total",
                "Records whose stamp lies too far ahead of the wall clock to be believed.",
            ),
            records_passed_over: make.counter(
                "tapewatch_records_passed_over_total",
                "Records that the broker had deleted before they were read.",
            ),
            partitions_begun_anew: make.counter(
                "tapewatch_partitions_begun_anew_total",
                "Partitions whose offsets have begun again: their topic was made anew.",
            ),
            alerts_open: make.gauge("tapewatch_alerts_open", "Open alerts."),
            dead_letters: make.counters("tapewatch_dead_letters_total", "Dead letters.", &["reason"]),
            guard_findings: make.counters("tapewatch_guard_findings_total", "Guard findings.", &["guard"]),
            instruments: make.gauges(
                "tapewatch_instruments",
                "Instruments remembered, by whether the model has a calibration for them.",
                &["mode"],
            ),
            in_flight_records: make.gauge(
                "tapewatch_in_flight_records",
                "Alerts and dead letters not acknowledged.",
            ),
            delivery_failures: make.counter("tapewatch_delivery_failures_total", "Deliveries sent again."),
            commits: make.counters("tapewatch_commits_total", "Offset commits.", &["result"]),
            batch_seconds: make.histogram("tapewatch_batch_seconds", "Time for one batch.", seconds(0.000_25, 14)),
            model_version: make.gauge(
                "tapewatch_model_version",
                "Version of the model at work; 0 for the base model and before the first.",
            ),
            model_state: make.gauges(
                "tapewatch_model_state",
                "1 for the state of the model at work: none, base, calibrated or trained.",
                &["state"],
            ),
            model_made_timestamp_seconds: make.register(Gauge::new(
                "tapewatch_model_made_timestamp_seconds",
                "When the model at work was made (seconds since 1970); 0 unless it is calibrated or trained.",
            )),
            model_newest_tick_timestamp_seconds: make.register(Gauge::new(
                "tapewatch_model_newest_tick_timestamp_seconds",
                "Newest tick the model at work was made from (seconds since 1970); 0 unless it is calibrated or trained.",
            )),
            models_unreadable: make.counter(
                "tapewatch_models_unreadable_total",
                "Versions in the model store that could not be read.",
            ),
            trainings: make.counters("tapewatch_trainings_total", "Trainings.", &["outcome"]),
            training_progress_ratio: make.register(Gauge::new(
                "tapewatch_training_progress_ratio",
                "How far the present training has come (0 to 1).",
            )),
            swap_pause_seconds: make.histogram(
                "tapewatch_swap_pause_seconds",
                "Time that a model swap keeps a worker from its ticks.",
                seconds(0.000_1, 16),
            ),
            restores: make.counters(
                "tapewatch_restores_total",
                "Partitions that began, by outcome.",
                &["outcome"],
            ),
            changelog_bytes: make.counter("tapewatch_changelog_bytes_total", "Bytes of state written to the changelog."),
            kafka_errors: make.counters(
                "tapewatch_kafka_errors_total",
                "Errors that librdkafka reported.",
                &["code"],
            ),
            build_info: make.register(GaugeVec::new(
                Opts::new("tapewatch_build_info", "Version of the program."),
                &["version"],
            )),
            registry: make.with_process(),
        };
        metrics.start_at_zero();
        metrics
    }

    fn start_at_zero(&self) {
        for outcome in RecordOutcome::ALL {
            self.records.with_label_values(&[outcome.name()]);
        }
        for outcome in Outcome::ALL {
            self.ticks.with_label_values(&[outcome.name()]);
        }
        for field in OddFields::NAMES {
            self.odd_fields.with_label_values(&[field]);
        }
        let kinds = Guard::ALL.iter().map(|guard| guard.name()).chain(["anomaly", "shock"]);
        for kind in kinds {
            for state in [AlertState::Opened, AlertState::Updated, AlertState::Resolved] {
                for severity in [Severity::Warning, Severity::Critical] {
                    self.alerts.with_label_values(&[state.name(), kind, severity.name()]);
                }
            }
        }
        for guard in Guard::ALL {
            self.guard_findings.with_label_values(&[guard.name()]);
        }
        COMMIT_RESULTS
            .iter()
            .for_each(|result| drop(self.commits.with_label_values(&[*result])));
        RESTORE_OUTCOMES
            .iter()
            .for_each(|outcome| drop(self.restores.with_label_values(&[*outcome])));
        TRAINING_OUTCOMES
            .iter()
            .for_each(|outcome| drop(self.trainings.with_label_values(&[*outcome])));
        MODES
            .iter()
            .for_each(|mode| drop(self.instruments.with_label_values(&[mode.name()])));
        self.show_state(ModelState::None);
        self.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    }

    /// Shows which kind of model is at work.
    pub fn show_state(&self, state: ModelState) {
        for each in ModelState::ALL {
            self.model_state
                .with_label_values(&[each.name()])
                .set(i64::from(each == state));
        }
    }

    /// Gives all metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => format!("# cannot encode the metrics: {error}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tail::SURPRISE_MAX;

    #[test]
    fn last_bucket_of_the_scores_holds_the_highest_there_is() {
        let last = score_buckets().into_iter().next_back().unwrap();
        assert!(last > f64::from(SURPRISE_MAX), "{last}");
        let metrics = Metrics::new();
        metrics.anomaly_score.observe(f64::from(SURPRISE_MAX));
        let bucket = format!("tapewatch_anomaly_score_bucket{{le=\"{last}\"}} 1\n");
        assert!(metrics.text().contains(&bucket), "{}", metrics.text());
    }

    #[test]
    fn every_metric_is_in_the_docs_and_no_other() {
        let catalogue = include_str!("../docs/operations.md");
        let text = Metrics::new().text();
        let exported: std::collections::BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        // A family without a child is not exported until its first event.
        let silent = [
            "tapewatch_lag_records",
            "tapewatch_dead_letters_total",
            "tapewatch_kafka_errors_total",
        ];
        for name in exported.iter().chain(&silent) {
            assert!(
                catalogue.contains(&format!("| `{name}` |")),
                "{name} is not in the catalogue of docs/operations.md"
            );
        }
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut pages = vec![root.join("README.md")];
        pages.extend(root.join("docs").read_dir().unwrap().map(|entry| entry.unwrap().path()));
        for page in pages
            .iter()
            .filter(|page| page.extension().is_some_and(|of| of == "md"))
        {
            let text = std::fs::read_to_string(page).unwrap();
            for word in text
                .split('`')
                .filter(|word| word.starts_with("tapewatch_") && !word.contains([' ', '*', '(']))
            {
                let name = word.split('{').next().unwrap();
                assert!(
                    exported.contains(name) || silent.contains(&name),
                    "{word} of {} is no metric",
                    page.display()
                );
            }
        }
    }
}
