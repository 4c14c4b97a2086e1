//! Keysets in Secrets Manager: kept, replaced only by those who know what they replace, found under every spelling.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use cache_aws::SecretsManagerKeysetStore;
use cache_core::keyset::{Expected, KeysetStore as _};
use cache_core::{CacheError, Secret};
use serde_json::json;
use tests::Emulator;

use crate::setup::{at, emulators};

fn keyset(bytes: &[u8]) -> Secret<Vec<u8>> {
    bytes.to_vec().into()
}

fn notes(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

async fn store(emulator: &Emulator, uri: &str) -> Result<SecretsManagerKeysetStore> {
    Ok(SecretsManagerKeysetStore::new(&at(emulator.url()).await?, uri)?)
}

fn is_conflict(outcome: Result<(), CacheError>) -> bool {
    matches!(outcome, Err(CacheError::Rejected { code, .. }) if code == "CONFLICT")
}

#[tokio::test]
async fn a_keyset_is_created_read_and_replaced_with_its_notes() -> Result<()> {
    for emulator in emulators("a_keyset_is_created_read_and_replaced_with_its_notes").await? {
        let store = store(&emulator, "aws-secretsmanager:///app/env/keyset").await?;
        assert!(matches!(store.read().await, Err(CacheError::Miss)));
        let first = notes(&[("added/7", "2026-01-02T03:04:05Z"), ("added/8", "x")]);
        store
            .write(&keyset(b"{\"one\":1}"), &first, Expected::Absent)
            .await?;
        let read = store.read().await?;
        assert_eq!(read.bytes.expose(), b"{\"one\":1}");
        assert_eq!(read.notes, first);
        // A tag of somebody else stays.
        let tag = json!({"SecretId": "/app/env/keyset", "Tags": [{"Key": "team", "Value": "payments"}]});
        emulator.call("secretsmanager.TagResource", &tag).await?;

        let second = notes(&[("added/8", "y"), ("promoted/8", "z")]);
        store
            .write(&keyset(b"{\"two\":2}"), &second, Expected::Version(&read.version))
            .await?;
        let replaced = store.read().await?;
        assert_eq!(replaced.bytes.expose(), b"{\"two\":2}");
        assert_eq!(replaced.notes, second);
        assert_ne!(replaced.version, read.version);
        let described = emulator
            .call(
                "secretsmanager.DescribeSecret",
                &json!({"SecretId": "/app/env/keyset"}),
            )
            .await?;
        assert!(described.to_string().contains("payments"), "{described}");
    }
    Ok(())
}

#[tokio::test]
async fn nobody_replaces_what_another_wrote_in_between() -> Result<()> {
    for emulator in emulators("nobody_replaces_what_another_wrote_in_between").await? {
        let store = store(&emulator, "aws-secretsmanager://keyset").await?;
        let none = notes(&[]);
        store.write(&keyset(b"one"), &none, Expected::Absent).await?;
        assert!(is_conflict(
            store.write(&keyset(b"other"), &none, Expected::Absent).await
        ));
        let read = store.read().await?;
        // At the same moment, so that both look before either has written: the service decides.
        let (mine, theirs) = (keyset(b"mine"), keyset(b"theirs"));
        let expected = Expected::Version(&read.version);
        let (a, b) = tokio::join!(
            store.write(&mine, &none, expected),
            store.write(&theirs, &none, expected)
        );
        assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
        let winner: &[u8] = if a.is_ok() { b"mine" } else { b"theirs" };
        assert!(is_conflict(if a.is_ok() { b } else { a }));
        assert_eq!(store.read().await?.bytes.expose(), winner);
        // And long after.
        assert!(is_conflict(
            store.write(&mine, &none, Expected::Version(&read.version)).await
        ));
        assert_eq!(store.read().await?.bytes.expose(), winner);
    }
    Ok(())
}

#[tokio::test]
async fn binary_keysets_are_kept_as_bytes() -> Result<()> {
    for emulator in emulators("binary_keysets_are_kept_as_bytes").await? {
        let store = store(&emulator, "aws-secretsmanager://binary").await?;
        let bytes = keyset(&[0, 159, 146, 150, 255]);
        store.write(&bytes, &notes(&[]), Expected::Absent).await?;
        let read = store.read().await?;
        assert_eq!(read.bytes, bytes);
        let expected = Expected::Version(&read.version);
        let bytes = keyset(&[255, 0]);
        store.write(&bytes, &notes(&[]), expected).await?;
        assert_eq!(store.read().await?.bytes, bytes);
    }
    Ok(())
}

#[tokio::test]
async fn a_slash_that_is_lost_or_too_many_is_pointed_at() -> Result<()> {
    for emulator in emulators("a_slash_that_is_lost_or_too_many_is_pointed_at").await? {
        let made = store(&emulator, "aws-secretsmanager:///app/env/keyset").await?;
        made.write(&keyset(b"x"), &notes(&[]), Expected::Absent).await?;
        let lost = store(&emulator, "aws-secretsmanager://app/env/keyset").await?;
        assert_eq!(lost.location(), "aws-secretsmanager://app/env/keyset");
        assert!(matches!(lost.read().await, Err(CacheError::Miss)));
        let location = lost.location();
        for part in ["eu-west-2", "aws-secretsmanager:///app/env/keyset"] {
            assert!(location.contains(part), "{part} is missing in {location}");
        }
        let none = notes(&[]);
        let write = lost.write(&keyset(b"x"), &none, Expected::Version("v")).await;
        let error = write.err().context("it worked")?.to_string();
        assert!(error.contains("aws-secretsmanager:///app/env/keyset"), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_keyset_is_read_by_its_arn_and_without_its_notes() -> Result<()> {
    for emulator in emulators("a_keyset_is_read_by_its_arn_and_without_its_notes").await? {
        let secret = json!({"Name": "by/arn", "SecretString": "{}",
            "Tags": [{"Key": "cache-keyset/added", "Value": "x"}]});
        let made = emulator.call("secretsmanager.CreateSecret", &secret).await?;
        let arn = made["ARN"].as_str().context("no ARN")?;
        for uri in [arn.to_owned(), format!("aws-secretsmanager://{arn}")] {
            let store = store(&emulator, &uri).await?;
            assert_eq!(store.read().await?.notes, notes(&[("added", "x")]));
            let read = store.without_notes().read().await?;
            assert_eq!(
                (read.bytes.expose().as_slice(), read.notes.len()),
                (&b"{}"[..], 0)
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_secret_that_has_no_value_yet_is_given_one() -> Result<()> {
    // As an infrastructure tool makes it, which must not know the keyset.
    for emulator in emulators("a_secret_that_has_no_value_yet_is_given_one").await? {
        let secret = json!({"Name": "prepared"});
        let made = emulator.call("secretsmanager.CreateSecret", &secret).await?;
        let store = store(&emulator, made["ARN"].as_str().context("no ARN")?).await?;
        assert!(matches!(store.read().await, Err(CacheError::Miss)));
        let added = notes(&[("added", "x")]);
        store.write(&keyset(b"one"), &added, Expected::Absent).await?;
        let read = store.read().await?;
        assert_eq!((read.bytes.expose().as_slice(), read.notes), (&b"one"[..], added));
    }
    Ok(())
}

#[tokio::test]
async fn a_deleted_secret_is_named_as_such() -> Result<()> {
    for emulator in emulators("a_deleted_secret_is_named_as_such").await? {
        let store = store(&emulator, "aws-secretsmanager://gone").await?;
        store.write(&keyset(b"x"), &notes(&[]), Expected::Absent).await?;
        emulator
            .call("secretsmanager.DeleteSecret", &json!({"SecretId": "gone"}))
            .await?;
        let error = store.read().await.err().context("it was read")?.to_string();
        assert!(error.contains("restore"), "{error}");
    }
    Ok(())
}
