//! The configuration: built-in defaults < file < environment, checked as a whole before anything starts.
//!
//! Every module owns its own section; here they are put together. An error names the key and says what to do. Knows no
//! defaults but `config/default.toml`, which is built in.

mod moved;
pub mod presets;
mod ranges;
mod relations;
mod toml_text;

use std::fmt;
use std::path::{Path, PathBuf};

use config::builder::DefaultState;
use config::{ConfigBuilder, Environment};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::kafka::client::KafkaConfig;
use crate::pipeline::alert::AlertConfig;
use crate::pipeline::decode::DecodeConfig;
use crate::pipeline::detector::{DetectorConfig, LimitConfig};
use crate::pipeline::guard::GuardConfig;
use crate::train::size::SizeConfig;
use crate::train::trainer::TrainingConfig;

pub use self::ranges::Range;
use self::toml_text::TomlText;

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
    /// Time between two trainings (seconds, 1 to a year).
    pub interval_secs: u64,
    /// Least time between two calibrations of instruments that have become ready since (seconds, 1 to a day).
    pub calibration_interval_secs: u64,
    /// How far back ticks are read (seconds of arrival time, 1 to a year).
    pub history_secs: u64,
    /// Most ticks that are read for one training (ticks, 1–10⁹).
    pub history_ticks_max: usize,
    /// Where models are kept.
    pub models_dir: PathBuf,
    /// Models kept (1–10,000).
    pub models_kept: usize,
    /// How often the store is looked at (seconds, 1 to an hour).
    pub watch_interval_secs: u64,
    /// Longest wait with scoring for the first model (seconds, up to a day; 0: never wait).
    pub first_model_wait_secs: u64,
}

/// The workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    /// Workers in this process (1–256).
    pub workers: usize,
    /// Most records in one batch (1–65,536).
    pub batch_records_max: usize,
    /// Longest wait for a record (milliseconds, 1–1000).
    pub poll_timeout_ms: u64,
    /// Time between two commits (milliseconds, 1 to an hour).
    pub commit_interval_ms: u64,
    /// Records that may wait for acknowledgement (1–1,000,000).
    pub in_flight_max: usize,
    /// Bytes of them (1 MiB to 1 TiB).
    pub in_flight_bytes_max: usize,
    /// Longest time to drain (seconds, 1–300, below the session's time-out).
    pub drain_secs: u64,
    /// Longest time with lag and without a record (seconds, more than `drain_secs`, up to a day).
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
    /// The file is not TOML.
    #[error("{0}")]
    Malformed(String),
    /// Keys that nobody knows, values of a wrong type or out of their range, or that do not fit each other.
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
        let text = file.map(text_of).transpose()?;
        Self::build(text.as_deref(), Some(environment()))
    }

    /// Reads defaults, then the text of a file, without looking at the environment.
    ///
    /// # Errors
    /// [`ConfigError`] that names the key.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::build(Some(text), None)
    }

    fn build(text: Option<&str>, environment: Option<Environment>) -> Result<Self, ConfigError> {
        let defaults = || config::Config::builder().add_source(TomlText::source(DEFAULTS));
        let mut builder: ConfigBuilder<DefaultState> = defaults();
        if let Some(text) = text {
            builder = builder.add_source(TomlText::source(text));
        }
        if let Some(environment) = environment {
            builder = builder.add_source(environment);
        }
        let built = |builder: ConfigBuilder<DefaultState>| builder.build().map(|merged| merged.cache);
        let malformed = |error: config::ConfigError| ConfigError::Malformed(error.to_string());
        let mut merged = built(builder).map_err(malformed)?;
        let mut problems = moved::check(&mut merged);
        problems.extend(ranges::check(&mut merged, &built(defaults()).map_err(malformed)?));
        match Self::read(merged) {
            Ok(config) => {
                problems.extend(relations::check(&config));
                match problems.is_empty() {
                    true => Ok(config),
                    false => Err(ConfigError::Invalid(problems)),
                }
            }
            Err(problem) => {
                problems.push(problem);
                Err(ConfigError::Invalid(problems))
            }
        }
    }

    /// Makes a configuration of what was merged, unless a key is unknown or something has the wrong type.
    fn read(merged: config::Value) -> Result<Self, Problem> {
        let mut config: Config = serde_path_to_error::deserialize(merged).map_err(|error| Problem {
            key: error.path().to_string(),
            text: error.into_inner().to_string(),
        })?;
        config.training.runs = config.alerts.runs();
        for preset in &config.decode.preset.0 {
            let rules = presets::rules(preset).map_err(|text| Problem {
                key: "decode.preset".into(),
                text,
            })?;
            config.decode.preset_rules.extend(rules);
        }
        Ok(config)
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
}

fn environment() -> Environment {
    Environment::with_prefix(ENVIRONMENT_PREFIX)
        .prefix_separator("__")
        .separator("__")
        .try_parsing(true)
        .list_separator(",")
        .with_list_parse_key("input.topics")
}

fn text_of(path: &Path) -> Result<String, ConfigError> {
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
    fn problems_of_all_kinds_are_named_at_once() {
        let text = error("[worker]\nworkers = 0\n[alerts]\nfalse_alarms_per_10k_ticks = 0\n[model]\nlookback = 100");
        for problem in [
            "worker.workers: expected 1 to 256 workers, found 0",
            "alerts.false_alarms_per_10k_ticks: expected 0.00001 to 1000 alerts, found 0",
            "detector.rows_kept: expected at least model.lookback = 100",
        ] {
            assert!(text.contains(problem), "{problem}: {text}");
        }
        let text = error("[worker]\nworkers = 0\nwrkers = 3");
        for problem in ["worker.workers: expected 1 to 256 workers, found 0", "wrkers"] {
            assert!(text.contains(problem), "{problem}: {text}");
        }
    }

    #[test]
    fn numbers_of_the_environment_are_held_to_their_ranges() {
        let build = |name: &str, value: &str| {
            let variables = [(name.to_owned(), value.to_owned())].into();
            Config::build(None, Some(environment().source(Some(variables))))
        };
        let error = |name: &str, value: &str| build(name, value).unwrap_err().to_string();
        assert_eq!(
            build("TAPEWATCH__WORKER__DRAIN_SECS", "30").unwrap().worker.drain_secs,
            30
        );
        for (value, found) in [
            ("0", "found 0"),
            ("18446744073709551615", "found 18446744073709552000"),
            ("nan", "found NaN"),
            ("soon", "found \"soon\""),
        ] {
            let text = error("TAPEWATCH__WORKER__DRAIN_SECS", value);
            assert_eq!(text, format!("worker.drain_secs: expected 1 to 300 seconds, {found}"));
        }
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
