//! Stamps: nanoseconds since 1970, with one type for each clock that wrote them.
//!
//! Promises that the exchange's time and the broker's time cannot be mixed up. Knows no clock: every stamp comes from
//! outside.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Nanoseconds in one second.
pub const NANOS_PER_SEC: i64 = 1_000_000_000;

/// The exchange's stamp of a tick (nanoseconds since 1970, UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Gives the nanoseconds from `earlier` to this stamp; negative when this stamp is the older one.
    pub fn nanos_since(self, earlier: EventTime) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Gives this stamp moved by `nanos`, later when positive.
    pub fn plus_nanos(self, nanos: i64) -> EventTime {
        EventTime(self.0.saturating_add(nanos))
    }
}

impl fmt::Display for EventTime {
    /// Writes the stamp as RFC 3339 does, in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 64 bits of nanoseconds reach from 1677 to 2262, well within what a stamp can hold.
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(stamp) => write!(f, "{stamp}"),
            Err(_) => write!(f, "{} ns since 1970", self.0),
        }
    }
}

/// The record's stamp: when the broker or the producer says the record was written (nanoseconds since 1970, UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ArrivalTime(pub i64);

impl ArrivalTime {
    /// Makes a stamp from Kafka's milliseconds.
    pub fn from_millis(millis: i64) -> Self {
        ArrivalTime(millis.saturating_mul(1_000_000))
    }

    /// Gives the nanoseconds from `earlier` to this stamp; negative when this stamp is the older one.
    pub fn nanos_since(self, earlier: ArrivalTime) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Gives the whole milliseconds since 1970.
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
}
