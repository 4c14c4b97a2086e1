//! Dropped futures: the client stays usable, and no later call sees the reply of a dropped call.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::task::JoinSet;

use super::{Subject, expect};
use crate::{CacheClient, CacheError, Ttl};

const TEN_MINUTES: Ttl = Ttl::secs(600);

/// Scenario 16: every method can be dropped at every point, and the client still works.
pub async fn dropped_futures_leave_the_client_usable(subject: &Subject) {
    let cache = subject.client();
    let (key, other, counter) = (subject.key("key"), subject.key("other"), subject.key("counter"));
    for polls in (0..12).chain([50, 200]) {
        expect::ok(
            cache.set(&key, "value".into(), TEN_MINUTES).await,
            "set after dropped calls",
        );
        dropped_after(polls, cache.get(&key)).await;
        dropped_after(polls, cache.get_entry(&key)).await;
        dropped_after(polls, cache.get_many(&[&key, &other])).await;
        dropped_after(polls, cache.set(&other, "dropped".into(), TEN_MINUTES)).await;
        dropped_after(polls, cache.set_many(&[(&other, "dropped".into())], TEN_MINUTES)).await;
        dropped_after(polls, cache.set_if_absent(&other, "dropped".into(), TEN_MINUTES)).await;
        dropped_after(
            polls,
            cache.compare_and_set(&key, b"else", "dropped".into(), TEN_MINUTES),
        )
        .await;
        dropped_after(polls, cache.compare_and_delete(&key, b"else")).await;
        dropped_after(polls, cache.get_each(&[&key, &other])).await;
        dropped_after(polls, cache.get_entries(&[&key, &other])).await;
        dropped_after(polls, cache.set_each(&[(&other, "dropped".into(), TEN_MINUTES)])).await;
        dropped_after(polls, cache.get_and_delete(&other)).await;
        dropped_after(polls, cache.get_and_expire(&key, TEN_MINUTES)).await;
        dropped_after(polls, cache.del(&[&other])).await;
        dropped_after(polls, cache.exists(&[&key, &other])).await;
        dropped_after(polls, cache.incr(&counter)).await;
        dropped_after(polls, cache.incr_by(&counter, 2, TEN_MINUTES)).await;
        dropped_after(polls, cache.expire(&key, TEN_MINUTES)).await;
        dropped_after(polls, cache.ttl(&key)).await;
        dropped_after(polls, cache.ping()).await;
        expect::value(
            cache.get(&key).await,
            "value",
            "the key's own value after dropped calls",
        );
        expect::is(
            cache.exists(&[&key]).await,
            1,
            "the key to exist after dropped calls",
        );
        expect::ok(cache.incr(&counter).await, "incr after dropped calls");
        expect::ok(cache.ping().await, "ping after dropped calls");
    }
}

/// Scenario 16: under load, with futures dropped at random, each call that is not dropped gets its own reply.
/// Every value contains the name of its key, so that a crossed reply is visible.
pub async fn no_call_sees_the_reply_of_a_dropped_call(subject: &Subject) {
    let load = subject.load();
    let share = load.drops.div_ceil(load.tasks);
    let mut tasks = JoinSet::new();
    for task in 0..load.tasks {
        let (cache, chance) = (subject.shared(), subject.chance(task));
        let keys = ["a", "b", "count"].map(|name| subject.key(&format!("drops:{task}:{name}")));
        tasks.spawn(async move {
            let mut worker = Worker {
                cache: &*cache,
                keys: &keys,
                chance,
            };
            worker.drop_calls(share).await;
        });
    }
    expect::all(tasks).await;
    dropped_futures_leave_the_client_usable(subject).await;
}

/// One task that drops calls, and checks the replies of the others.
struct Worker<'a> {
    cache: &'a dyn CacheClient,
    keys: &'a [String; 3],
    chance: StdRng,
}

impl Worker<'_> {
    async fn drop_calls(&mut self, share: u32) {
        let [a, b, count] = self.keys;
        for key in [a, b] {
            expect::ok(self.store(key).await, "set before calls are dropped");
        }
        expect::is(self.cache.incr(count).await, 1, "incr before calls are dropped");
        let mut dropped = 0;
        while dropped < share {
            let polls = [0, 1, 1, 2, 2, 3, 5, 9][self.chance.random_range(0..8)];
            if dropped_after(polls, self.checked_call()).await {
                dropped += 1;
            }
            if self.chance.random_ratio(1, 8) {
                self.checked_call().await;
            }
        }
        for key in [a, b] {
            let value = self.cache.get(key).await;
            own(value, key);
        }
    }

    /// One call of any kind whose reply is distinguishable from any other task's.
    async fn checked_call(&mut self) {
        let [a, b, count] = self.keys;
        match self.chance.random_range(0..10) {
            0 | 1 => own(self.cache.get(a).await, a),
            2 => own(self.cache.get(b).await, b),
            3 if self.chance.random() => {
                for (value, key) in self.cache.get_each(&[b, a]).await.into_iter().zip([b, a]) {
                    own(value, key);
                }
            }
            3 => own(self.cache.get_entry(b).await.map(|entry| entry.value), b),
            4 => {
                let values = expect::ok(
                    self.cache.get_many(&[b, a, count]).await,
                    "get_many among dropped calls",
                );
                expect::that(values.len() == 3, "three places for three keys");
                for (value, key) in values.into_iter().zip([b, a]) {
                    own(value.ok_or(CacheError::Miss), key);
                }
            }
            5 => expect::ok(self.store(a).await, "set among dropped calls"),
            6 => {
                // More than any other key can have, so that the reply of another call is visible.
                let counted = expect::ok(self.cache.incr(count).await, "incr among dropped calls");
                expect::that(counted > 1, format_args!("a count of two or more, got {counted}"));
            }
            7 => expect::is(
                self.cache.exists(&[a, b, a, b, a]).await,
                5,
                "five of five to exist",
            ),
            8 => expect::is(
                self.cache.compare_and_delete(b, b"other").await,
                false,
                "an unequal value to stay",
            ),
            _ => expect::ok(self.cache.ping().await, "ping among dropped calls"),
        }
    }

    async fn store(&mut self, key: &str) -> Result<(), CacheError> {
        let padding = "x".repeat(self.chance.random_range(0..200));
        self.cache
            .set(key, format!("{key}={padding}").into(), TEN_MINUTES)
            .await
    }
}

#[track_caller]
fn own(value: Result<Bytes, CacheError>, key: &str) {
    let value = expect::ok(value, format_args!("the value of {key} among dropped calls"));
    let carried = value
        .strip_prefix(key.as_bytes())
        .is_some_and(|rest| rest.starts_with(b"="));
    let start = value[..value.len().min(key.len() + 1)].escape_ascii();
    expect::that(
        carried,
        format_args!("the value of {key}, got that of another call: \"{start}\""),
    );
}

/// Polls `future` this often and drops it; returns whether it was dropped before its end.
async fn dropped_after(polls: u32, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(true);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(false),
            Poll::Pending => {
                // Polled again at once instead of when it is woken, so that the drop can hit every point.
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    })
    .await
}
