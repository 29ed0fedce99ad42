//! Calibrations as artifacts of format 3 hold them: in the JSON document. They are read, and never written.
//!
//! Promises the decisions of the program that wrote them. The types are a copy of that program's, so that those at work may
//! change; how they are called is the format.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::pipeline::arms;
use crate::pipeline::calibration;
use crate::pipeline::feature::FEATURES;
use crate::pipeline::opening_rates;
use crate::pipeline::scaler;
use crate::pipeline::tail::{self, Beyond, KNOTS};
use crate::pipeline::tails;

/// All calibrations of a model.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Calibrations {
    pooled: Calibration,
    instruments: BTreeMap<String, Calibration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Calibration {
    transform: InputTransform,
    reconstruction: Vec<Tail>,
    #[serde(default)]
    forecast: Option<Vec<Tail>>,
    #[serde(default)]
    window: Option<Vec<Tail>>,
    arms: arms::Arms,
    fused: ArmScale,
    #[serde(default)]
    sustained: Option<ArmScale>,
    judge: Option<ArmScale>,
    #[serde(default)]
    openings: Option<Openings>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputTransform {
    centres: Vec<f32>,
    scales: Vec<f32>,
    upper: Vec<Tail>,
    lower: Vec<Tail>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tail {
    knots: [f32; KNOTS],
    shape: f32,
    /// 0 where the sample says too little of a tail.
    scale: f32,
    /// What counts there.
    rare: f32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArmScale {
    level: f32,
    tail: Tail,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Openings {
    decades: [f32; opening_rates::KNOTS],
}

impl Calibrations {
    /// Gives the calibrations as this program has them, checked.
    ///
    /// # Errors
    /// A text that says what is off.
    pub(super) fn read(self) -> Result<calibration::Calibrations, String> {
        let instruments = self.instruments.into_iter();
        Ok(calibration::Calibrations {
            pooled: Arc::new(self.pooled.read()?),
            instruments: instruments
                .map(|(name, own)| Ok((name, Arc::new(own.read()?))))
                .collect::<Result<_, String>>()?,
        })
    }
}

impl Calibration {
    fn read(self) -> Result<calibration::Calibration, String> {
        let read = calibration::Calibration {
            transform: scaler::InputTransform {
                centres: of_all_features(self.transform.centres)?,
                scales: of_all_features(self.transform.scales)?,
                upper: tails(self.transform.upper)?,
                lower: tails(self.transform.lower)?,
            },
            reconstruction: tails(self.reconstruction)?,
            forecast: self.forecast.map(tails).transpose()?,
            window: self.window.map(tails).transpose()?,
            arms: self.arms,
            newest_scale: self.fused.read(),
            window_scale: self.sustained.map(ArmScale::read),
            judge: self.judge.map(ArmScale::read),
            opening_rates: self
                .openings
                .map_or_else(Default::default, |openings| opening_rates::OpeningRates {
                    decades: openings.decades,
                }),
        };
        match read.is_valid() {
            true => Ok(read),
            false => Err("its calibrations hold numbers that no fit makes".into()),
        }
    }
}

impl Tail {
    fn read(self) -> tail::Tail {
        let Tail {
            knots,
            shape,
            scale,
            rare,
        } = self;
        let beyond = match scale == 0.0 {
            true => Beyond::Rare(rare),
            false => Beyond::Pareto { shape, scale },
        };
        tail::Tail { knots, beyond }
    }
}

impl ArmScale {
    fn read(self) -> arms::ArmScale {
        arms::ArmScale {
            level: self.level,
            tail: self.tail.read(),
        }
    }
}

fn tails(tails: Vec<Tail>) -> Result<tails::Tails, String> {
    let tails: Vec<tail::Tail> = tails.into_iter().map(Tail::read).collect();
    of_all_features(tails).map(|tails| tails::Tails::new(&tails))
}

fn of_all_features<T>(list: Vec<T>) -> Result<[T; FEATURES], String> {
    let found = list.len();
    let error = |_| format!("its calibrations: expected {FEATURES} features, found {found}");
    list.try_into().map_err(error)
}
