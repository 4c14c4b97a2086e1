//! A run on paper: what a new process needs to go on with a removal.
//!
//! What it says: which slots were visited under which primary, and the counts. It does not say which keys are
//! gone; those that are do not come up again. How often it is written: [`saver`].

mod names;
pub(super) mod saver;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::{CacheError, Pattern};
use serde::{Deserialize, Serialize};

use self::names::Name;
use super::selection::Filter;
use super::{Counts, Life, Selection};
use crate::keys::KeyType;
use crate::{CacheIdentity, SlotSet};

/// The form that this version writes, and the only one that it reads.
const FORM: u32 = 1;

/// More is counted by no run.
const MOST: u64 = 1 << 48;
/// Longer works no run.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// A removal as it stood at one moment: enough for [`Engine::resume`](super::Engine::resume) to go on with it
/// in another process.
///
/// It can be serialised into any format that describes itself, such as JSON. It holds patterns and addresses,
/// no keys and no values; its size does not depend on the number of keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    form: u32,
    patterns: Vec<Name>,
    types: Vec<String>,
    life: Option<Life>,
    size: Option<std::ops::RangeInclusive<u64>>,
    idle: Option<Duration>,
    pub(super) verify: bool,
    /// What may still be removed.
    pub(super) max_keys: Option<u64>,
    pub(super) passes: u32,
    pub(super) slots_moved: u32,
    pub(super) elapsed: Duration,
    /// Keys that may have been removed at most, besides those in the counts.
    pub(super) uncounted: u64,
    pub(super) primaries: Vec<SavedPrimary>,
    /// The cache that it is of.
    #[serde(default)]
    pub(super) cache: Option<CacheIdentity>,
}

/// A primary in a [`Checkpoint`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedPrimary {
    pub(super) address: String,
    /// Slots that were visited under it.
    pub(super) visited: SlotSet,
    /// The epoch that it had before.
    #[serde(default)]
    pub(super) epoch: Option<u64>,
    /// Whether it was visited to the end.
    pub(super) swept: bool,
    pub(super) counts: Counts,
    pub(super) keys_before: Option<u64>,
    pub(super) elapsed: Duration,
}

/// Where checkpoints are kept.
#[async_trait]
pub trait Checkpoints: Send + Sync + 'static {
    /// Keeps `checkpoint` in place of the one before, whole or not at all. The run waits for it.
    ///
    /// # Errors
    ///
    /// Where it cannot be kept. The run then removes nothing more on the primary that needed it, and is
    /// [`Partial`](super::Outcome::Partial) with this error.
    async fn save(&self, checkpoint: &Checkpoint) -> Result<(), CacheError>;
}

impl Checkpoint {
    /// One with nothing visited.
    pub(super) fn of(selection: &Selection, verify: bool) -> Self {
        let filter = selection.filter();
        Self {
            form: FORM,
            patterns: selection
                .patterns()
                .iter()
                .map(|pattern| Name(pattern.as_bytes().to_vec()))
                .collect(),
            types: filter.types.iter().map(|kind| kind.name().to_owned()).collect(),
            life: filter.life.clone(),
            size: filter.size.clone(),
            idle: filter.idle,
            verify,
            max_keys: None,
            passes: 0,
            slots_moved: 0,
            elapsed: Duration::ZERO,
            uncounted: 0,
            primaries: Vec::new(),
            cache: None,
        }
    }

    /// A removal that has not begun, of at most so many keys.
    #[cfg(feature = "jobs")]
    pub(crate) fn beginning(selection: &Selection, verify: bool, max_keys: Option<u64>) -> Self {
        Self {
            max_keys,
            ..Self::of(selection, verify)
        }
    }

    /// The same, of a removal on `cache`.
    #[cfg(feature = "jobs")]
    pub(crate) fn on(self, cache: CacheIdentity) -> Self {
        Self {
            cache: Some(cache),
            ..self
        }
    }

    /// The cache on which the removal began; `None` if an older version wrote this.
    #[must_use]
    pub const fn cache(&self) -> Option<&CacheIdentity> {
        self.cache.as_ref()
    }

    /// Whether the removal may go on with the cache `now`.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] if it began on another cache, or if that is not known; the error names both.
    pub fn check_cache(&self, now: &CacheIdentity) -> Result<(), CacheError> {
        match &self.cache {
            Some(began) => began.check(now),
            None => Err(CacheError::InvalidInput {
                argument: "cache",
                reason: format!("the checkpoint does not say on which cache it began, and this is {now}")
                    .into(),
            }),
        }
    }

    /// The same for another cache: its counts stay, and everything is to be visited.
    pub(super) fn anywhere_else(mut self) -> Self {
        for primary in &mut self.primaries {
            primary.visited = SlotSet::new();
            primary.swept = false;
        }
        self
    }

    /// Each primary: its address, what was counted there, how many keys it held before, and how long it took.
    #[cfg(feature = "jobs")]
    pub(crate) fn primaries(&self) -> impl Iterator<Item = (&str, Counts, Option<u64>, Duration)> {
        self.primaries.iter().map(|saved| {
            let address = saved.address.as_str();
            (address, saved.counts, saved.keys_before, saved.elapsed)
        })
    }

    /// Keys that may have been removed at most, besides those in the counts.
    #[cfg(feature = "jobs")]
    pub(crate) const fn uncounted(&self) -> u64 {
        self.uncounted
    }

    /// What the run is about.
    ///
    /// # Errors
    ///
    /// [`CacheError::Corrupt`] where this is the checkpoint of another version, or was tampered with.
    pub fn selection(&self) -> Result<Selection, CacheError> {
        if self.form != FORM {
            return Err(CacheError::Corrupt {
                detail: format!(
                    "a checkpoint of form {}, and this version reads form {FORM}",
                    self.form
                )
                .into(),
                source: None,
            });
        }
        if !self.is_sound() {
            return Err(CacheError::Corrupt {
                detail: "a checkpoint with numbers that no run comes to".into(),
                source: None,
            });
        }
        let corrupt = |error: CacheError| CacheError::Corrupt {
            detail: "a checkpoint with a pattern that is none".into(),
            source: Some(Arc::new(error)),
        };
        let patterns = self.patterns.iter().map(|name| Pattern::new(name.0.clone()));
        let patterns: Vec<Pattern> = patterns.collect::<Result<_, _>>().map_err(corrupt)?;
        let filter = Filter {
            types: self.types.iter().map(|name| KeyType::of(name)).collect(),
            life: self.life.clone(),
            size: self.size.clone(),
            idle: self.idle,
        };
        Ok(Selection::any_of(patterns).map_err(corrupt)?.with_filter(filter))
    }

    /// Whether its numbers leave room to go on counting: a file may say anything.
    fn is_sound(&self) -> bool {
        let primaries = || self.primaries.iter();
        let counts = primaries().map(|primary| primary.counts);
        let counts = counts.flat_map(|counts| {
            let Counts {
                pages,
                matched,
                removed,
                gone,
                orphans,
                moved,
                late,
            } = counts;
            [pages, matched, removed, gone, orphans, moved, late]
        });
        let before = primaries().filter_map(|primary| primary.keys_before);
        let times = primaries().map(|primary| primary.elapsed).chain([self.elapsed]);
        counts
            .chain(before)
            .chain([self.uncounted])
            .all(|count| count <= MOST)
            && times.chain(self.idle).all(|time| time <= LONGEST)
            && self.passes.max(self.slots_moved) <= u32::MAX / 2
    }

    /// What was counted, on all primaries together.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.primaries
            .iter()
            .fold(Counts::default(), |total, primary| total.plus(primary.counts))
    }

    /// How long the run has worked, in all its processes.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_keeps_the_selection_whatever_is_in_it() {
        let patterns = [
            Pattern::new("a:*").unwrap(),
            Pattern::new(&b"\xff\x00*"[..]).unwrap(),
        ];
        let selection = Selection::any_of(patterns)
            .unwrap()
            .with_types([KeyType::Set, KeyType::Other])
            .with_life(Life::Within(Duration::ZERO..=Duration::from_secs(5)))
            .with_size(5..=10)
            .with_idle(Duration::from_secs(1));
        let json = serde_json::to_string(&Checkpoint::of(&selection, true)).unwrap();
        let again: Checkpoint = serde_json::from_str(&json).unwrap();
        let again = again.selection().unwrap();
        assert_eq!(again.filter(), selection.filter());
        let bytes = |selection: &Selection| -> Vec<Vec<u8>> {
            let patterns = selection.patterns().iter();
            patterns.map(|pattern| pattern.as_bytes().to_vec()).collect()
        };
        assert_eq!(bytes(&again), bytes(&selection));
    }

    #[test]
    fn a_checkpoint_of_another_form_or_without_patterns_is_refused() {
        let mut checkpoint = Checkpoint::of(&Selection::new(Pattern::all()), true);
        checkpoint.patterns.clear();
        assert!(matches!(checkpoint.selection(), Err(CacheError::Corrupt { .. })));
        let mut checkpoint = Checkpoint::of(&Selection::new(Pattern::all()), true);
        checkpoint.form = 2;
        assert!(matches!(checkpoint.selection(), Err(CacheError::Corrupt { .. })));
    }
}
