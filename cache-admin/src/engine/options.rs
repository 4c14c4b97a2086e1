//! How a run goes about its work.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Cancel, Observer};

/// How a run goes about its work.
#[derive(Clone)]
pub struct Options {
    pub(super) page_size: u32,
    pub(super) verify: bool,
    pub(super) patience: Duration,
    pub(super) cancel: Cancel,
    pub(super) observer: Option<Arc<dyn Observer>>,
}

impl Options {
    /// How many keys a server looks at per call, 1 to 10,000. More is no faster and holds up other
    /// clients for longer. Default: 1,000.
    #[must_use]
    pub fn with_page_size(mut self, keys: u32) -> Self {
        self.page_size = keys.clamp(1, 10_000);
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

    /// What stops the run. Default: nothing.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// Who hears of its progress. Default: nobody.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            page_size: 1_000,
            verify: true,
            patience: Duration::from_secs(30),
            cancel: Cancel::new(),
            observer: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("page_size", &self.page_size)
            .field("verify", &self.verify)
            .field("patience", &self.patience)
            .field("cancelled", &self.cancel.is_cancelled())
            .finish_non_exhaustive()
    }
}
