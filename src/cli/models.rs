//! `tapewatch models`: look at a model, and move its weights to PyTorch and back.

use std::path::PathBuf;

use serde_json::json;

use super::outputs::{self, CannotWrite};
use super::{ConfigArguments, Exit, open_ticks, say, terminal};
use crate::model::artifact::Artifact;
use crate::model::exchange;
use crate::offline::backtest::gather;
use crate::store;
use crate::train::trainer::adopt;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print a model's parts, sizes and provenance as JSON.
    Show {
        /// The model (safetensors).
        model: PathBuf,
    },
    /// Write a model's weights as a PyTorch state_dict (safetensors).
    Export {
        /// The model (safetensors).
        model: PathBuf,
        /// Where to write the state_dict.
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
    /// Make a model of a PyTorch state_dict (safetensors).
    Import(ImportArguments),
}

#[derive(Debug, clap::Args)]
struct ImportArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// The state_dict (safetensors).
    weights: PathBuf,
    /// The model whose sizes and input transforms the weights were fitted to.
    #[arg(long, value_name = "MODEL")]
    like: PathBuf,
    /// Folder with files of ticks to take the tails from; without it they stay those of MODEL.
    #[arg(long, value_name = "DIR")]
    ticks: Option<PathBuf>,
    /// Where to write the model.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// The state_dict cannot be read, or does not fit.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub(super) struct BadWeights {
    path: PathBuf,
    problem: String,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    match &arguments.command {
        Command::Show { model } => show(&store::load(model)?)?,
        Command::Export { model, output } => {
            let bytes = exchange::to_state_dict(&store::load(model)?.weights)?;
            std::fs::write(output, bytes).map_err(CannotWrite::at(output, "--output"))?;
            terminal::tell(format_args!("weights as a PyTorch state_dict: {}", output.display()));
        }
        Command::Import(arguments) => import(arguments)?,
    }
    Ok(Exit::Done)
}

fn show(artifact: &Artifact) -> anyhow::Result<()> {
    let parameters = artifact.weights.spec.parameters();
    let numbers: usize = parameters
        .iter()
        .map(|(_, shape)| shape.iter().product::<usize>())
        .sum();
    let shown = json!({
        "version": artifact.version,
        "heads": artifact.weights.spec.heads(),
        "spec": artifact.weights.spec,
        "parameters": numbers,
        "instruments": artifact.calibrations.instruments.keys().collect::<Vec<_>>(),
        "provenance": artifact.provenance,
    });
    say(&serde_json::to_string_pretty(&shown)?)?;
    Ok(())
}

fn import(arguments: &ImportArguments) -> anyhow::Result<()> {
    let config = arguments.config.load()?;
    outputs::probe(&[("--output", Some(&arguments.output))])?;
    let like = store::load(&arguments.like)?;
    let bad = |problem: String| BadWeights {
        path: arguments.weights.clone(),
        problem,
    };
    let bytes = std::fs::read(&arguments.weights).map_err(|error| bad(error.to_string()))?;
    let weights = exchange::from_state_dict(like.weights.spec, &bytes).map_err(|error| bad(error.to_string()))?;
    let ticks = match &arguments.ticks {
        Some(folder) => {
            let recording = open_ticks(std::slice::from_ref(folder), &config)?;
            Some(gather(&recording, &config)?.instruments)
        }
        None => None,
    };
    let bar = terminal::bar("calibrating");
    let mut progress = terminal::fit_progress(&bar);
    let artifact = adopt(weights, &like, ticks.as_deref(), &config.training, &mut progress)?;
    bar.finish_and_clear();
    outputs::save_model(&artifact, &arguments.output)?;
    match ticks {
        Some(ticks) => terminal::tell(format_args!(
            "tails from the ticks of {} instruments; {}",
            ticks.len(),
            arguments.output.display()
        )),
        None => terminal::tell(format_args!(
            "{}\nhint: the tails are still those of {}; --ticks takes them from recorded ticks",
            arguments.output.display(),
            arguments.like.display()
        )),
    }
    Ok(())
}
