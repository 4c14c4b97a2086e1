//! Administration of a live cache: what an operator does to many keys at once.
//!
//! [`Engine`] invalidates, counts and lists the keys that match a pattern over every primary at once,
//! and says exactly what it did: [`Report`]. It works on whatever offers [`Keys`]: a Valkey server, a
//! cluster, a primary that sentinels watch ([`ValkeyKeys`]), the embedded client ([`MemoryKeys`]).
//!
//! What is not in here: printing, arguments, HTTP. The engine reports progress as [`Event`]s to an
//! [`Observer`]; the command `cachectl` is one of those that listen.

mod engine;
mod keys;
mod memory;
mod slots;
mod valkey;

pub use engine::{
    Cancel, Counted, Counts, Engine, Event, Gap, GapReason, Listing, Observer, Options, Outcome,
    PrimaryReport, Report,
};
pub use keys::{Keys, Layout, ScanPage, Shard, Unlinked};
pub use memory::MemoryKeys;
pub use slots::SlotSet;
pub use valkey::ValkeyKeys;
