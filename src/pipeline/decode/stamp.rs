//! Stamps as feeds write them → [`EventTime`].

use serde::{Deserialize, Serialize};

use super::{TickError, shortened};
use crate::pipeline::time::{EventTime, NANOS_PER_SEC};

/// How a feed writes its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    /// Seconds since 1970, fractions allowed.
    S,
    /// Milliseconds since 1970, fractions allowed.
    Ms,
    /// Microseconds since 1970, fractions allowed.
    Us,
    /// Nanoseconds since 1970.
    Ns,
    /// Text such as `2024-08-08T23:54:15.088Z` (RFC 3339).
    Rfc3339,
}

impl TimeUnit {
    /// Gives the nanoseconds in one unit; `None` for text.
    fn nanos(self) -> Option<i64> {
        match self {
            TimeUnit::S => Some(NANOS_PER_SEC),
            TimeUnit::Ms => Some(1_000_000),
            TimeUnit::Us => Some(1_000),
            TimeUnit::Ns => Some(1),
            TimeUnit::Rfc3339 => None,
        }
    }

    fn expected(self) -> &'static str {
        match self {
            TimeUnit::S => "seconds since 1970",
            TimeUnit::Ms => "milliseconds since 1970",
            TimeUnit::Us => "microseconds since 1970",
            TimeUnit::Ns => "nanoseconds since 1970",
            TimeUnit::Rfc3339 => "RFC 3339 text",
        }
    }

    fn bad(self, found: &str) -> TickError {
        TickError::BadTime {
            found: shortened(found),
            expected: self.expected(),
        }
    }

    /// Reads a whole number of units.
    pub(super) fn read_integer(self, units: i64) -> Result<EventTime, TickError> {
        self.nanos()
            .and_then(|nanos| units.checked_mul(nanos))
            .map(EventTime)
            .ok_or_else(|| self.bad(&units.to_string()))
    }

    /// Reads a number of units with a fraction, rounded to the nanosecond.
    pub(super) fn read_float(self, units: f64) -> Result<EventTime, TickError> {
        let bad = || self.bad(&units.to_string());
        let nanos_per_unit = self.nanos().ok_or_else(bad)?;
        // 2^53 is the last whole number that a float tells from its neighbours; no unit needs more before the year 2262.
        if units.is_nan() || units.abs() > 9_007_199_254_740_992.0 {
            return Err(bad());
        }
        // Whole units and fraction apart: a product in floating point would be off by hundreds of nanoseconds.
        let fraction = (units.fract() * nanos_per_unit as f64).round() as i64;
        let whole = (units.trunc() as i64).checked_mul(nanos_per_unit).ok_or_else(bad)?;
        whole.checked_add(fraction).map(EventTime).ok_or_else(bad)
    }

    /// Reads text: a number of units, or RFC 3339.
    pub(super) fn read_text(self, text: &str) -> Result<EventTime, TickError> {
        let bad = || self.bad(text);
        if self == TimeUnit::Rfc3339 {
            let stamp: jiff::Timestamp = text.parse().map_err(|_| bad())?;
            return i64::try_from(stamp.as_nanosecond()).map(EventTime).map_err(|_| bad());
        }
        match text.parse::<i64>() {
            Ok(units) => self.read_integer(units),
            Err(_) => self.read_float(text.parse::<f64>().map_err(|_| bad())?),
        }
    }
}

/// Gives the first nanosecond of a year, where 64 bits can hold it.
pub(super) fn start_of_year(year: i16) -> Option<EventTime> {
    let date = jiff::civil::Date::new(year, 1, 1).ok()?;
    let stamp = jiff::tz::TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
    i64::try_from(stamp.as_nanosecond()).ok().map(EventTime)
}
