//! The input transform: feature row → model input, per instrument and versioned with the model.
//!
//! An input is a signed surprise: −log₁₀ of the tail probability of the feature's distance from its median on that side,
//! with the sign of the side, in units of two decades and clipped. It makes all instruments alike, so that weights serve
//! instruments that they were not fitted to; and the gates of an LSTM, which are sensitive to the scale of their input,
//! are never drowned by one wild value. Distances are divided by a robust scale and squashed (by their square root, far from the
//! centre) before their tails are fitted. Knows no model.

use serde::{Deserialize, Serialize};

use super::feature::{FEATURES, FeatureRow};
use super::tail::{Tail, TailBounds};

/// Decades of surprise that make one unit of a model input.
const DECADES_PER_INPUT: f32 = 2.0;
/// Largest model input.
const INPUT_MAX: f32 = 5.0;

/// One row as the model sees it.
pub type InputRow = [f32; FEATURES];

/// What every feature means on one instrument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InputTransform {
    features: Vec<FeatureTransform>,
}

/// Centre, scale and both tails of one feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureTransform {
    centre: f32,
    scale: f32,
    /// Tail of the squashed distance above the centre; values below it count as 0.
    upper: Tail,
    /// Tail of that below it.
    lower: Tail,
}

impl FeatureTransform {
    /// Smallest scale, in a feature's own unit (σ, logarithms, shares): a feature that hardly varies is not blown up.
    const SCALE_MIN: f32 = 0.2;

    /// Fits to one feature's values; leaves them in another order.
    fn fit(column: &mut [f32]) -> Self {
        column.sort_unstable_by(f32::total_cmp);
        let centre = column.get(column.len() / 2).copied().unwrap_or(0.0);
        let mut transform = FeatureTransform {
            centre,
            scale: 1.0,
            upper: Tail::fit(&mut [], TailBounds::FEATURE),
            lower: Tail::fit(&mut [], TailBounds::FEATURE),
        };
        if column.is_empty() {
            return transform;
        }
        transform.scale = scale_of(&mut column.to_vec(), centre).max(Self::SCALE_MIN);
        let distances = |sign: f32| -> Tail {
            let squashed = column.iter().map(|value| (sign * transform.squash(*value)).max(0.0));
            Tail::fit(&mut squashed.collect::<Vec<f32>>(), TailBounds::FEATURE)
        };
        let (upper, lower) = (distances(1.0), distances(-1.0));
        FeatureTransform {
            upper,
            lower,
            ..transform
        }
    }

    fn is_valid(&self) -> bool {
        self.centre.is_finite()
            && self.scale.is_finite()
            && self.scale > 0.0
            && self.upper.is_valid()
            && self.lower.is_valid()
    }

    /// Gives the distance from the centre in scales, far ones by their square root.
    fn squash(&self, value: f32) -> f32 {
        let distance = (value - self.centre) / self.scale;
        distance / (1.0 + distance.abs()).sqrt()
    }

    /// The inverse of [`FeatureTransform::squash`].
    fn unsquash(&self, squashed: f32) -> f32 {
        let square = squashed * squashed;
        let distance = 0.5 * (square + (square * square + 4.0 * square).sqrt());
        self.centre + self.scale * distance.copysign(squashed)
    }

    fn apply(&self, value: f32) -> f32 {
        let squashed = self.squash(value);
        let (sign, surprise) = match squashed {
            above if above > 0.0 => (1.0, self.upper.surprise(above)),
            below if below < 0.0 => (-1.0, self.lower.surprise(-below)),
            _ => return 0.0,
        };
        sign * (surprise / DECADES_PER_INPUT).min(INPUT_MAX)
    }

    fn invert(&self, input: f32) -> f32 {
        let surprise = input.abs() * DECADES_PER_INPUT;
        let squashed = match input {
            above if above > 0.0 => self.upper.value(surprise),
            below if below < 0.0 => -self.lower.value(surprise),
            _ => 0.0,
        };
        self.unsquash(squashed)
    }
}

impl InputTransform {
    /// Fits to rows of one instrument. Centre: the median; scale: the larger of 1.48 times the median absolute deviation
    /// and the standard deviation of the middle 98 %. Without rows nothing is much of a surprise.
    pub fn fit(rows: &[FeatureRow]) -> Self {
        let mut column = Vec::with_capacity(rows.len());
        let fit = |feature: usize| {
            column.clear();
            column.extend(rows.iter().map(|row| row[feature]));
            FeatureTransform::fit(&mut column)
        };
        InputTransform {
            features: (0..FEATURES).map(fit).collect(),
        }
    }

    /// Tells whether there is one entry per feature and each is such as fitting makes, as an artifact must promise.
    pub fn is_valid(&self) -> bool {
        self.features.len() == FEATURES && self.features.iter().all(FeatureTransform::is_valid)
    }

    /// Gives the model's input of one row.
    pub fn apply(&self, row: &FeatureRow) -> InputRow {
        let mut input = [0.0; FEATURES];
        for ((place, value), feature) in input.iter_mut().zip(row).zip(&self.features) {
            *place = feature.apply(*value);
        }
        input
    }

    /// Gives the feature's value that has this input: the inverse of [`InputTransform::apply`], as far as the surprise
    /// tells values apart.
    pub fn invert(&self, feature: usize, input: f32) -> f32 {
        self.features[feature].invert(input)
    }
}

/// Gives the surprise behind a model input (decades of probability, 0–10).
pub fn surprise_of(input: f32) -> f32 {
    input.abs() * DECADES_PER_INPUT
}

/// Gives the scale of a sorted column; leaves the column in another order.
fn scale_of(column: &mut [f32], centre: f32) -> f32 {
    let cut = column.len() / 100;
    let middle = &column[cut..column.len() - cut];
    let squares: f64 = middle.iter().map(|value| f64::from(value - centre).powi(2)).sum();
    let deviation = libm::sqrt(squares / middle.len() as f64) as f32;
    column.iter_mut().for_each(|value| *value = (*value - centre).abs());
    column.sort_unstable_by(f32::total_cmp);
    deviation.max(1.48 * column[column.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<FeatureRow> {
        (0..1000_u16)
            .map(|i| std::array::from_fn(|feature| (f32::from(i) - 500.0) / 100.0 * (feature + 1) as f32))
            .collect()
    }

    #[test]
    fn inverse_gives_the_value_back() {
        let transform = InputTransform::fit(&rows());
        let row: FeatureRow = std::array::from_fn(|feature| (feature % 9) as f32 * 0.5 - 2.0);
        let input = transform.apply(&row);
        for (feature, value) in row.iter().enumerate() {
            let back = transform.invert(feature, input[feature]);
            assert!(
                (back - value).abs() < 1e-2 * (1.0 + value.abs()),
                "{feature}: {value} {back}"
            );
        }
    }

    #[test]
    fn constant_column_and_no_rows_make_a_valid_transform() {
        assert!(InputTransform::fit(&[[3.0; FEATURES]; 5]).is_valid());
        assert!(InputTransform::fit(&[]).is_valid());
        assert_eq!(
            InputTransform::fit(&[[3.0; FEATURES]; 5]).apply(&[3.0; FEATURES]),
            [0.0; FEATURES]
        );
    }
}
