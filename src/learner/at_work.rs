//! The model at work: what state it is in, and what it shares with the one before.

use std::sync::Arc;

use crate::model::artifact::{Artifact, Origin};
use crate::model::base;
use crate::pipeline::calibration::{Calibration, Calibrations};
use crate::pipeline::score::Model;
use crate::status::{ModelState, ModelStatus};

/// Tells what kind of model an artifact is. Files that do not say what was made are told by their weights.
pub(super) fn state_of(artifact: &Artifact, base: Option<&Artifact>) -> ModelState {
    if artifact.version == base::VERSION || artifact.calibrations.instruments.is_empty() {
        return ModelState::Base;
    }
    let has_base_weights = || base.is_some_and(|base| base.weights == artifact.weights);
    match artifact.provenance.origin {
        Some(Origin::Calibrated) => ModelState::Calibrated,
        Some(Origin::Trained) => ModelState::Trained,
        None if has_base_weights() => ModelState::Calibrated,
        None => ModelState::Trained,
    }
}

/// Gives what is told of a model.
pub(super) fn status_of(artifact: &Artifact, state: ModelState) -> ModelStatus {
    let own = Some(&artifact.provenance).filter(|_| state.is_own());
    ModelStatus {
        state,
        made: own.map(|provenance| provenance.trained_at.clone()),
        newest_tick: own.and_then(|provenance| provenance.newest_tick.clone()),
    }
}

/// Reads a stamp as seconds since 1970.
pub(super) fn seconds_of(stamp: Option<&str>) -> Option<i64> {
    let stamp: jiff::Timestamp = stamp?.parse().ok()?;
    Some(stamp.as_second())
}

/// Gives a model as the workers take it. With the weights of the model `before` it shares that one's scorer, and each
/// calibration that is the same, so that the detector need not begin anew where nothing has changed.
pub(super) fn model_after(artifact: &Artifact, before: Option<(&Artifact, &Model)>) -> Model {
    match before {
        Some((old, at_work)) if old.weights == artifact.weights => Model {
            version: artifact.version,
            scorer: Arc::clone(&at_work.scorer),
            calibrations: Arc::new(shared(&at_work.calibrations, &artifact.calibrations)),
        },
        _ => artifact.model(),
    }
}

fn shared(old: &Calibrations, new: &Calibrations) -> Calibrations {
    let pick = |old: Option<&Arc<Calibration>>, new: &Arc<Calibration>| match old {
        Some(old) if old == new => Arc::clone(old),
        _ => Arc::clone(new),
    };
    let own = |(name, new): (&String, &Arc<Calibration>)| (name.clone(), pick(old.instruments.get(name), new));
    Calibrations {
        pooled: pick(Some(&old.pooled), &new.pooled),
        instruments: new.instruments.iter().map(own).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::base::Base;
    use crate::pipeline::score::ModelVersion;

    fn base() -> Artifact {
        Base::Embedded.load().unwrap().unwrap()
    }

    /// The base model with a calibration for one instrument.
    fn calibrated(origin: Option<Origin>) -> Artifact {
        let mut artifact = base();
        let mut calibrations = Calibrations::clone(&artifact.calibrations);
        calibrations
            .instruments
            .insert("A".into(), Arc::clone(&calibrations.pooled));
        artifact.calibrations = Arc::new(calibrations);
        artifact.version = ModelVersion(1);
        artifact.provenance.origin = origin;
        artifact.provenance.newest_tick = Some("2024-01-02T03:04:05Z".into());
        artifact
    }

    #[test]
    fn state_is_known_from_the_artifact_alone_and_base_models_have_no_age() {
        let base = base();
        let of = |artifact: &Artifact| state_of(artifact, Some(&base));
        assert_eq!(of(&base), ModelState::Base);
        // A copy of it in the store is still one.
        let copy = Artifact {
            version: ModelVersion(7),
            ..base.clone()
        };
        assert_eq!(of(&copy), ModelState::Base);
        assert_eq!(status_of(&copy, of(&copy)).made, None);
        assert_eq!(of(&calibrated(Some(Origin::Calibrated))), ModelState::Calibrated);
        assert_eq!(of(&calibrated(Some(Origin::Trained))), ModelState::Trained);
        assert_eq!(of(&calibrated(None)), ModelState::Calibrated);
        assert_eq!(state_of(&calibrated(None), None), ModelState::Trained);
        let own = calibrated(Some(Origin::Calibrated));
        let read = Artifact::from_bytes(&own.to_bytes().unwrap()).unwrap();
        let status = status_of(&read, of(&read));
        assert_eq!(status.state, ModelState::Calibrated);
        assert!(seconds_of(status.made.as_deref()).is_some());
        assert_eq!(seconds_of(status.newest_tick.as_deref()), Some(1_704_164_645));
    }

    #[test]
    fn model_with_the_same_weights_shares_what_is_the_same() {
        let (base, own) = (base(), calibrated(None));
        let at_work = base.model();
        let read = Artifact::from_bytes(&own.to_bytes().unwrap()).unwrap();
        let next = model_after(&read, Some((&base, &at_work)));
        assert!(Arc::ptr_eq(&next.scorer, &at_work.scorer));
        assert!(Arc::ptr_eq(&next.calibrations.pooled, &at_work.calibrations.pooled));
        assert!(next.calibrations.knows("A") && next.version == ModelVersion(1));
        assert!(!Arc::ptr_eq(&model_after(&read, None).scorer, &at_work.scorer));
    }
}
