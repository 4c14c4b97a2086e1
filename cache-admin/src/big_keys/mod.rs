//! The keys that take the most memory, and what kinds of keys take it, by a random sample.
//!
//! To look at every key of a large cache takes long and costs its other clients. So keys are drawn at random on
//! every primary (`RANDOMKEY`), as many of each as its share of all keys, and their sizes are asked for
//! (`MEMORY USAGE`); between two draws the primary rests as long as the last one took. Where there are no more keys
//! than are to be drawn, all are looked at, once. What was done is in the report, beside what follows from it.
//!
//! Not in here: how it is shown.

mod group;
mod report;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Pattern};
use cache_stack::{Foundation, Stack};
use cache_valkey::admin::{Described, KeyAttributes, Primary};
use futures::future::join_all;

pub use group::Group;
pub use report::{BigKey, BigKeys, SampledPrimary};

use self::report::Gathered;
use crate::{Engine, Options, Outcome, ValkeyKeys};

/// Keys that are drawn, or described, in one round trip: short enough for other clients not to notice.
const BATCH: usize = 32;

/// What to look for, and how much of it.
#[derive(Clone, Debug)]
pub struct BigKeysOptions {
    pattern: Pattern,
    samples: u64,
    top: usize,
    time: Option<Duration>,
}

impl Default for BigKeysOptions {
    fn default() -> Self {
        Self {
            pattern: Pattern::all(),
            samples: 10_000,
            top: 20,
            time: None,
        }
    }
}

impl BigKeysOptions {
    /// Only keys that match, without the prefix of the configuration. Default: all.
    #[must_use]
    pub fn with_pattern(mut self, pattern: Pattern) -> Self {
        self.pattern = pattern;
        self
    }

    /// How many keys are drawn in all, whether they match or not. Default: 10,000.
    #[must_use]
    pub const fn with_samples(mut self, samples: u64) -> Self {
        self.samples = samples;
        self
    }

    /// How many of the largest are told. Default: 20.
    #[must_use]
    pub const fn with_top(mut self, top: usize) -> Self {
        self.top = top;
        self
    }

    /// After how long no more are drawn: the sample is smaller then, which the report tells. Where all keys are to be
    /// looked at, they are. Default: no limit.
    #[must_use]
    pub const fn with_time(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }
}

impl BigKeys {
    /// Draws keys of the cache behind `stack` and asks for their sizes.
    ///
    /// # Errors
    ///
    /// Where no primary could be asked; [`CacheError::Unsupported`] for the embedded cache, which does not say
    /// what a single key takes. One primary that fails is no error but in the report.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn of(stack: &Stack, options: &BigKeysOptions) -> Result<Self, CacheError> {
        let Foundation::Valkey(client) = &stack.foundation else {
            return Err(CacheError::Unsupported {
                detail: "this backend does not say what a single key takes".into(),
            });
        };
        let pattern = options.pattern.within(stack.key_prefix())?;
        let primaries = client.administration().primaries().await?;
        let counts = join_all(primaries.iter().map(Primary::key_count)).await;
        let all: u64 = counts.iter().filter_map(|count| count.as_ref().ok()).sum();
        let gathered = Gathered::new(stack.key_prefix(), options.top);
        if all <= options.samples && counts.iter().all(Result::is_ok) {
            let engine = Engine::new(ValkeyKeys::new(client));
            let counts = counts.into_iter().flatten();
            let addresses = primaries.iter().map(|primary| primary.address().to_string());
            let sampled = addresses.zip(counts).map(|(address, keys)| SampledPrimary {
                address,
                keys: Some(keys),
                sampled: keys,
                error: None,
            });
            return all_of(&engine, &pattern, gathered, sampled.collect()).await;
        }
        let until = options.time.map(|time| clock::now() + time);
        let draws = join_all(
            primaries
                .iter()
                .zip(counts)
                .map(async |(primary, count)| match count {
                    Ok(count) => {
                        let share = share_of(options.samples, count, all);
                        Draw::on(primary, count, (share, until), &pattern).await
                    }
                    Err(error) => Draw::failed(primary, error),
                }),
        )
        .await;
        drawn(draws, gathered)
    }
}

/// How many of `samples` are drawn on a primary with `count` of `all` keys.
fn share_of(samples: u64, count: u64, all: u64) -> u64 {
    let share = u128::from(samples) * u128::from(count) / u128::from(all.max(1));
    u64::try_from(share).unwrap_or(u64::MAX).max(count.min(1))
}

/// Puts together what was drawn.
fn drawn(draws: Vec<Draw>, mut gathered: Gathered) -> Result<BigKeys, CacheError> {
    if draws.iter().all(|draw| draw.failed.is_some())
        && let Some(error) = draws.iter().find_map(|draw| draw.failed.clone())
    {
        return Err(error);
    }
    let mut primaries = Vec::new();
    for draw in draws {
        // Each key that was drawn stands for so many of its primary.
        #[expect(clippy::cast_precision_loss, reason = "counts of keys, far below 2^52")]
        let weight = draw.keys.unwrap_or(0) as f64 / draw.drawn.max(1) as f64;
        for key in &draw.matched {
            gathered.take(key, weight);
        }
        primaries.push(SampledPrimary {
            address: draw.address,
            keys: draw.keys,
            sampled: draw.drawn,
            error: draw.failed.map(|error| error.to_string()),
        });
    }
    Ok(gathered.report(primaries, false))
}

/// Looks at every key.
async fn all_of(
    engine: &Engine,
    pattern: &Pattern,
    mut gathered: Gathered,
    primaries: Vec<SampledPrimary>,
) -> Result<BigKeys, CacheError> {
    let mut listing = engine.list(pattern, None, &Options::default());
    // A listing may name a key twice; there are not many.
    let mut keys = BTreeSet::<Bytes>::new();
    while let Some(key) = listing.next().await {
        keys.insert(key);
    }
    let report = listing.finish().await;
    if let Outcome::Failed { error } = report.outcome {
        return Err(error);
    }
    let keys: Vec<Bytes> = keys.into_iter().collect();
    for batch in keys.chunks(BATCH) {
        let asked = clock::now();
        let described = engine.describe(batch, TRAITS).await?;
        for (key, described) in batch.iter().zip(described) {
            if let Some(described) = described {
                gathered.take(&Measured::of(key, &described), 1.0);
            }
        }
        tokio::time::sleep(clock::now() - asked).await;
    }
    Ok(gathered.report(primaries, matches!(report.outcome, Outcome::Complete)))
}

const TRAITS: KeyAttributes = KeyAttributes {
    kind: true,
    ttl: true,
    size: true,
    idle: false,
};

/// A key that was looked at.
#[derive(Clone, Debug)]
struct Measured {
    key: Bytes,
    kind: &'static str,
    bytes: u64,
    has_life: bool,
}

impl Measured {
    fn of(key: &Bytes, described: &crate::Description) -> Self {
        Self {
            key: key.clone(),
            kind: described.kind.map_or("other", crate::KeyType::name),
            bytes: described.size.unwrap_or(0),
            has_life: matches!(described.ttl, Some(cache_core::Ttl::After(_))),
        }
    }
}

/// What was drawn on one primary.
struct Draw {
    address: String,
    keys: Option<u64>,
    drawn: u64,
    matched: Vec<Measured>,
    failed: Option<CacheError>,
}

impl Draw {
    fn failed(primary: &Primary, error: CacheError) -> Self {
        Self {
            address: primary.address().to_string(),
            keys: None,
            drawn: 0,
            matched: Vec::new(),
            failed: Some(error),
        }
    }

    /// Draws `share` keys, or as many as there is time for.
    async fn on(
        primary: &Primary,
        count: u64,
        (share, until): (u64, Option<Instant>),
        pattern: &Pattern,
    ) -> Self {
        let mut draw = Self {
            address: primary.address().to_string(),
            keys: Some(count),
            drawn: 0,
            matched: Vec::new(),
            failed: None,
        };
        while draw.drawn < share && until.is_none_or(|until| clock::now() < until) {
            let left = usize::try_from(share - draw.drawn).unwrap_or(BATCH);
            let asked = clock::now();
            match draw.batch(primary, left.min(BATCH), pattern).await {
                // It has become empty.
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    draw.failed = Some(error);
                    break;
                }
            }
            tokio::time::sleep(clock::now() - asked).await;
        }
        draw
    }

    /// Draws some keys; how many.
    async fn batch(
        &mut self,
        primary: &Primary,
        draws: usize,
        pattern: &Pattern,
    ) -> Result<usize, CacheError> {
        let keys = primary.random_keys(draws).await?;
        let drawn = keys.len();
        self.drawn += u64::try_from(drawn).unwrap_or(0);
        let keys: Vec<Bytes> = keys.into_iter().filter(|key| pattern.matches(key)).collect();
        if !keys.is_empty() {
            let described = primary.describe(&keys, TRAITS).await?;
            for (key, described) in keys.iter().zip(described) {
                // What is gone meanwhile, or on its way, has no size to tell.
                if let Described::Here(described) = described {
                    self.matched.push(Measured::of(key, &described));
                }
            }
        }
        Ok(drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_primary_is_drawn_from_by_its_share_and_none_that_has_keys_is_left_out() {
        assert_eq!(share_of(1_000, 500, 1_000), 500);
        assert_eq!(share_of(1_000, 1, 1_000_000), 1);
        assert_eq!(share_of(1_000, 0, 1_000_000), 0);
        assert_eq!(share_of(0, 5, 10), 1);
    }

    #[test]
    fn what_was_drawn_stands_for_the_keys_of_its_primary() {
        let sized = |key: &'static str, bytes| Measured {
            key: key.into(),
            kind: "string",
            bytes,
            has_life: true,
        };
        let draw = |address: &str, keys, matched: Vec<Measured>| Draw {
            address: address.into(),
            keys: Some(keys),
            drawn: 2,
            matched,
            failed: None,
        };
        let draws = vec![
            draw("a:1", 1_000, vec![sized("user:1", 100), sized("user:1", 100)]),
            draw("b:1", 10, vec![sized("cart:1", 5_000)]),
        ];
        let report = drawn(draws, Gathered::new("", 10)).unwrap();
        assert_eq!((report.keys, report.sampled, report.matched), (Some(1_010), 4, 3));
        let largest: Vec<_> = report.largest.iter().map(|key| key.memory_bytes).collect();
        assert_eq!(largest, [5_000, 100]);
        let of_prefix = |name: &str| report.by_prefix.iter().find(|group| group.name == name).unwrap();
        assert_eq!(of_prefix("user:").estimated_bytes, 100_000);
        assert_eq!(of_prefix("cart:").estimated_keys, 5);
        assert_eq!(of_prefix("cart:").estimated_bytes, 25_000);
        assert!(!report.exact);
    }

    #[test]
    fn only_where_every_primary_fails_is_there_no_report() {
        let draw = |failed| Draw {
            address: "a:1".into(),
            keys: None,
            drawn: 0,
            matched: Vec::new(),
            failed,
        };
        let all = vec![draw(Some(CacheError::Closed))];
        assert!(drawn(all, Gathered::new("", 1)).is_err());
        let some = vec![draw(Some(CacheError::Closed)), draw(None)];
        let report = drawn(some, Gathered::new("", 1)).unwrap();
        assert_eq!(report.keys, None);
        assert!(report.primaries[0].error.is_some());
    }
}
