//! One far read for all who want the same key at once.
//!
//! All who want it hold the same future, and whichever of them is polled moves it on. So none of them depends on
//! another being polled: neither on the one who began the read, nor on one who left. The last one to leave ends the
//! read, and its mark goes with it. Not in here: who may join whose read; that is decided by the marks.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use cache_core::CacheError;
use futures::FutureExt as _;
use futures::future::{Shared, WeakShared};

use super::Found;

/// How a far read ended.
pub(crate) type Answer<V> = Result<Found<V>, CacheError>;

/// A far read that nobody has joined yet. It holds the key's mark, and completes it before it ends.
pub(crate) type FarRead<V> = Pin<Box<dyn Future<Output = Answer<V>> + Send>>;

/// What a caller found who wants a key that is not near.
#[derive(Debug)]
pub(crate) enum Boarding<V: Clone + Send + Sync + 'static> {
    /// Everything was reset while the caller was on its way: it has to begin anew.
    Late,
    /// It has come while the caller was on its way.
    Hit(Found<V>),
    /// Another caller reads it.
    Joined(Read<V>),
    /// The caller reads it.
    Led(Read<V>),
}

/// A far read, in the hands of one who wants its answer.
#[derive(Clone)]
pub(crate) struct Read<V: Clone + Send + Sync + 'static>(Shared<FarRead<V>>);

/// A far read that others may join.
pub(super) struct Joinable<V: Clone + Send + Sync + 'static>(Option<WeakShared<FarRead<V>>>);

impl<V: Clone + Send + Sync + 'static> Read<V> {
    pub(super) fn new(read: FarRead<V>) -> Self {
        Self(read.shared())
    }

    pub(super) fn joinable(&self) -> Joinable<V> {
        Joinable(self.0.downgrade())
    }
}

impl<V: Clone + Send + Sync + 'static> Joinable<V> {
    /// A part in the read, unless all have left it.
    pub(super) fn join(&self) -> Option<Read<V>> {
        self.0.as_ref()?.upgrade().map(Read)
    }
}

impl<V: Clone + Send + Sync + 'static> Future for Read<V> {
    type Output = Answer<V>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_unpin(context)
    }
}

impl<V: Clone + Send + Sync + 'static> fmt::Debug for Read<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Read")
    }
}
