//! One training, from recent ticks to a calibrated model.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::calibrate::{calibrate, pooled_transform};
use super::dataset::{Chunk, Split};
use super::fit::{FitConfig, FitData, FitError, FitProgress, Fitted, Span, fit};
use crate::model::artifact::{Artifact, Provenance};
use crate::model::kernel::scorer::KernelScorer;
use crate::model::spec::ModelSpec;
use crate::pipeline::calibration::Calibrations;
use crate::pipeline::feature::FEATURES;
use crate::pipeline::scaler::{InputRow, InputTransform};
use crate::pipeline::score::ModelVersion;
use crate::pipeline::tick::InstrumentTicks;

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
    /// The fit.
    pub fit: FitConfig,
}

/// Sizes of the models that are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeConfig {
    /// Units per layer (> 0, a multiple of 8).
    pub hidden_size: usize,
    /// Stacked layers of encoder and decoder (1–4).
    pub layers: usize,
    /// Rows per window (> 1).
    pub lookback: usize,
    /// Newest rows that the decoder is trained to rebuild (1–lookback).
    pub decoded_rows: usize,
}

impl SizeConfig {
    /// Gives the spec of a model of this size over our features.
    pub fn spec(&self) -> ModelSpec {
        ModelSpec::autoencoder(
            FEATURES,
            self.hidden_size,
            self.layers,
            self.lookback,
            self.decoded_rows,
        )
    }
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
    let spec = size.spec();
    spec.check().map_err(TrainError::BadSize)?;
    let chunks = chunks(ticks, config);
    if chunks.is_empty() {
        let found = ticks.iter().map(|ticks| ticks.ticks.len()).max().unwrap_or(0);
        return Err(TrainError::TooFewTicks {
            needed: config.ticks_per_instrument_min,
            found,
        });
    }
    let splits: Vec<Split> = chunks
        .iter()
        .map(|chunk| Split::new(chunk.rows.len(), config.held_back_share))
        .collect();
    let transforms: Vec<InputTransform> = chunks
        .iter()
        .zip(&splits)
        .map(|(chunk, split)| InputTransform::fit(&chunk.rows[split.fit.start..split.stop.end]))
        .collect();
    let fitted = fit_weights(&chunks, &splits, &transforms, spec, config, progress)?;
    let scorer = KernelScorer::new(&fitted.weights);
    let held_back = |chunk: &Chunk| Split::new(chunk.rows.len(), config.held_back_share).held_back;
    let (own, pooled) = calibrate(&scorer, &chunks, &transforms, pooled_transform(&chunks), held_back);
    let instruments: BTreeMap<_, _> = chunks
        .iter()
        .zip(own)
        .map(|(chunk, own)| (chunk.instrument.to_string(), own))
        .collect();
    Ok(Artifact {
        version,
        weights: fitted.weights,
        provenance: Provenance {
            program: env!("CARGO_PKG_VERSION").into(),
            trained_at: trained_at.into(),
            seed: config.seed,
            ticks: chunks.iter().map(|chunk| chunk.rows.len() as u64).sum(),
            instruments: chunks.len() as u64,
            loss: fitted.loss,
        },
        calibrations: Arc::new(Calibrations { pooled, instruments }),
    })
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
