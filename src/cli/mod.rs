//! The command line: data to stdout, people to stderr, and an exit code that says what went wrong.
//!
//! Every command is a file of its own; here are the arguments they share and the exit codes.

mod backtest;
mod check;
mod demo;
mod generate;
mod models;
mod replay;
mod run;
mod sample;
mod terminal;
mod train;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::RangedU64ValueParser;
use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError};
use crate::daemon::DaemonError;
use crate::demo::scenario::ScenarioError;
use crate::demo::stage::StageError;
use crate::kafka::client::BrokerError;
use crate::offline::backtest::BacktestError;
use crate::offline::evaluation::EvaluationError;
use crate::offline::tick_files::TickFileError;
use crate::store::StoreError;
use crate::telemetry;
use crate::train::trainer::TrainError;

/// A streaming anomaly detector for financial feeds: ticks from Kafka in, alerts and metrics out.
#[derive(Debug, Parser)]
#[command(
    name = "tapewatch",
    version,
    about,
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: score ticks from Kafka, publish alerts, retrain.
    Run(run::Arguments),
    /// Show everything at once on an embedded broker with a synthetic market.
    Demo(demo::Arguments),
    /// Train a model on recorded ticks.
    Train(train::Arguments),
    /// Fit on one folder of ticks, score another, and judge the result.
    Backtest(backtest::Arguments),
    /// Look at a model, and move its weights to PyTorch and back.
    Models(models::Arguments),
    /// Send recorded ticks to a topic.
    Replay(replay::Arguments),
    /// Send a synthetic market to a topic, with faults or without, until stopped.
    Generate(generate::Arguments),
    /// Validate a configuration.
    Check(check::Arguments),
}

/// The configuration file.
#[derive(Clone, Debug, clap::Args)]
struct ConfigArguments {
    /// TOML file over the built-in defaults; TAPEWATCH__SECTION__KEY variables override both.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArguments {
    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(self.config.as_deref())
    }
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
    let result = match cli.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Train(arguments) => train::run(&arguments),
        Command::Backtest(arguments) => backtest::run(&arguments),
        Command::Models(arguments) => models::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
    };
    match result {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(error) => {
            telemetry::say_why_it_ends(&format_args!("{error:#}"));
            ExitCode::from(exit_of(&error) as u8)
        }
    }
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

/// A file of results cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}")]
struct CannotWrite {
    path: PathBuf,
    source: std::io::Error,
}

impl CannotWrite {
    fn at(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> CannotWrite {
        let path = path.to_path_buf();
        move |source| CannotWrite { path, source }
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
}
