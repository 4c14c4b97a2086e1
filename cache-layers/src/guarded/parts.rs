//! A circuit for each part of a backend whose parts fail by themselves, such as the nodes of a cluster.
//!
//! Not in here: what a part is. The one who makes the guard says so.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::breaker::Breaker;

/// Which part of the backend a key is in: equal numbers are one part.
#[derive(Clone)]
pub(super) struct PartOf(pub(super) Arc<dyn Fn(&str) -> u64 + Send + Sync>);

/// How many circuits there are at most. Parts beyond that share one.
const MOST: usize = 256;

/// The circuits of parts, each made with the first call of its part.
pub(super) struct Parts {
    of: PartOf,
    breakers: Box<[OnceLock<Box<Breaker>>]>,
}

impl Parts {
    pub(super) fn new(of: PartOf) -> Self {
        Self {
            of,
            breakers: std::iter::repeat_with(OnceLock::new).take(MOST).collect(),
        }
    }

    /// The circuit of the part that all of `keys` are in; none where they are in several, or there are none.
    pub(super) fn breaker(&self, keys: &[&str], make: impl FnOnce() -> Breaker) -> Option<&Breaker> {
        let (first, others) = keys.split_first()?;
        let part = (self.of.0)(first);
        if others.iter().any(|key| (self.of.0)(key) != part) {
            return None;
        }
        // Numbers may be addresses, which have their low bits in common.
        let [mixed, ..] = part.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
        let breaker = self.breakers.get(usize::from(mixed))?;
        Some(breaker.get_or_init(|| Box::new(make())))
    }

    /// The circuits that there are.
    pub(super) fn breakers(&self) -> impl Iterator<Item = &Breaker> {
        self.breakers
            .iter()
            .filter_map(OnceLock::get)
            .map(|breaker| &**breaker)
    }
}

impl fmt::Debug for PartOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PartOf")
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("circuits", &self.breakers().count())
            .finish()
    }
}
