//! The longest amount of late: what an instrument's silences and unchanged stretches are judged against.

use serde::{Deserialize, Serialize};

use crate::pipeline::robust::weight_of_half_life;

/// A maximum that fades: it rises to a longer amount, but to at most twice itself, and falls back by its half-life.
///
/// One night's silence, or one fault, thus doubles it and no more; a feed that turns slow is followed within a few ticks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Longest {
    /// What is left of it after one observation (0–1).
    kept: f64,
    /// It rises from here (> 0).
    first: f64,
    value: f64,
    count: u32,
}

impl Longest {
    /// An amount lifts it to at most this many times itself.
    const RISE: f64 = 2.0;

    /// Makes an empty one with this half-life (observations, > 0) that rises from `first` (> 0).
    pub fn new(half_life: f64, first: f64) -> Self {
        Longest {
            kept: 1.0 - weight_of_half_life(half_life),
            first,
            value: 0.0,
            count: 0,
        }
    }

    /// Takes one amount in (finite, ≥ 0).
    pub fn observe(&mut self, amount: f64) {
        self.count = self.count.saturating_add(1);
        self.value = if amount > self.value {
            amount.min(Self::RISE * self.value.max(self.first))
        } else {
            self.value * self.kept
        };
    }

    /// Gives it; 0 before the first amount above zero.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Gives the amounts taken in.
    pub fn count(&self) -> u32 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wild_amount_doubles_it_and_is_forgotten() {
        let mut longest = Longest::new(100.0, 0.001);
        (0..1000).for_each(|i| longest.observe(f64::from(i % 5)));
        let before = longest.value();
        assert!((3.5..=4.0).contains(&before), "{before}");
        longest.observe(60_000.0);
        assert_eq!(longest.value(), 2.0 * before);
        (0..1000).for_each(|i| longest.observe(f64::from(i % 5)));
        assert!(longest.value() <= 4.0);
    }
}
