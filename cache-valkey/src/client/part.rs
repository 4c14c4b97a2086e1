//! Numbers the primary that serves a key.

use super::ValkeyClient;

impl ValkeyClient {
    /// A number for the primary that serves `key` now. Two keys with the same number are served by the same
    /// primary. Does no I/O.
    ///
    /// A circuit breaker uses it to tell one node that is down from a cache that is down. The numbers have no
    /// other meaning, and change when nodes change.
    #[must_use]
    pub fn part_of(&self, key: &str) -> u64 {
        self.router.part_of(key.as_bytes())
    }
}
