//! Calibration: what a row and a model's errors on it mean on one instrument.
//!
//! A row gets its rarity in three steps:
//!
//! | step | from | to |
//! |---|---|---|
//! | tails of single features | errors of decoder and predictor, in model input units | surprises |
//! | arms | the three largest surprises of each untaught arm | one statistic for the newest row (their mean) and one for the window |
//! | scales of arms | these statistics and the judge's log-odds | rarity: by the instrument's own level and the group's tail, so that one threshold serves all instruments |
//!
//! The judge decides where it can. An untaught arm decides only where it is higher by the handicap. Knows no model.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::adaptation::Adaptation;
use super::arms::{Arm, ArmScale, Arms, Drift, RowErrors, Statistics, Top, shares};
use super::opening_rates::OpeningRates;
use super::scaler::{InputRow, InputTransform, surprise_of};
use super::tail::TailBounds;
use super::tails::Tails;

/// Beside a judge, the scores of the untaught arms are lowered by this (decades), so the judge decides where it can. They
/// exist to catch faults unlike any in the training catalogue, and raise few alarms of their own.
const HANDICAP_DECADES: f32 = 1.5;
/// The higher of two scores is lowered by this (decades), because by chance it gets as high twice as often as one score.
const SECOND_OPINION_DECADES: f32 = 0.3;

/// What a row means on one instrument, or on an instrument of which nothing is known yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// Feature row → model input.
    pub transform: InputTransform,
    /// Tail of each feature's absolute decoder error on the newest row, in model input units.
    pub reconstruction: Tails,
    /// The same of its absolute forecast error, where that arm speaks.
    pub forecast: Option<Tails>,
    /// The same of its mean decoder error of late, where that arm speaks.
    pub window: Option<Tails>,
    /// Which arms speak.
    pub arms: Arms,
    /// What the mean statistic of the arms on the newest row means.
    pub newest_scale: ArmScale,
    /// What the window's statistic means, where that arm speaks.
    pub window_scale: Option<ArmScale>,
    /// What the judge's log-odds mean, where there is a judge.
    pub judge: Option<ArmScale>,
    /// How often alerts open: the group's.
    pub opening_rates: OpeningRates,
}

/// The calibration of every instrument that a model has seen, and a pooled one for the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibrations {
    /// For instruments that are not listed.
    pub pooled: Arc<Calibration>,
    /// By name of the instrument.
    pub instruments: BTreeMap<String, Arc<Calibration>>,
}

impl Calibrations {
    /// Gives the calibration of an instrument, the pooled one if it has none of its own.
    pub fn of(&self, instrument: &str) -> &Arc<Calibration> {
        self.instruments.get(instrument).unwrap_or(&self.pooled)
    }

    /// Tells whether the instrument has a calibration of its own.
    pub fn knows(&self, instrument: &str) -> bool {
        self.instruments.contains_key(instrument)
    }

    /// Tells whether every part is such as fitting makes.
    pub fn is_valid(&self) -> bool {
        self.pooled.is_valid() && self.instruments.values().all(|own| own.is_valid())
    }
}

/// How surprising one row is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surprise {
    /// −log₁₀ of how rarely a normal tick is this odd (0–12).
    pub rarity: f32,
    /// −log₁₀ of how rarely an alert opens this high on normal ticks (0–12), less what recent ones make it count less.
    pub score: f32,
    /// The same with nothing taken off: what lets an alert go on.
    pub lasting: f32,
    /// The arm that spoke loudest.
    pub arm: Arm,
    tops: Tops,
}

/// The most surprising features of each arm that nobody has taught; `None` where it does not speak.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tops {
    reconstruction: Option<Top>,
    forecast: Option<Top>,
    pointwise: Option<Top>,
    window: Option<Top>,
}

impl Tops {
    /// The arms on the newest row.
    fn newest(&self) -> impl Iterator<Item = (Arm, Top)> {
        let arms = [
            (Arm::Reconstruction, self.reconstruction),
            (Arm::Forecast, self.forecast),
            (Arm::Pointwise, self.pointwise),
        ];
        arms.into_iter().filter_map(|(arm, top)| Some((arm, top?)))
    }

    /// Gives the mean statistic of the arms on the newest row. The mean beat either arm alone (event average precision on
    /// nine feeds, same fit: 0.72 against 0.70 and 0.68), and weights that favour the larger of both (0.77 against 0.75 and
    /// 0.74).
    fn statistic(&self) -> f32 {
        let (sum, count) = self
            .newest()
            .fold((0.0, 0_u8), |(sum, count), (_, top)| (sum + top.mean(), count + 1));
        if count == 0 { 0.0 } else { sum / f32::from(count) }
    }

    fn statistics(&self, row: &RowErrors) -> Statistics {
        Statistics {
            newest: self.statistic(),
            window: self.window.map(|top| top.mean()),
            judge: row.judge,
        }
    }

    fn loudest(&self) -> Arm {
        let loudest = self.newest().max_by(|(_, a), (_, b)| a.mean().total_cmp(&b.mean()));
        loudest.map_or(Arm::Pointwise, |(arm, _)| arm)
    }
}

/// Who has the last word on a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decider {
    /// The judge.
    Judge,
    /// The arms on the newest row that nobody has taught.
    Newest,
    /// The window.
    Window,
}

impl Surprise {
    /// Gives the features behind the score, the largest share first; the shares sum to 1.
    pub fn shares(&self) -> Vec<(usize, f32)> {
        match self.tops.newest().next() {
            Some(_) => shares(self.tops.newest().map(|(_, top)| top)),
            None => shares(self.tops.window),
        }
    }
}

impl Calibration {
    /// Fits tails and scales to rows of one instrument that the weights were not fitted to, since on the others a model errs
    /// less than it will.
    pub fn fit(transform: InputTransform, rows: &[RowErrors], arms: Arms) -> Self {
        let mut calibration = Self::unscaled(transform, rows, arms);
        let statistics = calibration.statistics(rows);
        let column = |of: fn(&Statistics) -> Option<f32>| {
            let mut column: Vec<f32> = statistics.iter().filter_map(of).collect();
            (!column.is_empty()).then(|| ArmScale::fit(&mut column, TailBounds::ARM))
        };
        calibration.window_scale = column(|statistics| statistics.window);
        if let Some(newest_scale) = column(|statistics| Some(statistics.newest)) {
            calibration.newest_scale = newest_scale;
        }
        calibration
    }

    /// Fits the tails of single features alone: the arms' scales are the group's to give.
    pub fn unscaled(transform: InputTransform, rows: &[RowErrors], arms: Arms) -> Self {
        let tails = |column: &dyn Fn(&RowErrors, usize) -> Option<f32>| {
            Tails::fit(|feature| rows.iter().filter_map(|row| column(row, feature)).collect())
        };
        let has_forecast = rows.iter().any(|row| row.forecast.is_some());
        Calibration {
            transform,
            // Always there: where no untaught arm is on, these name an alert's features all the same.
            reconstruction: tails(&|row, feature| Some(row.reconstruction[feature])),
            forecast: (arms.forecast && has_forecast)
                .then(|| tails(&|row, feature| row.forecast.map(|errors| errors[feature]))),
            window: arms
                .window
                .then(|| tails(&|row, feature| row.window.map(|errors| errors[feature]))),
            arms,
            newest_scale: ArmScale::fit(&mut [], TailBounds::ARM),
            window_scale: None,
            judge: None,
            opening_rates: OpeningRates::default(),
        }
    }

    /// Gives what the arms make of every row.
    pub fn statistics(&self, rows: &[RowErrors]) -> Vec<Statistics> {
        rows.iter().map(|row| self.tops(row).statistics(row)).collect()
    }

    /// Tells whether every part is such as fitting makes, as an artifact must promise.
    pub fn is_valid(&self) -> bool {
        let tails = [Some(&self.reconstruction), self.forecast.as_ref(), self.window.as_ref()];
        let scales = [&self.window_scale, &self.judge];
        self.transform.is_valid()
            && tails.into_iter().flatten().all(Tails::is_valid)
            && self.newest_scale.is_valid()
            && self.opening_rates.is_valid()
            && scales.into_iter().flatten().all(ArmScale::is_valid)
    }

    /// Gives the surprise of one row on an instrument that has adapted so far.
    pub fn surprise(&self, row: &RowErrors, adaptation: &Adaptation) -> Surprise {
        let tops = self.tops(row);
        let (rarity, decider) = self.rarity(&tops.statistics(row), adaptation.drift);
        Surprise {
            rarity,
            score: self.opening_rates.apply(adaptation.habituation.temper(rarity)),
            lasting: self.opening_rates.apply(rarity),
            arm: match decider {
                Decider::Judge => Arm::Judge,
                Decider::Window => Arm::Reconstruction,
                Decider::Newest => tops.loudest(),
            },
            tops,
        }
    }

    /// Joins the arms: gives −log₁₀ of how rarely a normal tick is this odd, and who says so.
    pub fn rarity(&self, statistics: &Statistics, drift: Drift) -> (f32, Decider) {
        let (untaught, decider) = self.untaught(statistics);
        let judged = self.judge.as_ref().zip(statistics.judge).filter(|_| self.arms.judge);
        match judged.map(|(scale, log_odds)| scale.surprise(log_odds, drift)) {
            Some(judged) if !self.arms.has_untaught() || judged >= untaught - HANDICAP_DECADES => {
                (judged, Decider::Judge)
            }
            Some(_) => (untaught - HANDICAP_DECADES, decider),
            None => (untaught, decider),
        }
    }

    /// Joins what the arms say that nobody has taught.
    fn untaught(&self, statistics: &Statistics) -> (f32, Decider) {
        let newest = (
            self.newest_scale.surprise(statistics.newest, Drift::default()),
            Decider::Newest,
        );
        let Some((scale, window)) = self.window_scale.as_ref().zip(statistics.window) else {
            return newest;
        };
        let window = (scale.surprise(window, Drift::default()), Decider::Window);
        if !self.arms.has_newest() {
            return window;
        }
        let (score, decider) = if window.0 > newest.0 { window } else { newest };
        ((score - SECOND_OPINION_DECADES).max(0.0), decider)
    }

    fn tops(&self, row: &RowErrors) -> Tops {
        // With no arm on, rows still need a statistic: the one of the features that an alert names.
        let nothing = !self.arms.has_untaught();
        let newest = |speaks: bool, top: &dyn Fn() -> Top| (speaks || nothing).then(top);
        let of_errors = |tails: &Option<Tails>, errors: &Option<InputRow>| {
            let (tails, errors) = tails.as_ref().zip(errors.as_ref())?;
            Some(Top::of(&tails.surprises(errors)))
        };
        Tops {
            reconstruction: newest(self.arms.reconstruction, &|| {
                Top::of(&self.reconstruction.surprises(&row.reconstruction))
            }),
            forecast: of_errors(&self.forecast, &row.forecast),
            pointwise: newest(self.arms.pointwise, &|| Top::of(&row.input.map(surprise_of))),
            window: of_errors(&self.window, &row.window),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::arms::RunningErrors;
    use crate::pipeline::feature::FEATURES;

    fn row(input: InputRow, errors: InputRow) -> RowErrors {
        let rebuilt = std::array::from_fn(|feature| input[feature] - errors[feature]);
        RowErrors::new(
            &input,
            &rebuilt,
            Some(&rebuilt),
            None,
            Some(&mut RunningErrors::default()),
        )
    }

    fn rows(n: usize) -> Vec<RowErrors> {
        // Surprises of a uniform probability, as model inputs.
        let input = |place: usize| -0.5 * libm::log10f((place as f32 + 0.5) / 1009.0);
        let values = |i: usize| std::array::from_fn(|feature| input((i * (feature + 3) * 7919) % 1009));
        (0..n).map(|i| row(values(i), values(i + 1))).collect()
    }

    const NEWEST: Arms = Arms {
        window: false,
        forecast: false,
        ..Arms::ALL
    };

    fn fitted(n: usize, arms: Arms) -> Calibration {
        Calibration::fit(InputTransform::fit(&[]), &rows(n), arms)
    }

    #[test]
    fn odd_features_are_named_and_shares_sum_to_one() {
        let calibration = fitted(2000, NEWEST);
        let (mut input, mut errors) = ([0.5; FEATURES], [0.5; FEATURES]);
        errors[7] = 50.0;
        input[3] = -5.0;
        let surprise = calibration.surprise(&row(input, errors), &Adaptation::default());
        let shares = surprise.shares();
        assert_eq!((shares[0].0, shares[1].0), (7, 3));
        assert!((shares.iter().map(|(_, share)| share).sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(surprise.score > 2.0);
        assert_eq!(surprise.arm, Arm::Reconstruction);
    }

    #[test]
    fn every_arm_speaks_of_what_it_sees_alone() {
        let silent = Arms {
            reconstruction: false,
            window: false,
            forecast: false,
            pointwise: false,
            judge: false,
        };
        let (quiet, loud) = ([0.1; FEATURES], [40.0; FEATURES]);
        let plain = row(quiet, quiet);
        let cases = [
            (
                Arms { window: true, ..silent },
                RowErrors {
                    window: Some(loud),
                    ..plain
                },
                Arm::Reconstruction,
            ),
            (
                Arms {
                    forecast: true,
                    ..silent
                },
                RowErrors {
                    forecast: Some(loud),
                    ..plain
                },
                Arm::Forecast,
            ),
            (
                Arms {
                    pointwise: true,
                    ..silent
                },
                RowErrors { input: loud, ..plain },
                Arm::Pointwise,
            ),
        ];
        for (arms, odd, arm) in cases {
            let calibration = fitted(4000, arms);
            let surprise = calibration.surprise(&odd, &Adaptation::default());
            assert_eq!(surprise.arm, arm);
            assert!(surprise.score > 2.0 && !surprise.shares().is_empty(), "{arm:?}");
            assert!(
                calibration.surprise(&plain, &Adaptation::default()).score < 1.0,
                "{arm:?}"
            );
        }
    }

    #[test]
    fn calibrated_scores_exceed_two_decades_about_once_in_a_hundred() {
        for arms in [NEWEST, Arms::ALL] {
            let calibration = fitted(5000, arms);
            let is_high = |row: &&RowErrors| calibration.surprise(row, &Adaptation::default()).score >= 2.0;
            let high = rows(5000).iter().filter(is_high).count();
            assert!((10..=100).contains(&high), "{high}");
        }
    }
}
