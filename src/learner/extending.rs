//! Calibrating instruments that have become ready since the model was made, with its weights as they are.

use crate::model::artifact::Artifact;
use crate::train::extend::extend;
use crate::train::fit::FitError;
use crate::train::trainer::TrainError;

use super::Learner;
use super::error::LearnError;
use super::training::HELD_BACK;

impl Learner {
    /// Calibrates the instruments that the model at work does not know and that have enough ticks.
    pub(super) fn extend(&mut self) {
        tracing::info!("instruments have become ready: calibration begins");
        let result = self.extended();
        self.idle();
        self.mark_tried();
        match result {
            Ok((artifact, added)) => {
                self.pace.note(added);
                let detail = format!("{added} instruments more, with the weights as they are");
                self.followed = Some(artifact.version);
                self.hand_out(artifact);
                self.note("calibrated", detail);
            }
            // Asked to stop: the loop sees the end of the channel too.
            Err(LearnError::Train(TrainError::Fit(FitError::Cancelled))) => {}
            Err(error) => {
                self.pace.note(0);
                let (outcome, detail) = (error.outcome(), error.to_string());
                tracing::warn!(outcome, detail, "calibration ended");
                self.count(outcome, detail);
            }
        }
    }

    /// Makes and stores the extended model; gives it with the number of instruments that it has more.
    fn extended(&self) -> Result<(Artifact, usize), LearnError> {
        let config = &self.context.config;
        let Some(present) = &self.champion else {
            return Err(LearnError::Train(TrainError::TooFewTicks {
                needed: config.training.ticks_per_instrument_min,
                found: 0,
            }));
        };
        let is_new = |instrument: &str| !present.calibrations.knows(instrument);
        let ticks = self.read_ticks(is_new)?.instruments;
        let version = self.next_version()?;
        let instruments_max = config.detector.instruments_max;
        let extended = extend(
            present,
            ticks,
            &config.training,
            instruments_max,
            HELD_BACK,
            version,
            &mut |progress| self.follow_progress(progress),
        )?;
        let added = extended.calibrations.instruments.len() - present.calibrations.instruments.len();
        self.context.store.save(&extended)?;
        // Extensions take each other's place, so that older trainings stay in the store to go back to.
        if present.provenance.instruments_added > 0
            && let Err(error) = self.context.store.remove(present.version)
        {
            tracing::debug!(%error, "the model that was extended stays");
        }
        Ok((extended, added))
    }
}
