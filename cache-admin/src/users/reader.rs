//! Reads tables of a declaration, and keeps what is wrong with them instead of stopping at it.
//!
//! Not in here: what a declaration has to say.

use std::collections::BTreeMap;

use cache_core::ConfigError;
use cache_core::config::Problem;
use toml::{Table, Value};

/// Takes entries out of tables and keeps what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Reader {
    problems: Vec<Problem>,
}

impl Reader {
    /// `read`, unless something was wrong.
    pub(super) fn end<T>(self, read: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() {
            Ok(read)
        } else {
            Err(ConfigError::new(self.problems))
        }
    }

    /// Whether nothing was wrong so far.
    pub(super) const fn is_content(&self) -> bool {
        self.problems.is_empty()
    }

    /// Keeps that what is at `path` is wrong, and what would be right.
    pub(super) fn refuse(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem {
            variable: path.into(),
            message: message.into(),
        });
    }

    /// The text called `field` of the table at `path`.
    pub(super) fn text(&mut self, table: &mut Table, path: &str, field: &str) -> Option<String> {
        match table.remove(field)? {
            Value::String(text) => Some(text),
            _ => {
                self.refuse(join(path, field), "must be a text");
                None
            }
        }
    }

    /// The list of texts called `field`.
    pub(super) fn texts(&mut self, table: &mut Table, path: &str, field: &str) -> Option<Vec<String>> {
        let value = table.remove(field)?;
        let items = value.as_array().map(|items| items.iter().map(Value::as_str));
        let texts: Option<Vec<&str>> = items.and_then(Iterator::collect);
        if texts.is_none() {
            self.refuse(join(path, field), "must be a list of texts");
        }
        Some(texts?.into_iter().map(str::to_owned).collect())
    }

    /// The tables in the table called `field`, by name.
    pub(super) fn tables(&mut self, table: &mut Table, path: &str, field: &str) -> BTreeMap<String, Table> {
        let Some(value) = table.remove(field) else {
            return BTreeMap::new();
        };
        let path = join(path, field);
        let Value::Table(entries) = value else {
            self.refuse(path, "must be a table of tables");
            return BTreeMap::new();
        };
        let mut tables = BTreeMap::new();
        for (name, entry) in entries {
            match entry {
                Value::Table(entry) => drop(tables.insert(name, entry)),
                _ => self.refuse(format!("{path}.{name}"), "must be a table"),
            }
        }
        tables
    }

    /// Refuses what is left of the table at `path`.
    pub(super) fn nothing_else(&mut self, path: &str, table: &Table, known: &str) {
        for name in table.keys() {
            self.refuse(join(path, name), format!("is not known; known are {known}"));
        }
    }
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() {
        field.to_owned()
    } else {
        format!("{path}.{field}")
    }
}
