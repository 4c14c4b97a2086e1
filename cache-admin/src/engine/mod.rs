//! The engine: patterns over every primary at once.
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
//! the visits; so does, for one pass, that its owner was given slots meanwhile, by which those are found that
//! left and came back (`coverage`). A slot pinned by a hash tag concerns other primaries once its owner says that it gives it
//! away, which it is asked before every pass. A primary that serves no slot counts as one that serves.
//!
//! Servers that keep a table for each slot walk slot by slot. There a pass looks into the slots that are due
//! and into no others, and a run that is taken up again goes on at the slot that it had come to. No server
//! promises that order of `SCAN`, so each page is checked against it, and a server that does not keep it is walked
//! as a whole. `CLUSTERSCAN` (Valkey 9.1) is not used: docs/decisions/0011-scan-by-slot.md.
//!
//! Not in here: where keys are kept ([`Keys`]), and how anything looks.

mod budget;
mod checkpoint;
mod control;
mod coverage;
mod estimate;
mod event;
mod face;
mod ledger;
mod listing;
mod options;
mod pace;
mod plan;
mod probe;
mod report;
mod run;
mod sample;
mod selection;
mod visit;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cache_core::CacheError;
use cache_core::Unavailability;
use cache_core::clock;
use cache_stack::Foundation;

pub use checkpoint::{Checkpoint, Checkpoints};
pub use control::Control;
pub use estimate::{Estimate, Method};
pub use event::{Event, Observer, Progress};
pub use listing::Listing;
pub use options::Options;
pub use pace::Pace;
pub use report::{Counts, Gap, GapReason, Outcome, PrimaryReport, Report};
pub use selection::{Life, Selection};

use self::budget::Budget;
use self::checkpoint::saver::Saver;
use self::ledger::Ledger;
use self::pace::Limiter;
pub(crate) use self::pace::Stride;
use self::plan::Plan;
use self::run::Run;
use self::sample::Reservoir;
use self::visit::{Action, Errand};
use crate::keys::{Description, KeyAttributes, Keys, Layout};
use crate::{CacheIdentity, MemoryKeys, SlotSet, ValkeyKeys};

/// Works on all keys of a [`Selection`], on every primary at once.
///
/// # Promises
///
/// - Every key that matches from the start of the run to its end is dealt with, unless the outcome says
///   otherwise: an unreachable primary, a slot that nobody serves or that does not come to rest make it
///   [`Outcome::Partial`], with the slots and the reasons.
/// - No key that does not match is touched. Keys are bytes; they need not be text.
/// - Memory is bounded by pages, not by keys.
/// - Patterns that pin a slot each by their hash tags are asked of the primaries that serve these slots; of the
///   others only while such a slot is on the move.
///
/// Nothing is promised of keys that are written or removed by others during the run. A slot that moves away and
/// back again between two looks at the layout is noticed by its owner's epoch, in a removal; all slots of that owner
/// are then visited again. It is not noticed by what counts or lists, where the servers do not tell epochs (the user
/// may not ask for `CLUSTER NODES`), and where somebody carries keys back to a slot's owner by
/// hand (`MIGRATE` against the direction of a handover, as repairs do), which leaves no trace at all: there keys may
/// be left if that happens in both visits. While slots are handed to several primaries by turns, visits to these
/// count only in passes in which they are given none; a run that finds no such pass is [`Outcome::Partial`].
///
/// # What it costs others
///
/// At [`Pace::Gentle`], the default, other clients hardly notice a run; [`Options::with_rate`] bounds how
/// much is removed, and so what has to be loaded anew. Every client that tracks its keys hears of every key
/// that goes: one that tracks by broadcast received some 22 bytes for each of 500,000 keys, and the run took
/// twice as long. To make all of a namespace's values stale at once, bump its generation first; the run then
/// reclaims memory and need not hurry.
///
/// At [`Pace::Full`] some 320,000 keys a second go from one primary (Valkey 8.0 on a shared machine, half of
/// 2,000,000 keys): its main thread does nothing else then, which is the limit. Pages of 1,000 keys and commands
/// of up to 128 keys of a slot cost it the least; larger ones only hold others up for longer.
///
/// # Cancel safety
///
/// Dropping a run's future stops it; keys that it removed stay removed. [`Control`] stops it with a report, or
/// lets it rest.
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

    /// An engine over the keys of the backend of a stack.
    ///
    /// # Errors
    ///
    /// [`CacheError::Unsupported`] for a backend whose keys cannot be listed.
    pub fn of(foundation: &Foundation) -> Result<Self, CacheError> {
        match foundation {
            Foundation::Memory(cache) => Ok(Self::new(MemoryKeys::new(Arc::clone(cache)))),
            Foundation::Valkey(client) => Ok(Self::new(ValkeyKeys::new(client))),
            #[cfg(feature = "dynamodb")]
            Foundation::DynamoDb(client) => Ok(Self::new(crate::DynamoKeys::new(Arc::clone(client)))),
            _ => Err(CacheError::Unsupported {
                detail: "this backend's keys cannot be listed".into(),
            }),
        }
    }

    /// Removes every key of `selection`.
    ///
    /// Readers with a copy of their own hear of it by the server's invalidation messages, where they
    /// track; a reader that loaded a value before the run may write it back afterwards.
    pub async fn invalidate(&self, selection: impl Into<Selection>, options: &Options) -> Report {
        self.run(selection.into(), options, Action::Remove, None).await
    }

    /// Goes on with a removal that another process has begun and [saved](Options::with_checkpoints), as if it
    /// had not been interrupted: the report counts both. What it is about, how often it verifies and how many
    /// keys it may remove is in `checkpoint` and not taken from `options`.
    ///
    /// Slots that were visited under the primary that still serves them are visited once more, to verify, and
    /// the others from the start; on servers that do not walk slot by slot, all slots of a primary where the
    /// process died. Keys that the process removed after it saved for the last time are in no count but
    /// [`Report::uncounted`].
    ///
    /// Nothing is removed if the cache is not the one on which the removal began ([`CacheIdentity`]); the outcome is then
    /// [`Outcome::Failed`], unless [`Options::with_accepted_cache`] says otherwise.
    pub async fn resume(&self, checkpoint: &Checkpoint, options: &Options) -> Report {
        let started = clock::now();
        match checkpoint.selection() {
            Ok(selection) => {
                self.run(selection, options, Action::Remove, Some(checkpoint))
                    .await
            }
            Err(error) => {
                let nothing = Selection::new(cache_core::Pattern::all());
                Run::not_begun(nothing, Outcome::Failed { error }, started)
            }
        }
    }

    /// What is known of `keys`, in their order, each wherever it lives; `None` where it is not there.
    ///
    /// # Errors
    ///
    /// Where any of them could not be asked for, or the backend does not know one of the traits.
    pub async fn describe(
        &self,
        keys: &[Bytes],
        traits: KeyAttributes,
    ) -> Result<Vec<Option<Description>>, CacheError> {
        self.keys.describe_anywhere(keys, traits).await
    }

    /// Counts the keys of `selection`, and draws a sample of at most `sample` of them.
    ///
    /// The count is exact while keys and slots are at rest. A key that is listed twice because its
    /// server's tables grow or shrink meanwhile counts twice, as do the keys of slots that change their
    /// primary ([`Report::slots_moved`]). In a cluster only keys of the slots that a primary serves count.
    pub async fn count(&self, selection: impl Into<Selection>, sample: usize, options: &Options) -> Counted {
        // The reservoir comes back out of the errand by a second handle to it.
        let reservoir = Arc::new(Mutex::new(Reservoir::new(sample)));
        let action = Action::Count(Arc::clone(&reservoir));
        let report = self.run(selection.into(), options, action, None).await;
        let mut reservoir = reservoir.lock().unwrap_or_else(PoisonError::into_inner);
        Counted {
            report,
            sample: reservoir.take(),
        }
    }

    /// Lists the keys of `selection`; with a `limit`, at most so many and each only once.
    ///
    /// Without a limit a key may come twice, as servers list them. Keys that a primary still holds of
    /// slots that it no longer serves are listed too.
    #[must_use]
    pub fn list(&self, selection: impl Into<Selection>, limit: Option<usize>, options: &Options) -> Listing {
        let (engine, selection, options) = (self.clone(), selection.into(), options.clone());
        Listing::start(limit, |pages| async move {
            engine.run(selection, &options, Action::List(pages), None).await
        })
    }

    /// Which cache it works on at this moment: asked of the servers, not remembered.
    ///
    /// # Errors
    ///
    /// If no server answers, or servers contradict each other.
    pub async fn identity(&self) -> Result<CacheIdentity, CacheError> {
        let layout = self.keys.layout().await?;
        layout.cache().cloned().ok_or_else(no_primary)
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

    async fn run(
        &self,
        selection: Selection,
        options: &Options,
        action: Action,
        earlier: Option<&Checkpoint>,
    ) -> Report {
        let started = clock::now();
        let layout = tokio::select! {
            layout = self.keys.layout() => layout,
            () = options.control.cancelled() => return Run::not_begun(selection, Outcome::Cancelled, started),
        };
        let layout = match layout {
            Ok(layout) => layout,
            Err(error) => return Run::not_begun(selection, Outcome::Failed { error }, started),
        };
        let here = layout.cache().cloned();
        let accepted = match taken_up(earlier, here.as_ref(), options) {
            Ok(accepted) => accepted,
            Err(error) => return Run::not_begun(selection, Outcome::Failed { error }, started),
        };
        let earlier = accepted.as_ref();
        let clustered = matches!(layout, Layout::Slots(_));
        let removes = matches!(action, Action::Remove);
        let verify = earlier.map_or(options.verify, |earlier| earlier.verify);
        let visits = if removes && verify { 2 } else { 1 };
        let max_keys = match earlier {
            Some(earlier) => earlier.max_keys,
            None => options.max_keys.filter(|_| removes),
        };
        let mut beginning = match earlier {
            Some(earlier) => earlier.clone(),
            None => Checkpoint::of(&selection, verify),
        };
        beginning.cache.clone_from(&here);
        let plan = Plan::new(selection);
        let wanted = match plan.slots() {
            _ if !clustered => [0..=0].into_iter().collect(),
            Some(slots) => slots,
            None => SlotSet::all(),
        };
        let saving = options.saving.clone().filter(|_| removes);
        let errand = Errand {
            keys: Arc::clone(&self.keys),
            plan,
            clustered,
            action,
            control: options.control.clone(),
            observer: options.observer.clone(),
            limiter: Limiter::new(options.rate),
            budget: Budget::new(max_keys),
            saver: saving.map(Saver::new),
            ledger: Ledger::new(beginning, wanted, visits, started),
        };
        Run::new(errand, layout, visits, options, earlier).finish().await
    }
}

fn no_primary() -> CacheError {
    CacheError::Unavailable {
        reason: Unavailability::NotReady,
        detail: "there is no primary at present".into(),
        outcome: cache_core::Outcome::NotApplied,
        source: None,
    }
}

/// What another process has done, as far as it counts on the cache `here`.
fn taken_up(
    earlier: Option<&Checkpoint>,
    here: Option<&CacheIdentity>,
    options: &Options,
) -> Result<Option<Checkpoint>, CacheError> {
    let Some(earlier) = earlier else { return Ok(None) };
    let here = here.ok_or_else(no_primary)?;
    match earlier.check_cache(here) {
        Ok(()) => Ok(Some(earlier.clone())),
        Err(_) if options.accepts_cache => Ok(Some(earlier.clone().anywhere_else())),
        Err(error) => Err(error),
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("keys", &self.keys).finish()
    }
}
