//! How a setting that cannot be is refused. The settings themselves are with what they set.

use std::borrow::Cow;

use cache_core::CacheError;

/// Refuses `argument`; `reason` says what it takes.
pub(crate) fn refuse<T>(
    argument: &'static str,
    reason: impl Into<Cow<'static, str>>,
) -> Result<T, CacheError> {
    Err(CacheError::InvalidInput {
        argument,
        reason: reason.into(),
    })
}
