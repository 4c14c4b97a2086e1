//! The names of the tokens in the cache. No key is put together anywhere else.
//!
//! `token-broker:v1:~DIGEST:APP:PROFILE`, and the repository where the caller chose it. The digest is that of the
//! whole configuration: a changed profile never serves a token that was minted under the old one.

use cache_core::{CacheError, Keyspace};

use crate::profiles::{Order, Profiles};

/// Raised when the stored form changes: what an older version stored is a miss then.
const WIRE_VERSION: u32 = 1;

/// The keys of one configuration.
#[derive(Clone, Debug)]
pub(crate) struct Keys(Keyspace);

impl Keys {
    pub(crate) fn new(profiles: &Profiles) -> Result<Self, CacheError> {
        let keys = Keyspace::builder("token-broker")
            .wire_version(WIRE_VERSION)
            .digest(profiles.digest()?);
        Ok(Self(keys.build()?))
    }

    pub(crate) fn token(&self, order: &Order) -> String {
        let mut parts = vec![order.app.as_str(), order.profile.as_str()];
        if order.by_caller {
            parts.extend(order.repositories.iter().map(String::as_str));
        }
        self.0.key(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_names_configuration_app_profile_and_the_callers_repository() {
        let profiles = Profiles::load(None).unwrap();
        let keys = Keys::new(&profiles).unwrap();
        let key = |profile, repository| {
            let order = profiles.order("acme-ci", profile, repository).unwrap();
            keys.token(&order)
        };
        let plain = key("default", None);
        assert!(plain.starts_with("token-broker:v1:~"), "{plain}");
        assert!(plain.ends_with(":acme-ci:default"), "{plain}");
        assert_eq!(key("default", Some("web")), plain, "the same token");
        let chosen = key("one-repository", Some("web"));
        assert!(chosen.ends_with(":acme-ci:one-repository:web"), "{chosen}");
    }
}
