//! Why a record, or one element of it, is no tick.

use thiserror::Error;

/// Why a record, or one element of it, is no tick. Texts name the field, what stands there, and what was expected.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
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
    /// The record holds more elements than `elements_max`.
    #[error("record holds more than {limit} elements; the rest of it is not read")]
    TooMany {
        /// The limit (elements).
        limit: usize,
    },
    /// The value is not the JSON that was expected.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// The value is not a line of nine columns.
    #[error("not CSV: {0}")]
    NotCsv(String),
    /// No rule of the layout reads it.
    #[error("no rule reads it: {0}")]
    Unmatched(String),
    /// A field is missing.
    #[error("field {field} is missing: {place}")]
    MissingField {
        /// Name of the field.
        field: &'static str,
        /// Where it was looked for.
        place: String,
    },
    /// A field that must hold a finite number does not.
    #[error("field {field} holds {found}; expected {expected}")]
    BadNumber {
        /// Name of the field.
        field: &'static str,
        /// What stands there.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The stamp cannot be read.
    #[error("time holds {found}; expected {expected}")]
    BadTime {
        /// What stands there.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// The stamp lies outside the configured years.
    #[error("time holds {found}, which is {stamp} and lies outside the configured years; is the unit right?")]
    AbsurdTime {
        /// What stands there.
        found: String,
        /// What it was read as.
        stamp: String,
    },
    /// Neither a trade nor a quote.
    #[error("kind holds {0}; expected a trade or a quote")]
    BadKind(String),
    /// The name of the instrument is empty, too long or not text.
    #[error("instrument name {0}")]
    BadInstrument(String),
}

impl TickError {
    /// Every label that [`reason`](Self::reason) gives.
    pub const REASONS: [&str; 12] = [
        "empty",
        "too_large",
        "too_many",
        "not_json",
        "not_csv",
        "unmatched",
        "missing_field",
        "bad_number",
        "bad_time",
        "absurd_time",
        "bad_kind",
        "bad_instrument",
    ];

    /// Gives the label under which the refusal is counted: one of a small fixed set.
    pub fn reason(&self) -> &'static str {
        match self {
            TickError::Empty => "empty",
            TickError::TooLarge { .. } => "too_large",
            TickError::TooMany { .. } => "too_many",
            TickError::NotJson(_) => "not_json",
            TickError::NotCsv(_) => "not_csv",
            TickError::Unmatched(_) => "unmatched",
            TickError::MissingField { .. } => "missing_field",
            TickError::BadNumber { .. } => "bad_number",
            TickError::BadTime { .. } => "bad_time",
            TickError::AbsurdTime { .. } => "absurd_time",
            TickError::BadKind(_) => "bad_kind",
            TickError::BadInstrument(_) => "bad_instrument",
        }
    }

    /// Puts the text that stands in the record in place of what was made of it.
    pub(super) fn quoting(mut self, text: &str) -> Self {
        match &mut self {
            TickError::BadNumber { found, .. }
            | TickError::BadTime { found, .. }
            | TickError::AbsurdTime { found, .. }
            | TickError::BadKind(found) => *found = shortened(text),
            TickError::Empty
            | TickError::TooLarge { .. }
            | TickError::TooMany { .. }
            | TickError::NotJson(_)
            | TickError::NotCsv(_)
            | TickError::Unmatched(_)
            | TickError::MissingField { .. }
            | TickError::BadInstrument(_) => {}
        }
        self
    }

    /// Makes the error of a value that is no JSON, and says what it looks like where that can be told.
    pub(super) fn not_json(payload: &[u8], error: &serde_json::Error) -> Self {
        let looks_like = match payload {
            [0x1f, 0x8b, ..] => Some("the value is gzip; compress by the producer's compression.type instead"),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("the value is UTF-16; expected UTF-8"),
            [0, _, _, _, _, ..] => {
                Some("the value begins with a zero byte, as Confluent's schema registry frames Avro")
            }
            _ if error.to_string().starts_with("trailing characters") => Some("the record holds more than one value"),
            _ => None,
        };
        TickError::NotJson(match looks_like {
            Some(text) => format!("{error}: {text}"),
            None => error.to_string(),
        })
    }
}

/// Cuts what is quoted in an error to a length that suits a header and a log line.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN_CHARS: usize = 64;
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
