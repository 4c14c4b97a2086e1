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
use futures::future::{BoxFuture, try_join_all};

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

/// The result of each of `count` commands.
fn each(sent: Result<Vec<Reply>, CacheError>, count: usize) -> Vec<Result<Reply, CacheError>> {
    match sent {
        Ok(replies) => replies.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error); count],
    }
}

impl Cluster {
    /// What came of `commands` at `node`: the replies, and what has to be sent again.
    pub(super) fn strays_of(
        &self,
        commands: &[&Command<'_>],
        sent: Result<Vec<Reply>, CacheError>,
        node: &Node,
    ) -> (Vec<Reply>, Vec<Stray>) {
        let results = each(sent, commands.len());
        let mut replies = vec![Reply::Nil; commands.len()];
        let mut strays: Vec<Stray> = Vec::new();
        let mut by_key: HashMap<Option<&[u8]>, usize> = HashMap::new();
        for (place, (command, result)) in commands.iter().zip(results).enumerate() {
            if let Some(&stray) = by_key.get(&command.routing_key()) {
                // What must not be done twice stays as it was done; what was not done follows what comes before it.
                match result {
                    Ok(reply)
                        if command.effect() == Effect::WriteOnce && setback_of(&reply, node).is_none() =>
                    {
                        replies[place] = reply;
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
                (None, Ok(reply)) => replies[place] = reply,
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
            let effects = stray.unit.places.iter().map(|place| commands[*place].effect());
            let effect = effects.max().unwrap_or(Effect::Read);
            stray.unit.journey = self.journey(effect);
        }
        (replies, strays)
    }

    /// Sees strays through; the replies by their places. Fails with the first that gets none.
    pub(super) fn see_through<'a>(
        &'a self,
        commands: &'a [&'a Command<'a>],
        strays: Vec<Stray>,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<Vec<(usize, Reply)>, CacheError>> {
        Box::pin(async move {
            let mut by_node: HashMap<(Address, bool), Round> = HashMap::new();
            let mut by_table = Round::new();
            for stray in strays {
                let Stray {
                    mut unit,
                    setback,
                    result,
                } = stray;
                self.take_note(&setback);
                match self.next_step(&mut unit.journey, &setback, deadline).await {
                    Step::Follow { to, asking, pause } => {
                        let round = by_node.entry((to, asking)).or_insert_with(Round::new);
                        round.push(unit, pause);
                    }
                    Step::Again { pause } => by_table.push(unit, pause),
                    Step::Stop => {
                        let command = commands[unit.places[0]];
                        return give_up(&unit.journey, &setback, result, command).map(|_| Vec::new());
                    }
                }
            }
            let followed = by_node.into_iter().map(|((to, asking), round)| async move {
                self.rest(&round, commands, deadline).await?;
                let node = self.state().node(&to);
                self.send_units(commands, round.units, node, asking, deadline)
                    .await
            });
            let repeated = self.send_by_table(commands, by_table, deadline);
            let (followed, repeated) = futures::future::try_join(try_join_all(followed), repeated).await?;
            Ok(followed.into_iter().flatten().chain(repeated).collect())
        })
    }

    /// Waits as long as a round has to; an error if that would outlast the call.
    async fn rest(
        &self,
        round: &Round,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Result<(), CacheError> {
        if self.pause(round.pause, deadline).await {
            return Ok(());
        }
        let late = Err(deadline.passed(cache_core::Stage::Call));
        match round.units.first() {
            Some(unit) => give_up(&unit.journey, &Setback::Late, late, commands[unit.places[0]]).map(drop),
            None => Ok(()),
        }
    }

    /// Sends units to where the table says by then.
    async fn send_by_table(
        &self,
        commands: &[&Command<'_>],
        round: Round,
        deadline: Deadline,
    ) -> Result<Vec<(usize, Reply)>, CacheError> {
        self.rest(&round, commands, deadline).await?;
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
            let node = routed.map_err(|error| at_the_end_of(&unit.journey, error))?;
            match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &node)) {
                Some((_, units)) => units.push(unit),
                None => groups.push((node, vec![unit])),
            }
        }
        let sent = groups
            .into_iter()
            .map(|(node, units)| self.send_units(commands, units, node, false, deadline));
        Ok(try_join_all(sent).await?.into_iter().flatten().collect())
    }

    /// Sends units to `node` as one pipeline, and sees through what has no result after that.
    async fn send_units(
        &self,
        commands: &[&Command<'_>],
        units: Vec<Unit>,
        node: Arc<Node>,
        asking: bool,
        deadline: Deadline,
    ) -> Result<Vec<(usize, Reply)>, CacheError> {
        let asks = Command::write("ASKING");
        let places = units.iter().flat_map(|unit| &unit.places);
        let each_once = places.map(|place| commands[*place]);
        let pipeline: Vec<&Command<'_>> = if asking {
            each_once.flat_map(|command| [&asks, command]).collect()
        } else {
            each_once.collect()
        };
        let sent = node.send_batch(&pipeline, deadline).await;
        let mut results = each(sent, pipeline.len()).into_iter();
        let mut replies = Vec::new();
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
                    (false, None, Ok(reply)) => replies.push((place, reply)),
                    (false, setback, result) => {
                        stray = Some((setback.unwrap_or(Setback::Final), result));
                        left.push(place);
                    }
                    (true, ..) => left.push(place),
                }
            }
            if let Some((setback, result)) = stray {
                unit.places = left;
                strays.push(Stray {
                    unit,
                    setback,
                    result,
                });
            }
        }
        if !strays.is_empty() {
            replies.extend(self.see_through(commands, strays, deadline).await?);
        }
        Ok(replies)
    }
}

#[cfg(test)]
mod tests;
