//! What the Valkey client does when servers and networks fail: one hazard, one file, against real servers.
//!
//! Bounds are the client's promises plus the slack that is written beside them; how late the machine itself
//! was is measured and added, see [`lateness`]. What was measured is printed.

mod big_values;
mod cancellation;
mod connection_age;
mod connection_errors;
mod credentials;
mod deadline;
mod each;
mod get_and;
mod growth;
mod lateness;
mod load;
mod name_changes;
mod protocol_garbage;
mod rotation;
mod secrets;
mod sentinel_failover;
mod server_states;
mod setup;
mod stalled_server;
mod startup;
