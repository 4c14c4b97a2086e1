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
//! - **A lost connection takes away what was read over it**, before the next answer. While one of several servers
//!   cannot be reached, its keys are not kept, and those of the others are as before. A client that does not
//!   [vouch](cache_core::Vouch) for each value loses all copies with any connection.
//! - **A process that was frozen serves no copy from before**, until the client has heard from the connection over which the
//!   copy was read ([`Lease`](cache_core::Lease)). A freeze of less than a second may go unnoticed.
//! - **Where nobody reports changes**, the worst staleness is
//!   [`untracked_life`](NearConfigBuilder::untracked_life). [`status`](Tiered::status) says which of it
//!   holds.
//! - **One far read** for all callers in this process who want the same key at once. It goes on as long as one of
//!   them is polled, whichever; those who are dropped, or never polled again, hold up nobody. They share its error.
//!   A caller joins a read that began less than a second ago, and that no change and no own write has overtaken; it
//!   gets what was true at some time since that read was sent. While the tier is bypassed each caller reads for
//!   itself.
//! - **No copy outlives the far entry.** Its life is counted from before its read was sent.
//! - **Many keys are kept as one is.** [`get_many`](cache_core::CacheClient::get_many),
//!   [`get_each`](cache_core::CacheClient::get_each) and [`get_entries`](cache_core::CacheClient::get_entries) answer near
//!   what is near, read the rest by one far `get_entries`, and keep it.
//! - **A key that does not exist is kept too**, if its backend reports when the key is created
//!   ([`Absence::tracked`](cache_core::Absence::tracked)), and under the same rules as a value. Where nobody reports
//!   changes, each read of such a key is a far read.
//!
//! # What is not
//!
//! `exists` answers near for the keys that are near, and asks the far tier for the others; what that says is not kept,
//! because it is a sum. `ttl` asks the far tier. A far read of many keys is not shared with callers that want one of
//! them meanwhile.
//!
//! # Bounds
//!
//! An entry counts for its key, its value (none, for a key that does not exist) and 160 bytes of book-keeping. What is kept is a copy of the
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
use crate::near::{Lives, Near, NearSource};

/// A near tier in front of a client; see the [module](self).
pub struct Tiered {
    inner: Arc<dyn CacheClient>,
    near: Arc<Near<Option<Bytes>>>,
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

/// One short line: what it stands on.
impl fmt::Debug for Tiered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tiered({:?})", self.inner)
    }
}

impl NearSource for Tiered {
    fn stats(&self) -> NearStats {
        self.stats()
    }

    fn status(&self) -> NearStatus {
        self.status()
    }
}
