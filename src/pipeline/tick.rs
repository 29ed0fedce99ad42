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
    pub sequence: Option<u64>,
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
