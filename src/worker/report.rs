//! What a worker tells of itself once a second: to the detector how much of the time is its own, to status and metrics
//! what it has and how it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::counts::count_error;
use super::{Worker, now};
use crate::kafka::client::BrokerError;
use crate::kafka::source::Lag;
use crate::kafka::trouble;
use crate::pipeline::alert::Mode;
use crate::pipeline::detector::Input;
use crate::pipeline::position::{Partition, TopicIndex, TopicPartition};
use crate::status::WorkerStatus;

/// Time between two reports to status, metrics and the detector's sense of time.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// After a pause, the broker's answers come within this time.
const RESUMED_USUAL: Duration = Duration::from_secs(15);

impl Worker {
    pub(super) fn report_when_due(&mut self) -> Result<(), BrokerError> {
        if self.reported_at.elapsed() < REPORT_INTERVAL {
            return Ok(());
        }
        self.reported_at = Instant::now();
        let assignment = self.source.assignment();
        let mut lags = self.source.lags();
        lags.retain(|lag| assignment.contains(&lag.at));
        let idle = self.idle(&assignment, &lags);
        self.detector
            .handle(now(), Input::Time { idle: &idle }, &mut self.effects);
        self.note_commits();
        for error in self.source.take_errors() {
            count_error(&self.context.metrics, &error);
        }
        let passed_over = self.source.take_passed_over();
        if passed_over > 0 {
            self.context.metrics.records_passed_over.inc_by(passed_over);
            tracing::warn!(
                worker = self.context.index,
                records = passed_over,
                "records passed over: the broker had deleted them before they were read"
            );
        }
        self.refusals.say_when_due(self.reported_at);
        self.show_lags(&assignment, &lags);
        let lag_records = lags.iter().map(|lag| lag.records).sum();
        if lag_records == 0 {
            self.progress_at = Instant::now();
        }
        let ailments = self.ailments();
        self.end_if_refused(&ailments)?;
        self.tell(&assignment, lag_records, ailments);
        self.report_totals();
        Ok(())
    }

    /// Lists the assigned partitions of which every record that the broker has has been handed in.
    fn idle(&mut self, assignment: &[TopicPartition], lags: &[Lag]) -> Vec<TopicPartition> {
        let polled = std::mem::take(&mut self.polled);
        let is_read = |at: &&TopicPartition| lags.iter().any(|lag| lag.at == **at && lag.records == 0);
        let is_idle = |at: &&TopicPartition| !self.paused && !polled.contains(*at) && is_read(at);
        assignment.iter().filter(is_idle).copied().collect()
    }

    /// Shows the lags that are known; what is unknown is not shown as a lag.
    fn show_lags(&self, assignment: &[TopicPartition], lags: &[Lag]) {
        for at in assignment {
            let topic = &self.context.config.input.topics[usize::from(at.topic.0)];
            let partition = at.partition.0.to_string();
            let labels = [topic.as_str(), &partition];
            match lags.iter().find(|lag| lag.at == *at) {
                Some(lag) => self
                    .context
                    .metrics
                    .lag_records
                    .with_label_values(&labels)
                    .set(lag.records),
                // It may never have had one.
                None => drop(self.context.metrics.lag_records.remove_label_values(&labels)),
            }
        }
    }

    /// Lists what keeps this worker from its work now.
    fn ailments(&mut self) -> Vec<String> {
        let troubles = Arc::clone(&self.context.troubles);
        troubles.look();
        let mut ailments = self.source.ailments();
        if !ailments.is_empty() {
            let reasons = [trouble::CONNECTION, trouble::TLS, trouble::GROUP];
            ailments.extend(
                reasons
                    .iter()
                    .filter_map(|kind| troubles.standing(kind))
                    .map(|(_, text)| text),
            );
        }
        let is_reading = !self.paused && self.resumed_at.elapsed() >= RESUMED_USUAL;
        let unreadable = self.source.unreadable(is_reading);
        ailments.extend(unreadable.map(|reason| format!("a topic cannot be read: {reason}")));
        for (kind, what) in [
            (trouble::AUTHENTICATION, "the broker refuses us"),
            (trouble::COMMIT, "offsets are not committed"),
        ] {
            ailments.extend(troubles.standing(kind).map(|(_, text)| format!("{what}: {text}")));
        }
        ailments.extend(self.sink.ailment());
        ailments
    }

    /// Ends the process when the broker has refused who we are for so long that nobody will mend it while we try. A restart
    /// reads the secret again.
    fn end_if_refused(&self, ailments: &[String]) -> Result<(), BrokerError> {
        let limit = Duration::from_secs(self.context.config.kafka.start_timeout_secs);
        match self.context.troubles.standing(trouble::AUTHENTICATION) {
            // More than the refusal itself: something does not work because of it.
            Some((lasts, reason)) if lasts >= limit && ailments.len() > 1 => Err(BrokerError::Refused { reason }),
            _ => Ok(()),
        }
    }

    fn tell(&self, assignment: &[TopicPartition], lag_records: i64, ailments: Vec<String>) {
        let topics = &self.context.config.input.topics;
        let first = TopicPartition {
            topic: TopicIndex(0),
            partition: Partition(0),
        };
        let name = |at: &TopicPartition| format!("{}-{}", topics[usize::from(at.topic.0)], at.partition.0);
        *self.context.status.worker(self.context.index) = WorkerStatus {
            joined: self.source.has_joined(),
            elected: assignment.contains(&first),
            partitions: assignment.iter().map(name).collect(),
            lag_records,
            waits_for_model: self.waits_for_model,
            paused: self.paused,
            ailments,
            detector: self.detector.status(),
            progress_at: self.progress_at,
            in_flight_records: self.sink.in_flight(),
            seen_at: Some(Instant::now()),
        };
        self.context
            .status
            .list_names(self.context.index, self.detector.names());
    }

    /// Sums over all workers of this process what gauges show once.
    fn report_totals(&self) {
        let workers = self.context.status.workers();
        let sum = |of: fn(&WorkerStatus) -> usize| workers.iter().map(of).sum::<usize>() as i64;
        let instruments = &self.context.metrics.instruments;
        instruments
            .with_label_values(&[Mode::Learning.name()])
            .set(sum(|worker| worker.detector.learning));
        instruments
            .with_label_values(&[Mode::Scoring.name()])
            .set(sum(|worker| worker.detector.scoring));
        self.context
            .metrics
            .alerts_open
            .set(sum(|worker| worker.detector.open_alerts));
        self.context
            .metrics
            .in_flight_records
            .set(sum(|worker| worker.in_flight_records));
    }
}
