//! `tapewatch train`: a model from recorded ticks.

use std::path::PathBuf;

use super::{ConfigArguments, Exit, terminal};
use crate::offline::backtest::fit_folder;
use crate::store;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Folder with <instrument>.csv or .csv.gz.
    #[arg(long, value_name = "DIR")]
    ticks: PathBuf,
    /// Where to write the model (safetensors).
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let config = arguments.config.load()?;
    let bar = terminal::bar("training");
    let artifact = fit_folder(&arguments.ticks, &config, &mut terminal::fit_progress(&bar))?;
    bar.finish_and_clear();
    store::save(&artifact, &arguments.output)?;
    let provenance = &artifact.provenance;
    eprintln!(
        "trained on {} ticks of {} instruments; loss {:.4}; {}",
        provenance.ticks,
        provenance.instruments,
        provenance.loss.unwrap_or(f64::NAN),
        arguments.output.display()
    );
    Ok(Exit::Done)
}
