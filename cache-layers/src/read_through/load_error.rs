//! What a loader can say about its error: whom it concerns, and whether it holds others back.
//!
//! Not in here: what callers get. That is `error.rs`.

use std::error::Error;
use std::fmt;

/// A loader's error, with what it means for others. An error of any other type is that of the key: all who wait
/// for the load get it, and nobody tries again for a while.
///
/// It shows itself as the error inside, and [`ReadError::load_error`](super::ReadError::load_error) finds that one.
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

/// What an error says about later loads of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Concerns {
    /// The key: nobody tries again for a while.
    Key,
    /// The key, and it passes.
    KeyNow,
    /// The caller whose loader it was.
    Caller,
}

impl LoadError {
    /// An error that any caller would have met, as that of an upstream that is down. As an error of any other
    /// type.
    pub fn of_key(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            error: error.into(),
            concerns: Concerns::Key,
        }
    }

    /// An error that concerns only the caller whose loader it was, such as a token that is not allowed to see the
    /// value. Others who wait for this load then load by themselves, here and in other processes.
    pub fn of_caller(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            error: error.into(),
            concerns: Concerns::Caller,
        }
    }

    /// Holds nobody back: those who wait get the error, and the next caller tries again at once.
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

    /// The error inside, where it is an `E`.
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
