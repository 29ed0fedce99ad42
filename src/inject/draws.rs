//! Draws: seeded random numbers of the shapes that faults and synthetic markets need.
//!
//! Promises the same numbers for the same seed on every machine: the generator is integer arithmetic, and the
//! transcendental functions come from `libm`. Knows neither faults nor ticks.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// A seeded source of random numbers.
pub struct Draws {
    generator: Pcg64Mcg,
}

impl Draws {
    /// Starts a source whose numbers depend on `seed` and `stream` alone.
    pub fn new(seed: u64, stream: u64) -> Self {
        // The golden-ratio constant of SplitMix64 (Steele et al. 2014) keeps neighbouring streams of one seed apart.
        let mixed = seed.wrapping_add(stream.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self {
            generator: Pcg64Mcg::seed_from_u64(mixed),
        }
    }

    /// Draws uniformly from [0, 1).
    pub fn uniform(&mut self) -> f64 {
        self.generator.random::<f64>()
    }

    /// Draws uniformly from [`low`, `high`).
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Draws from [`low`, `high`), both > 0, with a uniform logarithm: each doubling is as likely as any other.
    pub fn log_uniform(&mut self, low: f64, high: f64) -> f64 {
        libm::exp(self.between(libm::log(low), libm::log(high)))
    }

    /// Draws a count uniformly, both ends included.
    pub fn count(&mut self, low: usize, high: usize) -> usize {
        self.generator.random_range(low as u64..=high as u64) as usize
    }

    /// Draws a count ≥ 1 with a nearly uniform logarithm, both ends included.
    pub fn log_count(&mut self, low: usize, high: usize) -> usize {
        (self.log_uniform(low as f64, (high + 1) as f64) as usize).clamp(low, high)
    }

    /// Answers yes with this probability (0–1).
    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Draws +1 or −1, equally likely.
    pub fn sign(&mut self) -> f64 {
        if self.chance(0.5) { 1.0 } else { -1.0 }
    }

    /// Draws one of `choices`.
    ///
    /// # Panics
    /// When there is nothing to choose from.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.count(0, choices.len() - 1)]
    }

    /// Draws from the exponential distribution with mean one.
    pub fn exponential(&mut self) -> f64 {
        // 1 − u is in (0, 1], so that the logarithm is finite.
        -libm::log(1.0 - self.uniform())
    }

    /// Draws from the standard normal distribution (Box & Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        radius * libm::cos(core::f64::consts::TAU * self.uniform())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWN: usize = 20_000;

    #[test]
    fn streams_repeat_and_differ() {
        let first = |seed, stream| Draws::new(seed, stream).uniform().to_bits();
        assert_eq!(first(7, 1), first(7, 1));
        assert_ne!(first(7, 1), first(7, 2));
        assert_ne!(first(7, 1), first(8, 1));
    }

    #[test]
    fn counts_reach_both_ends_and_no_further() {
        let mut draws = Draws::new(1, 0);
        for law in [Draws::count, Draws::log_count] {
            let drawn: Vec<usize> = (0..DRAWN).map(|_| law(&mut draws, 2, 9)).collect();
            assert_eq!(drawn.iter().min(), Some(&2));
            assert_eq!(drawn.iter().max(), Some(&9));
        }
    }

    #[test]
    fn moments_are_those_of_the_named_law() {
        let mut draws = Draws::new(2, 0);
        let normal: Vec<f64> = (0..DRAWN).map(|_| draws.normal()).collect();
        let mean = normal.iter().sum::<f64>() / DRAWN as f64;
        let variance = normal.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / DRAWN as f64;
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
        let waits = (0..DRAWN).map(|_| draws.exponential()).sum::<f64>() / DRAWN as f64;
        assert!((waits - 1.0).abs() < 0.03, "{waits}");
    }
}
