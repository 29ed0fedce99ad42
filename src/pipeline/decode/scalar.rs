//! What stands in one place of a JSON record.

use std::borrow::Cow;

/// What stands in one place of a record.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Scalar<'a> {
    /// Nothing: the record has no such place.
    #[default]
    Missing,
    /// `null`: the feed has no such value here.
    Null,
    Bool(bool),
    Integer(i64),
    /// A whole number above what `Integer` holds.
    Large(u64),
    Float(f64),
    Text(Cow<'a, str>),
    Object,
    Array,
}

impl Scalar<'_> {
    /// Tells whether something stands there.
    pub fn is_there(&self) -> bool {
        !matches!(self, Scalar::Missing | Scalar::Null)
    }

    /// Writes it for an error.
    pub fn shown(&self) -> String {
        match self {
            Scalar::Missing => "nothing".into(),
            Scalar::Null => "null".into(),
            Scalar::Bool(flag) => flag.to_string(),
            Scalar::Integer(number) => number.to_string(),
            Scalar::Large(number) => number.to_string(),
            Scalar::Float(number) => format!("{number:?}"),
            Scalar::Text(text) => format!("{:?}", super::error::shortened(text)),
            Scalar::Object => "an object".into(),
            Scalar::Array => "an array".into(),
        }
    }
}
