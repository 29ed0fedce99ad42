//! The configuration: built-in defaults < file < environment, checked as a whole before anything starts.
//!
//! Every module owns its own section; here they are put together. An error names the key and says what to do. Knows no
//! defaults but `config/default.toml`, which is built in.

mod detection;

use std::fmt;
use std::path::{Path, PathBuf};

use config::builder::DefaultState;
use config::{ConfigBuilder, Environment, File, FileFormat};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::kafka::client::KafkaConfig;
use crate::pipeline::alert::AlertConfig;
use crate::pipeline::decode::{DecodeConfig, Decoder};
use crate::pipeline::detector::{DetectorConfig, LimitConfig};
use crate::pipeline::guard::GuardConfig;
use crate::train::size::SizeConfig;
use crate::train::trainer::TrainingConfig;

/// The built-in defaults, as a commented file.
pub const DEFAULTS: &str = include_str!("../config/default.toml");
/// Prefix of environment variables; `__` parts the levels.
const ENVIRONMENT_PREFIX: &str = "TAPEWATCH";

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Brokers and client properties.
    pub kafka: KafkaConfig,
    /// Where ticks come from.
    pub input: InputConfig,
    /// How records are read.
    pub decode: DecodeConfig,
    /// Where alerts and dead letters go.
    pub output: OutputConfig,
    /// Bounds and stride.
    pub detector: LimitConfig,
    /// Which guards run.
    pub guards: GuardConfig,
    /// When alerts open, change and end.
    pub alerts: AlertConfig,
    /// Sizes of the models that are trained.
    pub model: SizeConfig,
    /// How a model is trained.
    pub training: TrainingConfig,
    /// When models are trained, from what, and where they are kept.
    pub retrain: RetrainConfig,
    /// The workers.
    pub worker: WorkerConfig,
    /// The endpoints.
    pub http: HttpConfig,
    /// The log.
    pub log: LogConfig,
}

/// Where ticks come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputConfig {
    /// Topics with ticks.
    pub topics: Vec<String>,
    /// Where a new group starts.
    pub start: Start,
}

/// Where a new consumer group starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// At the oldest record that the broker still has.
    Earliest,
    /// After the newest record.
    Latest,
}

/// Where alerts and dead letters go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputConfig {
    /// Topic of alerts.
    pub alerts_topic: String,
    /// Topic of records that could not be used.
    pub dead_letters_topic: String,
}

/// When models are trained, from what, and where they are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrainConfig {
    /// Whether models are trained at all.
    pub enabled: bool,
    /// Time between two trainings (seconds, > 0).
    pub interval_secs: u64,
    /// How far back ticks are read (seconds of arrival time, > 0).
    pub history_secs: u64,
    /// Most ticks that are read for one training (> 0).
    pub history_ticks_max: usize,
    /// Where models are kept.
    pub models_dir: PathBuf,
    /// Models kept (> 0).
    pub models_kept: usize,
    /// How often the store is looked at (seconds, > 0).
    pub watch_interval_secs: u64,
    /// Longest wait with scoring for the first model (seconds; 0: never wait).
    pub first_model_wait_secs: u64,
}

/// The workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    /// Workers in this process (> 0).
    pub workers: usize,
    /// Most records in one batch (> 0).
    pub batch_records_max: usize,
    /// Longest wait for a record (milliseconds, > 0).
    pub poll_timeout_ms: u64,
    /// Time between two commits (milliseconds, > 0).
    pub commit_interval_ms: u64,
    /// Records that may wait for acknowledgement (> 0).
    pub in_flight_max: usize,
    /// Longest time to drain (seconds, > 0).
    pub drain_secs: u64,
    /// Longest time with lag and without a record (seconds, > 0).
    pub stall_secs: u64,
}

/// The endpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Whether they are served.
    pub enabled: bool,
    /// Address and port.
    pub listen: String,
}

/// The log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// Least severe level that is written.
    pub level: LogLevel,
    /// Form of a line.
    pub format: LogFormat,
}

/// Least severe level that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Errors alone.
    Error,
    /// Warnings too.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file is not there or cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or a value has the wrong type or an unknown key.
    #[error("{0}")]
    Malformed(String),
    /// Values that make no sense.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
}

/// One value that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the key, such as `worker.workers`.
    pub key: String,
    /// Expected, found, what to do.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.key, self.text)
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

impl Config {
    /// Reads defaults, then `file`, then the environment, and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`] that names the key.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let environment = Environment::with_prefix(ENVIRONMENT_PREFIX)
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true)
            .list_separator(",")
            .with_list_parse_key("input.topics");
        let text = file.map(read).transpose()?;
        Self::build(text.as_deref(), Some(environment))
    }

    /// Reads defaults, then the text of a file, without looking at the environment.
    ///
    /// # Errors
    /// [`ConfigError`] that names the key.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::build(Some(text), None)
    }

    fn build(text: Option<&str>, environment: Option<Environment>) -> Result<Self, ConfigError> {
        let mut builder: ConfigBuilder<DefaultState> =
            config::Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        if let Some(text) = text {
            builder = builder.add_source(File::from_str(text, FileFormat::Toml));
        }
        if let Some(environment) = environment {
            builder = builder.add_source(environment);
        }
        let merged = builder
            .build()
            .map_err(|error| ConfigError::Malformed(error.to_string()))?;
        let mut config: Config = serde_path_to_error::deserialize(merged).map_err(|error| {
            let path = error.path().to_string();
            let text = error.into_inner().to_string();
            ConfigError::Malformed(if path == "." || text.contains(&path) {
                text
            } else {
                format!("{path}: {text}")
            })
        })?;
        config.training.runs = config.alerts.runs();
        let problems = config.problems();
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError::Invalid(problems))
        }
    }

    /// Gives what the detector is told.
    pub fn detector_config(&self) -> DetectorConfig {
        DetectorConfig {
            topics: self.input.topics.clone(),
            decode: self.decode.clone(),
            guards: self.guards.clone(),
            alerts: self.alerts.clone(),
            limits: self.detector.clone(),
        }
    }

    /// Lists the values that make no sense.
    fn problems(&self) -> Vec<Problem> {
        let mut check = Checks::default();
        check.that(
            "kafka.brokers",
            !self.kafka.brokers.trim().is_empty(),
            "expected host:port, found nothing",
        );
        check.that(
            "kafka.group",
            !self.kafka.group.trim().is_empty(),
            "expected a name, found nothing",
        );
        check.above_zero("kafka.start_timeout_secs", self.kafka.start_timeout_secs);
        check.that(
            "input.topics",
            !self.input.topics.is_empty(),
            "expected at least one topic",
        );
        for topic in self
            .input
            .topics
            .iter()
            .chain([&self.output.alerts_topic, &self.output.dead_letters_topic])
        {
            check.that(
                "topics",
                is_topic_name(topic),
                &format!("{topic:?} is no topic name; expected [A-Za-z0-9._-]+"),
            );
        }
        for output in [&self.output.alerts_topic, &self.output.dead_letters_topic] {
            let is_input = self.input.topics.contains(output);
            check.that(
                "output",
                !is_input,
                &format!("{output} is an input topic too; the daemon would read itself"),
            );
        }
        if let Err(problem) = Decoder::new(&self.decode) {
            check.problems.push(Problem {
                key: "decode".into(),
                text: problem,
            });
        }
        check.above_zero("decode.record_bytes_max", self.decode.record_bytes_max as u64);
        check.above_zero("decode.instrument_bytes_max", self.decode.instrument_bytes_max as u64);
        self.check_guards(&mut check);
        self.check_detection(&mut check);
        self.check_learning(&mut check);
        self.check_edges(&mut check);
        check.problems
    }

    fn check_learning(&self, check: &mut Checks) {
        if let Err(problem) = self.model.check() {
            check.problems.push(Problem {
                key: "model".into(),
                text: problem,
            });
        }
        let training = &self.training;
        let share = training.held_back_share;
        check.that(
            "training.held_back_share",
            share > 0.0 && share < 1.0,
            "expected a share between 0 and 1",
        );
        check.above_zero(
            "training.ticks_per_instrument_min",
            training.ticks_per_instrument_min as u64,
        );
        check.that(
            "training.ticks_per_instrument_max",
            training.ticks_per_instrument_max >= training.ticks_per_instrument_min,
            "expected at least training.ticks_per_instrument_min",
        );
        for (key, value) in [
            ("training.fit.batch_windows", training.fit.batch_windows),
            ("training.fit.windows_max", training.fit.windows_max),
            ("training.fit.epochs_max", training.fit.epochs_max),
            ("training.fit.patience_epochs", training.fit.patience_epochs),
            ("training.exposure.copies", training.exposure.copies),
            ("training.exposure.ticks_max", training.exposure.ticks_max),
            ("training.exposure.batch_sequences", training.exposure.batch_sequences),
            ("retrain.history_ticks_max", self.retrain.history_ticks_max),
            ("retrain.models_kept", self.retrain.models_kept),
        ] {
            check.above_zero(key, value as u64);
        }
        for (key, rate) in [
            ("training.fit.learning_rate", training.fit.learning_rate),
            ("training.exposure.learning_rate", training.exposure.learning_rate),
        ] {
            check.that(key, rate > 0.0, "expected more than 0");
        }
        for (key, share) in [
            ("training.exposure.feature_dropout", training.exposure.feature_dropout),
            ("training.exposure.state_dropout", training.exposure.state_dropout),
        ] {
            check.that(key, (0.0..1.0).contains(&share), "expected a share from 0 to below 1");
        }
        check.above_zero("retrain.interval_secs", self.retrain.interval_secs);
        check.above_zero("retrain.history_secs", self.retrain.history_secs);
        check.above_zero("retrain.watch_interval_secs", self.retrain.watch_interval_secs);
    }

    fn check_edges(&self, check: &mut Checks) {
        let worker = &self.worker;
        check.that(
            "worker.workers",
            (1..=256).contains(&worker.workers),
            &format!("expected 1 to 256, found {}", worker.workers),
        );
        check.above_zero("worker.batch_records_max", worker.batch_records_max as u64);
        check.above_zero("worker.poll_timeout_ms", worker.poll_timeout_ms);
        check.above_zero("worker.commit_interval_ms", worker.commit_interval_ms);
        check.above_zero("worker.in_flight_max", worker.in_flight_max as u64);
        check.above_zero("worker.drain_secs", worker.drain_secs);
        check.above_zero("worker.stall_secs", worker.stall_secs);
        let listen = self.http.listen.parse::<std::net::SocketAddr>();
        check.that(
            "http.listen",
            listen.is_ok(),
            &format!("expected address:port, found {:?}", self.http.listen),
        );
    }
}

#[derive(Default)]
struct Checks {
    problems: Vec<Problem>,
}

impl Checks {
    fn that(&mut self, key: &str, holds: bool, text: &str) {
        if !holds {
            self.problems.push(Problem {
                key: key.into(),
                text: text.into(),
            });
        }
    }

    fn above_zero(&mut self, key: &str, value: u64) {
        self.that(key, value > 0, "expected more than 0, found 0");
    }
}

fn is_topic_name(name: &str) -> bool {
    const LENGTH_MAX: usize = 249;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && name.len() <= LENGTH_MAX && name.bytes().all(allowed)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::run::RunRule;

    fn error(text: &str) -> String {
        Config::from_toml(text).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_valid_and_files_override_single_keys() {
        let config = Config::from_toml("[worker]\nworkers = 3").unwrap();
        assert_eq!(config.worker.workers, 3);
        assert_eq!(config.worker.drain_secs, 20);
    }

    #[test]
    fn budgets_are_counted_in_the_alerts_that_are_configured() {
        let runs = |text: &str| Config::from_toml(text).unwrap().training.runs;
        assert_eq!(runs(""), RunRule::default());
        assert_eq!(runs("[alerts]\nquiet_ticks = 9").quiet_ticks, 9);
    }

    #[test]
    fn shipped_files_are_valid() {
        Config::from_toml(include_str!("../config/docker.toml")).unwrap();
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_named() {
        assert!(
            error("[worker]\nwrkers = 3").contains("wrkers"),
            "{}",
            error("[worker]\nwrkers = 3")
        );
        assert!(error("[worker]\nworkers = \"many\"").contains("worker.workers"));
        assert!(error("nonsense = 1").contains("nonsense"));
        assert!(error("[decode.json]\ntime_unit = \"hours\"").contains("decode.json.time_unit"));
    }

    #[test]
    fn values_out_of_range_are_named_all_at_once() {
        let text = error("[worker]\nworkers = 0\n[alerts]\nfalse_alarms_per_10k_ticks = 0\n[model]\nlookback = 100");
        for key in [
            "worker.workers",
            "alerts.false_alarms_per_10k_ticks",
            "detector.rows_kept",
        ] {
            assert!(text.contains(key), "{key}: {text}");
        }
        let text = error("[alerts]\nfalse_alarms_per_instrument_day = -1\nfalse_alarms_per_hour = nan");
        for problem in [
            "alerts.false_alarms_per_instrument_day: expected 0 or more, found -1",
            "alerts.false_alarms_per_hour: expected 0 or more, found NaN",
        ] {
            assert!(text.contains(problem), "{problem}: {text}");
        }
        let text = error("[alerts]\nshock_instruments_min = 1\nshock_share = 0\nshock_window_secs = 90");
        for problem in [
            "alerts.shock_instruments_min: expected 0 (never) or at least 2, found 1",
            "alerts.shock_share: expected a share above 0 and at most 1, found 0",
            "alerts.shock_active_secs: expected at least alerts.shock_window_secs = 90",
        ] {
            assert!(text.contains(problem), "{problem}: {text}");
        }
        let text = error("[guards]\nstale_secs_max = 1.0\nfrozen_ticks_min = 0\nsequence_hole_max = 0");
        for problem in [
            "guards.stale_secs_max: expected more than 2, found 1",
            "guards.frozen_ticks_min: expected more than 0",
            "guards.sequence_hole_max: expected more than 0",
        ] {
            assert!(text.contains(problem), "{problem}: {text}");
        }
        assert!(error("[output]\nalerts_topic = \"ticks\"").contains("read itself"));
        assert!(error("[decode.json]\nprice = \"price\"").contains("json.price"));
    }

    #[test]
    fn librdkafka_properties_keep_their_dots() {
        let config = Config::from_toml("[kafka.properties]\n\"security.protocol\" = \"ssl\"").unwrap();
        assert_eq!(
            config.kafka.properties.get("security.protocol").map(String::as_str),
            Some("ssl")
        );
    }
}
