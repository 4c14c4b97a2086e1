//! How those who send requests hear in time that the service stops: readiness fails first, and every answer closes its
//! connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::Response;

/// Whether the service is about to stop, and should get no more requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaving(Arc<AtomicBool>);

impl Leaving {
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// While the service leaves, tells the caller with each answer to take another connection, which leads to another
/// instance. A connection that stayed open would be cut in the end, with a request perhaps just sent.
pub(crate) async fn close_connections(State(leaving): State<Leaving>, mut response: Response) -> Response {
    if leaving.has_begun() {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
