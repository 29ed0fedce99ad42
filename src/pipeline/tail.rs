//! Tails: how rarely a statistic gets this high, from a sample of normal ticks.
//!
//! The body of the distribution is empirical, the tail above a high quantile is a generalised Pareto distribution
//! (peaks over threshold: Siffer et al. 2017), its shape from probability-weighted moments (Hosking & Wallis 1987) within
//! given bounds. Promises finite, non-decreasing surprises. Knows nothing of where the statistic comes from.

/// Surprise at which the body ends and the generalised Pareto tail begins: a probability of 0.02.
pub const TAIL_DECADES: f32 = 1.698_97;
/// Knots of the body, evenly spaced in surprise from 0 to [`TAIL_DECADES`].
pub const KNOTS: usize = 10;
/// Decades of surprise from one knot to the next.
pub const KNOT_STEP: f32 = TAIL_DECADES / (KNOTS - 1) as f32;
/// Fewest values above the threshold that a tail is fitted to. Fewer, as of a feature that was nearly constant, say nothing
/// of the tail's shape.
const EXCESSES_MIN: usize = 30;
/// Smallest scale of a tail, in the statistic's unit. Changes below it are noise; without it, a tiny change after a constant
/// past would be critical.
const NOISE_FLOOR: f32 = 0.1;
/// Largest surprise (decades): 10⁻¹² is far below any probability that a sample can tell.
pub const SURPRISE_MAX: f32 = 12.0;

/// Bounds of a fitted tail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TailBounds {
    /// Smallest shape ξ; above 0, it keeps deep tails from being too sure.
    pub min: f64,
    /// Largest shape ξ (< 1, so that the mean exceedance exists).
    pub max: f64,
}

impl TailBounds {
    /// Bounds for one feature (shape measured on nine feeds: 0.2 to 0.8).
    pub const FEATURE: TailBounds = TailBounds { min: 0.2, max: 0.8 };
    /// Bounds for a judge's log-odds: their tail is that of a logarithm, so nearly exponential.
    pub const JUDGE: TailBounds = TailBounds { min: 0.02, max: 0.3 };
    /// Bounds for the statistic joined over features (measured on nine feeds: 0.1 to 0.6).
    pub const ARM: TailBounds = TailBounds { min: 0.1, max: 0.6 };
}

/// How rarely a statistic gets this high.
#[derive(Clone, Debug, PartialEq)]
pub struct Tail {
    /// Values with surprise `i` × [`KNOT_STEP`], ascending.
    pub knots: [f32; KNOTS],
    /// What is known of values above the last knot.
    pub beyond: Beyond,
}

/// What a sample says of values above the body of its distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Beyond {
    /// They have a generalised Pareto distribution.
    Pareto {
        /// Shape ξ (> 0).
        shape: f32,
        /// Scale, in the statistic's unit (> 0).
        scale: f32,
    },
    /// The sample has too few to fit one. Every one of them has the surprise of a value that the sample, were it larger by
    /// one, would have seen once (decades, 0–12).
    Rare(f32),
}

impl Beyond {
    fn is_valid(self) -> bool {
        match self {
            Beyond::Pareto { shape, scale } => {
                let is_positive = |number: f32| number.is_finite() && number > 0.0;
                is_positive(shape) && is_positive(scale)
            }
            Beyond::Rare(surprise) => (0.0..=SURPRISE_MAX).contains(&surprise),
        }
    }
}

impl Tail {
    /// Fits body and tail to a sample; sorts it. An empty sample makes a tail that is hardly ever surprised.
    pub fn fit(sample: &mut [f32], bounds: TailBounds) -> Self {
        sample.sort_unstable_by(f32::total_cmp);
        let knots: [f32; KNOTS] = match sample.is_empty() {
            true => [0.0; KNOTS],
            false => std::array::from_fn(|knot| quantile(sample, knot_probability(knot))),
        };
        let threshold = knots[KNOTS - 1];
        let excesses: Vec<f64> = sample
            .iter()
            .filter(|value| **value > threshold)
            .map(|value| f64::from(value - threshold))
            .collect();
        let share = (excesses.len() + 1) as f64 / (sample.len() + 1) as f64;
        let (shape, scale) = match excesses.len() < EXCESSES_MIN {
            true => (bounds.min, 0.0),
            false => fit_pareto(&excesses, bounds),
        };
        let beyond = if scale > 0.0 {
            Beyond::Pareto {
                shape: shape as f32,
                scale: scale.max(f64::from(NOISE_FLOOR)) as f32,
            }
        } else {
            Beyond::Rare((-libm::log10(share)).max(f64::from(TAIL_DECADES)) as f32)
        };
        Tail { knots, beyond }
    }

    /// Tells whether the numbers are such as [`Tail::fit`] makes, as an artifact must promise.
    pub fn is_valid(&self) -> bool {
        self.knots.iter().all(|knot| knot.is_finite()) && self.knots.is_sorted() && self.beyond.is_valid()
    }

    /// Gives −log₁₀ of the probability that a normal tick's statistic is at least `value` (0–12).
    pub fn surprise(&self, value: f32) -> f32 {
        let threshold = self.knots[KNOTS - 1];
        if value > threshold {
            self.tail_surprise(value - threshold)
        } else {
            self.body_surprise(value)
        }
    }

    fn body_surprise(&self, value: f32) -> f32 {
        // Counted without branches: ten comparisons are cheaper than one mispredicted.
        let above = self.knots.iter().map(|knot| usize::from(*knot < value)).sum::<usize>();
        if above == 0 {
            return 0.0;
        }
        let Some(upper) = self.knots.get(above) else {
            return TAIL_DECADES;
        };
        let lower = self.knots[above - 1];
        let share = if *upper > lower {
            (value - lower) / (upper - lower)
        } else {
            1.0
        };
        (((above - 1) as f32 + share) * KNOT_STEP).min(TAIL_DECADES)
    }

    /// Gives a value whose surprise this is: the inverse of [`Tail::surprise`] where that is strictly rising.
    pub fn value(&self, surprise: f32) -> f32 {
        let at_threshold = TAIL_DECADES;
        if surprise > at_threshold {
            let excess = match self.beyond {
                Beyond::Rare(_) => NOISE_FLOOR,
                Beyond::Pareto { shape, scale } => {
                    (libm::exp10f(shape * (surprise - at_threshold)) - 1.0) / shape * scale
                }
            };
            return self.knots[KNOTS - 1] + excess;
        }
        let place = (surprise / KNOT_STEP).max(0.0);
        let lower = (place as usize).min(KNOTS - 2);
        let share = (place - lower as f32).min(1.0);
        self.knots[lower] + share * (self.knots[lower + 1] - self.knots[lower])
    }

    fn tail_surprise(&self, excess: f32) -> f32 {
        match self.beyond {
            Beyond::Rare(rare) => {
                let body = self.body_surprise(self.knots[KNOTS - 1]);
                body + (rare - body) * (excess / NOISE_FLOOR).min(1.0)
            }
            Beyond::Pareto { shape, scale } => {
                let decades = libm::log10f(1.0 + shape * excess / scale) / shape;
                (TAIL_DECADES + decades).min(SURPRISE_MAX)
            }
        }
    }
}

/// Gives the probability of being above knot number `knot`.
fn knot_probability(knot: usize) -> f64 {
    libm::exp10(-(knot as f64) * f64::from(KNOT_STEP))
}

/// Gives the value that a share `above` of the ascending sample exceeds.
fn quantile(sorted: &[f32], above: f64) -> f32 {
    let place = (1.0 - above) * (sorted.len() - 1) as f64;
    sorted[place.round() as usize]
}

/// Fits shape and scale of a generalised Pareto distribution to ascending excesses by probability-weighted moments
/// (Hosking & Wallis 1987, eq. 3), then clips the shape and fits the scale to the mean excess again.
fn fit_pareto(excesses: &[f64], bounds: TailBounds) -> (f64, f64) {
    if excesses.is_empty() {
        return (bounds.min, 0.0);
    }
    let n = excesses.len() as f64;
    let mean = excesses.iter().sum::<f64>() / n;
    let weighted = excesses
        .iter()
        .enumerate()
        .map(|(rank, excess)| (n - 1.0 - rank as f64 + 0.35) / n * excess)
        .sum::<f64>()
        / n;
    let shape = match mean - 2.0 * weighted {
        denominator if denominator > 0.0 => (2.0 - mean / denominator).clamp(bounds.min, bounds.max),
        _ => bounds.max,
    };
    (shape, mean * (1.0 - shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Evenly spread quantiles of a generalised Pareto distribution.
    fn pareto(n: u32, shape: f64) -> Vec<f32> {
        (0..n)
            .map(|i| 1.0 - (f64::from(i) + 0.5) / f64::from(n))
            .map(|p| ((libm::pow(p, -shape) - 1.0) / shape) as f32)
            .collect()
    }

    #[test]
    fn tail_of_a_known_distribution_is_found_again() {
        let tail = Tail::fit(&mut pareto(20_000, 0.3), TailBounds::FEATURE);
        assert!(
            matches!(tail.beyond, Beyond::Pareto { shape, .. } if (0.25..0.37).contains(&shape)),
            "{tail:?}"
        );
        for decades in [0.5_f64, 1.0, 1.5, 3.0, 5.0] {
            let value = (libm::pow(10.0, 0.3 * decades) - 1.0) / 0.3;
            let found = f64::from(tail.surprise(value as f32));
            assert!((found - decades).abs() < 0.15 * decades, "{decades}: {found}");
        }
    }

    #[test]
    fn surprise_never_falls_and_stays_within_bounds() {
        let tail = Tail::fit(&mut pareto(500, 0.5), TailBounds::FEATURE);
        let mut last = 0.0;
        for i in 0..5000 {
            let surprise = tail.surprise(-1.0 + 0.02 * i as f32);
            assert!(surprise >= last && surprise <= SURPRISE_MAX, "{i}: {last} {surprise}");
            last = surprise;
        }
        assert_eq!(tail.surprise(f32::MAX), tail.surprise(f32::MAX).min(SURPRISE_MAX));
    }

    #[test]
    fn tails_that_no_fit_makes_are_not_valid() {
        let valid = Tail::fit(&mut pareto(500, 0.5), TailBounds::FEATURE);
        assert!(valid.is_valid());
        let beyond = |shape, scale| Beyond::Pareto { shape, scale };
        let others = [
            beyond(0.0, 1.0),
            beyond(0.2, 0.0),
            beyond(f32::NAN, 1.0),
            beyond(0.2, f32::INFINITY),
            Beyond::Rare(-0.1),
            Beyond::Rare(f32::NAN),
        ];
        for beyond in others {
            assert!(
                !Tail {
                    beyond,
                    ..valid.clone()
                }
                .is_valid(),
                "{beyond:?}"
            );
        }
        for (place, number) in [(3, f32::NAN), (0, 1e9)] {
            let mut knots = valid.knots;
            knots[place] = number;
            assert!(!Tail { knots, ..valid.clone() }.is_valid(), "{number}");
        }
    }

    #[test]
    fn constant_sample_is_surprised_by_one_in_n_at_most() {
        let tail = Tail::fit(&mut [0.0; 999], TailBounds::FEATURE);
        assert_eq!(tail.surprise(0.0), 0.0);
        assert!(tail.surprise(1e-6) < 1e-3 && (tail.surprise(0.2) - 3.0).abs() < 1e-6);
        assert_eq!(Tail::fit(&mut [], TailBounds::ARM).surprise(1.0), -libm::log10f(0.02));
    }
}
