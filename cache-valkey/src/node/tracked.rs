//! Reads whose key the server is to watch, and what this node has to say of whether it does.
//!
//! Not in here: what one connection vouches for, and what is kept.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cache_core::slot::slot_of;
use cache_core::{CacheError, TrackingStatus};

use super::{Health, Node};
use crate::command::Command;
use crate::deadline::Deadline;
use crate::error::from_server;
use crate::reply::Reply;
use crate::tracking::{Agreement, Answers, Tracking, caching};

impl Node {
    /// Sends reads of one key as one pipeline on one connection, so that the server reports when the key
    /// changes; whether it will.
    pub(crate) async fn send_tracked(
        self: &Arc<Self>,
        reads: &[&Command<'_>],
        deadline: Deadline,
    ) -> Result<Answers, CacheError> {
        let link = self.link(deadline).await?;
        let asked = self.tracking.feed().tracking();
        let covers = |read: &&Command<'_>| read.routing_key().is_some_and(|key| asked.covers(key));
        let slot = reads
            .iter()
            .find_map(|read| read.routing_key())
            .map_or(0, slot_of);
        let vouch = if reads.iter().all(covers) {
            link.witness.begin(slot)
        } else {
            None
        };
        if vouch.is_none() {
            return Ok(Answers::untracked(self.exchange(&link, reads, deadline).await?));
        }
        let caching = (*asked == Tracking::OptIn).then(caching);
        let commands: Vec<_> = caching.iter().chain(reads.iter().copied()).collect();
        let mut replies = self.exchange(&link, &commands, deadline).await?;
        if caching.is_some()
            && let Reply::Error(refusal) = replies.remove(0)
        {
            // What was permitted when the connection was made is not any more.
            let error = from_server(&refusal, "CLIENT CACHING");
            if !error.is_transient() {
                link.witness.agreed(Agreement::Refused(error.to_string()), false);
                self.report_tracking();
            }
            return Ok(Answers::untracked(replies));
        }
        Ok(Answers {
            replies,
            vouch: vouch.filter(|_| link.witness.vouches() && !link.connection.is_closed()),
        })
    }

    /// Whether tracked reads are sent here, so that it counts whether they can be.
    pub(crate) fn set_counts(&self, counts: bool) {
        if self.counts.swap(counts, Ordering::AcqRel) != counts {
            self.report_tracking();
        }
    }

    /// Makes known whether changes of what is read here are reported.
    pub(super) fn report_tracking(&self) {
        let status = match &*self.health.borrow() {
            Health::Closed => return,
            Health::Idle => None,
            _ if !self.counts.load(Ordering::Acquire) => None,
            _ => {
                let links = self.links.load();
                let mut open = links
                    .iter()
                    .filter(|link| !link.connection.is_closed())
                    .peekable();
                match open.peek() {
                    // All are asked alike; a refusal of one is worth more than what the others say.
                    Some(_) => open
                        .filter_map(|link| link.witness.status())
                        .max_by_key(|status| matches!(status, TrackingStatus::Off(_))),
                    None => Some(TrackingStatus::Interrupted),
                }
            }
        };
        self.tracking.say(status);
    }
}
