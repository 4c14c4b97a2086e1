//! Many tasks with mixed calls, against a model. Races of one kind of call are tested with that kind.

use std::collections::HashMap;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use tokio::task::JoinSet;

use super::{Subject, expect};
use crate::{CacheClient, Ttl};

const TEN_MINUTES: Ttl = Ttl::secs(600);
const KEYS: usize = 6;

/// Scenario 18: the randomly mixed calls of many tasks agree with a model. Each task owns keys whose state it
/// knows completely, and all tasks share the counters.
pub async fn mixed_calls_of_many_tasks_agree_with_a_model(subject: &Subject) {
    let load = subject.load();
    let counters = subject.keys_in_different_slots("counter", 4);
    let mut tasks = JoinSet::new();
    for task in 0..load.tasks {
        let (cache, counters, chance) = (subject.shared(), counters.clone(), subject.chance(task));
        let keys: Vec<String> = (0..KEYS)
            .map(|number| subject.key(&format!("model:{task}:{number}")))
            .collect();
        tasks.spawn(async move {
            let model = HashMap::new();
            let mut player = Player {
                cache: &*cache,
                keys: &keys,
                counters: &counters,
                chance,
                model,
                counted: [0; 4],
            };
            for _ in 0..load.calls {
                player.call().await;
            }
            player.counted
        });
    }
    let counted = expect::all(tasks).await;
    for (number, counter) in counters.iter().enumerate() {
        let sum: i64 = counted.iter().map(|counted| counted[number]).sum();
        let total = subject.client().incr_by(counter, 0, Ttl::Forever).await;
        expect::is(total, sum, "what all tasks counted together");
    }
}

/// The value of a key, and whether it has a TTL.
type Held = (Bytes, bool);

/// One task, and the expected state of its keys.
struct Player<'a> {
    cache: &'a dyn CacheClient,
    keys: &'a [String],
    counters: &'a [String],
    chance: StdRng,
    model: HashMap<&'a str, Held>,
    counted: [i64; 4],
}

impl<'a> Player<'a> {
    async fn call(&mut self) {
        let (key, other) = (self.any_key(), self.any_key());
        let (ttl, limited) = if self.chance.random() {
            (TEN_MINUTES, true)
        } else {
            (Ttl::Forever, false)
        };
        match self.chance.random_range(0..14) {
            0 => {
                let (value, _) = self.model.get(key).cloned().unzip();
                let got = self.cache.get(key).await;
                match value {
                    Some(value) => expect::value(got, value, "get as the model"),
                    None => expect::miss(got, "get as the model"),
                }
            }
            1 => {
                let got = self.cache.get_entry(key).await;
                match self.model.get(key) {
                    Some((value, limited)) => {
                        let entry = expect::ok(got, "get_entry as the model");
                        expect::value(Ok(entry.value), value, "get_entry as the model");
                        expect::that(
                            entry.remaining.is_forever() != *limited,
                            "the TTL that the model has",
                        );
                    }
                    None => expect::miss(got, "get_entry as the model"),
                }
            }
            2 => {
                let wanted = [key, other, key].map(|key| self.model.get(key).map(|(value, _)| &value[..]));
                expect::values(
                    self.cache.get_many(&[key, other, key]).await,
                    &wanted,
                    "get_many as the model",
                );
            }
            3 | 4 => {
                let value = self.any_value();
                expect::ok(self.cache.set(key, value.clone(), ttl).await, "set");
                self.model.insert(key, (value, limited));
            }
            5 => {
                let (first, second) = (self.any_value(), self.any_value());
                let entries = [(key, first.clone()), (other, second.clone())];
                expect::ok(self.cache.set_many(&entries, ttl).await, "set_many");
                self.model.insert(key, (first, limited));
                self.model.insert(other, (second, limited));
            }
            6 => {
                let value = self.any_value();
                let absent = !self.model.contains_key(key);
                let stored = self.cache.set_if_absent(key, value.clone(), ttl).await;
                expect::is(stored, absent, "set_if_absent as the model");
                self.model.entry(key).or_insert((value, limited));
            }
            7 => {
                let (value, guess) = (self.any_value(), self.guess(key));
                let equal = self.model.get(key).is_some_and(|(held, _)| *held == guess);
                let replaced = self.cache.compare_and_set(key, &guess, value.clone(), ttl).await;
                expect::is(replaced, equal, "compare_and_set as the model");
                if equal {
                    self.model.insert(key, (value, limited));
                }
            }
            8 => {
                let guess = self.guess(key);
                let equal = self.model.get(key).is_some_and(|(held, _)| *held == guess);
                let deleted = self.cache.compare_and_delete(key, &guess).await;
                expect::is(deleted, equal, "compare_and_delete as the model");
                if equal {
                    self.model.remove(key);
                }
            }
            9 => {
                let wanted = [key, other]
                    .iter()
                    .filter(|key| self.model.remove(**key).is_some())
                    .count() as u64;
                expect::is(self.cache.del(&[key, other]).await, wanted, "del as the model");
            }
            10 => {
                let wanted = [key, other]
                    .iter()
                    .filter(|key| self.model.contains_key(**key))
                    .count() as u64;
                expect::is(
                    self.cache.exists(&[key, other]).await,
                    wanted,
                    "exists as the model",
                );
            }
            11 => {
                let held = self.model.get_mut(key);
                let there = held.map(|held| held.1 = limited).is_some();
                expect::is(self.cache.expire(key, ttl).await, there, "expire as the model");
            }
            12 => match self.model.get(key) {
                Some((_, true)) => {
                    let left = expect::ok(self.cache.ttl(key).await, "ttl as the model");
                    expect::that(!left.is_forever(), "the TTL that the model has");
                }
                Some((_, false)) => expect::forever(self.cache.ttl(key).await, "ttl as the model"),
                None => expect::miss(self.cache.ttl(key).await, "ttl as the model"),
            },
            _ => self.count().await,
        }
    }

    async fn count(&mut self) {
        let number = self.chance.random_range(0..self.counted.len());
        let counter = &self.counters[number];
        if self.chance.random() {
            expect::ok(self.cache.incr(counter).await, "incr of a counter of all");
            self.counted[number] += 1;
        } else {
            let delta = self.chance.random_range(-5..50);
            expect::ok(
                self.cache.incr_by(counter, delta, TEN_MINUTES).await,
                "incr_by of a counter of all",
            );
            self.counted[number] += delta;
        }
    }

    fn any_key(&mut self) -> &'a str {
        self.keys.choose(&mut self.chance).map_or("", String::as_str)
    }

    fn any_value(&mut self) -> Bytes {
        let mut value = vec![0; self.chance.random_range(0..64)];
        self.chance.fill(&mut value[..]);
        value.into()
    }

    /// The value of `key`, or another one.
    fn guess(&mut self, key: &str) -> Bytes {
        match self.model.get(key) {
            Some((value, _)) if self.chance.random() => value.clone(),
            _ => self.any_value(),
        }
    }
}
