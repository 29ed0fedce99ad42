//! The tails of all features, side by side: every feature of a row at once.
//!
//! A row has many features, and nearly all of its values lie in the bodies of their distributions. There a surprise is a
//! sum over the segments between knots, each from none to all of its part, which takes no branch and so is computed for
//! several features at a time. Promises the surprises of [`Tail`] but for rounding, and the same bits on every machine.

use super::feature::FEATURES;
use super::tail::{Beyond, KNOT_STEP, KNOTS, TAIL_DECADES, Tail, TailBounds};

/// Segments between knots.
const SEGMENTS: usize = KNOTS - 1;
/// Where two knots are one, whatever is above them has passed the segment.
const STEEP: f32 = 1e30;

/// One tail per feature.
#[derive(Clone, Debug, PartialEq)]
pub struct Tails(Box<Columns>);

/// The tails' numbers, those of all features side by side.
#[derive(Clone, Debug, PartialEq)]
struct Columns {
    /// `(KNOTS, F)`: where each segment begins, and last where the tail begins.
    knots: [[f32; FEATURES]; KNOTS],
    /// `(SEGMENTS, F)`: how steeply surprise rises in each segment (segments per unit).
    slopes: [[f32; FEATURES]; SEGMENTS],
    /// `(F,)`.
    beyond: [Beyond; FEATURES],
}

impl Columns {
    fn body_surprises(&self, values: &[f32; FEATURES]) -> [f32; FEATURES] {
        let mut passed = [0.0_f32; FEATURES];
        for (starts, slopes) in self.knots.iter().zip(&self.slopes) {
            for (((sum, value), start), slope) in passed.iter_mut().zip(values).zip(starts).zip(slopes) {
                *sum += clamped((value - start) * slope);
            }
        }
        passed.map(|passed| (passed * KNOT_STEP).min(TAIL_DECADES))
    }
}

/// Gives the nearest number from 0 to 1: by comparisons that are one instruction each.
fn clamped(share: f32) -> f32 {
    let above = if share > 0.0 { share } else { 0.0 };
    if above < 1.0 { above } else { 1.0 }
}

impl Tails {
    /// Fits the tail of each feature to the sample that `column` gives.
    pub fn fit(column: impl Fn(usize) -> Vec<f32>) -> Self {
        let fit = |feature: usize| Tail::fit(&mut column(feature), TailBounds::FEATURE);
        Self::new(&std::array::from_fn(fit))
    }

    /// Puts tails side by side.
    pub fn new(tails: &[Tail; FEATURES]) -> Self {
        let slope = |low: f32, high: f32| {
            let width = high - low;
            if width > 1.0 / STEEP { 1.0 / width } else { STEEP }
        };
        Tails(Box::new(Columns {
            knots: std::array::from_fn(|knot| tails.each_ref().map(|tail| tail.knots[knot])),
            slopes: std::array::from_fn(|segment| {
                tails
                    .each_ref()
                    .map(|tail| slope(tail.knots[segment], tail.knots[segment + 1]))
            }),
            beyond: tails.each_ref().map(|tail| tail.beyond),
        }))
    }

    /// Tells whether each is such as fitting makes.
    pub fn is_valid(&self) -> bool {
        (0..FEATURES).all(|feature| self.of(feature).is_valid())
    }

    /// Gives the tail of one feature.
    pub fn of(&self, feature: usize) -> Tail {
        Tail {
            knots: self.0.knots.each_ref().map(|knots| knots[feature]),
            beyond: self.0.beyond[feature],
        }
    }

    /// Gives −log₁₀ of the probability that each feature of a normal tick is at least so high (0–12).
    pub fn surprises(&self, values: &[f32; FEATURES]) -> [f32; FEATURES] {
        let mut surprises = self.0.body_surprises(values);
        for (feature, (value, end)) in values.iter().zip(&self.0.knots[SEGMENTS]).enumerate() {
            if value > end {
                surprises[feature] = self.of(feature).surprise(*value);
            }
        }
        surprises
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of all shapes: broad, narrow, mostly nought, constant, none.
    fn sample(feature: usize) -> Vec<f32> {
        let n = [2000, 500, 3000, 400, 0][feature % 5];
        let value = |i: usize| {
            let place = (i * 7919 % 1009) as f32 / 1009.0;
            match feature % 5 {
                0 => -libm::log10f(1.0 - place) * (1 + feature) as f32,
                1 => 0.01 * place,
                2 => (place - 0.9).max(0.0),
                _ => 0.25,
            }
        };
        (0..n).map(value).collect()
    }

    #[test]
    fn side_by_side_they_say_what_each_says_alone() {
        let tails = Tails::fit(sample);
        for i in 0..400 {
            let values: [f32; FEATURES] = std::array::from_fn(|feature| (i * (feature + 7) % 401) as f32 * 0.01 - 0.2);
            let together = tails.surprises(&values);
            for feature in 0..FEATURES {
                let alone = tails.of(feature).surprise(values[feature]);
                let difference = (together[feature] - alone).abs();
                assert!(difference < 1e-4, "{feature}: {} {alone}", together[feature]);
            }
        }
    }

    #[test]
    fn surprises_never_fall_with_the_value_across_the_end_of_the_body() {
        let tails = Tails::fit(sample);
        let mut last = [0.0_f32; FEATURES];
        for i in 0..3000 {
            let surprises = tails.surprises(&[0.001 * libm::powf(1.005, i as f32); FEATURES]);
            let falls = last.iter().zip(&surprises).any(|(last, now)| now < last);
            assert!(!falls, "{i}: {last:?} {surprises:?}");
            last = surprises;
        }
        assert!(last.iter().all(|surprise| *surprise >= TAIL_DECADES));
    }
}
