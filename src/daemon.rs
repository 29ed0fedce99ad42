//! The daemon put together: config → topics → model → threads → signal → drain.
//!
//! Owns the threads and nothing else. The demo and the tests start the same daemon on an embedded broker.

mod signals;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::runtime::Runtime;

use crate::config::Config;
use crate::http::{self, Board, ListenError};
use crate::kafka::client::BrokerError;
use crate::kafka::outgoing::{ALERT_BYTES_MIN, DEAD_LETTER_BYTES_MIN};
use crate::kafka::sink::SinkLimits;
use crate::kafka::topics::OwnTopic;
use crate::kafka::trouble::Troubles;
use crate::learner::{Learner, LearnerContext, note_bad_models};
use crate::metrics::Metrics;
use crate::model::artifact::Artifact;
use crate::pipeline::score::ModelVersion;
use crate::status::Status;
use crate::store::{self, ModelStore, StoreError};
use crate::worker::{Command, Worker, WorkerContext};

/// Why the daemon does not start, or has ended.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// Kafka.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The model store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The endpoints.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A thread or runtime cannot be had.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// A thread is gone without a word: a bug.
    #[error("{0} ended by a panic; please report it")]
    Panicked(&'static str),
    /// Draining took too long.
    #[error("not drained within {0} s; what was not acknowledged will be repeated")]
    DrainTimeout(u64),
}

/// What is not in the configuration.
#[derive(Clone, Debug, Default)]
pub struct DaemonOptions {
    /// A model to begin with, in place of the store's newest.
    pub model: Option<PathBuf>,
}

/// Longest wait for the learner when stopping.
const LEARNER_PATIENCE: Duration = Duration::from_secs(2);
/// Longest time beyond the workers' own limit until they say that they are drained: the last commit.
const COMMIT_SECS: u64 = 6;
/// Longest wait for the workers to leave the group. Who does not is taken out of it by the broker.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

/// A running daemon.
pub struct Daemon {
    config: Arc<Config>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// What the parts tell.
    pub status: Arc<Status>,
    /// Where the endpoints are, if they are served.
    pub address: Option<SocketAddr>,
    workers: Vec<(Sender<Command>, JoinHandle<()>)>,
    ended: Receiver<Result<(), DaemonError>>,
    /// Workers that have said how they ended.
    have_ended: AtomicUsize,
    learner: (Sender<Infallible>, JoinHandle<()>),
    /// A signal has asked to stop.
    asked_to_stop: Arc<AtomicBool>,
    runtime: Runtime,
}

impl Daemon {
    /// Starts all threads.
    ///
    /// # Errors
    /// [`DaemonError`] when the broker, a topic, the port or the model store cannot be had.
    pub fn start(config: Config, options: &DaemonOptions) -> Result<Self, DaemonError> {
        let config = Arc::new(config);
        let metrics = Arc::new(Metrics::new());
        let status = Status::new(config.worker.workers);
        let store = open_store(&config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let address = if config.http.enabled {
            serve(&runtime, &config, &metrics, &status)?
        } else {
            None
        };
        let outputs = [
            config.output.alerts_topic.as_str(),
            config.output.dead_letters_topic.as_str(),
        ];
        let topics: Vec<&str> = config.input.topics.iter().map(String::as_str).chain(outputs).collect();
        let partitions = config.kafka.wait_for_topics(&topics)?;
        if !config.state.changelog_topic.is_empty() {
            let changelog = OwnTopic {
                name: &config.state.changelog_topic,
                partitions: partitions[..config.input.topics.len()]
                    .iter()
                    .copied()
                    .max()
                    .unwrap_or(1),
                is_compacted: true,
            };
            config.kafka.prepare_topics(&[changelog], true)?;
        }
        let sink_limits = sink_limits(&config)?;
        if config.retrain.enabled {
            store.claim(&owner(&config))?;
        }
        let (champion, followed) = first_model(&store, options, &metrics)?;
        let waits = champion.is_none() && config.retrain.enabled && config.retrain.first_model_wait_secs > 0;
        let troubles = Arc::new(Troubles::default());
        let (ended_tx, ended) = mpsc::channel();
        let workers = (0..config.worker.workers)
            .map(|index| {
                let context = WorkerContext {
                    config: Arc::clone(&config),
                    metrics: Arc::clone(&metrics),
                    status: Arc::clone(&status),
                    index,
                    waits_for_model: waits,
                    gets_model: champion.is_some(),
                    sink_limits,
                    troubles: Arc::clone(&troubles),
                    on_panic: on_panic(ended_tx.clone()),
                };
                spawn_worker(context, ended_tx.clone())
            })
            .collect::<Result<Vec<_>, DaemonError>>()?;
        let (stop_learner, stop) = mpsc::channel();
        let context = LearnerContext {
            config: Arc::clone(&config),
            metrics: Arc::clone(&metrics),
            status: Arc::clone(&status),
            store,
            workers: workers.iter().map(|(commands, _)| commands.clone()).collect(),
        };
        let learner = Learner::new(context, stop, champion, followed, waits);
        let thread = std::thread::Builder::new()
            .name("learner".into())
            .spawn(move || learner.run())?;
        let learner = (stop_learner, thread);
        let asked_to_stop = Arc::new(AtomicBool::new(false));
        runtime.spawn(signals::follow(Arc::clone(&asked_to_stop)));
        Ok(Daemon {
            config,
            metrics,
            status,
            address,
            workers,
            ended,
            have_ended: AtomicUsize::new(0),
            learner,
            asked_to_stop,
            runtime,
        })
    }

    /// Waits until a worker ends by an error, or a signal asks to stop.
    ///
    /// # Errors
    /// The worker's error.
    pub fn wait_for_signal(&self) -> Result<(), DaemonError> {
        const LOOK_INTERVAL: Duration = Duration::from_millis(200);
        while !self.stop_requested() {
            self.check()?;
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// Tells whether a signal has asked to stop.
    pub fn stop_requested(&self) -> bool {
        self.asked_to_stop.load(Ordering::Relaxed)
    }

    /// Looks whether everything still runs.
    ///
    /// # Errors
    /// What ended a worker.
    pub fn check(&self) -> Result<(), DaemonError> {
        // In this order: a worker says how it ended before its thread is finished.
        let is_finished = self.workers.iter().any(|(_, thread)| thread.is_finished());
        if let Ok(result) = self.ended.try_recv() {
            self.have_ended.fetch_add(1, Ordering::Relaxed);
            result?;
        }
        if is_finished {
            return Err(DaemonError::Panicked("a worker"));
        }
        if self.learner.1.is_finished() {
            return Err(DaemonError::Panicked("the learner"));
        }
        Ok(())
    }

    /// Stops: drains and commits within the limit, leaves the group.
    ///
    /// # Errors
    /// [`DaemonError::DrainTimeout`] when a worker does not end in time, or what ended it.
    pub fn stop(self) -> Result<(), DaemonError> {
        let limit_secs = self.config.worker.drain_secs + COMMIT_SECS;
        let deadline = Instant::now() + Duration::from_secs(limit_secs);
        let (stop_learner, learner) = self.learner;
        // The end of the channel stays visible however often the learner looks, in the midst of a training and after.
        drop(stop_learner);
        for (commands, _) in &self.workers {
            let _ = commands.send(Command::Stop);
        }
        let mut result = Ok(());
        for _ in self.have_ended.load(Ordering::Relaxed)..self.workers.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.ended.recv_timeout(left) {
                Ok(ended) => result = result.and(ended),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    result = result.and(Err(DaemonError::DrainTimeout(limit_secs)));
                    break;
                }
            }
        }
        // All is delivered and committed. A consumer that cannot leave its group is left behind: its drop can hang.
        let patience = Instant::now() + LEAVE_PATIENCE;
        let has_left = |(_, thread): &(_, JoinHandle<()>)| thread.is_finished();
        while result.is_ok() && !self.workers.iter().all(has_left) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(20));
        }
        // The learner looks up from its work within a step of the optimiser. The gate takes longer and is not waited for:
        // whatever it would store is written whole or not at all.
        let patience = Instant::now() + LEARNER_PATIENCE;
        while !learner.is_finished() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.runtime.shutdown_background();
        result
    }
}

fn serve(
    runtime: &Runtime,
    config: &Config,
    metrics: &Arc<Metrics>,
    status: &Arc<Status>,
) -> Result<Option<SocketAddr>, DaemonError> {
    let listener = runtime.block_on(http::listen(&config.http.listen))?;
    let address = http::address_of(&listener);
    let board = Board {
        metrics: Arc::clone(metrics),
        status: Arc::clone(status),
        stall: Duration::from_secs(config.worker.stall_secs),
    };
    runtime.spawn(http::serve(listener, board));
    tracing::info!(address = %config.http.listen, "serving /metrics, /livez, /readyz, /status");
    Ok(address)
}

/// Asks how large records may be; a topic that takes too little is told before anything starts.
fn sink_limits(config: &Config) -> Result<SinkLimits, BrokerError> {
    let output = &config.output;
    let limits = config
        .kafka
        .batch_limits(&[&output.alerts_topic, &output.dead_letters_topic]);
    for (topic, found, needed) in [
        (&output.alerts_topic, limits[0], ALERT_BYTES_MIN),
        (&output.dead_letters_topic, limits[1], DEAD_LETTER_BYTES_MIN),
    ] {
        if let Some(found) = found.filter(|found| *found < needed) {
            return Err(BrokerError::TopicTooSmall {
                topic: topic.clone(),
                found,
                needed,
            });
        }
    }
    Ok(SinkLimits {
        alert_bytes_max: limits[0],
        dead_letter_bytes_max: limits[1],
        in_flight_max: config.worker.in_flight_max,
        in_flight_bytes_max: config.worker.in_flight_bytes_max,
    })
}

/// Opens the model store. Whoever never trains need not write to it.
fn open_store(config: &Config) -> Result<ModelStore, StoreError> {
    let (folder, kept) = (&config.retrain.models_dir, config.retrain.models_kept);
    match config.retrain.enabled {
        true => ModelStore::open(folder, kept),
        false => Ok(ModelStore::open_to_follow(folder, kept)),
    }
}

/// Names the deployment whose models are in its store.
fn owner(config: &Config) -> String {
    let group = &config.kafka.group;
    match config.kafka.cluster_id() {
        Some(cluster) => format!("group {group} of cluster {cluster}"),
        None => format!("group {group}"),
    }
}

/// Gives the model to begin with, and the version up to which the store has been looked at: the newest that there is,
/// whatever model one begins with, so that it is not put in its place.
fn first_model(
    store: &ModelStore,
    options: &DaemonOptions,
    metrics: &Metrics,
) -> Result<(Option<Artifact>, Option<ModelVersion>), StoreError> {
    if let Some(path) = &options.model {
        let newest = store.versions()?.last().copied();
        return Ok((Some(store::load(path)?), newest));
    }
    let newest = store.newest(None)?;
    note_bad_models(&newest.bad, metrics);
    let version = newest.artifact.as_ref().map(|artifact| artifact.version);
    Ok((newest.artifact, version))
}

/// Tells of a worker's panic while the thread is still unwinding.
fn on_panic(ended: Sender<Result<(), DaemonError>>) -> Box<dyn Fn() + Send> {
    Box::new(move || {
        let _ = ended.send(Err(DaemonError::Panicked("a worker")));
    })
}

fn spawn_worker(
    context: WorkerContext,
    ended: Sender<Result<(), DaemonError>>,
) -> Result<(Sender<Command>, JoinHandle<()>), DaemonError> {
    let (commands, received) = mpsc::channel();
    let name = format!("worker-{}", context.index);
    let drain_secs = context.config.worker.drain_secs;
    let mut worker = Worker::new(context, received)?;
    let run = move || {
        let result = match worker.run() {
            Ok(true) => Ok(()),
            Ok(false) => Err(DaemonError::DrainTimeout(drain_secs)),
            Err(error) => Err(error.into()),
        };
        // Before the worker is dropped, which leaves the group and can hang. Nobody listens any more only when the process is
        // ending.
        let _ = ended.send(result);
    };
    Ok((commands, std::thread::Builder::new().name(name).spawn(run)?))
}
