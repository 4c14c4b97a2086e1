//! What becomes of the commands of a batch whose first try brought no result: they are sent again as batches.
//!
//! Commands of one key stay together and in their order, so that the last write stays the last: if one of them has to
//! be sent again, so have those after it. Each round decides for every such [`Unit`] what it does next, as for a
//! single call (`journey.rs`), and sends those that go to the same node as one pipeline.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cache_core::CacheError;
use cache_core::config::Address;
use futures::future::{BoxFuture, join_all};

use super::Cluster;
use super::journey::{Journey, Setback, Step};
use super::recover::{at_the_end_of, give_up};
use crate::command::{Command, Effect};
use crate::deadline::Deadline;
use crate::node::Node;
use crate::reply::Reply;

/// Commands of one key that have to be sent, by their places.
#[derive(Debug)]
pub(super) struct Unit {
    places: Vec<usize>,
    journey: Journey,
}

/// A unit whose first command has no result.
#[derive(Debug)]
pub(super) struct Stray {
    unit: Unit,
    setback: Setback,
    result: Result<Reply, CacheError>,
}

/// A result and the place of its command.
type Placed = (usize, Result<Reply, CacheError>);

impl Unit {
    /// All of its commands end with `result`.
    fn end(&self, result: &Result<Reply, CacheError>) -> Vec<Placed> {
        self.places.iter().map(|place| (*place, result.clone())).collect()
    }
}

/// Units that go to one node together.
struct Round {
    units: Vec<Unit>,
    pause: Duration,
}

impl Round {
    const fn new() -> Self {
        Self {
            units: Vec::new(),
            pause: Duration::ZERO,
        }
    }

    fn push(&mut self, unit: Unit, pause: Duration) {
        self.units.push(unit);
        self.pause = self.pause.max(pause);
    }
}

fn setback_of(reply: &Reply, node: &Node) -> Option<Setback> {
    match reply {
        Reply::Error(refusal) => Setback::of_refusal(refusal, node.address()),
        _ => None,
    }
}

impl Cluster {
    /// What came of `commands` at `node`: the results that stay, and what has to be sent again.
    pub(super) fn strays_of(
        &self,
        commands: &[&Command<'_>],
        results: Vec<Result<Reply, CacheError>>,
        node: &Node,
    ) -> (Vec<Result<Reply, CacheError>>, Vec<Stray>) {
        let mut replies = vec![Ok(Reply::Nil); commands.len()];
        let mut strays: Vec<Stray> = Vec::new();
        let mut by_key: HashMap<Option<&[u8]>, usize> = HashMap::new();
        for (place, (command, result)) in commands.iter().zip(results).enumerate() {
            if let Some(&stray) = by_key.get(&command.routing_key()) {
                // What must not be done twice stays as it was done; what was not done follows what comes before it.
                match result {
                    Ok(reply)
                        if command.effect() == Effect::WriteOnce && setback_of(&reply, node).is_none() =>
                    {
                        replies[place] = Ok(reply);
                    }
                    _ => strays[stray].unit.places.push(place),
                }
                continue;
            }
            let setback = match &result {
                Ok(reply) => setback_of(reply, node),
                Err(error) => Some(Setback::of_failure(error)),
            };
            match (setback, result) {
                (None, Ok(reply)) => replies[place] = Ok(reply),
                (setback, result) => {
                    by_key.insert(command.routing_key(), strays.len());
                    strays.push(Stray {
                        unit: Unit {
                            places: vec![place],
                            journey: self.journey(command.effect()),
                        },
                        setback: setback.unwrap_or(Setback::Final),
                        result,
                    });
                }
            }
        }
        // The greatest care that one of them needs is that of all.
        for stray in &mut strays {
            self.take_note(&stray.setback, node);
            let effects = stray.unit.places.iter().map(|place| commands[*place].effect());
            let effect = effects.max().unwrap_or(Effect::Read);
            stray.unit.journey = self.journey(effect);
        }
        (replies, strays)
    }

    /// Sees strays through; their results by their places.
    pub(super) fn see_through<'a>(
        &'a self,
        commands: &'a [&'a Command<'a>],
        strays: Vec<Stray>,
        deadline: Deadline,
    ) -> BoxFuture<'a, Vec<Placed>> {
        Box::pin(async move {
            let mut ended = Vec::new();
            let mut by_node: HashMap<(Address, bool), Round> = HashMap::new();
            let mut by_table = Round::new();
            for stray in strays {
                let Stray {
                    mut unit,
                    setback,
                    result,
                } = stray;
                match self.next_step(&mut unit.journey, &setback, deadline).await {
                    Step::Follow { to, asking, pause } => {
                        let round = by_node.entry((to, asking)).or_insert_with(Round::new);
                        round.push(unit, pause);
                    }
                    Step::Again { pause } => by_table.push(unit, pause),
                    Step::Stop => {
                        let command = commands[unit.places[0]];
                        let result = give_up(&unit.journey, &setback, result, command);
                        ended.extend(unit.end(&result));
                    }
                }
            }
            let followed = by_node.into_iter().map(|((to, asking), round)| async move {
                if let Err(ended) = self.rest(&round, commands, deadline).await {
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

    /// Waits as long as a round has to; the end of its commands if that would outlast the call.
    async fn rest(
        &self,
        round: &Round,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Result<(), Vec<Placed>> {
        if self.pause(round.pause, deadline).await {
            return Ok(());
        }
        let end = |unit: &Unit| {
            let late = Err(deadline.passed(cache_core::Stage::Call));
            unit.end(&give_up(
                &unit.journey,
                &Setback::Late,
                late,
                commands[unit.places[0]],
            ))
        };
        Err(round.units.iter().flat_map(end).collect())
    }

    /// Sends units to where the table says by then.
    async fn send_by_table(
        &self,
        commands: &[&Command<'_>],
        round: Round,
        deadline: Deadline,
    ) -> Vec<Placed> {
        if let Err(ended) = self.rest(&round, commands, deadline).await {
            return ended;
        }
        let mut ended = Vec::new();
        let mut groups: Vec<(Arc<Node>, Vec<Unit>)> = Vec::new();
        for unit in round.units {
            let command = commands[unit.places[0]];
            let routed = match self.route(command, unit.journey.was_retried()) {
                Err(error) => {
                    self.route_again(command, unit.journey.was_retried(), error, deadline)
                        .await
                }
                routed => routed,
            };
            match routed {
                Err(error) => ended.extend(unit.end(&Err(at_the_end_of(&unit.journey, error)))),
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

    /// Sends units to `node` as one pipeline, and sees through what has no result after that.
    async fn send_units(
        &self,
        commands: &[&Command<'_>],
        units: Vec<Unit>,
        node: Arc<Node>,
        asking: bool,
        deadline: Deadline,
    ) -> Vec<Placed> {
        let asks = Command::write("ASKING");
        let places = units.iter().flat_map(|unit| &unit.places);
        let each_once = places.map(|place| commands[*place]);
        let pipeline: Vec<&Command<'_>> = if asking {
            each_once.flat_map(|command| [&asks, command]).collect()
        } else {
            each_once.collect()
        };
        let mut results = node.send_each(&pipeline, deadline).await.into_iter();
        let mut ended = Vec::new();
        let mut strays = Vec::new();
        for mut unit in units {
            let mut left = Vec::new();
            let mut stray = None;
            for place in std::mem::take(&mut unit.places) {
                let result = if asking { results.nth(1) } else { results.next() };
                let result = result.unwrap_or_else(|| Err(Reply::Nil.unexpected("a reply to each command")));
                let setback = match &result {
                    Ok(reply) => setback_of(reply, &node),
                    Err(error) => Some(Setback::of_failure(error)),
                };
                match (stray.is_some(), setback, result) {
                    (false, None, Ok(reply)) => ended.push((place, Ok(reply))),
                    (false, setback, result) => {
                        stray = Some((setback.unwrap_or(Setback::Final), result));
                        left.push(place);
                    }
                    (true, ..) => left.push(place),
                }
            }
            if let Some((setback, result)) = stray {
                self.take_note(&setback, &node);
                unit.places = left;
                strays.push(Stray {
                    unit,
                    setback,
                    result,
                });
            }
        }
        if !strays.is_empty() {
            ended.extend(self.see_through(commands, strays, deadline).await);
        }
        ended
    }
}

#[cfg(test)]
mod tests;
