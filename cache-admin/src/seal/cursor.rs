//! Cursors: where a listing goes on, sealed.

use std::time::Duration;

use super::stamp::{stamped, unstamped};
use super::{Binding, Purpose, Sealer, Unsealed};
use crate::paging::Position;
use crate::{CacheIdentity, Selection};

/// How long a cursor is good for.
const LIFE: Duration = Duration::from_secs(3_600);

/// What a cursor is bound to. What is told of each key, and how many keys a page has, is not part of it.
#[derive(Clone, Copy, Debug)]
pub struct CursorScope<'a> {
    /// The keys: patterns and filters.
    pub selection: &'a Selection,
    /// Which cache it is about.
    pub cache: &'a CacheIdentity,
    /// The prefixes for which the actor may list keys.
    pub prefixes: &'a [Box<[u8]>],
}

impl CursorScope<'_> {
    /// The cursor of `position`, good for an hour. Letters, digits, `-` and `_` only.
    #[must_use]
    pub fn seal(&self, sealer: &Sealer, position: &Position) -> String {
        let payload = stamped(self.cache, &position.to_bytes());
        sealer.seal(Purpose::Cursor, &self.binding(), &payload, LIFE)
    }

    /// The position of a cursor that was sealed for the same.
    ///
    /// # Errors
    ///
    /// Why it is not accepted.
    pub fn open(&self, sealer: &Sealer, cursor: &str) -> Result<Position, Unsealed> {
        let said = sealer.open(Purpose::Cursor, &self.binding(), cursor)?;
        let position = unstamped(self.cache, &said)?;
        // Another version of this program may write them in another way.
        Position::from_bytes(&position).map_err(|_| Unsealed::Foreign)
    }

    fn binding(&self) -> Binding {
        Binding::new()
            .with_list(self.selection.fingerprint())
            .with_cache(self.cache)
            .with_list(self.prefixes)
    }
}
