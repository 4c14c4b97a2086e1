//! When a run is saved, and how many keys it may remove between two saves.
//!
//! A process that is killed cannot tell what it removed after its last save. So no more than an allowance is
//! removed without a further save, and each save says how much that may be: the counts of a run that is taken
//! up again fall short of the truth by that at most.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::CacheError;
use cache_core::clock::{self, Instant};

use super::{Checkpoint, Checkpoints};
use crate::engine::options::Saving;

/// Saves a run.
pub(in crate::engine) struct Saver {
    checkpoints: Arc<dyn Checkpoints>,
    every: Duration,
    allowance: u64,
    state: Mutex<State>,
    /// Who saves.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// What may be removed before the next save.
    left: u64,
    /// Keys whose removal was begun, and of these those that are in the counts.
    permitted: u64,
    counted: u64,
    saved: Option<Instant>,
}

impl Saver {
    pub(in crate::engine) fn new(saving: Saving) -> Self {
        Self {
            checkpoints: saving.checkpoints,
            every: saving.every,
            allowance: saving.keys,
            state: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Waits until so many keys may be removed; saves where that needs a further save.
    pub(in crate::engine) async fn permit(
        &self,
        keys: u64,
        snapshot: impl Fn() -> Checkpoint + Send,
    ) -> Result<(), CacheError> {
        if self.state().take(keys) {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        while !self.state().take(keys) {
            self.save(self.allowance.max(keys), &snapshot).await?;
        }
        Ok(())
    }

    /// Takes in that the end of so many removals is in the counts.
    pub(in crate::engine) fn counted(&self, keys: u64) {
        self.state().counted += keys;
    }

    /// Saves where the last time is too long ago.
    pub(in crate::engine) async fn save_if_due(
        &self,
        snapshot: impl Fn() -> Checkpoint + Send,
    ) -> Result<(), CacheError> {
        let due = |saved: Option<Instant>| saved.is_none_or(|saved| clock::now() - saved >= self.every);
        if !due(self.state().saved) {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        // Another one may have done it meanwhile.
        if due(self.state().saved) {
            self.save(self.allowance, &snapshot).await?;
        }
        Ok(())
    }

    /// Saves a run that has come to its end: nothing more is removed.
    pub(in crate::engine) async fn finish(
        &self,
        snapshot: impl Fn() -> Checkpoint + Send,
    ) -> Result<(), CacheError> {
        let _turn = self.turn.lock().await;
        self.save(0, &snapshot).await
    }

    async fn save(
        &self,
        allowance: u64,
        snapshot: &(impl Fn() -> Checkpoint + Send),
    ) -> Result<(), CacheError> {
        let under_way = {
            let mut state = self.state();
            // What is removed from here on is not in the snapshot.
            state.left = 0;
            state.permitted - state.counted
        };
        let mut checkpoint = snapshot();
        let unknown = under_way + allowance;
        checkpoint.uncounted += unknown;
        checkpoint.max_keys = checkpoint.max_keys.map(|keys| keys.saturating_sub(allowance));
        self.checkpoints.save(&checkpoint).await?;
        let mut state = self.state();
        state.left = allowance;
        state.saved = Some(clock::now());
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, keys: u64) -> bool {
        let enough = self.left >= keys;
        if enough {
            self.left -= keys;
            self.permitted += keys;
        }
        enough
    }
}
