//! Errors of the cache, as problems: one table.

use std::time::Duration;

use cache_core::CacheError;

use super::{Kind, Problem};

/// When to try again where the cache is away.
const SOON: Duration = Duration::from_secs(5);

impl From<CacheError> for Problem {
    fn from(error: CacheError) -> Self {
        Self::from(&error)
    }
}

impl From<&CacheError> for Problem {
    fn from(error: &CacheError) -> Self {
        let text = error.to_string();
        match error {
            CacheError::Miss => Self::new(Kind::NoSuchKey, "the key holds nothing"),
            CacheError::InvalidInput { .. } => Self::new(Kind::InvalidArgument, text),
            CacheError::Timeout { .. } => Self::new(Kind::Timeout, text),
            CacheError::Unavailable { .. } => Self::new(Kind::CacheUnavailable, text).retry_after(SOON),
            CacheError::Closed => {
                Self::new(Kind::CacheUnavailable, "the service is stopping").retry_after(SOON)
            }
            CacheError::Unauthorized { .. } | CacheError::Denied { .. } | CacheError::Rejected { .. } => {
                Self::new(Kind::CacheRefused, text)
            }
            CacheError::Unsupported { .. } => Self::new(Kind::Unsupported, text),
            error => {
                tracing::error!(kind = error.kind(), "a request failed: {error}");
                Self::internal()
            }
        }
    }
}
