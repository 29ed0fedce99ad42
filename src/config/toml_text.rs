//! TOML as a source of the `config` crate whose whole numbers may be of any size, so that one that no integer type holds
//! is refused like any other that is out of its range: by its key.

use std::error::Error;

use config::{File, FileSourceString, FileStoredFormat, Format, Map, Value, ValueKind};
use toml::de::{DeTable, DeValue};

/// The format.
#[derive(Clone, Copy, Debug)]
pub(super) struct TomlText;

impl TomlText {
    /// Makes a source of a text.
    pub(super) fn source(text: &str) -> File<FileSourceString, TomlText> {
        File::from_str(text, TomlText)
    }
}

impl Format for TomlText {
    fn parse(&self, uri: Option<&String>, text: &str) -> Result<Map<String, Value>, Box<dyn Error + Send + Sync>> {
        Ok(table(uri, DeTable::parse(text)?.into_inner()))
    }
}

impl FileStoredFormat for TomlText {
    fn file_extensions(&self) -> &'static [&'static str] {
        &["toml"]
    }
}

fn table(uri: Option<&String>, table: DeTable<'_>) -> Map<String, Value> {
    let entries = table.into_iter();
    entries
        .map(|(key, item)| (key.into_inner().into_owned(), value(uri, item.into_inner())))
        .collect()
}

fn value(uri: Option<&String>, found: DeValue<'_>) -> Value {
    let kind = match found {
        DeValue::String(text) => ValueKind::String(text.into_owned()),
        DeValue::Integer(whole) => i128::from_str_radix(whole.as_str(), whole.radix()).map_or_else(
            // Longer than 38 digits: what it is to the last digit is of no use to anybody.
            |_| {
                ValueKind::Float(if whole.as_str().starts_with('-') {
                    f64::NEG_INFINITY
                } else {
                    f64::INFINITY
                })
            },
            |whole| i64::try_from(whole).map_or(ValueKind::I128(whole), ValueKind::I64),
        ),
        DeValue::Float(real) => ValueKind::Float(real.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => ValueKind::Boolean(flag),
        DeValue::Datetime(stamp) => ValueKind::String(stamp.to_string()),
        DeValue::Array(items) => {
            let items = items.into_iter().map(|item| value(uri, item.into_inner()));
            ValueKind::Array(items.collect())
        }
        DeValue::Table(entries) => ValueKind::Table(table(uri, entries)),
    };
    Value::new(uri, kind)
}
