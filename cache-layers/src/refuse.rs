//! Builds the error for an invalid setting. The settings themselves are in the modules that use them.

use std::borrow::Cow;

use cache_core::CacheError;

/// Refuses `argument`. `reason` says what it accepts.
pub(crate) fn refuse<T>(
    argument: &'static str,
    reason: impl Into<Cow<'static, str>>,
) -> Result<T, CacheError> {
    Err(CacheError::InvalidInput {
        argument,
        reason: reason.into(),
    })
}
