//! Keysets of every form and with every prefix, made there and here: each side reads the other's and opens what the
//! other sealed.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use cache_core::keyset::KeyEncryption;
use cache_core::{CacheError, Secret};
use cache_layers::keyset::{Keyset, KeysetEditor, KeysetForm, load};
use serde_json::{Value, json};

use crate::tink::{Stored, Tink};

const FORMS: [KeysetForm; 4] = [
    KeysetForm::Json,
    KeysetForm::Binary,
    KeysetForm::EncryptedJson,
    KeysetForm::EncryptedBinary,
];

/// A keyset that encrypts keysets, as a service for key management does.
#[derive(Debug)]
struct Kek {
    keyset: Keyset,
    /// The same for Tink.
    json: String,
}

impl Kek {
    async fn new() -> Result<Self> {
        let editor = KeysetEditor::create()?;
        let stored = editor.write(KeysetForm::Json, None).await?;
        Ok(Self {
            keyset: editor.keyset()?,
            json: String::from_utf8(stored.expose().clone())?,
        })
    }
}

#[async_trait]
impl KeyEncryption for Kek {
    fn name(&self) -> String {
        "a keyset in place of a KMS key".to_owned()
    }

    async fn encrypt(&self, plaintext: &Secret<Vec<u8>>, name: &[u8]) -> Result<Vec<u8>, CacheError> {
        self.keyset.seal(plaintext.expose(), name)
    }

    async fn decrypt(&self, ciphertext: &[u8], name: &[u8]) -> Result<Secret<Vec<u8>>, CacheError> {
        let opened = self
            .keyset
            .open(ciphertext, name)
            .map_err(|error| CacheError::Corrupt {
                detail: "it was not encrypted by this key".into(),
                source: Some(Arc::new(error)),
            })?;
        Ok(Secret::new(opened))
    }
}

/// Each side opens what the other seals, and refuses it under another name.
pub(crate) async fn agree(tink: &mut Tink, stored: &Stored, keyset: &Keyset) -> Result<()> {
    for (text, name) in [
        (&b"a value"[..], &b"app:key"[..]),
        (b"", b""),
        (&[0xff; 5000], b"\0"),
    ] {
        let ours = keyset.seal(text, name)?;
        let theirs = tink.seal(stored, text, name).await?.map_err(anyhow::Error::msg)?;
        assert_eq!(ours.len(), theirs.len());
        assert_eq!(
            tink.open(stored, &ours, name).await?.as_deref(),
            Ok(text),
            "{}",
            stored.form
        );
        assert_eq!(keyset.open(&theirs, name).as_deref(), Ok(text), "{}", stored.form);
        assert!(tink.open(stored, &ours, b"another").await?.is_err());
        assert!(keyset.open(&theirs, b"another").is_err());
    }
    Ok(())
}

/// As Tink shows it.
pub(crate) fn shown(editor: &KeysetEditor) -> Value {
    let info = editor.info();
    let key = |key: &cache_layers::keyset::KeyInfo| {
        json!([
            key.id,
            key.status.name(),
            key.prefix.map_or("UNKNOWN_PREFIX", |prefix| prefix.name())
        ])
    };
    json!({ "primary": info.primary_key_id, "keys": info.keys.iter().map(key).collect::<Vec<_>>() })
}

#[tokio::test]
async fn keysets_of_tink_are_read_in_every_form() -> Result<()> {
    let Some(mut tink) = Tink::start_or_skip("keysets_of_tink_are_read_in_every_form").await? else {
        return Ok(());
    };
    let kek = Kek::new().await?;
    for templates in [
        &["AES256_GCM"][..],
        &["AES128_GCM"],
        &["AES256_GCM_RAW"],
        &["AES256_GCM", "AES128_GCM", "AES256_GCM_RAW"],
    ] {
        for form in FORMS {
            let (ours, theirs) = match form.is_encrypted() {
                true => (Some(&kek as &dyn KeyEncryption), Some(kek.json.clone())),
                false => (None, None),
            };
            let stored = tink.make(templates, form, theirs).await?;
            let bytes = Secret::new(stored.bytes.clone());
            let keyset = load(&bytes, ours)
                .await
                .with_context(|| format!("{form} {templates:?}"))?;
            agree(&mut tink, &stored, &keyset).await?;

            let (editor, found) = KeysetEditor::read(&bytes, ours).await?;
            assert_eq!(found, form);
            assert_eq!(tink.info(&stored).await?, shown(&editor));
        }
    }
    Ok(())
}

#[tokio::test]
async fn tink_reads_keysets_of_ours_in_every_form_and_stage() -> Result<()> {
    let Some(mut tink) = Tink::start_or_skip("tink_reads_keysets_of_ours_in_every_form_and_stage").await?
    else {
        return Ok(());
    };
    let kek = Kek::new().await?;
    let mut editor = KeysetEditor::create()?;
    let first = editor.info().primary_key_id;
    let mut stages = vec![editor.clone()];
    let second = editor.add()?;
    stages.push(editor.clone());
    editor.promote(second)?;
    stages.push(editor.clone());
    editor.disable(first)?;
    stages.push(editor.clone());
    editor.enable(first)?;
    editor.disable(first)?;
    editor.delete(first)?;
    stages.push(editor);

    for form in FORMS {
        for editor in &stages {
            let (ours, theirs) = match form.is_encrypted() {
                true => (Some(&kek as &dyn KeyEncryption), Some(kek.json.clone())),
                false => (None, None),
            };
            let stored = Stored {
                bytes: editor.write(form, ours).await?.expose().clone(),
                form,
                kek: theirs,
            };
            assert_eq!(tink.info(&stored).await?, shown(editor), "{form}");
            agree(&mut tink, &stored, &editor.keyset()?).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_prefix_means_the_same_on_both_sides() -> Result<()> {
    let Some(mut tink) = Tink::start_or_skip("every_prefix_means_the_same_on_both_sides").await? else {
        return Ok(());
    };
    let editor = KeysetEditor::create()?;
    let json = editor.write(KeysetForm::Json, None).await?;
    let json = String::from_utf8(json.expose().clone())?;
    for prefix in ["TINK", "LEGACY", "CRUNCHY", "RAW"] {
        let bytes = json.replace("\"TINK\"", &format!("\"{prefix}\"")).into_bytes();
        let keyset = load(&Secret::new(bytes.clone()), None).await?;
        let stored = Stored {
            bytes,
            form: KeysetForm::Json,
            kek: None,
        };
        agree(&mut tink, &stored, &keyset).await?;
        let theirs = tink.seal(&stored, b"", b"").await?.map_err(anyhow::Error::msg)?;
        let ours = keyset.seal(b"", b"")?;
        let prefix_len = theirs.len() - 28;
        assert_eq!(ours[..prefix_len], theirs[..prefix_len], "{prefix}");
    }
    Ok(())
}

#[tokio::test]
async fn tink_refuses_what_the_wrong_key_encrypted() -> Result<()> {
    let Some(mut tink) = Tink::start_or_skip("tink_refuses_what_the_wrong_key_encrypted").await? else {
        return Ok(());
    };
    let (right, wrong) = (Kek::new().await?, Kek::new().await?);
    let stored = tink
        .make(
            &["AES256_GCM"],
            KeysetForm::EncryptedJson,
            Some(right.json.clone()),
        )
        .await?;
    let bytes = Secret::new(stored.bytes.clone());
    load(&bytes, Some(&right)).await?;
    let error = load(&bytes, Some(&wrong)).await.err().context("accepted")?;
    assert!(
        error
            .to_string()
            .contains("check that this is the key that encrypted"),
        "{error}"
    );
    let theirs = Stored {
        kek: Some(wrong.json),
        ..stored
    };
    assert!(tink.seal(&theirs, b"", b"").await?.is_err());
    Ok(())
}
