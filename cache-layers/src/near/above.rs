//! Keeps a value in one near cache, not in two: a recipe that keeps what it reads tells the near caches below it.

tokio::task_local! {
    static KEPT_ABOVE: ();
}

/// Runs `read`, whose result the caller keeps near. Near caches below keep no copy of it.
pub(crate) async fn kept_above<F: Future>(read: F) -> F::Output {
    KEPT_ABOVE.scope((), read).await
}

/// Whether a caller further above keeps the result.
pub(crate) fn is_kept_above() -> bool {
    KEPT_ABOVE.try_with(|()| ()).is_ok()
}
