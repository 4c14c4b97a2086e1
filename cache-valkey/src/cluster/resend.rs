//! Sends the failed commands of a batch again, as batches.
//!
//! Commands of one key stay together and in order, so that the last write stays the last: if one of them is
//! sent again, so are those after it. Each round decides for every [`KeyCommands`] what to do next, as for a
//! single call (`retry.rs`), and sends those for the same node as one pipeline.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cache_core::CacheError;
use cache_core::config::Address;
use futures::future::{BoxFuture, join_all};

use super::Cluster;
use super::recover::{final_error, final_result};
use super::retry::{Failure, RetryState, Step};
use crate::command::{Command, Effect};
use crate::deadline::Deadline;
use crate::node::Node;
use crate::reply::Reply;

/// Commands of one key that must be sent again, by their positions.
#[derive(Debug)]
pub(super) struct KeyCommands {
    positions: Vec<usize>,
    retry: RetryState,
}

/// Commands of one key of which the first has no result.
#[derive(Debug)]
pub(super) struct FailedCommands {
    unit: KeyCommands,
    failure: Failure,
    result: Result<Reply, CacheError>,
}

/// A result with the position of its command.
type Positioned = (usize, Result<Reply, CacheError>);

impl KeyCommands {
    /// Ends all of its commands with `result`.
    fn end(&self, result: &Result<Reply, CacheError>) -> Vec<Positioned> {
        self.positions
            .iter()
            .map(|position| (*position, result.clone()))
            .collect()
    }
}

/// Commands that go to one node together.
struct Round {
    units: Vec<KeyCommands>,
    pause: Duration,
}

impl Round {
    const fn new() -> Self {
        Self {
            units: Vec::new(),
            pause: Duration::ZERO,
        }
    }

    fn push(&mut self, unit: KeyCommands, pause: Duration) {
        self.units.push(unit);
        self.pause = self.pause.max(pause);
    }
}

fn failure_of(reply: &Reply, node: &Node) -> Option<Failure> {
    match reply {
        Reply::Error(refusal) => Failure::of_refusal(refusal, node.address()),
        _ => None,
    }
}

impl Cluster {
    /// Splits the results of `commands` at `node` into final results and commands to send again.
    pub(super) fn split_failed(
        &self,
        commands: &[&Command<'_>],
        results: Vec<Result<Reply, CacheError>>,
        node: &Node,
    ) -> (Vec<Result<Reply, CacheError>>, Vec<FailedCommands>) {
        let mut replies = vec![Ok(Reply::Nil); commands.len()];
        let mut failed: Vec<FailedCommands> = Vec::new();
        let mut by_key: HashMap<Option<&[u8]>, usize> = HashMap::new();
        for (position, (command, result)) in commands.iter().zip(results).enumerate() {
            if let Some(&failed_unit) = by_key.get(&command.routing_key()) {
                // A command that must not run twice keeps its result. Others follow the failed command before
                // them.
                match result {
                    Ok(reply)
                        if command.effect() == Effect::WriteOnce && failure_of(&reply, node).is_none() =>
                    {
                        replies[position] = Ok(reply);
                    }
                    _ => failed[failed_unit].unit.positions.push(position),
                }
                continue;
            }
            let failure = match &result {
                Ok(reply) => failure_of(reply, node),
                Err(error) => Some(Failure::of_failure(error)),
            };
            match (failure, result) {
                (None, Ok(reply)) => replies[position] = Ok(reply),
                (failure, result) => {
                    by_key.insert(command.routing_key(), failed.len());
                    failed.push(FailedCommands {
                        unit: KeyCommands {
                            positions: vec![position],
                            retry: self.new_retry_state(command.effect()),
                        },
                        failure: failure.unwrap_or(Failure::Final),
                        result,
                    });
                }
            }
        }
        // The strictest effect among the commands applies to all of them.
        for failed_unit in &mut failed {
            self.note_failure(&failed_unit.failure, node);
            let effects = failed_unit
                .unit
                .positions
                .iter()
                .map(|position| commands[*position].effect());
            let effect = effects.max().unwrap_or(Effect::Read);
            failed_unit.unit.retry = self.new_retry_state(effect);
        }
        (replies, failed)
    }

    /// Retries failed commands. Returns their results with their positions.
    pub(super) fn retry_failed<'a>(
        &'a self,
        commands: &'a [&'a Command<'a>],
        failed: Vec<FailedCommands>,
        deadline: Deadline,
    ) -> BoxFuture<'a, Vec<Positioned>> {
        Box::pin(async move {
            let mut ended = Vec::new();
            let mut by_node: HashMap<(Address, bool), Round> = HashMap::new();
            let mut by_table = Round::new();
            for failed_unit in failed {
                let FailedCommands {
                    mut unit,
                    failure,
                    result,
                } = failed_unit;
                match self.next_step(&mut unit.retry, &failure, deadline).await {
                    Step::Follow { to, asking, pause } => {
                        let round = by_node.entry((to, asking)).or_insert_with(Round::new);
                        round.push(unit, pause);
                    }
                    Step::Again { pause } => by_table.push(unit, pause),
                    Step::Stop => {
                        let command = commands[unit.positions[0]];
                        let result = final_result(&unit.retry, &failure, result, command);
                        ended.extend(unit.end(&result));
                    }
                }
            }
            let followed = by_node.into_iter().map(|((to, asking), round)| async move {
                if let Err(ended) = self.wait_for_round(&round, commands, deadline).await {
                    return ended;
                }
                let node = self.state().node(&to);
                self.send_units(commands, round.units, node, asking, deadline)
                    .await
            });
            let repeated = self.send_by_table(commands, by_table, deadline);
            let (followed, repeated) = futures::future::join(join_all(followed), repeated).await;
            ended.extend(followed.into_iter().flatten().chain(repeated));
            ended
        })
    }

    /// Waits for the pause of a round. If that would exceed the deadline, returns the final results of its
    /// commands.
    async fn wait_for_round(
        &self,
        round: &Round,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Result<(), Vec<Positioned>> {
        if self.pause(round.pause, deadline).await {
            return Ok(());
        }
        let end = |unit: &KeyCommands| {
            let late = Err(deadline.passed(cache_core::Stage::Call));
            unit.end(&final_result(
                &unit.retry,
                &Failure::TimedOut,
                late,
                commands[unit.positions[0]],
            ))
        };
        Err(round.units.iter().flat_map(end).collect())
    }

    /// Sends commands where the table says after the pause.
    async fn send_by_table(
        &self,
        commands: &[&Command<'_>],
        round: Round,
        deadline: Deadline,
    ) -> Vec<Positioned> {
        if let Err(ended) = self.wait_for_round(&round, commands, deadline).await {
            return ended;
        }
        let mut ended = Vec::new();
        let mut groups: Vec<(Arc<Node>, Vec<KeyCommands>)> = Vec::new();
        for unit in round.units {
            let command = commands[unit.positions[0]];
            let routed = match self.route(command, unit.retry.was_retried()) {
                Err(error) => {
                    self.route_again(command, unit.retry.was_retried(), error, deadline)
                        .await
                }
                routed => routed,
            };
            match routed {
                Err(error) => ended.extend(unit.end(&Err(final_error(&unit.retry, error)))),
                Ok(node) => match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &node)) {
                    Some((_, units)) => units.push(unit),
                    None => groups.push((node, vec![unit])),
                },
            }
        }
        let sent = groups
            .into_iter()
            .map(|(node, units)| self.send_units(commands, units, node, false, deadline));
        ended.extend(join_all(sent).await.into_iter().flatten());
        ended
    }

    /// Sends commands to `node` as one pipeline, and retries those without a result.
    async fn send_units(
        &self,
        commands: &[&Command<'_>],
        units: Vec<KeyCommands>,
        node: Arc<Node>,
        asking: bool,
        deadline: Deadline,
    ) -> Vec<Positioned> {
        let asks = Command::write("ASKING");
        let positions = units.iter().flat_map(|unit| &unit.positions);
        let each_once = positions.map(|position| commands[*position]);
        let pipeline: Vec<&Command<'_>> = if asking {
            each_once.flat_map(|command| [&asks, command]).collect()
        } else {
            each_once.collect()
        };
        let mut results = node.send_each(&pipeline, deadline).await.into_iter();
        let mut ended = Vec::new();
        let mut failed = Vec::new();
        for mut unit in units {
            let mut left = Vec::new();
            let mut failed_unit = None;
            for position in std::mem::take(&mut unit.positions) {
                let result = if asking { results.nth(1) } else { results.next() };
                let result = result.unwrap_or_else(|| Err(Reply::Nil.unexpected("a reply to each command")));
                let failure = match &result {
                    Ok(reply) => failure_of(reply, &node),
                    Err(error) => Some(Failure::of_failure(error)),
                };
                match (failed_unit.is_some(), failure, result) {
                    (false, None, Ok(reply)) => ended.push((position, Ok(reply))),
                    (false, failure, result) => {
                        failed_unit = Some((failure.unwrap_or(Failure::Final), result));
                        left.push(position);
                    }
                    (true, ..) => left.push(position),
                }
            }
            if let Some((failure, result)) = failed_unit {
                self.note_failure(&failure, &node);
                unit.positions = left;
                failed.push(FailedCommands {
                    unit,
                    failure,
                    result,
                });
            }
        }
        if !failed.is_empty() {
            ended.extend(self.retry_failed(commands, failed, deadline).await);
        }
        ended
    }
}

#[cfg(test)]
mod tests;
