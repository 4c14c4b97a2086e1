//! The single-flight of a near cache: one far read for all callers that want the same key at once.
//!
//! All callers hold the same future, and any of them that is polled moves it on. So none depends on another being
//! polled, neither on the caller that began the read nor on one that left. When the last one leaves, the read ends,
//! and its mark is removed. Not in here: which read a caller may join. The marks decide that.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use cache_core::CacheError;
use futures::FutureExt as _;
use futures::future::{Shared, WeakShared};

use super::Found;

/// How a far read ended.
pub(crate) type Answer<V> = Result<Found<V>, CacheError>;

/// A far read that no caller has joined yet. It holds the key's mark, and completes it before it ends.
pub(crate) type FarRead<V> = Pin<Box<dyn Future<Output = Answer<V>> + Send>>;

/// What a caller gets that wants a key which is not near.
#[derive(Debug)]
pub(crate) enum Boarding<V: Clone + Send + Sync + 'static> {
    /// Everything was reset since the caller looked: it has to start again.
    Late,
    /// The value was stored since the caller looked.
    Hit(Found<V>),
    /// Another caller reads it.
    Joined(Read<V>),
    /// This caller reads it.
    Led(Read<V>),
}

/// A far read, held by a caller that wants its answer.
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
    /// Joins the read, unless all its callers have left.
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
