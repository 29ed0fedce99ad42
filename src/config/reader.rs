//! Reads merged values into the configuration's types, with errors in plain words.
//!
//! Promises that every refusal names the place of the value, and that one mistake hides no other: a wrong value gives way
//! to its default, an unknown key is taken out, and reading goes on. A text is taken for the number or the flag that it
//! spells, since the environment holds texts alone.

use std::fmt;

use config::{Value, ValueKind};
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

/// Where a value stands: names of keys, and numbers of list items, from the root.
pub(super) type Place = Vec<String>;

/// Why a value cannot be read.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Where it stands; the place of a key that nobody knows ends with that key.
    pub place: Place,
    /// What is wrong.
    pub kind: RefusalKind,
}

/// What is wrong with a value.
#[derive(Debug)]
pub(super) enum RefusalKind {
    /// Nobody knows the key; those that stand beside it.
    UnknownKey(&'static [&'static str]),
    /// Anything else, as a text.
    Text(String),
}

/// Reads all of `merged`. What cannot be read is listed, and its default put in its place.
pub(super) fn read<T: DeserializeOwned>(mut merged: Value, defaults: &Value) -> (Option<T>, Vec<Refusal>) {
    // A configuration has some hundred keys.
    const REFUSALS_MAX: usize = 200;
    let mut refusals = Vec::new();
    while refusals.len() < REFUSALS_MAX {
        let refusal = match T::deserialize(Node::root(merged.clone())) {
            Ok(read) => return (Some(read), refusals),
            Err(refusal) => refusal,
        };
        let replaced = match refusal.kind {
            RefusalKind::UnknownKey(_) => remove(&mut merged, &refusal.place),
            RefusalKind::Text(_) => restore(&mut merged, defaults, &refusal.place),
        };
        refusals.push(refusal);
        if !replaced {
            break;
        }
    }
    (None, refusals)
}

/// Writes a place as a path, such as `worker.workers` or `decode.rules[0].price`.
pub(super) fn path(place: &[String]) -> String {
    let mut path = String::new();
    for part in place {
        match part.parse::<usize>() {
            Ok(index) => path += &format!("[{index}]"),
            Err(_) if path.is_empty() => path += part,
            Err(_) => path += &format!(".{part}"),
        }
    }
    path
}

fn child<'a>(value: &'a mut Value, part: &str) -> Option<&'a mut Value> {
    match &mut value.kind {
        ValueKind::Table(table) => table.get_mut(part),
        ValueKind::Array(items) => items.get_mut(part.parse::<usize>().ok()?),
        _ => None,
    }
}

fn remove(root: &mut Value, place: &[String]) -> bool {
    let Some((key, parents)) = place.split_last() else {
        return false;
    };
    let parent = parents.iter().try_fold(root, |value, part| child(value, part));
    match parent.map(|parent| &mut parent.kind) {
        Some(ValueKind::Table(table)) => table.remove(key).is_some(),
        _ => false,
    }
}

/// Puts the default of the nearest place that has one where a wrong value is; false when nothing changes by it.
fn restore(root: &mut Value, defaults: &Value, place: &[String]) -> bool {
    let mut defaults = defaults.clone();
    for end in (1..=place.len()).rev() {
        let default = place[..end]
            .iter()
            .try_fold(&mut defaults, |value, part| child(value, part));
        let found = place[..end]
            .iter()
            .try_fold(&mut *root, |value, part| child(value, part));
        let (Some(default), Some(found)) = (default, found) else {
            continue;
        };
        let changes = default.kind != found.kind;
        found.kind = default.kind.clone();
        return changes;
    }
    remove(root, place)
}

/// A value and its place.
struct Node {
    place: Place,
    value: Value,
}

impl Node {
    fn root(value: Value) -> Self {
        Node {
            place: Place::new(),
            value,
        }
    }

    fn child(place: &[String], part: String, value: Value) -> Self {
        let place = place.iter().cloned().chain([part]).collect();
        Node { place, value }
    }

    /// Gives the text of a value that is none, as the environment has it.
    fn text(&self) -> Option<String> {
        match &self.value.kind {
            ValueKind::String(text) => Some(text.clone()),
            ValueKind::Boolean(_)
            | ValueKind::I64(_)
            | ValueKind::I128(_)
            | ValueKind::U64(_)
            | ValueKind::U128(_)
            | ValueKind::Float(_) => Some(self.value.to_string()),
            ValueKind::Nil | ValueKind::Table(_) | ValueKind::Array(_) => None,
        }
    }

    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let Node { place, value } = self;
        let read = match value.kind {
            ValueKind::Nil => visitor.visit_unit(),
            ValueKind::Boolean(flag) => visitor.visit_bool(flag),
            ValueKind::I64(whole) => visitor.visit_i64(whole),
            ValueKind::I128(whole) => visitor.visit_i128(whole),
            ValueKind::U64(whole) => visitor.visit_u64(whole),
            ValueKind::U128(whole) => visitor.visit_u128(whole),
            ValueKind::Float(real) => visitor.visit_f64(real),
            ValueKind::String(text) => visitor.visit_string(text),
            ValueKind::Table(table) => visitor.visit_map(Entries::new(&place, table)),
            ValueKind::Array(items) => visitor.visit_seq(Items {
                place: place.clone(),
                items: items.into_iter().enumerate(),
            }),
        };
        read.map_err(|refusal| refusal.at(&place))
    }

    /// Takes a number that stands in a text, and a whole one that is written with a point.
    fn number<'de, V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refusal> {
        if let ValueKind::String(text) = &self.value.kind {
            let number = text.parse().map(ValueKind::I64);
            if let Ok(number) = number.or_else(|_| text.parse().map(ValueKind::Float)) {
                self.value.kind = number;
            }
        }
        self.visit(visitor)
    }

    fn whole<'de, V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refusal> {
        let real = match &self.value.kind {
            ValueKind::Float(real) => Some(*real),
            ValueKind::String(text) if text.parse::<i64>().is_err() => text.parse().ok(),
            _ => None,
        };
        if let Some(real) = real.filter(|real: &f64| real.fract() == 0.0) {
            self.value.kind = ValueKind::I64(real as i64);
        }
        self.number(visitor)
    }
}

macro_rules! read_as {
    ($how:ident: $($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            self.$how(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Node {
    type Error = Refusal;

    read_as!(visit: deserialize_any);
    read_as!(whole: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64);
    read_as!(number: deserialize_f32 deserialize_f64);

    fn deserialize_bool<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refusal> {
        if let ValueKind::String(text) = &self.value.kind
            && let Ok(flag) = text.to_lowercase().parse()
        {
            self.value.kind = ValueKind::Boolean(flag);
        }
        self.visit(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refusal> {
        if let Some(text) = self.text() {
            self.value.kind = ValueKind::String(text);
        }
        self.visit(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.value.kind {
            ValueKind::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        choices: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let place = self.place.clone();
        let read = match self.value.kind {
            ValueKind::String(text) => visitor.visit_enum(IntoDeserializer::<Refusal>::into_deserializer(text)),
            ValueKind::Table(table) if table.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(Entries::new(&place, table)))
            }
            other => Err(Refusal::text(format!(
                "expected {}, found {}",
                one_of(choices),
                shown(&other)
            ))),
        };
        read.map_err(|refusal| refusal.at(&place))
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Refusal> for Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// The entries of a table, in the order of their names.
struct Entries {
    place: Place,
    entries: std::vec::IntoIter<(String, Value)>,
    next: Option<Node>,
}

impl Entries {
    fn new(place: &[String], table: config::Map<String, Value>) -> Self {
        let mut entries: Vec<(String, Value)> = table.into_iter().collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Entries {
            place: place.to_vec(),
            entries: entries.into_iter(),
            next: None,
        }
    }
}

impl<'de> MapAccess<'de> for Entries {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        let node = Node::child(&self.place, key.clone(), value);
        let place = node.place.clone();
        self.next = Some(node);
        let read = seed.deserialize(IntoDeserializer::<Refusal>::into_deserializer(key));
        read.map(Some).map_err(|refusal| refusal.at(&place))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        match self.next.take() {
            Some(node) => {
                let place = node.place.clone();
                seed.deserialize(node).map_err(|refusal| refusal.at(&place))
            }
            None => Err(Refusal::text("a value without a key".into())),
        }
    }
}

/// The items of a list.
struct Items {
    place: Place,
    items: std::iter::Enumerate<std::vec::IntoIter<Value>>,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refusal> {
        let Some((index, value)) = self.items.next() else {
            return Ok(None);
        };
        let node = Node::child(&self.place, index.to_string(), value);
        let place = node.place.clone();
        seed.deserialize(node).map(Some).map_err(|refusal| refusal.at(&place))
    }
}

impl Refusal {
    fn text(text: String) -> Self {
        Refusal {
            place: Place::new(),
            kind: RefusalKind::Text(text),
        }
    }

    /// Says where, unless it is known already.
    fn at(mut self, place: &[String]) -> Self {
        if self.place.is_empty() {
            self.place = place.to_vec();
        }
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            RefusalKind::UnknownKey(_) => write!(formatter, "{}: there is no such key", path(&self.place)),
            RefusalKind::Text(text) => write!(formatter, "{}: {text}", path(&self.place)),
        }
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Refusal::text(text.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Refusal::text(format!(
            "expected {}, found {}",
            type_in_words(expected),
            found_in_words(found)
        ))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(found: &str, choices: &'static [&'static str]) -> Self {
        Refusal::text(format!("expected {}, found {found:?}", one_of(choices)))
    }

    fn unknown_field(_field: &str, known: &'static [&'static str]) -> Self {
        Refusal {
            place: Place::new(),
            kind: RefusalKind::UnknownKey(known),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Refusal::text(format!("{field} is missing"))
    }
}

/// Lists texts as choices: `"a"`, `"b"` or `"c"`.
fn one_of(choices: &[&str]) -> String {
    let quoted: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        Some((only, _)) => only.clone(),
        None => "nothing".into(),
    }
}

/// Says in the file's words what Rust's types are.
fn type_in_words(expected: &dyn de::Expected) -> String {
    let name = expected.to_string();
    match name.as_str() {
        "a boolean" => "true or false".into(),
        "a string" | "path string" | "str" => "a text in quotes".into(),
        "a sequence" => "a list in square brackets".into(),
        "a map" => "a section".into(),
        name if name.starts_with("struct ") => "a section".into(),
        name if name.starts_with(['u', 'i']) && name[1..].parse::<u8>().is_ok() => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        name => name.into(),
    }
}

fn found_in_words(found: de::Unexpected<'_>) -> String {
    match found {
        de::Unexpected::Bool(flag) => flag.to_string(),
        de::Unexpected::Unsigned(whole) => whole.to_string(),
        de::Unexpected::Signed(whole) => whole.to_string(),
        de::Unexpected::Float(real) => real.to_string(),
        de::Unexpected::Str(text) => format!("{text:?}"),
        de::Unexpected::Seq => "a list".into(),
        de::Unexpected::Map => "a section".into(),
        de::Unexpected::Unit => "nothing".into(),
        other => other.to_string(),
    }
}

fn shown(kind: &ValueKind) -> String {
    match kind {
        ValueKind::Table(_) => "a section".into(),
        ValueKind::Array(_) => "a list".into(),
        ValueKind::Nil => "nothing".into(),
        ValueKind::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}
