//! Which server a node's connections lead to: what is expected there, and when to look again.
//!
//! A connection to a server that has become a replica, or that no longer is the node it was, stays open and answers. What
//! tells is a refused write (`READONLY`), a redirection to the address that was asked, or the role in a handshake. Then
//! the node looks its address up again and opens another connection: at most one per second. The old one stays in use
//! until the new one leads to a better server.
//!
//! Not in here: how connections are replaced, see `replace.rs`; what is right and what is wrong, see `identity.rs` of the
//! crate.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Outcome, Unavailability};

use super::link::Link;
use super::{Health, Node};
use crate::dial::{Greeting, Mode};
use crate::identity::{Expected, ServerKind};
use crate::reply::Reply;

/// The shortest time between two looks.
const SPACING: Duration = Duration::from_secs(1);

/// The longest time between two looks while the server is a replica and nobody is refused.
const LONGEST: Duration = Duration::from_secs(30);

/// When the node last looked where its address leads.
#[derive(Debug, Default)]
pub(super) struct Looks {
    last: Option<Instant>,
    /// Looks in a row that brought nothing better.
    futile: u32,
}

impl Looks {
    /// When the next look is due, if a call was refused since the last one or the server is a replica.
    fn due(&self, is_refused: bool, is_replica: bool) -> Option<Instant> {
        let wait = if is_refused {
            SPACING
        } else if is_replica {
            SPACING.saturating_mul(1 << self.futile.min(8)).min(LONGEST)
        } else {
            return None;
        };
        // A connection has just been made when the first call is refused: it is as good as a look.
        Some(self.last.map_or_else(clock::now, |last| last + wait))
    }

    /// Begins a look.
    pub(super) fn begin(&mut self) {
        self.last = Some(clock::now());
    }

    /// A look ended; whether it brought a better server.
    pub(super) const fn end(&mut self, is_better: bool) {
        self.futile = if is_better {
            0
        } else {
            self.futile.saturating_add(1)
        };
    }
}

impl Node {
    /// From now on the connections have to lead to `expected`. Those that lead to another server are given up.
    pub(crate) fn expect(&self, expected: Expected) {
        self.expected.store(Arc::new(expected));
        self.give_up_strangers();
    }

    /// Gives up connections to other servers than the expected one.
    pub(super) fn give_up_strangers(&self) {
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

    /// Takes note of a refusal that only a server gives that is not, or no longer, the right one.
    pub(super) fn note_refusal(&self, reply: &Reply) {
        if let Reply::Error(refusal) = reply
            && matches!(refusal.code.as_str(), "READONLY" | "MASTERDOWN")
            && self.mode == Mode::Primary
        {
            self.suspect();
        }
    }

    /// Has the node look where its address leads by now: at once, unless it did so within the last second.
    pub(crate) fn suspect(&self) {
        if !self.suspected.swap(true, Ordering::AcqRel) {
            self.work.notify_one();
        }
    }

    /// Whether it is known that no primary answers here although one is wanted.
    pub(crate) fn is_replica(&self) -> bool {
        self.wants_primary() && self.greeting().replica
    }

    fn wants_primary(&self) -> bool {
        self.mode == Mode::Primary && self.dialer.kind() == ServerKind::Single
    }

    /// Fails if another connection would lead to a replica although those that are open lead to the primary.
    pub(super) fn refuse_if_worse(&self, greeting: &Greeting) -> Result<(), CacheError> {
        let is_worse = self.wants_primary() && greeting.replica && !self.greeting().replica;
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

    /// When the next look is due, if one is wanted.
    pub(super) fn look_due(&self, looks: &Looks) -> Option<Instant> {
        looks.due(self.suspected.load(Ordering::Acquire), self.is_replica())
    }

    /// Begins a look.
    pub(super) fn begin_look(&self, looks: &mut Looks) {
        looks.begin();
        self.suspected.store(false, Ordering::Release);
    }

    /// Whether `fresh` leads to a better server than `old` does.
    pub(super) fn is_better(&self, fresh: &Link, greeting: &Greeting, old: &Link) -> bool {
        if self.wants_primary() {
            return !greeting.replica;
        }
        fresh.leads_to().is_none() || fresh.leads_to() != old.leads_to()
    }

    /// Puts `fresh` in the place of all connections: they lead to where the address led before.
    pub(super) fn move_to(&self, fresh: Link, greeting: Greeting) {
        let former = self.links.swap(Arc::default());
        tracing::info!(
            node = %self.address,
            role = if greeting.replica { "replica" } else { "primary" },
            "the address leads to another server; its connections were replaced"
        );
        // What was read over a connection is given up before a newer one answers.
        for link in former.iter() {
            link.witness.end();
        }
        self.greeting.store(Arc::new(greeting));
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
    async fn refused_calls_lead_to_one_look_per_second_and_a_known_replica_to_fewer() {
        let mut looks = Looks::default();
        assert_eq!(looks.due(false, false), None);
        assert_eq!(looks.due(true, true), Some(clock::now()), "at once");
        looks.begin();
        looks.end(false);
        for _ in 0..20 {
            assert_eq!(looks.due(true, true), Some(clock::now() + SPACING));
            let calm = looks.due(false, true).unwrap() - clock::now();
            assert!(calm >= SPACING && calm <= LONGEST, "{calm:?}");
            looks.begin();
            looks.end(false);
        }
        assert_eq!(looks.due(false, true), Some(clock::now() + LONGEST));
        looks.end(true);
        assert_eq!(looks.due(false, false), None);
    }
}
