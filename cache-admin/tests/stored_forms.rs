//! What an inspection says of values that our layers have stored: the envelope of a read-through, and ciphertexts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_admin::{Cipher, Form, Holds, Inspection, Shown};
use cache_core::keyset::{Expected, KeysetStore as _};
use cache_core::{CacheClient, CacheConfig, Ttl};
use cache_layers::encrypted::StoredForm;
use cache_layers::keyset::{FileKeysetStore, KeysetEditor, KeysetForm};
use cache_layers::{
    Encrypted, EncryptedConfig, Keyring, KeyringConfig, Loaded, Prefixed, ReadThrough, ReadThroughConfig,
};
use cache_stack::Stack;

async fn look(stack: &Stack, key: &str, most: u32) -> Result<Shown> {
    let found = Inspection::of(stack, key.as_bytes(), Some(most)).await?;
    found.context("no such key")?.value.context("no value")
}

#[tokio::test]
async fn an_envelope_is_shown_with_its_times_and_the_excerpt_of_its_payload() -> Result<()> {
    let stack = cache_stack::assemble(&CacheConfig::default()).await?;
    let prefixed: Arc<dyn CacheClient> = Arc::new(Prefixed::new(Arc::clone(&stack.client), "app:")?);
    for (client, prefix) in [(Arc::clone(&stack.client), ""), (prefixed, "app:")] {
        let values = ReadThrough::new(client, ReadThroughConfig::default());
        let value = Loaded::new("hello, world").living(Duration::from_secs(3_600));
        values.put("user:7", value).await?;
        values.put("user:8", Loaded::absent()).await?;

        let shown = look(&stack, &format!("{prefix}user:7"), 5).await?;
        assert_eq!(
            (shown.text.as_deref(), shown.length, shown.truncated),
            (Some("hello"), 12, true)
        );
        let Some(Form::Envelope(envelope)) = shown.form else {
            anyhow::bail!("{:?}", shown.form);
        };
        assert_eq!(envelope.holds, Holds::Value);
        assert!(envelope.age_ms < 60_000, "{envelope:?}");
        let fresh = envelope.fresh_for_ms.context("not fresh")?;
        assert!((1_000_000..=3_600_000).contains(&fresh), "{envelope:?}");
        assert_eq!(
            envelope.created_ms + envelope.age_ms + fresh,
            envelope.expires_ms,
            "{envelope:?}"
        );

        let whole = look(&stack, &format!("{prefix}user:7"), 12).await?;
        assert_eq!(
            (whole.text.as_deref(), whole.truncated),
            (Some("hello, world"), false)
        );
        let json = serde_json::to_value(&whole)?;
        assert_eq!(
            (&json["form"]["kind"], &json["form"]["holds"]),
            (&"envelope".into(), &"value".into())
        );

        let absent = look(&stack, &format!("{prefix}user:8"), 5).await?;
        assert!(matches!(absent.form, Some(Form::Envelope(envelope)) if envelope.holds == Holds::Absent));
        assert_eq!(absent.length, 0);
    }
    Ok(())
}

#[tokio::test]
async fn what_is_no_envelope_of_its_key_is_shown_as_it_is() -> Result<()> {
    let stack = cache_stack::assemble(&CacheConfig::default()).await?;
    let cache = &stack.client;
    let values = ReadThrough::new(Arc::clone(cache), ReadThroughConfig::default());
    values.put("user:7", Loaded::new("hello")).await?;
    let stored = cache.get("user:7").await?;
    let cut = stored.slice(..stored.len() - 1);
    for (key, value) in [("other", stored), ("cut:user:7", cut), ("plain", "hello".into())] {
        let length = u64::try_from(value.len())?;
        cache.set(key, value, Ttl::Forever).await?;
        let shown = look(&stack, key, 1_024).await?;
        assert_eq!((shown.form, shown.length), (None, length), "{key}");
    }
    Ok(())
}

#[tokio::test]
async fn a_ciphertext_is_named_and_not_decrypted() -> Result<()> {
    let stack = cache_stack::assemble(&CacheConfig::default()).await?;
    let folder = tempfile::tempdir()?;
    let store = Arc::new(FileKeysetStore::new(folder.path().join("keyset.json")));
    let keyset = KeysetEditor::create()?.write(KeysetForm::Json, None).await?;
    store.write(&keyset, &BTreeMap::new(), Expected::Absent).await?;
    let keyring = Keyring::load(store, None, KeyringConfig::default()).await?;
    for (form, key, cipher) in [
        (StoredForm::Tink, "token:7", Cipher::Tink),
        (StoredForm::ChinminaBridge, "enc:token:7", Cipher::ChinminaBridge),
    ] {
        let config = EncryptedConfig::builder().stored_form(form).build()?;
        let sealed = Encrypted::new(Arc::clone(&stack.client), Arc::clone(&keyring), config);
        sealed.set("token:7", "hunter2".into(), Ttl::Forever).await?;
        // Few bytes are shown; it is named all the same.
        let shown = look(&stack, key, 4).await?;
        assert_eq!(shown.form, Some(Form::Encrypted { cipher }), "{key}");
        assert_eq!(
            (shown.length, shown.truncated),
            (u64::try_from(form.sealed_len(7))?, true)
        );
    }
    Ok(())
}
