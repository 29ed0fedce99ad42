//! The configuration: built-in defaults < file < environment, checked as a whole before anything starts.
//!
//! Every module owns its own section; here they are put together. An error names the key, the line, variable or flag that
//! set it, and says what to do. Knows no defaults but `config/default.toml`, which is built in.

mod environment;
mod moved;
mod nearest;
mod origin;
pub mod presets;
mod problem;
mod ranges;
mod reader;
mod relations;
mod toml_text;

use std::path::{Path, PathBuf};

use config::{Source, Value};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::kafka::client::KafkaConfig;
use crate::pipeline::alert::AlertConfig;
use crate::pipeline::decode::DecodeConfig;
use crate::pipeline::detector::{DetectorConfig, LimitConfig};
use crate::pipeline::guard::GuardConfig;
use crate::train::size::SizeConfig;
use crate::train::trainer::TrainingConfig;

use self::environment::Variables;
pub use self::origin::FlagValue;
use self::origin::Origins;
pub use self::problem::Problem;
pub use self::ranges::Range;
use self::toml_text::TomlText;

/// The built-in defaults, as a commented file.
pub const DEFAULTS: &str = include_str!("../config/default.toml");

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
    /// Where state is kept.
    pub state: StateConfig,
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

/// Where state is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateConfig {
    /// Topic of the state; empty: nowhere.
    pub changelog_topic: String,
    /// Most bytes of snapshots that a worker writes (bytes per second, 1,024–10⁹).
    pub snapshot_bytes_per_sec_max: u64,
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

impl LogLevel {
    /// All names, as the configuration has them.
    pub const NAMES: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

    /// Gives the level of this name.
    pub fn named(name: &str) -> Option<Self> {
        let levels = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];
        Self::NAMES
            .iter()
            .position(|known| *known == name)
            .map(|index| levels[index])
    }
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

impl LogFormat {
    /// All names, as the configuration has them.
    pub const NAMES: [&str; 2] = ["text", "json"];

    /// Gives the form of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file is not there or cannot be read.
    #[error("cannot read {}: {source}{}", path.display(), hint_at(source))]
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
    #[error("{}", problem::list(.0))]
    Invalid(Vec<Problem>),
}

/// Says how a file that is not there is made.
fn hint_at(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::NotFound => "; `tapewatch init` writes a file to begin with",
        _ => "",
    }
}

impl Config {
    /// Reads defaults, then `file`, then the environment, and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`] that names the key and where it was set.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_with(file, &[])
    }

    /// The same, with flags above all.
    ///
    /// # Errors
    /// [`ConfigError`] that names the key and where it was set.
    pub fn load_with(file: Option<&Path>, flags: &[FlagValue]) -> Result<Self, ConfigError> {
        let text = file.map(text_of).transpose()?;
        Self::build(file, text.as_deref(), &Variables::of_process(), flags)
    }

    /// Reads defaults, then the text of a file, without looking at the environment.
    ///
    /// # Errors
    /// [`ConfigError`] that names the key.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::build(None, Some(text), &Variables::default(), &[])
    }

    fn build(
        file: Option<&Path>,
        text: Option<&str>,
        variables: &Variables,
        flags: &[FlagValue],
    ) -> Result<Self, ConfigError> {
        let mut origins = Origins::default();
        if let Some(text) = text {
            origins.note_file(file, text).map_err(|syntax| syntax.error(file))?;
        }
        origins.note_variables(variables);
        origins.note_flags(flags);
        let defaults = merge(None, &Variables::default(), &[])?;
        let mut merged = merge(text, variables, flags)?;
        let mut problems = moved::check(&mut merged);
        problems.extend(ranges::check(&mut merged, &defaults));
        let (mut config, refusals) = reader::read::<Config>(merged, &defaults);
        problems.extend(
            refusals
                .into_iter()
                .map(|refusal| problem::of_refusal(refusal, &defaults)),
        );
        problems.extend(config.as_mut().and_then(|config| config.take_presets().err()));
        if let Some(config) = config.as_mut().filter(|_| !origins.names("worker.drain_secs")) {
            relations::shorten_drain(config);
        }
        problems.extend(config.iter().flat_map(relations::check));
        match config {
            Some(mut config) if problems.is_empty() => {
                config.training.runs = config.alerts.runs();
                Ok(config)
            }
            _ => {
                problems.sort_by_key(|problem| origins.line_of(&problem.key));
                problems
                    .iter_mut()
                    .for_each(|problem| problem.origin = origins.of(&problem.key));
                Err(ConfigError::Invalid(problems))
            }
        }
    }

    /// Puts the rules of the presets that were named beside those that stand in the configuration.
    fn take_presets(&mut self) -> Result<(), Problem> {
        for preset in &self.decode.preset.0 {
            let rules = presets::rules(preset).map_err(|text| Problem::new("decode.preset", text))?;
            self.decode.preset_rules.extend(rules);
        }
        Ok(())
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

/// Lists variables of the process's environment that look as if they were meant for a key, and set none.
pub fn environment_warnings() -> Vec<String> {
    let defaults = TomlText::source(DEFAULTS).collect().unwrap_or_default();
    Variables::of_process().warnings(&defaults)
}

/// Reads the form of the log alone, so that errors of the rest can be told in it; nothing where that cannot be read.
pub fn log_format(file: Option<&Path>, flags: &[FlagValue]) -> Option<LogFormat> {
    let text = file.map(text_of).transpose().ok().flatten();
    let variables = Variables::of_process();
    // A file that is no TOML says nothing, and the others may.
    let merged = merge(text.as_deref(), &variables, flags).or_else(|_| merge(None, &variables, flags));
    LogFormat::named(&ranges::at(merged.as_ref().ok()?, "log.format")?.to_string())
}

/// Puts what was written over the defaults.
fn merge(text: Option<&str>, variables: &Variables, flags: &[FlagValue]) -> Result<Value, ConfigError> {
    let malformed = |error: config::ConfigError| ConfigError::Malformed(error.to_string());
    let mut builder = config::Config::builder().add_source(TomlText::source(DEFAULTS));
    if let Some(text) = text {
        builder = builder.add_source(TomlText::source(text));
    }
    let given = |given: &FlagValue| (given.key.to_owned(), given.flag.to_owned(), given.as_value());
    for (key, origin, value) in variables.values().into_iter().chain(flags.iter().map(given)) {
        let no_key = |_| ConfigError::Malformed(format!("{origin}: {key:?} cannot be the name of a key"));
        builder = builder.set_override(&key, value).map_err(no_key)?;
    }
    builder.build().map(|merged| merged.cache).map_err(malformed)
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

    fn of_variables(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::build(None, None, &Variables::of(variables), &[])
    }

    #[test]
    fn numbers_of_the_environment_are_held_to_their_ranges() {
        let name = "TAPEWATCH__WORKER__DRAIN_SECS";
        assert_eq!(of_variables(&[(name, "30")]).unwrap().worker.drain_secs, 30);
        for (value, found) in [
            ("0", "found 0"),
            ("18446744073709551615", "found 18446744073709551615"),
            ("nan", "found NaN"),
            ("soon", "found \"soon\""),
        ] {
            let text = of_variables(&[(name, value)]).unwrap_err().to_string();
            let expected = format!("{name}: worker.drain_secs: expected 1 to 300 seconds, {found}");
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn values_of_the_environment_are_what_their_key_wants() {
        let config = of_variables(&[
            ("TAPEWATCH__KAFKA__GROUP", "007"),
            ("TAPEWATCH__INPUT__TOPICS", "trades, quotes"),
            ("TAPEWATCH__RETRAIN__ENABLED", "False"),
            ("TAPEWATCH__LOG__FORMAT", "json"),
            ("TAPEWATCH__MODEL__EXPERIMENTAL__DROPOUT", "0"),
        ])
        .unwrap();
        assert_eq!(config.kafka.group, "007");
        assert_eq!(config.input.topics, ["trades", "quotes"]);
        assert!(!config.retrain.enabled);
        assert_eq!(config.log.format, LogFormat::Json);
        let text = of_variables(&[("TAPEWATCH__WORKER_WORKERS", "2")])
            .unwrap_err()
            .to_string();
        assert_eq!(
            text,
            "TAPEWATCH__WORKER_WORKERS: worker_workers: there is no such key; did you mean worker.workers?"
        );
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_the_way_out() {
        let error = |text: &str| {
            let file = Some(Path::new("tapewatch.toml"));
            let built = Config::build(file, Some(text), &Variables::default(), &[]);
            built.unwrap_err().to_string()
        };
        for (text, told) in [
            (
                "\n[worker]\nwrkers = 3",
                "tapewatch.toml:3: worker.wrkers: there is no such key; did you mean worker.workers?",
            ),
            (
                "[kafka]\ntopics = [\"a\"]",
                "tapewatch.toml:2: kafka.topics: there is no such key; did you mean input.topics?",
            ),
            (
                "brokers = \"a:1\"",
                "tapewatch.toml:1: brokers: there is no such key; did you mean kafka.brokers?",
            ),
            (
                "[log]\nlevel = \"loud\"",
                "tapewatch.toml:2: log.level: expected \"error\", \"warn\", \"info\", \"debug\" or \"trace\", found \"loud\"",
            ),
            (
                "[http]\nenabled = \"maybe\"",
                "tapewatch.toml:2: http.enabled: expected true or false, found \"maybe\"",
            ),
            (
                "[input]\ntopics = \"ticks\"",
                "tapewatch.toml:2: input.topics: expected a list in square brackets, found \"ticks\"",
            ),
            ("worker = 5", "tapewatch.toml:1: worker: expected a section, found 5"),
            (
                "[worker]\n# how many\nworkers = 0",
                "tapewatch.toml:3: worker.workers: expected 1 to 256 workers, found 0",
            ),
            (
                "[nonsense]\nx = 1",
                "tapewatch.toml:1: nonsense: there is no such key; the sections are kafka, input, decode, output, detector, \
                 guards, alerts, model, training, retrain, state, worker, http and log",
            ),
        ] {
            assert_eq!(error(text), told);
        }
        // All at once, one line each.
        let text = error("[worker]\nwrkers = 3\nworkers = 0\n[log]\nlevel = \"loud\"\nformat = 5");
        assert_eq!(text.lines().count(), 4, "{text}");
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_place_and_without_its_text() {
        let text = "[kafka.secret_files]\n\"sasl.password\" = \"hunter2";
        let file = Some(Path::new("tapewatch.toml"));
        let error = Config::build(file, Some(text), &Variables::default(), &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("tapewatch.toml:2:") && !error.contains("hunter2"),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }

    #[test]
    fn flags_stand_above_all_and_are_named() {
        let flags = |value: &str| {
            let (flag, key) = ("--topic", "input.topics");
            [FlagValue {
                flag,
                key,
                value: value.into(),
            }]
        };
        let variables = Variables::of(&[("TAPEWATCH__INPUT__TOPICS", "a,b")]);
        let build = |value: &str| Config::build(None, Some("[input]\ntopics = [\"c\"]"), &variables, &flags(value));
        assert_eq!(build("ticks").unwrap().input.topics, ["ticks"]);
        let error = build("no topic").unwrap_err().to_string();
        assert!(
            error.starts_with("--topic: input.topics: \"no topic\" is no topic name"),
            "{error}"
        );
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
