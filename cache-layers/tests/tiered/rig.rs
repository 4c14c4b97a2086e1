//! A backend, the line to it, and the tier in front of that.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{Bytes, CacheClient, CacheError, MemoryCache, Ttl};
use cache_layers::{NearConfig, Tiered};

use crate::line::Line;

pub(crate) const KEY: &str = "user:7";

/// The tier's own lives in these tests.
pub(crate) const LIFE: Duration = secs(60);
pub(crate) const SHORT: Duration = secs(1);

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[derive(Debug)]
pub(crate) struct Rig {
    /// The backend, as others use it.
    pub(crate) others: Arc<MemoryCache>,
    pub(crate) line: Arc<Line>,
    pub(crate) tiered: Arc<Tiered>,
}

impl Rig {
    /// A tier over a line that reports changes.
    pub(crate) fn new() -> Self {
        Self::with(NearConfig::default(), Line::new)
    }

    /// A tier over a line that reports nothing.
    pub(crate) fn silent() -> Self {
        Self::with(NearConfig::default(), Line::silent)
    }

    pub(crate) fn with(config: NearConfig, line: impl FnOnce(&Arc<MemoryCache>) -> Arc<Line>) -> Self {
        let others = Arc::new(MemoryCache::default());
        let line = line(&others);
        let tiered = Arc::new(Tiered::new(line.clone(), config));
        Self { others, line, tiered }
    }

    /// Somebody else writes.
    pub(crate) async fn others_set(&self, key: &str, value: &str) {
        self.others
            .set(key, Bytes::copy_from_slice(value.as_bytes()), Ttl::Forever)
            .await
            .unwrap();
    }

    /// What a caller gets.
    pub(crate) async fn read(&self, key: &str) -> Option<String> {
        text(self.tiered.get(key).await)
    }

    /// What a caller gets, and whether that was a far read.
    pub(crate) async fn read_and_where(&self, key: &str) -> (Option<String>, &'static str) {
        let before = self.line.reads();
        let read = self.read(key).await;
        (
            read,
            if self.line.reads() == before {
                "near"
            } else {
                "far"
            },
        )
    }
}

pub(crate) fn text(answer: Result<Bytes, CacheError>) -> Option<String> {
    match answer {
        Ok(value) => Some(String::from_utf8(value.to_vec()).unwrap()),
        Err(CacheError::Miss) => None,
        Err(error) => panic!("{error}"),
    }
}

/// A value that is there.
pub(crate) fn value(text: &str) -> Option<String> {
    Some(text.to_owned())
}
