//! A near tier: keeps in this process what was read, in front of any client, and keeps it true.
//!
//! In here: [`Tiered`] and what it promises. How it keeps the contract is in `client.rs`, who is told of
//! changes in `source.rs`. The store and the protocol between a read and a change are in `near`. Not in
//! here: other layers, and how a backend finds out what changed.
//!
//! # Where it belongs
//!
//! Above everything that costs (encryption, a circuit breaker, the network), below what every call has to
//! pass (a prefix, metrics of the edge):
//!
//! ```text
//! Prefixed > Observed("edge") > Tiered > Encrypted > Observed("far") > Guarded > client
//! ```
//!
//! Above `Observed("edge")` the hits would not be seen; below `Encrypted` every hit would be decrypted.
//!
//! # What is promised
//!
//! - **A caller sees its own writes**, those made through this tier, by whichever of its callers, at once:
//!   when a write has answered, with whatever, or its future was dropped, the key's copy is gone and no
//!   read that was under way is kept or joined. Until it answers, others may still get the old value near:
//!   the write is under way, and either order is true. A write whose future was dropped, or that timed
//!   out, may still be carried out later; then its change is as one of somebody else.
//! - **Changes of others are seen as soon as they are reported.** A read is marked before it is sent, and a
//!   report takes mark and copy away. So a report that overtakes a reply leaves nothing stale behind. The
//!   worst staleness is the time that a report takes to arrive.
//! - **A lost connection empties the tier** before the next answer, and nothing is kept until changes are
//!   reported again.
//! - **Where nobody reports changes**, the worst staleness is
//!   [`untracked_life`](NearConfigBuilder::untracked_life). [`status`](Tiered::status) says which of it
//!   holds.
//! - **One far read** for all callers in this process who want the same key at once. The one who makes it
//!   may be dropped: another one takes over. Its error is everybody's. Who joins gets what was true at some
//!   time since that read was sent; nobody joins a read that a change or an own write has overtaken. While
//!   the tier is bypassed each caller reads for itself.
//! - **No copy outlives the far entry.** Its life is counted from before its read was sent.
//!
//! # What is not
//!
//! [`get_many`](cache_core::CacheClient::get_many) answers near what is near, and the rest by one far
//! `get_many`; [`get_each`](cache_core::CacheClient::get_each) does the same key by key. What that brings is not kept: nobody would report its changes, and how long it lives is not
//! known. `exists` and `ttl` ask the far tier. A miss is not kept.
//!
//! # Bounds
//!
//! An entry counts for its key, its value and 160 bytes of book-keeping. What is kept is a copy of the
//! value: a slice of a larger buffer, as a client may hand out, would keep the whole buffer alive, and
//! does not say how large that is. A tier of more than 1 MiB is kept in parts with a lock of their own, as
//! many as four for each core; an entry that takes more than 97 % of a part is not kept. Of entries that
//! are few and large, or many and small, either bound may be reached first; where both sorts are mixed, no
//! more than half of the other one may be in use by then. An entry that has expired makes room when it is
//! asked for, or when others need it.
//!
//! # Examples
//!
//! ```
//! use std::sync::Arc;
//! use cache_core::{CacheClient, MemoryCache, Ttl};
//! use cache_layers::{Tiered, NearConfig};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! // Any client; one of a server, usually.
//! let far = Arc::new(MemoryCache::default());
//! let cache = Tiered::new(far.clone(), NearConfig::default());
//!
//! cache.set("greeting", "hello".into(), Ttl::secs(60)).await?;
//! assert_eq!(cache.get("greeting").await?, "hello"); // far
//! assert_eq!(cache.get("greeting").await?, "hello"); // near
//! assert_eq!(cache.stats().hits, 1);
//!
//! far.set("greeting", "salut".into(), Ttl::secs(60)).await?; // somebody else
//! assert_eq!(cache.get("greeting").await?, "salut");
//! # Ok::<(), cache_core::CacheError>(())
//! # }).unwrap();
//! ```

mod client;
mod source;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use cache_core::{CacheClient, CacheError, InvalidationSource};

pub use crate::near::{NearConfig, NearConfigBuilder, NearStats, NearStatus};

use self::source::Source;
use crate::near::{Lives, Near};

/// A near tier in front of a client; see the [module](self).
pub struct Tiered {
    inner: Arc<dyn CacheClient>,
    near: Arc<Near<Bytes>>,
    source: Option<Arc<Source>>,
    lives: Lives,
    closed: AtomicBool,
}

impl Tiered {
    /// A near tier in front of `client`. Hears from now on what `client` reports.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "made once, from a configuration that is not needed any more"
    )]
    pub fn new(client: Arc<dyn CacheClient>, config: NearConfig) -> Self {
        let near = Near::new(config.bounds());
        let far = client.invalidations();
        Self {
            source: far.map(|far| Arc::new(Source::over(far, &near))),
            inner: client,
            near,
            lives: config.lives(),
            closed: AtomicBool::new(false),
        }
    }

    /// The client inside.
    #[must_use]
    pub fn inner(&self) -> &Arc<dyn CacheClient> {
        &self.inner
    }

    /// How the tier is kept true at the moment.
    #[must_use]
    pub fn status(&self) -> NearStatus {
        let source = self.source.as_deref();
        self.lives
            .status(source.map(|source| source as &dyn InvalidationSource))
    }

    /// What it did and what it holds.
    #[must_use]
    pub fn stats(&self) -> NearStats {
        self.near.stats()
    }

    #[inline]
    fn check_open(&self) -> Result<(), CacheError> {
        if self.closed.load(Ordering::Acquire) {
            Err(CacheError::Closed)
        } else {
            Ok(())
        }
    }
}

/// Shows counts, no key and no value.
impl fmt::Debug for Tiered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tiered")
            .field("inner", &self.inner)
            .field("near", &self.near)
            .finish_non_exhaustive()
    }
}
