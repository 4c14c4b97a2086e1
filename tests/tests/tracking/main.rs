//! What the Valkey client reports of keys that others change: one hazard, one file, against real servers.
//!
//! What is done with the reports (a near tier) is tested elsewhere.

mod broadcast;
mod cluster;
mod connection_loss;
mod demotion;
mod flush;
mod foreign_changes;
#[path = "../faults/lateness.rs"]
mod lateness;
mod listener;
mod many_keys;
mod order;
mod permission;
mod replica_reads;
mod silence;
mod table_eviction;
mod unread;
mod versions;
