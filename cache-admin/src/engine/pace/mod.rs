//! How fast a run goes: what other clients feel of it ([`Governor`]), how many keys it looks at in all
//! ([`Limiter`]) and in one call ([`Stride`]).

mod governor;
mod limiter;
mod stride;
#[cfg(test)]
mod weather;

use serde::{Deserialize, Serialize};

pub(super) use governor::Governor;
pub(super) use limiter::Limiter;
pub(crate) use stride::Stride;

/// How much of the servers a run takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Pace {
    /// So little that other clients hardly notice: calls so short that whoever stands behind one waits at
    /// most about 0.5 ms longer, with as much rest between them as work, and more where others wait for it all
    /// the same. That others wait for each other, or for a busy machine, is told apart and does not slow it down.
    #[default]
    Gentle,
    /// As fast as the servers go, which then have little time for others: a call behind one of ours may wait
    /// for a millisecond or two.
    Full,
}
