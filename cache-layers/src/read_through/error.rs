//! Why a read-through has no answer.
//!
//! A failing cache is not a reason: the value is then loaded without it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use cache_core::CacheError;

use super::load_error::{Concerns, LoadError};

/// A loader's own error, shared by all waiters of the load.
pub type LoadFailure = Arc<dyn Error + Send + Sync + 'static>;

/// Why there is no answer.
///
/// `Display` is one line and does not repeat the loader's error, which is the [`source`](Error::source).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The loader failed.
    #[error("the load failed")]
    Load(#[source] LoadFailure),

    /// The loader panicked. Nothing is blocked: a later call loads again.
    #[error("the loader panicked")]
    Panicked,

    /// A load failed recently, here or in another process. None is tried again for this long, so that a failing
    /// upstream is not overloaded.
    #[error("a load failed a moment ago, the next is tried in {}", humantime::format_duration(*.remaining))]
    HeldBack {
        /// How long no load will be tried.
        remaining: Duration,
    },

    /// The hard timeout passed. The load may go on, and its value may be stored.
    #[error("no value within {}", humantime::format_duration(*.after))]
    Timeout {
        /// The hard timeout.
        after: Duration,
    },

    /// A loader asked for a key whose load waits for that loader. The wait would never end.
    #[error("the loader waits for its own key")]
    Reentered,

    /// The batch loader returned no answer for this key.
    #[error("the batch loader gave no answer for this key")]
    Unanswered,

    /// The load was given up: all its waiters left and the policy says so, or the runtime ended.
    #[error("the load was given up")]
    Aborted,

    /// The key is not valid for any cache.
    #[error(transparent)]
    Input(#[from] CacheError),
}

impl ReadError {
    pub(super) fn load(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Load(LoadFailure::from(error.into()))
    }

    /// Returns the loader's own error if it is an `E`, also inside a [`LoadError`].
    #[must_use]
    pub fn load_error<E: Error + 'static>(&self) -> Option<&E> {
        match self {
            Self::Load(failure) => failure.downcast_ref().or_else(|| {
                let marked: &LoadError = failure.downcast_ref()?;
                marked.inner()
            }),
            _ => None,
        }
    }

    /// Whom the error concerns.
    pub(super) fn concerns(&self) -> Concerns {
        let marked = match self {
            Self::Load(failure) => failure.downcast_ref::<LoadError>(),
            _ => None,
        };
        marked.map_or(Concerns::Key, LoadError::concerns)
    }
}
