//! Picks the node that a call goes to, or the error if there is none.

use std::sync::Arc;

use cache_core::clock::{self, Instant};
use cache_core::config::ReadFrom;
use cache_core::slot::slot_of;
use cache_core::{CacheError, Outcome, Unavailability};
use rand::Rng;

use super::table::{Shard, Table};
use super::topology::AmbiguousAddress;
use super::{Cluster, DISCOVERY_WAIT};
use crate::command::Command;
use crate::deadline::Deadline;
use crate::node::{Link, Node};
use crate::refresher::Hint;

impl Cluster {
    /// The node for `command`: by its key, or any primary if it has none.
    pub(super) fn route(&self, command: &Command<'_>, retried: bool) -> Result<Arc<Node>, CacheError> {
        let table = self.table.load();
        let Some(key) = command.routing_key() else {
            return self.any_primary(&table);
        };
        let slot = slot_of(key);
        match table.shard(slot) {
            Some(shard) => self.choose(shard, command.reads(), retried),
            None => Err(self.no_node_for(Some(slot))),
        }
    }

    /// A connection for the first attempt of `command`, if one is ready.
    pub(crate) fn ready_connection(&self, command: &Command<'_>, now: Instant) -> Option<Arc<Link>> {
        let key = command.routing_key()?;
        if !self.refresher.is_running() {
            return None;
        }
        if command.reads() && self.read_from != ReadFrom::Primary {
            return self.route(command, false).ok()?.ready_link(now);
        }
        self.table.load().shard(slot_of(key))?.primary().ready_link(now)
    }

    /// The node for `command` after routing failed with `error`.
    pub(super) async fn route_again(
        &self,
        command: &Command<'_>,
        retried: bool,
        error: CacheError,
        deadline: Deadline,
    ) -> Result<Arc<Node>, CacheError> {
        self.retry_after_discovery(error, deadline, || self.route(command, retried))
            .await
    }

    /// Repeats `attempt`, which failed with `error`, if a pending discovery may help: the refresh task was
    /// suspended, or a shard is known from a redirection only, without its replicas.
    pub(super) async fn retry_after_discovery<T>(
        &self,
        error: CacheError,
        deadline: Deadline,
        attempt: impl Fn() -> Result<T, CacheError>,
    ) -> Result<T, CacheError> {
        let until = clock::now() + DISCOVERY_WAIT;
        let mut result = Err(error);
        if self.refresher.wait_if_outdated(deadline).await {
            result = attempt();
        }
        while result.is_err()
            && self.read_from == ReadFrom::Replica
            && self.table.load().has_undiscovered_shards()
            && clock::now() < until
            && self.pause(DISCOVERY_WAIT / 50, deadline).await
        {
            result = attempt();
        }
        result
    }

    /// The node of `shard` for a command.
    #[inline]
    pub(super) fn choose(
        &self,
        shard: &Shard<Arc<Node>>,
        reads: bool,
        retried: bool,
    ) -> Result<Arc<Node>, CacheError> {
        // A replica in cooldown is used only if there is no other.
        let replica = || {
            let fit = shard.replica(|node| node.can_answer_reads());
            fit.or_else(|| shard.replica(|node| self.read_from == ReadFrom::Replica && !node.is_down()))
        };
        let node = match self.read_from {
            ReadFrom::Replica if reads => replica().ok_or_else(|| self.no_replica(shard))?,
            ReadFrom::PreferReplica if reads && !retried => replica().unwrap_or(shard.primary()),
            _ => shard.primary(),
        };
        Ok(Arc::clone(node))
    }

    pub(super) fn any_primary(&self, table: &Table<Arc<Node>>) -> Result<Arc<Node>, CacheError> {
        let primaries: Vec<_> = table.serving().map(|shard| shard.primary()).collect();
        let start = rand::rng().random_range(0..primaries.len().max(1));
        let (before, after) = primaries.split_at(start);
        let mut turn = after.iter().chain(before);
        let node = turn.clone().find(|node| !node.is_down()).or_else(|| turn.next());
        node.map(|node| Arc::clone(node))
            .ok_or_else(|| self.no_node_for(None))
    }

    /// The error of a call that no node can serve. The discovered table has no owner for its slot, and
    /// discoveries continue while a slot has none.
    #[cold]
    pub(super) fn no_node_for(&self, slot: Option<u16>) -> CacheError {
        if self.is_closed() {
            return CacheError::Closed;
        }
        self.refresher.hint(Hint::Outage);
        if let Some(failure) = self.failure().as_ref()
            && self.table.load().shards().is_empty()
        {
            return failure.clone();
        }
        let table = self.table.load();
        let shares = |shared: &&AmbiguousAddress| {
            let mut slots = shared.slots.iter();
            slots.any(|range| slot.is_none_or(|slot| range.contains(&slot)))
        };
        let reason = table.shared().iter().find(shares);
        let reason = reason.map_or_else(String::new, |shared| format!(": {shared}"));
        not_ready(match slot {
            Some(slot) => format!("no node of the cluster serves slot {slot}{reason}"),
            None => format!("no node of the cluster serves any slot{reason}"),
        })
    }

    #[cold]
    fn no_replica(&self, shard: &Shard<Arc<Node>>) -> CacheError {
        self.refresher.hint(Hint::Outage);
        not_ready(format!(
            "no replica of {} can be reached, and CACHE_READ_FROM=replica rules out the primary",
            shard.primary().address()
        ))
    }
}

pub(super) fn not_ready(detail: String) -> CacheError {
    CacheError::Unavailable {
        reason: Unavailability::NotReady,
        detail: detail.into(),
        outcome: Outcome::NotApplied,
        source: None,
    }
}
