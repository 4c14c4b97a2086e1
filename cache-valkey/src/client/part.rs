//! Which node a key depends on, as a number.

use super::ValkeyClient;

impl ValkeyClient {
    /// A number for the primary that serves `key` now: two keys with the same number are served by the same one. Does
    /// no I/O.
    ///
    /// It is what a circuit breaker needs to tell one node that is down from a cache that is down. Numbers say nothing
    /// else, and change when nodes do.
    #[must_use]
    pub fn part_of(&self, key: &str) -> u64 {
        self.router.part_of(key.as_bytes())
    }
}
