//! Many keys in one call: one read for all, one load for those that are missing.
//!
//! Not in here: what is different about loading together (`source.rs`). Each missing key has a flight of
//! its own, so that all that is promised for one key holds for each of many.

use std::collections::{HashMap, HashSet, VecDeque};
use std::error::Error;

use cache_core::Ttl;
use futures::future::join_all;

use super::call::Look;
use super::error::ReadError;
use super::found::Found;
use super::loaded::{Answer, Loaded};
use super::source::{Gathering, LoadMany, Loading, Source};
use super::{ReadThrough, check};

impl ReadThrough {
    /// The values of many keys, each from the cache or from `load`, in the order of `keys`.
    ///
    /// # Behaviour
    ///
    /// `load` is given the keys that are missing, each once, in their order, and answers one result per
    /// key in that order; an error for all of them otherwise. It is called once for what is missing, and
    /// again only for what another process was to load and did not, and for refreshes in the background.
    /// Keys that another caller or process loads are waited for, not loaded.
    ///
    /// # Errors
    ///
    /// Each key has its own result: a key whose load failed does not hide the others.
    ///
    /// # Cancel safety
    ///
    /// As [`get_or_load`](ReadThrough::get_or_load).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io;
    /// use std::sync::Arc;
    /// use cache_core::MemoryCache;
    /// use cache_layers::{Loaded, ReadThrough, ReadThroughConfig};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let plans = ReadThrough::new(Arc::new(MemoryCache::default()), ReadThroughConfig::default());
    /// plans.put("plan:1", Loaded::new("free")).await?;
    ///
    /// let answers = plans
    ///     .get_or_load_many(&["plan:1", "plan:2", "plan:3"], |missing| async move {
    ///         assert_eq!(missing, ["plan:2", "plan:3"]);
    ///         Ok::<_, io::Error>(vec![Ok(Loaded::new("team")), Err(io::Error::other("no such plan"))])
    ///     })
    ///     .await;
    /// assert_eq!(answers[0].as_ref().unwrap().value.as_deref(), Some(&b"free"[..]));
    /// assert_eq!(answers[1].as_ref().unwrap().value.as_deref(), Some(&b"team"[..]));
    /// assert!(answers[2].is_err());
    /// # Ok::<(), cache_core::CacheError>(())
    /// # }).unwrap();
    /// ```
    pub async fn get_or_load_many<F, Fut, E>(&self, keys: &[&str], load: F) -> Vec<Result<Answer, ReadError>>
    where
        F: Fn(Vec<String>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Result<Loaded, E>>, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        self.many(keys, Box::new(move |missing| answers(load(missing))))
            .await
    }

    async fn many(&self, keys: &[&str], load: Box<LoadMany>) -> Vec<Result<Answer, ReadError>> {
        let patience = self.patience();
        let gathering = Gathering::new(load, self.core.config.hard_timeout);
        let mut results: HashMap<&str, Result<Answer, ReadError>> = HashMap::with_capacity(keys.len());
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

        let mut budget = self.core.budget();
        let read = budget.spend(self.core.client.get_many(&asked)).await;
        let values = self.core.noted(read).unwrap_or_else(|_| vec![None; asked.len()]);
        let (mut needed, mut ripe) = (Vec::new(), Vec::new());
        for (key, raw) in asked.iter().copied().zip(values) {
            let found = raw.map_or(Found::Nothing, |raw| Found::new(key, raw, Ttl::Forever));
            match self.judge(key, found) {
                Look::Answer(answer) => drop(results.insert(key, Ok(answer))),
                Look::Ripe(answer, value) => {
                    results.insert(key, Ok(answer));
                    ripe.push((key, value));
                }
                Look::Need(stale) => needed.push((key, stale)),
            }
        }
        // Two gatherings, so that nobody waits for a refresh.
        let refreshes = gathering.again();
        for ((key, value), ticket) in ripe.iter().cloned().zip(refreshes.tickets(ripe.len())) {
            self.refresh(key, value, Source::Many(ticket));
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
}

/// The answers of a batch's loader, in the form in which they are handed on.
fn answers<Fut, E>(loading: Fut) -> Loading<VecDeque<Result<Loaded, ReadError>>>
where
    Fut: Future<Output = Result<Vec<Result<Loaded, E>>, E>> + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    Box::pin(async {
        let answers = loading.await.map_err(ReadError::load)?;
        let answers = answers.into_iter();
        Ok(answers.map(|answer| answer.map_err(ReadError::load)).collect())
    })
}
