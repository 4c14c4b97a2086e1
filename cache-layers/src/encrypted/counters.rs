//! Counters: integers that the backend counts, and therefore has to see.
//!
//! An integer that a caller stored is sealed like any value. The first count turns it into a counter in clear text,
//! in one conditional write. From then on the backend counts in one step.

use bytes::Bytes;
use cache_core::{CacheError, Ttl, integer};

use super::conditional::too_many_changes;
use super::{Encrypted, Name, TRIES};

/// The result of looking at a value that the backend could not count.
enum Look {
    /// It is a counter now, and was counted.
    Counted(i64),
    /// It is another value by now.
    Changed,
    /// This instance cannot read it, but another one may.
    Unreadable,
}

impl Encrypted {
    /// Counts: with a `ttl` as `incr_by` does, without one as `incr`.
    pub(super) async fn count_up(
        &self,
        name: &Name<'_>,
        delta: i64,
        ttl: Option<Ttl>,
    ) -> Result<i64, CacheError> {
        if !self.config.counters {
            return Err(CacheError::Unsupported {
                detail:
                    "this cache is encrypted and was set up without counters, which are stored in clear text"
                        .into(),
            });
        }
        for _ in 0..TRIES {
            let counted = match ttl {
                Some(ttl) => self.inner.incr_by(&name.stored, delta, ttl).await,
                None => self.inner.incr(&name.stored).await,
            };
            let Err(CacheError::Rejected { code, detail }) = counted else {
                return counted;
            };
            match Box::pin(self.look_at_uncounted(name, delta, ttl)).await? {
                Look::Counted(sum) => return Ok(sum),
                Look::Changed => {}
                Look::Unreadable => return Err(CacheError::Rejected { code, detail }),
            }
        }
        Err(too_many_changes())
    }

    async fn look_at_uncounted(
        &self,
        name: &Name<'_>,
        delta: i64,
        ttl: Option<Ttl>,
    ) -> Result<Look, CacheError> {
        let entry = match self.inner.get_entry(&name.stored).await {
            Ok(entry) => entry,
            Err(CacheError::Miss) => return Ok(Look::Changed),
            Err(error) => return Err(error),
        };
        let opened = match self.open(name.key, &entry.value) {
            Ok(opened) => opened,
            Err(trouble) => match self.settle(name, &entry.value, trouble).await {
                Some(opened) => opened,
                None if trouble.is_replaceable() => {
                    // A reader gets a miss for it, so counting starts at 0.
                    self.inner.compare_and_delete(&name.stored, &entry.value).await?;
                    return Ok(Look::Changed);
                }
                None => return Ok(Look::Unreadable),
            },
        };
        let sum = integer::add(&opened.value, delta)?;
        if opened.is_counter {
            // Another caller has just turned it into a counter.
            return Ok(Look::Changed);
        }
        let life = match (entry.remaining.is_forever(), ttl) {
            (true, Some(ttl)) => ttl,
            _ => entry.remaining,
        };
        let counter = Bytes::from(sum.to_string());
        let made = self
            .inner
            .compare_and_set(&name.stored, &entry.value, counter, life);
        Ok(if made.await? {
            Look::Counted(sum)
        } else {
            Look::Changed
        })
    }
}
