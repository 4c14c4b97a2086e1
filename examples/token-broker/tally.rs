//! What a broker did, counted, and told as a line or as JSON.
//!
//! Not in here: what the caches counted themselves, which `broker.rs` adds.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::times::Times;
use crate::token::Minted;
use crate::upstream::MintError;

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    requests: AtomicU64,
    refused: AtomicU64,
    from_memory: AtomicU64,
    mints: AtomicU64,
    limited: AtomicU64,
    failed: AtomicU64,
}

/// What happened since the broker started.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Requests for a token, of which there is one.
    pub(crate) requests: u64,
    /// Those that no token could be given for.
    pub(crate) refused: u64,
    pub(crate) served: Served,
    /// Tokens that this process minted.
    pub(crate) mints: u64,
    /// Mints that the upstream's rate limit refused.
    pub(crate) upstream_429: u64,
    /// Mints that failed otherwise.
    pub(crate) upstream_failed: u64,
    pub(crate) requests_per_hour: f64,
    pub(crate) mints_per_hour: f64,
}

/// Where the tokens came from.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Served {
    /// From this process's near cache.
    pub(crate) near: u64,
    /// From the cache behind it.
    pub(crate) cache: u64,
    /// From a mint that was waited for, in this process or another.
    pub(crate) mint: u64,
    /// From this process's memory, while the cache failed.
    pub(crate) memory: u64,
}

impl Tally {
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn answer_from_memory(&self) {
        self.from_memory.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn upstream_answered(&self, answer: Result<&Minted, &MintError>) {
        let counter = match answer {
            Ok(_) => &self.mints,
            Err(MintError::RateLimited { .. }) => &self.limited,
            Err(_) => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// All of it. `hits` are the answers that the cache had ready, `near` those of them that were near.
    pub(crate) fn totals(&self, hits: u64, near: u64, times: Times, span: Duration) -> Totals {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (requests, refused, mints) = (count(&self.requests), count(&self.refused), count(&self.mints));
        let near = near.min(hits);
        let memory = count(&self.from_memory);
        Totals {
            requests,
            refused,
            served: Served {
                near,
                cache: hits - near,
                mint: requests.saturating_sub(refused + hits + memory),
                memory,
            },
            mints,
            upstream_429: count(&self.limited),
            upstream_failed: count(&self.failed),
            requests_per_hour: times.per_hour(requests, span),
            mints_per_hour: times.per_hour(mints, span),
        }
    }
}

/// One line for people.
impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Served {
            near,
            cache,
            mint,
            memory,
        } = &self.served;
        write!(
            f,
            "{} mints for {} requests, at this rate {:.0} an hour for {:.0}; \
             near {near}, cache {cache}, mint {mint}, memory {memory}, refused {}; upstream 429 {}, failed {}",
            self.mints,
            self.requests,
            self.mints_per_hour,
            self.requests_per_hour,
            self.refused,
            self.upstream_429,
            self.upstream_failed,
        )
    }
}
