//! The input transform: feature row → model input, per instrument and versioned with the model.
//!
//! An input is a signed surprise: −log₁₀ of how rarely the feature is this far from its median on that side, with the sign of
//! the side, in units of two decades, and clipped. A spread that is this wide once in 100 ticks, for example, becomes +1.
//! This makes all instruments alike, so that weights serve instruments that they were not fitted to. And one wild value
//! cannot drown the gates of an LSTM, which are sensitive to the scale of their input. Distances are divided by a robust
//! scale and squashed (by their square root, far from the centre) before their tails are fitted. Knows no model.

use super::feature::{FEATURES, FeatureRow};
use super::tails::Tails;

/// Decades of surprise that make one unit of a model input.
const DECADES_PER_INPUT: f32 = 2.0;
/// Largest model input.
const INPUT_MAX: f32 = 5.0;

/// One row as the model sees it.
pub type InputRow = [f32; FEATURES];

/// What every feature means on one instrument.
#[derive(Clone, Debug, PartialEq)]
pub struct InputTransform {
    /// Centre of each feature, in the feature's own unit.
    pub centres: [f32; FEATURES],
    /// Scale of each feature, in the feature's own unit (> 0).
    pub scales: [f32; FEATURES],
    /// Tails of the squashed distances above the centre; values below it count as 0.
    pub upper: Tails,
    /// Tails of those below it.
    pub lower: Tails,
}

/// Smallest scale, in a feature's own unit (σ, logarithms, shares): a feature that hardly varies is not blown up.
const SCALE_MIN: f32 = 0.2;

/// Squashes a distance in scales: far ones by their square root.
fn squash(distance: f32) -> f32 {
    distance / (1.0 + distance.abs()).sqrt()
}

/// The inverse of [`squash`].
fn unsquash(squashed: f32) -> f32 {
    let square = squashed * squashed;
    (0.5 * (square + (square * square + 4.0 * square).sqrt())).copysign(squashed)
}

/// Gives centre and scale of one feature's values; leaves them in another order.
fn centre_and_scale(column: &mut [f32]) -> (f32, f32) {
    column.sort_unstable_by(f32::total_cmp);
    match column.get(column.len() / 2).copied() {
        Some(centre) => (centre, scale_of(column, centre).max(SCALE_MIN)),
        None => (0.0, 1.0),
    }
}

impl InputTransform {
    /// Fits to rows of one instrument. Centre: the median; scale: the larger of 1.48 times the median absolute deviation
    /// and the standard deviation of the middle 98 %. Without rows nothing is much of a surprise.
    pub fn fit(rows: &[FeatureRow]) -> Self {
        let column = |feature: usize| -> Vec<f32> { rows.iter().map(|row| row[feature]).collect() };
        let measured = |feature: usize| centre_and_scale(&mut column(feature));
        let measured: [(f32, f32); FEATURES] = std::array::from_fn(measured);
        let (centres, scales) = (measured.map(|(centre, _)| centre), measured.map(|(_, scale)| scale));
        let tails = |sign: f32| {
            Tails::fit(|feature| {
                let distance = |row: &FeatureRow| squash((row[feature] - centres[feature]) / scales[feature]);
                rows.iter().map(|row| (sign * distance(row)).max(0.0)).collect()
            })
        };
        let (upper, lower) = (tails(1.0), tails(-1.0));
        InputTransform {
            centres,
            scales,
            upper,
            lower,
        }
    }

    /// Tells whether each number is such as fitting makes, as an artifact must promise.
    pub fn is_valid(&self) -> bool {
        self.centres.iter().all(|centre| centre.is_finite())
            && self.scales.iter().all(|scale| scale.is_finite() && *scale > 0.0)
            && self.upper.is_valid()
            && self.lower.is_valid()
    }

    /// Gives the model's input of one row.
    pub fn apply(&self, row: &FeatureRow) -> InputRow {
        let mut squashed = [0.0; FEATURES];
        for (((place, value), centre), scale) in squashed.iter_mut().zip(row).zip(&self.centres).zip(&self.scales) {
            *place = squash((value - centre) / scale);
        }
        let above = self.upper.surprises(&squashed.map(positive_part));
        let below = self.lower.surprises(&squashed.map(|distance| positive_part(-distance)));
        std::array::from_fn(|feature| {
            let input = |surprise: f32| (surprise / DECADES_PER_INPUT).min(INPUT_MAX);
            input(above[feature]) - input(below[feature])
        })
    }

    /// Gives the feature's value that has this input: the inverse of [`InputTransform::apply`], as far as the surprise
    /// tells values apart.
    pub fn invert(&self, feature: usize, input: f32) -> f32 {
        let surprise = input.abs() * DECADES_PER_INPUT;
        let squashed = match input {
            above if above > 0.0 => self.upper.of(feature).value(surprise),
            below if below < 0.0 => -self.lower.of(feature).value(surprise),
            _ => 0.0,
        };
        self.centres[feature] + self.scales[feature] * unsquash(squashed)
    }
}

/// Gives the number where it is above 0, else 0.
fn positive_part(number: f32) -> f32 {
    if number > 0.0 { number } else { 0.0 }
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
