//! Any list of calls gives the answers of a plain map with deadlines. A near copy kept by the rules of
//! [`InvalidationListener`](crate::InvalidationListener) is never older than the map.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::in_virtual_time;
use crate::{Bytes, CacheClient, CacheError, Invalidation, MemoryCache, Pattern, Ttl};

#[derive(Clone, Debug)]
enum Call {
    Get(u8),
    GetEntry(u8),
    GetMany(Vec<u8>),
    Set(u8, Vec<u8>, u64),
    SetMany(Vec<(u8, Vec<u8>)>, u64),
    SetIfAbsent(u8, Vec<u8>, u64),
    CompareAndSet(u8, Vec<u8>, Vec<u8>, u64),
    CompareAndDelete(u8, Vec<u8>),
    Del(Vec<u8>),
    Exists(Vec<u8>),
    Incr(u8),
    IncrBy(u8, i64, u64),
    Expire(u8, u64),
    Ttl(u8),
    Invalidate(u8),
    Scan,
    Clear,
    Wait(u64),
}

fn key() -> impl Strategy<Value = u8> {
    0..6_u8
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let text = |text: &'static str| Just(text.as_bytes().to_vec());
    prop_oneof![
        text(""),
        text("5"),
        text("-7"),
        text("9223372036854775807"),
        text("05"),
        text("x"),
        text("y")
    ]
}

fn millis() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0_u64), 1..50_u64]
}

fn call() -> impl Strategy<Value = Call> {
    let keys = || proptest::collection::vec(key(), 0..5);
    prop_oneof![
        key().prop_map(Call::Get),
        key().prop_map(Call::GetEntry),
        keys().prop_map(Call::GetMany),
        (key(), value(), millis()).prop_map(|(key, value, ttl)| Call::Set(key, value, ttl)),
        (proptest::collection::vec((key(), value()), 0..4), millis())
            .prop_map(|(list, ttl)| Call::SetMany(list, ttl)),
        (key(), value(), millis()).prop_map(|(key, value, ttl)| Call::SetIfAbsent(key, value, ttl)),
        (key(), value(), value(), millis())
            .prop_map(|(key, old, new, ttl)| Call::CompareAndSet(key, old, new, ttl)),
        (key(), value()).prop_map(|(key, old)| Call::CompareAndDelete(key, old)),
        keys().prop_map(Call::Del),
        keys().prop_map(Call::Exists),
        key().prop_map(Call::Incr),
        (
            key(),
            prop_oneof![-3..3_i64, Just(i64::MAX), Just(i64::MIN)],
            millis()
        )
            .prop_map(|(key, delta, ttl)| Call::IncrBy(key, delta, ttl)),
        (key(), millis()).prop_map(|(key, ttl)| Call::Expire(key, ttl)),
        key().prop_map(Call::Ttl),
        key().prop_map(Call::Invalidate),
        Just(Call::Scan),
        Just(Call::Clear),
        (1..30_u64).prop_map(Call::Wait),
    ]
}

fn name(key: u8) -> String {
    format!("k{key}")
}

/// The answer of a call, in a form that both sides can produce.
#[derive(Debug, PartialEq)]
enum Answer {
    Nothing,
    Miss,
    Rejected,
    Value(Vec<u8>),
    Entry(Vec<u8>, Option<u64>),
    Values(Vec<Option<Vec<u8>>>),
    Number(i64),
    Flag(bool),
    Life(Option<u64>),
    Keys(Vec<String>),
}

impl From<CacheError> for Answer {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::Miss => Self::Miss,
            CacheError::Rejected { .. } => Self::Rejected,
            error => panic!("{error}"),
        }
    }
}

/// The model: a map with deadlines in milliseconds since the start.
#[derive(Default)]
struct Model {
    now: u64,
    entries: HashMap<u8, (Vec<u8>, Option<u64>)>,
}

impl Model {
    fn deadline(&self, ttl: u64) -> Option<u64> {
        (ttl > 0).then(|| self.now + ttl)
    }

    fn put(&mut self, key: u8, value: Vec<u8>, ttl: u64) {
        self.entries.insert(key, (value, self.deadline(ttl)));
    }

    fn value(&self, key: u8) -> Option<&Vec<u8>> {
        self.entries.get(&key).map(|(value, _)| value)
    }

    fn add(&mut self, key: u8, delta: i64, ttl: u64) -> Answer {
        let (old, deadline) = self
            .entries
            .get(&key)
            .map_or((Some(0), None), |(value, deadline)| {
                let text = String::from_utf8(value.clone()).unwrap();
                (
                    text.parse()
                        .ok()
                        .filter(|number: &i64| number.to_string() == text),
                    *deadline,
                )
            });
        match old.and_then(|old: i64| old.checked_add(delta)) {
            None => Answer::Rejected,
            Some(sum) => {
                let deadline = deadline.or_else(|| self.deadline(ttl));
                self.entries.insert(key, (sum.to_string().into_bytes(), deadline));
                Answer::Number(sum)
            }
        }
    }

    fn answer(&mut self, call: Call) -> Answer {
        let now = self.now;
        self.entries
            .retain(|_, (_, deadline)| deadline.is_none_or(|deadline| now < deadline));
        let count = |keys: usize| Answer::Number(keys.try_into().unwrap());
        match call {
            Call::Get(key) => self.value(key).cloned().map_or(Answer::Miss, Answer::Value),
            Call::GetEntry(key) => match self.entries.get(&key) {
                Some((value, deadline)) => {
                    Answer::Entry(value.clone(), deadline.map(|deadline| deadline - now))
                }
                None => Answer::Miss,
            },
            Call::GetMany(keys) => Answer::Values(keys.iter().map(|key| self.value(*key).cloned()).collect()),
            Call::Set(key, value, ttl) => {
                self.put(key, value, ttl);
                Answer::Nothing
            }
            Call::SetMany(list, ttl) => {
                list.into_iter()
                    .for_each(|(key, value)| self.put(key, value, ttl));
                Answer::Nothing
            }
            Call::SetIfAbsent(key, value, ttl) => {
                let absent = !self.entries.contains_key(&key);
                if absent {
                    self.put(key, value, ttl);
                }
                Answer::Flag(absent)
            }
            Call::CompareAndSet(key, old, new, ttl) => {
                let equal = self.value(key) == Some(&old);
                if equal {
                    self.put(key, new, ttl);
                }
                Answer::Flag(equal)
            }
            Call::CompareAndDelete(key, old) => {
                let equal = self.value(key) == Some(&old);
                if equal {
                    self.entries.remove(&key);
                }
                Answer::Flag(equal)
            }
            Call::Del(keys) => count(
                keys.iter()
                    .filter(|key| self.entries.remove(key).is_some())
                    .count(),
            ),
            Call::Exists(keys) => count(keys.iter().filter(|key| self.entries.contains_key(key)).count()),
            Call::Incr(key) => self.add(key, 1, 0),
            Call::IncrBy(key, delta, ttl) => self.add(key, delta, ttl),
            Call::Expire(key, ttl) => {
                let deadline = self.deadline(ttl);
                Answer::Flag(
                    self.entries
                        .get_mut(&key)
                        .map(|entry| entry.1 = deadline)
                        .is_some(),
                )
            }
            Call::Ttl(key) => match self.entries.get(&key) {
                Some((_, deadline)) => Answer::Life(deadline.map(|deadline| deadline - now)),
                None => Answer::Miss,
            },
            Call::Invalidate(key) => count(usize::from(self.entries.remove(&key).is_some())),
            Call::Scan => {
                let mut keys: Vec<_> = self.entries.keys().map(|key| name(*key)).collect();
                keys.sort();
                Answer::Keys(keys)
            }
            Call::Clear => {
                self.entries.clear();
                Answer::Nothing
            }
            Call::Wait(millis) => {
                self.now += millis;
                Answer::Nothing
            }
        }
    }
}

async fn ask(cache: &MemoryCache, call: Call) -> Result<Answer, CacheError> {
    let names = |keys: &[u8]| keys.iter().map(|key| name(*key)).collect::<Vec<_>>();
    let count = |count: u64| Answer::Number(count.try_into().unwrap());
    let millis = |ttl: Ttl| ttl.as_millis().unwrap();
    Ok(match call {
        Call::Get(key) => Answer::Value(cache.get(&name(key)).await?.into()),
        Call::GetEntry(key) => {
            let entry = cache.get_entry(&name(key)).await?;
            assert!(entry.tracked);
            Answer::Entry(entry.value.into(), millis(entry.remaining))
        }
        Call::GetMany(keys) => {
            let names = names(&keys);
            let values = cache
                .get_many(&names.iter().map(|name| &**name).collect::<Vec<_>>())
                .await?;
            Answer::Values(values.into_iter().map(|value| value.map(Into::into)).collect())
        }
        Call::Set(key, value, ttl) => {
            cache.set(&name(key), value.into(), Ttl::millis(ttl)).await?;
            Answer::Nothing
        }
        Call::SetMany(list, ttl) => {
            let list: Vec<_> = list
                .into_iter()
                .map(|(key, value)| (name(key), Bytes::from(value)))
                .collect();
            let entries: Vec<_> = list
                .iter()
                .map(|(name, value)| (&**name, value.clone()))
                .collect();
            cache.set_many(&entries, Ttl::millis(ttl)).await?;
            Answer::Nothing
        }
        Call::SetIfAbsent(key, value, ttl) => Answer::Flag(
            cache
                .set_if_absent(&name(key), value.into(), Ttl::millis(ttl))
                .await?,
        ),
        Call::CompareAndSet(key, old, new, ttl) => Answer::Flag(
            cache
                .compare_and_set(&name(key), &old, new.into(), Ttl::millis(ttl))
                .await?,
        ),
        Call::CompareAndDelete(key, old) => Answer::Flag(cache.compare_and_delete(&name(key), &old).await?),
        Call::Del(keys) => {
            let names = names(&keys);
            count(
                cache
                    .del(&names.iter().map(|name| &**name).collect::<Vec<_>>())
                    .await?,
            )
        }
        Call::Exists(keys) => {
            let names = names(&keys);
            count(
                cache
                    .exists(&names.iter().map(|name| &**name).collect::<Vec<_>>())
                    .await?,
            )
        }
        Call::Incr(key) => Answer::Number(cache.incr(&name(key)).await?),
        Call::IncrBy(key, delta, ttl) => {
            Answer::Number(cache.incr_by(&name(key), delta, Ttl::millis(ttl)).await?)
        }
        Call::Expire(key, ttl) => Answer::Flag(cache.expire(&name(key), Ttl::millis(ttl)).await?),
        Call::Ttl(key) => Answer::Life(millis(cache.ttl(&name(key)).await?)),
        Call::Invalidate(key) => count(cache.invalidate(&Pattern::literal(name(key))?)),
        Call::Scan => {
            let (mut keys, mut cursor) = (Vec::new(), 0);
            loop {
                let page = cache.scan(&Pattern::all(), cursor, 2);
                keys.extend(page.keys);
                cursor = page.cursor;
                if cursor == 0 {
                    break;
                }
            }
            keys.sort();
            Answer::Keys(keys)
        }
        Call::Clear => {
            cache.clear();
            Answer::Nothing
        }
        Call::Wait(millis) => {
            tokio::time::advance(Duration::from_millis(millis)).await;
            Answer::Nothing
        }
    })
}

/// Copies of entries, each valid until its deadline or until a change is reported.
type Near = Arc<Mutex<HashMap<String, (Vec<u8>, Option<u64>)>>>;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_call_agrees_with_the_model(
        shards in prop_oneof![Just(1_usize), Just(4)],
        calls in proptest::collection::vec(call(), 1..100),
    ) {
        in_virtual_time(async {
            let cache = MemoryCache::with_shards(u64::MAX, u64::MAX, shards);
            let near = Near::default();
            let copies = Arc::clone(&near);
            let subscription = cache.invalidations().unwrap().subscribe(Arc::new(move |event: &Invalidation| {
                let mut copies = copies.lock().unwrap();
                match event {
                    Invalidation::Keys(keys) => keys.iter().for_each(|key| drop(copies.remove(key))),
                    _ => copies.clear(),
                }
            }));
            let mut model = Model::default();
            for call in calls {
                let answer = ask(&cache, call.clone()).await.unwrap_or_else(Answer::from);
                let expected = model.answer(call.clone());
                prop_assert_eq!(&answer, &expected, "{:?}", call);
                if let (Call::GetEntry(key), Answer::Entry(value, left)) = (call, answer) {
                    near.lock().unwrap().insert(name(key), (value, left.map(|left| model.now + left)));
                }
                for (key, (value, deadline)) in &*near.lock().unwrap() {
                    if deadline.is_none_or(|deadline| model.now < deadline) {
                        let far = model.entries.iter().find(|(number, _)| name(**number) == *key);
                        prop_assert_eq!(far.map(|(_, entry)| entry), Some(&(value.clone(), *deadline)), "{} is stale", key);
                    }
                }
            }
            drop(subscription);
            Ok(())
        })?;
    }
}
