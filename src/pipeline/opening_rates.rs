//! OpeningRates: how often an alert opens at a score, from normal ticks.
//!
//! Ticks above a threshold come in runs, and one run is one alert, so alerts are rarer than ticks. A height that one tick in
//! a thousand reaches may open an alert only every several thousand ticks. The score corrects for this: calibration counts
//! the runs of normal ticks at several heights (the runs estimator of the extremal index: Smith & Weissman 1994) and so
//! knows what each height means in alerts. The correction is measured at heights where calibration saw at least 30 runs, and
//! halved for every half decade above those, up to a height of 4. Promises a strictly rising map. Knows no instrument: the
//! map is the group's.

use super::run::RunRule;
use super::tail::SURPRISE_MAX;

/// Heights at which runs are counted: from 1.5 to 4, half a decade apart (decades).
pub const KNOTS: usize = 6;
const FIRST: f32 = 1.5;
const STEP: f32 = 0.5;
/// Fewest runs from which the rate of alerts at a height is measured.
const RUNS_MIN: u32 = 30;
/// Heights with fewer than [`RUNS_MIN`] runs have no estimate of their own. There we keep this share (0–1) of the correction
/// at the height below: farther out runs are shorter, and changes of the market cost what runs save (measured on nine
/// feeds, fitted on first halves and counted on later ones).
const GAIN_KEPT: f32 = 0.5;
/// The map rises from knot to knot by at least this (decades).
const RISE_MIN: f32 = 0.05;

/// From −log₁₀ of how rarely a tick is this odd to −log₁₀ of how rarely an alert opens this high.
#[derive(Clone, Debug, PartialEq)]
pub struct OpeningRates {
    /// What the heights mean (decades, > 0, rising).
    pub decades: [f32; KNOTS],
}

impl Default for OpeningRates {
    /// Every tick an alert of its own.
    fn default() -> Self {
        OpeningRates {
            decades: std::array::from_fn(height),
        }
    }
}

fn height(knot: usize) -> f32 {
    FIRST + STEP * knot as f32
}

impl OpeningRates {
    /// Counts the runs in scores of normal ticks, one list per instrument, oldest first, by the rule of alerts
    /// ([`RunRule::count`] says what pairs are).
    pub fn fit(scores: &[Vec<(f32, f32)>], rule: RunRule) -> Self {
        let ticks: usize = scores.iter().map(Vec::len).sum();
        let mut decades = Self::default().decades;
        for knot in 0..KNOTS {
            let runs: u32 = scores.iter().map(|scores| rule.count(scores, height(knot))).sum();
            let gain_before = knot
                .checked_sub(1)
                .map_or(0.0, |before| decades[before] - height(before));
            if runs >= RUNS_MIN {
                decades[knot] = libm::log10(ticks as f64 / f64::from(runs)) as f32;
            } else {
                decades[knot] += GAIN_KEPT * gain_before.max(0.0);
            }
            if knot > 0 {
                decades[knot] = decades[knot].max(decades[knot - 1] + RISE_MIN);
            }
        }
        OpeningRates { decades }
    }

    /// Tells whether it is such as fitting makes.
    pub fn is_valid(&self) -> bool {
        let rises = self.decades.windows(2).all(|pair| pair[0] < pair[1]);
        rises && self.decades[0] > 0.0 && self.decades[KNOTS - 1].is_finite()
    }

    /// Gives −log₁₀ of how rarely an alert opens as high as a tick whose −log₁₀ p-value is `score` (0–12).
    pub fn apply(&self, score: f32) -> f32 {
        let place = (score - FIRST) / STEP;
        let mapped = if place <= 0.0 {
            score / FIRST * self.decades[0]
        } else if place >= (KNOTS - 1) as f32 {
            score - height(KNOTS - 1) + self.decades[KNOTS - 1]
        } else {
            let below = place as usize;
            let share = place - below as f32;
            self.decades[below] + share * (self.decades[below + 1] - self.decades[below])
        };
        mapped.clamp(0.0, SURPRISE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores of which each comes `times` in a row, at the rate that it names.
    fn clustered(times: usize) -> Vec<Vec<(f32, f32)>> {
        let mut scores = vec![0.0_f32; 400_000];
        for decades in 1..=4_u32 {
            let apart = 10_usize.pow(decades) * times;
            for start in (apart / 2 + 7 * decades as usize..scores.len() - times).step_by(apart) {
                for score in &mut scores[start..start + times] {
                    *score = score.max(decades as f32);
                }
            }
        }
        vec![scores.into_iter().map(|score| (score, score)).collect()]
    }

    #[test]
    fn ten_ticks_in_a_row_are_one_alert() {
        let opening_rates = OpeningRates::fit(&clustered(10), RunRule::default());
        assert!((opening_rates.apply(3.0) - 4.0).abs() < 0.15, "{opening_rates:?}");
        assert!((opening_rates.apply(2.5) - 3.5).abs() < 0.6, "{opening_rates:?}");
        // There are too few runs at 4, so half of the correction at 3.5 is kept.
        let gains = [3.5, 4.0].map(|height| opening_rates.apply(height) - height);
        assert!((gains[1] - 0.5 * gains[0]).abs() < 0.01 && gains[1] > 0.2, "{gains:?}");
        // Far out there is one decade for one decade.
        assert!((opening_rates.apply(7.0) - opening_rates.apply(6.0) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn single_ticks_keep_their_scores_and_the_map_rises() {
        let single = OpeningRates::fit(&clustered(1), RunRule::default());
        assert!((single.apply(3.0) - 3.0).abs() < 0.1, "{single:?}");
        for opening_rates in [
            single,
            OpeningRates::fit(&clustered(30), RunRule::default()),
            OpeningRates::fit(&[], RunRule::default()),
            OpeningRates::default(),
        ] {
            assert!(opening_rates.is_valid());
            let mapped = (0..130).map(|tenth| opening_rates.apply(tenth as f32 / 10.0));
            assert!(mapped.collect::<Vec<f32>>().is_sorted());
        }
        assert_eq!(OpeningRates::fit(&[], RunRule::default()), OpeningRates::default());
    }
}
