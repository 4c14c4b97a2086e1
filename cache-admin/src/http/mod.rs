//! The administration over HTTP: a router to mount in any service ([`AdminService`]), and a listener of its own
//! ([`Listener`]).
//!
//! `routes/` has a file for each resource, `edge/` what every request goes through, `extract/` what handlers take
//! from one, `problem/` how refusals look, `document.rs` the description of it all. See `docs/http.md`.
//!
//! Not in here: what the routes do, which is the work of the rest of this crate, and printing.

mod document;
mod edge;
mod etag;
mod extract;
mod limits;
mod listener;
mod model;
mod problem;
mod routes;
mod service;
mod written;

pub use limits::Limits;
pub use listener::{Listener, ListenerError, ListenerOptions, Peer, TlsFiles};
pub use service::{AdminService, AdminServiceBuilder};
