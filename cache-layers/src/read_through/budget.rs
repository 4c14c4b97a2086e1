//! What the cache may cost one call: time, all operations together.
//!
//! The layers below hear of it: their deadlines count the operations of one call together, too.

use std::iter::repeat_with;
use std::time::Duration;

use cache_core::deadline::{counted_from, wanted_by};
use cache_core::{CacheError, Outcome, Stage, clock};

use crate::each::missing;

/// How much earlier than a limit the results of many keys are wanted, at most: the way back takes time too.
const WAY_BACK: Duration = Duration::from_millis(25);

/// What is left of the time that one call gives to the cache.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    whole: Duration,
    left: Duration,
    /// What ended it before its time.
    failure: Option<CacheError>,
    /// What operations took so far.
    taken: Duration,
    /// What operations had taken when this part was lent.
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
            taken_before: self.taken_before + self.taken,
        }
    }

    /// Counts in what `lent` took. That it failed is not counted.
    pub(super) fn repaid(&mut self, lent: &Self) {
        self.charge(lent.taken);
    }

    /// What one key of many has left after a step that took all of them `took`. What was `lent` to this key decides
    /// about this key only: if it failed, the other keys go on.
    pub(super) fn of_one(&self, lent: &Self, took: Duration) -> Self {
        let mut own = self.clone();
        own.charge(took);
        if lent.failure.is_some() {
            own.left = Duration::ZERO;
            own.failure.clone_from(&lent.failure);
        }
        own
    }

    /// Runs an operation with one result for each of `keys` keys, within half of what is left: the other half is for
    /// the keys that have an answer while others wait for theirs. With each result comes what its key has left.
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
            // The cause again: a refusal is not to be counted as a timeout.
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

    /// After a failure that is certain nothing else is begun.
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
