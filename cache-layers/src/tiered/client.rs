//! Implements the contract: a near cache in front of the client inside.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{CacheClient, CacheError, Entry, InvalidationSource, Lookup, Ttl, check_key};
use tokio::task::consume_budget;

use super::{NearStatus, Tiered};
use crate::each;
use crate::near::{Boarding, Count, FarRead, Found, Keep, Lives, Mark, Near, is_kept_above};

/// Drops the copies of keys when it is dropped: after a write has been answered, or was given up.
struct Written<'a, 'k> {
    near: &'a Near<Option<Bytes>>,
    keys: &'a [&'k str],
}

impl Drop for Written<'_, '_> {
    fn drop(&mut self) {
        self.keys.iter().for_each(|key| self.near.remove(key));
    }
}

impl Tiered {
    /// Hold the result while one of `keys` is written.
    fn writing<'a, 'k>(&'a self, keys: &'a [&'k str]) -> Written<'a, 'k> {
        Written {
            near: &self.near,
            keys,
        }
    }

    /// Returns what is known near of `key`: its value, or that there is none.
    #[inline]
    fn look(&self, key: &str) -> Result<Option<KeyState>, CacheError> {
        self.check_open()?;
        let found = self.near.look(key);
        if found.is_some() {
            self.near.counts().add(Count::Hit, 1);
        }
        Ok(found)
    }

    /// Reads `key`, which is not near, by one far read for all callers that want it now. Returns `None` if the near
    /// cache is bypassed; the caller then reads for itself.
    async fn fetch(&self, key: &str) -> Result<Option<KeyState>, CacheError> {
        let counts = self.near.counts();
        loop {
            // Read before the status. A caller that was told that changes are reported may come after a time in which
            // they were not. It must not lead or join a read from within that time.
            let period = self.near.period();
            if matches!(self.status(), NearStatus::Bypassed { .. }) {
                counts.add(Count::Miss, 1);
                return Ok(None);
            }
            match self.near.board(key, period, |mark| self.far_read(mark)) {
                Boarding::Late => {}
                Boarding::Hit(found) => {
                    counts.add(Count::Hit, 1);
                    return Ok(Some(found));
                }
                Boarding::Led(read) => {
                    counts.add(Count::Miss, 1);
                    return read.await.map(Some);
                }
                Boarding::Joined(read) => {
                    let answer = read.await;
                    counts.add(Count::Joined, 1);
                    return answer.map(Some);
                }
            }
        }
    }

    /// Reads the key of `mark`, and keeps what may be kept. All callers that want the key share the read, so it
    /// borrows nothing from the caller that begins it.
    fn far_read(&self, mark: Mark<Option<Bytes>>) -> FarRead<Option<Bytes>> {
        let (inner, source, lives) = (Arc::clone(&self.inner), self.source.clone(), self.lives);
        Box::pin(async move {
            let key = mark.key();
            let lookup = inner.get_entries(&[&*key]).await.pop();
            let answer = lookup.unwrap_or_else(|| Err(each::missing())).map(found);
            let keep = answer.as_ref().ok().and_then(|found| {
                let source = source.as_deref().map(|source| source as &dyn InvalidationSource);
                keep(&mark, found, lives, &lives.status(source))
            });
            mark.land(keep);
            answer
        })
    }

    /// Reads keys that are not near by one far call, and keeps what may be kept. Other callers do not join such a
    /// read. If another caller reads one of the keys at the moment, that read keeps it.
    async fn fetch_each(&self, keys: &[&str]) -> Vec<Result<KeyState, CacheError>> {
        // Before the status: see `fetch`.
        let period = self.near.period();
        let is_bypassed = matches!(self.status(), NearStatus::Bypassed { .. });
        let begin = |key: &&str| match is_bypassed {
            true => None,
            false => self.near.begin_unless_begun(key, period),
        };
        let marks: Vec<_> = keys.iter().map(begin).collect();
        let lookups = self.inner.get_entries(keys).await;
        // Asked again: a value read while changes were not reported must not be kept as if they were.
        let status = self.status();
        let mut lookups = lookups.into_iter();
        let mut answers = Vec::with_capacity(keys.len());
        for (position, mark) in marks.into_iter().enumerate() {
            if position % KEYS_PER_BUDGET == 0 {
                consume_budget().await;
            }
            let answer = lookups.next().unwrap_or_else(|| Err(each::missing())).map(found);
            if let (Some(mark), Ok(found)) = (mark, &answer) {
                let keep = keep(&mark, found, self.lives, &status);
                mark.land(keep);
            }
            answers.push(answer);
        }
        answers
    }

    /// Returns what is known near of each key, and the keys that need a far read.
    async fn look_each<'a>(&self, keys: &[&'a str]) -> (each::Known<KeyState>, Vec<&'a str>) {
        let mut known = Vec::with_capacity(keys.len());
        let mut far = Vec::new();
        for some in keys.chunks(KEYS_PER_BUDGET) {
            consume_budget().await;
            for key in some {
                known.push(match check_key(key).and_then(|()| self.look(key)) {
                    Ok(Some(found)) => Some(Ok(found)),
                    Ok(None) => {
                        far.push(*key);
                        None
                    }
                    Err(error) => Some(Err(error)),
                });
            }
        }
        self.near.counts().add(Count::Miss, far.len());
        (known, far)
    }

    /// Returns the state of each key: from the near cache if it is there, else by one far call.
    async fn read_each(&self, keys: &[&str]) -> impl Iterator<Item = Result<KeyState, CacheError>> {
        let (known, far) = self.look_each(keys).await;
        let read = if far.is_empty() {
            Vec::new()
        } else {
            self.fetch_each(&far).await
        };
        each::fill(known, read).into_iter()
    }
}

/// The state of a key by a near or far read: its value, or that there is none.
type KeyState = Found<Option<Bytes>>;

/// What is kept of a far read, if anything.
fn keep(
    mark: &Mark<Option<Bytes>>,
    found: &KeyState,
    lives: Lives,
    status: &NearStatus,
) -> Option<Keep<Option<Bytes>>> {
    // The absence of a value is kept only if its creation will be reported.
    if found.value.is_none() && !found.tracked {
        return None;
    }
    let life = lives.of(found.tracked, status)?;
    let bytes = found.value.as_ref().map_or(0, Bytes::len);
    if !mark.takes(bytes) {
        return None;
    }
    Some(Keep {
        bytes,
        found: Found {
            value: found.value.as_deref().map(Bytes::copy_from_slice),
            remaining: found.remaining,
            tracked: found.tracked,
            vouch: found.vouch,
        },
        life,
    })
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheClient for Tiered {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        check_key(key)?;
        consume_budget().await;
        if let Some(found) = self.look(key)? {
            return found.value.ok_or(CacheError::Miss);
        }
        // Boxed, so that a hit reserves room only for its own few variables.
        match Box::pin(self.fetch(key)).await? {
            Some(found) => found.value.ok_or(CacheError::Miss),
            None => self.inner.get(key).await,
        }
    }

    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        check_key(key)?;
        consume_budget().await;
        if let Some(found) = self.look(key)? {
            return lookup(found).into_entry();
        }
        if is_kept_above() {
            return self.inner.get_entry(key).await;
        }
        match Box::pin(self.fetch(key)).await? {
            Some(found) => lookup(found).into_entry(),
            None => self.inner.get_entry(key).await,
        }
    }

    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        keys.iter().try_for_each(|key| check_key(key))?;
        self.check_open()?;
        let states = self.read_each(keys).await;
        states.map(|state| state.map(|state| state.value)).collect()
    }

    async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>> {
        let states = self.read_each(keys).await;
        states
            .map(|state| state.and_then(|state| state.value.ok_or(CacheError::Miss)))
            .collect()
    }

    async fn get_entries<'a>(&self, keys: &[&'a str]) -> Vec<Result<Lookup, CacheError>> {
        let states = self.read_each(keys).await;
        states.map(|state| state.map(lookup)).collect()
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError> {
        let keys = [key];
        let _written = self.writing(&keys);
        self.inner.set(key, value, ttl).await
    }

    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        let _written = self.writing(&keys);
        self.inner.set_many(entries, ttl).await
    }

    async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        let keys: Vec<&str> = entries.iter().map(|(key, ..)| *key).collect();
        let _written = self.writing(&keys);
        self.inner.set_each(entries).await
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError> {
        let keys = [key];
        let _written = self.writing(&keys);
        self.inner.set_if_absent(key, value, ttl).await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: &[u8],
        value: Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError> {
        let keys = [key];
        let _written = self.writing(&keys);
        self.inner.compare_and_set(key, expected, value, ttl).await
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        let keys = [key];
        let _written = self.writing(&keys);
        self.inner.compare_and_delete(key, expected).await
    }

    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError> {
        let keys = [key];
        let _written = self.writing(&keys);
        self.inner.get_and_delete(key).await
    }

    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError> {
        let keys = [key];
        let _written = self.writing(&keys);
        self.inner.get_and_expire(key, ttl).await
    }

    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        let _written = self.writing(keys);
        self.inner.del(keys).await
    }

    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        keys.iter().try_for_each(|key| check_key(key))?;
        self.check_open()?;
        let (known, far) = self.look_each(keys).await;
        let mut existing = 0;
        for found in known.into_iter().flatten() {
            existing += u64::from(found?.value.is_some());
        }
        if far.is_empty() {
            return Ok(existing);
        }
        // The count of existing keys does not say which exist, so nothing is kept.
        Ok(existing + self.inner.exists(&far).await?)
    }

    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        let keys = [key];
        let _written = self.writing(&keys);
        self.inner.incr(key).await
    }

    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        let keys = [key];
        let _written = self.writing(&keys);
        self.inner.incr_by(key, delta, ttl).await
    }

    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        let keys = [key];
        let _written = self.writing(&keys);
        self.inner.expire(key, ttl).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError> {
        self.inner.ttl(key).await
    }

    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        let source = self.source.clone()?;
        Some(source)
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.inner.ping().await
    }

    async fn close(&self) -> Result<(), CacheError> {
        self.closed.store(true, Ordering::Release);
        self.near.reset();
        self.inner.close().await
    }
}

/// After this many keys of one call, the task's cooperative budget is checked again.
const KEYS_PER_BUDGET: usize = 32;

/// Converts a lookup into the near cache's form.
fn found(lookup: Lookup) -> KeyState {
    match lookup {
        Lookup::Found(entry) => Found {
            value: Some(entry.value),
            remaining: entry.remaining,
            tracked: entry.tracked,
            vouch: entry.vouch,
        },
        Lookup::Absent(absence) => Found {
            value: None,
            remaining: Ttl::Forever,
            tracked: absence.tracked,
            vouch: absence.vouch,
        },
    }
}

/// Converts the near cache's form into a lookup.
fn lookup(found: KeyState) -> Lookup {
    let lookup = match (found.value, found.tracked) {
        (Some(value), true) => Lookup::Found(Entry::tracked(value, found.remaining)),
        (Some(value), false) => Lookup::Found(Entry::untracked(value, found.remaining)),
        (None, true) => Lookup::tracked_absence(),
        (None, false) => Lookup::untracked_absence(),
    };
    match found.vouch {
        Some(vouch) => lookup.vouched(vouch),
        None => lookup,
    }
}
