//! `tapewatch train`: a model from recorded ticks.

use std::path::PathBuf;

use super::{ConfigArguments, Exit, open_ticks, outputs, terminal};
use crate::model::base::Base;
use crate::offline::backtest::{fit_ticks, gather};
use crate::offline::market::{MarketConfig, generate};
use crate::train::trainer::to_base;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Folder with files of ticks, .csv or .csv.gz.
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
    outputs::probe(&[("--output", Some(&arguments.output))])?;
    let recording = open_ticks(std::slice::from_ref(&arguments.ticks), &config)?;
    let bar = terminal::bar("training");
    let read = gather(&recording, &config)?;
    terminal::say_thinned(&bar, read.thinned);
    let mut ticks = read.instruments;
    if arguments.base {
        config.model.base = Base::None;
        ticks.extend(generate(&MarketConfig::of_base_model()));
    }
    let artifact = fit_ticks(&ticks, &config, &mut terminal::fit_progress(&bar))?;
    let artifact = if arguments.base { to_base(artifact) } else { artifact };
    bar.finish_and_clear();
    outputs::save_model(&artifact, &arguments.output)?;
    let provenance = &artifact.provenance;
    terminal::tell(format_args!(
        "trained on {} ticks of {} instruments; {}; {}",
        provenance.ticks,
        provenance.instruments,
        provenance.loss_text().unwrap_or_default(),
        arguments.output.display()
    ));
    Ok(Exit::Done)
}
