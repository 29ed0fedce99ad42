//! The command line: data to stdout, people to stderr, and an exit code that says what went wrong.
//!
//! Every command is a file of its own; here are the arguments they share and the exit codes.

mod backtest;
mod check;
mod demo;
mod examples;
mod generate;
mod init;
mod manual;
mod models;
mod outputs;
mod replay;
mod run;
mod sample;
mod signals;
mod terminal;
mod train;
mod version;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::RangedU64ValueParser;
use clap::{Parser, Subcommand};

use self::outputs::CannotWrite;
use crate::config::{self, Config, ConfigError, FlagValue, LogConfig, LogFormat, LogLevel};
use crate::daemon::DaemonError;
use crate::demo::scenario::ScenarioError;
use crate::demo::stage::StageError;
use crate::kafka::client::BrokerError;
use crate::offline::backtest::BacktestError;
use crate::offline::evaluation::EvaluationError;
use crate::offline::tick_files::{Recording, TickFileError};
use crate::store::StoreError;
use crate::telemetry;
use crate::train::trainer::TrainError;

/// A streaming anomaly detector for financial feeds: ticks from Kafka in, alerts and metrics out.
#[derive(Debug, Parser)]
#[command(
    name = "tapewatch",
    version,
    long_version = version::long(),
    about,
    after_help = examples::ALL,
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    log: LogArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: score ticks from Kafka, publish alerts, retrain.
    #[command(after_help = examples::RUN)]
    Run(run::Arguments),
    /// Show everything at once on an embedded broker with a synthetic market.
    #[command(after_help = examples::DEMO)]
    Demo(demo::Arguments),
    /// Write a commented configuration file to begin with.
    #[command(after_help = examples::INIT)]
    Init(init::Arguments),
    /// Validate a configuration; with --connect, ask the broker as well.
    #[command(after_help = examples::CHECK)]
    Check(check::Arguments),
    /// Train a model on recorded ticks.
    #[command(after_help = examples::TRAIN)]
    Train(train::Arguments),
    /// Fit on one folder of ticks, score another, and judge the result.
    #[command(after_help = examples::BACKTEST)]
    Backtest(backtest::Arguments),
    /// Send recorded ticks to a topic.
    #[command(after_help = examples::REPLAY)]
    Replay(replay::Arguments),
    /// Send a synthetic market to a topic, with faults or without, until stopped.
    #[command(after_help = examples::GENERATE)]
    Generate(generate::Arguments),
    /// Look at a model, and move its weights to PyTorch and back.
    #[command(after_help = examples::MODELS)]
    Models(models::Arguments),
    /// Print what completes tapewatch's arguments in a shell.
    #[command(after_help = examples::COMPLETIONS)]
    Completions(manual::CompletionsArguments),
    /// Print the manual page, or write one for each command.
    #[command(after_help = examples::MAN)]
    Man(manual::ManArguments),
}

/// What is told on stderr.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Log")]
struct LogArguments {
    /// Least severe level of the log, in place of log.level; "warn" for all commands but run.
    #[arg(long, global = true, value_name = "LEVEL", value_parser = LogLevel::NAMES)]
    log_level: Option<String>,
    /// Form of the log, in place of log.format; "text" for all commands but run.
    #[arg(long, global = true, value_name = "FORMAT", value_parser = LogFormat::NAMES)]
    log_format: Option<String>,
    /// Tell nothing on stderr but warnings and errors.
    #[arg(long, short, global = true, conflicts_with = "log_level")]
    quiet: bool,
}

impl LogArguments {
    /// Gives the log of a command that is no daemon.
    fn config(&self) -> LogConfig {
        LogConfig {
            level: self
                .log_level
                .as_deref()
                .and_then(LogLevel::named)
                .unwrap_or(LogLevel::Warn),
            format: self
                .log_format
                .as_deref()
                .and_then(LogFormat::named)
                .unwrap_or(LogFormat::Text),
        }
    }

    /// Gives what stands in place of the configuration's keys.
    fn flags(&self) -> Vec<FlagValue> {
        let level = self
            .log_level
            .as_ref()
            .map(|level| flag("--log-level", "log.level", level));
        let quiet = self.quiet.then(|| flag("--quiet", "log.level", "warn"));
        let format = self
            .log_format
            .as_ref()
            .map(|format| flag("--log-format", "log.format", format));
        [level, quiet, format].into_iter().flatten().collect()
    }
}

fn flag(flag: &'static str, key: &'static str, value: &str) -> FlagValue {
    FlagValue {
        flag,
        key,
        value: value.to_owned(),
    }
}

/// The configuration file.
#[derive(Clone, Debug, clap::Args)]
struct ConfigArguments {
    /// TOML file over the built-in defaults; TAPEWATCH__SECTION__KEY variables override both.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArguments {
    fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Reads the configuration, and warns of what was probably meant to be a part of it.
    fn load(&self) -> Result<Config, ConfigError> {
        self.load_with(&[])
    }

    /// The same, with flags that stand in place of keys.
    fn load_with(&self, flags: &[FlagValue]) -> Result<Config, ConfigError> {
        config::environment_warnings().iter().for_each(terminal::warn);
        self.read(flags)
    }

    /// The same without a warning, for who has a log to write it to.
    fn read(&self, flags: &[FlagValue]) -> Result<Config, ConfigError> {
        Config::load_with(self.file(), flags)
    }
}

/// Where Kafka is, for commands that can do without a file.
#[derive(Clone, Debug, clap::Args)]
struct KafkaArguments {
    /// Brokers, in place of kafka.brokers.
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
}

impl KafkaArguments {
    /// Gives what stands in place of the configuration's keys.
    fn flags(&self) -> Vec<FlagValue> {
        let brokers = self
            .brokers
            .as_ref()
            .map(|brokers| flag("--brokers", "kafka.brokers", brokers));
        brokers.into_iter().collect()
    }
}

/// Looks at recorded ticks, and tells what is left out of them.
fn open_ticks(paths: &[PathBuf], config: &Config) -> Result<Recording, TickFileError> {
    let bar = terminal::bar("reading");
    let recording = Recording::open(paths, &config.decode, &mut |share| terminal::set_share(&bar, share));
    bar.finish_and_clear();
    let recording = recording?;
    recording.notes().iter().for_each(terminal::warn);
    Ok(recording)
}

/// What a seed may be: the same as `training.seed`, in whose place it can stand.
fn seeds() -> RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(..=i64::MAX as u64)
}

/// How a command ended (the codes of BSD's sysexits where one fits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    /// Done.
    Done = 0,
    /// The verdict is a failure.
    VerdictFailed = 1,
    /// Wrong arguments or bad input.
    Usage = 2,
    /// The broker is not to be had.
    NoBroker = 69,
    /// A file cannot be written.
    CannotWrite = 73,
    /// Port taken, or another failure of input or output.
    Io = 74,
    /// The configuration is wrong.
    Config = 78,
    /// A signal ended it before there was a result.
    Interrupted = 130,
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Printing to a closed terminal is nothing to fail for.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() {
                Exit::Usage as u8
            } else {
                Exit::Done as u8
            });
        }
    };
    if cli.log.quiet {
        terminal::set_quiet();
    }
    // The demo hears signals itself, and the daemon does once it runs.
    if !matches!(cli.command, Command::Demo(_)) {
        signals::listen();
    }
    let log = match &cli.command {
        Command::Run(arguments) => LogConfig {
            format: arguments.log_format(&cli.log).unwrap_or(LogFormat::Text),
            ..cli.log.config()
        },
        _ => {
            telemetry::start(&cli.log.config());
            cli.log.config()
        }
    };
    match perform(&cli) {
        Ok(exit) => ExitCode::from(signals::asked().unwrap_or(exit as u8)),
        Err(error) => {
            tell_why(&error, &log);
            ExitCode::from(exit_of(&error) as u8)
        }
    }
}

fn perform(cli: &Cli) -> anyhow::Result<Exit> {
    match &cli.command {
        Command::Run(arguments) => run::run(arguments, &cli.log),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Init(arguments) => init::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Train(arguments) => train::run(arguments),
        Command::Backtest(arguments) => backtest::run(arguments),
        Command::Replay(arguments) => replay::run(arguments),
        Command::Generate(arguments) => generate::run(arguments),
        Command::Models(arguments) => models::run(arguments),
        Command::Completions(arguments) => manual::completions(arguments),
        Command::Man(arguments) => manual::man(arguments),
    }
}

/// Tells what ended a command, in the form of its log.
fn tell_why(error: &anyhow::Error, log: &LogConfig) {
    let text = causes(error);
    match log.format {
        LogFormat::Text => terminal::error(&text),
        LogFormat::Json => {
            telemetry::start(log);
            tracing::error!(error = text, "ended by an error");
        }
    }
}

/// Writes an error and what caused it, each cause once: some errors repeat theirs.
fn causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            text += if text.is_empty() { "" } else { ": " };
            text += &cause;
        }
    }
    text
}

/// Writes data to stdout, and a newline. A reader that has seen enough and left is nothing to fail for.
fn say(text: &str) -> std::io::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Finds the exit code of an error by what caused it.
fn exit_of(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        if cause.is::<ConfigError>() {
            return Exit::Config;
        }
        if let Some(error) = cause.downcast_ref::<StageError>() {
            return match error {
                StageError::Daemon(error) => exit_of_daemon(error),
                StageError::Broker(error) => exit_of_broker(error),
                StageError::Embedded(_) | StageError::TimedOut(_) | StageError::NoModel(_) => Exit::Io,
            };
        }
        if let Some(error) = cause.downcast_ref::<BrokerError>() {
            return exit_of_broker(error);
        }
        if let Some(error) = cause.downcast_ref::<DaemonError>() {
            return exit_of_daemon(error);
        }
        if let Some(error) = cause.downcast_ref::<StoreError>() {
            return exit_of_store(error);
        }
        if cause.is::<CannotWrite>() {
            return Exit::CannotWrite;
        }
        if cause.is::<BacktestError>()
            || cause.is::<TrainError>()
            || cause.is::<models::BadWeights>()
            || cause.is::<TickFileError>()
            || cause.is::<EvaluationError>()
            || cause.is::<ScenarioError>()
        {
            return Exit::Usage;
        }
    }
    Exit::Io
}

fn exit_of_broker(error: &BrokerError) -> Exit {
    match error.is_of_settings() {
        true => Exit::Config,
        false => Exit::NoBroker,
    }
}

fn exit_of_daemon(error: &DaemonError) -> Exit {
    match error {
        DaemonError::Broker(error) => exit_of_broker(error),
        DaemonError::Store(error) => exit_of_store(error),
        DaemonError::Listen(_) | DaemonError::Thread(_) | DaemonError::Panicked(_) | DaemonError::DrainTimeout(_) => {
            Exit::Io
        }
    }
}

fn exit_of_store(error: &StoreError) -> Exit {
    match error {
        StoreError::Unwritable { .. } | StoreError::OtherOwner { .. } => Exit::CannotWrite,
        StoreError::Unreadable { .. } | StoreError::NoArtifact { .. } => Exit::Usage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn examples_of_the_help_are_commands() {
        let all = [
            examples::ALL,
            examples::RUN,
            examples::DEMO,
            examples::INIT,
            examples::CHECK,
            examples::TRAIN,
            examples::BACKTEST,
            examples::REPLAY,
            examples::GENERATE,
            examples::MODELS,
            examples::COMPLETIONS,
            examples::MAN,
        ];
        let mut parsed = 0;
        for line in all
            .into_iter()
            .flat_map(str::lines)
            .filter(|line| line.starts_with(' '))
        {
            // What stands behind is a comment, what a shell does with it none of ours.
            let command = line.trim().split("   ").next().unwrap_or_default();
            let command = command.split(['>', '|']).next().unwrap_or_default();
            let words = command.split_whitespace().skip_while(|word| *word != "tapewatch");
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
            parsed += 1;
        }
        assert!(parsed > 20, "{parsed}");
    }

    #[test]
    fn a_cause_is_told_once() {
        let not_found = std::io::Error::from_raw_os_error(2);
        let error = anyhow::Error::new(ConfigError::Unreadable {
            path: "none.toml".into(),
            source: not_found,
        });
        let text = causes(&error.context("while it starts"));
        assert_eq!(text.matches("os error 2").count(), 1, "{text}");
        assert!(text.starts_with("while it starts: cannot read none.toml: "), "{text}");
    }
}
