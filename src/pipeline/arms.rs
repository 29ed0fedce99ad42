//! Arms: what each source of evidence makes of one row, before anything says what that means on an instrument.
//!
//! | arm | looks at | trained with faults |
//! |---|---|---|
//! | *judge* | the encoder's state and the row: log-odds that the row is part of a fault | yes |
//! | *reconstruction* | the decoder's error on the newest row | no |
//! | *forecast* | the error of the predictor, which has not seen the newest row | no |
//! | *pointwise* | the features of the newest row themselves | no |
//! | *window* | the decoder's mean error over recent rows, so that what is slightly wrong for long adds up | no |
//!
//! The statistic of an untaught arm is the mean of its three most surprising features. A mean over all 92 would hide one bad
//! feature among many good ones. Knows no model and no instrument.

use serde::{Deserialize, Serialize};
use serde_big_array::BigArray;

use super::feature::FEATURES;
use super::scaler::InputRow;
use super::tail::{Tail, TailBounds};

/// Features whose surprises make an arm's statistic.
pub const TOP: usize = 3;

/// One source of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// A guard.
    Guard,
    /// The decoder's error.
    Reconstruction,
    /// The head that was taught to tell clean ticks from injected faults.
    Judge,
    /// The predictor's error.
    Forecast,
    /// The features themselves.
    Pointwise,
}

impl Arm {
    /// Gives the name used in alerts, metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Arm::Guard => "guard",
            Arm::Reconstruction => "reconstruction",
            Arm::Forecast => "forecast",
            Arm::Judge => "judge",
            Arm::Pointwise => "pointwise",
        }
    }
}

/// Which arms a score is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arms {
    /// The decoder's errors on the newest row.
    pub reconstruction: bool,
    /// The decoder's mean errors over the rows of late.
    #[serde(default)]
    pub window: bool,
    /// The predictor's errors on the newest row, where the model has a predictor.
    #[serde(default)]
    pub forecast: bool,
    /// The features themselves.
    pub pointwise: bool,
    /// The judge's log-odds, where the model has a judge.
    pub judge: bool,
}

impl Arms {
    /// Every arm.
    pub const ALL: Arms = Arms {
        reconstruction: true,
        window: true,
        forecast: true,
        pointwise: true,
        judge: true,
    };

    /// Tells whether an arm speaks that nobody has taught.
    pub fn has_untaught(self) -> bool {
        self.has_newest() || self.window
    }

    /// Tells whether one of them looks at the newest row.
    pub fn has_newest(self) -> bool {
        self.reconstruction || self.forecast || self.pointwise
    }
}

/// The decoder's errors of late on one instrument, as a mean that fades.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RunningErrors {
    mean: Option<Box<MeanErrors>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct MeanErrors(#[serde(with = "BigArray")] InputRow);

impl RunningErrors {
    /// Share of one row in the mean: a half-life of 16 rows (1 − 2^(−1/16)).
    const SHARE: f32 = 0.042_397;

    /// Takes one row's errors in and gives the mean with them.
    pub fn take(&mut self, errors: &InputRow) -> &InputRow {
        let MeanErrors(mean) = &mut **self.mean.get_or_insert_with(|| Box::new(MeanErrors(*errors)));
        for (mean, error) in mean.iter_mut().zip(errors) {
            *mean += Self::SHARE * (error - *mean);
        }
        mean
    }
}

/// One row as the arms see it, in model input units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowErrors {
    /// The row itself.
    pub input: InputRow,
    /// Absolute difference from its reconstruction.
    pub reconstruction: InputRow,
    /// The mean of that over the rows of late, where it is kept.
    pub window: Option<InputRow>,
    /// Absolute difference from its forecast, where there is a predictor.
    pub forecast: Option<InputRow>,
    /// The judge's log-odds, where there is a judge.
    pub judge: Option<f32>,
}

impl RowErrors {
    /// Compares a row with its reconstruction, which `running` takes in where means are kept, and with its forecast.
    pub fn new(
        input: &InputRow,
        rebuilt: &InputRow,
        forecast: Option<&InputRow>,
        judge: Option<f32>,
        running: Option<&mut RunningErrors>,
    ) -> Self {
        let reconstruction = distance(input, rebuilt);
        RowErrors {
            input: *input,
            window: running.map(|running| *running.take(&reconstruction)),
            reconstruction,
            forecast: forecast.map(|forecast| distance(input, forecast)),
            judge,
        }
    }
}

fn distance(row: &InputRow, other: &InputRow) -> InputRow {
    std::array::from_fn(|feature| (row[feature] - other[feature]).abs())
}

/// What an arm's statistic means on one instrument: its own level, and the tail of the whole group above it, since a
/// single instrument's ticks say too little of one in 10,000.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmScale {
    /// Taken off the statistic.
    pub level: f32,
    /// Tail of what is left, pooled over the group.
    pub tail: Tail,
}

impl ArmScale {
    /// Share of normal ticks above the quantile by which instruments are told apart.
    const LEVEL_PROBABILITY: f64 = 0.01;
    /// How much of that quantile is taken off: half-way between one level for all and one each (measured on nine feeds).
    const LEVEL_SHARE: f32 = 0.5;

    /// Gives an instrument's level from the statistic on normal ticks, which it sorts.
    pub fn level(statistics: &mut [f32]) -> f32 {
        statistics.sort_unstable_by(f32::total_cmp);
        let above = (statistics.len() as f64 * Self::LEVEL_PROBABILITY) as usize;
        let quantile = statistics.len().checked_sub(above + 1).map(|place| statistics[place]);
        Self::LEVEL_SHARE * quantile.unwrap_or(0.0)
    }

    /// Fits level and tail to one instrument alone, whose statistics it sorts.
    pub fn fit(statistics: &mut [f32], bounds: TailBounds) -> Self {
        let level = Self::level(statistics);
        let mut above: Vec<f32> = statistics.iter().map(|statistic| statistic - level).collect();
        ArmScale {
            level,
            tail: Tail::fit(&mut above, bounds),
        }
    }

    /// Gives −log₁₀ of how rarely the statistic is as high on the instrument, which has drifted since it was calibrated.
    pub fn surprise(&self, statistic: f32, drift: Drift) -> f32 {
        self.tail.surprise(statistic - self.level - drift.level())
    }

    /// Tells whether it is such as fitting makes.
    pub fn is_valid(&self) -> bool {
        self.level.is_finite() && self.tail.is_valid()
    }
}

/// How far an arm's level on an instrument has moved since calibration: it follows the ticks, slowly and within bounds.
/// Ticks of alerts must be kept from it, or a fault would teach it that faults are usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    quantile: f32,
}

impl Drift {
    /// Step per tick (log-odds). It takes some ten thousand ticks to follow a change. Four times as large, it made long faults
    /// look usual.
    const RATE: f32 = 0.005;
    /// Farthest move (log-odds).
    const MAX: f32 = 4.0;

    /// Takes one quiet tick's statistic in: a step up or down by which the quantile finds its place (Robbins & Monro 1951).
    pub fn take(&mut self, scale: &ArmScale, statistic: f32) {
        let quantile = scale.level / ArmScale::LEVEL_SHARE + self.quantile;
        let is_above = f32::from(u8::from(statistic > quantile));
        let step = is_above - ArmScale::LEVEL_PROBABILITY as f32;
        self.quantile = (self.quantile + Self::RATE * step).clamp(-Self::MAX, Self::MAX);
    }

    /// Gives what to add to the level. Instruments' levels differ by half of their quantiles; a drift counts in full.
    fn level(self) -> f32 {
        self.quantile
    }
}

/// What the arms make of one row: what calibration gives a meaning to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Mean of the arms on the newest row that nobody has taught (decades).
    pub newest: f32,
    /// The window's, where it speaks (decades).
    pub window: Option<f32>,
    /// The judge's log-odds, where there is a judge.
    pub judge: Option<f32>,
}

/// An arm's most surprising features, most surprising first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Top([(usize, f32); TOP]);

impl Top {
    /// Finds the most surprising features of a row of surprises; of equal ones, those that stand first.
    pub fn of(surprises: &[f32; FEATURES]) -> Self {
        let least = least_of_top(surprises);
        let mut top = Top([(0, f32::NEG_INFINITY); TOP]);
        for (feature, surprise) in surprises.iter().enumerate() {
            if *surprise >= least {
                top.put(feature, *surprise);
            }
        }
        top
    }

    fn put(&mut self, feature: usize, surprise: f32) {
        let Top(top) = self;
        if surprise > top[TOP - 1].1 {
            let place = top.partition_point(|(_, known)| *known >= surprise);
            top.copy_within(place..TOP - 1, place + 1);
            top[place] = (feature, surprise);
        }
    }

    /// Gives the arm's statistic.
    pub fn mean(&self) -> f32 {
        self.0.iter().map(|(_, surprise)| surprise).sum::<f32>() / TOP as f32
    }
}

/// Gives the smallest of the [`TOP`] largest numbers. Each of several lanes first keeps its own largest numbers, without a
/// branch. Then the lanes are joined.
fn least_of_top(numbers: &[f32; FEATURES]) -> f32 {
    const LANES: usize = 4;
    let mut largest = [[f32::NEG_INFINITY; LANES]; TOP];
    for row in numbers.chunks(LANES) {
        for (lane, number) in row.iter().enumerate() {
            sink(*number, largest.iter_mut().map(|row| &mut row[lane]));
        }
    }
    let mut joined = [f32::NEG_INFINITY; TOP];
    for number in largest.as_flattened() {
        sink(*number, joined.iter_mut());
    }
    joined[TOP - 1]
}

/// Puts a number into its place among descending ones; the smallest falls out.
fn sink<'a>(mut number: f32, places: impl Iterator<Item = &'a mut f32>) {
    for place in places {
        let known = *place;
        *place = if number > known { number } else { known };
        number = if number > known { known } else { number };
    }
}

/// Gives the features behind a score, the largest share first; the shares sum to 1.
pub fn shares(tops: impl IntoIterator<Item = Top>) -> Vec<(usize, f32)> {
    let mut shares: Vec<(usize, f32)> = Vec::with_capacity(2 * TOP);
    for (feature, surprise) in tops.into_iter().flat_map(|top| top.0) {
        match shares.iter_mut().find(|(known, _)| *known == feature) {
            Some((_, sum)) => *sum += surprise,
            None => shares.push((feature, surprise)),
        }
    }
    shares.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let (total, count) = (shares.iter().map(|(_, sum)| sum).sum::<f32>(), shares.len() as f32);
    shares
        .iter_mut()
        .for_each(|(_, sum)| *sum = if total > 0.0 { *sum / total } else { 1.0 / count });
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_slightly_wrong_for_long_adds_up_and_one_wild_row_fades() {
        let (mut long, mut wild) = (RunningErrors::default(), RunningErrors::default());
        let (quiet, raised) = ([0.1; FEATURES], [0.4; FEATURES]);
        for row in 0..200 {
            long.take(if row < 100 { &quiet } else { &raised });
            wild.take(if row == 100 { &[5.0; FEATURES] } else { &quiet });
        }
        assert!((long.take(&raised)[3] - 0.4).abs() < 0.01);
        assert!((wild.take(&quiet)[3] - 0.1).abs() < 0.01);
    }

    #[test]
    fn drift_follows_a_quantile_slowly_and_within_bounds() {
        let scale = ArmScale::fit(&mut [0.0; 9], TailBounds::JUDGE);
        let mut drift = Drift::default();
        // One in a hundred at 2: the quantile rises until as many are above.
        let take = |drift: &mut Drift, ticks: usize, high: f32| {
            (0..ticks).for_each(|tick| drift.take(&scale, if tick % 50 == 0 { high } else { -1.0 }));
        };
        take(&mut drift, 5_000, 2.0);
        let early = drift.level();
        assert!((0.1..0.5).contains(&early), "{early}");
        take(&mut drift, 200_000, 2.0);
        assert!((drift.level() - 2.0).abs() < 0.02, "{drift:?}");
        take(&mut drift, 2_000_000, 90.0);
        assert!((drift.level() - Drift::MAX).abs() < 0.01, "{drift:?}");
    }

    #[test]
    fn top_holds_the_largest_in_order_and_shares_sum_to_one() {
        let surprises = std::array::from_fn(|feature| (feature * 37 % FEATURES) as f32);
        let top = Top::of(&surprises);
        let largest = (FEATURES - 1) as f32;
        assert_eq!(
            top.0.map(|(_, surprise)| surprise),
            [largest, largest - 1.0, largest - 2.0]
        );
        assert_eq!(top.mean(), largest - 1.0);
        let equal = Top::of(&[1.0; FEATURES]);
        assert_eq!(equal.0, [(0, 1.0), (1, 1.0), (2, 1.0)]);
        let shares = shares([top, equal]);
        assert!((shares.iter().map(|(_, share)| share).sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(shares[0].0, top.0[0].0);
    }
}
