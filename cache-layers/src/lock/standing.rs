//! What a holder knows about its lock: until when it can rely on it, or that it is lost. By its own clock.

use cache_core::clock::{self, Instant};
use tokio::sync::watch;

use super::error::Loss;

#[derive(Debug)]
pub(super) struct Standing(watch::Sender<State>);

#[derive(Clone, Copy, Debug)]
enum State {
    /// Held until then, at least.
    Until(Instant),
    /// For good: what was lost once is not ours again.
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

    /// The lock was extended; whether that was in time.
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

    /// The lock is lost; how, if it was lost already.
    pub(super) fn lose(&self, loss: Loss) -> Loss {
        let mut how = loss;
        self.0.send_if_modified(|state| match state {
            State::Lost(first) => {
                how = *first;
                false
            }
            // Unless it was extended in the meantime.
            State::Until(_) => {
                *state = State::Lost(loss);
                true
            }
        });
        how
    }

    /// Waits until the lock is lost. It is decided in here, whether or not anybody else gets to run.
    pub(super) async fn lost(&self) -> Loss {
        let mut changes = self.0.subscribe();
        loop {
            changes.borrow_and_update();
            match self.now() {
                Err(loss) => return loss,
                Ok(until) => {
                    tokio::select! {
                        // The sender is in here and stays.
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
        // Nobody looks when the time is up.
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
