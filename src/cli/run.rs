//! `tapewatch run`: the daemon.

use std::path::PathBuf;

use super::{ConfigArguments, Exit, KafkaArguments, LogArguments, flag, signals};
use crate::config::{self, FlagValue, LogFormat};
use crate::daemon::{Daemon, DaemonOptions};
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    #[command(flatten)]
    kafka: KafkaArguments,
    /// Topics of ticks, in place of input.topics.
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// Begin with this model in place of the store's newest.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
}

impl Arguments {
    /// Gives the form of the log, as far as it can be known before the configuration is.
    pub fn log_format(&self, log: &LogArguments) -> Option<LogFormat> {
        config::log_format(self.config.file(), &log.flags())
    }

    fn flags(&self, log: &LogArguments) -> Vec<FlagValue> {
        let mut flags = log.flags();
        flags.extend(self.kafka.flags());
        if !self.topic.is_empty() {
            flags.push(flag("--topic", "input.topics", &self.topic.join(",")));
        }
        flags
    }
}

pub fn run(arguments: &Arguments, log: &LogArguments) -> anyhow::Result<Exit> {
    let config = arguments.config.read(&arguments.flags(log))?;
    telemetry::start(&config.log);
    for warning in config::environment_warnings() {
        tracing::warn!("{warning}");
    }
    let daemon = Daemon::start(
        config,
        &DaemonOptions {
            model: arguments.model.clone(),
        },
    )?;
    signals::hand_over();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        commit = env!("TAPEWATCH_COMMIT"),
        "running"
    );
    let ended = daemon.wait_for_signal();
    tracing::info!("stopping");
    let stopped = daemon.stop();
    ended?;
    stopped?;
    Ok(Exit::Done)
}
