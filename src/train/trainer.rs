//! One training, from recent ticks to a calibrated model.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::calibrate::{Calibrator, PooledRows, ScoreTerms};
use super::dataset::{Chunk, HeldBack, Split};
use super::exposure::{Learnt, Sources};
use super::fit::{FitConfig, FitData, FitError, Fitted, Span, fit};
use super::fit_judge::{ExposureConfig, Start, fit_judge};
use super::memory::Memory;
use super::progress::{Phase, Progress};
use super::size::SizeConfig;
use crate::inject::Catalogue;
use crate::model::artifact::{Artifact, LossKind, Origin, Provenance};
use crate::model::base;
use crate::model::kernel::scorer::KernelScorer;
use crate::model::spec::ModelSpec;
use crate::model::weights::Weights;
use crate::pipeline::arms::Arms;
use crate::pipeline::calibration::Calibrations;
use crate::pipeline::run::RunRule;
use crate::pipeline::scaler::InputTransform;
use crate::pipeline::score::ModelVersion;
use crate::pipeline::tick::{InstrumentTicks, Tick};
use crate::pipeline::tick_reader::TickBounds;

/// How a model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Most memory that one training takes, reading included (bytes, ≥ [`MEMORY_BYTES_MIN`](super::memory::MEMORY_BYTES_MIN)).
    pub memory_bytes_max: usize,
    /// Newest ticks of one instrument that are learnt from (> 0).
    pub ticks_per_instrument_max: usize,
    /// Fewest ticks of an instrument that gets a calibration of its own (> 0).
    pub ticks_per_instrument_min: usize,
    /// Share of the newest ticks that are not fitted to, from which thresholds come and on which the gate measures (0–1, both
    /// excluded).
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

impl TrainingConfig {
    /// Gives the memory budget.
    pub fn memory(&self) -> Memory {
        Memory {
            bytes_max: self.memory_bytes_max,
        }
    }

    /// Gives what a reader may hold of so many instruments.
    pub fn tick_bounds(&self, instruments_max: usize) -> TickBounds {
        self.memory()
            .tick_bounds(instruments_max, self.ticks_per_instrument_max)
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

/// Trains a model on ticks, newest last, of any number of instruments. Rows are made of one instrument's ticks at a time.
///
/// `held_back`: what becomes of the rows that are not fitted to. `trained_at` (RFC 3339) and `version` go into the artifact
/// as they are.
///
/// # Errors
/// [`TrainError`]; `progress` can cancel by breaking.
pub fn train(
    ticks: &[InstrumentTicks],
    size: &SizeConfig,
    config: &TrainingConfig,
    held_back: HeldBack,
    version: ModelVersion,
    trained_at: &str,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Artifact, TrainError> {
    let base = size.checked_base().map_err(TrainError::BadSize)?;
    let spec = size.spec();
    let stretches = stretches(ticks, config, held_back)?;
    let (transforms, pooled) = prepare(&stretches, config, progress)?;
    let (fitted, loss_kind) = match spec.judge {
        Some(_) => {
            let start = base.map_or(Start::Scratch(spec), |base| Start::From(base.weights));
            let fitted = fit_to_faults(&stretches, &transforms, &start, config, progress)?;
            (fitted, LossKind::JudgePerFault)
        }
        None => {
            let fitted = fit_to_rows(&stretches, &transforms, spec, config, progress)?;
            (fitted, LossKind::SquaredError)
        }
    };
    let mut known = transforms.into_iter();
    let own = |stretch: &Stretch<'_>, chunk: &Chunk| Own {
        // There is one for each stretch, in their order.
        transform: known
            .next()
            .unwrap_or_else(|| InputTransform::fit(&chunk.rows[stretch.split.known()])),
        rows: stretch.split.calibrate.clone(),
    };
    let calibrations = calibrations(&fitted.weights, &stretches, pooled, config, progress, own)?;
    let provenance = Provenance {
        program: env!("CARGO_PKG_VERSION").into(),
        trained_at: trained_at.into(),
        seed: config.seed,
        ticks: stretches.iter().map(|stretch| stretch.ticks.len() as u64).sum(),
        instruments: stretches.len() as u64,
        loss: Some(fitted.loss),
        loss_kind: Some(loss_kind),
        origin: Some(Origin::Trained),
        newest_tick: newest_tick(ticks),
        instruments_added: 0,
    };
    Ok(Artifact {
        version,
        calibrations,
        weights: fitted.weights,
        provenance,
    })
}

/// Makes a model of a base model's weights with scaling and tails of these instruments: what a deployment begins with, within
/// seconds.
///
/// # Errors
/// [`TrainError::TooFewTicks`]; `progress` can cancel by breaking.
pub fn settle(
    base: &Artifact,
    ticks: &[InstrumentTicks],
    config: &TrainingConfig,
    held_back: HeldBack,
    version: ModelVersion,
    trained_at: &str,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Artifact, TrainError> {
    let stretches = stretches(ticks, config, held_back)?;
    let pooled = base.calibrations.pooled.transform.clone();
    let own = |stretch: &Stretch<'_>, chunk: &Chunk| Own {
        transform: InputTransform::fit(&chunk.rows[stretch.split.known()]),
        // The weights were fitted to none of these ticks.
        rows: stretch.split.calibrate_unfitted(),
    };
    Ok(Artifact {
        version,
        weights: base.weights.clone(),
        calibrations: calibrations(&base.weights, &stretches, pooled, config, progress, own)?,
        provenance: Provenance {
            trained_at: trained_at.into(),
            origin: Some(Origin::Calibrated),
            newest_tick: newest_tick(ticks),
            instruments_added: 0,
            ..base.provenance.clone()
        },
    })
}

/// Gives the event time of the newest tick of all instruments (RFC 3339).
fn newest_tick(ticks: &[InstrumentTicks]) -> Option<String> {
    let last = ticks.iter().filter_map(|own| own.ticks.last());
    let newest = last.map(|tick| tick.event_time.0).max()?;
    let stamp = jiff::Timestamp::from_nanosecond(i128::from(newest)).ok()?;
    Some(stamp.to_string())
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
/// [`TrainError::TooFewTicks`]; `progress` can cancel by breaking.
pub fn adopt(
    weights: Weights,
    like: &Artifact,
    ticks: Option<&[InstrumentTicks]>,
    config: &TrainingConfig,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Artifact, TrainError> {
    let mut adopted = Artifact {
        weights,
        ..like.clone()
    };
    (adopted.provenance.loss, adopted.provenance.loss_kind) = (None, None);
    adopted.provenance.origin = Some(Origin::Trained);
    let Some(ticks) = ticks else { return Ok(adopted) };
    let stretches = stretches(ticks, config, HeldBack::Calibration)?;
    let known = &like.calibrations;
    let pooled = known.pooled.transform.clone();
    let own = |stretch: &Stretch<'_>, _: &Chunk| Own {
        transform: known.of(stretch.instrument).transform.clone(),
        rows: stretch.split.calibrate.clone(),
    };
    adopted.calibrations = calibrations(&adopted.weights, &stretches, pooled, config, progress, own)?;
    Ok(adopted)
}

/// The ticks of one instrument that a model is made of.
pub(super) struct Stretch<'a> {
    pub instrument: &'a str,
    pub ticks: &'a [Tick],
    /// One row per tick.
    pub split: Split,
}

impl Stretch<'_> {
    fn chunk(&self) -> Chunk {
        Chunk::new(self.instrument, self.ticks, Vec::new())
    }
}

/// Gives the newest ticks of every instrument that has enough, in the order of names; at least one must have.
pub(super) fn stretches<'a>(
    ticks: &'a [InstrumentTicks],
    config: &TrainingConfig,
    held_back: HeldBack,
) -> Result<Vec<Stretch<'a>>, TrainError> {
    let most = config
        .ticks_per_instrument_max
        .min(config.memory().instrument_ticks_max());
    let stretch = |own: &'a InstrumentTicks| {
        let newest = &own.ticks[own.ticks.len().saturating_sub(most)..];
        Stretch {
            instrument: &own.instrument,
            ticks: newest,
            split: Split::new(newest.len(), config.held_back_share, held_back),
        }
    };
    let has_enough = |own: &&InstrumentTicks| own.ticks.len() >= config.ticks_per_instrument_min;
    let mut stretches: Vec<Stretch<'a>> = ticks.iter().filter(has_enough).map(stretch).collect();
    stretches.sort_by(|a, b| a.instrument.cmp(b.instrument));
    match stretches.is_empty() {
        true => Err(TrainError::TooFewTicks {
            needed: config.ticks_per_instrument_min,
            found: ticks.iter().map(|ticks| ticks.ticks.len()).max().unwrap_or(0),
        }),
        false => Ok(stretches),
    }
}

/// Fits the input transform of every instrument, and a pooled one.
fn prepare(
    stretches: &[Stretch<'_>],
    config: &TrainingConfig,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Vec<InputTransform>, InputTransform), TrainError> {
    let mut pooled = PooledRows::new(config.memory(), stretches.len());
    let mut transforms = Vec::with_capacity(stretches.len());
    for (done, stretch) in stretches.iter().enumerate() {
        tell(progress, Phase::Preparing, done, stretches.len())?;
        let chunk = stretch.chunk();
        let known = &chunk.rows[stretch.split.known()];
        pooled.take(known);
        transforms.push(InputTransform::fit(known));
    }
    Ok((transforms, pooled.transform()))
}

fn tell(
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    phase: Phase,
    done: usize,
    instruments: usize,
) -> Result<(), TrainError> {
    match progress(Progress::of_instruments(phase, done, instruments)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(FitError::Cancelled.into()),
    }
}

/// What an instrument is calibrated by.
pub(super) struct Own {
    pub transform: InputTransform,
    pub rows: Range<usize>,
}

/// Calibrates weights on every instrument as `own` says.
pub(super) fn calibrations(
    weights: &Weights,
    stretches: &[Stretch<'_>],
    pooled_transform: InputTransform,
    config: &TrainingConfig,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    mut own: impl FnMut(&Stretch<'_>, &Chunk) -> Own,
) -> Result<Arc<Calibrations>, TrainError> {
    let scorer = KernelScorer::new(weights);
    let terms = ScoreTerms {
        arms: config.arms,
        runs: config.runs,
    };
    let mut calibrator = Calibrator::new(&scorer, terms, config.memory(), stretches.len());
    for (done, stretch) in stretches.iter().enumerate() {
        tell(progress, Phase::Calibrating, done, stretches.len())?;
        let chunk = stretch.chunk();
        let own = own(stretch, &chunk);
        calibrator.take(own.transform, &chunk.rows, own.rows);
    }
    let (own, pooled) = calibrator.finish(pooled_transform);
    let names = stretches.iter().map(|stretch| stretch.instrument.to_owned());
    Ok(Arc::new(Calibrations {
        pooled,
        instruments: names.zip(own).collect(),
    }))
}

/// Fits a model with a judge to copies with injected faults of all ticks that are not held back.
fn fit_to_faults(
    stretches: &[Stretch<'_>],
    transforms: &[InputTransform],
    start: &Start,
    config: &TrainingConfig,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Fitted, TrainError> {
    let both = stretches.iter().zip(transforms);
    let learnt: Vec<Learnt<'_>> = both
        .map(|(stretch, transform)| Learnt {
            ticks: &stretch.ticks[..stretch.split.stop.end],
            transform,
        })
        .collect();
    let catalogue = Catalogue::without(&config.exposure.families_left_out);
    let mut sources = Sources::new(&learnt);
    let (exposure, memory) = (&config.exposure, config.memory());
    Ok(fit_judge(
        &mut sources,
        &catalogue,
        start,
        exposure,
        memory,
        config.seed,
        progress,
    )?)
}

/// Fits a model without a judge to rebuild the rows that are not held back.
fn fit_to_rows(
    stretches: &[Stretch<'_>],
    transforms: &[InputTransform],
    spec: ModelSpec,
    config: &TrainingConfig,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Fitted, TrainError> {
    let inputs = |sequence: usize| {
        let mut rows = stretches[sequence].chunk().rows;
        rows.iter_mut().for_each(|row| *row = transforms[sequence].apply(row));
        rows
    };
    let spans = |range: fn(&Split) -> Range<usize>| -> Vec<Span> {
        let span = |(sequence, stretch): (usize, &Stretch<'_>)| Span {
            sequence,
            rows: range(&stretch.split),
        };
        stretches.iter().enumerate().map(span).collect()
    };
    let data = FitData {
        inputs: &inputs,
        fit: &spans(|split| split.fit.clone()),
        stop: &spans(|split| split.stop.clone()),
    };
    Ok(fit(&data, spec, &config.fit, config.memory(), config.seed, progress)?)
}
