//! The handle on a run: stop it, let it rest, let it go on.

use std::sync::Arc;

use tokio::sync::watch;

/// Steers a run between two calls to a server. A cancelled run reports what it did so far.
///
/// Clones are one and the same handle, and one handle may steer several runs. Dropping a run's future stops
/// it as well, without a report.
#[derive(Clone, Debug)]
pub struct Control(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Going,
    Paused,
    Cancelled,
}

impl Control {
    /// A handle that lets the run go.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(State::Going)))
    }

    /// Stops the run for good; again is fine.
    pub fn cancel(&self) {
        self.0.send_replace(State::Cancelled);
    }

    /// Lets the run rest, with what it has done so far, after the calls that are under way. Nothing happens
    /// to one that was cancelled.
    pub fn pause(&self) {
        self.change(State::Going, State::Paused);
    }

    /// Lets a run that rests go on.
    pub fn resume(&self) {
        self.change(State::Paused, State::Going);
    }

    fn change(&self, from: State, to: State) {
        self.0.send_if_modified(|state| {
            let applies = *state == from;
            if applies {
                *state = to;
            }
            applies
        });
    }

    /// Whether the run was told to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow() == State::Cancelled
    }

    /// Whether the run was told to rest.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        *self.0.borrow() == State::Paused
    }

    /// Waits until the run is told to stop.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn cancelled(&self) {
        self.wait(|state| state == State::Cancelled).await;
    }

    /// Waits while the run is to rest.
    pub(super) async fn not_paused(&self) {
        self.wait(|state| state != State::Paused).await;
    }

    async fn wait(&self, reached: impl Fn(State) -> bool) {
        // The sender lives as long as `self`, so that waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|state| reached(*state)).await;
    }
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_run_neither_rests_nor_goes_on() {
        let control = Control::new();
        control.pause();
        assert!(control.is_paused() && !control.is_cancelled());
        control.cancel();
        for steer in [Control::pause, Control::resume] {
            steer(&control);
            assert!(control.is_cancelled() && !control.is_paused());
        }
    }
}
