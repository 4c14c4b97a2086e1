//! What a page is asked for.

use std::time::Duration;

use super::Position;
use crate::Selection;
use crate::keys::KeyAttributes;

/// What a page is asked for.
#[derive(Clone, Debug)]
pub struct PageRequest {
    pub(super) selection: Selection,
    pub(super) position: Option<Position>,
    pub(super) limit: usize,
    pub(super) look: u64,
    pub(super) time: Duration,
    pub(super) traits: KeyAttributes,
    pub(super) past_gaps: bool,
}

impl PageRequest {
    /// The most keys that a page can be asked for.
    pub const MAX_LIMIT: usize = 1_000;

    /// The first page of the keys of `selection`.
    pub fn new(selection: impl Into<Selection>) -> Self {
        Self {
            selection: selection.into(),
            position: None,
            limit: 100,
            look: 20_000,
            time: Duration::from_secs(1),
            traits: KeyAttributes::default(),
            past_gaps: false,
        }
    }

    /// Where an earlier page of the same selection ended. Default: the start.
    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }

    /// How many keys a page holds at most, 1 to [`MAX_LIMIT`](Self::MAX_LIMIT). It holds more only if the keys changed
    /// right where the page before ended: then some come a second time, so that none is missed. Default: 100.
    #[must_use]
    pub fn with_limit(mut self, keys: usize) -> Self {
        self.limit = keys.clamp(1, Self::MAX_LIMIT);
        self
    }

    /// After how much work a page ends, whatever it has found: keys that the servers look at, and the time that
    /// passes. Each page gets somewhere, however little that is. Default: 20,000 keys, 1 s.
    #[must_use]
    pub fn with_work(mut self, keys: u64, time: Duration) -> Self {
        self.look = keys;
        self.time = time;
        self
    }

    /// What is to be told of each key. Default: nothing but its name.
    #[must_use]
    pub fn with_traits(mut self, traits: KeyAttributes) -> Self {
        self.traits = traits;
        self
    }

    /// Whether slots that nobody serves, or whose primary does not answer, are passed over and told of
    /// ([`Page::gaps`](super::Page::gaps)), in place of an error. Default: no.
    #[must_use]
    pub fn past_gaps(mut self, past: bool) -> Self {
        self.past_gaps = past;
        self
    }
}
