//! The tick: one market-data message, a trade or a quote, already decoded.
//!
//! Promises plain numbers that may be wrong but are finite: whether they make sense is a question for the guards. Does
//! not know which instrument it belongs to, nor where it came from.

use serde::{Deserialize, Serialize};

use super::time::EventTime;

/// One market-data message of one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// The exchange's stamp.
    pub event_time: EventTime,
    /// The feed's own sequence number, where the feed has one.
    pub sequence: Option<Sequence>,
    /// What the message says.
    pub body: Body,
}

impl Tick {
    /// Tells whether it is a trade.
    pub fn is_trade(&self) -> bool {
        matches!(self.body, Body::Trade(_))
    }

    /// Tells whether it is a quote.
    pub fn is_quote(&self) -> bool {
        matches!(self.body, Body::Quote(_))
    }
}

/// The feed's own number of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sequence {
    /// The number; the last one where the tick stands for several, and one made of it where the feed gives a text.
    pub number: u64,
    /// What it says about the numbers before it.
    pub order: Order,
}

/// What a number says about those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Order {
    /// The feed does not say. Numbers that have come without a hole for long are taken to count.
    Unstated,
    /// Nothing: there are holes between numbers. One that comes again is a duplicate.
    Rising,
    /// Nothing, since it is a text: the number is made of it.
    Text,
    /// The tick stands for so many numbers up to this one (> 0), so the one before these must have come.
    Covering(u32),
}

impl Sequence {
    /// Makes the number of a text, or of a part of a record that has a number (FNV-1a, 64 bits).
    pub fn of_text(text: &[u8]) -> Self {
        const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let number = text
            .iter()
            .fold(BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
        Sequence {
            number,
            order: Order::Text,
        }
    }

    /// Gives the number that the feed wrote; none where it wrote a text.
    pub fn written(self) -> Option<u64> {
        (self.order != Order::Text).then_some(self.number)
    }

    /// Gives the same moved on by so many numbers.
    pub fn plus(self, added: u64) -> Self {
        Sequence {
            number: self.number.saturating_add(added),
            ..self
        }
    }
}

impl From<u64> for Sequence {
    /// Makes a number of which the feed says no more.
    fn from(number: u64) -> Self {
        Sequence {
            number,
            order: Order::Unstated,
        }
    }
}

/// What a tick says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// A trade took place.
    Trade(Trade),
    /// The best bid and ask changed, or were repeated.
    Quote(Quote),
}

impl Body {
    /// Gives the name of its kind, as feeds and alerts have it.
    pub fn kind(&self) -> &'static str {
        match self {
            Body::Trade(_) => "trade",
            Body::Quote(_) => "quote",
        }
    }

    /// Lists the numbers that it has, by the names that feeds and alerts have for them.
    pub fn numbers(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let numbers = match *self {
            Body::Trade(Trade { price, size }) => [("price", Some(price)), ("size", size), ("", None), ("", None)],
            Body::Quote(Quote {
                bid,
                ask,
                bid_size,
                ask_size,
            }) => [
                ("bid", Some(bid)),
                ("ask", Some(ask)),
                ("bid_size", bid_size),
                ("ask_size", ask_size),
            ],
        };
        numbers.into_iter().filter_map(|(name, number)| Some((name, number?)))
    }
}

/// A trade.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trade {
    /// Price (in the feed's unit, finite).
    pub price: f64,
    /// Size (in the feed's unit, ≥ 0), where the feed has one.
    pub size: Option<f64>,
}

/// The best bid and ask.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quote {
    /// Best bid (in the feed's unit, finite).
    pub bid: f64,
    /// Best ask (in the feed's unit, finite).
    pub ask: f64,
    /// Size at the best bid (in the feed's unit, ≥ 0), where the feed has one.
    pub bid_size: Option<f64>,
    /// Size at the best ask (in the feed's unit, ≥ 0), where the feed has one.
    pub ask_size: Option<f64>,
}

impl Quote {
    /// Gives the price half-way between bid and ask.
    pub fn mid(&self) -> f64 {
        0.5 * (self.bid + self.ask)
    }
}

/// Ticks of one instrument in arrival order.
#[derive(Clone, Debug, PartialEq)]
pub struct InstrumentTicks {
    /// Name of the instrument.
    pub instrument: String,
    /// Its ticks.
    pub ticks: Vec<Tick>,
}
