//! Items: what a record holds, one by one.

use super::error::TickError;
use crate::pipeline::tick::Tick;
use crate::pipeline::time::EventTime;

/// One tick of a record, or what stands in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Item<'a> {
    /// The rule that read it, by its place in the layout; none where no rule did.
    pub rule: Option<u16>,
    /// What it is.
    pub what: What<'a>,
}

/// What an item is.
#[derive(Clone, Debug, PartialEq)]
pub enum What<'a> {
    /// A tick.
    Tick {
        /// Name of the instrument.
        instrument: &'a str,
        /// The tick.
        tick: Tick,
        /// Optional fields that were there and could not be read.
        odd: OddFields,
    },
    /// A quote without a bid, without an ask or without both, or a trade of nothing at a price of zero.
    Incomplete {
        /// Name of the instrument.
        instrument: &'a str,
        /// The exchange's stamp.
        event_time: EventTime,
        /// What there is of a quote; none: it is a trade.
        sides: Option<Sides>,
        /// Optional fields that were there and could not be read.
        odd: OddFields,
    },
    /// Left out on purpose: by a rule, or because it holds no element.
    Ignored,
    /// No tick, and this is why.
    Bad(TickError),
}

/// What there is of a quote that lacks a side.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sides {
    /// Best bid (in the feed's unit, finite).
    pub bid: Option<f64>,
    /// Best ask (in the feed's unit, finite).
    pub ask: Option<f64>,
    /// Size at the best bid (in the feed's unit, ≥ 0).
    pub bid_size: Option<f64>,
    /// Size at the best ask (in the feed's unit, ≥ 0).
    pub ask_size: Option<f64>,
}

/// Optional fields of one tick that were there and could not be read: the tick goes on without them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OddFields(u8);

impl OddFields {
    pub(super) const SIZE: u8 = 0;
    pub(super) const BID_SIZE: u8 = 1;
    pub(super) const ASK_SIZE: u8 = 2;
    pub(super) const SEQUENCE: u8 = 3;
    pub(super) const TIME_NANOS: u8 = 4;

    /// Names of all optional fields, in a fixed order.
    pub const NAMES: [&str; 5] = ["size", "bid_size", "ask_size", "sequence", "time_nanos"];

    pub(super) fn add(&mut self, field: u8) {
        self.0 |= 1 << field;
    }

    /// Tells whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Lists their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let names = Self::NAMES.into_iter().enumerate();
        names
            .filter(move |(field, _)| self.0 >> field & 1 == 1)
            .map(|(_, name)| name)
    }
}
