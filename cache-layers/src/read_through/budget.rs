//! The time budget of one call for all its cache operations together.
//!
//! The layers below know it too: their deadlines count the operations of one call together.

use std::iter::repeat_with;
use std::time::Duration;

use cache_core::deadline::{counted_from, wanted_by};
use cache_core::{CacheError, Outcome, Stage, clock};

use crate::each::missing;

/// How much earlier than a limit the results of many keys are wanted, at most. The way back takes time too.
const WAY_BACK: Duration = Duration::from_millis(25);

/// The time that one call may still spend on the cache.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    whole: Duration,
    left: Duration,
    /// The failure that ended it early.
    failure: Option<CacheError>,
    /// How long operations took so far.
    taken: Duration,
    /// How long operations had taken when this part was lent.
    taken_before: Duration,
}

impl Budget {
    pub(super) const fn new(whole: Duration) -> Self {
        Self {
            whole,
            left: whole,
            failure: None,
            taken: Duration::ZERO,
            taken_before: Duration::ZERO,
        }
    }

    /// Runs an operation within what is left. After one has failed, later operations do not begin: a cache that is
    /// down is asked once. The exception is a failure with an unknown outcome, which a later operation can resolve.
    pub(super) async fn spend<T>(
        &mut self,
        operation: impl Future<Output = Result<T, CacheError>>,
    ) -> Result<T, CacheError> {
        self.run(self.left, operation).await
    }

    /// As [`spend`](Self::spend), with at most half of what is left. The other half can resolve an unknown outcome.
    pub(super) async fn spend_half<T>(
        &mut self,
        operation: impl Future<Output = Result<T, CacheError>>,
    ) -> Result<T, CacheError> {
        self.run(self.left / 2, operation).await
    }

    /// Lends half of what is left to operations whose failure means nothing for others. [`repaid`](Self::repaid)
    /// charges their time afterwards.
    pub(super) fn lend(&self) -> Self {
        Self {
            whole: self.whole,
            left: self.left / 2,
            failure: self.failure.clone(),
            taken: Duration::ZERO,
            taken_before: self.taken_before + self.taken,
        }
    }

    /// Charges the time that `lent` took. Ignores its failure.
    pub(super) fn repaid(&mut self, lent: &Self) {
        self.charge(lent.taken);
    }

    /// Returns what one key of many has left after a step that took all of them `took`. The failure of `lent` affects
    /// this key only, and the other keys go on.
    pub(super) fn of_one(&self, lent: &Self, took: Duration) -> Self {
        let mut own = self.clone();
        own.charge(took);
        if lent.failure.is_some() {
            own.left = Duration::ZERO;
            own.failure.clone_from(&lent.failure);
        }
        own
    }

    /// Runs an operation with one result for each of `keys` keys, within half of what is left. The other half is for
    /// keys that have an answer while others still wait. Each result comes with the budget that its key has left.
    pub(super) async fn spend_each<T>(
        &self,
        keys: usize,
        operation: impl Future<Output = Vec<Result<T, CacheError>>>,
    ) -> Vec<(Result<T, CacheError>, Self)> {
        let begun = clock::now();
        let mut lent = self.lend();
        let limit = lent.left;
        let operation = wanted_by(begun + limit - (limit / 10).min(WAY_BACK), operation);
        let results = lent.spend(async { Ok(operation.await) }).await;
        let results = results.unwrap_or_else(|error| (0..keys).map(|_| Err(error.clone())).collect());
        let took = clock::now() - begun;
        let results = results.into_iter().chain(repeat_with(|| Err(missing())));
        let own = |result| {
            let mut lent = self.lend();
            lent.note(&result);
            (result, self.of_one(&lent, took))
        };
        results.take(keys).map(own).collect()
    }

    async fn run<T>(
        &mut self,
        limit: Duration,
        operation: impl Future<Output = Result<T, CacheError>>,
    ) -> Result<T, CacheError> {
        if limit.is_zero() {
            // Repeat the cause: a refusal must not be counted as a timeout.
            return Err(self.failure.clone().unwrap_or(CacheError::Timeout {
                stage: Stage::Connect,
                after: self.whole,
            }));
        }
        let begun = clock::now();
        let start = begun.checked_sub(self.taken_before + self.taken).unwrap_or(begun);
        let result = tokio::time::timeout(limit, counted_from(start, operation))
            .await
            .unwrap_or(Err(CacheError::Timeout {
                stage: Stage::Call,
                after: limit,
            }));
        self.charge(clock::now() - begun);
        self.note(&result);
        result
    }

    fn charge(&mut self, took: Duration) {
        self.left = self.left.saturating_sub(took);
        self.taken += took;
    }

    /// After a failure with a certain outcome, no more operations begin.
    fn note<T>(&mut self, result: &Result<T, CacheError>) {
        if let Err(error) = result
            && !error.is_miss()
            && error.outcome() == Outcome::NotApplied
        {
            self.left = Duration::ZERO;
            self.failure = Some(error.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_not_begun_after_a_refusal_fails_with_the_refusal() {
        let mut budget = Budget::new(Duration::from_secs(1));
        let denied = CacheError::Denied {
            command: "GET".into(),
            detail: "no".into(),
        };
        let refused = budget.spend(async { Err::<(), _>(denied) }).await;
        assert_eq!(refused.unwrap_err().kind(), "denied");
        let next = budget.spend(async { Ok(()) }).await;
        assert_eq!(next.unwrap_err().kind(), "denied");
    }

    #[tokio::test(start_paused = true)]
    async fn failure_of_one_key_ends_its_own_budget_only() {
        let budget = Budget::new(Duration::from_secs(1));
        let read = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            vec![Ok(1), Err(CacheError::Closed), Err(CacheError::Miss)]
        };
        let left = budget.spend_each(4, read).await.into_iter();
        let left: Vec<_> = left.map(|(_, own)| own.left.as_millis()).collect();
        assert_eq!(left, [900, 0, 900, 900], "a key without a result is asked again");

        let hangs = std::future::pending::<Vec<Result<(), CacheError>>>();
        for (result, own) in budget.spend_each(2, hangs).await {
            assert_eq!(result.unwrap_err().kind(), "timeout");
            assert_eq!(own.left.as_millis(), 500, "half is for what comes next");
        }
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
