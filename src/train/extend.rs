//! Extending: instruments that a model does not know get calibrations of their own, with its weights as they are.
//!
//! What the model says of the instruments that it knows stays the same bits. Works on the new instruments alone, so its
//! cost does not grow with those that are known.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::dataset::{Chunk, HeldBack};
use super::progress::Progress;
use super::trainer::{Own, Stretch, TrainError, TrainingConfig, calibrations, stretches};
use crate::model::artifact::Artifact;
use crate::pipeline::arms::ArmScale;
use crate::pipeline::calibration::{Calibration, Calibrations};
use crate::pipeline::scaler::InputTransform;
use crate::pipeline::score::ModelVersion;
use crate::pipeline::tick::InstrumentTicks;

/// Calibrates the instruments among `ticks` that `present` does not know and that have enough ticks, as long as there are
/// no more than `instruments_max` in all. Their transforms, tails and levels are their own; what is the group's stays the
/// group's.
///
/// # Errors
/// [`TrainError::TooFewTicks`] when no instrument is added; `progress` can cancel by breaking.
pub fn extend(
    present: &Artifact,
    ticks: Vec<InstrumentTicks>,
    config: &TrainingConfig,
    instruments_max: usize,
    held_back: HeldBack,
    version: ModelVersion,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Artifact, TrainError> {
    let known = &present.calibrations;
    let room = instruments_max.saturating_sub(known.instruments.len());
    let is_new =
        |own: &InstrumentTicks| own.ticks.len() >= config.ticks_per_instrument_min && !known.knows(&own.instrument);
    let new: Vec<InstrumentTicks> = ticks.into_iter().filter(is_new).take(room).collect();
    let config = TrainingConfig {
        // A score of this model is made of the arms that it was made with.
        arms: known.pooled.arms,
        ..config.clone()
    };
    let stretches = stretches(&new, &config, held_back)?;
    let pooled = known.pooled.transform.clone();
    let own = |stretch: &Stretch<'_>, chunk: &Chunk| Own {
        transform: InputTransform::fit(&chunk.rows[stretch.split.known()]),
        // The weights were fitted to none of these ticks.
        rows: stretch.split.calibrate_unfitted(),
    };
    let own = calibrations(&present.weights, &stretches, pooled, &config, progress, own)?;
    let mut instruments = known.instruments.clone();
    for (name, calibration) in &own.instruments {
        let of_group = with_tails_of(&known.pooled, Calibration::clone(calibration));
        instruments.insert(name.clone(), Arc::new(of_group));
    }
    let mut provenance = present.provenance.clone();
    provenance.instruments += stretches.len() as u64;
    provenance.instruments_added += stretches.len() as u64;
    provenance.ticks += stretches.iter().map(|stretch| stretch.ticks.len() as u64).sum::<u64>();
    Ok(Artifact {
        version,
        weights: present.weights.clone(),
        calibrations: Arc::new(Calibrations {
            pooled: Arc::clone(&known.pooled),
            instruments,
        }),
        provenance,
    })
}

/// Gives a calibration the group's tails and opening rates in place of those of the few that were calibrated with it.
fn with_tails_of(group: &Calibration, own: Calibration) -> Calibration {
    let scale = |own: ArmScale, group: &ArmScale| ArmScale {
        tail: group.tail.clone(),
        ..own
    };
    // An arm speaks where the group's does.
    let optional = |own: Option<ArmScale>, group: &Option<ArmScale>| Some(scale(own?, group.as_ref()?));
    Calibration {
        newest_scale: scale(own.newest_scale, &group.newest_scale),
        window_scale: optional(own.window_scale, &group.window_scale),
        judge: optional(own.judge, &group.judge),
        opening_rates: group.opening_rates.clone(),
        ..own
    }
}
