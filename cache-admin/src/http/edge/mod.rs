//! What every request goes through, from the outside in: [`outermost`] (an id, a time limit, panics, the form of
//! refusals, headers, the log), [`cors`] (which pages may read answers), [`origin`] (who may not even ask), [`gate`] (who it is, how often).
//!
//! Not in here: what is asked for.

mod caller;
mod cors;
mod gate;
mod limiter;
mod origin;
mod outermost;
mod request_id;
mod traffic;

pub(crate) use caller::Caller;
pub(crate) use cors::Origins;
pub(crate) use gate::{gate, identify};
pub(crate) use limiter::Limiter;
pub(crate) use outermost::outermost;
pub(crate) use request_id::RequestId;
pub(crate) use traffic::Traffic;

/// The header of a request's id, as it is documented.
pub(crate) const REQUEST_ID_NAME: &str = "X-Request-Id";
pub(crate) use request_id::MAX_LEN as REQUEST_ID_MAX_LEN;
