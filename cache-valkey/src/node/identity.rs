//! Decides when to check again which server a node's address leads to.
//!
//! A connection to a server that became a replica, or that is no longer the expected node, stays open and
//! answers. A refused write (`READONLY`), a redirection to the asked address, or the role in a handshake
//! reveals it. Then the node resolves its address again and opens another connection, at most once per
//! second. The old one stays in use until the new one leads to a better server.
//!
//! Not in here: how connections are replaced, see `replace.rs`; which server is the right one, see the
//! crate's `identity.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Outcome, Unavailability};

use super::link::Link;
use super::{Health, Node};
use crate::dial::{Mode, ServerHello};
use crate::identity::{Expected, ServerKind};
use crate::reply::Reply;

/// The shortest time between two address checks.
const SPACING: Duration = Duration::from_secs(1);

/// The longest time between two address checks while the server is a replica and no call is refused.
const LONGEST: Duration = Duration::from_secs(30);

/// When the node last checked where its address leads.
#[derive(Debug, Default)]
pub(super) struct AddressChecks {
    last: Option<Instant>,
    /// AddressChecks Address checks in a row that found no better server.
    futile: u32,
}

impl AddressChecks {
    /// When the next check is due, if a call was refused since the last one or the server is a replica.
    fn due(&self, is_refused: bool, is_replica: bool) -> Option<Instant> {
        let wait = if is_refused {
            SPACING
        } else if is_replica {
            SPACING.saturating_mul(1 << self.futile.min(8)).min(LONGEST)
        } else {
            return None;
        };
        // Opening a connection counts as a check.
        Some(self.last.map_or_else(clock::now, |last| last + wait))
    }

    /// Begins a check.
    pub(super) fn begin(&mut self) {
        self.last = Some(clock::now());
    }

    /// Ends a check; `is_better` says whether it found a better server.
    pub(super) const fn end(&mut self, is_better: bool) {
        self.futile = if is_better {
            0
        } else {
            self.futile.saturating_add(1)
        };
    }
}

impl Node {
    /// Sets the server that connections must lead to, and closes those that lead to another one.
    pub(crate) fn expect(&self, expected: Expected) {
        self.expected.store(Arc::new(expected));
        self.close_links_to_other_nodes();
    }

    /// Closes connections to other servers than the expected one.
    pub(super) fn close_links_to_other_nodes(&self) {
        let expected = self.expected.load();
        let Expected::Node(id) = &**expected else {
            return;
        };
        for link in self.links.load().iter() {
            if link.leads_to().is_some_and(|other| other != id) {
                link.give_up("which led to another server than its address does now");
            }
        }
    }

    /// Reacts to a refusal that only the wrong server gives.
    pub(super) fn note_refusal(&self, reply: &Reply) {
        if let Reply::Error(refusal) = reply
            && matches!(refusal.code.as_str(), "READONLY" | "MASTERDOWN")
            && self.mode == Mode::Primary
        {
            self.suspect();
        }
    }

    /// Requests an address check, at most one per second.
    pub(crate) fn suspect(&self) {
        if !self.suspected.swap(true, Ordering::AcqRel) {
            self.work.notify_one();
        }
    }

    /// Whether a replica answers although a primary is wanted.
    pub(crate) fn is_replica(&self) -> bool {
        self.wants_primary() && self.server_hello().replica
    }

    fn wants_primary(&self) -> bool {
        self.mode == Mode::Primary && self.dialer.kind() == ServerKind::Single
    }

    /// Fails if a new connection leads to a replica although the open ones lead to the primary.
    pub(super) fn refuse_if_worse(&self, server_hello: &ServerHello) -> Result<(), CacheError> {
        let is_worse = self.wants_primary() && server_hello.replica && !self.server_hello().replica;
        if !is_worse || self.links.load().is_empty() {
            return Ok(());
        }
        Err(CacheError::Unavailable {
            reason: Unavailability::NotReady,
            detail: format!("{} now leads to a replica", self.address).into(),
            outcome: Outcome::NotApplied,
            source: None,
        })
    }

    /// When the next address check is due, if one is needed.
    pub(super) fn address_check_due(&self, checks: &AddressChecks) -> Option<Instant> {
        checks.due(self.suspected.load(Ordering::Acquire), self.is_replica())
    }

    /// Begins an address check.
    pub(super) fn begin_address_check(&self, checks: &mut AddressChecks) {
        checks.begin();
        self.suspected.store(false, Ordering::Release);
    }

    /// Whether `fresh` leads to a better server than `old` does.
    pub(super) fn is_better(&self, fresh: &Link, server_hello: &ServerHello, old: &Link) -> bool {
        if self.wants_primary() {
            return !server_hello.replica;
        }
        fresh.leads_to().is_none() || fresh.leads_to() != old.leads_to()
    }

    /// Replaces all connections by `fresh`, because they lead to where the address led before.
    pub(super) fn move_to(&self, fresh: Link, server_hello: ServerHello) {
        let former = self.links.swap(Arc::default());
        tracing::info!(
            node = %self.address,
            role = if server_hello.replica { "replica" } else { "primary" },
            "the address leads to another server; its connections were replaced"
        );
        // Entries read over the old connections are dropped before a newer one answers.
        for link in former.iter() {
            link.connection_tracking.end();
        }
        self.server_hello.store(Arc::new(server_hello));
        self.add(fresh);
        for link in former.iter() {
            self.retire(Arc::clone(link));
        }
        self.report_tracking();
        if matches!(&*self.health.borrow(), Health::Closed) {
            self.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refused_calls_trigger_one_address_check_per_second() {
        let mut checks = AddressChecks::default();
        assert_eq!(checks.due(false, false), None);
        assert_eq!(checks.due(true, true), Some(clock::now()), "at once");
        checks.begin();
        checks.end(false);
        for _ in 0..20 {
            assert_eq!(checks.due(true, true), Some(clock::now() + SPACING));
            let calm = checks.due(false, true).unwrap() - clock::now();
            assert!(calm >= SPACING && calm <= LONGEST, "{calm:?}");
            checks.begin();
            checks.end(false);
        }
        assert_eq!(checks.due(false, true), Some(clock::now() + LONGEST));
        checks.end(true);
        assert_eq!(checks.due(false, false), None);
    }
}
