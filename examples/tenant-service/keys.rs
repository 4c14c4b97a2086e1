//! The names of everything that this service stores. No key is put together anywhere else.
//!
//! Two keyspaces, because they are flushed differently: what is cached may go at any time, what is counted
//! must not be reset by whoever flushes a cache. A tenant's name becomes a hash tag, so that its keys share
//! a slot and its flush visits one primary.

use cache_core::{CacheError, Keyspace, Pattern};

use crate::credential::KeyDigest;

/// The keys of the service.
#[derive(Debug)]
pub(crate) struct Keys {
    cached: Keyspace,
    counted: Keyspace,
}

impl Keys {
    pub(crate) fn new() -> Result<Self, CacheError> {
        Ok(Self {
            cached: Keyspace::new("tenant-service")?,
            counted: Keyspace::new("tenant-usage")?,
        })
    }

    /// Who an API key belongs to: `tenant-service:v1:api-key:<digest>`, never the key itself.
    pub(crate) fn identity(&self, digest: &KeyDigest) -> String {
        self.cached.key(["api-key", digest.as_hex()])
    }

    /// The namespace of all that is cached of a tenant: `tenant-service:v1:{acme}`. Its keys belong to a
    /// generation.
    pub(crate) fn cached_of(&self, tenant: &str) -> Result<Keyspace, CacheError> {
        self.cached.tenant(tenant)
    }

    /// A tenant's settings, in the generation that `keys` is: `tenant-service:v1:{acme}:g17:settings`.
    pub(crate) fn settings(keys: &Keyspace) -> String {
        keys.key(["settings"])
    }

    /// A tenant's requests in the present window: `tenant-usage:v1:{acme}:requests`.
    pub(crate) fn usage(&self, tenant: &str) -> Result<String, CacheError> {
        Ok(self.counted.tenant(tenant)?.key(["requests"]))
    }

    /// Where counters of limits and the answers of idempotent requests stand: out of reach of a flush.
    pub(crate) const fn kept(&self) -> &Keyspace {
        &self.counted
    }

    /// What every key of the cache begins with.
    pub(crate) fn cached_prefix(&self) -> String {
        self.cached.prefix()
    }

    /// Whether `pattern` stays within what this service caches: no key of another service, no counter.
    pub(crate) fn covers(&self, pattern: &Pattern) -> bool {
        pattern
            .literal_prefix()
            .starts_with(self.cached_prefix().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_named_star_has_its_own_entries_only() {
        let keys = Keys::new().unwrap();
        let settings = |tenant| Keys::settings(&keys.cached_of(tenant).unwrap());
        let theirs = keys.cached_of("*").unwrap().pattern_all();
        assert!(theirs.matches(settings("*").as_bytes()));
        assert!(!theirs.matches(settings("acme").as_bytes()));
    }

    #[test]
    fn no_flush_reaches_a_counter_or_another_service() {
        let keys = Keys::new().unwrap();
        let everything = Pattern::new("tenant-service:v1:*").unwrap();
        assert!(keys.covers(&everything));
        assert!(!everything.matches(keys.usage("acme").unwrap().as_bytes()));
        for pattern in [
            "*",
            "tenant-*",
            "tenant-usage:v1:*",
            "[t]enant-service:v1:*",
            "billing:*",
        ] {
            assert!(!keys.covers(&Pattern::new(pattern).unwrap()), "{pattern}");
        }
    }
}
