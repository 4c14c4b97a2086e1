//! Retries a call whose first attempt failed.

use std::sync::Arc;
use std::time::Duration;

use cache_core::CacheError;
use cache_core::config::ReadFrom;

use super::Cluster;
use super::retry::{Failure, RetryState, Step};
use super::route::not_ready;
use crate::command::{Command, Effect};
use crate::deadline::Deadline;
use crate::error::from_server;
use crate::node::Node;
use crate::reply::Reply;

impl Cluster {
    /// Retries a call whose attempt at `node` ended with `result`, unless that is its result already.
    pub(super) async fn recover(
        &self,
        command: &Command<'_>,
        deadline: Deadline,
        mut node: Arc<Node>,
        mut result: Result<Reply, CacheError>,
    ) -> Result<Reply, CacheError> {
        let mut retry = self.new_retry_state(command.effect());
        loop {
            let failure = match &result {
                Ok(Reply::Error(error)) => match Failure::of_refusal(error, node.address()) {
                    Some(failure) => failure,
                    None => return result,
                },
                Ok(_) => return result,
                Err(CacheError::Closed) if self.is_closed() => return result,
                Err(error) => Failure::of_failure(error),
            };
            self.note_failure(&failure, &node);
            result = match self.next_step(&mut retry, &failure, deadline).await {
                Step::Follow { to, asking, pause } if self.pause(pause, deadline).await => {
                    node = self.state().node(&to);
                    if asking {
                        ask(&node, command, deadline).await
                    } else {
                        node.send(command, deadline).await
                    }
                }
                Step::Again { pause } if self.pause(pause, deadline).await => {
                    let retried = retry.was_retried();
                    let routed = match self.route(command, retried) {
                        Err(error) => self.route_again(command, retried, error, deadline).await,
                        routed => routed,
                    };
                    node = routed.map_err(|error| final_error(&retry, error))?;
                    node.send(command, deadline).await
                }
                // The call stops, or has no time left for the next step.
                _ => return final_result(&retry, &failure, result, command),
            };
        }
    }

    /// The retry state of a call with this effect before its first attempt.
    pub(super) fn new_retry_state(&self, effect: Effect) -> RetryState {
        let has_choice = effect == Effect::Read && self.read_from != ReadFrom::Primary;
        RetryState::new(effect, has_choice, self.max_retries)
    }

    /// Decides what a call does after `failure`. If the refresh task was suspended, a call to a missing node
    /// first waits for the pending discovery.
    pub(super) async fn next_step(
        &self,
        retry: &mut RetryState,
        failure: &Failure,
        deadline: Deadline,
    ) -> Step {
        if *failure == Failure::Unreachable && self.refresher.wait_if_outdated(deadline).await {
            return retry.reroute();
        }
        retry.next(failure)
    }

    /// Waits for `pause`. Returns `false` if that would exceed the deadline.
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

/// Sends a command with `ASKING` to the node that is importing its slot.
async fn ask(node: &Arc<Node>, command: &Command<'_>, deadline: Deadline) -> Result<Reply, CacheError> {
    let asking = Command::write("ASKING");
    let mut replies = node.send_batch(&[&asking, command], deadline).await?;
    replies.pop().ok_or_else(|| Reply::Nil.unexpected("two replies"))
}

/// The final result of a call. It is never a redirection, which callers cannot use, and never "not applied"
/// if an earlier attempt may have been applied.
pub(super) fn final_result(
    retry: &RetryState,
    failure: &Failure,
    result: Result<Reply, CacheError>,
    command: &Command<'_>,
) -> Result<Reply, CacheError> {
    let error = match (failure, result) {
        (Failure::MovedHere, _) => not_ready(
            "the node names its own address as the one that serves the slot: the address leads to another server than \
             the cluster means"
                .to_owned(),
        ),
        (Failure::Moved { .. } | Failure::Ask { .. }, _) => not_ready(
            "the nodes of the cluster send the call back and forth; they disagree about the owner of its slot"
                .to_owned(),
        ),
        (_, Ok(Reply::Error(error))) => from_server(&error, command.name()),
        (_, Ok(reply)) => return Ok(reply),
        (_, Err(error)) => error,
    };
    Err(final_error(retry, error))
}

/// The final error of a call: "not applied" only if no earlier attempt may have been applied.
pub(super) fn final_error(retry: &RetryState, error: CacheError) -> CacheError {
    if retry.may_be_done() {
        error.with_unknown_outcome()
    } else {
        error
    }
}
