//! Keysets in Secrets Manager under a KMS key, as emulators have them: made, rotated and encrypted again by `cachectl`,
//! and read by the real Tink with its own KMS client.

use anyhow::{Context as _, Result, ensure};
use cache_layers::keyset::KeysetForm;
use serde_json::Value;
use tests::{Emulator, EmulatorKind};

use crate::cachectl::keyset;
use crate::tink::Tink;

const SECRET: &str = "/app/test/keyset";
const URI: &str = "aws-secretsmanager:///app/test/keyset";

/// What names the emulator for `cachectl` and for Tink.
fn variables(emulator: &Emulator) -> Vec<(&'static str, &str)> {
    vec![
        ("AWS_ENDPOINT_URL", emulator.url()),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "eu-west-2"),
        ("AWS_DEFAULT_REGION", "eu-west-2"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]
}

async fn does(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Value> {
    let (code, said, err) = keyset(arguments, variables).await?;
    ensure!(code == 0, "{arguments:?}: {code} {err}");
    Ok(said)
}

/// The keys as Tink reads them from the secret: the primary's id, and each id with its status.
async fn seen(tink: &mut Tink, form: KeysetForm, kek: &str) -> Result<(Value, Vec<(Value, Value)>)> {
    let stored = tink.in_secret(SECRET, form, kek).await?;
    let sealed = tink
        .seal(&stored, b"text", b"name")
        .await?
        .map_err(anyhow::Error::msg)?;
    assert_eq!(
        tink.open(&stored, &sealed, b"name").await?.as_deref(),
        Ok(&b"text"[..])
    );
    let info = tink.info(&stored).await?;
    let keys = info["keys"].as_array().context("no keys")?;
    let keys = keys.iter().map(|key| (key[0].clone(), key[1].clone())).collect();
    Ok((info["primary"].clone(), keys))
}

async fn rotates(kind: EmulatorKind, test: &str) -> Result<()> {
    let root = env!("CARGO_TARGET_TMPDIR");
    let Some(emulator) = Emulator::start_or_skip(kind, test, root).await? else {
        return Ok(());
    };
    let variables = variables(&emulator);
    let Some(mut tink) = Tink::start_with(test, &variables).await? else {
        return Ok(());
    };
    let (key, other) = (tink.kms_key().await?, tink.kms_key().await?);
    let place = ["--uri", URI, "--kms-key", &key];
    let form = KeysetForm::EncryptedJson;

    let made = does(&[&["create"], &place[..]].concat(), &variables).await?;
    let old = made["keyset"]["primary_key_id"].clone();
    assert_eq!(made["keyset"]["form"], "encrypted-json");
    assert_eq!(
        seen(&mut tink, form, &key).await?,
        (old.clone(), vec![(old.clone(), "enabled".into())])
    );
    let (code, _, err) = keyset(&[&["create"], &place[..]].concat(), &variables).await?;
    assert_eq!(code, 7, "{err}");

    // The times are beside the keyset: a step that is early is refused by the next process.
    let added = does(&[&["add"], &place[..]].concat(), &variables).await?;
    let new = added["key_id"].clone();
    let (code, _, err) = keyset(&[&["promote", &new.to_string()], &place[..]].concat(), &variables).await?;
    assert_eq!(code, 5, "{err}");
    let at_once = ["--refresh", "0s", "--value-ttl", "0s", "--every", "0s"];
    let rotate = [&["rotate"], &place[..], &at_once[..]].concat();
    for (step, expected) in [
        ("promote", vec![(&old, "enabled"), (&new, "enabled")]),
        ("disable", vec![(&old, "disabled"), (&new, "enabled")]),
        ("delete", vec![(&new, "enabled")]),
    ] {
        let ran = does(&rotate, &variables).await?;
        assert_eq!(ran["change"], step);
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(id, status)| (id.clone(), status.into()))
            .collect();
        assert_eq!(
            seen(&mut tink, form, &key).await?,
            (new.clone(), expected),
            "after {step}"
        );
    }

    // Without the KMS key the ids are shown, and said to be unproved.
    let shown = does(&["info", "--uri", URI], &variables).await?;
    assert_eq!(
        (&shown["proved"], &shown["primary_key_id"]),
        (&Value::Bool(false), &new)
    );

    // Under another key, in place and as binary.
    let rewrap = ["rewrap", "--to-kms-key", &other, "--form", "binary"];
    does(&[&rewrap[..], &place[..]].concat(), &variables).await?;
    let (primary, _) = seen(&mut tink, KeysetForm::EncryptedBinary, &other).await?;
    assert_eq!(primary, new);
    let (code, _, err) = keyset(&[&["info"], &place[..]].concat(), &variables).await?;
    assert_ne!(code, 0, "the first key does not decrypt it any more");
    // One emulator decrypts with any key; then what comes out is no keyset.
    let said = [
        "CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI",
        "decrypts is not a keyset",
    ];
    assert!(said.iter().any(|part| err.contains(part)), "{err}");
    Ok(())
}

#[tokio::test]
async fn a_keyset_under_a_kms_key_of_moto_is_rotated() -> Result<()> {
    Box::pin(rotates(
        EmulatorKind::Moto,
        "a_keyset_under_a_kms_key_of_moto_is_rotated",
    ))
    .await
}

#[tokio::test]
async fn a_keyset_under_a_kms_key_of_ministack_is_rotated() -> Result<()> {
    Box::pin(rotates(
        EmulatorKind::Ministack,
        "a_keyset_under_a_kms_key_of_ministack_is_rotated",
    ))
    .await
}
