//! Names the keys of a service: readable, never two names for one key and never one key for two things.
//!
//! Not in here: what a legal key is ([`check_key`](crate::check_key)), and prefixes that a deployment puts
//! before every key (configuration).
//!
//! # Layout
//!
//! ```text
//! billing:v1:~3f0c...:+7:{acme}:+2:settings:eu
//! |       |  |        |  |      |  |
//! |       |  |        |  |      |  the parts, escaped
//! |       |  |        |  |      the tenant's generation, if any
//! |       |  |        |  the tenant, if any: {in one slot} or @spread
//! |       |  |        the keyspace's generation, if any
//! |       |  the configuration digest, if any
//! |       the wire version
//! the service
//! ```
//!
//! Each optional segment begins with a sign that no part begins with. Text from outside never contains an
//! unescaped `:`, brace or glob character. So the segments are always distinguishable.

mod builder;
mod digest;
mod escape;

use std::fmt::{self, Write};
use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use builder::KeyspaceBuilder;
pub use digest::ConfigDigest;

use self::escape::{push_hex, push_part};
use crate::{CacheError, Pattern};

/// The keys of one kind of values of a service, or of one of its tenants.
///
/// Cheap to clone; [`tenant`](Keyspace::tenant) and [`generation`](Keyspace::generation) give narrower ones.
///
/// ```
/// use cache_core::Keyspace;
///
/// let billing = Keyspace::new("billing")?;
/// assert_eq!(billing.key(["plans"]), "billing:v1:plans");
///
/// let acme = billing.tenant("acme")?;
/// assert_eq!(acme.key(["settings", "eu"]), "billing:v1:{acme}:settings:eu");
/// assert_eq!(acme.pattern_all().to_string(), "billing:v1:{acme}:*");
/// assert_eq!(acme.pattern_all().slot(), Some(cache_core::slot::slot_of(b"acme")));
///
/// // No text can imitate another: neither more parts, nor a tag, nor a wildcard.
/// let odd = billing.tenant("*}:x")?;
/// assert_eq!(odd.key(["a:b", ""]), "billing:v1:{%2A%7D%3Ax}:a%3Ab:%");
/// # Ok::<(), cache_core::CacheError>(())
/// ```
///
/// # Promises
///
/// - Two different lists of parts never give the same key, nor do two keyspaces that differ in service, wire
///   version, digest, generation or tenant.
/// - Every key of a keyspace matches its [`pattern_all`](Keyspace::pattern_all). No key of another service or
///   wire version matches, and none of another digest or tenant if both keyspaces have one. The pattern does
///   not distinguish what its keyspace does not name; see there.
/// - No key is longer than the keyspace's limit. If the parts would make it longer, as many leading parts as
///   fit are kept, and the rest becomes `#` and its SHA-256. Keys are then distinct as long as SHA-256 has no
///   collisions.
///
/// # Escapes
///
/// In the parts, `%`, `:`, `{`, `}`, `*`, `?`, `[`, `]`, `\`, space and ASCII control characters become `%`
/// and two hex digits; so do `~`, `+`, `@` and `#` at the start of a part. An empty part is a lone `%`. All
/// other text, UTF-8 included, is unchanged.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Keyspace {
    /// The escaped service name.
    service: Arc<str>,
    /// Everything before the generation; ends with a colon.
    base: Arc<str>,
    generation: Option<u64>,
    of_tenant: bool,
    max_key_len: usize,
}

impl Keyspace {
    /// The default length above which the parts of a key are hashed.
    pub const DEFAULT_MAX_KEY_LEN: usize = 1_024;

    /// The minimum of [`KeyspaceBuilder::max_key_len`]; the longest keyspace with a hash fits.
    pub const MIN_MAX_KEY_LEN: usize = 512;

    /// The keyspace of `service` at wire version 1, with no digest.
    ///
    /// # Errors
    ///
    /// As [`KeyspaceBuilder::build`].
    pub fn new(service: &str) -> Result<Self, CacheError> {
        Self::builder(service).build()
    }

    /// Starts a keyspace of `service` with a wire version, a digest or another limit.
    pub fn builder(service: impl Into<String>) -> KeyspaceBuilder {
        KeyspaceBuilder::new(service.into())
    }

    /// The keys of one tenant, all in one slot of a cluster: `{tenant}` is their hash tag.
    ///
    /// One slot means one primary: listing and purging the tenant's keys involves a single node, and one big
    /// tenant loads a single node. [`tenant_spread`](Keyspace::tenant_spread) spreads them.
    ///
    /// A name whose escaped form is longer than 128 bytes is replaced by `#` and its SHA-256.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for an empty name (it would not be a tenant), and if this keyspace
    /// already belongs to a tenant.
    pub fn tenant(&self, tenant: &str) -> Result<Self, CacheError> {
        self.with_tenant('{', tenant, "}:")
    }

    /// The keys of one tenant, spread over all slots of a cluster: `@tenant`.
    ///
    /// The keys differ from those of [`tenant`](Keyspace::tenant).
    ///
    /// # Errors
    ///
    /// As [`tenant`](Keyspace::tenant).
    pub fn tenant_spread(&self, tenant: &str) -> Result<Self, CacheError> {
        self.with_tenant('@', tenant, ":")
    }

    /// The same keyspace in generation `generation`. For a tenant's keyspace, it is the tenant's generation.
    ///
    /// A new number makes all old keys unreachable at once. They are reclaimed later, by the
    /// [`pattern_all`](Keyspace::pattern_all) of the old generation. A keyspace without a generation shares
    /// no key with one that has one, but its pattern covers the keys of all generations.
    ///
    /// ```
    /// use cache_core::Keyspace;
    ///
    /// let acme = Keyspace::new("billing")?.tenant("acme")?;
    /// assert_eq!(acme.generation(7).key(["plan"]), "billing:v1:{acme}:+7:plan");
    /// assert_eq!(acme.generation(6).pattern_all().to_string(), "billing:v1:{acme}:+6:*");
    /// # Ok::<(), cache_core::CacheError>(())
    /// ```
    #[must_use]
    pub fn generation(&self, generation: u64) -> Self {
        Self {
            generation: Some(generation),
            ..self.clone()
        }
    }

    /// The key of these parts. The empty list has a key too.
    #[must_use]
    pub fn key<P: AsRef<str>>(&self, parts: impl IntoIterator<Item = P>) -> String {
        let mut key = self.header();
        let header = key.len();
        // The longest key of whole leading parts that leaves room for the hash of the others.
        let mut kept = header;
        let room = self.max_key_len - HASH_LEN;
        for part in parts {
            if key.len() > header {
                if key.len() < room {
                    kept = key.len() + 1;
                }
                key.push(':');
            }
            push_part(&mut key, part.as_ref());
        }
        if key.len() > self.max_key_len {
            let hash = Sha256::digest(&key.as_bytes()[kept..]);
            key.truncate(kept);
            key.push('#');
            push_hex(&mut key, &hash);
        }
        key
    }

    /// The pattern of all keys that begin with this keyspace's [`prefix`](Keyspace::prefix): its own keys and
    /// those of every more specific keyspace. Without digest, generation and tenant it covers the keys of all
    /// of them. With only a digest it covers all generations and tenants. For a tenant's keyspace without a
    /// generation it covers all generations of the tenant.
    ///
    /// The pattern of a [`tenant`](Keyspace::tenant) pins the tenant's slot.
    #[must_use]
    pub fn pattern_all(&self) -> Pattern {
        let mut pattern = self.header();
        pattern.push('*');
        Pattern::of_checked(pattern.into_bytes())
    }

    /// The pattern of the keys whose parts begin with `parts` and go on after them.
    ///
    /// A hashed key is found by the leading parts that were kept.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] if `parts` leave no room for a longer key within the limit. Only
    /// [`pattern_all`](Keyspace::pattern_all) covers such keys.
    pub fn pattern_under<P: AsRef<str>>(
        &self,
        parts: impl IntoIterator<Item = P>,
    ) -> Result<Pattern, CacheError> {
        let mut pattern = self.header();
        for part in parts {
            push_part(&mut pattern, part.as_ref());
            pattern.push(':');
            if pattern.len() > self.max_key_len - HASH_LEN {
                return Err(CacheError::InvalidInput {
                    argument: "parts",
                    reason: format!(
                        "too long: keys under them are hashed, as {} bytes are the limit; use pattern_all",
                        self.max_key_len
                    )
                    .into(),
                });
            }
        }
        pattern.push('*');
        Ok(Pattern::of_checked(pattern.into_bytes()))
    }

    /// The pattern of all keys that the service ever wrote for `tenant` by [`Keyspace::tenant`]: every wire
    /// version, digest and generation.
    ///
    /// It visits every primary; a tenant's own [`pattern_all`](Keyspace::pattern_all) visits one. Like
    /// [`pattern_service`](Keyspace::pattern_service), it expects a digit at the start of the wire version.
    ///
    /// # Errors
    ///
    /// As [`tenant`](Keyspace::tenant), except that this keyspace may already belong to a tenant.
    pub fn pattern_tenant(&self, tenant: &str) -> Result<Pattern, CacheError> {
        Ok(self.pattern_of_segment(&tenant_segment('{', tenant, "}:")?))
    }

    /// As [`pattern_tenant`](Keyspace::pattern_tenant), for the keys of [`Keyspace::tenant_spread`].
    ///
    /// # Errors
    ///
    /// As [`pattern_tenant`](Keyspace::pattern_tenant).
    pub fn pattern_tenant_spread(&self, tenant: &str) -> Result<Pattern, CacheError> {
        Ok(self.pattern_of_segment(&tenant_segment('@', tenant, ":")?))
    }

    /// The pattern of all keys of the service: every wire version, digest, generation and tenant.
    ///
    /// It is not meant for handmade keys and mostly does not match them: `billing:vat:7` is not in the
    /// keyspace `billing`. A key that looks like a keyspace's, with `v`, a digit and a later `:` after the
    /// service, does match (`billing:v2beta:7`), because a glob cannot say "digits only".
    #[must_use]
    pub fn pattern_service(&self) -> Pattern {
        Pattern::of_checked(format!("{}:{ANY_WIRE_VERSION}:*", self.service).into_bytes())
    }

    /// The prefix of all keys of this keyspace.
    #[must_use]
    pub fn prefix(&self) -> String {
        self.header()
    }

    fn header(&self) -> String {
        let mut header = String::with_capacity(self.base.len() + 64);
        header.push_str(&self.base);
        if let Some(generation) = self.generation {
            // Writing to a string cannot fail.
            let _ = write!(header, "+{generation}:");
        }
        header
    }

    fn with_tenant(&self, open: char, tenant: &str, close: &str) -> Result<Self, CacheError> {
        if self.of_tenant {
            return Err(CacheError::InvalidInput {
                argument: "tenant",
                reason: "this keyspace is a tenant's already; make it from the service's keyspace".into(),
            });
        }
        let segment = tenant_segment(open, tenant, close)?;
        let base = self.header() + &segment;
        Ok(Self {
            base: base.into(),
            generation: None,
            of_tenant: true,
            ..self.clone()
        })
    }

    fn pattern_of_segment(&self, segment: &str) -> Pattern {
        Pattern::of_checked(format!("{}:{ANY_WIRE_VERSION}:{segment}*", self.service).into_bytes())
    }
}

/// The wire version as a glob, and any segments after it.
const ANY_WIRE_VERSION: &str = "v[0-9]*";

/// The length of the hash of the rest: `#` and 64 hex digits.
const HASH_LEN: usize = 1 + 64;

/// The longest escaped name of a service or tenant that is not hashed.
const MAX_NAME_LEN: usize = 128;

fn tenant_segment(open: char, tenant: &str, close: &str) -> Result<String, CacheError> {
    if tenant.is_empty() {
        return Err(CacheError::InvalidInput {
            argument: "tenant",
            reason: "empty; keys that belong to no tenant come from the service's keyspace".into(),
        });
    }
    let mut segment = String::with_capacity(tenant.len() + 3);
    segment.push(open);
    push_part(&mut segment, tenant);
    if segment.len() - 1 > MAX_NAME_LEN {
        segment.truncate(1);
        segment.push('#');
        push_hex(&mut segment, &Sha256::digest(tenant));
    }
    segment.push_str(close);
    Ok(segment)
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyspace({})", self.header())
    }
}

#[cfg(test)]
mod tests;
