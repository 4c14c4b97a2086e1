//! The panic of an unexpected call: `mockall`'s message, and the expectation to add.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::task::Poll;

/// `mockall`'s message if no expectation matches the arguments of a call.
const NO_MATCH: &str = "No matching expectation found";

/// Awaits `call`. An unexpected call panics with a message that names `expectation`.
pub(crate) async fn answered<T>(call: impl Future<Output = T>, expectation: &str) -> T {
    let mut call = pin!(call);
    std::future::poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| -> Poll<T> {
            match panic.downcast_ref::<String>() {
                Some(said) if said.contains(NO_MATCH) => panic!(
                    "{said}. Before the test makes this call, add `{expectation}` with these arguments. If the call is \
                     made by a read-through, add `expect_load(KEY)`, or use `cache_core::MemoryCache` in place of the mock"
                ),
                _ => resume_unwind(panic),
            }
        })
    })
    .await
}
