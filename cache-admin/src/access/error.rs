//! What is wrong with a file of actors, and why somebody is not let in.

use std::fmt;

/// What is wrong with a file of actors. Shows names of fields and actors, never a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessError {
    line: Option<usize>,
    field: String,
    reason: String,
}

impl AccessError {
    pub(super) fn new(line: Option<usize>, field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            line,
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// The line, from 1, where the place is known.
    #[must_use]
    pub const fn line(&self) -> Option<usize> {
        self.line
    }

    /// The field, such as `actors.deploy.grants.purge`; empty where it is about the whole file.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("actors")?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if !self.field.is_empty() {
            write!(f, ", {}", self.field)?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for AccessError {}

/// Why somebody is not let in. Says nothing about who is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Nothing was presented by which somebody could be known.
    #[error("a bearer token or a client certificate is needed")]
    Missing,
    /// What was presented is not the form `Authorization: Bearer TOKEN`.
    #[error("the authorization must have the form: Bearer TOKEN")]
    Malformed,
    /// Nobody is known by what was presented.
    #[error("the token or certificate is not known")]
    Unknown,
    /// The token was good until a while ago.
    #[error("the token has expired")]
    Expired,
}
