//! What a loader can say about its error: whom it concerns, and whether it holds back other loads.
//!
//! Not in here: the errors that callers get (`error.rs`).

use std::error::Error;
use std::fmt;

/// A loader's error, with its meaning for others. An error of any other type concerns the key: all waiters of the
/// load get it, and no caller tries again for a while.
///
/// `Display` and `source` are those of the error inside, and [`ReadError::load_error`](super::ReadError::load_error)
/// finds the error inside.
///
/// ```
/// use std::io;
/// use cache_layers::read_through::LoadError;
/// use cache_layers::Loaded;
///
/// # fn fetch(token: &str) -> Result<Result<&'static str, u16>, io::Error> { Ok(Err(403)) }
/// let load = |token: &str| match fetch(token) {
///     Ok(Ok(report)) => Ok(Loaded::new(report)),
///     // Another caller's token may do.
///     Ok(Err(403)) => Err(LoadError::of_caller(io::Error::other("not allowed"))),
///     Ok(Err(status)) => Err(LoadError::of_key(io::Error::other(format!("status {status}")))),
///     // Known to pass: the next caller tries again at once.
///     Err(error) => Err(LoadError::of_key(error).without_hold()),
/// };
/// # assert_eq!(load("mine").unwrap_err().to_string(), "not allowed");
/// ```
pub struct LoadError {
    error: Box<dyn Error + Send + Sync>,
    concerns: Concerns,
}

/// What an error means for later loads of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Concerns {
    /// It concerns the key: no caller tries again for a while.
    Key,
    /// It concerns the key, but is temporary.
    KeyNow,
    /// It concerns only the caller whose loader it was.
    Caller,
}

impl LoadError {
    /// An error that any caller would get, such as an upstream that is down. The same as an error of any other type.
    pub fn of_key(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            error: error.into(),
            concerns: Concerns::Key,
        }
    }

    /// An error that concerns only the caller whose loader it was, such as a token that may not see the value. Other
    /// waiters of this load then load by themselves, in this and in other processes.
    pub fn of_caller(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            error: error.into(),
            concerns: Concerns::Caller,
        }
    }

    /// Holds back no later load: waiters get the error, and the next caller tries again at once.
    #[must_use]
    pub fn without_hold(mut self) -> Self {
        if self.concerns == Concerns::Key {
            self.concerns = Concerns::KeyNow;
        }
        self
    }

    pub(super) const fn concerns(&self) -> Concerns {
        self.concerns
    }

    /// Returns the error inside if it is an `E`.
    pub(super) fn inner<E: Error + 'static>(&self) -> Option<&E> {
        self.error.downcast_ref()
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadError")
            .field("error", &self.error)
            .field("concerns", &self.concerns)
            .finish()
    }
}

impl Error for LoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
