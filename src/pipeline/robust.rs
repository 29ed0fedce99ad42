//! Running statistics that an anomaly cannot poison: clipped levels, a scale of moves, a running median.
//!
//! Promises a cost per observation bounded by constants, finite results for finite input, and that one wild value moves a
//! level by a bounded number of its own scales. Knows nothing of ticks.

use serde::{Deserialize, Serialize};
use serde_big_array::BigArray;

use super::bounded::{at_most, below};

/// Gives the weight of the newest observation for a memory with this half-life (observations, > 0).
pub fn weight_of_half_life(half_life: f64) -> f64 {
    1.0 - libm::exp2(-1.0 / half_life)
}

/// An exponentially weighted mean that starts as the plain mean of what it has seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mean {
    weight: f64,
    count: u32,
    value: f64,
}

impl Mean {
    /// Makes an empty mean with this half-life (observations, > 0).
    pub fn new(half_life: f64) -> Self {
        Mean {
            weight: weight_of_half_life(half_life),
            count: 0,
            value: 0.0,
        }
    }

    /// Takes one observation in.
    pub fn observe(&mut self, value: f64) {
        self.count = self.count.saturating_add(1);
        let weight = self.weight.max(1.0 / f64::from(self.count));
        self.value += weight * (value - self.value);
    }

    /// Gives the mean; 0 before the first observation.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Tells whether nothing has been observed yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The typical size of positive amounts (moves, waiting times): a mean in which one amount counts for at most
/// `CLIP` times the present level.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scale {
    mean: Mean,
}

impl Scale {
    /// One amount counts for at most this many levels: with half-life 100 a wild print then moves the level by 3 %.
    const CLIP: f64 = 5.0;
    /// Amounts taken in whole, before the level is good enough to clip by.
    const FIRST: u32 = 8;

    /// Makes an empty scale with this half-life (observations, > 0).
    pub fn new(half_life: f64) -> Self {
        Scale {
            mean: Mean::new(half_life),
        }
    }

    /// Takes one amount in; amounts that are not above zero say nothing of the size of the others and are left out.
    pub fn observe(&mut self, amount: f64) {
        if amount > 0.0 {
            let limit = if self.mean.count < Self::FIRST {
                f64::INFINITY
            } else {
                Self::CLIP * self.mean.value
            };
            self.mean.observe(amount.min(limit));
        }
    }

    /// Gives the level; 0 before the first amount above zero.
    pub fn value(&self) -> f64 {
        self.mean.value()
    }

    /// Gives `amount` in units of the level; 0 while there is no level.
    pub fn relative(&self, amount: f64) -> f64 {
        relative(amount, self.value())
    }
}

/// Gives `amount` in units of a level; 0 while there is no level.
pub fn relative(amount: f64, level: f64) -> f64 {
    if level > 0.0 { amount / level } else { 0.0 }
}

/// The level of a signed quantity and its spread, each moved at most by a clipped deviation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Level {
    centre: Mean,
    deviation: Mean,
}

impl Level {
    /// A deviation counts for at most this many mean deviations.
    const CLIP: f64 = 3.0;
    /// Observations taken in whole, before the spread is good enough to clip by.
    const FIRST: u32 = 16;
    /// The spread never falls below this share of one unit, so that a constant past does not freeze the level.
    const DEVIATION_MIN: f64 = 0.05;

    /// Makes an empty level with this half-life (observations, > 0).
    pub fn new(half_life: f64) -> Self {
        Level {
            centre: Mean::new(half_life),
            deviation: Mean::new(half_life),
        }
    }

    /// Gives the level; `None` before the first observation.
    pub fn centre(&self) -> Option<f64> {
        (!self.centre.is_empty()).then(|| self.centre.value())
    }

    /// Gives how far `value` is above the level; 0 before the first observation.
    pub fn above(&self, value: f64) -> f64 {
        if self.centre.is_empty() {
            0.0
        } else {
            value - self.centre.value()
        }
    }

    /// Takes one observation in.
    pub fn observe(&mut self, value: f64) {
        let deviation = self.above(value);
        let limit = if self.centre.count < Self::FIRST {
            f64::INFINITY
        } else {
            Self::CLIP * self.deviation.value().max(Self::DEVIATION_MIN)
        };
        let clipped = deviation.clamp(-limit, limit);
        let base = if self.centre.is_empty() {
            value
        } else {
            self.centre.value()
        };
        self.centre.observe(base + clipped);
        self.deviation.observe(clipped.abs());
    }
}

/// A one-sided cumulative sum of what a quantity exceeds an allowance by (Page 1954): it grows while the quantity stays
/// high, however little, and falls back while it does not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cusum {
    allowance: f64,
    limit: f64,
    sum: f64,
}

impl Cusum {
    /// Makes an empty sum over an allowance per observation; it never exceeds `limit` (> 0), so that it falls back in time.
    pub fn new(allowance: f64, limit: f64) -> Self {
        Cusum {
            allowance,
            limit,
            sum: 0.0,
        }
    }

    /// Takes one finite observation in.
    pub fn observe(&mut self, value: f64) {
        self.sum = (self.sum + value - self.allowance).clamp(0.0, self.limit);
    }

    /// Gives ln(1 + sum).
    pub fn column(&self) -> f64 {
        libm::log1p(self.sum)
    }
}

/// Observations that a [`Past`] keeps one by one.
pub const RECENT: usize = 128;
/// Samples that it keeps beyond …
const SAMPLES: usize = 64;
/// … one of so many observations.
const SAMPLE_STRIDE: usize = 8;
/// Observations that the samples span: four times as many as kept one by one, at half the memory.
pub const LONG_PAST: usize = SAMPLES * SAMPLE_STRIDE;

/// What a quantity was some observations ago: exactly up to [`RECENT`], about as long ago for [`LONG_PAST`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(serialize = "T: Serialize", deserialize = "T: Deserialize<'de>"))]
pub struct Past<T> {
    /// A ring: observation i stands at i % RECENT.
    #[serde(with = "BigArray")]
    recent: [T; RECENT],
    /// A ring of every SAMPLE_STRIDE-th one.
    #[serde(with = "BigArray")]
    samples: [T; SAMPLES],
    count: usize,
}

impl<T: Copy + Default> Default for Past<T> {
    fn default() -> Self {
        Past {
            recent: [T::default(); RECENT],
            samples: [T::default(); SAMPLES],
            count: 0,
        }
    }
}

impl<T: Copy> Past<T> {
    /// Takes one observation in.
    pub fn observe(&mut self, value: T) {
        self.recent[self.count % RECENT] = value;
        if self.count.is_multiple_of(SAMPLE_STRIDE) {
            self.samples[self.count / SAMPLE_STRIDE % SAMPLES] = value;
        }
        self.count += 1;
    }

    /// Gives how many observations there have been.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Tells whether there has been none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Gives the `ago`-th last observation (1 – [`RECENT`]); `None` while there are fewer.
    pub fn ago(&self, ago: usize) -> Option<T> {
        (self.count >= ago).then(|| self.recent[(self.count - ago) % RECENT])
    }

    /// Gives the oldest sample and how long ago it was, 505 to 512 observations; `None` while there are fewer.
    pub fn long_ago(&self) -> Option<(T, usize)> {
        if self.count < LONG_PAST {
            return None;
        }
        let next = self.count.div_ceil(SAMPLE_STRIDE);
        let ago = self.count - (next - SAMPLES) * SAMPLE_STRIDE;
        Some((self.samples[next % SAMPLES], ago))
    }
}

/// The median of the last `N` observations (`N` odd, small: one observation costs O(N)).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunningMedian<const N: usize> {
    #[serde(with = "BigArray")]
    arrived: [f64; N],
    #[serde(with = "BigArray")]
    sorted: [f64; N],
    #[serde(deserialize_with = "below::<N, _>")]
    next: usize,
    #[serde(deserialize_with = "at_most::<N, _>")]
    count: usize,
}

impl<const N: usize> Default for RunningMedian<N> {
    fn default() -> Self {
        RunningMedian {
            arrived: [0.0; N],
            sorted: [0.0; N],
            next: 0,
            count: 0,
        }
    }
}

impl<const N: usize> RunningMedian<N> {
    /// Takes one finite observation in; the oldest one leaves once there are `N`.
    pub fn observe(&mut self, value: f64) {
        if self.count == N {
            let oldest = self.arrived[self.next];
            let place = self.sorted.partition_point(|known| *known < oldest);
            self.sorted.copy_within(place + 1.., place);
            self.count -= 1;
        }
        let place = self.sorted[..self.count].partition_point(|known| *known < value);
        self.sorted.copy_within(place..self.count, place + 1);
        self.sorted[place] = value;
        self.arrived[self.next] = value;
        self.next = (self.next + 1) % N;
        self.count += 1;
    }

    /// Gives the median of what is held; `None` before the first observation.
    pub fn value(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sorted[self.count / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_median_equals_the_sorted_window() {
        let mut median = RunningMedian::<9>::default();
        let values: Vec<f64> = (0..200).map(|i| f64::from((i * 7919) % 31)).collect();
        for (i, value) in values.iter().enumerate() {
            median.observe(*value);
            let mut window = values[i.saturating_sub(8)..=i].to_vec();
            window.sort_by(f64::total_cmp);
            assert_eq!(median.value(), Some(window[window.len() / 2]), "after {i}");
        }
    }

    #[test]
    fn past_tells_what_was_and_how_long_ago() {
        let mut past = Past::default();
        for i in 0..2000_usize {
            assert_eq!(past.ago(1), i.checked_sub(1));
            assert_eq!(past.ago(RECENT), i.checked_sub(RECENT));
            match past.long_ago() {
                Some((value, ago)) => assert!(value + ago == i && (505..=512).contains(&ago), "{i}: {value} {ago}"),
                None => assert!(i < LONG_PAST),
            }
            past.observe(i);
        }
    }

    #[test]
    fn one_wild_amount_moves_the_scale_by_little() {
        let mut scale = Scale::new(100.0);
        (0..500).for_each(|_| scale.observe(1.0));
        scale.observe(1e9);
        assert!(scale.value() < 1.05, "{}", scale.value());
        scale.observe(0.0);
        assert!(scale.value() > 1.0);
    }

    #[test]
    fn level_follows_a_lasting_shift_but_not_a_print() {
        let mut level = Level::new(50.0);
        (0..200).for_each(|i| level.observe(f64::from(i % 2)));
        level.observe(1e6);
        assert!(level.above(0.5).abs() < 0.1);
        (0..2_000).for_each(|_| level.observe(10.0));
        assert!(level.above(10.0).abs() < 0.5);
    }
}
