//! Decoding: the bytes of one record → an instrument and its tick.
//!
//! Promises that every refusal is a [`TickError`] with a bounded label, never a panic, and that nothing is allocated for
//! a well-formed record whose strings hold no escapes. Does not judge whether prices make sense; that is for the guards.

mod csv;
mod json;
mod stamp;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::tick::{Body, Quote, Tick, Trade};
use super::time::EventTime;

pub use json::JsonFields;
pub use stamp::TimeUnit;

/// Column names of the CSV form, in order.
pub const CSV_COLUMNS: [&str; 9] = [
    "ts_ns",
    "instrument",
    "kind",
    "price",
    "size",
    "bid",
    "ask",
    "bid_size",
    "ask_size",
];

/// How records are to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecodeConfig {
    /// Form of a record's value.
    pub format: Format,
    /// Where the fields of a JSON record stand; not used with `csv`.
    pub json: JsonFields,
    /// Longest record that is looked at (bytes, > 0); a longer one becomes a dead letter.
    pub record_bytes_max: usize,
    /// Longest name of an instrument (bytes, > 0).
    pub instrument_bytes_max: usize,
    /// Oldest stamp that is believed (year, 1678–2261).
    pub year_min: i16,
    /// First year whose stamps are no longer believed (year, 1678–2261).
    pub year_max: i16,
}

/// Form of a record's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object, its fields found by [`JsonFields`].
    Json,
    /// One line with the columns [`CSV_COLUMNS`].
    Csv,
}

/// An instrument and its tick.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded<'a> {
    /// Name of the instrument.
    pub instrument: Cow<'a, str>,
    /// The tick.
    pub tick: Tick,
}

/// Why a record is no tick.
#[derive(Debug, Error, PartialEq)]
pub enum TickError {
    /// The record has no value, or an empty one.
    #[error("record has no value; expected a tick")]
    Empty,
    /// The record is longer than `record_bytes_max`.
    #[error("record has {found} bytes; expected at most {limit}")]
    TooLarge {
        /// Length of the record (bytes).
        found: usize,
        /// The limit (bytes).
        limit: usize,
    },
    /// The value is not the JSON that was expected.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// The value is not a line of nine columns.
    #[error("not CSV: {0}")]
    NotCsv(String),
    /// A field is missing.
    #[error("field {field} is missing")]
    MissingField {
        /// Name of the field.
        field: &'static str,
    },
    /// A field that must hold a finite number does not.
    #[error("field {field} holds {found}; expected a finite number")]
    BadNumber {
        /// Name of the field.
        field: &'static str,
        /// What stands there.
        found: String,
    },
    /// A size is below zero.
    #[error("field {field} holds {found}; expected a size of zero or more")]
    NegativeSize {
        /// Name of the field.
        field: &'static str,
        /// What stands there.
        found: f64,
    },
    /// The stamp cannot be read.
    #[error("time holds {found}; expected {expected}")]
    BadTime {
        /// What stands there.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The stamp lies outside the configured years.
    #[error("time {0} ns lies outside the configured years")]
    AbsurdTime(i64),
    /// Neither a trade nor a quote.
    #[error("kind holds {0}; expected a trade or a quote")]
    BadKind(String),
    /// The name of the instrument is empty, too long or not text.
    #[error("instrument name is {0}")]
    BadInstrument(&'static str),
}

impl TickError {
    /// Gives the label under which the refusal is counted: one of a small fixed set.
    pub fn reason(&self) -> &'static str {
        match self {
            TickError::Empty => "empty",
            TickError::TooLarge { .. } => "too_large",
            TickError::NotJson(_) => "not_json",
            TickError::NotCsv(_) => "not_csv",
            TickError::MissingField { .. } => "missing_field",
            TickError::BadNumber { .. } => "bad_number",
            TickError::NegativeSize { .. } => "negative_size",
            TickError::BadTime { .. } => "bad_time",
            TickError::AbsurdTime(_) => "absurd_time",
            TickError::BadKind(_) => "bad_kind",
            TickError::BadInstrument(_) => "bad_instrument",
        }
    }
}

/// Reads records into ticks, as configured once.
#[derive(Clone, Debug)]
pub struct Decoder {
    format: Format,
    json: json::JsonDecoder,
    record_bytes_max: usize,
    instrument_bytes_max: usize,
    time_min: EventTime,
    time_end: EventTime,
}

impl Decoder {
    /// Makes a decoder.
    ///
    /// # Errors
    /// A text that names the key when a JSON pointer is malformed or the years make no range.
    pub fn new(config: &DecodeConfig) -> Result<Self, String> {
        let time_min = stamp::start_of_year(config.year_min).ok_or("year_min: expected 1678 to 2261")?;
        let time_end = stamp::start_of_year(config.year_max).ok_or("year_max: expected 1678 to 2261")?;
        if time_min >= time_end {
            return Err(format!("year_max: expected more than year_min = {}", config.year_min));
        }
        Ok(Decoder {
            format: config.format,
            json: json::JsonDecoder::new(&config.json)?,
            record_bytes_max: config.record_bytes_max,
            instrument_bytes_max: config.instrument_bytes_max,
            time_min,
            time_end,
        })
    }

    /// Reads one record.
    ///
    /// # Errors
    /// [`TickError`] when the record is no tick; the caller counts it and keeps the bytes as a dead letter.
    pub fn decode<'a>(&self, key: Option<&'a [u8]>, payload: Option<&'a [u8]>) -> Result<Decoded<'a>, TickError> {
        let payload = payload.filter(|bytes| !bytes.is_empty()).ok_or(TickError::Empty)?;
        if payload.len() > self.record_bytes_max {
            return Err(TickError::TooLarge {
                found: payload.len(),
                limit: self.record_bytes_max,
            });
        }
        let decoded = match self.format {
            Format::Json => self.json.decode(key, payload)?,
            Format::Csv => csv::decode_line(payload)?,
        };
        self.check(decoded)
    }

    fn check<'a>(&self, decoded: Decoded<'a>) -> Result<Decoded<'a>, TickError> {
        if decoded.instrument.is_empty() {
            return Err(TickError::BadInstrument("empty"));
        }
        if decoded.instrument.len() > self.instrument_bytes_max {
            return Err(TickError::BadInstrument("too long"));
        }
        let time = decoded.tick.event_time;
        if time < self.time_min || time >= self.time_end {
            return Err(TickError::AbsurdTime(time.0));
        }
        Ok(decoded)
    }
}

/// The numbers of a tick before it is known whether it is a trade or a quote.
struct Numbers {
    price: Option<f64>,
    size: Option<f64>,
    bid: Option<f64>,
    ask: Option<f64>,
    bid_size: Option<f64>,
    ask_size: Option<f64>,
}

#[derive(Clone, Copy)]
enum Kind {
    Trade,
    Quote,
}

impl Numbers {
    /// Makes the tick's body; without a `kind`, a price makes a trade and bid with ask make a quote.
    fn body(&self, kind: Option<Kind>) -> Result<Body, TickError> {
        let kind = match kind {
            Some(kind) => kind,
            None if self.price.is_some() => Kind::Trade,
            None => Kind::Quote,
        };
        match kind {
            Kind::Trade => {
                let price = self.price.ok_or(TickError::MissingField { field: "price" })?;
                Ok(Body::Trade(Trade {
                    price,
                    size: checked_size("size", self.size)?,
                }))
            }
            Kind::Quote => Ok(Body::Quote(Quote {
                bid: self.bid.ok_or(TickError::MissingField { field: "bid" })?,
                ask: self.ask.ok_or(TickError::MissingField { field: "ask" })?,
                bid_size: checked_size("bid_size", self.bid_size)?,
                ask_size: checked_size("ask_size", self.ask_size)?,
            })),
        }
    }
}

fn checked_size(field: &'static str, size: Option<f64>) -> Result<Option<f64>, TickError> {
    match size {
        Some(found) if found < 0.0 => Err(TickError::NegativeSize { field, found }),
        size => Ok(size),
    }
}

/// Reads a finite number from text.
fn number_from_text(field: &'static str, text: &str) -> Result<f64, TickError> {
    match text.trim().parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(TickError::BadNumber {
            field,
            found: shortened(text),
        }),
    }
}

/// Cuts what is quoted in an error to a length that suits a header and a log line.
fn shortened(text: &str) -> String {
    const SHOWN_CHARS: usize = 64;
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests;
