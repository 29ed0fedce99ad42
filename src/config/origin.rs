//! Where each value of a configuration was written: a flag, a variable of the environment, or a line of the file.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use config::Value;
use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::environment::{self, Variables};

/// A value that was given as a flag in place of a key.
#[derive(Clone, Debug)]
pub struct FlagValue {
    /// The flag, such as `--brokers`.
    pub flag: &'static str,
    /// Path of the key that it stands for, such as `kafka.brokers`.
    pub key: &'static str,
    /// What was given.
    pub value: String,
}

/// Where values come from.
#[derive(Debug, Default)]
pub(super) struct Origins {
    file: Option<PathBuf>,
    /// Path of the key → line in the file, from 1.
    lines: BTreeMap<String, usize>,
    /// Path of the key → name of the variable.
    variables: HashMap<String, String>,
    /// Path of the key → flag.
    flags: BTreeMap<&'static str, &'static str>,
}

/// Why a text is no TOML, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Syntax {
    /// Line, from 1.
    pub line: usize,
    /// Character of the line, from 1.
    pub column: usize,
    /// What is wrong, without the text around it: a secret may stand there.
    pub problem: String,
}

impl FlagValue {
    /// Gives the value as the file would hold it.
    pub(super) fn as_value(&self) -> Value {
        environment::value_of(self.key, &self.value)
    }
}

impl Syntax {
    /// Makes the error that names the file.
    pub(super) fn error(&self, file: Option<&Path>) -> ConfigError {
        let Syntax { line, column, problem } = self;
        ConfigError::Malformed(match file {
            Some(path) => format!("{}:{line}:{column}: this is no TOML: {problem}", path.display()),
            None => format!("line {line}, column {column}: this is no TOML: {problem}"),
        })
    }
}

impl Origins {
    /// Notes the lines of a file's keys.
    pub(super) fn note_file(&mut self, path: Option<&Path>, text: &str) -> Result<(), Syntax> {
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(text.len(), |span| span.start).min(text.len());
            let before = text.get(..at).unwrap_or_default();
            let line_start = before.rfind('\n').map_or(0, |end| end + 1);
            Syntax {
                line: 1 + before.matches('\n').count(),
                column: 1 + before[line_start..].chars().count(),
                problem: error.message().to_owned(),
            }
        })?;
        self.file = path.map(Path::to_path_buf);
        note_lines(text, "", table.get_ref(), &mut self.lines);
        Ok(())
    }

    /// Notes the variables of the environment.
    pub(super) fn note_variables(&mut self, variables: &Variables) {
        self.variables = variables.names_by_key();
    }

    /// Notes what was given as flags.
    pub(super) fn note_flags(&mut self, flags: &[FlagValue]) {
        self.flags = flags.iter().map(|given| (given.key, given.flag)).collect();
    }

    /// Gives the place of a key in the order in which people look: flags and variables, then the lines of the file.
    pub(super) fn line_of(&self, key: &str) -> usize {
        let key = unquoted(key);
        let is_above = self.flags.contains_key(key.as_str()) || self.variables.contains_key(&key);
        self.lines.get(&key).copied().filter(|_| !is_above).unwrap_or(0)
    }

    /// Tells whether somebody has written the key.
    pub(super) fn names(&self, key: &str) -> bool {
        self.flags.contains_key(key) || self.variables.contains_key(key) || self.lines.contains_key(key)
    }

    /// Says where the value of a key was written; nothing for a default, and for a text that is no file.
    pub(super) fn of(&self, key: &str) -> Option<String> {
        let key = unquoted(key);
        let key = key.as_str();
        if let Some(flag) = self.flags.get(key) {
            return Some((*flag).to_owned());
        }
        if let Some(variable) = self.variables.get(key) {
            return Some(variable.clone());
        }
        // A problem of a whole section stands where the section begins.
        let (line, file) = (self.lines.get(key)?, self.file.as_ref()?);
        Some(format!("{}:{line}", file.display()))
    }
}

/// Leaves out what TOML puts around names with dots.
fn unquoted(key: &str) -> String {
    key.replace('"', "")
}

fn note_lines(text: &str, prefix: &str, table: &DeTable<'_>, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let line = 1 + text[..key.span().start.min(text.len())].matches('\n').count();
        let path = match prefix {
            "" => key.get_ref().to_string(),
            prefix => format!("{prefix}.{}", key.get_ref()),
        };
        note_within(text, &path, value.get_ref(), lines);
        lines.insert(path, line);
    }
}

fn note_within(text: &str, path: &str, value: &DeValue<'_>, lines: &mut BTreeMap<String, usize>) {
    match value {
        DeValue::Table(table) => note_lines(text, path, table, lines),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                let line = 1 + text[..item.span().start.min(text.len())].matches('\n').count();
                note_within(text, &path, item.get_ref(), lines);
                lines.insert(path, line);
            }
        }
        _ => {}
    }
}
