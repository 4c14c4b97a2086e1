//! The engine: one pattern over every primary at once.
//!
//! A run makes passes. Each visits all primaries that may hold matching keys, at once, page by page, so
//! that memory stays bounded at any number of keys. After each pass the layout is asked for anew: a slot
//! counts as visited only under the primary that serves it now, so slots that moved and primaries that
//! were replaced are visited again. A removal visits every slot twice; the second visit verifies.
//!
//! Why that is enough while a slot moves key by key: a key hops once, from the giver to the receiver. If
//! the hop made it slip through the first visit to the giver, it is with the receiver from then on. So a
//! slot is done only once every primary that serves was swept, to the end, in a pass after that visit. A
//! primary that cannot be swept leaves open the slots that are being given away at the time, which their
//! owners are asked for; of the others nothing has hopped. A second hop means another owner, which voids
//! the visits. A slot pinned by a hash tag concerns other primaries once its owner says that it gives it
//! away, which it is asked before every pass.
//!
//! Not in here: where keys are kept ([`Keys`]), and how anything looks.

mod cancel;
mod coverage;
mod event;
mod listing;
mod options;
mod probe;
mod report;
mod run;
mod sample;
mod visit;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cache_core::clock;
use cache_core::{CacheError, Pattern};

pub use cancel::Cancel;
pub use event::{Event, Observer};
pub use listing::Listing;
pub use options::Options;
pub use report::{Counts, Gap, GapReason, Outcome, PrimaryReport, Report};

use self::run::Run;
use self::sample::Reservoir;
use self::visit::{Action, Errand};
use crate::keys::{Keys, Layout};

/// Works on all keys that match a pattern, on every primary at once.
///
/// # Promises
///
/// - Every key that matches from the start of the run to its end is dealt with, unless the outcome says
///   otherwise: an unreachable primary, a slot that nobody serves or that does not come to rest make it
///   [`Outcome::Partial`], with the slots and the reasons.
/// - No key that does not match is touched. Keys are bytes; they need not be text.
/// - Memory is bounded by pages, not by keys.
/// - A pattern that pins a slot by its hash tag is asked of the one primary that serves the slot; of the
///   others only while that slot is on the move.
///
/// Nothing is promised of keys that are written or removed by others during the run, nor of keys of a slot
/// that moves away and back again within one pass, and within the next pass once more: the layout before
/// and after looks the same; nor of keys that have been handed, as the first ever, to a primary that serves
/// no slot before the run ends: the layout does not name it.
///
/// # Cancel safety
///
/// Dropping a run's future stops it; keys that it removed stay removed. [`Cancel`] stops it with a report.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use cache_admin::{Engine, MemoryKeys, Options, Outcome};
/// use cache_core::{CacheClient, CacheError, MemoryCache, Pattern, Ttl};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let cache = Arc::new(MemoryCache::default());
/// cache.set("billing:1", "paid".into(), Ttl::Forever).await?;
/// cache.set("users:1", "jo".into(), Ttl::Forever).await?;
///
/// let engine = Engine::new(MemoryKeys::new(Arc::clone(&cache)));
/// let report = engine.invalidate(&Pattern::new("billing:*")?, &Options::default()).await;
/// assert!(matches!(report.outcome, Outcome::Complete));
/// assert_eq!(report.total().removed, 1);
/// assert_eq!(cache.exists(&["billing:1", "users:1"]).await?, 1);
/// # Ok::<(), CacheError>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Engine {
    keys: Arc<dyn Keys>,
}

/// What [`Engine::count`] found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Counted {
    /// The counts; `removed` and the like are 0.
    pub report: Report,
    /// Some of the keys that match, each with the same chance of being among them, in no order.
    pub sample: Vec<Bytes>,
}

impl Engine {
    /// An engine over the keys of one backend.
    pub fn new(keys: impl Keys) -> Self {
        Self { keys: Arc::new(keys) }
    }

    /// Removes every key that matches `pattern`.
    ///
    /// Readers with a copy of their own hear of it by the server's invalidation messages, where they
    /// track; a reader that loaded a value before the run may write it back afterwards.
    pub async fn invalidate(&self, pattern: &Pattern, options: &Options) -> Report {
        let visits = if options.verify { 2 } else { 1 };
        self.run(pattern, options, Action::Remove, visits).await
    }

    /// Counts the keys that match `pattern`, and draws a sample of at most `sample` of them.
    ///
    /// The count is exact while keys and slots are at rest. A key that is listed twice because its
    /// server's tables grow or shrink meanwhile counts twice, as do the keys of slots that change their
    /// primary ([`Report::slots_moved`]). In a cluster only keys of the slots that a primary serves count.
    pub async fn count(&self, pattern: &Pattern, sample: usize, options: &Options) -> Counted {
        // The reservoir comes back out of the errand by a second handle to it.
        let reservoir = Arc::new(Mutex::new(Reservoir::new(sample)));
        let report = self
            .run(pattern, options, Action::Count(Arc::clone(&reservoir)), 1)
            .await;
        let mut reservoir = reservoir.lock().unwrap_or_else(PoisonError::into_inner);
        Counted {
            report,
            sample: reservoir.take(),
        }
    }

    /// Lists the keys that match `pattern`; with a `limit`, at most so many and each only once.
    ///
    /// Without a limit a key may come twice, as servers list them. Keys that a primary still holds of
    /// slots that it no longer serves are listed too.
    #[must_use]
    pub fn list(&self, pattern: &Pattern, limit: Option<usize>, options: &Options) -> Listing {
        let (engine, pattern, options) = (self.clone(), pattern.clone(), options.clone());
        Listing::start(limit, |pages| async move {
            engine.run(&pattern, &options, Action::List(pages), 1).await
        })
    }

    /// How many keys the primaries hold in all, whatever their names.
    ///
    /// # Errors
    ///
    /// Where any of them does not say.
    pub async fn key_count(&self) -> Result<u64, CacheError> {
        let shards = match self.keys.layout().await? {
            Layout::Whole(shard) => vec![shard],
            Layout::Slots(shards) => shards.into_iter().map(|(shard, _)| shard).collect(),
        };
        let counts = shards.iter().map(|shard| shard.key_count());
        Ok(futures::future::try_join_all(counts).await?.into_iter().sum())
    }

    async fn run(&self, pattern: &Pattern, options: &Options, action: Action, visits: u8) -> Report {
        let started = clock::now();
        let layout = tokio::select! {
            layout = self.keys.layout() => layout,
            () = options.cancel.cancelled() => return Run::not_begun(pattern.clone(), Outcome::Cancelled, started),
        };
        let layout = match layout {
            Ok(layout) => layout,
            Err(error) => return Run::not_begun(pattern.clone(), Outcome::Failed { error }, started),
        };
        let errand = Errand {
            keys: Arc::clone(&self.keys),
            pattern: pattern.clone(),
            clustered: matches!(layout, Layout::Slots(_)),
            action,
            page_size: options.page_size,
            cancel: options.cancel.clone(),
            observer: options.observer.clone(),
        };
        Run::new(errand, layout, visits, options.patience).finish().await
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("keys", &self.keys).finish()
    }
}
