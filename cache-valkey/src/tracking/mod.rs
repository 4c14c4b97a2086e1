//! Client tracking: the server reports which keys read over a connection have changed.
//!
//! [`Tracking`] is the requested mode, `feed.rs` delivers invalidations and keeps the status, and
//! `connection.rs` is the tracking state of one connection. Not in here: how tracked reads are sent, see the
//! node and the routers; near caches, which are in another crate.
//!
//! # What is promised
//!
//! - An event is delivered on the task that reads the connection, before the reply that follows it.
//! - Entries read over a connection are dropped before any later connection of that node answers: their
//!   [`Vouch`] ends, and [`Invalidation::ConnectionLost`](cache_core::Invalidation) is delivered. Entries
//!   read over other connections stay.
//! - When slots get another owner, entries read from these slots are revoked
//!   ([`Invalidation::Revoked`](cache_core::Invalidation)), both before anything can be read from the new
//!   owner and after nothing is read from the old one. When a single primary is replaced, everything is
//!   dropped ([`Invalidation::Everything`](cache_core::Invalidation)).

mod connection;
mod feed;

use cache_core::{CacheError, Vouch};

pub(crate) use connection::{ConnectionTracking, TrackingResponse};
pub(crate) use feed::{Feed, NodeStatus, Source};

use crate::command::Command;
use crate::reply::Reply;

/// Whether, and how, the server reports changes of keys
/// ([`invalidations`](cache_core::CacheClient::invalidations)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tracking {
    /// Only keys that were read by [`get_entry`](cache_core::CacheClient::get_entry) while there was a
    /// listener. Costs the server a table of those keys (`tracking-table-max-keys`).
    #[default]
    OptIn,
    /// Every key that starts with one of `prefixes`, read or not. Costs the server no table, but every
    /// connection gets a message for every write under the prefixes, including names that its user may not
    /// read.
    Broadcast {
        /// At least one prefix, none of them empty and none the start of another, so that a client never gets
        /// a message for every write there is.
        prefixes: Vec<String>,
    },
    /// No tracking and no invalidations.
    Off,
}

impl Tracking {
    /// Rejects prefixes that the server would refuse or that cover everything.
    pub(crate) fn check(&self) -> Result<(), CacheError> {
        let Self::Broadcast { prefixes } = self else {
            return Ok(());
        };
        let invalid = |reason: &'static str| {
            Err(CacheError::InvalidInput {
                argument: "prefixes",
                reason: reason.into(),
            })
        };
        if prefixes.is_empty() || prefixes.iter().any(String::is_empty) {
            return invalid(
                "tracking by broadcast needs at least one prefix, and none that is empty: it would report \
                 every write of every client",
            );
        }
        let overlaps = prefixes.iter().enumerate().any(|(place, prefix)| {
            let mut others = prefixes.iter().enumerate();
            others.any(|(other, start)| other != place && prefix.starts_with(start.as_str()))
        });
        if overlaps {
            return invalid("no broadcast prefix may be the start of another");
        }
        Ok(())
    }

    /// The tracking request of a new connection. The last command of an opt-in is a test: it makes the server
    /// track the next command, so that must not be a read.
    pub(crate) fn requests(&self) -> Vec<Command<'_>> {
        let tracking = || Command::read("CLIENT").arg("TRACKING").arg("ON");
        match self {
            Self::OptIn => vec![tracking().arg("OPTIN"), caching()],
            Self::Broadcast { prefixes } => {
                let broadcast = tracking().arg("BCAST");
                vec![
                    prefixes
                        .iter()
                        .fold(broadcast, |command, prefix| command.arg("PREFIX").arg(prefix)),
                ]
            }
            Self::Off => Vec::new(),
        }
    }

    /// Whether a change of `key` is reported once it has been read over a connection that tracks.
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        match self {
            Self::OptIn => true,
            Self::Broadcast { prefixes } => prefixes.iter().any(|prefix| key.starts_with(prefix.as_bytes())),
            Self::Off => false,
        }
    }
}

/// Makes the server track the next command of the connection.
pub(crate) fn caching() -> Command<'static> {
    Command::read("CLIENT").arg("CACHING").arg("YES")
}

/// The replies to reads, and whether the server reports when their key changes.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) replies: Vec<Reply>,
    /// Valid as long as the server reports changes; `None` if it does not.
    pub(crate) vouch: Option<Vouch>,
}

/// The result of a tracked read of one key: the replies to `GET` and `PTTL`, neither of which is a refusal.
#[derive(Debug)]
pub(crate) struct TrackedRead {
    pub(crate) value: Reply,
    pub(crate) remaining: Reply,
    /// As [`Answers::vouch`].
    pub(crate) vouch: Option<Vouch>,
}

impl Answers {
    pub(crate) const fn untracked(replies: Vec<Reply>) -> Self {
        Self { replies, vouch: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broadcast(prefixes: &[&str]) -> Tracking {
        Tracking::Broadcast {
            prefixes: prefixes.iter().map(|&prefix| prefix.to_owned()).collect(),
        }
    }

    #[test]
    fn broadcast_needs_nonempty_prefixes_without_overlap() {
        for wrong in [&[][..], &[""], &["a:", ""], &["a:", "a:b:"], &["a:", "a:"]] {
            let error = broadcast(wrong).check().unwrap_err();
            assert!(error.to_string().contains("prefixes"), "{wrong:?}: {error}");
        }
        assert!(broadcast(&["a:", "b:"]).check().is_ok());
        assert!(Tracking::OptIn.check().is_ok() && Tracking::Off.check().is_ok());
    }

    #[test]
    fn broadcast_covers_only_its_prefixes() {
        let tracking = broadcast(&["a:", "b:"]);
        assert!(tracking.covers(b"a:1") && tracking.covers(b"b:"));
        assert!(!tracking.covers(b"c:1") && !tracking.covers(b"a"));
        assert!(Tracking::OptIn.covers(b"x") && !Tracking::Off.covers(b"x"));
    }
}
