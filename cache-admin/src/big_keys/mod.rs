//! The keys that take the most memory, and what kinds of keys take it.
//!
//! By default every key is looked at: the engine lists them at its gentle pace, and their sizes are asked for
//! (`MEMORY USAGE`). A few large keys among many small ones are found by nothing less. On request keys are drawn at
//! random on every primary (`RANDOMKEY`), as many of each as its share of all keys; between two draws the primary rests
//! as long as the last one took. If there are no more keys than are to be drawn, all are looked at.
//!
//! Not in here: how it is shown.

mod group;
mod report;

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
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

/// Keys whose names are remembered during a scan, as numbers, so that one that is listed twice counts once.
const REMEMBERED: usize = 1_000_000;

/// What to look for, and how much of it.
#[derive(Clone, Debug)]
pub struct BigKeysOptions {
    pattern: Pattern,
    samples: Option<u64>,
    top: usize,
    time: Option<Duration>,
    scan: Options,
}

impl Default for BigKeysOptions {
    fn default() -> Self {
        Self {
            pattern: Pattern::all(),
            samples: None,
            top: 20,
            time: None,
            scan: Options::default(),
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

    /// Draws so many keys at random in all, whether they match or not. Default: all keys are looked at.
    #[must_use]
    pub const fn with_samples(mut self, samples: u64) -> Self {
        self.samples = Some(samples);
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

    /// How all keys are listed if they are all looked at: the pace, who watches, and what stops it. A search that was
    /// stopped reports what it had found. Default: that of [`Options`].
    #[must_use]
    pub fn with_scan(mut self, scan: Options) -> Self {
        self.scan = scan;
        self
    }
}

impl BigKeys {
    /// Asks for the sizes of the keys of the cache behind `stack`: of all, or of some that are drawn at random.
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
        let known = counts.iter().all(Result::is_ok);
        let samples = options.samples.filter(|samples| !known || all > *samples);
        let Some(samples) = samples else {
            let engine = Engine::new(ValkeyKeys::new(client));
            let addresses = primaries.iter().map(|primary| primary.address().to_string());
            let sampled = addresses.zip(counts).map(|(address, keys)| SampledPrimary {
                address,
                sampled: keys.as_ref().copied().unwrap_or(0),
                error: keys.as_ref().err().map(ToString::to_string),
                keys: keys.ok(),
            });
            return all_of(&engine, &pattern, gathered, sampled.collect(), &options.scan).await;
        };
        let until = options.time.map(|time| clock::now() + time);
        let draws = join_all(
            primaries
                .iter()
                .zip(counts)
                .map(async |(primary, count)| match count {
                    Ok(count) => {
                        let share = share_of(samples, count, all);
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
    mut primaries: Vec<SampledPrimary>,
    scan: &Options,
) -> Result<BigKeys, CacheError> {
    let mut listing = engine.list(pattern, None, scan);
    let hasher = RandomState::new();
    let mut seen = HashSet::new();
    let mut batch = Vec::new();
    let at_once = BATCH * primaries.len().max(1);
    while let Some(key) = listing.next().await {
        // A listing may name a key twice; there are not many.
        let number = hasher.hash_one(&key);
        let is_new = !seen.contains(&number);
        if is_new && seen.len() < REMEMBERED {
            seen.insert(number);
        }
        if is_new {
            batch.push(key);
        }
        if batch.len() >= at_once {
            measure(engine, &mut batch, &mut gathered).await?;
        }
    }
    measure(engine, &mut batch, &mut gathered).await?;
    let report = listing.finish().await;
    let is_complete = matches!(report.outcome, Outcome::Complete);
    if let Outcome::Failed { error } = report.outcome {
        return Err(error);
    }
    if !is_complete {
        for primary in &mut primaries {
            let row = report
                .primaries
                .iter()
                .find(|row| *row.address == *primary.address);
            primary.sampled = row.map_or(0, |row| row.counts.matched);
            let error = row.filter(|row| !row.stopped).and_then(|row| row.error.as_ref());
            primary.error = error.map(ToString::to_string).or(primary.error.take());
        }
    }
    let exact = is_complete && primaries.iter().all(|primary| primary.error.is_none());
    Ok(gathered.report(primaries, exact))
}

/// Asks for the sizes of `keys`, on all their primaries at once, and rests as long as that took.
async fn measure(engine: &Engine, keys: &mut Vec<Bytes>, gathered: &mut Gathered) -> Result<(), CacheError> {
    if keys.is_empty() {
        return Ok(());
    }
    let asked = clock::now();
    let described = engine.describe(keys, TRAITS).await?;
    for (key, described) in keys.iter().zip(described) {
        if let Some(described) = described {
            gathered.take(&Measured::of(key, &described), 1.0);
        }
    }
    keys.clear();
    tokio::time::sleep(clock::now() - asked).await;
    Ok(())
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
