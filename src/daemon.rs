//! The daemon put together: config → topics → model → threads → signal → drain.
//!
//! Owns the threads and nothing else. The demo and the tests start the same daemon on an embedded broker.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::runtime::Runtime;

use crate::config::Config;
use crate::http::{self, Board, ListenError};
use crate::kafka::client::BrokerError;
use crate::learner::{Learner, LearnerContext};
use crate::metrics::Metrics;
use crate::model::artifact::Artifact;
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
    ended: Receiver<Result<(), BrokerError>>,
    learner: (Sender<Infallible>, JoinHandle<()>),
    /// Ends when a signal asks to stop.
    signal: tokio::task::JoinHandle<()>,
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
        let store = ModelStore::open(&config.retrain.models_dir, config.retrain.models_kept)?;
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
        config.kafka.wait_for_topics(&topics)?;
        let champion = first_model(&store, options)?;
        let waits = champion.is_none() && config.retrain.enabled && config.retrain.first_model_wait_secs > 0;
        let (ended_tx, ended) = mpsc::channel();
        let workers = (0..config.worker.workers)
            .map(|index| {
                let context = WorkerContext {
                    config: Arc::clone(&config),
                    metrics: Arc::clone(&metrics),
                    status: Arc::clone(&status),
                    index,
                    waits_for_model: waits,
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
        let learner = Learner::new(context, stop, champion, waits);
        let thread = std::thread::Builder::new()
            .name("learner".into())
            .spawn(move || learner.run())?;
        let learner = (stop_learner, thread);
        let signal = runtime.spawn(stop_signal());
        Ok(Daemon {
            config,
            metrics,
            status,
            address,
            workers,
            ended,
            learner,
            signal,
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
        self.signal.is_finished()
    }

    /// Looks whether everything still runs.
    ///
    /// # Errors
    /// What ended a worker.
    pub fn check(&self) -> Result<(), DaemonError> {
        // In this order: a worker says how it ended before its thread is finished.
        let is_finished = self.workers.iter().any(|(_, thread)| thread.is_finished());
        if let Ok(result) = self.ended.try_recv() {
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
        // A little more than the workers' own limit, for leaving the group.
        const LEAVE_SECS: u64 = 10;
        let limit_secs = self.config.worker.drain_secs + LEAVE_SECS;
        let deadline = Instant::now() + Duration::from_secs(limit_secs);
        let (stop_learner, learner) = self.learner;
        // The end of the channel stays visible however often the learner looks, in the midst of a training and after.
        drop(stop_learner);
        for (commands, _) in &self.workers {
            let _ = commands.send(Command::Stop);
        }
        let mut result = Ok(());
        for _ in 0..self.workers.len() {
            match self
                .ended
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(ended) => result = result.and(ended.map_err(DaemonError::from)),
                Err(_) => return Err(DaemonError::DrainTimeout(limit_secs)),
            }
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

fn first_model(store: &ModelStore, options: &DaemonOptions) -> Result<Option<Artifact>, StoreError> {
    if let Some(path) = &options.model {
        return store::load(path).map(Some);
    }
    store.versions()?.last().map(|newest| store.load(*newest)).transpose()
}

fn spawn_worker(
    context: WorkerContext,
    ended: Sender<Result<(), BrokerError>>,
) -> Result<(Sender<Command>, JoinHandle<()>), DaemonError> {
    let (commands, received) = mpsc::channel();
    let name = format!("worker-{}", context.index);
    let worker = Worker::new(context, received)?;
    let run = move || {
        // Nobody listens any more only when the process is ending.
        let _ = ended.send(worker.run());
    };
    Ok((commands, std::thread::Builder::new().name(name).spawn(run)?))
}

async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = tokio::signal::ctrl_c() => return,
            }
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
