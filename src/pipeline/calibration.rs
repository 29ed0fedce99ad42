//! Calibration: what a model's errors mean on one instrument.
//!
//! The newest tick's error of each feature becomes a surprise by that feature's own tail; the mean of the three most
//! surprising features is calibrated once more by a tail of its own, so that one threshold serves all instruments. (A
//! mean over all features and the whole window divides one bad tick by everything that is well.) Knows no model.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::feature::FEATURES;
use super::scaler::{InputRow, InputTransform};
use super::tail::{ShapeBounds, Tail};

/// Features whose surprises make the score.
pub const TOP: usize = 3;

/// What errors mean on one instrument, or on an instrument of which nothing is known yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Feature row → model input.
    pub transform: InputTransform,
    /// Tail of each feature's absolute error on the newest row, in model input units.
    pub features: Vec<Tail>,
    /// Tail of the mean of the [`TOP`] surprises.
    pub fused: Tail,
}

/// The calibration of every instrument that a model has seen, and a pooled one for the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibrations {
    /// For instruments that are not listed.
    pub pooled: Arc<Calibration>,
    /// By name of the instrument.
    pub instruments: BTreeMap<String, Arc<Calibration>>,
}

impl Calibrations {
    /// Gives the calibration of an instrument, the pooled one if it has none of its own.
    pub fn of(&self, instrument: &str) -> &Arc<Calibration> {
        self.instruments.get(instrument).unwrap_or(&self.pooled)
    }

    /// Tells whether the instrument has a calibration of its own.
    pub fn knows(&self, instrument: &str) -> bool {
        self.instruments.contains_key(instrument)
    }

    /// Tells whether every part is such as fitting makes.
    pub fn is_valid(&self) -> bool {
        self.pooled.is_valid() && self.instruments.values().all(|own| own.is_valid())
    }
}

/// How surprising one row was, and what made it so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surprise {
    /// −log₁₀ of the tick's p-value (0–12).
    pub score: f32,
    /// The [`TOP`] most surprising features, most surprising first, each with its share of the score; the shares sum to 1.
    pub top: [(usize, f32); TOP],
}

impl Calibration {
    /// Fits the tails to errors of one instrument's held-back rows.
    ///
    /// `errors`: `(N, F)` absolute errors on the newest row.
    pub fn fit(transform: InputTransform, errors: &[InputRow]) -> Self {
        let mut column = Vec::with_capacity(errors.len());
        let features = (0..FEATURES)
            .map(|feature| {
                column.clear();
                column.extend(errors.iter().map(|row| row[feature]));
                Tail::fit(&mut column, ShapeBounds::FEATURE)
            })
            .collect();
        let mut calibration = Calibration {
            transform,
            features,
            fused: Tail::fit(&mut [], ShapeBounds::FUSED),
        };
        let mut statistics: Vec<f32> = errors.iter().map(|row| calibration.statistic(row).0).collect();
        calibration.fused = Tail::fit(&mut statistics, ShapeBounds::FUSED);
        calibration
    }

    fn is_valid(&self) -> bool {
        self.transform.is_valid()
            && self.features.len() == FEATURES
            && self.features.iter().all(Tail::is_valid)
            && self.fused.is_valid()
    }

    /// Gives the surprise of one row of absolute errors.
    pub fn surprise(&self, errors: &InputRow) -> Surprise {
        let (statistic, top) = self.statistic(errors);
        let total: f32 = top.iter().map(|(_, surprise)| surprise).sum();
        let share = |surprise: f32| {
            if total > 0.0 {
                surprise / total
            } else {
                1.0 / TOP as f32
            }
        };
        Surprise {
            score: self.fused.surprise(statistic),
            top: top.map(|(feature, surprise)| (feature, share(surprise))),
        }
    }

    /// Gives the mean of the most surprising features and these features, most surprising first.
    fn statistic(&self, errors: &InputRow) -> (f32, [(usize, f32); TOP]) {
        let mut top = [(0, -1.0); TOP];
        for (feature, (tail, error)) in self.features.iter().zip(errors).enumerate() {
            let surprise = tail.surprise(*error);
            if surprise > top[TOP - 1].1 {
                let place = top.partition_point(|(_, known)| *known >= surprise);
                top.copy_within(place..TOP - 1, place + 1);
                top[place] = (feature, surprise);
            }
        }
        (top.iter().map(|(_, surprise)| surprise).sum::<f32>() / TOP as f32, top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(n: usize) -> Vec<InputRow> {
        (0..n)
            .map(|i| std::array::from_fn(|feature| ((i * (feature + 3) * 7919) % 1009) as f32 / 1009.0))
            .collect()
    }

    #[test]
    fn odd_features_are_named_and_shares_sum_to_one() {
        let calibration = Calibration::fit(InputTransform::fit(&[]), &errors(2000));
        let mut row = [0.5; FEATURES];
        row[7] = 50.0;
        row[3] = 5.0;
        let surprise = calibration.surprise(&row);
        assert_eq!((surprise.top[0].0, surprise.top[1].0), (7, 3));
        assert!((surprise.top.iter().map(|(_, share)| share).sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(surprise.score > 2.0);
    }

    #[test]
    fn calibrated_scores_exceed_two_decades_about_once_in_a_hundred() {
        let calibration = Calibration::fit(InputTransform::fit(&[]), &errors(5000));
        let high = errors(5000)
            .iter()
            .filter(|row| calibration.surprise(row).score >= 2.0)
            .count();
        assert!((25..=100).contains(&high), "{high}");
    }
}
