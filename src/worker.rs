//! The worker: one thread, one consumer, one detector.
//!
//! It polls a batch of records, hands them to the detector, sends what comes out, and commits what is acknowledged. All
//! decisions are the detector's; the worker performs them. Nothing is committed before it is delivered.

mod counts;
mod outgoing;
mod refusals;
mod report;
mod state;
mod state_log;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::error::KafkaError;

use self::counts::count_verdicts;
use self::outgoing::{record_of, send_alert, send_dead_letter};
use self::refusals::Refusals;
use self::state_log::StateLog;
use crate::config::{Config, Start};
use crate::kafka::client::BrokerError;
use crate::kafka::sink::{Sink, SinkLimits};
use crate::kafka::source::{Rebalance, Source, SourceOptions};
use crate::kafka::trouble::{self, Troubles};
use crate::metrics::Metrics;
use crate::pipeline::detector::{Detector, Effect, Effects, Input};
use crate::pipeline::position::TopicPartition;
use crate::pipeline::score::Model;
use crate::pipeline::time::ArrivalTime;
use crate::status::Status;

/// Longest wait for the answer to a commit that is waited for.
const COMMIT_PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two looks for that answer.
const COMMIT_STEP: Duration = Duration::from_millis(20);
/// Longest wait for acknowledgements before offsets and state are committed together; later, they are with the next commit.
const STATE_PATIENCE: Duration = Duration::from_millis(500);

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
    /// Whether a model comes at once: partitions are restored under it.
    pub gets_model: bool,
    /// What may be under way, and how large a record may be.
    pub sink_limits: SinkLimits,
    /// What goes wrong with Kafka again and again.
    pub troubles: Arc<Troubles>,
    /// Told if the worker panics, before anything of it is dropped: the consumer's drop can hang.
    pub on_panic: Box<dyn Fn() + Send>,
}

impl Drop for WorkerContext {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.on_panic)();
        }
    }
}

/// One member of the consumer group.
pub struct Worker {
    /// The first field, so that it is dropped before the clients are.
    context: WorkerContext,
    commands: Receiver<Command>,
    source: Source,
    sink: Sink,
    detector: Detector,
    /// Where state is kept, if it is.
    state: Option<StateLog>,
    /// A model is at work.
    has_model: bool,
    effects: Effects,
    /// Partitions are paused: for the first model, or for acknowledgements.
    paused: bool,
    waits_for_model: bool,
    stop: bool,
    reported_at: Instant,
    committed_at: Instant,
    progress_at: Instant,
    /// When polling last went on after a pause.
    resumed_at: Instant,
    /// Partitions of which records were polled since the last report.
    polled: BTreeSet<TopicPartition>,
    /// Refused records that the log has yet to tell of.
    refusals: Refusals,
}

impl Worker {
    /// Joins the group.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn new(context: WorkerContext, commands: Receiver<Command>) -> Result<Self, BrokerError> {
        let config = Arc::clone(&context.config);
        let troubles = || Arc::clone(&context.troubles);
        let sink = Sink::new(&config.kafka.producer()?, context.sink_limits, troubles())?;
        let consumer = config.kafka.member(context.index, config.worker.workers)?;
        let options = SourceOptions {
            topics: config.input.topics.clone(),
            starts_at_latest: config.input.start == Start::Latest,
            paused: context.waits_for_model,
        };
        let source = Source::new(&consumer, options, troubles())?;
        let detector = Detector::new(config.detector_config()).map_err(|problem| BrokerError::Refused {
            reason: format!("decode: {problem}"),
        })?;
        let state = match config.state.changelog_topic.is_empty() {
            true => None,
            false => Some(StateLog::open(&config, context.index)?),
        };
        let now = Instant::now();
        let waits_for_model = context.waits_for_model;
        Ok(Worker {
            state,
            has_model: false,
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
            resumed_at: now,
            polled: BTreeSet::new(),
            refusals: Refusals::default(),
        })
    }

    /// Runs until told to stop; tells whether everything was delivered and committed then.
    ///
    /// # Errors
    /// A fatal error of a client; the process ends with it.
    pub fn run(&mut self) -> Result<bool, BrokerError> {
        while !self.stop {
            self.take_commands();
            self.poll_batch()?;
            self.perform()?;
            self.follow_rebalance()?;
            self.hold_back()?;
            self.commit_when_due()?;
            self.report_when_due()?;
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
        self.has_model = true;
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
                Ok(polled) => {
                    started.get_or_insert_with(Instant::now);
                    self.context.metrics.records_in.inc();
                    if polled.is_anew {
                        let (detector, effects) = (&mut self.detector, &mut self.effects);
                        begin_anew(&self.context, &mut self.sink, detector, effects, polled.at);
                    }
                    let record = record_of(&polled);
                    let position = record.position;
                    self.polled.insert(position.at);
                    self.detector.handle(now(), Input::Record(record), &mut self.effects);
                    // Now, while the record is at hand.
                    for letter in self.effects.take_dead_letters(position) {
                        let topic = &config.input.topics[usize::from(position.at.topic.0)];
                        self.refusals.note(&letter, topic, Instant::now());
                        let told = (&*config, &*self.context.metrics);
                        send_dead_letter(told, &mut self.sink, &polled.message, &letter)?;
                    }
                    timeout = Duration::ZERO;
                }
                Err(error) => self.note_poll_error(&error)?,
            }
            // One batch of large dead letters could be more than memory holds.
            if self.source.has_rebalance() || self.sink.is_full() {
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

    /// Notes an error that came in place of a record: librdkafka goes on by itself after most, and has complained of it.
    fn note_poll_error(&self, error: &KafkaError) -> Result<(), BrokerError> {
        tracing::debug!(%error, "poll");
        match (self.source.fatal_error(), error) {
            (Some(fatal), _) => Err(fatal),
            (None, KafkaError::MessageConsumptionFatal(code)) => Err(BrokerError::Refused {
                reason: code.to_string(),
            }),
            (None, _) => Ok(()),
        }
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
                Effect::Outside(at, outside) => {
                    if let Some(state) = &mut self.state {
                        state.note(at, outside);
                    }
                }
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
        // State is restored under the model that it was made under.
        if self.state.is_some() && self.context.gets_model && !self.has_model {
            return Ok(());
        }
        match self.source.take_rebalance() {
            None => return Ok(()),
            Some(Rebalance::Assign(partitions)) => {
                let starts = self.restore(&partitions)?;
                self.source.assign(&partitions, &starts)?;
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

    /// Delivers what is under way, within the limit, and commits what is delivered, unless a commit would be refused. Tells
    /// whether everything is delivered and committed.
    fn deliver_and_commit(&mut self, lost: bool) -> Result<bool, BrokerError> {
        let drain = Duration::from_secs(self.context.config.worker.drain_secs);
        let is_delivered = self.sink.drain(Instant::now() + drain)?;
        let is_committed = !lost
            && match self.state {
                Some(_) => self.commit_state(true) || self.commit_state(true),
                None => self.commit_within(COMMIT_PATIENCE),
            };
        if !(is_delivered && is_committed) {
            tracing::warn!(
                worker = self.context.index,
                in_flight = self.sink.in_flight(),
                is_committed,
                "not everything was delivered and committed in time; it will be repeated"
            );
        }
        Ok(is_delivered && is_committed)
    }

    /// Lets detector, sink and metrics forget partitions that were given up.
    fn forget(&mut self, partitions: &[TopicPartition]) {
        self.detector
            .handle(now(), Input::Revoked(partitions), &mut self.effects);
        self.sink.forget(partitions);
        if let Some(state) = &mut self.state {
            state.forget(partitions);
        }
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
        let is_full = self.sink.is_full() || (self.paused && !self.sink.has_room());
        let paused = self.waits_for_model || is_full;
        if paused != self.paused {
            self.source.set_paused(paused)?;
            self.paused = paused;
            self.resumed_at = Instant::now();
            tracing::info!(worker = self.context.index, paused, in_flight, "polling");
        }
        Ok(())
    }

    fn commit_when_due(&mut self) -> Result<(), BrokerError> {
        let interval = Duration::from_millis(self.context.config.worker.commit_interval_ms);
        if self.committed_at.elapsed() < interval {
            return Ok(());
        }
        if self.state.is_none() {
            self.commit();
        } else if self.sink.drain(Instant::now() + STATE_PATIENCE)? {
            self.commit_state(false);
        }
        self.committed_at = Instant::now();
        Ok(())
    }

    /// Asks for a commit of what may be committed; the broker's answer is counted when it comes.
    fn commit(&mut self) {
        self.note_commits();
        if !self.source.is_committing() {
            let offsets = self.sink.take_committable();
            if !offsets.is_empty() {
                self.source.commit(&offsets);
            }
        }
    }

    /// Commits what may be committed and waits for the broker's answer; tells whether nothing is left to commit.
    fn commit_within(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            self.commit();
            if !self.source.is_committing() {
                // The answer is there; what was refused is given out again.
                self.note_commits();
                let left = self.sink.take_committable();
                if left.is_empty() {
                    return true;
                }
                self.sink.put_back(left.into_iter().map(|(at, _)| at));
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(COMMIT_STEP);
        }
    }

    /// Counts the answers to commits; what the broker has not taken is committed again.
    fn note_commits(&mut self) {
        for commit in self.source.take_commits() {
            let label = if commit.error.is_none() { "ok" } else { "failed" };
            self.context.metrics.commits.with_label_values(&[label]).inc();
            match commit.error {
                None => self.context.troubles.over(trouble::COMMIT),
                Some(error) => {
                    let code = error.rdkafka_error_code();
                    let text = code.map_or_else(|| error.to_string(), |code| code.to_string());
                    self.context.troubles.note(trouble::COMMIT, &text);
                    self.sink.put_back(commit.partitions);
                }
            }
        }
    }

    /// Delivers and commits what is under way, within the limit; tells whether that is everything.
    fn drain(&mut self) -> Result<bool, BrokerError> {
        self.perform()?;
        let is_drained = self.deliver_and_commit(false)?;
        if is_drained {
            tracing::info!(worker = self.context.index, "drained");
        }
        Ok(is_drained)
    }
}

/// Forgets a partition whose topic was made anew: its instruments, and what waits to be committed of it.
fn begin_anew(
    context: &WorkerContext,
    sink: &mut Sink,
    detector: &mut Detector,
    effects: &mut Effects,
    at: TopicPartition,
) {
    let topic = &context.config.input.topics[usize::from(at.topic.0)];
    tracing::warn!(
        topic,
        partition = at.partition.0,
        "offsets begin again: the topic was made anew, or its end was lost; the partition is read from there"
    );
    context.metrics.partitions_begun_anew.inc();
    detector.handle(now(), Input::Revoked(&[at]), effects);
    effects
        .actions
        .retain(|effect| !matches!(effect, Effect::Commit(of, _) if *of == at));
    sink.forget(&[at]);
}

fn now() -> ArrivalTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ArrivalTime(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Hangs while it is dropped, until it is told to go on, as a consumer can.
    struct Hangs(mpsc::Receiver<()>);

    impl Drop for Hangs {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    /// The fields of a worker that matter here, in their order.
    struct Half {
        context: WorkerContext,
        _source: Hangs,
    }

    #[test]
    fn a_panic_is_told_although_the_consumer_hangs_while_it_is_dropped() {
        let (tell, told) = mpsc::channel();
        let (release, held) = mpsc::channel();
        let half = Half {
            context: WorkerContext {
                config: Arc::new(Config::from_toml("").unwrap()),
                metrics: Arc::new(Metrics::new()),
                status: Status::new(1),
                index: 0,
                waits_for_model: false,
                gets_model: false,
                sink_limits: SinkLimits {
                    alert_bytes_max: None,
                    dead_letter_bytes_max: None,
                    in_flight_max: 1,
                    in_flight_bytes_max: 1,
                },
                troubles: Arc::default(),
                on_panic: Box::new(move || tell.send(()).unwrap()),
            },
            _source: Hangs(held),
        };
        let thread = std::thread::spawn(move || {
            // All of it, not the one field.
            let half = half;
            assert!(half.context.waits_for_model, "a bug");
        });
        told.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(!thread.is_finished());
        release.send(()).unwrap();
        assert!(thread.join().is_err());
    }
}
