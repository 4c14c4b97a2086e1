//! What `keys` shows of each key besides its name (`--columns`).

use std::io;
use std::time::Duration;

use cache_admin::{Description, KeyAttributes, KeyType};
use cache_core::Ttl;
use clap::ValueEnum;
use serde::Deserialize;
use serde_json::Value;

use crate::escape;
use crate::human;
use crate::output::Output;

/// What can be shown of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Column {
    /// The type of what it holds
    Type,
    /// What is left of its TTL
    Ttl,
    /// The memory that it takes
    Size,
}

/// What is known of a key; what was not asked for is missing. As the service tells it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Known {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) forever: Option<bool>,
    pub(crate) size: Option<u64>,
}

impl Column {
    /// Its name, as the service takes it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Ttl => "ttl",
            Self::Size => "size",
        }
    }

    const fn header(self) -> &'static str {
        match self {
            Self::Type => "TYPE  ",
            Self::Ttl => "          TTL",
            Self::Size => "     SIZE",
        }
    }

    fn cell(self, known: &Known) -> String {
        match self {
            Self::Type => format!(
                "{:<6}",
                known.kind.as_deref().map_or("-".to_owned(), escape::plain)
            ),
            Self::Ttl => {
                let left = known.ttl_ms.map(|left| human::time(Duration::from_millis(left)));
                let left = left.or_else(|| known.forever.filter(|it| *it).map(|_| "forever".to_owned()));
                format!("{:>13}", left.unwrap_or_else(|| "-".to_owned()))
            }
            Self::Size => format!("{:>9}", known.size.map_or_else(|| "-".to_owned(), human::bytes)),
        }
    }
}

/// What has to be asked of each key for `columns`.
pub(crate) fn traits(columns: &[Column]) -> KeyAttributes {
    KeyAttributes {
        kind: columns.contains(&Column::Type),
        ttl: columns.contains(&Column::Ttl),
        size: columns.contains(&Column::Size),
        ..KeyAttributes::default()
    }
}

/// The line above the keys, if there are columns, for people.
pub(crate) fn header(columns: &[Column], output: &mut Output) -> io::Result<()> {
    if columns.is_empty() || output.is_json() {
        return Ok(());
    }
    let names: Vec<&str> = columns.iter().map(|column| column.header()).collect();
    let line = output.colours().bold(&format!("{}  KEY", names.join("  ")));
    output.line(&line)
}

/// A key, with what is asked for of it.
pub(crate) fn show(columns: &[Column], key: &[u8], known: &Known, output: &mut Output) -> io::Result<()> {
    if !output.is_json() {
        let mut cells: Vec<String> = columns.iter().map(|column| column.cell(known)).collect();
        cells.push(escape::escaped(key));
        return output.line(&cells.join("  "));
    }
    let mut object = escape::object("key", key);
    for column in columns {
        match column {
            Column::Type => {
                object.insert("type".to_owned(), known.kind.clone().into());
            }
            Column::Ttl => {
                object.insert("ttl_ms".to_owned(), known.ttl_ms.into());
                object.insert("forever".to_owned(), known.forever.into());
            }
            Column::Size => {
                object.insert("size".to_owned(), known.size.into());
            }
        }
    }
    output.json(&Value::Object(object))
}

impl From<&Description> for Known {
    fn from(description: &Description) -> Self {
        Self {
            kind: description.kind.map(|kind: KeyType| kind.name().to_owned()),
            ttl_ms: match description.ttl {
                Some(Ttl::After(left)) => Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
                _ => None,
            },
            forever: description.ttl.map(Ttl::is_forever),
            size: description.size,
        }
    }
}
