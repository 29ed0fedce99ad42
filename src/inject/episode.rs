//! The episode: one fault as it stands on the tape, and the scene that it is played in.
//!
//! Promises that every episode differs from the ticks that it replaces, or there is none. Knows no fault in particular.

use super::profile::Profile;
use crate::pipeline::tick::Tick;

/// Ticks within which the trades or quotes that a fault needs must be found (ticks): a fault spread thinner than that
/// is no longer one event.
const SPAN_TICKS_MAX: usize = 1_500;

/// Where a fault is to be placed.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    /// The clean ticks of the instrument.
    pub ticks: &'a [Tick],
    /// The first tick that may change (index into `ticks`, ≥ 1).
    pub start: usize,
    /// What is usual for the instrument.
    pub profile: &'a Profile,
    /// Whose moves foreign rows carry; nothing when the instrument must lend them itself.
    pub donor: Option<Donor<'a>>,
}

/// Another instrument, as lender of its moves.
#[derive(Clone, Copy)]
pub(super) struct Donor<'a> {
    /// Its ticks.
    pub ticks: &'a [Tick],
    /// The price that each of them leaves behind (per tick).
    pub reference: &'a [f64],
}

impl<'a> Scene<'a> {
    /// Gives the next `count` ticks, where there are that many.
    pub fn rows(&self, count: usize) -> Option<&'a [Tick]> {
        self.ticks.get(self.start..self.start + count)
    }

    /// Gives the ticks up to the one that is the `wanted`-th of those that `counts` names.
    pub fn rows_with(&self, wanted: usize, counts: impl Fn(&Tick) -> bool) -> Option<&'a [Tick]> {
        let rest = &self.ticks[self.start..];
        let last = rest
            .iter()
            .take(SPAN_TICKS_MAX)
            .enumerate()
            .filter(|(_, tick)| counts(tick))
            .nth(wanted - 1)?
            .0;
        Some(&rest[..=last])
    }

    /// Gives the whole number of price steps in so many σ, at least one.
    pub fn steps_of_sigmas(&self, sigmas: f64) -> f64 {
        self.profile
            .price
            .steps(sigmas * self.profile.sigma(self.start))
            .max(1.0)
    }

    /// Gives the price that the tick before the scene left behind.
    pub fn price_before(&self) -> f64 {
        self.profile.reference[self.start - 1]
    }
}

/// One fault done: what stands in the place of some clean ticks.
#[derive(Clone, Debug)]
pub(super) struct Episode {
    /// Clean ticks that it replaces, from the scene's start (ticks, ≥ 0).
    pub taken: usize,
    /// What stands in their place.
    pub ticks: Vec<Tick>,
    /// First labelled tick (index into `ticks`).
    pub first: usize,
    /// Last labelled tick (index into `ticks`, ≥ `first`).
    pub last: usize,
    /// Sequence numbers used up by ticks that the feed never sent (count, ≥ 0).
    pub sequences_added: u64,
    /// How strong the fault is, in the unit that its kind documents.
    pub magnitude: f64,
}

impl Episode {
    /// Makes the episode that replaces `before` by as many ticks, labelled from the first to the last that differ;
    /// nothing when none does.
    pub fn edited(before: &[Tick], after: Vec<Tick>, magnitude: f64) -> Option<Self> {
        let differs = |(old, new): (&Tick, &Tick)| old != new;
        let first = before.iter().zip(&after).position(differs)?;
        let last = before.iter().zip(&after).rposition(differs)?;
        Some(Self {
            taken: before.len(),
            ticks: after,
            first,
            last,
            sequences_added: 0,
            magnitude,
        })
    }

    /// Makes the episode that replaces `taken` clean ticks and is labelled from end to end.
    pub fn whole(taken: usize, ticks: Vec<Tick>, magnitude: f64) -> Self {
        let last = ticks.len() - 1;
        Self {
            taken,
            ticks,
            first: 0,
            last,
            sequences_added: 0,
            magnitude,
        }
    }
}
