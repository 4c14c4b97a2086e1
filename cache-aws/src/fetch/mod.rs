//! Keeps a value that is fetched from elsewhere: one fetch for all waiters, in its own task.
//!
//! Not in here: what is fetched, and how long one fetch may take.

mod latest;
mod pace;

pub(crate) use latest::Latest;
pub(crate) use pace::Pace;
