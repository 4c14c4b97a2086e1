//! A near cache in front of any client: it keeps values in this process, and drops them when they change.
//!
//! In here: [`Tiered`] and what it promises. How it implements the contract is in `client.rs`; how it passes on
//! changes is in `source.rs`. The store, and the protocol between a read and a change, are in `near`. Not in here:
//! other layers, and how a backend finds out what changed.
//!
//! # Where it belongs
//!
//! Above everything that costs time (encryption, a circuit breaker, the network), and below everything that each call
//! has to pass (a prefix, metrics of the edge):
//!
//! ```text
//! Prefixed > Observed("edge") > Tiered > Encrypted > Observed("far") > Guarded > client
//! ```
//!
//! Above `Observed("edge")` its hits would not be measured. Below `Encrypted` every hit would be decrypted.
//!
//! # What is promised
//!
//! - **Callers see their own writes** at once, if these are made through this near cache, by any of its callers. When
//!   a write has been answered, with any result, or its future was dropped, the key's copy is gone. No read in
//!   progress is then kept or joined. Until the write is answered, others may still get the old value near: either
//!   order is valid for a write in progress. A write that timed out, or whose future was dropped, may still be
//!   carried out later. Its change then counts as a change by another client.
//! - **Changes of others are seen as soon as they are reported.** A read is marked before it is sent, and a report
//!   removes mark and copy. So a report that overtakes a reply leaves nothing stale behind. The worst staleness is
//!   the time that a report takes to arrive.
//! - **A lost connection removes what was read over it**, before the next answer. While one of several servers cannot
//!   be reached, its keys are not kept, and those of the others are as before. If the client does not
//!   [vouch](cache_core::Vouch) for each value, any lost connection removes all copies.
//! - **A frozen process serves no old copy** after it resumes, until the client has heard from the connection over
//!   which the copy was read ([`Lease`](cache_core::Lease)). A freeze of less than a second may go unnoticed.
//! - **If changes are not reported**, the worst staleness is [`untracked_life`](NearConfigBuilder::untracked_life).
//!   [`status`](Tiered::status) says which of the two holds.
//! - **One far read** for all callers in this process that want the same key at once. It goes on as long as any one
//!   of them is polled. A caller that is dropped, or never polled again, holds up no other. All of them share its
//!   error. A caller joins a read that began less than a second ago and that no change and no own write has
//!   overtaken. It gets a value that was current at some time since that read was sent. While the near cache is
//!   bypassed, each caller reads for itself.
//! - **No copy outlives the far entry.** Its TTL counts from before its read was sent.
//! - **Many keys are kept like one.** [`get_many`](cache_core::CacheClient::get_many),
//!   [`get_each`](cache_core::CacheClient::get_each) and [`get_entries`](cache_core::CacheClient::get_entries) answer
//!   near keys near, read the rest by one far `get_entries`, and keep it.
//! - **An absent key is kept too**, if its backend reports when the key is created
//!   ([`Absence::tracked`](cache_core::Absence::tracked)), and under the same rules as a value. If changes are not
//!   reported, each read of such a key is a far read.
//!
//! # What is not
//!
//! - `exists` answers near for the keys that are near, and asks the remote cache for the others. That answer is not
//!   kept, because it is a sum.
//! - `ttl` asks the remote cache.
//! - A far read of many keys is not shared with callers that want one of them at the same time.
//!
//! # Bounds
//!
//! An entry counts for its key, its value (none, for an absent key) and 160 bytes of bookkeeping. The near cache
//! keeps a copy of the value. A client may hand out a slice of a larger buffer, which would keep the whole buffer in
//! memory, and does not say how large that is.
//!
//! A near cache of more than 1 MiB is split into shards, each with its own lock: up to four for each core, rounded up
//! to a power of two. An entry that takes more than 97 % of a shard is not kept. If entries are few and large, or
//! many and small, either bound may be reached first. If both kinds are mixed, at most half of the other bound may be
//! in use by then. An expired entry makes room when it is requested, or when others need the room.
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

/// A near cache in front of a client; see the [module](self).
pub struct Tiered {
    inner: Arc<dyn CacheClient>,
    near: Arc<Near<Option<Bytes>>>,
    source: Option<Arc<Source>>,
    lives: Lives,
    closed: AtomicBool,
}

impl Tiered {
    /// Creates a near cache in front of `client`. Receives what `client` reports from now on.
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

    /// Returns the client inside.
    #[must_use]
    pub fn inner(&self) -> &Arc<dyn CacheClient> {
        &self.inner
    }

    /// How the near cache is invalidated at the moment.
    #[must_use]
    pub fn status(&self) -> NearStatus {
        let source = self.source.as_deref();
        self.lives
            .status(source.map(|source| source as &dyn InvalidationSource))
    }

    /// What the near cache did and what it holds.
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

/// One short line that names the client inside.
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
