//! Stamps as feeds write them → [`EventTime`].
//!
//! Promises that a stamp is never guessed: it is what stands in the record, in the unit that the configuration names, or
//! with `auto` in the only unit that gives a year that is believed.

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

use super::scalar::Scalar;
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
    /// Text such as `20240808-23:54:15.088`, in UTC (FIX).
    Fix,
    /// Any of these: a number in the one unit that gives a year that is believed, or a text.
    Auto,
}

/// Units of numbers, for `auto`.
const UNITS: [TimeUnit; 4] = [TimeUnit::S, TimeUnit::Ms, TimeUnit::Us, TimeUnit::Ns];

impl TimeUnit {
    /// Gives the nanoseconds in one unit; `None` for text.
    fn nanos(self) -> Option<i64> {
        match self {
            TimeUnit::S => Some(NANOS_PER_SEC),
            TimeUnit::Ms => Some(1_000_000),
            TimeUnit::Us => Some(1_000),
            TimeUnit::Ns => Some(1),
            TimeUnit::Rfc3339 | TimeUnit::Fix | TimeUnit::Auto => None,
        }
    }

    fn expected(self) -> &'static str {
        match self {
            TimeUnit::S => "seconds since 1970",
            TimeUnit::Ms => "milliseconds since 1970",
            TimeUnit::Us => "microseconds since 1970",
            TimeUnit::Ns => "nanoseconds since 1970",
            TimeUnit::Rfc3339 => "RFC 3339 text",
            TimeUnit::Fix => "FIX text like 20240808-23:54:15.088",
            TimeUnit::Auto => {
                "seconds, milliseconds, microseconds or nanoseconds since 1970, or text, of one of the years \
                               that are believed"
            }
        }
    }
}

/// Reads stamps of one feed.
#[derive(Clone, Debug)]
pub(super) struct Stamps {
    unit: TimeUnit,
    /// Zone of texts that have none.
    zone: Option<TimeZone>,
    min: EventTime,
    end: EventTime,
}

/// Why a stamp was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is no stamp in this unit.
    Bad,
    /// It is this one, of a year that is not believed.
    Absurd(EventTime),
}

impl Stamps {
    /// Makes a reader of stamps from `min` up to, and without, `end`.
    pub fn new(unit: TimeUnit, zone: &str, min: EventTime, end: EventTime) -> Result<Self, String> {
        let zone = match zone {
            "" => None,
            zone => Some(
                zone_of(zone)
                    .ok_or_else(|| format!("{zone:?} is no zone; expected \"UTC\" or an offset like \"+09:00\""))?,
            ),
        };
        Ok(Stamps { unit, zone, min, end })
    }

    /// Tells what was expected.
    pub fn expected(&self) -> String {
        match (self.unit, &self.zone) {
            (TimeUnit::Rfc3339, None) => format!("{} (set time_zone for texts without a zone)", self.unit.expected()),
            (unit, _) => unit.expected().to_owned(),
        }
    }

    /// Reads what stands in a place, plus so many nanoseconds.
    pub fn read(&self, scalar: &Scalar<'_>, more_nanos: i64) -> Result<EventTime, Unread> {
        let read = match scalar {
            Scalar::Integer(units) => self.integer(*units),
            Scalar::Float(units) => self.float(*units),
            Scalar::Text(text) => self.text(text.trim()),
            Scalar::Missing | Scalar::Null | Scalar::Bool(_) | Scalar::Large(_) | Scalar::Object | Scalar::Array => {
                None
            }
        };
        let stamp = read
            .and_then(|stamp| stamp.checked_add(more_nanos))
            .ok_or(Unread::Bad)?;
        self.checked(EventTime(stamp))
    }

    /// Refuses years that are not believed.
    pub fn checked(&self, stamp: EventTime) -> Result<EventTime, Unread> {
        match self.is_believed(stamp.0) {
            true => Ok(stamp),
            false => Err(Unread::Absurd(stamp)),
        }
    }

    fn is_believed(&self, stamp: i64) -> bool {
        (self.min.0..self.end.0).contains(&stamp)
    }

    /// Reads in the unit, or with `auto` in the only one that gives a year that is believed.
    fn in_unit(&self, read: impl Fn(i64) -> Option<i64>) -> Option<i64> {
        if self.unit != TimeUnit::Auto {
            return self.unit.nanos().and_then(read);
        }
        let nanos = UNITS.iter().filter_map(|unit| unit.nanos());
        let mut believed = nanos.filter_map(read).filter(|stamp| self.is_believed(*stamp));
        let only = believed.next();
        if believed.next().is_some() { None } else { only }
    }

    /// Reads a whole number of units.
    fn integer(&self, units: i64) -> Option<i64> {
        self.in_unit(|nanos| units.checked_mul(nanos))
    }

    /// Reads a number of units with a fraction, rounded to the nanosecond.
    fn float(&self, units: f64) -> Option<i64> {
        // 2^53 is the last whole number that a float tells from its neighbours; no unit needs more before the year 2262.
        if units.is_nan() || units.abs() > 9_007_199_254_740_992.0 {
            return None;
        }
        // Whole units and fraction apart: a product in floating point would be off by hundreds of nanoseconds.
        self.in_unit(|nanos| {
            let fraction = (units.fract() * nanos as f64).round() as i64;
            (units.trunc() as i64).checked_mul(nanos)?.checked_add(fraction)
        })
    }

    /// Reads text: a number of units, or a date and time.
    fn text(&self, text: &str) -> Option<i64> {
        match self.unit {
            TimeUnit::Rfc3339 => self.date(text),
            TimeUnit::Fix => fix(text),
            TimeUnit::Auto => self.number_text(text).or_else(|| fix(text)).or_else(|| self.date(text)),
            TimeUnit::S | TimeUnit::Ms | TimeUnit::Us | TimeUnit::Ns => self.number_text(text),
        }
    }

    fn number_text(&self, text: &str) -> Option<i64> {
        if let Ok(units) = text.parse() {
            return self.integer(units);
        }
        match decimal(text) {
            Some((whole, fraction)) => self.in_unit(|nanos| {
                whole
                    .checked_mul(nanos)?
                    .checked_add(part_of(fraction, nanos, whole < 0))
            }),
            None => self.float(text.parse().ok()?),
        }
    }

    fn date(&self, text: &str) -> Option<i64> {
        if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
            return i64::try_from(stamp.as_nanosecond()).ok();
        }
        let utc = text.strip_suffix(" UTC").or_else(|| text.strip_suffix(" GMT"));
        let zone = match utc {
            Some(_) => &TimeZone::UTC,
            None => self.zone.as_ref()?,
        };
        nanos_of(utc.unwrap_or(text).parse().ok()?, zone)
    }
}

fn nanos_of(time: DateTime, zone: &TimeZone) -> Option<i64> {
    let stamp = zone.to_timestamp(time).ok()?;
    i64::try_from(stamp.as_nanosecond()).ok()
}

/// Splits `-12.5` into whole units and the digits behind the point; nothing for other texts.
fn decimal(text: &str) -> Option<(i64, &str)> {
    let (whole, fraction) = text.split_once('.')?;
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A whole part of zero would lose its sign.
    let is_read = is_digits(digits) && is_digits(fraction) && digits != "0";
    is_read
        .then(|| whole.parse().ok())
        .flatten()
        .map(|whole| (whole, fraction))
}

/// Gives the nanoseconds of the digits behind the point of a number of units, rounded.
fn part_of(digits: &str, nanos: i64, is_negative: bool) -> i64 {
    // Sixteen digits reach below a nanosecond in every unit.
    let digits = &digits[..digits.len().min(16)];
    let (units, scale) = digits.bytes().fold((0_i128, 1_i128), |(units, scale), digit| {
        (units * 10 + i128::from(digit - b'0'), scale * 10)
    });
    let rounded = ((units * i128::from(nanos) * 2 + scale) / (scale * 2)) as i64;
    if is_negative { -rounded } else { rounded }
}

/// Reads FIX's `UTCTimestamp`.
fn fix(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('-')?;
    let number = |text: &str, digits: usize| {
        let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<i32>().ok()).flatten()
    };
    let (year, month, day) = (date.get(..4)?, date.get(4..6)?, date.get(6..)?);
    let date = Date::new(number(year, 4)? as i16, number(month, 2)? as i8, number(day, 2)? as i8);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = clock.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next().unwrap_or("00"));
    if parts.next().is_some() || fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // A leap second is the last one of its minute, as RFC 3339 texts are read.
    let second = number(second, 2)?;
    let second = if second == 60 { 59 } else { second };
    let nanos = i32::try_from(part_of(fraction, NANOS_PER_SEC, false)).ok()?;
    let time = jiff::civil::Time::new(number(hour, 2)? as i8, number(minute, 2)? as i8, second as i8, nanos).ok()?;
    nanos_of(date.ok()?.to_datetime(time), &TimeZone::UTC)
}

fn zone_of(text: &str) -> Option<TimeZone> {
    if text == "Z" || text == "UTC" {
        return Some(TimeZone::UTC);
    }
    let Some(clock) = text.strip_prefix(['+', '-']) else {
        return TimeZone::get(text).ok();
    };
    let (hours, minutes) = clock.split_once(':')?;
    let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
    let seconds = if text.starts_with('-') { -seconds } else { seconds };
    Offset::from_seconds(seconds).ok().map(TimeZone::fixed)
}

/// Gives the first nanosecond of a year, where 64 bits can hold it.
pub(super) fn start_of_year(year: i16) -> Option<EventTime> {
    let date = Date::new(year, 1, 1).ok()?;
    nanos_of(date.at(0, 0, 0, 0), &TimeZone::UTC).map(EventTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(unit: TimeUnit, zone: &str, scalar: Scalar<'_>) -> Result<i64, Unread> {
        let years = [1990, 2100].map(|year| start_of_year(year).unwrap());
        let stamps = Stamps::new(unit, zone, years[0], years[1]).unwrap();
        stamps.read(&scalar, 0).map(|stamp| stamp.0)
    }

    fn text(unit: TimeUnit, zone: &str, text: &str) -> Result<i64, Unread> {
        read(unit, zone, Scalar::Text(text.into()))
    }

    const SECOND: i64 = 1_795_651_200;
    const MIDNIGHT: i64 = SECOND * NANOS_PER_SEC;

    #[test]
    fn texts_of_numbers_are_read_to_the_nanosecond() {
        assert_eq!(
            text(TimeUnit::S, "", "1795651200.123456789"),
            Ok(MIDNIGHT + 123_456_789)
        );
        assert_eq!(text(TimeUnit::Ms, "", "1795651200123.5"), Ok(MIDNIGHT + 123_500_000));
        assert_eq!(text(TimeUnit::Ms, "", " 1795651200123 "), Ok(MIDNIGHT + 123_000_000));
        assert_eq!(
            text(TimeUnit::Ns, "", "1795651200123456789"),
            Ok(MIDNIGHT + 123_456_789)
        );
        assert_eq!(text(TimeUnit::Ms, "", "1.795651200123e12"), Ok(MIDNIGHT + 123_000_000));
        assert_eq!(text(TimeUnit::Ms, "", ""), Err(Unread::Bad));
        assert_eq!(text(TimeUnit::Ms, "", "noon"), Err(Unread::Bad));
    }

    #[test]
    fn auto_takes_the_only_unit_that_gives_a_believed_year() {
        for number in [SECOND, SECOND * 1000, SECOND * 1_000_000, MIDNIGHT] {
            assert_eq!(
                read(TimeUnit::Auto, "", Scalar::Integer(number)),
                Ok(MIDNIGHT),
                "{number}"
            );
            assert_eq!(text(TimeUnit::Auto, "", &number.to_string()), Ok(MIDNIGHT), "{number}");
        }
        assert_eq!(
            read(TimeUnit::Auto, "", Scalar::Float(1_795_651_200.25)),
            Ok(MIDNIGHT + 250_000_000)
        );
        assert_eq!(text(TimeUnit::Auto, "", "2026-11-26T00:00:00Z"), Ok(MIDNIGHT));
        assert_eq!(
            text(TimeUnit::Auto, "", "20261126-00:00:00.5"),
            Ok(MIDNIGHT + 500_000_000)
        );
        for number in [0, -1, 17, SECOND * 100, SECOND * 10_000] {
            assert_eq!(
                read(TimeUnit::Auto, "", Scalar::Integer(number)),
                Err(Unread::Bad),
                "{number}"
            );
        }
        // Years so wide that two units fit: neither is guessed.
        let years = [1700, 2260].map(|year| start_of_year(year).unwrap());
        let wide = Stamps::new(TimeUnit::Auto, "", years[0], years[1]).unwrap();
        assert_eq!(wide.read(&Scalar::Integer(SECOND), 0), Err(Unread::Bad));
    }

    #[test]
    fn a_wrong_unit_is_never_read() {
        let absurd = |unit, number| {
            matches!(
                read(unit, "", Scalar::Integer(number)),
                Err(Unread::Absurd(_) | Unread::Bad)
            )
        };
        assert!(absurd(TimeUnit::Ms, SECOND) && absurd(TimeUnit::S, SECOND * 1000) && absurd(TimeUnit::Us, SECOND));
        assert!(absurd(TimeUnit::Ns, SECOND * 1000) && absurd(TimeUnit::Ms, SECOND * 1_000_000));
    }

    #[test]
    fn texts_without_a_zone_need_one() {
        let plain = "2026-11-26T00:00:00.5";
        assert_eq!(text(TimeUnit::Rfc3339, "", plain), Err(Unread::Bad));
        assert_eq!(text(TimeUnit::Rfc3339, "UTC", plain), Ok(MIDNIGHT + 500_000_000));
        assert_eq!(
            text(TimeUnit::Rfc3339, "UTC", "2026-11-26 00:00:00.5"),
            Ok(MIDNIGHT + 500_000_000)
        );
        assert_eq!(text(TimeUnit::Rfc3339, "+09:00", "2026-11-26T09:00:00"), Ok(MIDNIGHT));
        assert_eq!(text(TimeUnit::Rfc3339, "-05:30", "2026-11-25T18:30:00"), Ok(MIDNIGHT));
        // A text that names its own zone keeps it.
        assert_eq!(text(TimeUnit::Rfc3339, "+09:00", "2026-11-26T00:00:00Z"), Ok(MIDNIGHT));
        assert_eq!(text(TimeUnit::Rfc3339, "", "2026-11-26 00:00:00 UTC"), Ok(MIDNIGHT));
        assert!(Stamps::new(TimeUnit::Auto, "Mars/Olympus", EventTime(0), EventTime(1)).is_err());
    }

    #[test]
    fn fix_texts_are_read() {
        assert_eq!(text(TimeUnit::Fix, "", "20261126-00:00:00"), Ok(MIDNIGHT));
        assert_eq!(
            text(TimeUnit::Fix, "", "20261126-00:00:00.123456789"),
            Ok(MIDNIGHT + 123_456_789)
        );
        assert_eq!(text(TimeUnit::Fix, "", "20261126-00:00"), Ok(MIDNIGHT));
        for bad in [
            "20261126",
            "20261326-00:00:00",
            "2026-11-26T00:00:00Z",
            "20261126-0:00:00",
            "20261126-00:00:00.",
        ] {
            assert_eq!(text(TimeUnit::Fix, "", bad), Err(Unread::Bad), "{bad}");
        }
    }
}
