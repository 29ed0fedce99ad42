//! One training, from recent ticks to a calibrated model.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::calibrate::{ScoreTerms, calibrate, pooled_transform};
use super::dataset::{Chunk, Split};
use super::exposure::Source;
use super::fit::{FitConfig, FitData, FitError, FitProgress, Fitted, Span, fit};
use super::fit_judge::{ExposureConfig, Start, fit_judge};
use super::size::SizeConfig;
use super::views::View;
use crate::inject::Catalogue;
use crate::model::artifact::{Artifact, Provenance};
use crate::model::base;
use crate::model::kernel::scorer::KernelScorer;
use crate::model::spec::ModelSpec;
use crate::model::weights::Weights;
use crate::pipeline::arms::Arms;
use crate::pipeline::calibration::Calibrations;
use crate::pipeline::run::RunRule;
use crate::pipeline::scaler::{InputRow, InputTransform};
use crate::pipeline::score::ModelVersion;
use crate::pipeline::tick::{InstrumentTicks, Tick};

/// How a model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Newest ticks of one instrument that are learnt from (> 0).
    pub ticks_per_instrument_max: usize,
    /// Fewest ticks of an instrument that gets a calibration of its own (> 0).
    pub ticks_per_instrument_min: usize,
    /// Share of the newest ticks that are not fitted to and from which thresholds come (0–1, both excluded).
    pub held_back_share: f64,
    /// Which arms a model's scores are made of.
    pub arms: Arms,
    /// Which ticks are one alert: the configuration takes it from what it says of alerts.
    #[serde(skip)]
    pub runs: RunRule,
    /// The fit of a model without a judge.
    pub fit: FitConfig,
    /// The fit of a model with a judge.
    pub exposure: ExposureConfig,
}

/// Why there is no model.
#[derive(Debug, Error)]
pub enum TrainError {
    /// No instrument has enough ticks.
    #[error("no instrument has {needed} ticks; the most is {found}")]
    TooFewTicks {
        /// Fewest ticks that are learnt from.
        needed: usize,
        /// Most ticks that an instrument has.
        found: usize,
    },
    /// The sizes are off.
    #[error("model.{0}")]
    BadSize(String),
    /// The fit failed.
    #[error(transparent)]
    Fit(#[from] FitError),
}

/// Trains a model on ticks, newest last, of any number of instruments.
///
/// `trained_at` (RFC 3339) and `version` go into the artifact as they are.
///
/// # Errors
/// [`TrainError`]; `progress` can cancel by breaking.
pub fn train(
    ticks: &[InstrumentTicks],
    size: &SizeConfig,
    config: &TrainingConfig,
    version: ModelVersion,
    trained_at: &str,
    progress: &mut dyn FnMut(FitProgress) -> ControlFlow<()>,
) -> Result<Artifact, TrainError> {
    let base = size.checked_base().map_err(TrainError::BadSize)?;
    let spec = size.spec();
    let chunks = enough(ticks, config)?;
    let splits: Vec<Split> = chunks
        .iter()
        .map(|chunk| Split::new(chunk.rows.len(), config.held_back_share))
        .collect();
    let transforms = transforms(&chunks);
    let fitted = match spec.judge {
        Some(_) => {
            let sources = sources(&learnt(ticks, &chunks, &splits), &transforms);
            let catalogue = Catalogue::without(&config.exposure.families_left_out);
            let start = base.map_or(Start::Scratch(spec), |base| Start::From(base.weights));
            fit_judge(&sources, &catalogue, &start, &config.exposure, config.seed, progress)?
        }
        None => fit_weights(&chunks, &splits, &transforms, spec, config, progress)?,
    };
    let calibrations = calibrations(&fitted.weights, &chunks, &transforms, pooled_transform(&chunks), config);
    let provenance = Provenance {
        program: env!("CARGO_PKG_VERSION").into(),
        trained_at: trained_at.into(),
        seed: config.seed,
        ticks: chunks.iter().map(|chunk| chunk.rows.len() as u64).sum(),
        instruments: chunks.len() as u64,
        loss: Some(fitted.loss),
    };
    Ok(Artifact {
        version,
        weights: fitted.weights,
        calibrations,
        provenance,
    })
}

/// Makes a model of a base model's weights with scaling and tails of these instruments: what a deployment begins with, within
/// seconds.
///
/// # Errors
/// [`TrainError::TooFewTicks`].
pub fn settle(
    base: &Artifact,
    ticks: &[InstrumentTicks],
    config: &TrainingConfig,
    version: ModelVersion,
    trained_at: &str,
) -> Result<Artifact, TrainError> {
    let chunks = enough(ticks, config)?;
    let transforms = transforms(&chunks);
    let pooled = base.calibrations.pooled.transform.clone();
    Ok(Artifact {
        version,
        weights: base.weights.clone(),
        calibrations: calibrations(&base.weights, &chunks, &transforms, pooled, config),
        provenance: Provenance {
            trained_at: trained_at.into(),
            ..base.provenance.clone()
        },
    })
}

/// Takes everything out of a model that belongs to single instruments, so that it can be a base model.
pub fn to_base(artifact: Artifact) -> Artifact {
    Artifact {
        version: base::VERSION,
        calibrations: Arc::new(Calibrations {
            pooled: Arc::clone(&artifact.calibrations.pooled),
            instruments: Default::default(),
        }),
        ..artifact
    }
}

/// Makes a model of weights that were fitted elsewhere, with the input transforms of `like`, which they were fitted to.
/// With ticks, tails are taken from these; without, they stay those of `like`.
///
/// # Errors
/// [`TrainError::TooFewTicks`].
pub fn adopt(
    weights: Weights,
    like: &Artifact,
    ticks: Option<&[InstrumentTicks]>,
    config: &TrainingConfig,
) -> Result<Artifact, TrainError> {
    let mut adopted = Artifact {
        weights,
        ..like.clone()
    };
    adopted.provenance.loss = None;
    let Some(ticks) = ticks else { return Ok(adopted) };
    let chunks = enough(ticks, config)?;
    let known = &like.calibrations;
    let transforms: Vec<InputTransform> = chunks
        .iter()
        .map(|chunk| known.of(&chunk.instrument).transform.clone())
        .collect();
    let pooled = known.pooled.transform.clone();
    adopted.calibrations = calibrations(&adopted.weights, &chunks, &transforms, pooled, config);
    Ok(adopted)
}

fn calibrations(
    weights: &Weights,
    chunks: &[Chunk],
    transforms: &[InputTransform],
    pooled_transform: InputTransform,
    config: &TrainingConfig,
) -> Arc<Calibrations> {
    let held_back = |chunk: &Chunk| Split::new(chunk.rows.len(), config.held_back_share).held_back;
    let scorer = KernelScorer::new(weights);
    let terms = ScoreTerms {
        arms: config.arms,
        runs: config.runs,
    };
    let (own, pooled) = calibrate(&scorer, chunks, transforms, pooled_transform, terms, held_back);
    let names = chunks.iter().map(|chunk| chunk.instrument.to_string());
    Arc::new(Calibrations {
        pooled,
        instruments: names.zip(own).collect(),
    })
}

/// Computes the rows of every instrument that has enough ticks; at least one must.
fn enough(ticks: &[InstrumentTicks], config: &TrainingConfig) -> Result<Vec<Chunk>, TrainError> {
    let chunks = chunks(ticks, config);
    match chunks.is_empty() {
        true => Err(TrainError::TooFewTicks {
            needed: config.ticks_per_instrument_min,
            found: ticks.iter().map(|ticks| ticks.ticks.len()).max().unwrap_or(0),
        }),
        false => Ok(chunks),
    }
}

/// Computes the rows of every instrument that has enough ticks, in the order of names.
fn chunks(ticks: &[InstrumentTicks], config: &TrainingConfig) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = ticks
        .iter()
        .filter(|ticks| ticks.ticks.len() >= config.ticks_per_instrument_min)
        .map(|ticks| {
            let surplus = ticks.ticks.len().saturating_sub(config.ticks_per_instrument_max);
            let newest = InstrumentTicks {
                instrument: ticks.instrument.clone(),
                ticks: ticks.ticks[surplus..].to_vec(),
            };
            Chunk::new(&newest, Vec::new())
        })
        .collect();
    chunks.sort_by(|a, b| a.instrument.cmp(&b.instrument));
    chunks
}

/// Fits the input transform of every instrument.
fn transforms(chunks: &[Chunk]) -> Vec<InputTransform> {
    let fit = |chunk: &Chunk| InputTransform::fit(chunk.usable_rows());
    chunks.iter().map(fit).collect()
}

/// Gives the ticks of each chunk that are not held back.
fn learnt<'a>(ticks: &'a [InstrumentTicks], chunks: &[Chunk], splits: &[Split]) -> Vec<&'a [Tick]> {
    let by_name: HashMap<&str, &'a [Tick]> = ticks.iter().map(|own| (&*own.instrument, &*own.ticks)).collect();
    let learnt = |(chunk, split): (&Chunk, &Split)| {
        let all = by_name.get(&*chunk.instrument).copied().unwrap_or_default();
        &all[all.len() - chunk.rows.len()..][..split.held_back.start]
    };
    chunks.iter().zip(splits).map(learnt).collect()
}

/// Most instruments whose moves foreign rows of one instrument carry: enough to differ, however many there are.
const FOREIGN_MAX: usize = 16;

/// Looks at all ticks that are not held back in every view, each an instrument of its own to the judge.
fn sources<'a>(learnt: &[&'a [Tick]], transforms: &[InputTransform]) -> Vec<Source<'a>> {
    let mut sources = Vec::new();
    for (index, (ticks, transform)) in learnt.iter().zip(transforms).enumerate() {
        for view in View::ALL {
            let Some(ticks) = view.of(ticks) else { continue };
            let transform = match view {
                View::Plain => transform.clone(),
                _ => {
                    let seen = InstrumentTicks {
                        instrument: String::new(),
                        ticks: ticks.clone(),
                    };
                    InputTransform::fit(Chunk::new(&seen, Vec::new()).usable_rows())
                }
            };
            let others = learnt.iter().enumerate().filter(|(other, _)| *other != index);
            let others = others.step_by((learnt.len() - 1).div_ceil(FOREIGN_MAX).max(1));
            sources.push(Source {
                ticks,
                foreign: others.map(|(_, ticks)| *ticks).collect(),
                transform,
            });
        }
    }
    sources
}

fn fit_weights(
    chunks: &[Chunk],
    splits: &[Split],
    transforms: &[InputTransform],
    spec: ModelSpec,
    config: &TrainingConfig,
    progress: &mut dyn FnMut(FitProgress) -> ControlFlow<()>,
) -> Result<Fitted, TrainError> {
    let sequences: Vec<Vec<InputRow>> = chunks
        .iter()
        .zip(transforms)
        .map(|(chunk, transform)| chunk.rows.iter().map(|row| transform.apply(row)).collect())
        .collect();
    let spans = |range: fn(&Split) -> Range<usize>| -> Vec<Span> {
        let span = |(sequence, split)| Span {
            sequence,
            rows: range(split),
        };
        splits.iter().enumerate().map(span).collect()
    };
    let data = FitData {
        sequences: &sequences,
        fit: &spans(|split| split.fit.clone()),
        stop: &spans(|split| split.stop.clone()),
    };
    Ok(fit(&data, spec, &config.fit, config.seed, progress)?)
}
