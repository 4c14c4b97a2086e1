//! Keeping something that is fetched from elsewhere: one fetch for all who wait, in a task that none of them carries.
//!
//! Not in here: what is fetched, and how long one fetch may take.

mod latest;
mod pace;

pub(crate) use latest::Latest;
pub(crate) use pace::Pace;
