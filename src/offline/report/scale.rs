//! Scales: from values to pixels, with round numbers along the axis.

use super::number;

/// Round numbers on one axis, at most.
const TICKS_MAX: usize = 12;

/// Share of the values, at either end, that may lie off the scale of [`robust_range`].
const OUTLIERS: f64 = 0.005;

/// A robust range reaches so many widths of its bulk beyond it.
const HEADROOM: f64 = 0.75;

/// Maps a range of values to a range of pixels; what lies outside is put on the edge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// Makes a scale from `low` at pixel `start` to `high` at pixel `end`. An empty range is widened.
    pub fn new((low, high): (f64, f64), (start, end): (f64, f64)) -> Self {
        let (low, high) = if high > low { (low, high) } else { widened(low) };
        Scale { low, high, start, end }
    }

    /// Gives the pixel of a value; NaN lies at the start.
    pub fn at(&self, value: f64) -> f64 {
        if value.is_nan() {
            return self.start;
        }
        let value = value.clamp(self.low, self.high);
        // Halves, because the width of the range may be more than a number can hold.
        let share = (value * 0.5 - self.low * 0.5) / (self.high * 0.5 - self.low * 0.5);
        self.start + share * (self.end - self.start)
    }

    /// Tells whether a value lies within the range.
    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Gives the pixels at the ends of the range.
    pub fn ends(&self) -> (f64, f64) {
        (self.start, self.end)
    }

    /// Gives the values at the ends of the range.
    pub fn range(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// Lists about `wanted` round numbers within the range, with their texts.
    pub fn ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        let step = round_step((self.high * 0.5 - self.low * 0.5) / wanted as f64 * 2.0);
        let first = (self.low / step).ceil() * step;
        let decimals = (-step.log10() - 1e-9).ceil().clamp(0.0, 9.0) as usize;
        let mut ticks: Vec<(f64, String)> = Vec::new();
        for index in 0..TICKS_MAX {
            let value = first + index as f64 * step;
            if !self.holds(value) {
                break;
            }
            let text = number::fixed(value, decimals);
            // Steps below what a number resolves would repeat a text.
            if ticks.last().is_none_or(|(_, before)| *before != text) {
                ticks.push((value, text));
            }
        }
        ticks
    }
}

/// Gives the next step of 1, 2 or 5 times a power of ten.
fn round_step(raw: f64) -> f64 {
    if !(raw.is_finite() && raw > 0.0) {
        return 1.0;
    }
    let power = 10_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| factor * power >= raw * 0.999_999);
    step.unwrap_or(10.0) * power
}

/// Gives a range around one value.
fn widened(value: f64) -> (f64, f64) {
    let value = if value.is_finite() { value } else { 0.0 };
    let half = if value == 0.0 { 1.0 } else { value.abs() * 1e-3 };
    (value - half, value + half)
}

/// Gives lowest and highest of the values, a little apart from the edges; 0 to 1 if there are none.
pub(super) fn full_range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    const MARGIN: f64 = 0.06;
    let (low, high) = extent(values);
    if low > high {
        return (0.0, 1.0);
    }
    let margin = (high * 0.5 - low * 0.5) * 2.0 * MARGIN;
    if margin.is_finite() {
        (low - margin, high + margin)
    } else {
        (low, high)
    }
}

/// Gives a range in which the bulk of the values can be read, although some are a hundred times too high.
pub(super) fn robust_range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let mut sorted: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    if sorted.is_empty() {
        return (0.0, 1.0);
    }
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len() - 1;
    let cut = (last as f64 * OUTLIERS) as usize;
    let (low, high) = (sorted[cut], sorted[last - cut]);
    let headroom = (high - low) * HEADROOM;
    full_range([sorted[0].max(low - headroom), sorted[last].min(high + headroom)].into_iter())
}

fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axis_has_round_numbers() {
        let texts = |low, high| -> Vec<String> {
            let ticks = Scale::new((low, high), (0.0, 1.0)).ticks(4);
            ticks.into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(texts(0.0, 12.0), ["0", "5", "10"]);
        assert_eq!(texts(1.35, 1.3507), ["1.3500", "1.3502", "1.3504", "1.3506"]);
        assert_eq!(texts(0.0, 30_000.0), ["0", "10,000", "20,000", "30,000"]);
    }

    #[test]
    fn no_range_breaks_a_scale() {
        for range in [
            (0.0, 0.0),
            (5.0, 5.0),
            (f64::MIN, f64::MAX),
            (f64::NAN, f64::NAN),
            (1e300, 1e300),
            (1.0, 0.0),
        ] {
            let scale = Scale::new(range, (0.0, 100.0));
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, 5.0, f64::MAX, f64::MIN] {
                assert!((0.0..=100.0).contains(&scale.at(value)), "{range:?} {value}");
            }
            assert!(scale.ticks(4).len() <= TICKS_MAX);
        }
    }

    #[test]
    fn one_wild_price_does_not_flatten_the_others() {
        let values = (0..1_000).map(|index| {
            if index == 500 {
                1e6
            } else {
                100.0 + f64::from(index % 10)
            }
        });
        let (low, high) = robust_range(values);
        assert!(low < 100.0 && (109.0..130.0).contains(&high), "{low} {high}");
        assert_eq!(robust_range(std::iter::empty()), (0.0, 1.0));
    }
}
