//! Assertions that say what was expected. None of them prints more than the start of a value.

use std::fmt::{Debug, Display};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::clock::{self, Instant};
use crate::{CacheError, Ttl};

/// How far a server's clock, which counts in milliseconds, may differ from ours.
pub(super) const CLOCKS: Duration = Duration::from_millis(3);

/// Expects `holds`.
#[track_caller]
pub(super) fn that(holds: bool, expected: impl Display) {
    assert!(holds, "expected {expected}");
}

/// Expects any result.
#[track_caller]
pub(super) fn ok<T>(result: Result<T, CacheError>, expected: impl Display) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("expected {expected}, got the error: {error}"),
    }
}

/// Expects this result.
#[track_caller]
#[expect(
    clippy::needless_pass_by_value,
    reason = "wanted values are literals, which read better bare"
)]
pub(super) fn is<T: PartialEq + Debug>(result: Result<T, CacheError>, wanted: T, expected: impl Display) {
    let got = ok(result, &expected);
    assert!(got == wanted, "expected {expected}: {wanted:?}, got {got:?}");
}

/// Expects this value.
#[track_caller]
pub(super) fn value(result: Result<Bytes, CacheError>, wanted: impl AsRef<[u8]>, expected: impl Display) {
    let (got, wanted) = (ok(result, &expected), wanted.as_ref());
    assert!(
        got == wanted,
        "expected {expected}: {}, got {}",
        shown(wanted),
        shown(&got)
    );
}

/// Expects these values and misses.
#[track_caller]
pub(super) fn values(
    result: Result<Vec<Option<Bytes>>, CacheError>,
    wanted: &[Option<&[u8]>],
    expected: impl Display,
) {
    let got = ok(result, &expected);
    let got: Vec<Option<&[u8]>> = got.iter().map(Option::as_deref).collect();
    let show = |values: &[Option<&[u8]>]| {
        let places = values
            .iter()
            .map(|value| value.map_or_else(|| "a miss".to_owned(), shown));
        places.collect::<Vec<_>>().join(", ")
    };
    assert!(
        got == wanted,
        "expected {expected}: [{}], got [{}]",
        show(wanted),
        show(&got)
    );
}

/// Expects what remains of `ttl`, which began at `since` or a little later.
#[track_caller]
pub(super) fn remaining(
    result: Result<Ttl, CacheError>,
    ttl: Duration,
    since: Instant,
    expected: impl Display,
) {
    let left = match ok(ok(result, &expected).as_duration(), &expected) {
        Some(left) => left,
        None => panic!("expected {expected}: what is left of {ttl:?}, got no expiry"),
    };
    let least = ttl.saturating_sub(clock::now() - since).saturating_sub(CLOCKS);
    assert!(
        least <= left && left <= ttl,
        "expected {expected}: {least:?} to {ttl:?}, got {left:?}"
    );
}

/// Expects no expiry.
#[track_caller]
pub(super) fn forever(result: Result<Ttl, CacheError>, expected: impl Display) {
    let left = ok(result, &expected);
    assert!(
        left.is_forever(),
        "expected {expected}: no expiry, got one in {left}"
    );
}

/// Expects [`CacheError::Miss`].
#[track_caller]
pub(super) fn miss<T>(result: Result<T, CacheError>, expected: impl Display) {
    match result {
        Err(CacheError::Miss) => {}
        Err(error) => panic!("expected {expected}: a miss, got the error: {error}"),
        Ok(_) => panic!("expected {expected}: a miss, got a result"),
    }
}

/// Expects [`CacheError::InvalidInput`] that names `argument`.
#[track_caller]
pub(super) fn invalid<T>(result: Result<T, CacheError>, argument: &str, expected: impl Display) {
    match result {
        Err(CacheError::InvalidInput { argument: named, .. }) => {
            assert!(
                named == argument,
                "expected {expected}: the argument {argument} named, got {named}"
            );
        }
        Err(error) => panic!("expected {expected}: invalid input, got the error: {error}"),
        Ok(_) => panic!("expected {expected}: invalid input, got a result"),
    }
}

/// Expects [`CacheError::Rejected`].
#[track_caller]
pub(super) fn rejected<T: Debug>(result: Result<T, CacheError>, expected: impl Display) {
    match result {
        Err(CacheError::Rejected { .. }) => {}
        Err(error) => panic!("expected {expected}: a rejection, got the error: {error}"),
        Ok(got) => panic!("expected {expected}: a rejection, got {got:?}"),
    }
}

/// Expects [`CacheError::Closed`].
#[track_caller]
pub(super) fn closed<T>(result: Result<T, CacheError>, expected: impl Display) {
    match result {
        Err(CacheError::Closed) => {}
        Err(error) => panic!("expected {expected}: closed, got the error: {error}"),
        Ok(_) => panic!("expected {expected}: closed, got a result"),
    }
}

/// Expects a future that is ready at its first poll, because it does no I/O.
#[track_caller]
pub(super) fn at_once<F: Future>(future: F, expected: impl Display) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("expected {expected} without I/O, it waits for something"),
    }
}

/// Waits for all tasks; the panic of a task becomes the panic of the caller.
pub(super) async fn all<T: 'static>(mut tasks: JoinSet<T>) -> Vec<T> {
    let mut results = Vec::with_capacity(tasks.len());
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(result) => results.push(result),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    results
}

fn shown(value: &[u8]) -> String {
    const SHOWN: usize = 48;
    let start = value[..value.len().min(SHOWN)].escape_ascii();
    if value.len() > SHOWN {
        format!("\"{start}...\" ({} bytes)", value.len())
    } else {
        format!("\"{start}\"")
    }
}
