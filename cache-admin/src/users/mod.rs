//! Users of the servers, one for each service and role, kept as a file declares them.
//!
//! [`Declaration`] is the file: services, the keys that are theirs, what each user is for, and where its password is
//! to be found. [`Plan`] says what would have to change on which node, [`Plan::apply`] does it, [`verify`] tries by
//! dry runs what each user may and may not. [`rotation`] changes passwords without locking anybody out, and
//! [`export`] writes the same users for other tools.
//!
//! `elasticache` keeps the same users at ElastiCache, through the API of AWS (feature `aws`).
//!
//! Not in here: arguments and printing.

mod account;
mod apply;
mod check;
mod credentials;
mod declaration;
#[cfg(feature = "aws")]
pub mod elasticache;
pub mod export;
mod name;
mod node;
mod plan;
mod reader;
mod role;
pub mod rotation;
mod sample;
mod strength;
mod trial;
mod verify;

pub use account::{Account, Login, Reference};
pub use apply::{Applied, NotDone};
pub use credentials::{Credentials, Password};
pub use declaration::Declaration;
pub use node::{Node, nodes_of};
pub use plan::{Change, Drift, Held, NodePlan, Plan, Scope, Step};
pub use role::{Granted, Permissions, Role, Target};
pub use trial::{Trial, try_out, try_those};
pub use verify::{Expected, Row, Verified, verify};
