//! What a model says of one scored row: how surprising it is, by which arm, and which features are to blame.

use super::adaptation::Adaptation;
use super::alert::FeatureShare;
use super::arms::{Arm, RowErrors, RunningErrors};
use super::batch::Batch;
use super::calibration::{Calibration, Surprise};
use super::feature::{FeatureRow, Scales, inverse};
use super::run::RunRule;
use super::scaler::InputRow;

/// What the model says of one scored row.
pub(super) struct RowEvidence<'a> {
    calibration: &'a Calibration,
    judge: Option<f32>,
    surprise: Surprise,
    expected: &'a InputRow,
    raw: &'a FeatureRow,
    scales: &'a Scales,
}

impl<'a> RowEvidence<'a> {
    /// Compares a scored row with what the model made of it; `running` takes the errors in where the window speaks. `None`
    /// when the model does not reconstruct.
    pub fn new(
        calibration: &'a Calibration,
        batch: &'a Batch,
        index: usize,
        running: &mut RunningErrors,
        adaptation: &Adaptation,
    ) -> Option<Self> {
        let place = batch.evidence_index(index);
        let rebuilt = batch.evidence.reconstruction_of(place)?;
        let forecast = batch.evidence.forecast_of(place);
        let judge = batch.evidence.judge.get(place).copied();
        let (raw, input, scales) = batch.row(index)?;
        let errors = RowErrors::new(
            input,
            rebuilt,
            forecast,
            judge,
            calibration.arms.window.then_some(running),
        );
        let surprise = calibration.surprise(&errors, adaptation);
        Some(RowEvidence {
            calibration,
            judge,
            surprise,
            expected: forecast.filter(|_| surprise.arm == Arm::Forecast).unwrap_or(rebuilt),
            raw,
            scales,
        })
    }

    /// Gives the arm that spoke loudest.
    pub fn arm(&self) -> Arm {
        self.surprise.arm
    }

    /// Gives −log₁₀ of the row's p-value by the model alone (≥ 0).
    pub fn score(&self) -> f32 {
        self.surprise.score
    }

    /// Gives the same with nothing taken off for what came of late (≥ 0).
    pub fn lasting(&self) -> f32 {
        self.surprise.lasting
    }

    /// Lets the instrument adapt to this tick; within an alert, the judge's level stands still.
    pub fn adapt(&self, adaptation: &mut Adaptation, runs: RunRule, in_alert: bool) {
        adaptation.habituation.take(self.surprise.rarity, runs);
        if let (Some((scale, log_odds)), false) = (self.calibration.judge.as_ref().zip(self.judge), in_alert) {
            adaptation.drift.take(scale, log_odds);
        }
    }

    /// Gives each feature's part in it, with what was seen and what was expected.
    pub fn shares(&self) -> Vec<FeatureShare> {
        let share = |(feature, share): (usize, f32)| {
            let observed = self.raw[feature];
            let expected = Some(self.calibration.transform.invert(feature, self.expected[feature]));
            FeatureShare {
                feature,
                share,
                observed,
                expected,
                feed: inverse::feed_values(feature, self.scales, observed, expected),
            }
        };
        self.surprise.shares().into_iter().map(share).collect()
    }
}
