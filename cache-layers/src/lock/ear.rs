//! Notices changes of one lock, if the client reports them.

use std::sync::Arc;

use crate::wakes::{Wakes, Watch};

/// Watches one key until it is dropped. To notice a change, read the key after creating this.
#[derive(Debug)]
pub(super) struct Ear {
    wakes: Arc<Wakes>,
    watch: Watch<1>,
}

impl Ear {
    pub(super) fn on(wakes: &Arc<Wakes>, key: &str) -> Self {
        Self {
            watch: wakes.watch([key]),
            wakes: Arc::clone(wakes),
        }
    }

    /// Whether changes are reported at the moment.
    pub(super) fn hears(&self) -> bool {
        self.wakes.are_on()
    }

    /// Waits for a change since the last one that was waited for.
    pub(super) async fn changed(&mut self) {
        let [changes] = self.watch.changes();
        changes.next().await;
    }
}
