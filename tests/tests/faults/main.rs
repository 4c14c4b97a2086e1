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
mod demotion;
mod each;
mod get_and;
mod growth;
mod idle_connections;
mod lateness;
mod load;
mod name_changes;
mod protocol_garbage;
mod rotation;
mod runtimes;
mod secrets;
mod sentinel_failover;
mod sentinel_load;
mod server_states;
mod setup;
mod stalled_server;
mod startup;
mod unfit_replicas;
