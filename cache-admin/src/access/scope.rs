//! The kinds of things that an actor may be granted.

use std::fmt;

/// What an actor may do. No scope includes another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// See the names of keys and what is known of them, count by pattern.
    List,
    /// See values.
    Value,
    /// Remove single keys.
    Invalidate,
    /// Remove keys by pattern, step generations.
    Purge,
    /// See the users of the servers and what they may do.
    Acl,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::List, Self::Value, Self::Invalidate, Self::Purge, Self::Acl];

    /// Its name, as in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Value => "value",
            Self::Invalidate => "invalidate",
            Self::Purge => "purge",
            Self::Acl => "acl",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
