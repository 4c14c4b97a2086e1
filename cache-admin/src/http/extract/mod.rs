//! What handlers take from a request. Whatever does not fit is refused by name, and nothing is passed over.
//!
//! Not in here: what the parts mean together, which each route decides.

mod accept;
mod body;
mod key;
mod number;
mod query;
mod retry_key;

pub(crate) use accept::{AcceptsEvents, AcceptsJson, AcceptsText};
pub(crate) use body::{Body, OptionalBody};
pub(crate) use key::{KeyText, base64_of};
pub(crate) use number::within;
pub(crate) use query::{NoQuery, Query};
pub(crate) use retry_key::RetryKey;
