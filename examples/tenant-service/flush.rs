//! Takes everything that matches a pattern out of the cache, wherever it is: the embedded client, or every
//! primary at once.

use std::time::Duration;

use cache_admin::{Engine, Options, Outcome};
use cache_core::{CacheError, Pattern};
use cache_stack::Stack;
use serde::Serialize;

/// How long a flush waits for a primary that cannot be reached. Whoever flushes waits for the answer, so it
/// is short; what is left is told, and can be flushed again.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a flush did.
#[derive(Debug, Serialize)]
pub(crate) struct Flushed {
    pub(crate) removed: u64,
    /// `complete`, or what became of it instead; then some entries may be left.
    pub(crate) outcome: &'static str,
}

/// The flushing of one cache.
#[derive(Clone, Debug)]
pub(crate) struct Flush {
    engine: Engine,
    /// What stands before the service's keys in the backend.
    prefix: String,
}

impl Flush {
    /// An error where the backend cannot list its keys.
    pub(crate) fn of(stack: &Stack) -> Result<Self, CacheError> {
        Ok(Self {
            engine: Engine::of(&stack.foundation)?,
            prefix: stack.key_prefix().to_owned(),
        })
    }

    /// Removes every entry that matches. An error means that nothing was done.
    pub(crate) async fn flush(&self, pattern: &Pattern) -> Result<Flushed, CacheError> {
        let options = Options::default().with_patience(PATIENCE);
        let pattern = pattern.within(&self.prefix)?;
        let report = self.engine.invalidate(&pattern, &options).await;
        let removed = report.total().removed;
        match report.outcome {
            Outcome::Failed { error } => Err(error),
            outcome => Ok(Flushed {
                removed,
                outcome: outcome.name(),
            }),
        }
    }
}
