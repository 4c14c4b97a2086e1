//! Many keys in one call: one read for all, one load for those that are missing.
//!
//! Not in here: what is different about loading together (`source.rs`). Each missing key has a flight of
//! its own, so that all that is promised for one key holds for each of many.

use std::collections::{HashMap, HashSet, VecDeque};
use std::error::Error;
use std::sync::Arc;

use futures::future::join_all;

use super::budget::Budget;
use super::call::Look;
use super::core::{Core, Payload, check};
use super::error::ReadError;
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

        let mut budget = self.budget();
        let looks = self.look_many(&asked, &mut budget).await;
        let (mut needed, mut ripe) = (Vec::new(), Vec::new());
        for (key, look) in asked.iter().copied().zip(looks) {
            match look {
                Look::Answer(answer) => drop(results.insert(key, Ok(answer))),
                Look::Ripe(answer, known) => {
                    results.insert(key, Ok(answer));
                    ripe.push((key, known));
                }
                Look::Need(stale) => needed.push((key, stale)),
            }
        }
        // Two gatherings, so that nobody waits for a refresh.
        let tickets = gathering.again().tickets(ripe.len());
        for ((key, known), ticket) in ripe.into_iter().zip(tickets) {
            self.refresh(key, known, Source::Many(ticket));
        }
        let tickets = gathering.tickets(needed.len());
        let fetches = needed.into_iter().zip(tickets).map(|((key, stale), ticket)| {
            let budget = budget.clone();
            async move {
                let source = Source::Many(ticket);
                (key, self.fetch(key, source, stale, budget, patience).await)
            }
        });
        results.extend(join_all(fetches).await);
        keys.iter()
            .map(|key| results.get(key).cloned().unwrap_or(Err(ReadError::Aborted)))
            .collect()
    }

    /// A look at each of the keys, all at once.
    async fn look_many(self: &Arc<Self>, keys: &[&str], budget: &mut Budget) -> Vec<Look<V>> {
        if let Some(tier) = self.open_near() {
            // One by one, since only such reads can be kept: the client sends them together.
            let looks = keys.iter().map(|key| {
                let mut budget = budget.clone();
                async move {
                    let look = match tier.look(key) {
                        Some(known) => self.judge(key, known),
                        None => self.look(key, &mut budget).await,
                    };
                    (look, budget)
                }
            });
            let (looks, budgets): (Vec<_>, Vec<_>) = join_all(looks).await.into_iter().unzip();
            budgets.iter().for_each(|spent| budget.share(spent));
            return looks;
        }
        let read = self.noted(budget.spend(self.client.get_many(keys)).await);
        let values = read.unwrap_or_else(|_| vec![None; keys.len()]);
        let values = keys.iter().zip(values);
        values
            .map(|(key, raw)| raw.map_or(Look::Need(None), |raw| self.judge_raw(key, raw)))
            .collect()
    }
}

/// The answers of a batch's loader, in the form in which they are handed on.
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
