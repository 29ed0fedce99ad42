//! Features: one row of numbers per tick, computed from this tick and earlier ones of the same instrument.
//!
//! Promises that every feature is causal, free of the price's unit, finite, and costs a bounded time per tick; that the
//! scales it divides by are those from before the tick, each moved by one wild tick only by a bounded amount; and that
//! trade-only, quote-only and mixed feeds give the same columns (a column that a feed cannot fill stays 0). Knows
//! nothing of scaling, windows or models.

mod book;
pub mod inverse;
mod pace;
mod price;
mod quote;
mod reversal;
mod scales;
mod size;
mod trend;

use serde::{Deserialize, Serialize};

use super::plausible::Plausibility;
use super::tick::Tick;
pub use scales::Scales;

/// Features per row.
pub const FEATURES: usize = 92;

/// The numbers computed at one tick, in the order of [`CATALOGUE`].
pub type FeatureRow = [f32; FEATURES];

/// What one feature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Name used in alerts, artifacts and docs.
    pub name: &'static str,
    /// Unit of the raw value.
    pub unit: &'static str,
    /// How it is computed, in the signs that `config/features.md` explains.
    pub formula: &'static str,
    /// How far it looks back, and what its scale does.
    pub horizon: &'static str,
    /// What it is there to find.
    pub purpose: &'static str,
    /// Whether it tells of the feed or of the market.
    pub tells: Tells,
    /// What it is in words, where no quantity of the feed says so.
    words: Option<&'static str>,
}

/// What a feature tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tells {
    /// How ticks come, not what they say: gaps, stamps, rates, standstill and repeats. (A burst of ticks comes with every
    /// shock of the market too; there the prices speak louder.)
    OfFeed,
    /// What ticks say.
    OfMarket,
}

impl Feature {
    /// Says that it tells of the feed.
    const fn of_feed(mut self) -> Self {
        self.tells = Tells::OfFeed;
        self
    }

    /// Says what it is in words.
    const fn in_words(mut self, words: &'static str) -> Self {
        self.words = Some(words);
        self
    }

    /// Gives what it is in words, for people: the quantity of the feed that it becomes, where it becomes one.
    pub fn words(&self) -> &'static str {
        let quantity = || inverse::inverse_of_name(self.name).map(|inverse| inverse.quantity);
        self.words.or_else(quantity).unwrap_or(self.unit)
    }
}

/// Features that are computed together.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// What they are of.
    pub title: &'static str,
    /// What they find.
    pub finds: &'static str,
    /// In the order of a row.
    pub features: &'static [Feature],
}

const fn feature(
    name: &'static str,
    unit: &'static str,
    formula: &'static str,
    horizon: &'static str,
    purpose: &'static str,
) -> Feature {
    Feature {
        name,
        unit,
        formula,
        horizon,
        purpose,
        tells: Tells::OfMarket,
        words: None,
    }
}

/// All features by what they are of, in the order of a row.
pub const GROUPS: [Group; 7] = [
    price::GROUP,
    reversal::GROUP,
    trend::GROUP,
    quote::GROUP,
    book::GROUP,
    pace::GROUP,
    size::GROUP,
];

/// All features, in the order of a row. `config/features.md` is this as a table. *Reference price*: the mid where the feed
/// has quotes, else the last trade. *Volatility*: the clipped mean of the non-zero moves before. σ is that of the reference
/// price over a half-life of 200 moves, unless another is named. *Half-life* counts ticks, or the quotes, trades or moves
/// that are named.
pub const CATALOGUE: [Feature; FEATURES] = {
    let mut catalogue = [feature("", "", "", "", ""); FEATURES];
    let (mut group, mut next) = (0, 0);
    while group < GROUPS.len() {
        let features = GROUPS[group].features;
        let mut index = 0;
        while index < features.len() {
            catalogue[next] = features[index];
            next += 1;
            index += 1;
        }
        group += 1;
    }
    assert!(next == FEATURES);
    catalogue
};

/// Writes consecutive columns of a row, each made finite, and beside them what they were measured against.
struct Columns<'a> {
    row: &'a mut FeatureRow,
    next: usize,
    scales: &'a mut Scales,
}

impl Columns<'_> {
    /// No feature means more beyond this; it keeps squares within `f32`.
    const LIMIT: f64 = 1e6;

    fn push(&mut self, value: f64) {
        let finite = if value.is_nan() {
            0.0
        } else {
            value.clamp(-Self::LIMIT, Self::LIMIT)
        };
        self.row[self.next] = finite as f32;
        self.next += 1;
    }
}

/// What the features remember of one instrument.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FeatureState {
    plausibility: Plausibility,
    price: price::PriceState,
    reversal: reversal::ReversalState,
    trend: trend::TrendState,
    quote: quote::QuoteState,
    book: book::BookState,
    pace: pace::PaceState,
    size: size::SizeState,
    /// Of the last row.
    scales: Scales,
}

impl Default for FeatureState {
    fn default() -> Self {
        FeatureState {
            plausibility: Plausibility::default(),
            price: price::PriceState::new(),
            reversal: reversal::ReversalState::new(),
            trend: trend::TrendState::new(),
            quote: quote::QuoteState::new(),
            book: book::BookState::new(),
            pace: pace::PaceState::new(),
            size: size::SizeState::new(),
            scales: Scales::UNKNOWN,
        }
    }
}

impl FeatureState {
    /// Computes the row of one tick and takes the tick in, unless its prices are [implausible](super::plausible): then there
    /// is no row, and the features of later ticks are what they would be without it.
    ///
    /// Prices of zero or less say nothing about moves; such a tick counts as one that repeats the prices before.
    pub fn observe(&mut self, tick: &Tick) -> Option<FeatureRow> {
        self.plausibility.holds(&tick.body).then(|| self.take(tick))
    }

    fn take(&mut self, tick: &Tick) -> FeatureRow {
        let mut row = [0.0; FEATURES];
        let mut columns = Columns {
            row: &mut row,
            next: 0,
            scales: &mut self.scales,
        };
        let step = self.price.observe(tick, &mut columns);
        self.reversal.observe(tick, &step, &mut columns);
        self.trend.observe(tick, &step, &mut columns);
        self.quote.observe(tick, &mut columns);
        self.book.observe(tick, &mut columns);
        self.pace.observe(tick, &step, &mut columns);
        self.size.observe(tick, &mut columns);
        debug_assert_eq!(columns.next, FEATURES);
        row
    }

    /// Gives what the last row was measured against, which [`inverse`] turns its features back with.
    pub fn scales(&self) -> &Scales {
        &self.scales
    }
}

/// Gives ln(1 + count), the scale on which ages and runs are compared.
fn log_count(count: u32) -> f64 {
    libm::log1p(f64::from(count))
}

#[cfg(test)]
mod tests;
