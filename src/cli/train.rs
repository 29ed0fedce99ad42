//! `tapewatch train`: a model from recorded ticks.

use std::path::PathBuf;

use super::{ConfigArguments, Exit, terminal};
use crate::model::base::Base;
use crate::offline::backtest::{fit_ticks, read_folder};
use crate::offline::market::{MarketConfig, generate};
use crate::store;
use crate::train::trainer::to_base;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Folder with <instrument>.csv or .csv.gz.
    #[arg(long, value_name = "DIR")]
    ticks: PathBuf,
    /// Make a base model: from scratch, on the synthetic market too, without anything of single instruments.
    #[arg(long)]
    base: bool,
    /// Where to write the model (safetensors).
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let mut config = arguments.config.load()?;
    let bar = terminal::bar("training");
    bar.set_message("reading");
    let read = read_folder(&arguments.ticks, &config, &mut |share| terminal::set_share(&bar, share))?;
    terminal::say_thinned(&bar, read.thinned);
    let mut ticks = read.instruments;
    if arguments.base {
        config.model.base = Base::None;
        ticks.extend(generate(&MarketConfig::of_base_model()));
    }
    let artifact = fit_ticks(&ticks, &config, &mut terminal::fit_progress(&bar))?;
    let artifact = if arguments.base { to_base(artifact) } else { artifact };
    bar.finish_and_clear();
    store::save(&artifact, &arguments.output)?;
    let provenance = &artifact.provenance;
    eprintln!(
        "trained on {} ticks of {} instruments; {}; {}",
        provenance.ticks,
        provenance.instruments,
        provenance.loss_text().unwrap_or_default(),
        arguments.output.display()
    );
    Ok(Exit::Done)
}
