//! Configuration of a layer that encrypts: every setting, its default, and what is refused.
//!
//! Not in here: how often the keyset is refreshed. The keyring's configuration says that (`keyring/config.rs`).

use cache_core::CacheError;

use super::form::StoredForm;
use crate::refuse::refuse;

/// What happens to values that are not encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Migration {
    /// Such a value is a miss.
    #[default]
    Strict,
    /// Such a value is read and counted, and all writes are encrypted. For the time from the first instance that
    /// encrypts until the last unencrypted entry has expired.
    ReadPlaintext,
}

/// The configuration of an [`Encrypted`](super::Encrypted).
///
/// ```
/// use cache_layers::EncryptedConfig;
/// use cache_layers::encrypted::{Migration, StoredForm};
///
/// let config = EncryptedConfig::builder()
///     .stored_form(StoredForm::ChinminaBridge)
///     .migration(Migration::ReadPlaintext)
///     .build()?;
/// # let _ = config;
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptedConfig {
    pub(super) form: StoredForm,
    pub(super) migration: Migration,
    pub(super) counters: bool,
    pub(super) max_value: Option<usize>,
}

impl Default for EncryptedConfig {
    fn default() -> Self {
        Self {
            form: StoredForm::Tink,
            migration: Migration::Strict,
            counters: true,
            max_value: None,
        }
    }
}

impl EncryptedConfig {
    /// Starts with the defaults.
    pub fn builder() -> EncryptedConfigBuilder {
        EncryptedConfigBuilder::default()
    }

    /// The largest value that callers may store, in bytes.
    #[must_use]
    pub const fn max_value(&self) -> usize {
        match self.max_value {
            Some(bytes) => bytes,
            None => self.form.plaintext_len(LARGEST_STORED),
        }
    }
}

/// The largest value that a Valkey server accepts.
const LARGEST_STORED: usize = 512 * 1024 * 1024;

/// Builds an [`EncryptedConfig`]. A setter never fails; [`build`](Self::build) reports what is wrong.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct EncryptedConfigBuilder {
    config: EncryptedConfig,
}

impl EncryptedConfigBuilder {
    /// How a sealed value is stored. All services that share entries need the same form. Default:
    /// [`StoredForm::Tink`].
    pub const fn stored_form(mut self, form: StoredForm) -> Self {
        self.config.form = form;
        self
    }

    /// What happens to values that are not encrypted. Default: [`Migration::Strict`].
    pub const fn migration(mut self, migration: Migration) -> Self {
        self.config.migration = migration;
        self
    }

    /// Refuses counters: `incr` and `incr_by` are [`CacheError::Unsupported`], and an integer in clear text is
    /// treated as a value that is not encrypted. In [`Migration::Strict`] the layer then reads nothing from the
    /// remote cache without proof of who sealed it. Default: counters work, and are stored in clear text.
    pub const fn without_counters(mut self) -> Self {
        self.config.counters = false;
        self
    }

    /// The largest value that callers may store, in bytes before it is sealed. A larger one is
    /// [`CacheError::InvalidInput`] before anything is sealed or sent. At least 1. Default: the largest value that
    /// has at most 512 MiB when it is sealed, which is the most that a Valkey server accepts. The client inside may
    /// accept less, and then refuses the sealed value.
    pub const fn max_value(mut self, bytes: usize) -> Self {
        self.config.max_value = Some(bytes);
        self
    }

    /// Builds the configuration.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`], which names the refused setting and what it accepts.
    pub fn build(self) -> Result<EncryptedConfig, CacheError> {
        if self.config.max_value == Some(0) {
            return refuse("max_value", "takes 1 and more");
        }
        Ok(self.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_largest_value_is_what_a_server_takes_when_sealed() {
        for form in [StoredForm::Tink, StoredForm::ChinminaBridge] {
            let config = EncryptedConfig::builder().stored_form(form).build().unwrap();
            assert!(form.sealed_len(config.max_value()) <= LARGEST_STORED);
            assert!(form.sealed_len(config.max_value() + 1) > LARGEST_STORED);
        }
        let error = EncryptedConfig::builder().max_value(0).build().unwrap_err();
        assert_eq!(error.to_string(), "invalid max_value: takes 1 and more");
    }
}
