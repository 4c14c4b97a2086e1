//! What a holder knows by its own clock: until when it can rely on its lock, or that the lock is lost.

use cache_core::clock::{self, Instant};
use tokio::sync::watch;

use super::error::Loss;

#[derive(Debug)]
pub(super) struct Standing(watch::Sender<State>);

#[derive(Clone, Copy, Debug)]
enum State {
    /// Held at least until then.
    Until(Instant),
    /// Final: a lock that was lost is never ours again.
    Lost(Loss),
}

impl Standing {
    pub(super) fn until(until: Instant) -> Self {
        Self(watch::Sender::new(State::Until(until)))
    }

    /// Until when the lock is held, or how it was lost.
    pub(super) fn now(&self) -> Result<Instant, Loss> {
        let state = *self.0.borrow();
        match state {
            State::Until(until) if clock::now() < until => Ok(until),
            State::Until(_) => Err(self.lose(Loss::Expired)),
            State::Lost(loss) => Err(loss),
        }
    }

    /// Records that the lock was extended. Fails if that came too late.
    pub(super) fn extend(&self, until: Instant) -> Result<(), Loss> {
        self.now()?;
        self.0.send_if_modified(|state| match state {
            State::Until(then) if *then < until => {
                *then = until;
                true
            }
            _ => false,
        });
        self.now().map(drop)
    }

    /// Records that the lock is lost. Returns how it was lost first.
    pub(super) fn lose(&self, loss: Loss) -> Loss {
        let mut how = loss;
        self.0.send_if_modified(|state| match state {
            State::Lost(first) => {
                how = *first;
                false
            }
            // Unless it was extended by now.
            State::Until(_) => {
                *state = State::Lost(loss);
                true
            }
        });
        how
    }

    /// Waits until the lock is lost. Decides that in here, so it does not depend on other tasks being run.
    pub(super) async fn lost(&self) -> Loss {
        let mut changes = self.0.subscribe();
        loop {
            changes.borrow_and_update();
            match self.now() {
                Err(loss) => return loss,
                Ok(until) => {
                    tokio::select! {
                        // The sender is in `self`, so it is still there.
                        _ = changes.changed() => {}
                        () = tokio::time::sleep_until(until) => {}
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_ran_out_unnoticed_is_lost_for_good_though_an_extension_comes_through() {
        let second = Duration::from_secs(1);
        let standing = Standing::until(clock::now() + second);
        assert_eq!(standing.extend(clock::now() + second * 2), Ok(()));
        // No one looks at the state when the time is up.
        tokio::time::sleep(second * 2).await;
        assert_eq!(standing.extend(clock::now() + second), Err(Loss::Expired));
        assert_eq!(standing.now(), Err(Loss::Expired));
        assert_eq!(standing.lose(Loss::Gone), Loss::Expired);
    }

    #[tokio::test(start_paused = true)]
    async fn an_extension_never_shortens() {
        let until = clock::now() + Duration::from_secs(2);
        let standing = Standing::until(until);
        assert_eq!(standing.extend(until - Duration::from_secs(1)), Ok(()));
        assert_eq!(standing.now(), Ok(until));
    }
}
