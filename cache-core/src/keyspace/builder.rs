//! Collects the parts of a keyspace and checks them at the end.

use std::fmt::Write;

use super::escape::push_part;
use super::{ConfigDigest, Keyspace, MAX_NAME_LEN};
use crate::{CacheError, MAX_KEY_LEN};

/// Builds a [`Keyspace`]; from [`Keyspace::builder`].
///
/// ```
/// use cache_core::{ConfigDigest, Keyspace};
///
/// let quotes = Keyspace::builder("quotes")
///     .wire_version(3)
///     .digest(ConfigDigest::of(["model-7", "v2 rules"])?)
///     .build()?;
/// assert!(quotes.key(["42"]).starts_with("quotes:v3:~"));
///
/// // A digest is required but missing: this is an error, because a keyspace without it would mix values.
/// let configured: Option<ConfigDigest> = None;
/// assert!(Keyspace::builder("quotes").digest(configured).build().is_err());
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct KeyspaceBuilder {
    service: String,
    wire_version: u32,
    digest: DigestRule,
    max_key_len: usize,
}

#[derive(Clone, Copy, Debug)]
enum DigestRule {
    None,
    Missing,
    Given(ConfigDigest),
}

impl KeyspaceBuilder {
    pub(super) fn new(service: String) -> Self {
        Self {
            service,
            wire_version: 1,
            digest: DigestRule::None,
            max_key_len: Keyspace::DEFAULT_MAX_KEY_LEN,
        }
    }

    /// The version of the values' encoding. Raise it if old values can no longer be decoded: they become
    /// misses. Default: 1.
    pub fn wire_version(mut self, version: u32) -> Self {
        self.wire_version = version;
        self
    }

    /// Declares that the values depend on a configuration, with its digest. With `None` the digest should be
    /// known but is not, so [`build`](KeyspaceBuilder::build) fails. Default: the values depend on no
    /// configuration.
    pub fn digest(mut self, digest: impl Into<Option<ConfigDigest>>) -> Self {
        self.digest = digest.into().map_or(DigestRule::Missing, DigestRule::Given);
        self
    }

    /// Requires a digest, for a builder that is passed on to code that knows it: without a later
    /// [`digest`](KeyspaceBuilder::digest), [`build`](KeyspaceBuilder::build) fails. Default: not required.
    pub fn require_digest(mut self) -> Self {
        if matches!(self.digest, DigestRule::None) {
            self.digest = DigestRule::Missing;
        }
        self
    }

    /// The longest key, in bytes; a longer one is hashed. Between [`Keyspace::MIN_MAX_KEY_LEN`] and
    /// [`MAX_KEY_LEN`]. Default: [`Keyspace::DEFAULT_MAX_KEY_LEN`].
    pub fn max_key_len(mut self, bytes: usize) -> Self {
        self.max_key_len = bytes;
        self
    }

    /// Builds the keyspace.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] if the escaped service name is empty or longer than 128 bytes, if a
    /// required digest is missing, or if a limit is out of range.
    pub fn build(self) -> Result<Keyspace, CacheError> {
        if self.service.is_empty() {
            return Err(CacheError::InvalidInput {
                argument: "service",
                reason: format!("empty; expected a name of 1 to {MAX_NAME_LEN} bytes").into(),
            });
        }
        let mut service = String::new();
        push_part(&mut service, &self.service);
        if service.len() > MAX_NAME_LEN {
            return Err(CacheError::InvalidInput {
                argument: "service",
                reason: format!(
                    "{} bytes long when escaped; expected a name of 1 to {MAX_NAME_LEN} bytes",
                    service.len()
                )
                .into(),
            });
        }
        if !(Keyspace::MIN_MAX_KEY_LEN..=MAX_KEY_LEN).contains(&self.max_key_len) {
            return Err(CacheError::InvalidInput {
                argument: "max_key_len",
                reason: format!(
                    "{} bytes; expected {} to {MAX_KEY_LEN}",
                    self.max_key_len,
                    Keyspace::MIN_MAX_KEY_LEN
                )
                .into(),
            });
        }
        let mut base = service.clone();
        // Writing to a string cannot fail.
        let _ = write!(base, ":v{}:", self.wire_version);
        match self.digest {
            DigestRule::None => {}
            DigestRule::Given(digest) => {
                base.push('~');
                digest.push_to(&mut base);
                base.push(':');
            }
            DigestRule::Missing => {
                return Err(CacheError::InvalidInput {
                    argument: "digest",
                    reason: "absent; the values of this keyspace depend on a configuration, give its digest"
                        .into(),
                });
            }
        }
        Ok(Keyspace {
            service: service.into(),
            base: base.into(),
            generation: None,
            of_tenant: false,
            max_key_len: self.max_key_len,
        })
    }
}
