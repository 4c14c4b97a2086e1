//! How a [`DynamoClient`](super::DynamoClient) reads, writes and waits.

use std::ops::RangeInclusive;
use std::time::Duration;

use cache_core::CacheError;

/// How a [`DynamoClient`](super::DynamoClient) reads, writes and waits.
///
/// ```
/// use std::time::Duration;
/// use cache_aws::dynamodb::{Consistency, DynamoDbOptions};
///
/// let options = DynamoDbOptions::default()
///     .with_read_timeout(Duration::from_millis(500))
///     .with_consistency(Consistency::Eventual);
/// assert_eq!(options.consistency, Consistency::Eventual);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DynamoDbOptions {
    /// How long a read may take, retries included.
    pub read_timeout: Duration,
    /// How long a write may take, retries included.
    pub write_timeout: Duration,
    /// How long opening a connection may take; never longer than the call.
    pub connect_timeout: Duration,
    /// The most retries of a request after transient errors.
    pub max_retries: u32,
    /// How many requests of one call with many keys may be in flight.
    pub parallel_requests: usize,
    /// The consistency of `get`, `get_entry` and `get_many`.
    pub consistency: Consistency,
}

/// Whether a read sees the most recent writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// It sees all writes. One read unit per 4 KB.
    #[default]
    Strong,
    /// It may miss recent writes, usually those of the last second. Half a read unit per 4 KB.
    ///
    /// Applies to `get`, `get_entry` and `get_many` only. A caller may not see its own write, a deleted key
    /// may still be read, and a lock that was just taken may look free to a reader. Use it for values that
    /// may be stale for a second, and not under `Lock`, `RateLimiter`, `Idempotency` or `Generations`.
    Eventual,
}

impl DynamoDbOptions {
    /// How long a call that reads may take, its retries included. Default: 3 s.
    #[must_use]
    pub const fn with_read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = timeout;
        self
    }

    /// How long a call that writes may take, its retries included. Default: 3 s.
    #[must_use]
    pub const fn with_write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// How long opening a connection may take; never longer than the call. Default: 1 s.
    #[must_use]
    pub const fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The most retries of a request after transient errors: throttling, an error of the service, a lost
    /// connection. Requests that must not be applied twice are retried only if they certainly were not
    /// applied. Default: 5.
    #[must_use]
    pub const fn with_max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// How many requests of one call with many keys may be in flight; at least 1. Default: 8.
    #[must_use]
    pub const fn with_parallel_requests(mut self, requests: usize) -> Self {
        self.parallel_requests = if requests == 0 { 1 } else { requests };
        self
    }

    /// The consistency of `get`, `get_entry` and `get_many`. Default: [`Consistency::Strong`].
    #[must_use]
    pub const fn with_consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }
}

impl DynamoDbOptions {
    /// Rejects unusable options. The fields are public, so this is checked when a client is created.
    pub(super) fn check(&self) -> Result<(), CacheError> {
        let times = [
            ("read_timeout", self.read_timeout),
            ("write_timeout", self.write_timeout),
            ("connect_timeout", self.connect_timeout),
        ];
        let refuse = |argument, reason: &'static str| {
            Err(CacheError::InvalidInput {
                argument,
                reason: reason.into(),
            })
        };
        for (argument, time) in times {
            if !TIMEOUTS.contains(&time) {
                return refuse(argument, "takes 1 ms to 1 hour");
            }
        }
        if self.max_retries > MOST_RETRIES {
            return refuse("max_retries", "takes at most 100");
        }
        if self.parallel_requests == 0 {
            return refuse("parallel_requests", "takes 1 or more");
        }
        Ok(())
    }
}

const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);
const MOST_RETRIES: u32 = 100;

impl Default for DynamoDbOptions {
    fn default() -> Self {
        Self {
            read_timeout: Duration::from_secs(3),
            write_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(1),
            max_retries: 5,
            parallel_requests: 8,
            consistency: Consistency::Strong,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut DynamoDbOptions);

    #[test]
    fn unusable_options_are_refused_by_name() {
        assert!(DynamoDbOptions::default().check().is_ok());
        let cases: [(&str, Change); 7] = [
            ("read_timeout", |options| options.read_timeout = Duration::MAX),
            ("read_timeout", |options| options.read_timeout = Duration::ZERO),
            ("write_timeout", |options| options.write_timeout = Duration::MAX),
            ("connect_timeout", |options| {
                options.connect_timeout = Duration::ZERO;
            }),
            ("connect_timeout", |options| {
                options.connect_timeout = Duration::MAX;
            }),
            ("max_retries", |options| options.max_retries = 101),
            ("parallel_requests", |options| options.parallel_requests = 0),
        ];
        for (argument, change) in cases {
            let mut options = DynamoDbOptions::default();
            change(&mut options);
            let error = options.check().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("invalid {argument}: takes ")),
                "{error}"
            );
        }
    }
}
