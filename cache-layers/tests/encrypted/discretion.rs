//! No plaintext and no key material in anything that is shown: logs, spans, errors, metrics, debug forms, and in what
//! is stored. Scenario 85.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_core::{CacheClient, MemoryCache};
use cache_layers::encrypted::{Migration, StoredForm};
use cache_layers::metrics::CacheMetrics;
use cache_layers::observed::Tier;
use cache_layers::{Keyring, KeyringConfig, Observed, ObservedConfig};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use tracing_subscriber::filter::LevelFilter;

use crate::log::Log;
use crate::rig::{FORMS, HOUR, MIGRATIONS, Rig, stored_key};
use crate::store::{Answer, TestStore, key, keyset};

const KEY: &str = "the-name-of-the-key";
const VALUE: &str = "the-plaintext-of-the-value";
const OLD: &str = "an-older-plaintext";

/// In what form key material and plaintext might show.
fn secrets() -> Vec<String> {
    let mut secrets = vec![
        VALUE.to_owned(),
        OLD.to_owned(),
        STANDARD.encode(VALUE),
        STANDARD.encode(OLD),
    ];
    for id in [7, 8] {
        secrets.push(key(id).value());
        let material = [u8::try_from(id).unwrap(); 32];
        secrets.push(material.map(|byte| format!("{byte:02x}")).concat());
        secrets.push(
            format!("{:?}", &material[..8])
                .trim_matches(['[', ']'])
                .to_owned(),
        );
    }
    secrets
}

/// Everything that a layer can do, good and bad; what its errors said.
async fn use_everything(rig: &Rig, form: StoredForm) -> String {
    let mut said = String::new();
    let cache = &rig.cache;
    let mut note = |shown: &dyn std::fmt::Debug| write!(said, "{shown:?}\n").unwrap();
    let name = stored_key(form, KEY);
    let value = || VALUE.into();
    cache.set(KEY, value(), HOUR).await.unwrap();
    let sealed = rig.stored(&name).await.unwrap();
    assert!(
        !sealed
            .windows(VALUE.len())
            .any(|window| window == VALUE.as_bytes()),
        "it is encrypted"
    );
    note(&cache.get_entry(KEY).await);
    note(&cache.compare_and_set(KEY, VALUE.as_bytes(), value(), HOUR).await);
    note(&cache.compare_and_set(KEY, OLD.as_bytes(), value(), HOUR).await);
    note(&cache.set_if_absent(KEY, value(), HOUR).await);
    note(&cache.set_many(&[(KEY, value())], HOUR).await);
    note(&cache.incr(KEY).await);
    note(&cache.incr("n").await);
    note(&cache.compare_and_delete(KEY, VALUE.as_bytes()).await);
    note(&cache.del(&[KEY]).await);
    for stored in [
        sealed.clone(),
        sealed.slice(..40),
        OLD.into(),
        [&[1][..], OLD.as_bytes(), &[0; 40]].concat().into(),
    ] {
        for key in ["moved", KEY] {
            rig.store_raw(&stored_key(form, key), stored.clone()).await;
            note(&cache.get_many(&["moved"]).await.map(|values| values.len()));
            note(&cache.get_entry(key).await);
            note(&cache.incr(key).await);
            note(&cache.set_if_absent(key, value(), HOUR).await);
        }
    }
    rig.store_raw(KEY, OLD).await;
    note(&cache.get_entry(KEY).await);
    note(&cache);
    note(&cache.keyring());
    note(&cache.keyring().status());
    note(&cache.keyring().status().to_string());
    note(&cache.stats());
    note(&cache.config());
    said
}

#[tokio::test(start_paused = true)]
async fn neither_plaintext_nor_key_material_is_ever_shown() {
    let (log, _guard) = Log::record(LevelFilter::TRACE);
    let exporter = InMemoryMetricExporter::default();
    let reader = PeriodicReader::builder(exporter.clone())
        .with_interval(Duration::from_secs(86_400))
        .build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let metrics = CacheMetrics::new(&provider.meter("test"));
    let mut shown = String::new();
    for form in FORMS {
        for migration in MIGRATIONS {
            let rig = Rig::new(keyset(7, &[key(7)]), form, migration).await;
            metrics.watch_encrypted(&rig.cache);
            metrics.watch_keyring(rig.cache.keyring());
            shown += &use_everything(&rig, form).await;
            rig.rotate(keyset(8, &[key(8), key(7)])).await;
            rig.store.answer(Answer::Keyset(keyset(7, &[key(7).disabled()])));
            write!(shown, "{:?}", rig.cache.keyring().refresh().await).unwrap();
            let half = keyset(7, &[key(7)]);
            rig.store
                .answer(Answer::Keyset(half[..half.len() - 60].to_owned()));
            write!(shown, "{:?}", rig.cache.keyring().refresh().await).unwrap();
            let config = ObservedConfig::builder()
                .tier(Tier::Far)
                .system("memory")
                .metrics(metrics.clone());
            let observed = Observed::new(rig.cache.clone(), config.build().unwrap());
            observed.set(KEY, VALUE.into(), HOUR).await.unwrap();
            observed.get(KEY).await.unwrap();
            write!(shown, "{observed:?}").unwrap();
            provider.force_flush().unwrap();
        }
    }
    for broken in [
        keyset(7, &[key(7).disabled()]),
        keyset(7, &[key(7).with_size(24)]),
        keyset(7, &[key(7), key(8)]).replace("keyData", "keyDate"),
        keyset(7, &[key(7), key(8)]).replace("\"}]}", ""),
    ] {
        let loaded = Keyring::load(Arc::new(TestStore::new(broken)), None, KeyringConfig::default()).await;
        write!(shown, "{0:?} {0}", loaded.unwrap_err()).unwrap();
    }
    write!(shown, "{:?}", exporter.get_finished_metrics().unwrap()).unwrap();
    let logged = log.text();
    assert!(
        logged.contains("the keyset cannot be refreshed"),
        "nothing was logged: {logged}"
    );
    assert!(logged.contains("cache.operation"), "nothing was traced: {logged}");
    assert!(
        shown.contains("cache.encryption.sealed"),
        "nothing was measured: {shown}"
    );
    for secret in secrets() {
        assert!(!shown.contains(&secret), "shown: {secret} in {shown}");
        assert!(!logged.contains(&secret), "logged: {secret} in {logged}");
    }
    assert!(
        !shown.contains(KEY) && !logged.contains(KEY),
        "no name of a key either"
    );
}

/// What is in the remote cache: of values, nothing that can be read.
#[tokio::test]
async fn nothing_that_was_written_is_in_the_remote_cache_in_clear_text() {
    for form in FORMS {
        for migration in MIGRATIONS {
            let remote = Arc::new(MemoryCache::default());
            let rig = Rig::over(&remote, keyset(7, &[key(7)]), form, migration).await;
            rig.cache.set("a", VALUE.into(), HOUR).await.unwrap();
            rig.cache.set_many(&[("b", VALUE.into())], HOUR).await.unwrap();
            rig.cache.set_if_absent("c", VALUE.into(), HOUR).await.unwrap();
            rig.cache
                .compare_and_set("a", VALUE.as_bytes(), VALUE.into(), HOUR)
                .await
                .unwrap();
            for key in ["a", "b", "c"] {
                let stored = rig.stored(&stored_key(form, key)).await.unwrap();
                let text = String::from_utf8_lossy(&stored);
                assert!(!text.contains(VALUE) && !text.contains(&STANDARD.encode(VALUE)));
                assert_eq!(stored.len(), form.sealed_len(VALUE.len()));
            }
        }
    }
    assert_eq!(Migration::default(), Migration::Strict);
}
