//! About how many keys a selection has, from a bounded number of draws: a dry run that costs next to nothing.
//!
//! Keys are drawn by the servers, at random out of all that they hold. Pages from somewhere in a walk would not do:
//! a hash tag puts all of a tenant's keys into one slot, which most such pages never meet.

use std::ops::RangeInclusive;

use bytes::Bytes;
use cache_core::{CacheError, Outcome as Applied, Unavailability};
use futures::future::try_join_all;

use super::report::GapReason;
use super::{Engine, Options, Outcome, Report, Selection};
use crate::keys::{KeyAttributes, Layout, Shard};

/// Keys that one call draws, so that it holds up other clients for some 0.1 ms.
const DRAWS: u64 = 100;

/// The range holds 95 times in 100: so many standard deviations to either side.
const DEVIATIONS: f64 = 1.96;

/// About how many keys a selection has, and how far that may be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Estimate {
    /// About how many keys the selection has.
    pub matched: u64,
    /// Where the true number is, 95 times in 100; one number where it was counted.
    pub range: RangeInclusive<u64>,
    /// How many keys the primaries hold, whatever their names.
    pub keys: u64,
    /// How it was found out.
    pub method: Method,
}

/// How the number of keys was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// Every key was looked at that could be one: there are no more of them than were allowed to be drawn, their
    /// slots are known by hash tags, or the backend does not draw keys.
    Counted,
    /// So many keys were drawn at random from all primaries, and some of them matched.
    Drawn {
        /// Draws in all.
        keys: u64,
        /// Those of them that are of the selection.
        matched: u64,
    },
}

impl Engine {
    /// Estimates how many keys `selection` has, and looks at no more than about `budget` of them where the backend
    /// can draw keys at random (`RANDOMKEY`): as many on each primary as its share of all keys. Removes nothing.
    ///
    /// The range shrinks with the square root of the budget: of 10,000 draws it is at most one hundredth of all
    /// keys to either side, and narrower for what is rare. Whoever has to know exactly, [counts](Engine::count).
    /// `options` are for what is counted after all ([`Method::Counted`]).
    ///
    /// # Errors
    ///
    /// Where any primary does not answer or refuses: an estimate of a part would say nothing of the whole.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn estimate(
        &self,
        selection: impl Into<Selection>,
        budget: u64,
        options: &Options,
    ) -> Result<Estimate, CacheError> {
        let selection = selection.into();
        let clustered;
        let shards = match self.keys.layout().await? {
            Layout::Whole(shard) => {
                clustered = false;
                vec![shard]
            }
            Layout::Slots(shards) => {
                clustered = true;
                shards.into_iter().map(|(shard, _)| shard).collect()
            }
        };
        let sizes = try_join_all(shards.iter().map(|shard| shard.key_count())).await?;
        let keys: u64 = sizes.iter().sum();
        let pinned = clustered
            && selection.slots().is_some()
            && shards.iter().all(|shard| shard.start_of(0).is_some());
        if keys <= budget || pinned {
            return self.counted(selection, keys, options).await;
        }
        let drawn = shards.iter().zip(&sizes).map(|(shard, size)| {
            let share = u128::from(budget) * u128::from(*size) / u128::from(keys);
            draw(&**shard, u64::try_from(share).unwrap_or(budget))
        });
        let drawn: Vec<Bytes> = match try_join_all(drawn).await {
            Ok(drawn) => drawn.into_iter().flatten().collect(),
            Err(CacheError::Unsupported { .. }) => return self.counted(selection, keys, options).await,
            Err(error) => return Err(error),
        };
        let matched = self.passing(&selection, &drawn).await?;
        Ok(Estimate::of(keys, count(drawn.len()), matched))
    }

    async fn counted(
        &self,
        selection: Selection,
        keys: u64,
        options: &Options,
    ) -> Result<Estimate, CacheError> {
        let report = self.count(selection, 0, options).await.report;
        let matched = report.total().matched;
        match report.outcome {
            Outcome::Complete => Ok(Estimate {
                matched,
                range: matched..=matched,
                keys,
                method: Method::Counted,
            }),
            _ => Err(why(report)),
        }
    }

    /// How many of `drawn` are of `selection`.
    async fn passing(&self, selection: &Selection, drawn: &[Bytes]) -> Result<u64, CacheError> {
        let named: Vec<Bytes> = drawn
            .iter()
            .filter(|key| selection.matches(key))
            .cloned()
            .collect();
        let filter = selection.filter();
        // No walk asks for the type here, as it does elsewhere.
        let traits = KeyAttributes {
            kind: !filter.types.is_empty(),
            ..filter.traits().unwrap_or_default()
        };
        if traits == KeyAttributes::default() {
            return Ok(count(named.len()));
        }
        let mut passing = 0;
        for keys in named.chunks(usize::try_from(DRAWS).unwrap_or(1)) {
            let described = self.keys.describe_anywhere(keys, traits).await?;
            let passed = described.iter().flatten().filter(|key| filter.passes(key));
            passing += count(passed.count());
        }
        Ok(passing)
    }
}

impl Estimate {
    /// What `drawn` draws out of `keys` keys say, of which `matched` matched: Wilson's interval, which is right at
    /// both ends, too.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "shares between 0 and 1 of a number of keys"
    )]
    fn of(keys: u64, drawn: u64, matched: u64) -> Self {
        let (all, n) = (keys as f64, drawn.max(1) as f64);
        let share = matched as f64 / n;
        let square = DEVIATIONS * DEVIATIONS;
        let middle = (share + square / (2.0 * n)) / (1.0 + square / n);
        let spread =
            DEVIATIONS * (share * (1.0 - share) / n + square / (4.0 * n * n)).sqrt() / (1.0 + square / n);
        let least = (all * (middle - spread).max(0.0)).floor() as u64;
        let most = (all * (middle + spread).min(1.0)).ceil() as u64;
        let matched_keys = (all * share).round() as u64;
        Self {
            matched: matched_keys,
            // Rounding must not put the estimate itself outside.
            range: least.min(matched_keys)..=most.max(matched_keys).min(keys),
            keys,
            method: Method::Drawn { keys: drawn, matched },
        }
    }
}

async fn draw(shard: &dyn Shard, draws: u64) -> Result<Vec<Bytes>, CacheError> {
    let mut drawn = Vec::new();
    let mut left = draws;
    while left > 0 {
        let now = left.min(DRAWS);
        drawn.extend(shard.random_keys(usize::try_from(now).unwrap_or(1)).await?);
        left -= now;
    }
    Ok(drawn)
}

/// Why a count is none of the whole.
fn why(report: Report) -> CacheError {
    let stopped = |detail: &str| CacheError::Unavailable {
        reason: Unavailability::NotReady,
        detail: detail.to_owned().into(),
        outcome: Applied::NotApplied,
        source: None,
    };
    match report.outcome {
        Outcome::Failed { error } => error,
        Outcome::Partial { gaps } => gaps
            .into_iter()
            .find_map(|gap| match gap.reason {
                GapReason::Failed(error) | GapReason::Unproved(error) => Some(error),
                _ => None,
            })
            .unwrap_or_else(|| stopped("not every slot could be counted")),
        _ => stopped("the count was stopped"),
    }
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_that_of_the_books() {
        // Wilson, 50 of 100: 0.404 to 0.596.
        let half = Estimate::of(1_000_000, 100, 50);
        assert_eq!(half.matched, 500_000);
        assert_eq!((half.range.start() / 1_000, half.range.end() / 1_000), (403, 596));
        // Nothing found in 1,000 is no proof that there is nothing: up to 0.38 %.
        let none = Estimate::of(1_000_000, 1_000, 0);
        assert_eq!((none.matched, *none.range.start()), (0, 0));
        assert!((3_000..4_500).contains(none.range.end()), "{none:?}");
        let all = Estimate::of(1_000_000, 1_000, 1_000);
        assert_eq!((all.matched, *all.range.end()), (1_000_000, 1_000_000));
        assert!((995_500..997_000).contains(all.range.start()), "{all:?}");
    }
}
