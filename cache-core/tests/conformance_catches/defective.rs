//! A client with one defect, over a client without: its state, and what it does to keys, values and lives
//! on the way. The calls themselves are in `contract`.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cache_core::{CacheClient, CacheClientExt, CacheError, MemoryCache, Ttl};
use tokio::sync::Semaphore;
use tokio::task::yield_now;

use crate::defect::Defect;

/// The largest value of the subjects that are made of this client.
pub(crate) const LARGEST_VALUE: usize = 1024 * 1024;

/// What stands for something other than bytes.
pub(crate) const OTHER_TYPE: &[u8] = b"\0another type\0";

#[derive(Debug)]
pub(crate) struct Defective {
    pub(crate) inner: MemoryCache,
    pub(crate) defect: Defect,
    /// Whether the primary is gone.
    pub(crate) gone: Arc<AtomicBool>,
    pub(crate) closed: AtomicBool,
    /// All that was ever stored.
    pub(crate) shadow: Mutex<HashMap<String, Bytes>>,
    /// The keys of the gets that are on their way.
    pub(crate) queue: Mutex<VecDeque<String>>,
    slots: Semaphore,
    pub(crate) sets: AtomicU32,
}

impl Defective {
    pub(crate) fn new(defect: Defect, gone: Arc<AtomicBool>) -> Self {
        Self {
            inner: MemoryCache::default(),
            defect,
            gone,
            closed: AtomicBool::new(false),
            shadow: Mutex::default(),
            queue: Mutex::default(),
            slots: Semaphore::new(8),
            sets: AtomicU32::new(0),
        }
    }

    pub(crate) fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    pub(crate) fn key(&self, key: &str) -> String {
        match self.defect {
            Defect::KeysAreTrimmed => key.trim_end().to_owned(),
            Defect::KeysIgnoreCase => key.to_lowercase(),
            Defect::EmptyKeyIsTaken if key.is_empty() => "empty".to_owned(),
            Defect::KeysAreUnescaped => key.replace("%3A", ":"),
            Defect::DigestsAreCutOut => {
                let kept: Vec<&str> = key
                    .split(':')
                    .filter(|segment| !segment.starts_with('~'))
                    .collect();
                kept.join(":")
            }
            Defect::LongKeysAreCut => key.chars().take(1_000).collect(),
            _ => key.to_owned(),
        }
    }

    pub(crate) fn keys(&self, keys: &[&str]) -> Vec<String> {
        let skip = self.is(Defect::BatchesSkipIllegalKeys) && keys.len() > 1;
        keys.iter()
            .filter(|key| !skip || cache_core::check_key(key).is_ok())
            .map(|key| self.key(key))
            .collect()
    }

    pub(crate) fn value(&self, value: Bytes) -> Result<Bytes, CacheError> {
        match self.defect {
            Defect::ValuesAreText => Ok(String::from_utf8_lossy(&value).into_owned().into()),
            Defect::ValuesStopAtALineBreak => {
                let end = value.iter().position(|&byte| byte == b'\n');
                Ok(value.slice(..end.unwrap_or(value.len())))
            }
            Defect::LargeValuesAreCut => Ok(value.slice(..value.len().min(LARGEST_VALUE))),
            Defect::LargestValueIsRefused if value.len() == LARGEST_VALUE => Err(refused("value")),
            _ if value.len() > LARGEST_VALUE => Err(refused("value")),
            _ => Ok(value),
        }
    }

    pub(crate) fn life(&self, ttl: Ttl) -> Result<Ttl, CacheError> {
        if self.is(Defect::LongestLifeIsRefused) && ttl == Ttl::After(Ttl::MAX) {
            return Err(refused("ttl"));
        }
        Ok(match (self.defect, ttl) {
            (Defect::ExpiresEarly, Ttl::After(life)) => Ttl::After(life / 2),
            (Defect::TinyLifeIsNone, Ttl::After(life)) if life < Duration::from_millis(1) => Ttl::Forever,
            (Defect::LongLifeWraps, Ttl::After(life)) if life > Ttl::MAX => {
                Ttl::millis(u64::from(u32::try_from(life.as_millis() & 0xffff).unwrap_or(1)))
            }
            (_, ttl) => ttl,
        })
    }

    pub(crate) fn short(&self, ttl: Ttl) -> bool {
        match (self.defect, ttl) {
            (Defect::TinyLifeDeletes, Ttl::After(life)) => life < Duration::from_millis(1),
            (Defect::ZeroLifeDeletes, Ttl::After(Duration::ZERO)) => true,
            _ => false,
        }
    }

    /// What happens to every call before it does what it is there for.
    pub(crate) async fn enter(&self, keys: &[&str]) -> Result<(), CacheError> {
        match self.defect {
            Defect::IllegalKeyGoesToTheServer if keys.iter().any(|key| key.is_empty()) => yield_now().await,
            Defect::CloseLeavesCallsHanging if self.closed.load(Ordering::Acquire) => {
                std::future::pending::<()>().await;
            }
            Defect::EmptyListGoesToTheServer if keys.is_empty() => yield_now().await,
            Defect::DropBreaksTheClient => {
                let Ok(slot) = self.slots.acquire().await else {
                    return Err(CacheError::Closed);
                };
                slot.forget();
                yield_now().await;
                self.slots.add_permits(1);
            }
            _ => {}
        }
        Ok(())
    }

    async fn integer(&self, key: &str) -> Option<i64> {
        let value = self.inner.find_string(key).await.ok().flatten()?;
        value.trim().parse().ok()
    }

    pub(crate) async fn count(&self, key: &str, delta: i64) -> Option<Result<i64, CacheError>> {
        let count = match self.defect {
            Defect::IncrTakesAnyText => self.integer(key).await?.checked_add(delta)?,
            Defect::IncrOverwritesText if self.inner.find(key).await.is_ok_and(|value| value.is_some()) => {
                match self.integer(key).await {
                    Some(count) => count.checked_add(delta)?,
                    None => delta,
                }
            }
            Defect::IncrWraps => self.integer(key).await?.wrapping_add(delta),
            Defect::IncrIsNotAtomic => {
                let count = self.integer(key).await.unwrap_or(0);
                yield_now().await;
                count.checked_add(delta)?
            }
            _ => return None,
        };
        let ttl = self.inner.ttl(key).await.unwrap_or(Ttl::Forever);
        Some(
            self.inner
                .set(key, count.to_string().into(), ttl)
                .await
                .map(|()| count),
        )
    }

    /// Whether the value of `key` passes for `expected`, after a pause where that is the defect.
    pub(crate) async fn passes_for(&self, key: &str, expected: &[u8]) -> bool {
        match self.inner.get(key).await {
            Ok(value) => {
                yield_now().await;
                match self.defect {
                    Defect::CompareTakesAPrefix | Defect::CompareAndDeleteTakesAPrefix => {
                        value.starts_with(expected)
                    }
                    _ => value == expected,
                }
            }
            Err(_) => self.is(Defect::CompareMatchesTheMissing),
        }
    }
}

/// What was read, unless it is of another type.
pub(crate) fn of_this_type(value: Bytes) -> Result<Bytes, CacheError> {
    if value == OTHER_TYPE {
        return Err(CacheError::Rejected {
            code: "WRONGTYPE".into(),
            detail: "the key holds something else".into(),
        });
    }
    Ok(value)
}

fn refused(argument: &'static str) -> CacheError {
    CacheError::InvalidInput {
        argument,
        reason: "beyond what this client takes".into(),
    }
}
