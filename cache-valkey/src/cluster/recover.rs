//! What becomes of a call whose first try brought no result.

use std::sync::Arc;
use std::time::Duration;

use cache_core::CacheError;
use cache_core::config::ReadFrom;

use super::Cluster;
use super::journey::{Journey, Setback, Step};
use super::route::not_ready;
use crate::command::{Command, Effect};
use crate::deadline::Deadline;
use crate::error::from_server;
use crate::node::Node;
use crate::reply::Reply;

impl Cluster {
    /// Sees a call through whose try at `node` ended with `result`, which may be its result after all.
    pub(super) async fn recover(
        &self,
        command: &Command<'_>,
        deadline: Deadline,
        mut node: Arc<Node>,
        mut result: Result<Reply, CacheError>,
    ) -> Result<Reply, CacheError> {
        let mut journey = self.journey(command.effect());
        loop {
            let setback = match &result {
                Ok(Reply::Error(error)) => match Setback::of_refusal(error, node.address()) {
                    Some(setback) => setback,
                    None => return result,
                },
                Ok(_) => return result,
                Err(CacheError::Closed) if self.is_closed() => return result,
                Err(error) => Setback::of_failure(error),
            };
            self.take_note(&setback, &node);
            result = match self.next_step(&mut journey, &setback, deadline).await {
                Step::Follow { to, asking, pause } if self.pause(pause, deadline).await => {
                    node = self.state().node(&to);
                    if asking {
                        ask(&node, command, deadline).await
                    } else {
                        node.send(command, deadline).await
                    }
                }
                Step::Again { pause } if self.pause(pause, deadline).await => {
                    let retried = journey.was_retried();
                    let routed = match self.route(command, retried) {
                        Err(error) => self.route_again(command, retried, error, deadline).await,
                        routed => routed,
                    };
                    node = routed.map_err(|error| at_the_end_of(&journey, error))?;
                    node.send(command, deadline).await
                }
                // The end, or no time left for what would be next.
                _ => return give_up(&journey, &setback, result, command),
            };
        }
    }

    /// A call with that effect before its first try.
    pub(super) fn journey(&self, effect: Effect) -> Journey {
        let has_choice = effect == Effect::Read && self.read_from != ReadFrom::Primary;
        Journey::new(effect, has_choice, self.max_retries)
    }

    /// What a call does after `setback`. If nobody looked at the cluster for as long as no runtime ran the task that does, a
    /// call to a node that is gone waits for the look that is due.
    pub(super) async fn next_step(
        &self,
        journey: &mut Journey,
        setback: &Setback,
        deadline: Deadline,
    ) -> Step {
        if *setback == Setback::Unreachable && self.upkeep.catch_up(deadline).await {
            return journey.reroute();
        }
        journey.next(setback)
    }

    /// Waits, unless that would outlast the call.
    pub(super) async fn pause(&self, pause: Duration, deadline: Deadline) -> bool {
        if pause.is_zero() {
            return !self.is_closed();
        }
        if deadline.remaining() <= pause {
            return false;
        }
        tokio::time::sleep(pause).await;
        !self.is_closed()
    }
}

/// Sends a command to a node that is about to serve its slot.
async fn ask(node: &Arc<Node>, command: &Command<'_>, deadline: Deadline) -> Result<Reply, CacheError> {
    let asking = Command::write("ASKING");
    let mut replies = node.send_batch(&[&asking, command], deadline).await?;
    replies.pop().ok_or_else(|| Reply::Nil.unexpected("two replies"))
}

/// What a call ends with that does not go on: never a redirection, which no caller could use, and never
/// "not done" where an earlier try may have done it.
pub(super) fn give_up(
    journey: &Journey,
    setback: &Setback,
    result: Result<Reply, CacheError>,
    command: &Command<'_>,
) -> Result<Reply, CacheError> {
    let error = match (setback, result) {
        (Setback::MovedHere, _) => not_ready(
            "the node names its own address as the one that serves the slot: the address leads to another server than \
             the cluster means"
                .to_owned(),
        ),
        (Setback::Moved { .. } | Setback::Ask { .. }, _) => not_ready(
            "the nodes of the cluster send the call back and forth; they do not agree who serves its slot"
                .to_owned(),
        ),
        (_, Ok(Reply::Error(error))) => from_server(&error, command.name()),
        (_, Ok(reply)) => return Ok(reply),
        (_, Err(error)) => error,
    };
    Err(at_the_end_of(journey, error))
}

/// The error that ends a call: "not done" only where no earlier try may have done it.
pub(super) fn at_the_end_of(journey: &Journey, error: CacheError) -> CacheError {
    if journey.may_be_done() {
        error.with_unknown_outcome()
    } else {
        error
    }
}
