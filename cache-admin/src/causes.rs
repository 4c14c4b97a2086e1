//! Errors in words, for reports and for people.

use std::error::Error as _;

use cache_core::CacheError;

/// The error and what caused it, on one line.
#[must_use]
pub fn with_causes(error: &CacheError) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors repeat their cause.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line.replace('\n', " ")
}
