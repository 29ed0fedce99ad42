//! Names of instruments: from fields, the record's key and its topic → one text.
//!
//! Promises that one instrument has one name: blanks at its ends are cut, and what cannot be a name is refused. Nothing is
//! allocated.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::error::{TickError, shortened};
use super::raw::{self, Step};
use super::rule::Case;
use super::scalar::Scalar;

/// Longest name that any configuration allows (bytes).
const BYTES_MAX: usize = 1024;

/// One part of a name.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part<P> {
    /// What stands in a place of the record.
    At(P),
    /// The record's key, as text.
    Key,
    /// What stands in a place of a JSON key; no steps: the key is a JSON text.
    KeyAt(Vec<String>),
    /// A text.
    Text(String),
}

/// How a name is made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Name<P> {
    pub parts: Vec<Part<P>>,
    pub case: Case,
    pub map: BTreeMap<String, String>,
    pub bytes_max: usize,
}

/// Room for a name that is put together.
struct Joined {
    bytes: [u8; BYTES_MAX],
    len: usize,
    is_cut: bool,
}

impl Write for Joined {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        match self.bytes.get_mut(self.len..self.len + text.len()) {
            Some(room) => {
                room.copy_from_slice(text.as_bytes());
                self.len += text.len();
            }
            None => self.is_cut = true,
        }
        Ok(())
    }
}

impl<P: Copy> Name<P> {
    /// Makes the name and hands it to `take`.
    pub fn with<'s, T>(
        &'s self,
        key: Option<&'s [u8]>,
        at: impl Fn(P) -> &'s Scalar<'s>,
        take: impl FnOnce(&str) -> T,
    ) -> Result<T, TickError> {
        if let ([part], Case::AsIs, true) = (&self.parts[..], self.case, self.map.is_empty()) {
            return self.checked(&part.text(key, &at)?, take);
        }
        let mut joined = Joined {
            bytes: [0; BYTES_MAX],
            len: 0,
            is_cut: false,
        };
        for part in &self.parts {
            // Writing to it cannot fail.
            let _ = joined.write_str(part.text(key, &at)?.trim());
        }
        if joined.is_cut {
            return Err(self.too_long());
        }
        let bytes = &mut joined.bytes[..joined.len];
        match self.case {
            Case::AsIs => {}
            Case::Upper => bytes.make_ascii_uppercase(),
            Case::Lower => bytes.make_ascii_lowercase(),
        }
        let name = std::str::from_utf8(bytes).unwrap_or_default();
        self.checked(self.map.get(name).map_or(name, String::as_str), take)
    }

    fn too_long(&self) -> TickError {
        TickError::BadInstrument(format!(
            "is longer than decode.instrument_bytes_max = {}",
            self.bytes_max
        ))
    }

    /// Hands a name to `take`, blanks at its ends cut, unless it can be none.
    pub fn checked<T>(&self, name: &str, take: impl FnOnce(&str) -> T) -> Result<T, TickError> {
        let name = name.trim();
        if name.is_empty() {
            return Err(TickError::BadInstrument("is empty".into()));
        }
        if name.len() > self.bytes_max {
            return Err(self.too_long());
        }
        if name.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(TickError::BadInstrument(format!(
                "{:?} holds control characters",
                shortened(name)
            )));
        }
        if name == "*" {
            return Err(TickError::BadInstrument(
                "\"*\" stands for all instruments in alerts".into(),
            ));
        }
        Ok(take(name))
    }
}

/// Text that is there, or a short one that was made of a number.
enum PartText<'a> {
    There(&'a str),
    Made(String),
    Number { digits: [u8; 20], len: usize },
}

impl std::ops::Deref for PartText<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            PartText::There(text) => text,
            PartText::Made(text) => text,
            PartText::Number { digits, len } => std::str::from_utf8(&digits[..*len]).unwrap_or_default(),
        }
    }
}

fn digits_of(number: impl std::fmt::Display) -> PartText<'static> {
    struct Digits([u8; 20], usize);
    impl Write for Digits {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            let room = self.0.get_mut(self.1..self.1 + text.len()).ok_or(std::fmt::Error)?;
            room.copy_from_slice(text.as_bytes());
            self.1 += text.len();
            Ok(())
        }
    }
    let mut digits = Digits([0; 20], 0);
    // Twenty bytes hold every 64-bit number, its sign too.
    let _ = write!(digits, "{number}");
    PartText::Number {
        digits: digits.0,
        len: digits.1,
    }
}

impl<P: Copy> Part<P> {
    fn text<'a>(&'a self, key: Option<&'a [u8]>, at: &impl Fn(P) -> &'a Scalar<'a>) -> Result<PartText<'a>, TickError> {
        match self {
            Part::At(place) => match at(*place) {
                Scalar::Text(text) => Ok(PartText::There(text)),
                Scalar::Integer(number) => Ok(digits_of(number)),
                Scalar::Large(number) => Ok(digits_of(number)),
                Scalar::Missing | Scalar::Null => Err(TickError::MissingField {
                    field: "instrument",
                    place: String::new(),
                }),
                other => Err(TickError::BadInstrument(format!("is {}; expected text", other.shown()))),
            },
            Part::Key => plain_key(key).map(PartText::There),
            Part::KeyAt(steps) => key_at(key, steps),
            Part::Text(text) => Ok(PartText::There(text)),
        }
    }
}

fn no_key() -> TickError {
    TickError::BadInstrument("is missing: the record has no key".into())
}

/// Takes a key for a name, if it is plain text: what is quoted, or framed, or a number in bytes is no name.
fn plain_key(key: Option<&[u8]>) -> Result<&str, TickError> {
    let key = key.ok_or_else(no_key)?;
    let text = std::str::from_utf8(key)
        .map_err(|_| TickError::BadInstrument("is not to be had: the record's key is not UTF-8".into()))?;
    if text.trim_start().starts_with(['"', '{', '[']) {
        return Err(TickError::BadInstrument(format!(
            "is not to be had: the record's key is JSON, {:?}; write instrument = \"@key/\", or a pointer behind @key",
            shortened(text)
        )));
    }
    Ok(text)
}

fn key_at<'a>(key: Option<&'a [u8]>, steps: &[String]) -> Result<PartText<'a>, TickError> {
    let key = key.ok_or_else(no_key)?;
    let bad = || {
        let shown = shortened(&String::from_utf8_lossy(key));
        TickError::BadInstrument(format!(
            "is not to be had: the record's key {shown:?} has no such place"
        ))
    };
    let mut path = [Step::Nth(0); 8];
    let path = path.get_mut(..steps.len()).ok_or_else(bad)?;
    for (place, name) in path.iter_mut().zip(steps) {
        *place = Step::Key(name);
    }
    let text = raw::find(key, path).ok_or_else(bad)?;
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(inner) if !inner.contains('\\') => Ok(PartText::There(inner)),
        Some(_) => serde_json::from_str(text).map(PartText::Made).map_err(|_| bad()),
        None if text.parse::<i64>().is_ok() => Ok(PartText::There(text)),
        None => Err(bad()),
    }
}
