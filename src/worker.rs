//! The worker: one thread, one consumer, one detector.
//!
//! It polls a batch of records, hands them to the detector, sends what comes out, and commits what is acknowledged. All
//! decisions are the detector's; the worker performs them. Nothing is committed before it is delivered.

mod counts;
mod outgoing;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::message::{BorrowedMessage, Message};

use self::counts::{count_error, count_verdicts, note_poll_error};
use self::outgoing::{send_alert, send_dead_letter};
use crate::config::Config;
use crate::kafka::client::BrokerError;
use crate::kafka::sink::Sink;
use crate::kafka::source::{Rebalance, Source};
use crate::metrics::Metrics;
use crate::pipeline::alert::Mode;
use crate::pipeline::detector::{Detector, Effect, Effects, Input, Record};
use crate::pipeline::position::{Offset, Partition, Position, TopicIndex, TopicPartition};
use crate::pipeline::score::Model;
use crate::pipeline::time::ArrivalTime;
use crate::status::Status;

/// Time between two reports to status, metrics and the detector's sense of time.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// What a worker is told from outside.
pub enum Command {
    /// Put this model to work.
    Swap(Model),
    /// Score without waiting for a first model any longer.
    StopWaiting,
    /// Drain, commit, leave.
    Stop,
}

/// What a worker shares with the rest of the process.
pub struct WorkerContext {
    /// The configuration.
    pub config: Arc<Config>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Where it tells about itself.
    pub status: Arc<Status>,
    /// Its number, from 0.
    pub index: usize,
    /// Whether it begins by waiting for a first model.
    pub waits_for_model: bool,
}

/// One member of the consumer group.
pub struct Worker {
    context: WorkerContext,
    commands: Receiver<Command>,
    source: Source,
    sink: Sink,
    detector: Detector,
    effects: Effects,
    /// Partitions are paused: for the first model, or for acknowledgements.
    paused: bool,
    waits_for_model: bool,
    stop: bool,
    reported_at: Instant,
    committed_at: Instant,
    progress_at: Instant,
    /// Partitions of which records were polled since the last report.
    polled: BTreeSet<TopicPartition>,
}

impl Worker {
    /// Joins the group.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn new(context: WorkerContext, commands: Receiver<Command>) -> Result<Self, BrokerError> {
        let config = Arc::clone(&context.config);
        let sink = Sink::new(&config.kafka.producer()?)?;
        let mut consumer = config.kafka.consumer()?;
        let start = match config.input.start {
            crate::config::Start::Earliest => "earliest",
            crate::config::Start::Latest => "latest",
        };
        consumer.set("auto.offset.reset", start);
        let source = Source::new(&consumer, &config.input.topics, context.waits_for_model)?;
        let detector = Detector::new(config.detector_config()).map_err(|problem| BrokerError::Refused {
            reason: format!("decode: {problem}"),
        })?;
        let now = Instant::now();
        let waits_for_model = context.waits_for_model;
        Ok(Worker {
            waits_for_model,
            context,
            commands,
            source,
            sink,
            detector,
            effects: Effects::default(),
            paused: waits_for_model,
            stop: false,
            reported_at: now,
            committed_at: now,
            progress_at: now,
            polled: BTreeSet::new(),
        })
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// A fatal error of a client; the process ends with it.
    pub fn run(mut self) -> Result<(), BrokerError> {
        while !self.stop {
            self.take_commands();
            self.poll_batch()?;
            self.perform()?;
            self.follow_rebalance()?;
            self.hold_back()?;
            self.commit_when_due();
            self.report_when_due();
        }
        self.drain()
    }

    fn take_commands(&mut self) {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Swap(model)) => self.swap(model),
                Ok(Command::StopWaiting) => self.waits_for_model = false,
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => {
                    self.stop = true;
                    return;
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    fn swap(&mut self, model: Model) {
        let started = Instant::now();
        let version = model.version.0;
        self.detector.handle(now(), Input::Model(model), &mut self.effects);
        self.waits_for_model = false;
        let pause = started.elapsed().as_secs_f64();
        self.context.metrics.swap_pause_seconds.observe(pause);
        tracing::info!(
            worker = self.context.index,
            version,
            pause_ms = pause * 1e3,
            "model swapped"
        );
    }

    /// Polls records until none is at hand or the batch is full, and hands them to the detector.
    fn poll_batch(&mut self) -> Result<(), BrokerError> {
        let config = Arc::clone(&self.context.config);
        let mut timeout = Duration::from_millis(config.worker.poll_timeout_ms);
        let mut started = None;
        for _ in 0..config.worker.batch_records_max {
            let Some(polled) = self.source.poll(timeout) else { break };
            match polled {
                Ok(message) => {
                    started.get_or_insert_with(Instant::now);
                    self.context.metrics.records_in.inc();
                    let record = record_of(&self.source, &message);
                    let position = record.position;
                    self.polled.insert(position.at);
                    self.detector.handle(now(), Input::Record(record), &mut self.effects);
                    // Now, while the record is at hand.
                    for letter in self.effects.take_dead_letters(position) {
                        send_dead_letter((&config, &self.context.metrics), &mut self.sink, &message, &letter)?;
                    }
                    timeout = Duration::ZERO;
                }
                Err(error) => note_poll_error(&self.context.metrics, error)?,
            }
            if self.source.has_rebalance() {
                break;
            }
        }
        self.detector.handle(now(), Input::EndOfBatch, &mut self.effects);
        if let Some(started) = started {
            self.progress_at = Instant::now();
            self.context
                .metrics
                .batch_seconds
                .observe(started.elapsed().as_secs_f64());
        }
        Ok(())
    }

    /// Sends alerts, closes the batch, and looks at deliveries.
    fn perform(&mut self) -> Result<(), BrokerError> {
        let mut commits = Vec::new();
        for effect in self.effects.actions.drain(..) {
            match effect {
                Effect::Alert(alert) => send_alert(
                    (&self.context.config, &self.context.metrics),
                    &mut self.sink,
                    &alert,
                    now(),
                )?,
                Effect::Commit(at, next) => commits.push((at, next)),
                // All of them were taken out while their records were at hand.
                Effect::DeadLetter(letter) => debug_assert!(false, "a dead letter without its record: {letter:?}"),
            }
        }
        count_verdicts(&self.context.metrics, &self.effects);
        self.effects.clear();
        if !commits.is_empty() {
            self.sink.close_batch(commits);
        }
        let pumped = self.sink.pump(Duration::ZERO)?;
        self.context.metrics.delivery_failures.inc_by(pumped.failed as u64);
        Ok(())
    }

    /// Carries out the rebalance that waits, if any.
    fn follow_rebalance(&mut self) -> Result<(), BrokerError> {
        match self.source.take_rebalance() {
            None => return Ok(()),
            Some(Rebalance::Assign(partitions)) => {
                self.source.assign(&partitions)?;
                tracing::info!(
                    worker = self.context.index,
                    partitions = partitions.len(),
                    "partitions assigned"
                );
            }
            Some(Rebalance::Revoke { partitions, lost }) => {
                self.deliver_and_commit(lost)?;
                self.source.unassign(&partitions)?;
                tracing::info!(
                    worker = self.context.index,
                    partitions = partitions.len(),
                    lost,
                    "partitions revoked"
                );
                self.forget(&partitions);
            }
        }
        Ok(())
    }

    /// Delivers what is under way, within the limit, and commits what is delivered, unless a commit would be refused.
    fn deliver_and_commit(&mut self, lost: bool) -> Result<(), BrokerError> {
        let drain = Duration::from_secs(self.context.config.worker.drain_secs);
        if !self.sink.drain(Instant::now() + drain)? {
            tracing::warn!(
                in_flight = self.sink.in_flight(),
                "not everything was acknowledged in time; it will be repeated"
            );
        }
        if !lost {
            self.commit(true);
        }
        Ok(())
    }

    /// Lets detector, sink and metrics forget partitions that were given up.
    fn forget(&mut self, partitions: &[TopicPartition]) {
        self.detector
            .handle(now(), Input::Revoked(partitions), &mut self.effects);
        self.sink.forget(partitions);
        for at in partitions {
            let topic = &self.context.config.input.topics[usize::from(at.topic.0)];
            let labels = [topic.as_str(), &at.partition.0.to_string()];
            // It may never have had a lag.
            let _ = self.context.metrics.lag_records.remove_label_values(&labels);
        }
    }

    /// Pauses polling while too much waits for acknowledgement, or the first model is awaited; goes on afterwards.
    fn hold_back(&mut self) -> Result<(), BrokerError> {
        let in_flight = self.sink.in_flight();
        let in_flight_max = self.context.config.worker.in_flight_max;
        // Half, so that pausing and going on do not alternate.
        let is_full = in_flight >= in_flight_max || (self.paused && in_flight > in_flight_max / 2);
        let paused = self.waits_for_model || is_full;
        if paused != self.paused {
            self.source.set_paused(paused)?;
            self.paused = paused;
            tracing::info!(worker = self.context.index, paused, in_flight, "polling");
        }
        Ok(())
    }

    fn commit_when_due(&mut self) {
        let interval = Duration::from_millis(self.context.config.worker.commit_interval_ms);
        if self.committed_at.elapsed() >= interval {
            self.commit(false);
            self.committed_at = Instant::now();
        }
    }

    /// Asks for a commit of what may be committed; `wait` for the broker's answer, or count it when it comes.
    fn commit(&mut self, wait: bool) {
        self.note_commits();
        let offsets = self.sink.take_committable();
        if !offsets.is_empty() {
            self.source.commit(&offsets, wait);
            self.note_commits();
        }
    }

    /// Counts the answers to commits; what the broker has not taken is committed again.
    fn note_commits(&mut self) {
        for commit in self.source.take_commits() {
            let label = if commit.error.is_none() { "ok" } else { "failed" };
            self.context.metrics.commits.with_label_values(&[label]).inc();
            if let Some(error) = commit.error {
                tracing::warn!(worker = self.context.index, %error, "commit failed; trying again");
                self.sink.put_back(commit.partitions);
            }
        }
    }

    /// Lists the assigned partitions of which every record that the broker has has been handed in.
    fn idle(&mut self, assignment: &[TopicPartition]) -> Vec<TopicPartition> {
        let polled = std::mem::take(&mut self.polled);
        let lags = self.source.lags();
        let is_read = |at: &&TopicPartition| lags.iter().any(|lag| lag.at == **at && lag.records == 0);
        let is_idle = |at: &&TopicPartition| !self.paused && !polled.contains(*at) && is_read(at);
        assignment.iter().filter(is_idle).copied().collect()
    }

    fn report_when_due(&mut self) {
        if self.reported_at.elapsed() < REPORT_INTERVAL {
            return;
        }
        self.reported_at = Instant::now();
        let assignment = self.source.assignment();
        let idle = self.idle(&assignment);
        self.detector
            .handle(now(), Input::Time { idle: &idle }, &mut self.effects);
        self.note_commits();
        for error in self.source.take_errors() {
            count_error(&self.context.metrics, &error);
        }
        let topics = &self.context.config.input.topics;
        let mut lag_records = 0;
        for lag in self.source.lags().iter().filter(|lag| assignment.contains(&lag.at)) {
            let topic = &topics[usize::from(lag.at.topic.0)];
            let partition = lag.at.partition.0.to_string();
            self.context
                .metrics
                .lag_records
                .with_label_values(&[topic, &partition])
                .set(lag.records);
            lag_records += lag.records;
        }
        if lag_records == 0 {
            self.progress_at = Instant::now();
        }
        let first = TopicPartition {
            topic: TopicIndex(0),
            partition: Partition(0),
        };
        let mut status = self.context.status.worker(self.context.index);
        status.joined = self.source.has_joined();
        status.elected = assignment.contains(&first);
        status.partitions = assignment
            .iter()
            .map(|at| format!("{}-{}", topics[usize::from(at.topic.0)], at.partition.0))
            .collect();
        status.lag_records = lag_records;
        status.waits_for_model = self.waits_for_model;
        status.paused = self.paused;
        status.detector = self.detector.status();
        status.progress_at = self.progress_at;
        status.in_flight_records = self.sink.in_flight();
        status.seen_at = Some(Instant::now());
        drop(status);
        self.context
            .status
            .list_names(self.context.index, self.detector.names());
        self.report_totals();
    }

    /// Sums over all workers of this process what gauges show once.
    fn report_totals(&self) {
        let workers = self.context.status.workers();
        let sum = |of: fn(&crate::status::WorkerStatus) -> usize| workers.iter().map(of).sum::<usize>() as i64;
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

    /// Delivers and commits what is under way, within the limit.
    fn drain(mut self) -> Result<(), BrokerError> {
        self.perform()?;
        self.deliver_and_commit(false)?;
        tracing::info!(worker = self.context.index, "drained");
        Ok(())
    }
}

fn now() -> ArrivalTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ArrivalTime(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
}

/// Gives a message as the detector sees it.
fn record_of<'a>(source: &Source, message: &'a BorrowedMessage<'_>) -> Record<'a> {
    // Only subscribed topics are polled, so the index is there.
    let topic = source.topic_index(message.topic()).unwrap_or(TopicIndex(0));
    let at = TopicPartition {
        topic,
        partition: Partition(message.partition()),
    };
    Record {
        position: Position {
            at,
            offset: Offset(message.offset()),
        },
        arrival_time: message
            .timestamp()
            .to_millis()
            .map_or_else(now, ArrivalTime::from_millis),
        key: message.key(),
        payload: message.payload(),
    }
}
