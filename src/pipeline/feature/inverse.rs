//! The way back: what a feature's value means in the units of the feed.
//!
//! A person at 3 a.m. reads "ask 101.9, expected 101.26" faster than "9.5 σ, expected 0.1". [`table`] says for each
//! feature that can be turned back which quantity of the feed it becomes, and how, with the [`Scales`] of its row: those
//! that the feature itself was made with. So the inverse of what was observed is the tick's own quantity but for rounding;
//! that of what the model expected is what the quantity would have been with the same past and at the price before.
//!
//! A feature that is a mean gives the mean. Where a price is so far off that its feature was cut off, the price itself is
//! told; of a move back or a round trip, the cut-off one. A feature that is a share or a mere statistic is its own unit and
//! has no inverse. Knows nothing of models; promises finite values.

pub mod table;

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::scales::Scales;
use super::{CATALOGUE, Columns};
use table::INVERSES;

/// A unit of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedUnit {
    /// As the feed gives prices.
    Price,
    /// A distance of two prices.
    PriceDifference,
    /// As the feed gives sizes.
    Size,
    /// Seconds by the exchange's stamps.
    Seconds,
    /// Ticks of the instrument.
    Ticks,
    /// Quotes of the instrument.
    Quotes,
}

impl FeedUnit {
    /// Gives the name used in alerts and docs.
    pub fn name(self) -> &'static str {
        match self {
            FeedUnit::Price => "price",
            FeedUnit::PriceDifference => "price difference",
            FeedUnit::Size => "size",
            FeedUnit::Seconds => "seconds",
            FeedUnit::Ticks => "ticks",
            FeedUnit::Quotes => "quotes",
        }
    }

    /// Significant digits that are told: what tick sizes need of prices, what 32 bits of a logarithm hold of the others.
    fn digits(self) -> usize {
        match self {
            FeedUnit::Price => 8,
            FeedUnit::PriceDifference | FeedUnit::Size | FeedUnit::Seconds | FeedUnit::Ticks | FeedUnit::Quotes => 6,
        }
    }
}

/// Reads the name of a quantity, which is one of those in [`table`].
fn quantity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    let name = <&str>::deserialize(deserializer)?;
    let of_name = INVERSES.iter().find(|inverse| inverse.quantity == name);
    of_name
        .map(|inverse| inverse.quantity)
        .ok_or_else(|| D::Error::custom("a quantity that this version does not know"))
}

/// What is told of, in a few words: one of those in [`table`].
pub type Quantity = &'static str;

/// What was seen and what was expected, in a unit of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeedValues {
    /// What is told of, in a few words.
    #[serde(deserialize_with = "quantity")]
    pub quantity: Quantity,
    /// The unit of both.
    pub unit: FeedUnit,
    /// The quantity at the tick (in `unit`, finite).
    pub observed: f64,
    /// What the model expected (in `unit`, finite).
    pub expected: Option<f64>,
}

impl fmt::Display for FeedValues {
    /// Writes "ask 101.9, expected 101.26".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            // What these are in goes without saying.
            FeedUnit::Price | FeedUnit::PriceDifference | FeedUnit::Size => String::new(),
            FeedUnit::Seconds | FeedUnit::Ticks | FeedUnit::Quotes => format!(" {}", self.unit.name()),
        };
        write!(f, "{} {}{unit}", self.quantity, plain(self.observed))?;
        match self.expected {
            Some(expected) => write!(f, ", expected {}{unit}", plain(expected)),
            None => Ok(()),
        }
    }
}

/// How features are turned back.
#[derive(Clone, Copy, Debug)]
pub struct Inverse {
    /// Names of the features.
    pub features: &'static [&'static str],
    /// What they become, in a few words.
    pub quantity: &'static str,
    /// The unit of it.
    pub unit: FeedUnit,
    /// The formula, for people; x is the feature's value.
    pub formula: &'static str,
    /// The formula at work; NaN where the row has no such quantity.
    of: fn(&Scales, f64) -> f64,
}

/// Gives the inverse of the feature with this index, if it has one.
pub fn inverse_of(feature: usize) -> Option<&'static Inverse> {
    inverse_of_name(CATALOGUE.get(feature)?.name)
}

/// Gives the inverse of the feature with this name, if it has one.
pub(super) fn inverse_of_name(name: &str) -> Option<&'static Inverse> {
    INVERSES.iter().find(|inverse| inverse.features.contains(&name))
}

/// Turns what was observed and expected of a feature back; `None` where the feature has no inverse or the row lacks what it
/// needs.
pub fn feed_values(feature: usize, scales: &Scales, observed: f32, expected: Option<f32>) -> Option<FeedValues> {
    let Inverse { quantity, unit, of, .. } = *inverse_of(feature)?;
    let value = |scales: &Scales, x: f32| {
        let value = of(scales, f64::from(x));
        value.is_finite().then(|| rounded(value, unit.digits()))
    };
    let expected = expected.filter(|expected| f64::from(expected.abs()) < Columns::LIMIT);
    Some(FeedValues {
        quantity,
        unit,
        observed: value(scales, observed)?,
        expected: expected.and_then(|expected| value(&scales.of_no_move(), expected)),
    })
}

/// Writes a number as people do, unless it is too small or too large for that.
fn plain(value: f64) -> String {
    match value == 0.0 || (1e-6..1e12).contains(&value.abs()) {
        true => format!("{value}"),
        false => format!("{value:e}"),
    }
}

/// Gives a value with so many significant digits.
fn rounded(value: f64, digits: usize) -> f64 {
    format!("{value:.*e}", digits - 1).parse().unwrap_or(value)
}

#[cfg(test)]
mod tests;
