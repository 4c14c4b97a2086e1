//! Users and the user group of ElastiCache, kept as a declaration says, through the API of AWS.
//!
//! [`Desired`] is what a declaration asks for, [`look`] says what there is, [`GroupPlan`] what would be sent, in order,
//! and [`Apply`] sends it. Plans and runs take every step from the same pure function.
//!
//! Not in here: arguments and printing, and the requests themselves (`cache_aws::elasticache`).

mod access;
mod apply;
mod desired;
mod next;
mod plan;
mod rotation;
mod service;
mod state;
mod step;
mod verify;

pub use access::Access;
pub use apply::{Apply, GroupApplied, Progress, Stop};
pub use desired::Desired;
pub use plan::GroupPlan;
pub use rotation::{may_add, may_finish};
pub use service::{Service, look};
pub use state::State;
pub use step::{LoginChange, Step};
pub use verify::{Difference, verify};
