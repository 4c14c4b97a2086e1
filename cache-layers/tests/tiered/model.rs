//! Any calls, one after the other, of the tier's caller and of others: what the tier answers was true no
//! longer ago than it promises.

use cache_core::{Bytes, CacheClient, CacheError, Ttl, clock};
use cache_layers::NearConfig;
use proptest::prelude::*;
use tokio::time::Instant;

use crate::line::Line;
use crate::rig::{Rig, SHORT, ms, secs};

#[derive(Clone, Debug)]
enum Call {
    Get(u8),
    GetEntry(u8),
    GetMany(Vec<u8>),
    Write(Write),
    Others(Write),
    Flush,
    Cut,
    Mend,
    Wait(u64),
}

#[derive(Clone, Debug)]
enum Write {
    Set(u8, u8, u64),
    SetMany(Vec<u8>, u8, u64),
    Del(Vec<u8>),
    Expire(u8, u64),
    IncrBy(u8, i8, u64),
}

fn write() -> impl Strategy<Value = Write> {
    let key = || 0..4_u8;
    let millis = || prop_oneof![2 => 1..2_500_u64, 1 => Just(0)];
    prop_oneof![
        3 => (key(), any::<u8>(), millis()).prop_map(|(key, value, life)| Write::Set(key, value, life)),
        1 => (proptest::collection::vec(key(), 0..4), any::<u8>(), millis())
            .prop_map(|(keys, value, life)| Write::SetMany(keys, value, life)),
        1 => proptest::collection::vec(key(), 0..3).prop_map(Write::Del),
        1 => (key(), millis()).prop_map(|(key, life)| Write::Expire(key, life)),
        1 => (key(), any::<i8>(), millis()).prop_map(|(key, delta, life)| Write::IncrBy(key, delta, life)),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        6 => (0..4_u8).prop_map(Call::Get),
        3 => (0..4_u8).prop_map(Call::GetEntry),
        2 => proptest::collection::vec(0..4_u8, 0..6).prop_map(Call::GetMany),
        2 => write().prop_map(Call::Write),
        3 => write().prop_map(Call::Others),
        1 => Just(Call::Flush),
        1 => Just(Call::Cut),
        2 => Just(Call::Mend),
        3 => (1..1_500_u64).prop_map(Call::Wait),
    ]
}

fn name(key: u8) -> String {
    format!("k{key}")
}

async fn carry_out(client: &dyn CacheClient, write: &Write) -> Result<(), CacheError> {
    match write {
        Write::Set(key, value, life) => {
            client
                .set(&name(*key), value.to_string().into(), Ttl::millis(*life))
                .await
        }
        Write::SetMany(keys, value, life) => {
            let names: Vec<String> = keys.iter().map(|key| name(*key)).collect();
            let value = Bytes::from(value.to_string());
            let entries: Vec<_> = names.iter().map(|name| (name.as_str(), value.clone())).collect();
            client.set_many(&entries, Ttl::millis(*life)).await
        }
        Write::Del(keys) => {
            let names: Vec<String> = keys.iter().map(|key| name(*key)).collect();
            let keys: Vec<&str> = names.iter().map(String::as_str).collect();
            client.del(&keys).await.map(drop)
        }
        Write::Expire(key, life) => client.expire(&name(*key), Ttl::millis(*life)).await.map(drop),
        Write::IncrBy(key, delta, life) => client
            .incr_by(&name(*key), i64::from(*delta), Ttl::millis(*life))
            .await
            .map(drop),
    }
}

impl Write {
    fn keys(&self) -> Vec<u8> {
        match self {
            Self::Set(key, ..) | Self::Expire(key, _) | Self::IncrBy(key, ..) => vec![*key],
            Self::SetMany(keys, ..) | Self::Del(keys) => keys.clone(),
        }
    }
}

/// What was true of each key, and since when.
#[derive(Debug, Default)]
struct Past([Vec<(Instant, Option<Bytes>)>; 4]);

impl Past {
    async fn note(&mut self, rig: &Rig) {
        for (key, past) in (0_u8..).zip(&mut self.0) {
            let now = rig.others.get(&name(key)).await.ok();
            if past.last().is_none_or(|(_, before)| *before != now) {
                past.push((clock::now(), now));
            }
        }
    }

    /// The writer has seen that it is so: what was before does not count any more.
    fn forget(&mut self, key: u8) {
        let past = &mut self.0[usize::from(key)];
        past.drain(..past.len() - 1);
    }

    /// Whether `read` was true at some time in the last `staleness`.
    fn was(&self, key: u8, read: Option<&Bytes>, staleness: std::time::Duration) -> bool {
        let (now, past) = (clock::now(), &self.0[usize::from(key)]);
        past.iter().enumerate().any(|(number, (_, value))| {
            let is_now = number + 1 == past.len();
            let until = past.get(number + 1).map_or(now, |(since, _)| *since);
            value.as_ref() == read && (is_now || now - until < staleness)
        })
    }
}

async fn agrees(calls: Vec<Call>, rig: Rig, staleness: std::time::Duration) -> Result<(), TestCaseError> {
    let mut past = Past::default();
    past.note(&rig).await;
    for call in calls {
        let mut read = Vec::new();
        match &call {
            Call::Get(key) => read.push((*key, rig.tiered.get(&name(*key)).await.ok())),
            Call::GetEntry(key) => {
                let entry = rig.tiered.get_entry(&name(*key)).await.ok();
                if let (true, Some(entry)) = (staleness.is_zero(), &entry) {
                    prop_assert_eq!(entry.remaining, rig.others.ttl(&name(*key)).await.unwrap());
                }
                read.push((*key, entry.map(|entry| entry.value)));
            }
            Call::GetMany(keys) => {
                let names: Vec<String> = keys.iter().map(|key| name(*key)).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let values = rig.tiered.get_many(&names).await.unwrap();
                read.extend(keys.iter().copied().zip(values));
            }
            Call::Write(write) => {
                let same = carry_out(&*rig.tiered, write).await;
                prop_assert!(same.is_ok(), "{:?}", same);
                past.note(&rig).await;
                write.keys().into_iter().for_each(|key| past.forget(key));
            }
            Call::Others(write) => _ = carry_out(&*rig.others, write).await,
            Call::Flush => _ = rig.others.clear(),
            Call::Cut if staleness.is_zero() => rig.line.reports().cut(),
            Call::Mend if staleness.is_zero() => rig.line.reports().mend(),
            Call::Cut | Call::Mend => {}
            Call::Wait(millis) => tokio::time::advance(ms(*millis)).await,
        }
        past.note(&rig).await;
        for (key, value) in read {
            prop_assert!(
                past.was(key, value.as_ref(), staleness),
                "{:?}: {:?} of {:?}",
                call,
                value,
                past
            );
        }
    }
    Ok(())
}

fn in_virtual_time(test: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn with_reports_every_answer_is_the_far_tiers_own(calls in proptest::collection::vec(call(), 1..80)) {
        in_virtual_time(async { agrees(calls, Rig::new(), secs(0)).await })?;
    }

    #[test]
    fn with_room_for_two_entries_too(calls in proptest::collection::vec(call(), 1..80)) {
        in_virtual_time(async {
            let config = NearConfig::builder().max_entries(2).build().unwrap();
            agrees(calls, Rig::with(config, Line::new), secs(0)).await
        })?;
    }

    #[test]
    fn without_reports_every_answer_was_true_within_the_short_life(
        calls in proptest::collection::vec(call(), 1..80),
    ) {
        in_virtual_time(async { agrees(calls, Rig::silent(), SHORT).await })?;
    }
}
