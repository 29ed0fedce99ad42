//! The learning loop: one low-priority thread that keeps the workers' model up to date.
//!
//! It follows the model store; on the member that owns partition 0 of the first input topic it also trains: reads recent
//! ticks back, fits, gates, stores, and between two trainings calibrates instruments that have become ready. A failed or
//! refused training leaves the champion in place and says why. Knows nothing of scoring.
//!
//! | file | question |
//! |---|---|
//! | `due` | Is it time? Decisions without a clock. |
//! | `training` | How is a model made and gated? |
//! | `extending` | How do instruments that came late get a calibration? |
//! | `at_work` | What state is the model at work in, and what does the next one share with it? |
//! | `recent` | Which ticks are kept of those that are read back? |
//! | `error` | Why did it fail, and how is that counted? |

mod at_work;
mod due;
mod error;
mod extending;
mod training;

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::model::artifact::Artifact;
use crate::pipeline::score::{Model, ModelVersion};
use crate::status::{ModelState, Status, TrainingPhase};
use crate::store::{ModelStore, StoreError};
use crate::train::fit::FitError;
use crate::train::trainer::TrainError;
use crate::worker::Command;
use due::CalibrationPace;
use error::LearnError;

/// Niceness of the thread: the workers' ticks come first.
const NICENESS: i32 = 10;

/// Pause after a training that could not read its ticks.
const RETRY_PAUSE: Duration = Duration::from_secs(30);

/// What the learner shares with the rest of the process.
pub struct LearnerContext {
    /// The configuration.
    pub config: Arc<Config>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Where it tells about itself.
    pub status: Arc<Status>,
    /// Where models are kept.
    pub store: ModelStore,
    /// The workers.
    pub workers: Vec<Sender<Command>>,
}

/// The learning loop.
pub struct Learner {
    context: LearnerContext,
    stop: Receiver<Infallible>,
    champion: Option<Artifact>,
    /// The champion as the workers have it.
    at_work: Option<Model>,
    /// What kind of model it is.
    state: ModelState,
    /// Since when it is known here, whatever instruments were added to it.
    known_since: Instant,
    /// What scores until there is a model of one's own.
    base: Option<Artifact>,
    /// Newest version of the store that has been looked at.
    followed: Option<ModelVersion>,
    /// When the last training here ended, however it did.
    trained_at: Option<Instant>,
    /// When instruments were last calibrated here, in a training or between two.
    calibrated_at: Option<Instant>,
    /// How often instruments that have become ready are calibrated.
    pace: CalibrationPace,
    /// No training before this: the last one could not even read its ticks.
    retry_at: Instant,
    /// Records that there were when too few ticks were found; trying again before there are more is of no use.
    too_few_records: u64,
    started_at: Instant,
    workers_wait: bool,
}

/// Names and counts the versions of the store that cannot be read.
pub fn note_bad_models(bad: &[StoreError], metrics: &Metrics) {
    for error in bad {
        metrics.models_unreadable.inc();
        tracing::warn!(%error, "a model cannot be read; an older one stays at work");
    }
}

impl Learner {
    /// Makes a learner with the model that the workers begin with, and the version up to which the store has been looked at;
    /// the end of `stop` ends it.
    pub fn new(
        context: LearnerContext,
        stop: Receiver<Infallible>,
        champion: Option<Artifact>,
        followed: Option<ModelVersion>,
        workers_wait: bool,
    ) -> Self {
        let base = context.config.model.base.load().unwrap_or_else(|error| {
            tracing::error!(%error, "base model");
            None
        });
        let now = Instant::now();
        let retrain = &context.config.retrain;
        let pace = CalibrationPace::new(
            Duration::from_secs(retrain.calibration_interval_secs),
            Duration::from_secs(retrain.interval_secs),
        );
        Learner {
            context,
            stop,
            champion,
            at_work: None,
            state: ModelState::None,
            known_since: now,
            base,
            followed,
            trained_at: None,
            calibrated_at: None,
            pace,
            retry_at: now,
            too_few_records: 0,
            started_at: now,
            workers_wait,
        }
    }

    /// Runs until told to stop.
    pub fn run(mut self) {
        // The whole process would be niced where the system has no niceness per thread; Linux has.
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "cannot lower the learner's priority");
        }
        if let Some(champion) = self.champion.take() {
            self.hand_out(champion);
        } else if !self.workers_wait {
            self.fall_back();
        }
        let interval = Duration::from_secs(self.context.config.retrain.watch_interval_secs);
        // The first look comes soon, so that a first model is not awaited longer than it takes.
        let mut wait = interval.min(Duration::from_secs(1));
        loop {
            match self.stop.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(never) => match never {},
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.follow_store();
            if self.is_due() {
                self.learn();
            } else if self.has_ready_instruments() {
                self.extend();
            }
            self.release_workers();
            wait = if self.workers_wait {
                interval.min(Duration::from_secs(1))
            } else {
                interval
            };
        }
    }

    /// Puts a newer model of the store to work, if another process has put one there.
    fn follow_store(&mut self) {
        let newest = match self.context.store.newest(self.followed) {
            Ok(newest) => newest,
            Err(error) => return tracing::warn!(%error, "model store"),
        };
        note_bad_models(&newest.bad, &self.context.metrics);
        if let Some(artifact) = newest.artifact {
            self.followed = Some(artifact.version);
            self.hand_out(artifact);
        }
    }

    /// Puts a model to work in all workers; one that looks back further than rows are kept would never score.
    fn hand_out(&mut self, artifact: Artifact) {
        let (lookback, rows_kept) = (artifact.weights.spec.lookback, self.context.config.detector.rows_kept);
        if lookback > rows_kept {
            let version = artifact.version.0;
            tracing::error!(
                version,
                lookback,
                rows_kept,
                "model not used; raise detector.rows_kept to its lookback"
            );
            return;
        }
        let before = self.champion.as_ref().zip(self.at_work.as_ref());
        let model = at_work::model_after(&artifact, before);
        for worker in &self.context.workers {
            // A worker that is gone has ended the process, or is about to.
            let _ = worker.send(Command::Swap(model.clone()));
        }
        self.workers_wait = false;
        self.state = at_work::state_of(&artifact, self.base.as_ref());
        let made = |artifact: &Artifact| artifact.provenance.trained_at.clone();
        if self.champion.as_ref().map(made) != Some(made(&artifact)) {
            self.known_since = Instant::now();
        }
        self.show(&artifact);
        self.at_work = Some(model);
        self.champion = Some(artifact);
    }

    /// Shows the model at work in metrics and status.
    fn show(&self, artifact: &Artifact) {
        let status = at_work::status_of(artifact, self.state);
        let made = at_work::seconds_of(status.made.as_deref());
        // A tick cannot be newer than what was made from it; its feed's clock is ahead, or wrong.
        let newest_tick =
            at_work::seconds_of(status.newest_tick.as_deref()).map(|newest| newest.min(made.unwrap_or(newest)));
        let metrics = &self.context.metrics;
        metrics.model_version.set(i64::from(artifact.version.0));
        metrics.show_state(self.state);
        metrics.model_made_timestamp_seconds.set(made.unwrap_or(0) as f64);
        metrics
            .model_newest_tick_timestamp_seconds
            .set(newest_tick.unwrap_or(0) as f64);
        tracing::info!(
            version = artifact.version.0,
            state = self.state.name(),
            made = status.made.as_deref().unwrap_or("-"),
            "model at work"
        );
        *self.context.status.model() = status;
    }

    /// Tells whether a model that was fitted or at least calibrated to this deployment's ticks is at work.
    fn has_own_model(&self) -> bool {
        self.state.is_own()
    }

    /// Puts the base model to work where there is none.
    fn fall_back(&mut self) {
        if self.champion.is_none()
            && let Some(base) = self.base.clone()
        {
            tracing::info!("the base model scores until one has been calibrated here");
            self.hand_out(base);
        }
    }

    /// Tells whether this member may make models now.
    fn may_learn(&self) -> bool {
        let elected = self.context.status.workers().iter().any(|worker| worker.elected);
        self.context.config.retrain.enabled && elected && Instant::now() >= self.retry_at
    }

    fn is_due(&self) -> bool {
        let interval = Duration::from_secs(self.context.config.retrain.interval_secs);
        let made = self.champion.as_ref().map(|champion| &*champion.provenance.trained_at);
        let now = jiff::Timestamp::now().as_second();
        let age = due::age(at_work::seconds_of(made), now, self.known_since.elapsed());
        let since_tried = self.trained_at.map(|tried| tried.elapsed());
        let is_time = !self.has_own_model() || due::is_training_due(age, since_tried, interval);
        self.may_learn() && is_time
    }

    /// Tells whether a worker here has seen enough of an instrument that the model of one's own has no calibration for.
    fn has_ready_instruments(&self) -> bool {
        let rows_max = |worker: &crate::status::WorkerStatus| worker.detector.learning_rows_max as usize;
        let rows_max = self.context.status.workers().iter().map(rows_max).max().unwrap_or(0);
        let rows_needed = self.context.config.training.ticks_per_instrument_min;
        let since_tried = self.calibrated_at.map(|tried| tried.elapsed());
        self.has_own_model() && self.pace.is_due(rows_max, rows_needed, since_tried) && self.may_learn()
    }

    /// Notes that instruments have been calibrated, or that it was tried.
    fn mark_tried(&mut self) {
        self.calibrated_at = Some(Instant::now());
    }

    /// Shows that no training is under way.
    fn idle(&self) {
        *self.context.status.training() = Default::default();
        self.context.metrics.training_progress_ratio.set(0.0);
    }

    /// Trains once and says how it went.
    fn learn(&mut self) {
        match self.enough_records() {
            Ok(true) => {}
            Ok(false) => return self.stop_waiting("too few ticks for a first model"),
            Err(error) => {
                self.retry_at = Instant::now() + RETRY_PAUSE;
                return self.note(error.outcome(), error.to_string());
            }
        }
        match (self.has_own_model(), &self.base) {
            (false, Some(_)) => tracing::info!("calibration of the base model begins"),
            _ => tracing::info!("training begins"),
        }
        let result = self.train_and_gate();
        self.idle();
        self.mark_tried();
        if self.has_own_model() {
            // Refused or failed, the next try waits for its interval; before a first model it comes with more ticks.
            self.trained_at = Some(Instant::now());
        }
        match result {
            Ok((artifact, detail)) => {
                self.trained_at = Some(Instant::now());
                self.followed = Some(artifact.version);
                self.hand_out(artifact);
                self.note(self.accepted_as(), detail);
            }
            // Asked to stop: the loop sees the end of the channel too.
            Err(LearnError::Train(TrainError::Fit(FitError::Cancelled))) => {}
            Err(error) => {
                self.note(error.outcome(), error.to_string());
                self.stop_waiting("the first training gave no model");
            }
        }
    }

    /// Under which outcome the making of the model at work is counted.
    fn accepted_as(&self) -> &'static str {
        match self.state {
            ModelState::Calibrated => "calibrated",
            ModelState::None | ModelState::Base | ModelState::Trained => "accepted",
        }
    }

    fn note(&self, outcome: &'static str, detail: String) {
        match outcome {
            "accepted" => tracing::info!(outcome, detail, "training ended"),
            "calibrated" => tracing::info!(outcome, detail, "model calibrated"),
            _ => tracing::warn!(outcome, detail, "training ended"),
        }
        self.count(outcome, detail);
    }

    /// Counts an outcome, and keeps what it had to say for `/status`.
    fn count(&self, outcome: &'static str, detail: String) {
        self.context.metrics.trainings.with_label_values(&[outcome]).inc();
        let mut status = self.context.status.training();
        status.last_outcome = Some(outcome);
        status.last_detail = Some(detail);
    }

    fn report(&self, phase: TrainingPhase, share: f64) {
        let mut status = self.context.status.training();
        status.phase = phase;
        status.share = share;
        self.context.metrics.training_progress_ratio.set(share);
    }

    fn continue_unless_stopped(&self) -> ControlFlow<()> {
        match self.stop.try_recv() {
            Ok(never) => match never {},
            Err(std::sync::mpsc::TryRecvError::Empty) => ControlFlow::Continue(()),
            Err(std::sync::mpsc::TryRecvError::Disconnected) => ControlFlow::Break(()),
        }
    }

    /// Lets workers score without a model once they have waited long enough.
    fn release_workers(&mut self) {
        let limit = Duration::from_secs(self.context.config.retrain.first_model_wait_secs);
        if self.started_at.elapsed() >= limit {
            self.stop_waiting("waited long enough for a first model");
        }
    }

    fn stop_waiting(&mut self, reason: &str) {
        if !self.workers_wait {
            return;
        }
        self.workers_wait = false;
        self.fall_back();
        if self.champion.is_none() {
            tracing::info!(reason, "guards run without a model");
        }
        for worker in &self.context.workers {
            let _ = worker.send(Command::StopWaiting);
        }
    }
}
