//! Many keys in one call: one read for all, one load for the missing ones.
//!
//! Not in here: the load of a batch (`source.rs`). Each missing key has its own flight, so every promise for one key
//! also holds for each of many.

use std::collections::{HashMap, HashSet, VecDeque};
use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use cache_core::{CacheError, clock};
use futures::future::join_all;

use super::budget::Budget;
use super::call::Look;
use super::core::{Core, Payload, check};
use super::error::ReadError;
use super::events::ReadThroughEvent;
use super::loaded::{Answer, Loaded};
use super::source::{Gathering, LoadMany, Loading, Source};

impl<V: Payload> Core<V> {
    pub(super) async fn get_or_load_many(
        self: &Arc<Self>,
        keys: &[&str],
        load: Arc<LoadMany<V>>,
    ) -> Vec<Result<Answer<V>, ReadError>> {
        let patience = self.patience();
        let gathering = Gathering::new(load, self.config.hard_timeout);
        let mut results: HashMap<&str, Result<Answer<V>, ReadError>> = HashMap::with_capacity(keys.len());
        let mut asked = Vec::with_capacity(keys.len());
        for key in keys {
            if !results.contains_key(key) {
                match check(key) {
                    Ok(()) => asked.push(*key),
                    Err(error) => drop(results.insert(key, Err(ReadError::Input(error)))),
                }
            }
        }
        let mut seen = HashSet::with_capacity(asked.len());
        asked.retain(|key| seen.insert(*key));

        let looks = self.look_many(&asked).await;
        let (mut needed, mut ripe) = (Vec::new(), Vec::new());
        for (key, (look, budget)) in asked.iter().copied().zip(looks) {
            match look {
                Look::Answer(answer) => drop(results.insert(key, Ok(answer))),
                Look::Ripe(answer, known) => {
                    results.insert(key, Ok(answer));
                    ripe.push((key, known));
                }
                Look::Need(stale) => needed.push((key, stale, budget)),
            }
        }
        // Two gatherings, so that no caller waits for a refresh.
        let tickets = gathering.again().tickets(ripe.len());
        for ((key, known), ticket) in ripe.into_iter().zip(tickets) {
            self.refresh(key, known, Source::Many(ticket));
        }
        let tickets = gathering.tickets(needed.len());
        let needed = needed.into_iter().zip(tickets);
        let fetches = needed.map(|((key, stale, budget), ticket)| async move {
            let source = Source::Many(ticket);
            (key, self.fetch(key, source, stale, budget, patience).await)
        });
        results.extend(join_all(fetches).await);
        keys.iter()
            .map(|key| results.get(key).cloned().unwrap_or(Err(ReadError::Aborted)))
            .collect()
    }

    /// Looks at all keys at once, and returns what each key has left of its budget. A key whose shard is down fails
    /// alone.
    async fn look_many(self: &Arc<Self>, keys: &[&str]) -> Vec<(Look<V>, Budget)> {
        let budget = self.budget();
        if let Some((tier, _)) = self.open_near() {
            // One by one, because only such reads can be kept. The client sends them together.
            let begun = clock::now();
            let looks = keys.iter().map(|key| {
                let mut lent = budget.lend();
                async move {
                    let look = match tier.look(key) {
                        Some(known) => self.judge(key, known),
                        None => self.look(key, &mut lent).await,
                    };
                    (look, lent)
                }
            });
            let looks = join_all(looks).await;
            let took = clock::now() - begun;
            let own = |(look, lent)| (look, budget.of_one(&lent, took));
            return looks.into_iter().map(own).collect();
        }
        let results = budget.spend_each(keys.len(), self.client.get_each(keys)).await;
        let failure = results.iter().find_map(|(result, _)| match result {
            Err(error) if !error.is_miss() => Some(error.clone()),
            _ => None,
        });
        if let Some(error) = failure {
            // Once, because it was one call.
            self.note(&ReadThroughEvent::CacheFailed { error });
        }
        let look = |(key, (result, own)): (&&str, (Result<Bytes, CacheError>, Budget))| {
            let look = result.map_or(Look::Need(None), |raw| self.judge_raw(key, raw));
            (look, own)
        };
        keys.iter().zip(results).map(look).collect()
    }
}

/// Converts the answers of a batch's loader into the form that is passed on.
pub(super) fn answers<T, V, Fut, E>(
    loading: Fut,
    form: fn(T) -> V,
) -> Loading<VecDeque<Result<Loaded<V>, ReadError>>>
where
    T: 'static,
    V: 'static,
    Fut: Future<Output = Result<Vec<Result<Loaded<T>, E>>, E>> + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    Box::pin(async move {
        let answers = loading.await.map_err(ReadError::load)?.into_iter();
        let answers = answers.map(|answer| answer.map(|loaded| loaded.map(form)).map_err(ReadError::load));
        Ok(answers.collect())
    })
}
