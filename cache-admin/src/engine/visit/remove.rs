//! Removing keys that were listed: here, or wherever they have gone meanwhile.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::{CacheError, Outcome};

use super::{FIRST_PAUSE, RETRIES, Stop, Visit, count, lock, watched};
use crate::keys::Unlinked;

/// Where keys are removed.
#[derive(Clone, Copy)]
enum Place {
    /// At the primary that is visited.
    Here,
    /// Wherever they live.
    Anywhere,
}

/// How a removal ended.
struct Done {
    removed: u64,
    /// Keys that may be gone, of which no answer says so.
    unknown: u64,
    ended: Result<(), Stop>,
}

impl Done {
    fn add(&mut self, other: Self) {
        self.removed += other.removed;
        self.unknown += other.unknown;
        self.ended = other.ended;
    }
}

/// Whether keys may have been removed of which it says that they failed.
fn is_in_doubt(unlinked: &Unlinked) -> bool {
    let failed = unlinked.failed.as_ref();
    failed.is_some_and(|(_, error)| error.outcome() != Outcome::NotApplied)
}

impl Visit {
    /// Removes `keys`, as many as there may be.
    pub(super) async fn remove(&self, mut keys: &[Bytes]) -> Result<(), Stop> {
        let errand = Arc::clone(&self.errand);
        while !keys.is_empty() {
            let granted = errand.budget.take(count(keys));
            let (now, later) = keys.split_at(usize::try_from(granted).unwrap_or(keys.len()).min(keys.len()));
            if now.is_empty() {
                return Err(Stop::Limited);
            }
            if let Some(saver) = &errand.saver {
                saver.permit(granted, || errand.snapshot()).await?;
            }
            let done = self.unlink(now).await;
            // What may have been removed without an answer stays taken, and is in no count.
            if let Some(saver) = &errand.saver {
                saver.counted(granted.saturating_sub(done.unknown));
            }
            errand
                .budget
                .give_back(granted.saturating_sub(done.removed + done.unknown));
            done.ended?;
            keys = later;
        }
        Ok(())
    }

    /// Removes `keys`, each wherever it is. What was removed counts also where others fail.
    async fn unlink(&self, keys: &[Bytes]) -> Done {
        let unlink = self.until_answered(Place::Here, keys);
        let (unlinked, unknown, ended) = watched(&*self.shard, &self.governor, unlink).await;
        let others = [unlinked.unanswered(), &unlinked.moved];
        let answered = count(keys).saturating_sub(others.map(count).iter().sum());
        let removed = unlinked.removed.min(answered);
        let late = others.map(|keys| self.count_late(keys)).iter().sum();
        let late = self.count_late(keys).saturating_sub(late);
        self.tally.change(|counts| {
            counts.matched += answered;
            counts.removed += removed;
            counts.gone += answered - removed;
            counts.late += late;
        });
        let mut done = Done {
            removed,
            unknown,
            ended,
        };
        let (own, foreign): (Vec<Bytes>, Vec<Bytes>) = unlinked
            .moved
            .into_iter()
            .partition(|key| self.own.contains(self.errand.place_of(key)));
        // After a whole visit here, what is foreign and not found is an orphan that was counted then.
        let (seen, new): (Vec<Bytes>, Vec<Bytes>) = foreign
            .into_iter()
            .partition(|key| self.seen.contains(self.errand.place_of(key)));
        if done.ended.is_ok() && !own.is_empty() {
            done.add(self.follow_own(&own).await);
        }
        for (keys, is_new) in [(new, true), (seen, false)] {
            if done.ended.is_ok() && !keys.is_empty() {
                done.add(self.follow_foreign(&keys, is_new).await);
            }
        }
        done
    }

    /// Keys of a slot that this primary serves, or served when the visit began, and gives away.
    async fn follow_own(&self, keys: &[Bytes]) -> Done {
        self.note_restless(keys);
        let (answered, done) = self.unlink_anywhere(keys).await;
        let (followed, late) = (count(&answered), self.count_late(&answered));
        self.tally.change(|counts| {
            counts.matched += followed;
            counts.removed += done.removed;
            counts.gone += followed - done.removed;
            counts.moved += followed;
            counts.late += late;
        });
        done
    }

    /// Keys of a slot that this primary does not serve: it receives the slot key by key, or it has kept
    /// what it should have dropped.
    async fn follow_foreign(&self, keys: &[Bytes], is_new: bool) -> Done {
        let (answered, done) = self.unlink_anywhere(keys).await;
        if done.removed > 0 {
            self.note_restless(keys);
        }
        let followed = count(&answered);
        let orphans = if self.is_first { followed - done.removed } else { 0 };
        self.tally.change(|counts| {
            counts.matched += done.removed + orphans;
            counts.removed += done.removed;
            counts.orphans += orphans;
            counts.moved += followed;
            counts.late += if is_new { 0 } else { done.removed };
        });
        done
    }

    /// Removes `keys`, each wherever it lives now, and says which of them were answered for.
    async fn unlink_anywhere(&self, keys: &[Bytes]) -> (Vec<Bytes>, Done) {
        let (unlinked, unknown, ended) = self.until_answered(Place::Anywhere, keys).await;
        let unanswered: HashSet<&Bytes> = unlinked.unanswered().iter().collect();
        let answered: Vec<Bytes> = keys
            .iter()
            .filter(|key| !unanswered.contains(key))
            .cloned()
            .collect();
        let done = Done {
            removed: unlinked.removed.min(count(&answered)),
            unknown,
            ended,
        };
        (answered, done)
    }

    /// Removes `keys`, and those without an answer again where the reason may pass: removing again does no
    /// harm. With how many of them may be gone without an answer, and the reason why some have none in the end.
    async fn until_answered(&self, place: Place, keys: &[Bytes]) -> (Unlinked, u64, Result<(), Stop>) {
        let mut all = self.unlink_once(place, keys).await;
        let mut in_doubt = is_in_doubt(&all);
        let mut pause = FIRST_PAUSE;
        for _ in 0..RETRIES {
            let Some((keys, error)) = all.failed.take_if(|(_, error)| error.is_transient()) else {
                break;
            };
            if let Err(stop) = self.rest(pause, error.clone()).await {
                let unknown = if in_doubt { count(&keys) } else { 0 };
                all.failed = Some((keys, error));
                return (all, unknown, Err(stop));
            }
            let more = self.unlink_once(place, &keys).await;
            in_doubt |= is_in_doubt(&more);
            all.removed += more.removed;
            all.moved.extend(more.moved);
            all.failed = more.failed;
            pause *= 2;
        }
        let ended = match &all.failed {
            Some((_, error)) => Err(Stop::Failed(error.clone())),
            None => Ok(()),
        };
        let unknown = if in_doubt { count(all.unanswered()) } else { 0 };
        (all, unknown, ended)
    }

    async fn unlink_once(&self, place: Place, keys: &[Bytes]) -> Unlinked {
        match place {
            Place::Here => self.shard.unlink(keys).await,
            Place::Anywhere => self.errand.keys.unlink_anywhere(keys).await,
        }
    }

    /// Asking again does no harm, so that only the last of several failures counts.
    pub(super) async fn again_if_transient<T, F, Fut>(&self, call: F) -> Result<T, Stop>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, CacheError>>,
    {
        let mut pause = FIRST_PAUSE;
        for _ in 0..RETRIES {
            match call().await {
                Err(error) if error.is_transient() => self.rest(pause, error).await?,
                result => return Ok(result?),
            }
            pause *= 2;
        }
        Ok(call().await?)
    }

    /// Waits after `error` before another try.
    pub(super) async fn rest(&self, pause: Duration, error: CacheError) -> Result<(), Stop> {
        tokio::select! {
            () = self.errand.cancelled() => Err(Stop::Cancelled(Some(error))),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    fn note_restless(&self, keys: &[Bytes]) {
        let mut restless = lock(&self.restless);
        for key in keys {
            restless.insert(self.errand.place_of(key));
        }
    }

    fn count_late(&self, keys: &[Bytes]) -> u64 {
        if self.seen.is_empty() {
            return 0;
        }
        count(
            keys.iter()
                .filter(|key| self.seen.contains(self.errand.place_of(key))),
        )
    }
}
