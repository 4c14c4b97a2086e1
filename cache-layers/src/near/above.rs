//! One near cache for a value, not two: a recipe that keeps what it reads says so to a near tier below it.

tokio::task_local! {
    static KEPT_ABOVE: ();
}

/// Runs `read`, whose result the caller keeps near: near tiers below keep no copy of it.
pub(crate) async fn kept_above<F: Future>(read: F) -> F::Output {
    KEPT_ABOVE.scope((), read).await
}

/// Whether a caller further above keeps what is read.
pub(crate) fn is_kept_above() -> bool {
    KEPT_ABOVE.try_with(|()| ()).is_ok()
}
