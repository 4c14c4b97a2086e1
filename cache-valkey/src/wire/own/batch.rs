//! Sends batches, large ones in parts.

use cache_core::CacheError;
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;

use super::calls::{self, Request};
use super::encode::{big, encode, size};
use super::{Connection, values};
use crate::command::Command;
use crate::deadline::Deadline;
use crate::reply::Reply;

/// How many bytes of a batch are encoded at once. A longer batch is sent in parts, so that it needs little
/// memory and other calls get their turn.
const PART: usize = 256 * 1024;

/// How many parts of a batch are in flight at once.
const PARTS: usize = 8;

impl Connection {
    /// Sends commands back to back and waits for all replies, until `deadline`. Cancel safe.
    ///
    /// A large batch is sent in parts; commands of other calls may come between them.
    pub(crate) async fn send_batch(
        &self,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, CacheError> {
        if commands.iter().map(|command| size(command)).sum::<usize>() <= PART {
            return self.send_part(commands, deadline).await;
        }
        Box::pin(self.send_in_parts(commands, deadline)).await
    }

    async fn send_in_parts(
        &self,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, CacheError> {
        let mut parts = parts(commands);
        let mut under_way = FuturesOrdered::new();
        let mut replies = Vec::with_capacity(commands.len());
        loop {
            while under_way.len() < PARTS
                && let Some(part) = parts.next()
            {
                under_way.push_back(self.send_part(part, deadline));
            }
            match under_way.next().await {
                // Other parts may have been sent even if this one was not.
                Some(part) => replies.extend(part.map_err(CacheError::with_unknown_outcome)?),
                None => return Ok(replies),
            }
        }
    }

    async fn send_part(
        &self,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, CacheError> {
        match self.send_part_each(commands, deadline).await {
            (replies, None) => Ok(replies),
            (_, Some(error)) => Err(error),
        }
    }

    /// As [`send_batch`](Self::send_batch), with a result for each command: replies that arrived before the
    /// deadline or the end of the connection are kept.
    pub(crate) async fn send_each(
        &self,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Vec<Result<Reply, CacheError>> {
        if commands.iter().map(|command| size(command)).sum::<usize>() <= PART {
            let (replies, error) = self.send_part_each(commands, deadline).await;
            return results(replies, error, commands.len()).collect();
        }
        Box::pin(self.send_each_in_parts(commands, deadline)).await
    }

    async fn send_each_in_parts(
        &self,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Vec<Result<Reply, CacheError>> {
        let mut parts = parts(commands);
        let mut under_way = FuturesOrdered::new();
        let mut all = Vec::with_capacity(commands.len());
        loop {
            while under_way.len() < PARTS
                && let Some(part) = parts.next()
            {
                under_way.push_back(async move { (part.len(), self.send_part_each(part, deadline).await) });
            }
            let Some((sent, (replies, error))) = under_way.next().await else {
                return all;
            };
            all.extend(results(replies, error, sent));
        }
    }

    /// Sends a part of a batch. Returns the replies that arrived, and the error for the others.
    async fn send_part_each(
        &self,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> (Vec<Reply>, Option<CacheError>) {
        if commands.is_empty() {
            return (Vec::new(), None);
        }
        let call = self.call(
            Request {
                replies: u32::try_from(commands.len()).unwrap_or(u32::MAX),
                size: commands.iter().map(|command| size(command)).sum(),
                big: commands.iter().map(|command| big(command)).sum(),
                subscribes: false,
                deadline,
            },
            |out, waits| {
                for command in commands {
                    encode(out, command, values(waits));
                }
            },
        );
        let outcome = if self.is_on_own_runtime() {
            call.await
        } else {
            Box::pin(self.watch(call, deadline)).await
        };
        let error = match &outcome {
            calls::Outcome::One(_) | calls::Outcome::Many(_) => None,
            other => Some(self.failure(other, deadline)),
        };
        match outcome {
            calls::Outcome::One(reply) => (vec![reply], error),
            calls::Outcome::Many(replies)
            | calls::Outcome::TimedOut { replies }
            | calls::Outcome::Ended { replies, .. } => (replies, error),
        }
    }
}

/// Splits a batch into parts of about [`PART`] bytes. A command that prepares the next one stays with it.
fn parts<'a, 'b, 'c>(commands: &'a [&'b Command<'c>]) -> impl Iterator<Item = &'a [&'b Command<'c>]> {
    let mut rest = commands;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let mut end = 0;
        while end < rest.len() && (bytes < PART || rest[end - 1].prepares_next()) {
            bytes += size(rest[end]);
            end += 1;
        }
        let (part, others) = rest.split_at(end);
        rest = others;
        (!part.is_empty()).then_some(part)
    })
}

/// One result for each of `sent` commands: the replies that arrived, and the error for the others.
fn results(
    replies: Vec<Reply>,
    error: Option<CacheError>,
    sent: usize,
) -> impl Iterator<Item = Result<Reply, CacheError>> {
    let missing = sent - replies.len();
    let failed = error
        .into_iter()
        .flat_map(move |error| std::iter::repeat_n(error, missing));
    replies.into_iter().map(Ok).chain(failed.map(Err))
}
