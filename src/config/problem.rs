//! A value of the configuration that makes no sense, and how that is told.

use std::fmt;

use config::{Value, ValueKind};

use super::environment::list_keys;
use super::nearest::nearest;
use super::ranges::at;
use super::reader::{self, Refusal, RefusalKind};

/// One value that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the key, such as `worker.workers`.
    pub key: String,
    /// Expected, found, what to do.
    pub text: String,
    /// Where the value was set: file and line, variable, or flag; nothing for a default.
    pub origin: Option<String>,
}

impl Problem {
    pub(super) fn new(key: impl Into<String>, text: impl Into<String>) -> Self {
        Problem {
            key: key.into(),
            text: text.into(),
            origin: None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(formatter, "{origin}: ")?;
        }
        write!(formatter, "{}: {}", self.key, self.text)
    }
}

/// Writes one problem per line.
pub(super) fn list(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// Says what is to be done about a value that cannot be read.
pub(super) fn of_refusal(refusal: Refusal, defaults: &Value) -> Problem {
    let key = reader::path(&refusal.place);
    let text = match refusal.kind {
        RefusalKind::Text(text) => text,
        RefusalKind::UnknownKey(known) => {
            let (name, section) = match refusal.place.split_last() {
                Some((name, section)) => (name.as_str(), reader::path(section)),
                None => ("", String::new()),
            };
            format!("there is no such key; {}", way_out(name, &section, known, defaults))
        }
    };
    Problem::new(key, text)
}

/// Names what was meant: the nearest key of the section, the key of this name in another, or all that there are.
fn way_out(name: &str, section: &str, known: &[&str], defaults: &Value) -> String {
    let within = |key: &str| match section {
        "" => key.to_owned(),
        section => format!("{section}.{key}"),
    };
    let mut keys = Vec::new();
    if let ValueKind::Table(table) = &defaults.kind {
        list_keys("", table, &mut keys);
    }
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    keys.sort();
    // A variable of the environment with too few underscores names a section and a key as one.
    if let Some(key) = keys.iter().find(|key| key.replace('.', "_") == name) {
        return format!("did you mean {key}?");
    }
    if let Some(meant) = nearest(name, known.iter().copied()) {
        return format!("did you mean {}?", within(meant));
    }
    let exact = keys.iter().find(|key| last(key) == name);
    let near = || nearest(name, keys.iter().filter_map(|key| key.rsplit('.').next()));
    let elsewhere = exact.or_else(|| near().and_then(|meant| keys.iter().find(|key| last(key) == meant)));
    match elsewhere {
        Some(key) => format!("did you mean {key}?"),
        None if section.is_empty() => format!("the sections are {}", and(known)),
        None if at(defaults, section).is_some() => format!("the keys of [{section}] are {}", and(known)),
        None => format!("the keys here are {}", and(known)),
    }
}

/// Lists names: `a, b and c`.
fn and(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        Some((only, _)) => (*only).to_owned(),
        None => "none".into(),
    }
}
