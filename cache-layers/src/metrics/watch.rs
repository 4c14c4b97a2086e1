//! Objects that keep their own counters, read when metrics are collected.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Some `T`s, as long as they are in use, and the last values of each. Keeps none of them alive.
pub(super) struct Watch<T: ?Sized, S> {
    read: fn(&T) -> S,
    all: Mutex<Vec<(Weak<T>, S)>>,
}

impl<T: ?Sized, S> Watch<T, S> {
    pub(super) fn new(read: fn(&T) -> S) -> Self {
        Self {
            read,
            all: Mutex::default(),
        }
    }

    pub(super) fn add(&self, one: &Arc<T>) {
        self.lock().push((Arc::downgrade(one), (self.read)(one)));
    }

    /// The sum over all of them, including those that no longer exist, so it never shrinks. It misses what one of
    /// them counted between the last collection and its end.
    pub(super) fn total(&self, of: impl Fn(&S) -> u64) -> u64 {
        let mut all = self.lock();
        let each = all.iter_mut().map(|(one, last)| {
            if let Some(one) = one.upgrade() {
                *last = (self.read)(&one);
            }
            of(last)
        });
        each.sum()
    }

    /// The sum over those that are in use now.
    pub(super) fn level(&self, of: impl Fn(&T) -> u64) -> u64 {
        let all = self.lock();
        let in_use = all.iter().filter_map(|(one, _)| one.upgrade());
        in_use.map(|one| of(&one)).sum()
    }

    /// The greatest value of those that are in use now.
    #[cfg(feature = "encryption")]
    pub(super) fn greatest<O: Ord>(&self, of: impl Fn(&T) -> O) -> Option<O> {
        let all = self.lock();
        let in_use = all.iter().filter_map(|(one, _)| one.upgrade());
        in_use.map(|one| of(&one)).max()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Weak<T>, S)>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized, S> fmt::Debug for Watch<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_keep_what_is_gone_and_levels_do_not() {
        let watch = Watch::new(|number: &u64| *number);
        let (one, other) = (Arc::new(3), Arc::new(4));
        watch.add(&one);
        watch.add(&other);
        drop(one);
        assert_eq!(watch.total(|number| *number), 7);
        assert_eq!(watch.level(|number| *number), 4);
    }
}
