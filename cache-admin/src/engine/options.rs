//! How a run goes about its work.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Checkpoints, Control, Observer, Pace};

/// How a run goes about its work.
#[derive(Clone)]
pub struct Options {
    pub(super) page_size: u32,
    pub(super) pace: Pace,
    pub(super) rate: Option<u32>,
    pub(super) max_keys: Option<u64>,
    pub(super) verify: bool,
    pub(super) patience: Duration,
    pub(super) control: Control,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) saving: Option<Saving>,
    pub(super) accepts_cache: bool,
}

/// Where and how often a run is saved.
#[derive(Clone)]
pub(super) struct Saving {
    pub(super) checkpoints: Arc<dyn Checkpoints>,
    pub(super) every: Duration,
    pub(super) keys: u64,
}

impl Options {
    /// How many keys a server looks at per call, 1 to 10,000: always so many at [`Pace::Full`], at most so
    /// many at [`Pace::Gentle`]. More is no faster and holds up other clients for longer. Default: 1,000.
    #[must_use]
    pub fn with_page_size(mut self, keys: u32) -> Self {
        self.page_size = keys.clamp(1, 10_000);
        self
    }

    /// How much of the servers it takes. Default: [`Pace::Gentle`].
    #[must_use]
    pub const fn with_pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// How many keys it looks at in a second at most, on all primaries together, whether they match or not;
    /// at least 1. That bounds what is removed, too, and with it what has to be loaded anew. Default: no
    /// limit but the pace.
    #[must_use]
    pub fn with_rate(mut self, keys_per_second: u32) -> Self {
        self.rate = Some(keys_per_second.max(1));
        self
    }

    /// How many keys a removal removes at most; with more that match, the outcome is
    /// [`Outcome::Partial`](super::Outcome::Partial). Default: no limit.
    #[must_use]
    pub const fn with_max_keys(mut self, keys: u64) -> Self {
        self.max_keys = Some(keys);
        self
    }

    /// Whether a removal visits every slot a second time. Without it keys may survive that hop from one
    /// primary to another meanwhile. Default: yes.
    #[must_use]
    pub const fn with_verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// How long to wait for slots that cannot be reached, while nothing else is left to do. A failover
    /// takes about the cluster's node timeout, 15 s by default, and a little more. Default: 30 s.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// What pauses and stops the run. Default: nothing.
    #[must_use]
    pub fn with_control(mut self, control: Control) -> Self {
        self.control = control;
        self
    }

    /// Who hears of its progress. Default: nobody.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Where a removal is saved, so that [`Engine::resume`](super::Engine::resume) goes on after the process
    /// has died. Default: nowhere.
    #[must_use]
    pub fn with_checkpoints(mut self, checkpoints: impl Checkpoints) -> Self {
        let (every, keys) = self.saving.map_or((Duration::from_secs(1), 10_000), |saving| {
            (saving.every, saving.keys)
        });
        self.saving = Some(Saving {
            checkpoints: Arc::new(checkpoints),
            every,
            keys,
        });
        self
    }

    /// Whether [`Engine::resume`](super::Engine::resume) goes on although the cache is not, or cannot be proved to be, the
    /// one on which the removal began. Every slot is then visited again. Default: no.
    #[must_use]
    pub const fn with_accepted_cache(mut self, accept: bool) -> Self {
        self.accepts_cache = accept;
        self
    }

    /// How often it is saved: after so long, and before more than `keys` keys are removed that the last
    /// save does not know of, which are those that a [`Report`](super::Report) cannot count after a
    /// crash. Nothing where there are no [checkpoints](Options::with_checkpoints), to be set before.
    /// Default: every second and 10,000 keys.
    #[must_use]
    pub fn with_save_every(mut self, every: Duration, keys: u64) -> Self {
        if let Some(saving) = &mut self.saving {
            saving.every = every;
            saving.keys = keys.max(1);
        }
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            page_size: 1_000,
            pace: Pace::default(),
            rate: None,
            max_keys: None,
            verify: true,
            patience: Duration::from_secs(30),
            control: Control::new(),
            observer: None,
            saving: None,
            accepts_cache: false,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("page_size", &self.page_size)
            .field("pace", &self.pace)
            .field("rate", &self.rate)
            .field("max_keys", &self.max_keys)
            .field("verify", &self.verify)
            .field("patience", &self.patience)
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}
