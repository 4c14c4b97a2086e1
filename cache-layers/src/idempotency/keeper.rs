//! The background task behind one `acquire`: it claims the key, extends the claim while the request runs, and stores
//! the outcome of the run.
//!
//! One task does all of it. So no call to the cache overtakes an earlier one, and no caller leaves a claim behind,
//! whenever it leaves.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::{CacheError, Outcome, Ttl, clock};
use tokio::sync::oneshot;

use super::claim::{Claim, Completion, End, Reply};
use super::record::{Record, State};
use super::{Acquired, Core, Fingerprint, IdempotencyEvent};
use crate::within::within;

/// How often the task tries to claim the key while it is neither free nor readable.
const ROUNDS: u32 = 3;
/// The pauses between tries to store the outcome of the run.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Keeper {
    core: Arc<Core>,
    key: String,
    fingerprint: Fingerprint,
    /// The record of a run in progress. It contains its owner, so no other task writes the same bytes.
    mine: Bytes,
}

/// What a request gets from its task.
pub(super) struct Offer {
    acquired: Acquired,
    /// Told that the claim was taken. Otherwise the claim is released.
    taker: Option<oneshot::Sender<()>>,
}

impl Offer {
    /// Returns the offer, unless it was a claim that has been released by now.
    pub(super) fn take(self) -> Option<Acquired> {
        let in_time = self.taker.is_none_or(|taker| taker.send(()).is_ok());
        in_time.then_some(self.acquired)
    }
}

/// What replaces our claim.
enum Leave {
    Nothing,
    Record(Bytes, Completion),
}

impl Keeper {
    pub(super) fn new(core: Arc<Core>, key: String, fingerprint: Fingerprint) -> Result<Self, CacheError> {
        let claim = Record {
            fingerprint,
            state: State::InProgress(rand::random()),
        };
        let mine = claim.encode(&key).ok_or_else(|| too_long("key"))?;
        Ok(Self {
            core,
            key,
            fingerprint,
            mine,
        })
    }

    /// Runs from the first look at the key to the end of the run.
    pub(super) async fn run(self, answer: oneshot::Sender<Result<Offer, CacheError>>) {
        let mut unsure = false;
        // A client answers within its own deadline. This limit is for a client that does not.
        let taken = within(self.core.config.claim_life, self.take(&mut unsure)).await;
        match taken {
            Ok(None) => {
                let (keeper, end) = oneshot::channel();
                let (taker, taken) = oneshot::channel();
                let claim = Acquired::Run(Claim::held(keeper));
                // If the caller has left, the offer comes back and is dropped, which releases the claim.
                drop(answer.send(Ok(Offer {
                    acquired: claim,
                    taker: Some(taker),
                })));
                // A caller that exists but is not polled must not keep the key from others.
                let taken = tokio::time::timeout(self.core.config.cache_deadline, taken).await;
                if !matches!(taken, Ok(Ok(()))) {
                    return self.finish(None).await;
                }
                let end = tokio::select! {
                    biased;
                    end = end => end,
                    never = self.extend() => never,
                };
                self.finish(end.ok()).await;
            }
            Ok(Some(acquired)) => drop(answer.send(Ok(Offer {
                acquired,
                taker: None,
            }))),
            Err(error) => {
                drop(answer.send(Err(error)));
                if unsure {
                    self.leave(Leave::Nothing, None).await;
                }
            }
        }
    }

    /// Claims the key, or returns what is stored there. After a lost reply it looks at the key. `unsure` is set while
    /// a reply was lost and the claim may be stored.
    async fn take(&self, unsure: &mut bool) -> Result<Option<Acquired>, CacheError> {
        let (client, key) = (&self.core.client, &self.key);
        let life = Ttl::After(self.core.config.claim_life);
        for _ in 0..ROUNDS {
            // Set before the call, because the future may be dropped during it.
            let before = std::mem::replace(unsure, true);
            match client.set_if_absent(key, self.mine.clone(), life).await {
                Ok(true) => return Ok(None),
                Ok(false) => *unsure = before,
                Err(error) if error.outcome() == Outcome::Unknown => {}
                Err(error) => {
                    *unsure = before;
                    return Err(error);
                }
            }
            match client.get_entry(key).await {
                Ok(entry) if entry.value == self.mine => return Ok(None),
                Ok(entry) => return self.judge(&entry.value, entry.remaining).map(Some),
                // It was deleted between the two calls, or the request was lost and is sent again.
                Err(CacheError::Miss) => {}
                Err(error) => return Err(error),
            }
        }
        Err(CacheError::Corrupt {
            detail: "the key can neither be taken nor read".into(),
            source: None,
        })
    }

    /// What another request's record means to this one.
    fn judge(&self, stored: &Bytes, remaining: Ttl) -> Result<Acquired, CacheError> {
        let record = Record::decode(&self.key, stored).ok_or_else(|| CacheError::Corrupt {
            detail: "what stands under the key is no idempotency record of this version".into(),
            source: None,
        })?;
        if record.fingerprint != self.fingerprint {
            return Ok(Acquired::Mismatch);
        }
        Ok(match record.state {
            State::InProgress(_) => Acquired::InProgress {
                remaining: match remaining {
                    Ttl::After(left) => left.min(self.core.config.claim_life),
                    Ttl::Forever => self.core.config.claim_life,
                },
            },
            State::Completed(response) => Acquired::Replay(response),
            State::NotKept => Acquired::NotReplayable,
        })
    }

    /// Extends the claim for as long as it is ours and `max_run` allows. Never returns.
    async fn extend<T>(&self) -> T {
        let config = &self.core.config;
        let begun = clock::now();
        let mut pause = config.claim_life / 3;
        loop {
            tokio::time::sleep(pause).await;
            if clock::now() - begun >= config.max_run {
                break;
            }
            let life = Ttl::After(config.claim_life);
            let extended = self
                .core
                .client
                .compare_and_set(&self.key, &self.mine, self.mine.clone(), life);
            pause = match self.within_deadline(extended).await {
                Ok(true) => config.claim_life / 3,
                // It expired. If another run has it, the end of this run will show that.
                Ok(false) => break,
                Err(_) => config.claim_life / 12,
            };
        }
        std::future::pending().await
    }

    async fn finish(&self, end: Option<End>) {
        match end {
            Some(End::Completed(response, reply)) => {
                let leave = match self.completed(response) {
                    Some(record) => Leave::Record(record, Completion::Stored),
                    None => match self.not_kept() {
                        Some(record) => Leave::Record(record, Completion::NotKept),
                        None => Leave::Nothing,
                    },
                };
                self.leave(leave, Some(reply)).await;
            }
            Some(End::Released(reply)) => self.leave(Leave::Nothing, Some(reply)).await,
            None => self.leave(Leave::Nothing, None).await,
        }
    }

    /// The record with its response, if that may be kept.
    fn completed(&self, response: Bytes) -> Option<Bytes> {
        if response.len() > self.core.config.max_response {
            return None;
        }
        self.record(State::Completed(response))
    }

    fn not_kept(&self) -> Option<Bytes> {
        self.record(State::NotKept)
    }

    fn record(&self, state: State) -> Option<Bytes> {
        Record {
            fingerprint: self.fingerprint,
            state,
        }
        .encode(&self.key)
    }

    /// Replaces the claim by `leave`, and tells the caller how the first try went. After a failure it tries again for
    /// as long as a claim lasts. All tries do the same, so it does not matter which of them arrive.
    async fn leave(&self, mut leave: Leave, mut reply: Option<Reply>) {
        let begun = clock::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let mut left = self.within_deadline(self.try_to_leave(&leave)).await;
            if let (Err(CacheError::InvalidInput { .. }), Leave::Record(_, Completion::Stored)) =
                (&left, &leave)
                && let Some(smaller) = self.not_kept()
            {
                // The response is larger than this backend accepts.
                leave = Leave::Record(smaller, Completion::NotKept);
                left = self.within_deadline(self.try_to_leave(&leave)).await;
            }
            let is_final = matches!(
                &left,
                Ok(_) | Err(CacheError::InvalidInput { .. } | CacheError::Closed)
            );
            let is_last = is_final || clock::now() - begun + pause > self.core.config.claim_life;
            if is_last {
                self.core.config.listener.tell(&match (&left, &leave) {
                    (Ok(completion), Leave::Record(..)) => IdempotencyEvent::Completed {
                        completion: *completion,
                    },
                    (Ok(_), Leave::Nothing) => IdempotencyEvent::Released,
                    (Err(error), _) => IdempotencyEvent::NotStored { error: error.clone() },
                });
            }
            if let Some(reply) = reply.take() {
                drop(reply.send(left));
            }
            if is_last {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn try_to_leave(&self, leave: &Leave) -> Result<Completion, CacheError> {
        let (client, key) = (&self.core.client, &self.key);
        let Leave::Record(record, completion) = leave else {
            client.compare_and_delete(key, &self.mine).await?;
            return Ok(Completion::NotKept);
        };
        let life = Ttl::After(self.core.config.response_life);
        let replaced = client
            .compare_and_set(key, &self.mine, record.clone(), life)
            .await?;
        // Otherwise the claim expired. If no other run has the key, a late response is better than none.
        if replaced || client.set_if_absent(key, record.clone(), life).await? {
            return Ok(*completion);
        }
        match client.get(key).await {
            // An earlier try arrived, but its reply was lost.
            Ok(there) if there == *record => Ok(*completion),
            Ok(_) | Err(CacheError::Miss) => Ok(Completion::Overtaken),
            Err(error) => Err(error),
        }
    }

    async fn within_deadline<T>(
        &self,
        operation: impl Future<Output = Result<T, CacheError>>,
    ) -> Result<T, CacheError> {
        within(self.core.config.cache_deadline, operation).await
    }
}

fn too_long(argument: &'static str) -> CacheError {
    CacheError::InvalidInput {
        argument,
        reason: "longer than a record can hold".into(),
    }
}
