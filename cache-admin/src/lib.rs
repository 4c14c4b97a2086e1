//! Administration of a live cache: what an operator does to many keys at once.
//!
//! [`Engine`] invalidates, counts and lists the keys of a [`Selection`] over every primary at once,
//! and says exactly what it did: [`Report`]. It works on whatever offers [`Keys`]: a Valkey server, a
//! cluster, a primary that sentinels watch ([`ValkeyKeys`]), the embedded client ([`MemoryKeys`]), a DynamoDB table
//! (`DynamoKeys`, with the feature `dynamodb`).
//!
//! [`Overview`] is the whole cache at one look, [`Inspection`] one key, [`Namespaces`] the generations by which all
//! keys of a namespace are put out of reach at once. [`Doctor`] looks for what is wrong, and explains
//! it; [`Pulse`] is how the primaries do from one moment to the next, and [`BigKeys`] what takes their memory.
//!
//! [`keysets`] makes and rotates the keysets that encryption uses.
//!
//! With the feature `jobs`, [`jobs::Jobs`] keeps runs as jobs that outlive the process.
//!
//! What is not in here: printing and arguments. HTTP is in `http` alone (feature `http`). The engine reports
//! progress as [`Event`]s to an [`Observer`]; the command `cachectl` is one of those that listen.

#[cfg(feature = "http")]
pub mod access;
mod big_keys;
mod causes;
mod checkpoint_file;
mod digits;
mod doctor;
#[cfg(feature = "dynamodb")]
mod dynamodb;
mod engine;
mod escape;
#[cfg(feature = "jobs")]
mod fair;
#[cfg(feature = "http")]
pub mod http;
mod identity;
mod inspect;
#[cfg(feature = "jobs")]
pub mod jobs;
mod keys;
pub mod keysets;
mod memory;
mod namespaces;
mod overview;
pub mod paging;
mod private_file;
mod pulse;
#[cfg(feature = "http")]
pub mod seal;
mod slots;
pub mod users;
mod valkey;

pub use big_keys::{BigKey, BigKeys, BigKeysOptions, Group, SampledPrimary};
pub use causes::with_causes;
pub use checkpoint_file::CheckpointFile;
pub use doctor::{Diagnosis, Doctor, Finding, Health};
#[cfg(feature = "dynamodb")]
pub use dynamodb::DynamoKeys;
pub use engine::{
    Checkpoint, Checkpoints, Control, Counted, Counts, Engine, Estimate, Event, Gap, GapReason, Life,
    Listing, Method, Observer, Options, Outcome, Pace, PrimaryReport, Progress, Report, Selection,
};
pub use escape::{escaped, unescaped};
pub use identity::CacheIdentity;
pub use inspect::{Cipher, Envelope, Form, Holds, Inspection, Shown};
pub use keys::{
    Described, Description, Find, KeyAttributes, KeyType, Keys, Layout, ScanPage, Shard, Unlinked,
};
pub use memory::MemoryKeys;
pub use namespaces::{Bumped, NamespaceState, Namespaces, Reclaimable, namespace};
pub use overview::{
    Capabilities, Mode, NodeOverview, NodeRole, Overview, TrackingState, Warning, WarningKind,
};
pub use pulse::{Beat, PrimaryBeat, Pulse, Reading, SlowLine};
pub use slots::SlotSet;
pub use valkey::ValkeyKeys;

/// The code in the cookbook is compiled and run here, because this crate sees all that it uses.
#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../../docs/cookbook.md")]
struct Cookbook;
