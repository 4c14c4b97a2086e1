//! What a call that nobody expected fails with: `mockall`'s words, and the expectation to add.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::task::Poll;

/// What `mockall` says if no expectation has the arguments of a call.
const NO_MATCH: &str = "No matching expectation found";

/// The answer to `call`. One that was not expected panics with a message that names `expectation`.
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
