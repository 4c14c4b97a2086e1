//! Sends tracked reads, and reports this node's tracking status.
//!
//! Not in here: the tracking state of one connection, see `tracking/connection.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cache_core::slot::slot_of;
use cache_core::{CacheError, TrackingStatus};

use super::{Health, Link, Node};
use crate::command::Command;
use crate::deadline::Deadline;
use crate::error::from_server;
use crate::reply::{Reply, ServerError};
use crate::tracking::{Answers, TrackedRead, Tracking, TrackingResponse, caching};

impl Node {
    /// Sends reads of one key as one pipeline on one connection, so that the server reports changes of the
    /// key. The answers say whether it will.
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
            link.connection_tracking.begin(slot)
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
            self.note_refused_tracking(&link, &refusal);
            return Ok(Answers::untracked(replies));
        }
        Ok(Answers {
            replies,
            vouch: vouch.filter(|_| link.connection_tracking.is_valid() && !link.connection.is_closed()),
        })
    }

    /// Sends tracked reads of many keys as one pipeline on one connection. A key whose read was refused or
    /// lost has no result; the caller reads it again without tracking.
    pub(crate) async fn read_each_tracked(
        self: &Arc<Self>,
        keys: &[&str],
        deadline: Deadline,
    ) -> Vec<Option<TrackedRead>> {
        let Ok(link) = self.link(deadline).await else {
            return keys.iter().map(|_| None).collect();
        };
        let asked = self.tracking.feed().tracking();
        let prepare = (*asked == Tracking::OptIn).then(caching);
        let reads: Vec<_> = keys
            .iter()
            .map(|key| {
                let key = key.as_bytes();
                let covered = asked.covers(key);
                let vouch = covered
                    .then(|| link.connection_tracking.begin(slot_of(key)))
                    .flatten();
                (
                    Command::read("GET").key(key),
                    Command::read("PTTL").key(key),
                    vouch,
                )
            })
            .collect();
        let mut commands = Vec::with_capacity(3 * keys.len());
        for (value, ttl, vouch) in &reads {
            commands.extend(prepare.iter().filter(|_| vouch.is_some()));
            commands.extend([value, ttl]);
        }
        let mut results = self.exchange_each(&link, &commands, deadline).await.into_iter();
        let mut found = Vec::with_capacity(keys.len());
        for (_, _, vouch) in &reads {
            let mut vouch = *vouch;
            if prepare.is_some() && vouch.is_some() {
                match results.next() {
                    Some(Ok(Reply::Error(refusal))) => {
                        self.note_refused_tracking(&link, &refusal);
                        vouch = None;
                    }
                    Some(Ok(_)) => {}
                    _ => vouch = None,
                }
            }
            found.push(match (results.next(), results.next()) {
                (Some(Ok(Reply::Error(_))), _) | (_, Some(Ok(Reply::Error(_)))) => None,
                (Some(Ok(value)), Some(Ok(remaining))) => Some(TrackedRead {
                    value,
                    remaining,
                    vouch,
                }),
                _ => None,
            });
        }
        if !link.connection_tracking.is_valid() || link.connection.is_closed() {
            found.iter_mut().flatten().for_each(|read| read.vouch = None);
        }
        found
    }

    /// Records that the server refused to track a key: the permission was withdrawn after the connection was
    /// opened.
    fn note_refused_tracking(&self, link: &Link, refusal: &ServerError) {
        let error = from_server(refusal, "CLIENT CACHING");
        if !error.is_transient() {
            link.connection_tracking
                .set_response(TrackingResponse::Refused(error.to_string()), false);
            self.report_tracking();
        }
    }

    /// Sets whether this node counts for the tracking status: only nodes that get tracked reads do.
    pub(crate) fn set_counts_for_tracking(&self, counts: bool) {
        if self.counts_for_tracking.swap(counts, Ordering::AcqRel) != counts {
            self.report_tracking();
        }
    }

    /// Publishes this node's tracking status.
    pub(super) fn report_tracking(&self) {
        let status = match &*self.health.borrow() {
            Health::Closed => return,
            Health::Idle => None,
            _ if !self.counts_for_tracking.load(Ordering::Acquire) => None,
            _ => {
                let links = self.links.load();
                let mut open = links
                    .iter()
                    .filter(|link| !link.connection.is_closed())
                    .peekable();
                match open.peek() {
                    // All connections send the same request, so one refusal outweighs the others.
                    Some(_) => open
                        .filter_map(|link| link.connection_tracking.status())
                        .max_by_key(|status| matches!(status, TrackingStatus::Off(_))),
                    None => Some(TrackingStatus::Interrupted),
                }
            }
        };
        self.tracking.set(status);
    }
}
