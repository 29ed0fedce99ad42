//! `tapewatch run`: the daemon.

use std::path::PathBuf;

use super::{ConfigArguments, Exit};
use crate::daemon::{Daemon, DaemonOptions};
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Begin with this model in place of the store's newest.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let config = arguments.config.load()?;
    telemetry::start(&config.log);
    let daemon = Daemon::start(
        config,
        &DaemonOptions {
            model: arguments.model.clone(),
        },
    )?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "running");
    let ended = daemon.wait_for_signal();
    tracing::info!("stopping");
    let stopped = daemon.stop();
    ended?;
    stopped?;
    Ok(Exit::Done)
}
