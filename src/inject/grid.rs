//! The grid: the evenly spaced values that an instrument's prices, or its sizes, can take.
//!
//! Promises values that equal, bit for bit, what parsing the decimal text would give, so that an injected price cannot
//! be told from a recorded one by its last bits. Knows no ticks other than to estimate the price step from them.

use crate::pipeline::tick::{Body, Tick};

/// Share of all differences that the step must make up (0–1): rarer ones are midpoint prints and the like.
const FREQUENT_SHARE: f64 = 0.01;

/// Differences below this multiple of the largest value are rounding of the last bits.
const ROUNDING: f64 = 1e-13;

/// A step is taken as 1/n or n when it is that near to it (relative); recorded differences carry rounding errors.
const WHOLE_TOLERANCE: f64 = 1e-6;

/// Evenly spaced values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid {
    /// Distance of two neighbours (in the values' unit, > 0).
    pub step: f64,
    /// Neighbours per unit, where that is a whole number (≥ 1).
    per_unit: Option<f64>,
}

impl Grid {
    /// Makes the grid whose step is the smallest frequent difference of `values`' neighbours.
    pub fn of_differences(differences: Vec<f64>, largest: f64) -> Option<Self> {
        smallest_frequent(differences, largest * ROUNDING).map(Self::new)
    }

    fn new(step: f64) -> Self {
        let inverse = 1.0 / step;
        let near = |value: f64| value.round() >= 1.0 && (value / value.round() - 1.0).abs() < WHOLE_TOLERANCE;
        if near(inverse) {
            Self {
                step: 1.0 / inverse.round(),
                per_unit: Some(inverse.round()),
            }
        } else if near(step) {
            Self {
                step: step.round(),
                per_unit: None,
            }
        } else {
            Self { step, per_unit: None }
        }
    }

    /// Gives the value of the grid nearest to `value`.
    pub fn snap(&self, value: f64) -> f64 {
        match self.per_unit {
            Some(per_unit) => (value * per_unit).round() / per_unit,
            None => (value / self.step).round() * self.step,
        }
    }

    /// Gives the value of the grid nearest to `value`, but at least one step.
    pub fn snap_positive(&self, value: f64) -> f64 {
        self.snap(value).max(self.step)
    }

    /// Gives the whole number of steps nearest to `distance`.
    pub fn steps(&self, distance: f64) -> f64 {
        (distance / self.step).round()
    }

    /// Gives `value` moved by this whole number of steps; a positive value stays positive.
    ///
    /// A value between two of the grid stays as far from it: a midpoint print remains one.
    pub fn moved(&self, value: f64, steps: f64) -> f64 {
        let target = value + steps * self.step;
        let snapped = self.snap(target);
        let on_grid = (snapped - target).abs() < 1e-3 * self.step;
        let moved = if on_grid { snapped } else { target };
        if value > 0.0 { moved.max(self.step) } else { moved }
    }
}

/// Estimates an instrument's price step from its ticks: the smallest difference between successive bids, asks or trade
/// prices, or between bid and ask, that is frequent; nothing when no price ever differs.
pub fn price_step(ticks: &[Tick]) -> Option<f64> {
    price_grid(ticks).map(|grid| grid.step)
}

/// Makes the grid of an instrument's prices.
pub(super) fn price_grid(ticks: &[Tick]) -> Option<Grid> {
    let mut differences = Vec::with_capacity(2 * ticks.len());
    let (mut last_trade, mut last_quote) = (None, None);
    let mut largest = 0.0_f64;
    for tick in ticks {
        match tick.body {
            Body::Trade(trade) => {
                differences.extend(last_trade.map(|last: f64| trade.price - last));
                last_trade = Some(trade.price);
                largest = largest.max(trade.price.abs());
            }
            Body::Quote(quote) => {
                differences.push(quote.ask - quote.bid);
                if let Some((bid, ask)) = last_quote {
                    differences.extend([quote.bid - bid, quote.ask - ask]);
                }
                last_quote = Some((quote.bid, quote.ask));
                largest = largest.max(quote.ask.abs());
            }
        }
    }
    Grid::of_differences(differences, largest)
}

/// Makes the grid of a series of sizes.
pub(super) fn size_grid(sizes: &[f64]) -> Option<Grid> {
    let differences = sizes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    Grid::of_differences(differences, sizes.iter().copied().fold(0.0, f64::max))
}

/// Finds the smallest difference above `tolerance` that is frequent, or the smallest of all when none is.
fn smallest_frequent(mut differences: Vec<f64>, tolerance: f64) -> Option<f64> {
    differences
        .iter_mut()
        .for_each(|difference| *difference = difference.abs());
    differences.retain(|difference| *difference > tolerance && difference.is_finite());
    differences.sort_unstable_by(f64::total_cmp);
    let needed = ((FREQUENT_SHARE * differences.len() as f64) as usize).max(2);
    differences
        .chunk_by(|smaller, larger| larger - smaller <= tolerance)
        .find(|equal| equal.len() >= needed)
        .map(|equal| equal[equal.len() / 2])
        .or(differences.first().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{tick::Trade, time::EventTime};

    fn trades(prices: &[f64]) -> Vec<Tick> {
        let tick = |&price| Tick {
            event_time: EventTime(0),
            sequence: None,
            body: Body::Trade(Trade { price, size: None }),
        };
        prices.iter().map(tick).collect()
    }

    #[test]
    fn step_is_the_smallest_frequent_difference() {
        let mut prices: Vec<f64> = (0..600).map(|i| 61_800.0 + f64::from(i * i % 17) / 10.0).collect();
        assert_eq!(price_step(&trades(&prices)), Some(0.1));
        prices[300] += 0.05;
        assert_eq!(
            price_step(&trades(&prices)),
            Some(0.1),
            "one midpoint print does not halve the step"
        );
    }

    #[test]
    fn constant_prices_have_no_step() {
        assert_eq!(price_step(&trades(&[5.0; 9])), None);
        assert_eq!(price_step(&[]), None);
    }

    #[test]
    fn moved_values_equal_parsed_decimals() {
        let grid = Grid::new(1.37633 - 1.37632);
        assert_eq!(grid.moved(1.37632, 7.0), 1.37639);
        assert_eq!(grid.moved(1.37632, -200_000.0), grid.step);
        assert_eq!(Grid::new(0.25).snap(17.3), 17.25);
        assert_eq!(Grid::new(5.0).snap(17.3), 15.0);
    }
}
