//! How long a round trip takes: to each primary, and through the client.

use std::time::Duration;

use cache_core::{CacheError, clock};
use futures::future::join_all;

use super::finding::{Check, Verdict};
use super::patient::{Node, Patient};

pub(super) const CHECK: Check = Check {
    name: "latency",
    why: "every far read pays it; what the slowest of a hundred calls takes is what callers see every second",
};

/// Round trips of each kind to each primary, one after the other.
const TRIPS: u32 = 100;
/// No more of them after this time.
const LIMIT: Duration = Duration::from_secs(1);
/// A median above this is not a cache nearby.
const SLOW_MEDIAN: Duration = Duration::from_millis(10);
/// One in a hundred above this is worth a word.
const SLOW_TAIL: Duration = Duration::from_millis(100);

pub(super) async fn look(patient: &Patient) -> Verdict {
    let primaries: Vec<_> = patient.primaries().collect();
    let pings = join_all(primaries.iter().map(|node| pings(node))).await;
    let mut by_node: Vec<(&str, Times)> = primaries
        .iter()
        .zip(pings)
        .filter_map(|(node, times)| Some((node.address(), Times::of(times)?)))
        .collect();
    by_node.sort_by_key(|(_, times)| std::cmp::Reverse(times.tail));
    let Some((slowest, worst)) = by_node.first() else {
        return Verdict::fail("no primary answers", "see the primaries").unless_explained();
    };
    let gets = gets(patient, &primaries).await;
    let mut seen = format!("PING {}", worst.words());
    if by_node.len() > 1 {
        seen = format!(
            "PING to {slowest}, the slowest of {}, {}",
            by_node.len(),
            worst.words()
        );
    }
    let gets = match gets {
        Ok(times) => Times::of(times),
        // The user may not read; permissions tells.
        Err(CacheError::Denied { .. }) => None,
        Err(error) => {
            return Verdict::fail(format!("{seen}; GET: {error}"), "see the primaries").unless_explained();
        }
    };
    if let Some(gets) = &gets {
        seen.push_str(&format!("; GET through the client {}", gets.words()));
    }
    let all = std::iter::once(worst).chain(&gets);
    if all.into_iter().any(Times::are_slow) {
        return Verdict::warn(
            seen,
            "run the service near the cache; look for slow commands (cachectl top) and for a busy machine",
        );
    }
    Verdict::ok(seen)
}

async fn pings(node: &Node) -> Vec<Duration> {
    // The first one may have to connect.
    if node.member.ping().await.is_err() {
        return Vec::new();
    }
    let started = clock::now();
    let mut times = Vec::new();
    for _ in 0..TRIPS {
        let sent = clock::now();
        if node.member.ping().await.is_err() || clock::now() - started > LIMIT {
            break;
        }
        times.push(clock::now() - sent);
    }
    times
}

/// Reads of keys that do not exist, of each primary in turn.
async fn gets(patient: &Patient, primaries: &[&Node]) -> Result<Vec<Duration>, CacheError> {
    let keys: Vec<String> = primaries.iter().filter_map(|node| patient.key_of(node)).collect();
    let read = async |key: &str| match patient.stack.client.get(key).await {
        Ok(_) | Err(CacheError::Miss) => Ok(()),
        Err(error) => Err(error),
    };
    for key in &keys {
        read(key).await?;
    }
    let started = clock::now();
    let mut times = Vec::new();
    for key in keys.iter().cycle().take(usize::try_from(TRIPS).unwrap_or(0)) {
        if clock::now() - started > LIMIT {
            break;
        }
        let sent = clock::now();
        read(key).await?;
        times.push(clock::now() - sent);
    }
    Ok(times)
}

/// How long calls took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    median: Duration,
    /// What 99 of 100 stay below.
    tail: Duration,
    most: Duration,
    count: usize,
}

impl Times {
    /// None of no call.
    fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let rank = |per_cent: usize| {
            let rank = (times.len() * per_cent).div_ceil(100);
            times.get(rank.saturating_sub(1)).copied()
        };
        Some(Self {
            median: rank(50)?,
            tail: rank(99)?,
            most: *times.last()?,
            count: times.len(),
        })
    }

    fn are_slow(&self) -> bool {
        self.median > SLOW_MEDIAN || self.tail > SLOW_TAIL
    }

    fn words(&self) -> String {
        let millis = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1e3);
        format!(
            "p50 {} p99 {} max {} ms (n = {})",
            millis(self.median),
            millis(self.tail),
            millis(self.most),
            self.count
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let times = (1..=200).rev().map(Duration::from_millis).collect();
        let times = Times::of(times).unwrap();
        assert_eq!(times.words(), "p50 100.00 p99 198.00 max 200.00 ms (n = 200)");
        assert!(times.are_slow());
        let one = Times::of(vec![Duration::from_micros(250)]).unwrap();
        assert_eq!(one.words(), "p50 0.25 p99 0.25 max 0.25 ms (n = 1)");
        assert!(!one.are_slow());
        assert_eq!(Times::of(Vec::new()), None);
    }

    #[test]
    fn two_slow_calls_of_a_hundred_are_worth_a_word_and_one_is_not() {
        let times = |slow: usize| {
            let mut times = vec![Duration::from_millis(1); 100 - slow];
            times.resize(100, Duration::from_millis(150));
            Times::of(times).unwrap()
        };
        assert!(times(2).are_slow());
        assert!(!times(1).are_slow());
    }
}
