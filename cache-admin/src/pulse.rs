//! How each primary does from one look to the next: rates rather than totals, and the calls that took long.
//!
//! What a look leaves behind for the rates of the next one is a [`Reading`], which can be given away and brought back,
//! so that a service need not remember who looks. Not in here: how it is shown.

mod reading;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheError, MemoryCache};
use cache_layers::{SystemClock, WallClock as _};
use cache_stack::{Foundation, Stack};
use cache_valkey::ValkeyClient;
use cache_valkey::admin::{Member, NodeInfo, Role, SlowCall};
use futures::future::join_all;
use serde::{Deserialize, Serialize};

pub use self::reading::Reading;
use self::reading::{Totals, micros};
use crate::overview::{node::pairs, share};

/// Slow calls that are asked of each primary.
const SLOW_CALLS: u32 = 10;

/// Looks at the primaries again and again.
#[derive(Debug)]
pub struct Pulse {
    source: Source,
    /// What each primary said the last time.
    before: HashMap<String, (Instant, Totals)>,
}

#[derive(Debug)]
enum Source {
    Memory(Arc<MemoryCache>),
    Valkey(Arc<ValkeyClient>),
}

/// One look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Beat {
    /// The primaries, in the order of their slots.
    pub primaries: Vec<PrimaryBeat>,
    /// Ranges of slots, first and last, that no primary serves.
    pub uncovered: Vec<[u16; 2]>,
    /// The latest calls that took long, on all primaries, the latest first.
    pub slow: Vec<SlowLine>,
    /// Whether a primary does not let this user see its slow calls.
    #[serde(default)]
    pub slow_hidden: bool,
}

/// One primary at one look. What it does not tell is missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct PrimaryBeat {
    /// Where it is.
    pub address: String,
    /// Whether it answered.
    pub reachable: bool,
    /// Commands in a second: since the look before, at the first look by its own reckoning.
    pub ops_per_second: Option<u64>,
    /// The share of reads that found a key: since the look before, at the first look since its start.
    pub hit_rate: Option<f64>,
    /// Keys.
    pub keys: Option<u64>,
    /// Memory in use, in bytes.
    pub memory_used: Option<u64>,
    /// The limit of the memory in bytes; 0 is none.
    pub memory_limit: Option<u64>,
    /// Connections of clients.
    pub clients: Option<u64>,
    /// Keys evicted in a second, since the look before.
    pub evicted_per_second: Option<u64>,
    /// The share of the time that its main thread worked, since the look before.
    pub main_thread: Option<f64>,
}

/// A call that took long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct SlowLine {
    /// The primary.
    pub primary: String,
    /// When it was, in seconds since 1970 by the primary's clock.
    pub at: u64,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// The name of the command; what it was about is not shown.
    pub command: String,
    /// How many arguments it had.
    pub arguments: usize,
    /// Whose call it was.
    pub client: String,
}

impl Pulse {
    /// Of the primaries behind `stack`.
    ///
    /// # Errors
    ///
    /// [`CacheError::Unsupported`] for a backend that does not tell how it does.
    pub fn of(stack: &Stack) -> Result<Self, CacheError> {
        let source = match &stack.foundation {
            Foundation::Memory(cache) => Source::Memory(Arc::clone(cache)),
            Foundation::Valkey(client) => Source::Valkey(Arc::clone(client)),
            _ => {
                return Err(CacheError::Unsupported {
                    detail: "this backend does not tell how it does".into(),
                });
            }
        };
        Ok(Self {
            source,
            before: HashMap::new(),
        })
    }

    /// The same, as if what left `reading` behind had been its own last look.
    #[must_use]
    pub fn after(mut self, reading: Reading) -> Self {
        let (now, clock) = (clock::now(), SystemClock.since_epoch());
        self.before = reading
            .0
            .into_iter()
            .filter_map(|(address, at, totals)| {
                // One of the future is of a clock that was set; it says nothing.
                let age = clock.checked_sub(Duration::from_micros(at))?;
                Some((address, (now.checked_sub(age)?, totals)))
            })
            .collect();
        self
    }

    /// What the last look leaves behind, of at most so many primaries.
    #[must_use]
    pub fn reading(&self, most: usize) -> Reading {
        let (now, clock) = (clock::now(), SystemClock.since_epoch());
        let mut rows: Vec<_> = self
            .before
            .iter()
            .map(|(address, (at, totals))| {
                let at = clock.saturating_sub(now - *at);
                (address.clone(), micros(at), *totals)
            })
            .collect();
        rows.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        rows.truncate(most);
        Reading(rows)
    }

    /// Looks once: who is there, and all primaries at the same time.
    ///
    /// # Errors
    ///
    /// If no server says which servers there are. The next look may succeed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn beat(&mut self) -> Result<Beat, CacheError> {
        let client = match &self.source {
            Source::Memory(cache) => return Ok(of_memory(cache)),
            Source::Valkey(client) => Arc::clone(client),
        };
        let administration = client.administration();
        let view = administration.topology().await?;
        let members = administration.members_of(&view);
        let primaries = members
            .iter()
            .filter(|member| member.view().role == Role::Primary);
        let looks = join_all(primaries.map(look)).await;
        let mut beat = Beat {
            primaries: Vec::new(),
            uncovered: pairs(&view.uncovered),
            slow: Vec::new(),
            slow_hidden: false,
        };
        let mut seen = HashMap::new();
        for look in looks {
            beat.primaries.push(look.as_beat(self.before.get(&look.address)));
            beat.slow_hidden |= look.slow.is_none();
            beat.slow.extend(look.slow.into_iter().flatten());
            if let Ok(vitals) = look.vitals {
                seen.insert(look.address, (look.at, Totals::of(&vitals.unwrap_or_default())));
            }
        }
        beat.slow.sort_by_key(|slow| std::cmp::Reverse(slow.at));
        self.before = seen;
        Ok(beat)
    }
}

/// What one primary said.
struct Look {
    address: String,
    at: Instant,
    vitals: Result<Option<NodeInfo>, CacheError>,
    /// `None` where the user may not see them.
    slow: Option<Vec<SlowLine>>,
}

async fn look(member: &Member) -> Look {
    let address = member.view().address.to_string();
    let (vitals, slow) = futures::join!(member.info(), member.slow_calls(SLOW_CALLS));
    let line = |call: SlowCall| SlowLine {
        primary: address.clone(),
        at: call.at.as_secs(),
        micros: micros(call.took),
        command: call.command,
        arguments: call.arguments,
        client: call.client,
    };
    // One that does not answer hides nothing.
    let slow = slow.unwrap_or_else(|_| Some(Vec::new()));
    Look {
        at: clock::now(),
        slow: slow.map(|slow| slow.into_iter().map(line).collect()),
        vitals,
        address,
    }
}

impl Look {
    fn as_beat(&self, before: Option<&(Instant, Totals)>) -> PrimaryBeat {
        let now = self.vitals.clone().ok().flatten().unwrap_or_default();
        let totals = Totals::of(&now);
        // One that was started anew counts from 0 again: there is no look before.
        let before =
            before.filter(|(_, before)| before.uptime <= totals.uptime && before.commands <= totals.commands);
        let elapsed = before.map(|(at, _)| self.at - *at);
        let gained = |of: fn(&Totals) -> Option<u64>| {
            let (_, before) = before?;
            Some(of(&totals)?.saturating_sub(of(before)?))
        };
        let rate = |of| Some(per_second(gained(of)?, elapsed?));
        let hits = gained(|totals| totals.hits).zip(gained(|totals| totals.misses));
        let worked = gained(|totals| totals.main_thread).map(Duration::from_micros);
        PrimaryBeat {
            address: self.address.clone(),
            reachable: self.vitals.is_ok(),
            ops_per_second: rate(|totals| totals.commands).or(now.operations_per_second),
            hit_rate: match hits {
                Some((hits, misses)) => share(hits, misses),
                None => now.hit_rate(),
            },
            keys: now.keys,
            memory_used: now.memory.used,
            memory_limit: now.memory.limit,
            clients: now.clients,
            evicted_per_second: rate(|totals| totals.evicted),
            main_thread: worked
                .zip(elapsed)
                .map(|(worked, elapsed)| worked.as_secs_f64() / elapsed.as_secs_f64().max(1e-9)),
        }
    }
}

fn per_second(count: u64, elapsed: Duration) -> u64 {
    let micros = elapsed.as_micros().max(1);
    let rate = u128::from(count) * 1_000_000 / micros;
    u64::try_from(rate).unwrap_or(u64::MAX)
}

fn of_memory(cache: &MemoryCache) -> Beat {
    Beat {
        primaries: vec![PrimaryBeat {
            address: "memory".to_owned(),
            reachable: true,
            keys: Some(cache.len()),
            memory_used: Some(cache.bytes()),
            ..PrimaryBeat::default()
        }],
        uncovered: Vec::new(),
        slow: Vec::new(),
        slow_hidden: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rates_are_of_the_time_between_two_looks_and_not_across_a_restart() {
        let vitals = |uptime, commands, hits, misses| {
            let mut vitals = NodeInfo::default();
            vitals.uptime = Some(Duration::from_secs(uptime));
            vitals.commands = Some(commands);
            vitals.hits = Some(hits);
            vitals.misses = Some(misses);
            vitals.operations_per_second = Some(7);
            vitals
        };
        let started = clock::now();
        let before = (started, Totals::of(&vitals(10, 1_000, 90, 10)));
        let look = |vitals| Look {
            address: "a:1".into(),
            at: started + Duration::from_secs(2),
            vitals: Ok(Some(vitals)),
            slow: None,
        };
        let beat = look(vitals(12, 3_000, 91, 12)).as_beat(Some(&before));
        assert_eq!(beat.ops_per_second, Some(1_000));
        assert!(beat.hit_rate.is_some_and(|rate| (rate - 1.0 / 3.0).abs() < 1e-9));
        let first = look(vitals(12, 3_000, 75, 25)).as_beat(None);
        assert_eq!((first.ops_per_second, first.hit_rate), (Some(7), Some(0.75)));
        let restarted = look(vitals(1, 5, 1, 1)).as_beat(Some(&before));
        assert_eq!(restarted.ops_per_second, Some(7));
    }
    #[tokio::test]
    async fn a_reading_that_was_given_away_goes_on_where_it_was_and_one_of_the_future_says_nothing() {
        let stack = cache_stack::assemble(&cache_core::CacheConfig::default())
            .await
            .unwrap();
        let mut pulse = Pulse::of(&stack).unwrap();
        let totals = Totals {
            uptime: Some(5),
            commands: Some(7),
            ..Totals::default()
        };
        let taken = clock::now();
        for number in 0..5 {
            pulse.before.insert(format!("{number}:1"), (taken, totals));
        }
        let text = serde_json::to_string(&pulse.reading(3)).unwrap();
        let reading: Reading = serde_json::from_str(&text).unwrap();
        assert_eq!(reading.0.len(), 3);
        let next = Pulse::of(&stack).unwrap().after(reading.clone());
        let (at, known) = next.before["2:1"];
        assert_eq!(known, totals);
        let apart = at.max(taken) - at.min(taken);
        assert!(apart < Duration::from_millis(50), "{apart:?}");

        let ahead = reading
            .0
            .into_iter()
            .map(|(address, at, totals)| (address, at + 60_000_000, totals));
        let next = Pulse::of(&stack).unwrap().after(Reading(ahead.collect()));
        assert!(next.before.is_empty());
    }
}
