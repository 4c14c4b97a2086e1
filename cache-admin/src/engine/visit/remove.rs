//! Removing keys that were listed: here, or wherever they have gone meanwhile.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::CacheError;

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
            let removed = self.unlink(now).await?;
            if let Some(saver) = &errand.saver {
                saver.counted(granted);
            }
            errand.budget.give_back(granted.saturating_sub(removed));
            keys = later;
        }
        Ok(())
    }

    /// Removes `keys`, each wherever it is; how many were there. What was removed counts also where others fail.
    async fn unlink(&self, keys: &[Bytes]) -> Result<u64, Stop> {
        let unlink = self.until_answered(Place::Here, keys);
        let (unlinked, ended) = watched(&*self.shard, &self.governor, unlink).await;
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
        ended?;
        let (own, foreign): (Vec<Bytes>, Vec<Bytes>) = unlinked
            .moved
            .into_iter()
            .partition(|key| self.own.contains(self.errand.place_of(key)));
        Ok(removed + self.follow_own(&own).await? + self.follow_foreign(&foreign).await?)
    }

    /// Keys of a slot that this primary serves, or served when the visit began, and gives away.
    async fn follow_own(&self, keys: &[Bytes]) -> Result<u64, Stop> {
        if keys.is_empty() {
            return Ok(0);
        }
        self.note_restless(keys);
        let (removed, followed, ended) = self.unlink_anywhere(keys).await;
        let (gone, late) = (count(&followed) - removed, self.count_late(&followed));
        self.tally.change(|counts| {
            counts.matched += removed + gone;
            counts.removed += removed;
            counts.gone += gone;
            counts.moved += removed + gone;
            counts.late += late;
        });
        ended.map(|()| removed)
    }

    /// Keys of a slot that this primary does not serve: it receives the slot key by key, or it has kept
    /// what it should have dropped.
    async fn follow_foreign(&self, keys: &[Bytes]) -> Result<u64, Stop> {
        // After a whole visit here, what is not found is an orphan that was counted then.
        let (seen, new): (Vec<Bytes>, Vec<Bytes>) = keys
            .iter()
            .cloned()
            .partition(|key| self.seen.contains(self.errand.place_of(key)));
        let mut found = 0;
        for (keys, is_new) in [(new, true), (seen, false)] {
            if keys.is_empty() {
                continue;
            }
            let (removed, followed, ended) = self.unlink_anywhere(&keys).await;
            if removed > 0 {
                self.note_restless(&keys);
            }
            let followed = count(&followed);
            let orphans = if self.is_first { followed - removed } else { 0 };
            self.tally.change(|counts| {
                counts.matched += removed + orphans;
                counts.removed += removed;
                counts.orphans += orphans;
                counts.moved += followed;
                counts.late += if is_new { 0 } else { removed };
            });
            ended?;
            found += removed;
        }
        Ok(found)
    }

    /// Removes `keys`, each wherever it lives now: how many were there, and which were answered for.
    async fn unlink_anywhere(&self, keys: &[Bytes]) -> (u64, Vec<Bytes>, Result<(), Stop>) {
        let (unlinked, ended) = self.until_answered(Place::Anywhere, keys).await;
        let unanswered: HashSet<&Bytes> = unlinked.unanswered().iter().collect();
        let answered: Vec<Bytes> = keys
            .iter()
            .filter(|key| !unanswered.contains(key))
            .cloned()
            .collect();
        (unlinked.removed.min(count(&answered)), answered, ended)
    }

    /// Removes `keys`, and those without an answer again where the reason may pass: removing again does no
    /// harm. With the reason why some of them have none in the end.
    async fn until_answered(&self, place: Place, keys: &[Bytes]) -> (Unlinked, Result<(), Stop>) {
        let mut all = self.unlink_once(place, keys).await;
        let mut pause = FIRST_PAUSE;
        for _ in 0..RETRIES {
            let Some((keys, error)) = all.failed.take_if(|(_, error)| error.is_transient()) else {
                break;
            };
            if let Err(stop) = self.rest(pause, error.clone()).await {
                all.failed = Some((keys, error));
                return (all, Err(stop));
            }
            let more = self.unlink_once(place, &keys).await;
            all.removed += more.removed;
            all.moved.extend(more.moved);
            all.failed = more.failed;
            pause *= 2;
        }
        let ended = match &all.failed {
            Some((_, error)) => Err(Stop::Failed(error.clone())),
            None => Ok(()),
        };
        (all, ended)
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
