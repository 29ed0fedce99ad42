//! What the parts of a running daemon tell about themselves: plain data, written by its owner, read by HTTP.
//!
//! The mutexes guard small values that are replaced as a whole once a second; a message would need a reader of its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::pipeline::alert::Mode;
use crate::pipeline::detector::DetectorStatus;

/// What kind of model is at work: the one notion of it in metrics, `/status`, dashboard and rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelState {
    /// No model: guards watch alone.
    #[default]
    None,
    /// The base model as it is; it knows no instrument.
    Base,
    /// A base model's weights, calibrated to instruments of this deployment.
    Calibrated,
    /// Weights that were trained on ticks of this deployment.
    Trained,
}

impl ModelState {
    /// All states.
    pub const ALL: [ModelState; 4] = [
        ModelState::None,
        ModelState::Base,
        ModelState::Calibrated,
        ModelState::Trained,
    ];

    /// Gives the name used in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            ModelState::None => "none",
            ModelState::Base => "base",
            ModelState::Calibrated => "calibrated",
            ModelState::Trained => "trained",
        }
    }

    /// Tells whether the model was made from ticks of this deployment, so that it has an age.
    pub fn is_own(self) -> bool {
        match self {
            ModelState::None | ModelState::Base => false,
            ModelState::Calibrated | ModelState::Trained => true,
        }
    }
}

/// The model at work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ModelStatus {
    /// What kind of model it is.
    pub state: ModelState,
    /// When it was made (RFC 3339); none of a model that is not one's own.
    pub made: Option<String>,
    /// Event time of the newest tick that it was made from (RFC 3339); none of a model that is not one's own, or that does
    /// not say.
    pub newest_tick: Option<String>,
}

/// Time between two lists of a worker's names: ten thousand of them are copied within a millisecond.
const NAMES_INTERVAL: Duration = Duration::from_secs(5);

/// Names of a worker's instruments, by what a model knows of them.
#[derive(Debug, Default)]
struct InstrumentNames {
    listed_at: Option<Instant>,
    learning: Vec<Arc<str>>,
    scoring: Vec<Arc<str>>,
}

impl InstrumentNames {
    fn of(&mut self, mode: Mode) -> &mut Vec<Arc<str>> {
        match mode {
            Mode::Learning => &mut self.learning,
            Mode::Scoring => &mut self.scoring,
        }
    }
}

/// One worker.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerStatus {
    /// Whether the group has given it its share.
    pub joined: bool,
    /// Input partitions that it has, as `topic-partition`.
    pub partitions: Vec<String>,
    /// Records not yet polled on them, as far as that is known.
    pub lag_records: i64,
    /// Whether it waits for the first model.
    pub waits_for_model: bool,
    /// Whether it waits for acknowledgements.
    pub paused: bool,
    /// What keeps it from its work, in words.
    pub ailments: Vec<String>,
    /// What the detector looks like.
    pub detector: DetectorStatus,
    /// Whether it owns partition 0 of the first input topic, and so trains.
    pub elected: bool,
    /// When it last polled a record, or had nothing to poll.
    #[serde(skip)]
    pub progress_at: Instant,
    /// Alerts and dead letters not acknowledged.
    pub in_flight_records: usize,
    /// When it last wrote this; `None` before it has begun.
    #[serde(skip)]
    pub seen_at: Option<Instant>,
}

impl Default for WorkerStatus {
    fn default() -> Self {
        WorkerStatus {
            joined: false,
            partitions: Vec::new(),
            lag_records: 0,
            waits_for_model: false,
            paused: false,
            ailments: Vec::new(),
            detector: DetectorStatus::default(),
            elected: false,
            progress_at: Instant::now(),
            in_flight_records: 0,
            seen_at: None,
        }
    }
}

impl WorkerStatus {
    /// Says why the worker is stuck, if it is.
    pub fn stuck(&self, stall: Duration) -> Option<String> {
        let silent = self.seen_at?.elapsed();
        if silent > stall {
            return Some(format!("the worker has not come round for {} s", silent.as_secs()));
        }
        let idle = self.progress_at.elapsed();
        // A worker that waits, for a model or for acknowledgements, is not helped by a restart.
        let behind = self.lag_records > 0 && !self.waits_for_model && !self.paused;
        (behind && idle > stall).then(|| {
            format!(
                "{} records wait and none was polled for {} s",
                self.lag_records,
                idle.as_secs()
            )
        })
    }
}

/// What the trainer is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainingPhase {
    /// Nothing.
    #[default]
    Idle,
    /// Reading ticks back.
    Reading,
    /// Making rows of ticks, and measuring what is usual.
    Preparing,
    /// Fitting weights.
    Fitting,
    /// Taking thresholds from ticks that are held back.
    Calibrating,
    /// Comparing with the present model.
    Gating,
}

/// The learning loop.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TrainingStatus {
    /// What it is doing.
    pub phase: TrainingPhase,
    /// How far that has come (0–1).
    pub share: f64,
    /// Outcome of the last training.
    pub last_outcome: Option<&'static str>,
    /// What the last training had to say: the gate's figures, or the error.
    pub last_detail: Option<String>,
}

/// What all parts tell.
#[derive(Debug, Default)]
pub struct Status {
    workers: Vec<Mutex<WorkerStatus>>,
    /// Apart from the rest of a worker's status, which is copied once a second.
    names: Vec<Mutex<InstrumentNames>>,
    model: Mutex<ModelStatus>,
    training: Mutex<TrainingStatus>,
}

impl Status {
    /// Makes a board for so many workers.
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Status {
            workers: (0..workers).map(|_| Mutex::default()).collect(),
            names: (0..workers).map(|_| Mutex::default()).collect(),
            model: Mutex::default(),
            training: Mutex::default(),
        })
    }

    /// Gives one worker's place.
    pub fn worker(&self, index: usize) -> MutexGuard<'_, WorkerStatus> {
        held(&self.workers[index])
    }

    /// Copies what all workers tell.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        self.workers.iter().map(|worker| held(worker).clone()).collect()
    }

    /// Lists the names of one worker's instruments, if the last list is not of late.
    pub fn list_names<'a>(&self, worker: usize, names: impl Iterator<Item = (&'a Arc<str>, Mode)>) {
        let mut place = held(&self.names[worker]);
        if place.listed_at.is_some_and(|listed| listed.elapsed() < NAMES_INTERVAL) {
            return;
        }
        place.learning.clear();
        place.scoring.clear();
        names.for_each(|(name, mode)| place.of(mode).push(Arc::clone(name)));
        place.listed_at = Some(Instant::now());
    }

    /// Gives all workers' names of one mode, in order.
    pub fn names(&self, mode: Mode) -> Vec<Arc<str>> {
        let mut all: Vec<Arc<str>> = Vec::new();
        self.names
            .iter()
            .for_each(|names| all.extend_from_slice(held(names).of(mode)));
        all.sort_unstable();
        all
    }

    /// Gives the place of the model at work.
    pub fn model(&self) -> MutexGuard<'_, ModelStatus> {
        held(&self.model)
    }

    /// Gives the trainer's place.
    pub fn training(&self) -> MutexGuard<'_, TrainingStatus> {
        held(&self.training)
    }
}

/// A panic elsewhere ends the process; until then the last value still tells something.
fn held<T>(place: &Mutex<T>) -> MutexGuard<'_, T> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_with_lag_and_no_progress_is_stuck_unless_it_waits_for_a_model() {
        let stall = Duration::from_secs(60);
        let long_ago = Instant::now().checked_sub(Duration::from_secs(100)).unwrap();
        let idle = WorkerStatus {
            progress_at: long_ago,
            seen_at: Some(Instant::now()),
            ..WorkerStatus::default()
        };
        assert_eq!(idle.stuck(stall), None);
        let behind = WorkerStatus { lag_records: 5, ..idle };
        assert!(behind.stuck(stall).unwrap().contains("5 records wait"));
        assert_eq!(
            WorkerStatus {
                waits_for_model: true,
                ..behind.clone()
            }
            .stuck(stall),
            None
        );
        assert!(
            WorkerStatus {
                seen_at: Some(long_ago),
                ..WorkerStatus::default()
            }
            .stuck(stall)
            .is_some()
        );
    }
}
