//! Waiting for a condition, with a limit: what tests use in place of sleeping for a time and hoping.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// How long one look at the condition is followed by the next.
const STEP: Duration = Duration::from_millis(10);

/// Asks `condition` again and again until it answers `Some`, and returns that.
///
/// An error of the condition counts as "not yet"; the last one is part of the error when time is up.
///
/// # Errors
///
/// When `limit` has passed; the message says `what` was waited for.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// use std::time::Duration;
///
/// let mut looks = 0;
/// let seen = tests::until(Duration::from_secs(1), "the third look", || {
///     looks += 1;
///     std::future::ready(Ok((looks == 3).then_some(looks)))
/// })
/// .await?;
/// assert_eq!(seen, 3);
/// # Ok(())
/// # }
/// ```
pub async fn until<T, F, Looking>(limit: Duration, what: &str, mut condition: F) -> Result<T>
where
    F: FnMut() -> Looking,
    Looking: Future<Output = Result<Option<T>>>,
{
    let mut last = None;
    let found = tokio::time::timeout(limit, async {
        loop {
            match condition().await {
                Ok(Some(value)) => return value,
                Ok(None) => last = None,
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(STEP).await;
        }
    })
    .await;
    match (found, last) {
        (Ok(value), _) => Ok(value),
        (Err(_), Some(error)) => Err(error).with_context(|| format!("waited {limit:?} for {what}")),
        (Err(_), None) => anyhow::bail!("waited {limit:?} for {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_limit_ends_the_wait_and_names_what_was_missing() {
        let error = until(Duration::from_secs(1), "snow", || async { Ok(None::<()>) })
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "waited 1s for snow");
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_error_of_the_condition_is_kept() {
        let error = until(Duration::from_secs(1), "snow", || async {
            anyhow::bail!("too warm") as Result<Option<()>>
        })
        .await;
        assert!(format!("{:#}", error.unwrap_err()).ends_with("too warm"));
    }
}
