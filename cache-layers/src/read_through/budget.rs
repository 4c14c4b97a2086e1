//! What the cache may cost one call: time, all operations together.

use std::time::Duration;

use cache_core::{CacheError, Outcome, Stage, clock};

/// What is left of the time that one call gives to the cache.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    whole: Duration,
    left: Duration,
    /// What ended it before its time.
    failure: Option<CacheError>,
    /// What operations took so far.
    taken: Duration,
}

impl Budget {
    pub(super) const fn new(whole: Duration) -> Self {
        Self {
            whole,
            left: whole,
            failure: None,
            taken: Duration::ZERO,
        }
    }

    /// Runs an operation within what is left. Once one has failed, those that follow are not even begun:
    /// a cache that is down is asked once. Not so after one whose outcome is unknown, which can be asked.
    pub(super) async fn spend<T>(
        &mut self,
        operation: impl Future<Output = Result<T, CacheError>>,
    ) -> Result<T, CacheError> {
        self.run(self.left, operation).await
    }

    /// As [`spend`](Self::spend), with half of what is left at most, so that an unknown outcome can be
    /// resolved with the other half.
    pub(super) async fn spend_half<T>(
        &mut self,
        operation: impl Future<Output = Result<T, CacheError>>,
    ) -> Result<T, CacheError> {
        self.run(self.left / 2, operation).await
    }

    /// Half of what is left, for operations whose failing says nothing about others. What they took is
    /// [counted in](Self::repaid) afterwards.
    pub(super) fn lend(&self) -> Self {
        Self {
            whole: self.whole,
            left: self.left / 2,
            failure: self.failure.clone(),
            taken: Duration::ZERO,
        }
    }

    /// Counts in what `lent` took. That it failed is not counted.
    pub(super) fn repaid(&mut self, lent: &Self) {
        self.left = self.left.saturating_sub(lent.taken);
        self.taken += lent.taken;
    }

    /// Counts in what was spent of a copy of this at the same time: no more is left than of the copy.
    pub(super) fn share(&mut self, spent: &Self) {
        self.left = self.left.min(spent.left);
        self.failure = self.failure.take().or_else(|| spent.failure.clone());
    }

    async fn run<T>(
        &mut self,
        limit: Duration,
        operation: impl Future<Output = Result<T, CacheError>>,
    ) -> Result<T, CacheError> {
        if limit.is_zero() {
            // The cause again: a refusal is not to be counted as a timeout.
            return Err(self.failure.clone().unwrap_or(CacheError::Timeout {
                stage: Stage::Connect,
                after: self.whole,
            }));
        }
        let begun = clock::now();
        let result = tokio::time::timeout(limit, operation)
            .await
            .unwrap_or(Err(CacheError::Timeout {
                stage: Stage::Call,
                after: limit,
            }));
        let took = clock::now() - begun;
        self.left = self.left.saturating_sub(took);
        self.taken += took;
        if let Err(error) = &result
            && !error.is_miss()
            && error.outcome() == Outcome::NotApplied
        {
            self.left = Duration::ZERO;
            self.failure = Some(error.clone());
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_not_begun_after_a_refusal_fails_with_the_refusal() {
        let mut budget = Budget::new(Duration::from_secs(1));
        let mut copy = budget.clone();
        let denied = CacheError::Denied {
            command: "GET".into(),
            detail: "no".into(),
        };
        let refused = budget.spend(async { Err::<(), _>(denied) }).await;
        assert_eq!(refused.unwrap_err().kind(), "denied");
        let next = budget.spend(async { Ok(()) }).await;
        assert_eq!(next.unwrap_err().kind(), "denied");
        copy.share(&budget);
        assert_eq!(copy.spend(async { Ok(()) }).await.unwrap_err().kind(), "denied");
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_that_is_used_up_is_a_timeout() {
        let mut budget = Budget::new(Duration::from_secs(1));
        let slow = tokio::time::sleep(Duration::from_secs(2));
        let late = budget
            .spend(async {
                slow.await;
                Ok(())
            })
            .await;
        assert_eq!(late.unwrap_err().kind(), "timeout");
        assert_eq!(
            budget.spend(async { Ok(()) }).await.unwrap_err().kind(),
            "timeout"
        );
    }
}
