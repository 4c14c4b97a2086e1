//! The contract, kept but for the one defect.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    CacheClient, CacheError, Entry, InvalidationSource, Lookup, Outcome, Ttl, Unavailability, check_key,
};
use tokio::task::yield_now;

use crate::defect::Defect;
use crate::defective::{Defective, OTHER_TYPE, of_this_type};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheClient for Defective {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        self.enter(&[key]).await?;
        let mut key = self.key(key);
        if self.is(Defect::RepliesCross) {
            self.queue.lock().unwrap().push_back(key.clone());
            yield_now().await;
            key = self.queue.lock().unwrap().pop_front().unwrap();
        }
        match self.inner.get(&key).await {
            Ok(value) if value.is_empty() && self.is(Defect::EmptyValueIsAMiss) => Err(CacheError::Miss),
            Err(CacheError::Miss) if self.is(Defect::MissIsAnEmptyValue) => Ok(Bytes::new()),
            Err(CacheError::Miss) if self.is(Defect::ExpiredIsStillThere) => self
                .shadow
                .lock()
                .unwrap()
                .get(&key)
                .cloned()
                .ok_or(CacheError::Miss),
            Err(CacheError::Closed) if self.is(Defect::CloseForgetsOneMethod) => Err(CacheError::Miss),
            Ok(value) => of_this_type(value),
            result => result,
        }
    }

    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        self.enter(&[key]).await?;
        let mut entry = self.inner.get_entry(&self.key(key)).await?;
        entry.value = of_this_type(entry.value)?;
        match self.defect {
            Defect::EntryIsEmpty => entry.value = Bytes::new(),
            Defect::EntryHasNoLife => entry.remaining = Ttl::Forever,
            _ => {}
        }
        Ok(entry)
    }

    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        self.enter(keys).await?;
        let mut owned = self.keys(keys);
        match self.defect {
            Defect::GetManySortsByKey => owned.sort_unstable(),
            Defect::GetManyStopsAtAHundred => owned.truncate(100),
            _ => {}
        }
        let keys: Vec<&str> = owned.iter().map(String::as_str).collect();
        let mut values = self.inner.get_many(&keys).await?;
        for value in &mut values {
            let read = value.take().map(of_this_type).transpose();
            *value = match read {
                Err(_) if self.is(Defect::BatchesMissOtherTypes) => None,
                read => read?,
            };
        }
        if self.is(Defect::GetManyLeavesMissesOut) {
            values.retain(Option::is_some);
        }
        Ok(values)
    }

    async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>> {
        if let Err(error) = self.enter(keys).await {
            return keys.iter().map(|_| Err(error.clone())).collect();
        }
        let mut owned = self.keys(keys);
        match self.defect {
            Defect::GetEachSortsByKey => owned.sort_unstable(),
            Defect::GetEachStopsAtAHundred => owned.truncate(100),
            Defect::EachFailsForOneIllegalKey => {
                if let Some(error) = keys.iter().find_map(|key| check_key(key).err()) {
                    return keys.iter().map(|_| Err(error.clone())).collect();
                }
            }
            _ => {}
        }
        let keys: Vec<&str> = owned.iter().map(String::as_str).collect();
        let results = self.inner.get_each(&keys).await.into_iter();
        results.map(|result| result.and_then(of_this_type)).collect()
    }

    async fn get_entries<'a>(&self, keys: &[&'a str]) -> Vec<Result<Lookup, CacheError>> {
        if let Err(error) = self.enter(keys).await {
            return keys.iter().map(|_| Err(error.clone())).collect();
        }
        let mut owned = self.keys(keys);
        if self.is(Defect::GetEntriesSortsByKey) {
            owned.sort_unstable();
        }
        let keys: Vec<&str> = owned.iter().map(String::as_str).collect();
        let mut results = self.inner.get_entries(&keys).await;
        for result in &mut results {
            match (self.defect, &mut *result) {
                (Defect::GetEntriesForgetsTheTtl, Ok(Lookup::Found(entry))) => entry.remaining = Ttl::Forever,
                (Defect::GetEntriesFailsForAMiss, Ok(Lookup::Absent(_))) => *result = Err(CacheError::Miss),
                (Defect::BatchesMissOtherTypes, Ok(Lookup::Found(entry)))
                    if of_this_type(entry.value.clone()).is_err() =>
                {
                    *result = Ok(Lookup::untracked_absence());
                }
                (_, Ok(Lookup::Found(entry))) => {
                    if let Err(error) = of_this_type(entry.value.clone()) {
                        *result = Err(error);
                    }
                }
                _ => {}
            }
        }
        results
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError> {
        self.enter(&[key]).await?;
        let (key, value) = (self.key(key), self.value(value)?);
        if self.is(Defect::EveryHundredthSetIsLost) && self.sets.fetch_add(1, Ordering::Relaxed) % 100 == 99 {
            return Ok(());
        }
        if self.is(Defect::FirstValueStays) {
            return self.inner.set_if_absent(&key, value, ttl).await.map(drop);
        }
        self.shadow.lock().unwrap().insert(key.clone(), value.clone());
        let before = self.inner.ttl(&key).await;
        self.inner.set(&key, value, self.life(ttl)?).await?;
        if self.short(ttl) {
            self.inner.del(&[&key]).await?;
        }
        if let (Defect::SetKeepsTheLife, Ok(before)) = (self.defect, before) {
            self.inner.expire(&key, before).await?;
        }
        Ok(())
    }

    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        self.enter(&keys).await?;
        let keys = self.keys(&keys);
        let mut stored = Vec::with_capacity(keys.len());
        for (key, (_, value)) in keys.iter().zip(entries) {
            stored.push((key.as_str(), self.value(value.clone())?));
        }
        if self.is(Defect::SetManyKeepsTheFirst) {
            stored.reverse();
        }
        let ttl = if self.is(Defect::SetManyForgetsTheLife) {
            Ttl::Forever
        } else {
            self.life(ttl)?
        };
        self.inner.set_many(&stored, ttl).await
    }

    async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        let keys: Vec<&str> = entries.iter().map(|(key, ..)| *key).collect();
        if let Err(error) = self.enter(&keys).await {
            return entries.iter().map(|_| Err(error.clone())).collect();
        }
        let first = entries.first().map_or(Ttl::Forever, |entry| entry.2);
        let mut results = Vec::new();
        for (place, (key, value, ttl)) in entries.iter().enumerate() {
            let ttl = if self.is(Defect::SetEachUsesOneTtl) {
                first
            } else {
                *ttl
            };
            let is_second = entries[..place].iter().any(|earlier| earlier.0 == *key);
            if self.is(Defect::SetEachKeepsTheFirst) && is_second {
                results.push(Ok(()));
                continue;
            }
            results.push(match (self.value(value.clone()), self.life(ttl)) {
                (Ok(value), Ok(life)) => self.inner.set(&self.key(key), value, life).await,
                (Err(error), _) | (_, Err(error)) => Err(error),
            });
        }
        results
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError> {
        self.enter(&[key]).await?;
        let (key, value, ttl) = (self.key(key), self.value(value)?, self.life(ttl)?);
        match self.defect {
            Defect::AbsentIsNotAtomic => {
                let absent = self.inner.exists(&[&key]).await? == 0;
                yield_now().await;
                if absent {
                    self.inner.set(&key, value, ttl).await?;
                }
                Ok(absent)
            }
            Defect::AbsentRenewsTheLife => {
                let stored = self.inner.set_if_absent(&key, value, ttl).await?;
                self.inner.expire(&key, ttl).await?;
                Ok(stored)
            }
            Defect::OtherTypesAreAbsent
                if self.inner.get(&key).await.is_ok_and(|value| value == OTHER_TYPE) =>
            {
                self.inner.set(&key, value, ttl).await.map(|()| true)
            }
            _ => self.inner.set_if_absent(&key, value, ttl).await,
        }
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: &[u8],
        value: Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError> {
        self.enter(&[key]).await?;
        let (key, value, ttl) = (self.key(key), self.value(value)?, self.life(ttl)?);
        match self.defect {
            Defect::CompareTakesAPrefix | Defect::CompareMatchesTheMissing | Defect::CompareIsNotAtomic => {
                let equal = self.passes_for(&key, expected).await;
                if equal {
                    self.inner.set(&key, value, ttl).await?;
                }
                Ok(equal)
            }
            Defect::CompareKeepsTheLife => {
                let before = self.inner.ttl(&key).await.unwrap_or(ttl);
                self.inner.compare_and_set(&key, expected, value, before).await
            }
            _ => self.inner.compare_and_set(&key, expected, value, ttl).await,
        }
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        self.enter(&[key]).await?;
        let key = self.key(key);
        match self.defect {
            Defect::CompareAndDeleteTakesAPrefix | Defect::CompareAndDeleteIsNotAtomic => {
                let equal = self.passes_for(&key, expected).await;
                if equal {
                    self.inner.del(&[&key]).await?;
                }
                Ok(equal)
            }
            _ => self.inner.compare_and_delete(&key, expected).await,
        }
    }

    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError> {
        self.enter(&[key]).await?;
        let key = self.key(key);
        match self.defect {
            Defect::TakeLeavesTheValue => self.inner.get(&key).await,
            Defect::TakeIsNotAtomic => {
                let value = self.inner.get(&key).await?;
                yield_now().await;
                self.inner.del(&[&key]).await?;
                Ok(value)
            }
            _ => self.inner.get_and_delete(&key).await,
        }
    }

    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError> {
        self.enter(&[key]).await?;
        let (key, life) = (self.key(key), self.life(ttl)?);
        match self.defect {
            Defect::SlideKeepsTheTtl => self.inner.get(&key).await,
            Defect::SlideMakesKeys => {
                self.inner.set_if_absent(&key, Bytes::new(), life).await?;
                self.inner.get_and_expire(&key, life).await
            }
            _ => self.inner.get_and_expire(&key, life).await,
        }
    }

    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        self.enter(keys).await?;
        let owned = self.keys(keys);
        let mut all: Vec<&str> = owned.iter().map(String::as_str).collect();
        let shadow: Vec<String> = self.shadow.lock().unwrap().keys().cloned().collect();
        match self.defect {
            Defect::DelOfAStarDeletesAll if owned.iter().any(|key| key.ends_with('*')) => {
                all.extend(shadow.iter().map(String::as_str));
                self.inner.del(&all).await?;
                Ok(owned.len() as u64)
            }
            Defect::DelCountsKeysAsked => {
                self.inner.del(&all).await?;
                Ok(owned.len() as u64)
            }
            Defect::DelCountsKeysTwice => {
                let exist = self.inner.exists(&all).await?;
                self.inner.del(&all).await?;
                Ok(exist)
            }
            _ => self.inner.del(&all).await,
        }
    }

    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        self.enter(keys).await?;
        let mut owned = self.keys(keys);
        if self.is(Defect::ExistsCountsKeysOnce) {
            owned.sort_unstable();
            owned.dedup();
        }
        let keys: Vec<&str> = owned.iter().map(String::as_str).collect();
        self.inner.exists(&keys).await
    }

    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        self.enter(&[key]).await?;
        let key = self.key(key);
        if let Some(counted) = self.count(&key, 1).await {
            return counted;
        }
        let counted = self.inner.incr(&key).await?;
        match self.defect {
            Defect::IncrStartsAtZero => Ok(counted - 1),
            Defect::IncrForgetsTheLife => self.inner.expire(&key, Ttl::Forever).await.map(|_| counted),
            Defect::IncrExpires if counted == 1 => {
                self.inner.expire(&key, Ttl::secs(9)).await.map(|_| counted)
            }
            _ => Ok(counted),
        }
    }

    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        self.enter(&[key]).await?;
        let key = self.key(key);
        if let Some(counted) = self.count(&key, delta).await {
            return counted;
        }
        let delta = if self.is(Defect::IncrByIsUnsigned) {
            delta.saturating_abs()
        } else {
            delta
        };
        let before = self.inner.ttl(&key).await;
        let counted = self.inner.incr_by(&key, delta, self.life(ttl)?).await?;
        match (self.defect, before) {
            (Defect::IncrByResetsTheLife, _) => self.inner.expire(&key, ttl).await?,
            (Defect::IncrByForeverTakesTheLife, _) if ttl.is_forever() => {
                self.inner.expire(&key, ttl).await?
            }
            (Defect::IncrByHealsNothing, Ok(before)) => self.inner.expire(&key, before).await?,
            _ => true,
        };
        if self.is(Defect::IncrByWithALifeIsADouble) && !ttl.is_forever() {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                reason = "the defect"
            )]
            return Ok(counted as f64 as i64);
        }
        Ok(counted)
    }

    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        self.enter(&[key]).await?;
        let key = self.key(key);
        if self.short(ttl) {
            return self.inner.del(&[&key]).await.map(|deleted| deleted == 1);
        }
        let longer = self.inner.ttl(&key).await.is_ok_and(|left| left.min(ttl) == left);
        match self.defect {
            Defect::ExpireMakesKeys => {
                self.inner.set_if_absent(&key, Bytes::new(), ttl).await?;
                self.inner.expire(&key, ttl).await?;
                Ok(false)
            }
            Defect::ExpireOfMissingIsTrue => self.inner.expire(&key, ttl).await.map(|_| true),
            Defect::ExpireOnlyShortens if longer => Ok(true),
            _ => self.inner.expire(&key, self.life(ttl)?).await,
        }
    }

    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError> {
        self.enter(&[key]).await?;
        let left = self.inner.ttl(&self.key(key)).await?;
        Ok(match (self.defect, left) {
            (Defect::RestOfLifeIsTheWhole, Ttl::After(_)) => Ttl::millis(600_700),
            (Defect::RestOfLifeInSeconds, Ttl::After(left)) => Ttl::secs(left.as_secs()),
            _ => left,
        })
    }

    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        self.inner.invalidations()
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.enter(&["ping"]).await?;
        let gone = self.gone.load(Ordering::Acquire) && !self.is(Defect::PingIsNeverSent);
        if gone || self.is(Defect::PingFails) {
            return Err(CacheError::Unavailable {
                reason: Unavailability::Lost,
                detail: "the primary is gone".into(),
                outcome: Outcome::NotApplied,
                source: None,
            });
        }
        self.inner.ping().await
    }

    async fn close(&self) -> Result<(), CacheError> {
        let again = self.closed.swap(true, Ordering::AcqRel);
        match self.defect {
            Defect::CloseIsForgotten => Ok(()),
            Defect::CloseTwiceFails if again => Err(CacheError::Closed),
            _ => self.inner.close().await,
        }
    }
}
