//! Calls with one result per key: each value is sealed and opened by itself.

use bytes::Bytes;
use cache_core::{CacheError, Entry, Lookup, Ttl};
use futures::{StreamExt as _, stream};
use tokio::task::consume_budget;

use super::client::VALUES_PER_BUDGET;
use super::{Encrypted, Name};
use crate::each::{fill, prepare};

/// How many removals of plain values run at a time.
const REMOVALS_AT_ONCE: usize = 32;

/// What a caller wants for each key.
#[derive(Clone, Copy)]
enum Wanted {
    /// Only the value.
    Values,
    /// The value and its TTL.
    Entries,
}

impl Encrypted {
    pub(super) async fn read_each(&self, keys: &[&str]) -> Vec<Result<Bytes, CacheError>> {
        let lookups = self.open_each(keys, Wanted::Values).await.into_iter();
        lookups
            .map(|lookup| lookup.and_then(Lookup::into_entry).map(|entry| entry.value))
            .collect()
    }

    pub(super) async fn lookup_each(&self, keys: &[&str]) -> Vec<Result<Lookup, CacheError>> {
        self.open_each(keys, Wanted::Entries).await
    }

    async fn open_each(&self, keys: &[&str], wanted: Wanted) -> Vec<Result<Lookup, CacheError>> {
        let (names, known) = prepare(keys.iter(), |key| self.name(key));
        if names.is_empty() {
            return fill(known, Vec::new());
        }
        let stored_keys: Vec<&str> = names.iter().map(|name| &*name.stored).collect();
        let stored = self.stored_each(&stored_keys, wanted).await;
        let mut results = Vec::with_capacity(names.len());
        let (mut unread, mut missing) = (Vec::new(), Vec::new());
        for (place, (name, stored)) in names.iter().zip(stored).enumerate() {
            if place % VALUES_PER_BUDGET == 0 {
                consume_budget().await;
            }
            results.push(match stored {
                Ok(Lookup::Found(mut entry)) => {
                    match self.open(name.key, &entry.value) {
                        Ok(opened) => entry.value = opened.value,
                        Err(trouble) => unread.push((place, entry.value.clone(), trouble)),
                    }
                    Ok(Lookup::Found(entry))
                }
                Ok(Lookup::Absent(absence)) => {
                    missing.extend(self.plain_key(name).map(|plain_key| (place, plain_key)));
                    Ok(Lookup::Absent(absence))
                }
                Err(error) => Err(error),
            });
        }
        if !unread.is_empty() {
            let mut values = vec![None; names.len()];
            Box::pin(self.settle_many(&names, &unread, &mut values)).await;
            for (place, ..) in unread {
                match (values[place].take(), &mut results[place]) {
                    (Some(value), Ok(Lookup::Found(entry))) => entry.value = value,
                    // Untracked: a later keyset may open the value, and no server reports that.
                    (_, result) => *result = Ok(Lookup::untracked_absence()),
                }
            }
        }
        if !missing.is_empty() {
            let plain_keys: Vec<&str> = missing.iter().map(|(_, plain_key)| *plain_key).collect();
            let found = self.stored_each(&plain_keys, wanted).await;
            for ((place, _), found) in missing.iter().zip(found) {
                // Untracked: the change that matters is that of the other name.
                results[*place] = found.map(|found| match found {
                    Lookup::Found(entry) => Lookup::Found(Entry::untracked(
                        self.plaintext(entry.value).value,
                        entry.remaining,
                    )),
                    Lookup::Absent(_) => Lookup::untracked_absence(),
                });
            }
        }
        fill(known, results)
    }

    /// Reads what is stored under each of these names. If only values are wanted, it does not ask for the TTL.
    async fn stored_each(&self, names: &[&str], wanted: Wanted) -> Vec<Result<Lookup, CacheError>> {
        match wanted {
            Wanted::Entries => self.inner.get_entries(names).await,
            Wanted::Values => {
                let values = self.inner.get_each(names).await.into_iter();
                values
                    .map(|value| match value {
                        Ok(value) => Ok(Lookup::Found(Entry::untracked(value, Ttl::Forever))),
                        Err(CacheError::Miss) => Ok(Lookup::untracked_absence()),
                        Err(error) => Err(error),
                    })
                    .collect()
            }
        }
    }

    pub(super) async fn store_each(&self, entries: &[(&str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        let (entries, known) = prepare(entries.iter(), |(key, value, ttl)| {
            let name = self.name(key)?;
            self.check(value, *ttl)?;
            Ok((name, value, *ttl))
        });
        if entries.is_empty() {
            return fill(known, Vec::new());
        }
        let names = entries.iter().map(|(name, ..)| name);
        let mut dropped = self.drop_each_plaintext(names).await.into_iter();
        let (mut sealed, mut inner_known) = (
            Vec::with_capacity(entries.len()),
            Vec::with_capacity(entries.len()),
        );
        for (place, (name, value, ttl)) in entries.iter().enumerate() {
            if place % VALUES_PER_BUDGET == 0 {
                consume_budget().await;
            }
            let ready = dropped.next().unwrap_or(Ok(()));
            match ready.and_then(|()| self.seal(name.key, value)) {
                Ok(value) => {
                    sealed.push((&*name.stored, value, *ttl));
                    inner_known.push(None);
                }
                Err(error) => inner_known.push(Some(Err(error))),
            }
        }
        let stored = self.inner.set_each(&sealed).await;
        fill(known, fill(inner_known, stored))
    }

    /// Removes values under the other names of these keys. Returns a result for each of them, or nothing if there are
    /// no such names.
    async fn drop_each_plaintext<'n>(
        &self,
        names: impl Iterator<Item = &'n Name<'n>>,
    ) -> Vec<Result<(), CacheError>> {
        if !self.reads_plaintext() {
            return Vec::new();
        }
        // One by one, so that the failure of one key does not affect the others.
        let removals: Vec<_> = names
            .map(|name| async move { self.drop_plaintext(std::slice::from_ref(name)).await.map(drop) })
            .collect();
        stream::iter(removals).buffered(REMOVALS_AT_ONCE).collect().await
    }
}
