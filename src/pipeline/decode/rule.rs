//! A layout as the configuration has it: rules, each of which says what a record is and where its fields are.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::number::NumberForm;
use super::numbering::SequenceMode;
use super::stamp::TimeUnit;

/// One rule of a layout. A key that is not given says that the feed has no such thing.
///
/// A place in a record is a JSON pointer (RFC 6901) such as `/data/p`. In a rule with `each`, pointers begin at the element,
/// and `$/ts` begins at the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// What it is called in `check --sample` and in errors.
    pub name: String,
    /// Topics that it reads: names, or patterns with `*`; empty: all.
    pub topics: Texts,
    /// What must stand where: one of these values, each a text with `*` for any text; `*` is there, `!*` is not.
    pub when: BTreeMap<String, Texts>,
    /// Whether what it matches is left out on purpose.
    pub ignore: bool,
    /// The array whose elements are ticks (`/data`, `$` for the record itself); `*` in it stands for every member.
    pub each: String,
    /// Name of the instrument: a pointer, `@key` (the record's key; empty means the same), `@key/payload` (a pointer into a
    /// JSON key), `@topic`, `@topic*` (what the star in `topics` stands for) or a text; several are joined.
    pub instrument: Texts,
    /// Whether letters of the name are changed.
    pub instrument_case: Case,
    /// Names that are given another one.
    pub instrument_map: BTreeMap<String, String>,
    /// The exchange's stamp: a pointer, or `record` for the record's own stamp; of several, the first that is there.
    pub time: Texts,
    /// How the stamp is written.
    pub time_unit: TimeUnit,
    /// Zone of texts without one: `UTC`, or an offset such as `+09:00`; empty: none.
    pub time_zone: String,
    /// Nanoseconds that are added to the stamp.
    pub time_nanos: String,
    /// `trade`, `quote`, `both`, or a pointer to what says it; empty: a price makes a trade, else it is a quote.
    pub kind: String,
    /// Values at `kind` that mean a trade.
    pub trade_values: Texts,
    /// Values at `kind` that mean a quote.
    pub quote_values: Texts,
    /// Price of a trade; two pointers where `price_form` has two parts, for bid and ask alike.
    pub price: Texts,
    /// Size of a trade.
    pub size: Texts,
    /// Best bid.
    pub bid: Texts,
    /// Best ask.
    pub ask: Texts,
    /// Size at the best bid.
    pub bid_size: Texts,
    /// Size at the best ask.
    pub ask_size: Texts,
    /// How prices are written.
    pub price_form: NumberForm,
    /// Decimal places that a whole number for a price has (0–18).
    pub price_decimals: u8,
    /// How sizes are written.
    pub size_form: NumberForm,
    /// Decimal places that a whole number for a size has (0–18).
    pub size_decimals: u8,
    /// Whether the sign of a size is the side of the trade, so that the size is its absolute value.
    pub size_is_signed: bool,
    /// Texts and numbers that say that there is no price or size; empty: those of the section.
    pub empty_values: Texts,
    /// The feed's own sequence number; two pointers where `sequence_mode` needs two.
    pub sequence: Texts,
    /// What sequence numbers promise.
    pub sequence_mode: SequenceMode,
    /// Codes at places that say that a record is left out on purpose, in a value or in an array of values.
    pub exclude: BTreeMap<String, Texts>,
}

impl Default for Rule {
    fn default() -> Self {
        Rule {
            name: String::new(),
            topics: Texts::default(),
            when: BTreeMap::new(),
            ignore: false,
            each: String::new(),
            instrument: Texts::default(),
            instrument_case: Case::AsIs,
            instrument_map: BTreeMap::new(),
            time: Texts::default(),
            time_unit: TimeUnit::Auto,
            time_zone: String::new(),
            time_nanos: String::new(),
            kind: String::new(),
            trade_values: Texts(vec!["trade".into()]),
            quote_values: Texts(vec!["quote".into()]),
            price: Texts::default(),
            size: Texts::default(),
            bid: Texts::default(),
            ask: Texts::default(),
            bid_size: Texts::default(),
            ask_size: Texts::default(),
            price_form: NumberForm::Number,
            price_decimals: 0,
            size_form: NumberForm::Number,
            size_decimals: 0,
            size_is_signed: false,
            empty_values: Texts::default(),
            sequence: Texts::default(),
            sequence_mode: SequenceMode::Auto,
            exclude: BTreeMap::new(),
        }
    }
}

/// Whether letters of a name are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// As they stand.
    AsIs,
    /// To capital letters (ASCII).
    Upper,
    /// To small letters (ASCII).
    Lower,
}

/// What becomes of a record, or an element of one, that no rule reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unmatched {
    /// It becomes a dead letter.
    DeadLetter,
    /// It is counted as ignored.
    Ignore,
}

/// Where the fields of a JSON record stand, as JSON pointers (RFC 6901); an empty pointer means that the feed has no
/// such field. The short form of a layout with one rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonFields {
    /// Name of the instrument; empty: the record's key is the name.
    pub instrument: String,
    /// The exchange's stamp.
    pub time: String,
    /// How the stamp is written.
    pub time_unit: TimeUnit,
    /// Whether it is a trade or a quote; empty: a record with a price is a trade.
    pub kind: String,
    /// Values of `kind` that mean a trade.
    pub trade_values: Vec<String>,
    /// Values of `kind` that mean a quote.
    pub quote_values: Vec<String>,
    /// Price of a trade.
    pub price: String,
    /// Size of a trade.
    pub size: String,
    /// Best bid.
    pub bid: String,
    /// Best ask.
    pub ask: String,
    /// Size at the best bid.
    pub bid_size: String,
    /// Size at the best ask.
    pub ask_size: String,
    /// The feed's own sequence number.
    pub sequence: String,
}

impl JsonFields {
    /// Gives the rule that it is short for.
    pub(super) fn rule(&self) -> Rule {
        let place = |pointer: &String| Texts::from(pointer.as_str());
        Rule {
            instrument: place(&self.instrument),
            time: place(&self.time),
            time_unit: self.time_unit,
            kind: self.kind.clone(),
            trade_values: Texts(self.trade_values.clone()),
            quote_values: Texts(self.quote_values.clone()),
            price: place(&self.price),
            size: place(&self.size),
            bid: place(&self.bid),
            ask: place(&self.ask),
            bid_size: place(&self.bid_size),
            ask_size: place(&self.ask_size),
            sequence: place(&self.sequence),
            ..Rule::default()
        }
    }
}

/// One text or several; numbers and flags of the configuration are texts too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Texts(pub Vec<String>);

impl From<&str> for Texts {
    /// Makes a list of one text, and of an empty one an empty list.
    fn from(text: &str) -> Self {
        Texts(if text.is_empty() {
            Vec::new()
        } else {
            vec![text.to_owned()]
        })
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text, a number, true or false, or a list of these")
    }

    fn visit_str<E>(self, text: &str) -> Result<Texts, E> {
        Ok(Texts::from(text))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Texts, E> {
        Ok(Texts(vec![number.to_string()]))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Texts, E> {
        Ok(Texts(vec![number.to_string()]))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Texts, E> {
        Ok(Texts(vec![number.to_string()]))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Texts, E> {
        Ok(Texts(vec![flag.to_string()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = seq.next_element::<OneText>()? {
            texts.push(text.0);
        }
        Ok(Texts(texts))
    }
}

/// One text of a list; an empty one stays.
struct OneText(String);

impl<'de> Deserialize<'de> for OneText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl Visitor<'_> for One {
            type Value = OneText;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text, a number, true or false")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneText, E> {
                Ok(OneText(text.to_owned()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<OneText, E> {
                Ok(OneText(number.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<OneText, E> {
                Ok(OneText(number.to_string()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<OneText, E> {
                Ok(OneText(number.to_string()))
            }

            fn visit_bool<E>(self, flag: bool) -> Result<OneText, E> {
                Ok(OneText(flag.to_string()))
            }
        }
        deserializer.deserialize_any(One)
    }
}
