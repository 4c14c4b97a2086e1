//! Passes on reports of changes, with the keys that callers know.

use std::sync::Arc;

use cache_core::{Invalidation, InvalidationListener, InvalidationSource, Subscription, TrackingStatus};

use super::form::StoredForm;

/// The reports of the client inside, with its names translated back to keys.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) source: Arc<dyn InvalidationSource>,
    pub(super) form: StoredForm,
    /// Whether values are also read under their plain keys.
    pub(super) plain: bool,
}

impl InvalidationSource for Translated {
    fn subscribe(&self, listener: Arc<dyn InvalidationListener>) -> Subscription {
        self.source.subscribe(Arc::new(Translator {
            listener,
            form: self.form,
            plain: self.plain,
        }))
    }

    fn status(&self) -> TrackingStatus {
        self.source.status()
    }
}

struct Translator {
    listener: Arc<dyn InvalidationListener>,
    form: StoredForm,
    plain: bool,
}

impl InvalidationListener for Translator {
    fn on_invalidation(&self, event: &Invalidation) {
        let Invalidation::Keys(stored) = event else {
            return self.listener.on_invalidation(event);
        };
        let key_of = |stored: &String| match self.form.key_of(stored) {
            Some(key) => Some(key.to_owned()),
            None if self.plain => self.form.plain_key(stored).map(str::to_owned),
            None => None,
        };
        let keys: Vec<String> = stored.iter().filter_map(key_of).collect();
        if !keys.is_empty() {
            self.listener.on_invalidation(&Invalidation::Keys(keys));
        }
    }
}
