//! Which keys a run is about: patterns, and what else has to be true of a key.

use std::ops::RangeInclusive;
use std::time::Duration;

use cache_core::{CacheError, Pattern, Ttl};
use serde::{Deserialize, Serialize};

use crate::keys::{Description, KeyAttributes, KeyType};

/// Which keys a run is about: those that match one of its patterns and pass all of its filters.
///
/// Several patterns cost one pass: the servers are asked for what all of them begin with, and the rest is
/// matched here. A filter other than one single type costs a small command for each key that matches, one
/// round trip for each page; it tells of the key as it was a moment before it is removed.
///
/// ```
/// use std::time::Duration;
/// use cache_admin::{KeyType, Life, Selection};
/// use cache_core::Pattern;
///
/// let selection = Selection::any_of([Pattern::new("billing:*")?, Pattern::new("users:*")?])?
///     .with_types([KeyType::String])
///     .with_life(Life::Forever)
///     .with_size(1_048_576..=u64::MAX)
///     .with_idle(Duration::from_secs(86_400));
/// assert!(selection.matches(b"users:1") && !selection.matches(b"orders:1"));
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Selection {
    patterns: Vec<Pattern>,
    filter: Filter,
}

/// What has to be true of a key besides its name. `None`, and no type, is whatever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) types: Vec<KeyType>,
    pub(crate) life: Option<Life>,
    pub(crate) size: Option<RangeInclusive<u64>>,
    pub(crate) idle: Option<Duration>,
}

/// What is left of the life of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    /// They never expire.
    Forever,
    /// They expire after a time in this range.
    Within(RangeInclusive<Duration>),
}

impl Selection {
    /// The most patterns of one selection.
    pub const MAX_PATTERNS: usize = 1_000;

    /// The most bytes of all patterns together.
    pub const MAX_BYTES: usize = 128 * 1024;

    /// The most elements that several patterns have from their first wildcards on: each key is compared with all of them
    /// here.
    pub const MAX_WILDCARD_LEN: usize = 16_384;

    /// The keys that match `pattern`.
    #[must_use]
    pub fn new(pattern: Pattern) -> Self {
        Self {
            patterns: vec![pattern],
            filter: Filter::default(),
        }
    }

    /// The keys that match any of `patterns`.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] where there is none, or more than
    /// [`MAX_PATTERNS`](Selection::MAX_PATTERNS), or if they have more than
    /// [`MAX_WILDCARD_LEN`](Selection::MAX_WILDCARD_LEN) elements from their first wildcards on.
    pub fn any_of(patterns: impl IntoIterator<Item = Pattern>) -> Result<Self, CacheError> {
        let patterns: Vec<Pattern> = patterns.into_iter().collect();
        if patterns.is_empty() || patterns.len() > Self::MAX_PATTERNS {
            return Err(CacheError::InvalidInput {
                argument: "patterns",
                reason: format!("{} of them; 1 to {} are fine", patterns.len(), Self::MAX_PATTERNS).into(),
            });
        }
        let bytes: usize = patterns.iter().map(|pattern| pattern.as_bytes().len()).sum();
        if bytes > Self::MAX_BYTES {
            return Err(CacheError::InvalidInput {
                argument: "patterns",
                reason: format!(
                    "{bytes} bytes; at most {} together are fine, so ask in parts",
                    Self::MAX_BYTES
                )
                .into(),
            });
        }
        let length: usize = patterns.iter().map(Pattern::wildcard_len).sum();
        if patterns.len() > 1 && length > Self::MAX_WILDCARD_LEN {
            return Err(CacheError::InvalidInput {
                argument: "patterns",
                reason: format!(
                    "{length} elements from their first wildcards on; at most {} together are fine, so ask in parts",
                    Self::MAX_WILDCARD_LEN
                )
                .into(),
            });
        }
        Ok(Self {
            patterns,
            filter: Filter::default(),
        })
    }

    /// Only keys of these types. Default: of any.
    #[must_use]
    pub fn with_types(mut self, types: impl IntoIterator<Item = KeyType>) -> Self {
        self.filter.types = types.into_iter().collect();
        self
    }

    /// Only keys with such a life. Default: any.
    #[must_use]
    pub fn with_life(mut self, life: Life) -> Self {
        self.filter.life = Some(life);
        self
    }

    /// Only keys that take so much memory, in bytes, as the server counts it: the name and what it needs
    /// around both included. Default: any.
    #[must_use]
    pub fn with_size(mut self, bytes: RangeInclusive<u64>) -> Self {
        self.filter.size = Some(bytes);
        self
    }

    /// Only keys that nobody has used for at least so long. Servers that evict by frequency (LFU) do not
    /// know, and the run fails there. Default: any.
    #[must_use]
    pub fn with_idle(mut self, at_least: Duration) -> Self {
        self.filter.idle = Some(at_least);
        self
    }

    /// The patterns.
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Whether the name of a key is one that is asked for, whatever the filters say.
    #[must_use]
    pub fn matches(&self, key: &[u8]) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(key))
    }

    /// Whether any of the patterns is [broad](Pattern::is_broad), so that an operator should be asked first.
    #[must_use]
    pub fn is_broad(&self) -> bool {
        self.patterns.iter().any(Pattern::is_broad)
    }

    /// The same, of keys that begin with `prefix` and go on as the patterns say: what stands before every key
    /// of a service, and is no part of its patterns.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] where a pattern becomes too long by it.
    pub fn within(&self, prefix: impl AsRef<[u8]>) -> Result<Self, CacheError> {
        let prefix = prefix.as_ref();
        let patterns = self.patterns.iter().map(|pattern| pattern.within(prefix));
        Ok(Self {
            patterns: patterns.collect::<Result<_, _>>()?,
            filter: self.filter.clone(),
        })
    }

    pub(crate) const fn filter(&self) -> &Filter {
        &self.filter
    }

    pub(super) fn with_filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }
}

/// The same patterns in the same order, and the same filters.
impl PartialEq for Selection {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |selection: &Self| -> Vec<Vec<u8>> {
            let patterns = selection.patterns.iter();
            patterns.map(|pattern| pattern.as_bytes().to_vec()).collect()
        };
        bytes(self) == bytes(other) && self.filter == other.filter
    }
}

impl Eq for Selection {}

impl From<Pattern> for Selection {
    fn from(pattern: Pattern) -> Self {
        Self::new(pattern)
    }
}

impl From<&Pattern> for Selection {
    fn from(pattern: &Pattern) -> Self {
        Self::new(pattern.clone())
    }
}

impl From<&Self> for Selection {
    fn from(selection: &Self) -> Self {
        selection.clone()
    }
}

impl Filter {
    /// Whether every key passes.
    pub(super) fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// The one type that a scan can ask for by itself.
    pub(super) fn only_type(&self) -> Option<KeyType> {
        match *self.types.as_slice() {
            [KeyType::Other] => None,
            [kind] => Some(kind),
            _ => None,
        }
    }

    /// What has to be asked of each key; `None` where nothing has to.
    pub(super) fn traits(&self) -> Option<KeyAttributes> {
        let traits = KeyAttributes {
            kind: !self.types.is_empty() && self.only_type().is_none(),
            ttl: self.life.is_some(),
            size: self.size.is_some(),
            idle: self.idle.is_some(),
        };
        (traits != KeyAttributes::default()).then_some(traits)
    }

    /// Whether a key like that passes. What was not asked, because a scan saw to it, passes.
    pub(super) fn passes(&self, key: &Description) -> bool {
        let of_type = self.types.is_empty() || key.kind.is_none_or(|kind| self.types.contains(&kind));
        let lives = match (&self.life, key.ttl) {
            (None, _) => true,
            (Some(Life::Forever), life) => life == Some(Ttl::Forever),
            (Some(Life::Within(range)), Some(Ttl::After(left))) => range.contains(&left),
            (Some(Life::Within(_)), _) => false,
        };
        let sized = self
            .size
            .as_ref()
            .is_none_or(|range| key.size.is_some_and(|size| range.contains(&size)));
        let idles = self
            .idle
            .is_none_or(|least| key.idle.is_some_and(|idle| idle >= least));
        of_type && lives && sized && idles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Description {
        Description {
            kind: Some(KeyType::Hash),
            ttl: Some(Ttl::After(Duration::from_secs(60))),
            size: Some(100),
            idle: Some(Duration::from_secs(5)),
        }
    }

    fn passes(change: impl FnOnce(Selection) -> Selection) -> bool {
        change(Selection::new(Pattern::all())).filter.passes(&key())
    }

    #[test]
    fn a_key_passes_where_every_filter_lets_it() {
        let secs = Duration::from_secs;
        assert!(passes(|all| all.with_types([KeyType::Hash, KeyType::Set])));
        assert!(!passes(|all| all.with_types([KeyType::String, KeyType::Set])));
        assert!(passes(|all| all.with_life(Life::Within(secs(60)..=secs(61)))));
        assert!(!passes(|all| all.with_life(Life::Within(secs(61)..=secs(90)))));
        assert!(!passes(|all| all.with_life(Life::Forever)));
        assert!(passes(|all| all.with_size(100..=100)) && !passes(|all| all.with_size(101..=u64::MAX)));
        assert!(passes(|all| all.with_idle(secs(5))) && !passes(|all| all.with_idle(secs(6))));
        assert!(!passes(|all| all
            .with_types([KeyType::Hash, KeyType::Set])
            .with_idle(secs(6))));
    }

    #[test]
    fn one_type_is_left_to_the_scan_and_several_are_asked_for() {
        let traits = |types: &[KeyType]| {
            Selection::new(Pattern::all())
                .with_types(types.iter().copied())
                .filter
                .traits()
        };
        assert_eq!(traits(&[]), None);
        assert_eq!(traits(&[KeyType::Set]), None);
        assert!(traits(&[KeyType::Other]).is_some_and(|traits| traits.kind));
        assert!(traits(&[KeyType::Set, KeyType::Hash]).is_some_and(|traits| traits.kind));
    }

    #[test]
    fn a_selection_has_a_pattern() {
        assert!(Selection::any_of([]).is_err());
        assert!(Selection::any_of(vec![Pattern::all(); 1_001]).is_err());
    }
}
