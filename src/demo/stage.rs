//! The stage: embedded broker, daemon, sender and listener of one demo.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::listener::{Heard, Listener};
use super::scenario::Scenario;
use super::scoreboard::{Raised, Scoreboard};
use super::sender::Sender;
use crate::config::Config;
use crate::daemon::{Daemon, DaemonError, DaemonOptions};
use crate::kafka::client::BrokerError;
use crate::kafka::embedded::EmbeddedBroker;
use crate::pipeline::detector::Outcome;
use crate::status::{TrainingPhase, TrainingStatus};

/// Longest wait for one step of the demo before something is taken to be wrong.
const STEP_TIMEOUT: Duration = Duration::from_secs(180);
/// Longest wait for the daemon to score what was sent, once a signal has asked to stop: with what follows, below two seconds.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause between two looks at the daemon.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// Ticks between two looks at alerts and progress.
const LOOK_TICKS: usize = 256;

/// Outcomes of a training that end in a model.
const MODEL_OUTCOMES: [&str; 2] = ["accepted", "calibrated"];

/// What the demo tells while it runs.
pub enum News<'a> {
    /// Ticks to learn from are in the topic, and the daemon has been started.
    Started {
        /// Address of the broker.
        brokers: &'a str,
        /// Address of the endpoints.
        http: Option<std::net::SocketAddr>,
    },
    /// The first model is being trained.
    Training(&'a TrainingStatus),
    /// The model is ready.
    Ready,
    /// A tick is about to be sent.
    Sent {
        /// Its feed.
        feed: usize,
        /// Which tick of the feed.
        index: usize,
    },
    /// Some hundred ticks more have been sent.
    Streamed {
        /// Share of all (0–1).
        share: f64,
    },
    /// An alert has been published.
    Alert {
        /// What it says.
        heard: &'a Heard,
        /// The tick that made this revision, if it is one of this scenario.
        raised: Option<Raised>,
    },
}

/// Why a demo cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The embedded broker.
    #[error("embedded broker: {0}")]
    Embedded(#[from] rdkafka::error::KafkaError),
    /// Kafka.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The daemon.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The model could not be made.
    #[error("no model: {0}")]
    NoModel(String),
    /// A step takes too long.
    #[error("{0} took more than {limit} s", limit = STEP_TIMEOUT.as_secs())]
    TimedOut(&'static str),
}

/// Everything that a demo needs, running.
pub struct Stage {
    daemon: Daemon,
    sender: Sender,
    listener: Listener,
    raised: Vec<Raised>,
    /// Revisions heard.
    heard: u64,
    model_versions: BTreeSet<u32>,
    stop_asked_at: Option<Instant>,
    /// Dropped last: the others speak to it.
    _broker: EmbeddedBroker,
}

impl Stage {
    /// Starts the broker, sends the clean ticks, starts the daemon, and waits for its first model; a signal ends the wait.
    ///
    /// # Errors
    /// [`StageError`].
    pub fn start(
        mut config: Config,
        options: &DaemonOptions,
        scenario: &Scenario,
        news: &mut dyn FnMut(News<'_>),
    ) -> Result<Self, StageError> {
        let partitions = scenario.feeds.len();
        let ticks_topic = config.input.topics[0].clone();
        let broker = EmbeddedBroker::start(&[
            (&ticks_topic, partitions as i32),
            (&config.output.alerts_topic, 1),
            (&config.output.dead_letters_topic, 1),
        ])?;
        config.kafka.brokers = broker.brokers();
        let listener = Listener::new(&config.kafka, &config.output.alerts_topic, 1)?;
        let mut sender = Sender::new(&config.kafka, &ticks_topic, partitions)?;
        for (feed, index) in scenario.merged(|feed| 0..feed.clean) {
            sender.send(scenario, feed, index)?;
        }
        sender.flush()?;
        let daemon = Daemon::start(config, options)?;
        news(News::Started {
            brokers: &broker.brokers(),
            http: daemon.address,
        });
        let mut stage = Stage {
            daemon,
            sender,
            listener,
            raised: Vec::new(),
            heard: 0,
            model_versions: BTreeSet::new(),
            stop_asked_at: None,
            _broker: broker,
        };
        stage.wait_for_model(news)?;
        Ok(stage)
    }

    fn wait_for_model(&mut self, news: &mut dyn FnMut(News<'_>)) -> Result<(), StageError> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        while self.daemon.metrics.model_version.get() == 0 {
            self.daemon.check()?;
            if self.is_stopped() {
                return Ok(());
            }
            let training = self.daemon.status.training().clone();
            // A training that is done has a model, or says why there is none.
            if let (Some(outcome), TrainingPhase::Idle) = (training.last_outcome, training.phase)
                && !MODEL_OUTCOMES.contains(&outcome)
            {
                let detail = training.last_detail.unwrap_or_default();
                return Err(StageError::NoModel(format!("{outcome}: {detail}")));
            }
            news(News::Training(&training));
            if Instant::now() >= deadline {
                return Err(StageError::TimedOut("making the first model"));
            }
            std::thread::sleep(LOOK_PAUSE);
        }
        news(News::Ready);
        Ok(())
    }

    /// Tells whether a signal has asked to stop, and remembers since when.
    pub fn is_stopped(&mut self) -> bool {
        if self.stop_asked_at.is_none() && self.daemon.stop_requested() {
            self.stop_asked_at = Some(Instant::now());
        }
        self.stop_asked_at.is_some()
    }

    /// Tells whether what is waited for since `started` has had its time.
    fn is_late(&mut self, started: Instant) -> bool {
        match (self.is_stopped(), self.stop_asked_at) {
            (true, Some(asked_at)) => asked_at.elapsed() >= STOP_TIMEOUT,
            _ => started.elapsed() >= STEP_TIMEOUT,
        }
    }

    /// Streams the rest of the scenario, waits until all of it is committed and every alert is heard, and judges. After a
    /// signal it judges what was scored until then, without a verdict.
    ///
    /// # Errors
    /// [`StageError`].
    pub fn play(
        &mut self,
        scenario: &Scenario,
        ticks_per_sec: Option<f64>,
        news: &mut dyn FnMut(News<'_>),
    ) -> Result<Scoreboard, StageError> {
        let started = Instant::now();
        self.stream(scenario, ticks_per_sec, news)?;
        self.finish(news)?;
        let seconds = started.elapsed().as_secs_f64();
        let interrupted = self.is_stopped();
        let seen = self.sender.committed_ticks();
        let mut board = Scoreboard::new(&scenario.feeds, &self.raised, &seen);
        board.ticks_per_sec = board.ticks as f64 / seconds;
        board.model_versions = self.model_versions.iter().copied().collect();
        board.interrupted = interrupted;
        // What a signal has left in the topic is no loss.
        board.unaccounted = (!interrupted).then(|| self.sender.total() - self.accounted());
        Ok(board)
    }

    /// Sends the rest of the scenario, as fast as the daemon commits and at most `ticks_per_sec`; ends early when a signal
    /// asks to stop.
    ///
    /// # Errors
    /// [`StageError`].
    pub fn stream(
        &mut self,
        scenario: &Scenario,
        ticks_per_sec: Option<f64>,
        news: &mut dyn FnMut(News<'_>),
    ) -> Result<(), StageError> {
        let started = Instant::now();
        let order = scenario.merged(|feed| feed.clean..feed.ticks.len());
        for (count, &(feed, index)) in order.iter().enumerate() {
            if !self.wait_for_room(feed, news)? {
                return Ok(());
            }
            news(News::Sent { feed, index });
            self.sender.send(scenario, feed, index)?;
            if count % LOOK_TICKS == 0 {
                news(News::Streamed {
                    share: count as f64 / order.len() as f64,
                });
                self.hear(Duration::ZERO, news);
                let due = ticks_per_sec.map_or(0.0, |pace| count as f64 / pace);
                while started.elapsed().as_secs_f64() < due && !self.is_stopped() {
                    self.hear(LOOK_PAUSE, news);
                }
                if self.is_stopped() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Waits until one more tick has room; false when a signal asked to stop first.
    fn wait_for_room(&mut self, feed: usize, news: &mut dyn FnMut(News<'_>)) -> Result<bool, StageError> {
        let started = Instant::now();
        while !self.sender.has_room(feed)? {
            self.daemon.check()?;
            self.hear(LOOK_PAUSE, news);
            if self.is_stopped() {
                return Ok(false);
            }
            if self.is_late(started) {
                return Err(StageError::TimedOut("scoring what was sent"));
            }
        }
        Ok(true)
    }

    /// Waits until all ticks are committed and all alerts are heard; after a signal, not for long.
    fn finish(&mut self, news: &mut dyn FnMut(News<'_>)) -> Result<(), StageError> {
        self.sender.flush()?;
        let started = Instant::now();
        while !(self.sender.is_all_committed()? && self.heard >= self.published()) {
            self.daemon.check()?;
            self.hear(LOOK_PAUSE, news);
            if self.is_late(started) {
                return match self.is_stopped() {
                    true => Ok(()),
                    false => Err(StageError::TimedOut("scoring and hearing the rest")),
                };
            }
        }
        Ok(())
    }

    /// Takes in the alerts that are there, waiting at most `timeout` for the first.
    fn hear(&mut self, mut timeout: Duration, news: &mut dyn FnMut(News<'_>)) {
        while let Some(heard) = self.listener.next(timeout) {
            timeout = Duration::ZERO;
            self.heard += 1;
            self.model_versions.extend(heard.model_version);
            let place = (heard.latest.partition, heard.latest.offset);
            let raised = self.sender.tick_at(place).map(|(feed, tick)| Raised {
                feed,
                tick,
                opened: heard.state == "opened",
            });
            if heard.state != "resolved" {
                self.raised.extend(raised);
            }
            news(News::Alert { heard: &heard, raised });
        }
    }

    /// Counts the alert revisions that the daemon has published.
    fn published(&self) -> u64 {
        use prometheus::core::Collector;
        let families = self.daemon.metrics.alerts.collect();
        let counters = families.iter().flat_map(|family| family.get_metric());
        counters.map(|metric| metric.get_counter().get_value() as u64).sum()
    }

    /// Counts the records that the daemon has accounted for; −1 more when its two counts differ.
    fn accounted(&self) -> i64 {
        let metrics = &self.daemon.metrics;
        let by_outcome: u64 = Outcome::ALL
            .iter()
            .map(|outcome| metrics.records.with_label_values(&[outcome.name()]).get())
            .sum();
        let polled = metrics.records_in.get();
        by_outcome as i64 - i64::from(polled != by_outcome)
    }

    /// Forgets what was sent and heard, so that streaming can go on for ever.
    pub fn forget(&mut self) {
        self.sender.forget_places();
        self.raised.clear();
    }

    /// Gives for each feed how many of its ticks the daemon has taken note of.
    pub fn seen_ticks(&self) -> Vec<usize> {
        self.sender.committed_ticks()
    }

    /// Gives the daemon.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Stops the daemon.
    ///
    /// # Errors
    /// When it does not drain.
    pub fn stop(self) -> Result<(), DaemonError> {
        self.daemon.stop()
    }
}
