//! Client tracking: the server tells a connection which of the keys that were read over it have changed.
//!
//! [`Tracking`] is what is asked for, `feed.rs` is where listeners hear it and where its status is kept,
//! `witness.rs` is what one connection vouches for. How reads are sent so that they are tracked is the
//! business of the node and the routers; what is kept near is none of this crate's.
//!
//! # What is promised
//!
//! - An event is delivered on the task that reads the connection, before the reply that follows it.
//! - What was read over a connection is given up before any later connection of that node answers: its
//!   [`Vouch`] ends, and [`Invalidation::ConnectionLost`](cache_core::Invalidation) comes. What was read over other
//!   connections stays.
//! - When slots get another owner, what was read from these slots is given up
//!   ([`Invalidation::Revoked`](cache_core::Invalidation)), both before anything can be read from the new owner and
//!   after nothing is read from the old one. When the one primary is replaced, everything is
//!   ([`Invalidation::Everything`](cache_core::Invalidation)).

mod feed;
mod witness;

use cache_core::{CacheError, Vouch};

pub(crate) use feed::{Feed, Member, Source};
pub(crate) use witness::{Agreement, Witness};

use crate::command::Command;
use crate::reply::Reply;

/// Whether, and how, the server is to report changes of keys
/// ([`invalidations`](cache_core::CacheClient::invalidations)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tracking {
    /// Of the keys that were read by [`get_entry`](cache_core::CacheClient::get_entry) while somebody
    /// listened, and of no others. Costs the server a table of those keys (`tracking-table-max-keys`).
    #[default]
    OptIn,
    /// Of every key that starts with one of `prefixes`, read or not. Costs the server no table, and every
    /// connection hears of every write under the prefixes; it is shown names that its user may not read.
    Broadcast {
        /// At least one, none of them empty and none the start of another: a client is never made to hear of
        /// every write there is.
        prefixes: Vec<String>,
    },
    /// Not at all: there are no invalidations.
    Off,
}

impl Tracking {
    /// Refuses prefixes that the server would refuse, and such as cover everything.
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
            return invalid("of the prefixes of a broadcast none may be the start of another");
        }
        Ok(())
    }

    /// What a new connection asks the server for. The last command of an opt-in is a try: what comes next on
    /// the connection is tracked by it, so it must be no read.
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
    /// Holds as long as the server reports changes; none where it does not.
    pub(crate) vouch: Option<Vouch>,
}

/// What a tracked read of one key of many brought: the replies to `GET` and `PTTL`, neither of which is a refusal.
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
    fn a_broadcast_needs_prefixes_that_leave_something_out_and_do_not_overlap() {
        for wrong in [&[][..], &[""], &["a:", ""], &["a:", "a:b:"], &["a:", "a:"]] {
            let error = broadcast(wrong).check().unwrap_err();
            assert!(error.to_string().contains("prefixes"), "{wrong:?}: {error}");
        }
        assert!(broadcast(&["a:", "b:"]).check().is_ok());
        assert!(Tracking::OptIn.check().is_ok() && Tracking::Off.check().is_ok());
    }

    #[test]
    fn a_broadcast_covers_its_prefixes_only() {
        let tracking = broadcast(&["a:", "b:"]);
        assert!(tracking.covers(b"a:1") && tracking.covers(b"b:"));
        assert!(!tracking.covers(b"c:1") && !tracking.covers(b"a"));
        assert!(Tracking::OptIn.covers(b"x") && !Tracking::Off.covers(b"x"));
    }
}
