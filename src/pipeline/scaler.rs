//! The input transform: feature row → model input, per instrument and versioned with the model.
//!
//! Each feature is centred by its median, divided by a robust scale and squashed by asinh, since the gates of an LSTM
//! are sensitive to the scale of their input and a single wild value must not drown the row. Knows no model.

use serde::{Deserialize, Serialize};

use super::feature::{FEATURES, FeatureRow};

/// One row as the model sees it.
pub type InputRow = [f32; FEATURES];

/// Centre and scale of every feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputTransform {
    centres: Vec<f32>,
    scales: Vec<f32>,
}

impl InputTransform {
    /// Smallest scale, in a feature's own unit (σ, logarithms, shares): a feature that hardly varies is not blown up.
    const SCALE_MIN: f32 = 0.2;

    /// Fits centre and scale to rows of one instrument: the median, and the larger of 1.48 times the median absolute
    /// deviation and the standard deviation of the middle 98 %. Without rows it changes nothing.
    pub fn fit(rows: &[FeatureRow]) -> Self {
        let mut transform = InputTransform {
            centres: vec![0.0; FEATURES],
            scales: vec![1.0; FEATURES],
        };
        if rows.is_empty() {
            return transform;
        }
        let mut column = Vec::with_capacity(rows.len());
        for feature in 0..FEATURES {
            column.clear();
            column.extend(rows.iter().map(|row| row[feature]));
            column.sort_unstable_by(f32::total_cmp);
            let centre = column[column.len() / 2];
            transform.centres[feature] = centre;
            transform.scales[feature] = scale_of(&mut column, centre).max(Self::SCALE_MIN);
        }
        transform
    }

    /// Tells whether both lists have one finite entry per feature and no scale is zero, as an artifact must promise.
    pub fn is_valid(&self) -> bool {
        self.centres.len() == FEATURES
            && self.scales.len() == FEATURES
            && self.centres.iter().all(|centre| centre.is_finite())
            && self.scales.iter().all(|scale| scale.is_finite() && *scale > 0.0)
    }

    /// Gives the model's input of one row.
    pub fn apply(&self, row: &FeatureRow) -> InputRow {
        let mut input = [0.0; FEATURES];
        for (feature, place) in input.iter_mut().enumerate() {
            *place = libm::asinhf((row[feature] - self.centres[feature]) / self.scales[feature]);
        }
        input
    }

    /// Gives the feature's value that has this input: the inverse of [`InputTransform::apply`].
    pub fn invert(&self, feature: usize, input: f32) -> f32 {
        libm::sinhf(input) * self.scales[feature] + self.centres[feature]
    }
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
            .map(|i| std::array::from_fn(|feature| f32::from(i % 10) * feature as f32 + 5.0))
            .collect()
    }

    #[test]
    fn inverse_gives_the_value_back() {
        let transform = InputTransform::fit(&rows());
        let row: FeatureRow = std::array::from_fn(|feature| feature as f32 * 3.0 - 7.0);
        let input = transform.apply(&row);
        for (feature, value) in row.iter().enumerate() {
            let back = transform.invert(feature, input[feature]);
            assert!(
                (back - value).abs() < 1e-3 * (1.0 + value.abs()),
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
