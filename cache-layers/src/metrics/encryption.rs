//! Metrics of layers that encrypt, and of their keyrings.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use super::catalog::{self, Metric};
use super::watch::Watch;
use crate::encrypted::{Encrypted, EncryptedStats, Keyring, KeyringStats, Unreadable};

/// One counter of a layer.
type Count = fn(&EncryptedStats) -> u64;
/// One counter of a keyring.
type Refreshes = fn(&KeyringStats) -> u64;

/// Any number of layers and keyrings.
#[derive(Debug)]
pub(super) struct EncryptionMetrics {
    layers: Arc<Watch<Encrypted, EncryptedStats>>,
    keyrings: Arc<Watch<Keyring, KeyringStats>>,
}

impl EncryptionMetrics {
    pub(super) fn new(meter: &Meter) -> Self {
        let metrics = Self {
            layers: Arc::new(Watch::new(Encrypted::stats)),
            keyrings: Arc::new(Watch::new(Keyring::stats)),
        };
        metrics.observe_layers(meter);
        metrics.observe_keyrings(meter);
        metrics
    }

    fn observe_layers(&self, meter: &Meter) {
        let totals: [(Metric, Count); 4] = [
            (catalog::ENCRYPTION_SEALED, |stats| stats.sealed),
            (catalog::ENCRYPTION_OPENED, |stats| stats.opened),
            (catalog::ENCRYPTION_REMOVED, |stats| stats.removed),
            (catalog::ENCRYPTION_PLAINTEXT, |stats| stats.plaintext),
        ];
        for (metric, of) in totals {
            let layers = Arc::clone(&self.layers);
            metric.observe(meter, move |counter| counter.observe(layers.total(of), &[]));
        }
        let layers = Arc::clone(&self.layers);
        catalog::ENCRYPTION_UNREADABLE.observe(meter, move |counter| {
            for reason in Unreadable::ALL {
                let count = layers.total(|stats| stats.unreadable(reason));
                let label = KeyValue::new(catalog::UNREADABLE_REASON.name, reason.name());
                counter.observe(count, &[label]);
            }
        });
    }

    fn observe_keyrings(&self, meter: &Meter) {
        let keyrings = Arc::clone(&self.keyrings);
        catalog::KEYRING_REFRESHES.observe(meter, move |counter| {
            let outcomes: [(&str, Refreshes); 3] = [
                ("changed", |stats| stats.changed),
                ("unchanged", |stats| stats.unchanged),
                ("failed", |stats| stats.failed),
            ];
            for (outcome, of) in outcomes {
                let label = KeyValue::new(catalog::REFRESH_OUTCOME.name, outcome);
                counter.observe(keyrings.total(of), &[label]);
            }
        });
        let keyrings = Arc::clone(&self.keyrings);
        catalog::KEYRING_AGE.observe_gauge(meter, move || keyrings.greatest(|keyring| keyring.status().age));
    }

    pub(super) fn watch_layer(&self, layer: &Arc<Encrypted>) {
        self.layers.add(layer);
    }

    pub(super) fn watch_keyring(&self, keyring: &Arc<Keyring>) {
        self.keyrings.add(keyring);
    }
}
