//! The environment as a source of the configuration: `TAPEWATCH__SECTION__KEY`.
//!
//! Values are taken as texts; who reads them makes numbers and flags of them. A name with a single underscore sets nothing,
//! which is easily overlooked, so it is found here.

use std::collections::HashMap;

use config::{Map, Value, ValueKind};

use super::nearest::nearest;

/// What the names of variables begin with.
const PREFIX: &str = "TAPEWATCH__";
/// What the names of variables begin with that somebody meant for this program.
const MEANT_PREFIX: &str = "TAPEWATCH_";
/// The one list that fits a variable, since its items hold no comma.
const LIST: &str = "input.topics";

/// Variables of the environment, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables(Vec<(String, String)>);

impl Variables {
    /// Takes the process's own. A name or value that is no text cannot be ours.
    pub(super) fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Variables(std::env::vars_os().filter_map(text).collect())
    }

    /// Takes these.
    #[cfg(test)]
    pub(super) fn of(variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Variables(variables.iter().map(owned).collect())
    }

    /// Gives those that set keys: path of the key, name, value.
    fn ours(&self) -> impl Iterator<Item = (String, &str, &str)> {
        self.0.iter().filter_map(|(name, value)| {
            let upper = name.to_uppercase();
            let key = upper.strip_prefix(PREFIX)?;
            Some((key.to_lowercase().replace("__", "."), name.as_str(), value.as_str()))
        })
    }

    /// Gives the name of each variable by the path of the key that it sets.
    pub(super) fn names_by_key(&self) -> HashMap<String, String> {
        self.ours().map(|(key, name, _)| (key, name.to_owned())).collect()
    }

    /// Gives path of key, name of variable, and value.
    pub(super) fn values(&self) -> Vec<(String, String, Value)> {
        let values = self.ours().map(|(key, name, text)| {
            let value = value_of(&key, text);
            (key, name.to_owned(), value)
        });
        values.collect()
    }

    /// Says which names were meant for a key and set none. Other programs use the prefix too: Kubernetes sets
    /// `TAPEWATCH_PORT_…` for a service called tapewatch. So only names that begin with a section or are a key are looked at.
    pub(super) fn warnings(&self, defaults: &Map<String, Value>) -> Vec<String> {
        let mut keys = Vec::new();
        list_keys("", defaults, &mut keys);
        // Compared as if each had single underscores throughout.
        let flat = |name: &str| name.replace('.', "_").replace("__", "_").to_uppercase();
        let flat_keys: Vec<(String, String)> = keys.iter().map(|key| (flat(key), variable_of(key))).collect();
        let warning = |name: &String| {
            let upper = name.to_uppercase();
            let rest = upper
                .strip_prefix(MEANT_PREFIX)
                .filter(|_| !upper.starts_with(PREFIX))?;
            let section = rest.split('_').next()?.to_lowercase();
            let ends_with = |(_, variable): &&(String, String)| variable.ends_with(&format!("__{rest}"));
            let without_section = flat_keys.iter().find(ends_with);
            if without_section.is_none() && !defaults.contains_key(&section) {
                return None;
            }
            let meant = nearest(&flat(rest), flat_keys.iter().map(|(flat, _)| flat.as_str()));
            let meant = without_section.or_else(|| flat_keys.iter().find(|(flat, _)| Some(flat.as_str()) == meant));
            let hint = meant.map_or_else(String::new, |(_, variable)| format!("; did you mean {variable}?"));
            Some(format!(
                "{name} sets nothing: two underscores part prefix, section and key{hint}"
            ))
        };
        let mut warnings: Vec<String> = self.0.iter().filter_map(|(name, _)| warning(name)).collect();
        warnings.sort();
        warnings
    }
}

/// Makes the value of a key from a text; of a list, items are parted by commas.
pub(super) fn value_of(key: &str, text: &str) -> Value {
    let value = |text: &str| Value::new(None, ValueKind::String(text.into()));
    match key {
        LIST => Value::new(
            None,
            ValueKind::Array(text.split(',').map(|item| value(item.trim())).collect()),
        ),
        _ => value(text),
    }
}

/// Gives the variable that sets a key.
fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// Lists the paths of all keys that hold a value.
pub(super) fn list_keys(prefix: &str, table: &Map<String, Value>, keys: &mut Vec<String>) {
    for (key, value) in table {
        let path = match prefix {
            "" => key.clone(),
            prefix => format!("{prefix}.{key}"),
        };
        match &value.kind {
            ValueKind::Table(table) => list_keys(&path, table, keys),
            _ => keys.push(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DEFAULTS, toml_text::TomlText};
    use config::Source;

    fn warnings(variables: &[(&str, &str)]) -> Vec<String> {
        Variables::of(variables).warnings(&TomlText::source(DEFAULTS).collect().unwrap())
    }

    #[test]
    fn a_name_with_one_underscore_is_told_the_name_with_two() {
        let told = warnings(&[
            ("TAPEWATCH_KAFKA_BROKERS", "a:1"),
            ("TAPEWATCH_RETRAIN__MODELS_DIR", "x"),
            ("TAPEWATCH_WORKERS", "3"),
        ]);
        assert_eq!(
            told,
            [
                "TAPEWATCH_KAFKA_BROKERS sets nothing: two underscores part prefix, section and key; did you mean \
                 TAPEWATCH__KAFKA__BROKERS?",
                "TAPEWATCH_RETRAIN__MODELS_DIR sets nothing: two underscores part prefix, section and key; did you mean \
                 TAPEWATCH__RETRAIN__MODELS_DIR?",
                "TAPEWATCH_WORKERS sets nothing: two underscores part prefix, section and key; did you mean \
                 TAPEWATCH__WORKER__WORKERS?",
            ]
        );
    }

    #[test]
    fn names_that_others_set_are_no_mistake() {
        // Kubernetes makes the first ones for a service called tapewatch.
        let others = [
            ("TAPEWATCH_SERVICE_HOST", "10.0.0.1"),
            ("TAPEWATCH_PORT", "tcp://10.0.0.1:9464"),
            ("TAPEWATCH_PORT_9464_TCP_ADDR", "10.0.0.1"),
            ("TAPEWATCH_TEST_BROKERS", "a:1"),
            ("TAPEWATCH__WORKER__WORKERS", "2"),
            ("PATH", "/bin"),
        ];
        assert_eq!(warnings(&others), Vec::<String>::new());
    }
}
