//! The learning loop: one low-priority thread that keeps the workers' model up to date.
//!
//! It follows the model store; on the member that owns partition 0 of the first input topic it also trains: reads recent
//! ticks back, fits, gates, stores. A failed or refused training leaves the champion in place and says why. Knows nothing
//! of scoring.

mod error;
mod training;

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::model::artifact::Artifact;
use crate::model::base;
use crate::pipeline::score::ModelVersion;
use crate::status::{Status, TrainingPhase};
use crate::store::ModelStore;
use crate::train::fit::FitError;
use crate::train::trainer::TrainError;
use crate::worker::Command;
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
    /// What scores until there is a model of one's own.
    base: Option<Artifact>,
    /// Newest version of the store that has been looked at.
    followed: Option<ModelVersion>,
    /// When a model was last trained here or taken from the store.
    trained_at: Option<Instant>,
    /// No training before this: the last one could not even read its ticks.
    retry_at: Instant,
    /// Records that there were when too few ticks were found; trying again before there are more is of no use.
    too_few_records: u64,
    started_at: Instant,
    workers_wait: bool,
}

impl Learner {
    /// Makes a learner with the model that the workers begin with; the end of `stop` ends it.
    pub fn new(
        context: LearnerContext,
        stop: Receiver<Infallible>,
        champion: Option<Artifact>,
        workers_wait: bool,
    ) -> Self {
        let base = context.config.model.base.load().unwrap_or_else(|error| {
            tracing::error!(%error, "base model");
            None
        });
        let followed = context
            .store
            .versions()
            .ok()
            .and_then(|versions| versions.last().copied());
        let now = Instant::now();
        Learner {
            context,
            stop,
            champion,
            base,
            followed,
            trained_at: None,
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
        let newest = match self.context.store.versions() {
            Ok(versions) => versions.last().copied(),
            Err(error) => return tracing::warn!(%error, "model store"),
        };
        let Some(newest) = newest.filter(|newest| Some(*newest) > self.followed) else {
            return;
        };
        self.followed = Some(newest);
        match self.context.store.load(newest) {
            Ok(artifact) => {
                self.trained_at = Some(Instant::now());
                self.hand_out(artifact);
            }
            Err(error) => tracing::warn!(%error, "cannot load the newest model"),
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
        let model = artifact.model();
        for worker in &self.context.workers {
            // A worker that is gone has ended the process, or is about to.
            let _ = worker.send(Command::Swap(model.clone()));
        }
        self.workers_wait = false;
        self.context.metrics.model_version.set(i64::from(artifact.version.0));
        if let Ok(stamp) = artifact.provenance.trained_at.parse::<jiff::Timestamp>() {
            self.context
                .metrics
                .model_trained_timestamp_seconds
                .set(stamp.as_second() as f64);
        }
        self.champion = Some(artifact);
    }

    /// Tells whether a model that was fitted or at least calibrated to this deployment's ticks is at work.
    fn has_own_model(&self) -> bool {
        let champion = self.champion.as_ref();
        champion.is_some_and(|champion| champion.version != base::VERSION)
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

    fn is_due(&self) -> bool {
        let retrain = &self.context.config.retrain;
        let elected = self.context.status.workers().iter().any(|worker| worker.elected);
        let interval = Duration::from_secs(retrain.interval_secs);
        // The age of a model that was there at the start is unknown to this process's clock, so count from the start.
        let since = self.trained_at.unwrap_or(self.started_at);
        let is_time = !self.has_own_model() || since.elapsed() >= interval;
        retrain.enabled && elected && is_time && Instant::now() >= self.retry_at
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
        tracing::info!("training begins");
        let result = self.train_and_gate();
        *self.context.status.training() = Default::default();
        self.context.metrics.training_progress_ratio.set(0.0);
        if self.has_own_model() {
            // Refused or failed, the next try waits for its interval; before a first model it comes with more ticks.
            self.trained_at = Some(Instant::now());
        }
        match result {
            Ok((artifact, detail)) => {
                self.trained_at = Some(Instant::now());
                self.followed = Some(artifact.version);
                self.hand_out(artifact);
                self.note("accepted", detail);
            }
            // Asked to stop: the loop sees the end of the channel too.
            Err(LearnError::Train(TrainError::Fit(FitError::Cancelled))) => {}
            Err(error) => {
                self.note(error.outcome(), error.to_string());
                self.stop_waiting("the first training gave no model");
            }
        }
    }

    fn note(&self, outcome: &'static str, detail: String) {
        match outcome {
            "accepted" => tracing::info!(outcome, detail, "training ended"),
            _ => tracing::warn!(outcome, detail, "training ended"),
        }
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
