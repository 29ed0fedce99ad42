//! One JSON object → a tick, its fields found by JSON pointers.
//!
//! The pointers are compiled into a tree once; a record is then walked in one pass, everything off the tree is skipped
//! without being built.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{Decoded, Kind, Numbers, TickError, TimeUnit, number_from_text, shortened};
use crate::pipeline::tick::Tick;
use crate::pipeline::time::EventTime;

/// Where the fields of a JSON record stand, as JSON pointers (RFC 6901); an empty pointer means that the feed has no
/// such field.
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

/// The fields that a record can hold, in the order of [`Scalars`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Instrument,
    Time,
    Kind,
    Price,
    Size,
    Bid,
    Ask,
    BidSize,
    AskSize,
    Sequence,
}

const FIELDS: usize = 10;

/// What stands in a field.
#[derive(Clone, Debug, Default)]
enum Scalar<'a> {
    #[default]
    Missing,
    Integer(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Other,
}

type Scalars<'a> = [Scalar<'a>; FIELDS];

/// One step of the compiled pointers.
#[derive(Clone, Debug, Default)]
struct Node {
    field: Option<Field>,
    children: Vec<(String, Node)>,
}

impl Node {
    fn child(&self, key: &str) -> Option<&Node> {
        self.children.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    fn insert(&mut self, pointer: &str, field: Field) -> Result<(), String> {
        if pointer.is_empty() {
            return Ok(());
        }
        let path = pointer
            .strip_prefix('/')
            .ok_or_else(|| format!("{pointer:?}: expected a JSON pointer like /price"))?;
        let mut node = self;
        for segment in path.split('/') {
            let name = segment.replace("~1", "/").replace("~0", "~");
            let place = match node.children.iter().position(|(known, _)| *known == name) {
                Some(place) => place,
                None => {
                    node.children.push((name, Node::default()));
                    node.children.len() - 1
                }
            };
            node = &mut node.children[place].1;
        }
        match node.field.replace(field) {
            None => Ok(()),
            Some(other) => Err(format!("{pointer:?}: {field:?} and {other:?} point at the same field")),
        }
    }
}

/// Reads JSON records as [`JsonFields`] says.
#[derive(Clone, Debug)]
pub(super) struct JsonDecoder {
    root: Node,
    instrument_is_key: bool,
    has_kind: bool,
    time_unit: TimeUnit,
    trade_values: Vec<String>,
    quote_values: Vec<String>,
}

impl JsonDecoder {
    pub(super) fn new(fields: &JsonFields) -> Result<Self, String> {
        let pointers: [(&str, &str, Field); FIELDS] = [
            ("instrument", &fields.instrument, Field::Instrument),
            ("time", &fields.time, Field::Time),
            ("kind", &fields.kind, Field::Kind),
            ("price", &fields.price, Field::Price),
            ("size", &fields.size, Field::Size),
            ("bid", &fields.bid, Field::Bid),
            ("ask", &fields.ask, Field::Ask),
            ("bid_size", &fields.bid_size, Field::BidSize),
            ("ask_size", &fields.ask_size, Field::AskSize),
            ("sequence", &fields.sequence, Field::Sequence),
        ];
        if fields.time.is_empty() {
            return Err("json.time: expected a JSON pointer like /time; every tick needs a stamp".into());
        }
        let mut root = Node::default();
        for (key, pointer, field) in pointers {
            root.insert(pointer, field)
                .map_err(|problem| format!("json.{key}: {problem}"))?;
        }
        Ok(JsonDecoder {
            root,
            instrument_is_key: fields.instrument.is_empty(),
            has_kind: !fields.kind.is_empty(),
            time_unit: fields.time_unit,
            trade_values: fields.trade_values.clone(),
            quote_values: fields.quote_values.clone(),
        })
    }

    pub(super) fn decode<'a>(&self, key: Option<&'a [u8]>, payload: &'a [u8]) -> Result<Decoded<'a>, TickError> {
        let mut scalars = Scalars::default();
        let mut deserializer = serde_json::Deserializer::from_slice(payload);
        NodeSeed {
            node: &self.root,
            scalars: &mut scalars,
        }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| TickError::NotJson(error.to_string()))?;
        let [
            instrument,
            time,
            kind,
            price,
            size,
            bid,
            ask,
            bid_size,
            ask_size,
            sequence,
        ] = scalars;
        let instrument = self.instrument(key, instrument)?;
        let numbers = Numbers {
            price: number("price", &price)?,
            size: number("size", &size)?,
            bid: number("bid", &bid)?,
            ask: number("ask", &ask)?,
            bid_size: number("bid_size", &bid_size)?,
            ask_size: number("ask_size", &ask_size)?,
        };
        let tick = Tick {
            event_time: self.time(&time)?,
            sequence: sequence_number(&sequence)?,
            body: numbers.body(self.kind(&kind)?)?,
        };
        Ok(Decoded { instrument, tick })
    }

    fn instrument<'a>(&self, key: Option<&'a [u8]>, scalar: Scalar<'a>) -> Result<Cow<'a, str>, TickError> {
        if self.instrument_is_key {
            let key = key.ok_or(TickError::BadInstrument("missing: the record has no key"))?;
            return std::str::from_utf8(key)
                .map(Cow::Borrowed)
                .map_err(|_| TickError::BadInstrument("not UTF-8"));
        }
        match scalar {
            Scalar::Text(name) => Ok(name),
            Scalar::Integer(number) => Ok(Cow::Owned(number.to_string())),
            Scalar::Missing => Err(TickError::MissingField { field: "instrument" }),
            Scalar::Float(_) | Scalar::Other => Err(TickError::BadInstrument("not text")),
        }
    }

    fn time(&self, scalar: &Scalar<'_>) -> Result<EventTime, TickError> {
        match scalar {
            Scalar::Integer(units) => self.time_unit.read_integer(*units),
            Scalar::Float(units) => self.time_unit.read_float(*units),
            Scalar::Text(text) => self.time_unit.read_text(text),
            Scalar::Missing => Err(TickError::MissingField { field: "time" }),
            Scalar::Other => Err(TickError::BadTime {
                found: "no scalar".into(),
                expected: "a number or text",
            }),
        }
    }

    fn kind(&self, scalar: &Scalar<'_>) -> Result<Option<Kind>, TickError> {
        if !self.has_kind {
            return Ok(None);
        }
        let text = match scalar {
            Scalar::Text(text) => text.clone(),
            Scalar::Integer(number) => Cow::Owned(number.to_string()),
            Scalar::Missing => return Err(TickError::MissingField { field: "kind" }),
            Scalar::Float(_) | Scalar::Other => return Err(TickError::BadKind("no text".into())),
        };
        if self.trade_values.iter().any(|value| *value == text) {
            Ok(Some(Kind::Trade))
        } else if self.quote_values.iter().any(|value| *value == text) {
            Ok(Some(Kind::Quote))
        } else {
            Err(TickError::BadKind(shortened(&text)))
        }
    }
}

fn number(field: &'static str, scalar: &Scalar<'_>) -> Result<Option<f64>, TickError> {
    match scalar {
        Scalar::Missing => Ok(None),
        Scalar::Integer(number) => Ok(Some(*number as f64)),
        Scalar::Float(number) if number.is_finite() => Ok(Some(*number)),
        Scalar::Float(number) => Err(TickError::BadNumber {
            field,
            found: number.to_string(),
        }),
        Scalar::Text(text) => number_from_text(field, text).map(Some),
        Scalar::Other => Err(TickError::BadNumber {
            field,
            found: "no number".into(),
        }),
    }
}

fn sequence_number(scalar: &Scalar<'_>) -> Result<Option<u64>, TickError> {
    let bad = |found: String| TickError::BadNumber {
        field: "sequence",
        found,
    };
    match scalar {
        Scalar::Missing => Ok(None),
        Scalar::Integer(number) => u64::try_from(*number).map(Some).map_err(|_| bad(number.to_string())),
        Scalar::Text(text) => text.parse().map(Some).map_err(|_| bad(shortened(text))),
        Scalar::Float(number) => Err(bad(number.to_string())),
        Scalar::Other => Err(bad("no number".into())),
    }
}

/// Walks one JSON value beside one step of the compiled pointers.
struct NodeSeed<'n, 's, 'de> {
    node: &'n Node,
    scalars: &'s mut Scalars<'de>,
}

impl<'de> NodeSeed<'_, '_, 'de> {
    fn keep(self, scalar: Scalar<'de>) {
        if let Some(field) = self.node.field {
            self.scalars[field as usize] = scalar;
        }
    }
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(child) = map.next_key_seed(KeySeed { node: self.node })? {
            match child {
                Some(node) => map.next_value_seed(NodeSeed {
                    node,
                    scalars: self.scalars,
                })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let unknown = Node::default();
        let mut index = 0_usize;
        loop {
            // A pointer may name an array's element; most feeds have none, so the text is made only where one can match.
            let node = match self.node.children.is_empty() {
                true => &unknown,
                false => self.node.child(&index.to_string()).unwrap_or(&unknown),
            };
            if seq
                .next_element_seed(NodeSeed {
                    node,
                    scalars: self.scalars,
                })?
                .is_none()
            {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.keep(Scalar::Integer(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.keep(i64::try_from(value).map_or(Scalar::Float(value as f64), Scalar::Integer));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.keep(Scalar::Float(value));
        Ok(())
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<(), E> {
        self.keep(Scalar::Text(Cow::Borrowed(value)));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.keep(Scalar::Text(Cow::Owned(value.to_owned())));
        Ok(())
    }

    fn visit_bool<E>(self, _value: bool) -> Result<(), E> {
        self.keep(Scalar::Other);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        // JSON's null says that the feed has no such value here.
        Ok(())
    }
}

/// Finds an object's key among the children of a step.
struct KeySeed<'n> {
    node: &'n Node,
}

impl<'de, 'n> DeserializeSeed<'de> for KeySeed<'n> {
    type Value = Option<&'n Node>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, 'n> Visitor<'de> for KeySeed<'n> {
    type Value = Option<&'n Node>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.node.child(key))
    }
}
