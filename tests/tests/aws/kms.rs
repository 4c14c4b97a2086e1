//! KMS keys that encrypt keysets: what they open, and what each refusal says.

use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_aws::KmsKeyEncryption;
use cache_core::keyset::KeyEncryption as _;
use cache_core::{CacheError, Secret};
use serde_json::json;
use tests::Emulator;

use crate::double::{Answer, Double};
use crate::setup::{at, emulators, fixed};

fn keyset() -> Secret<Vec<u8>> {
    b"a keyset in clear".to_vec().into()
}

/// Makes a key with an alias and returns its ARN.
async fn make_key(emulator: &Emulator, alias: &str) -> Result<String> {
    let made = emulator.call("TrentService.CreateKey", &json!({})).await?;
    let arn = made["KeyMetadata"]["Arn"].as_str().context("no ARN")?.to_owned();
    let alias = json!({"AliasName": format!("alias/{alias}"), "TargetKeyId": arn});
    emulator.call("TrentService.CreateAlias", &alias).await?;
    Ok(arn)
}

#[tokio::test]
async fn a_key_opens_what_it_encrypted_by_arn_and_by_alias() -> Result<()> {
    for emulator in emulators("a_key_opens_what_it_encrypted_by_arn_and_by_alias").await? {
        let arn = make_key(&emulator, "keysets").await?;
        let aws = at(emulator.url()).await?;
        for uri in [format!("aws-kms://{arn}"), "aws-kms://alias/keysets".to_owned()] {
            let key = KmsKeyEncryption::new(&aws, &uri)?;
            for context in [&b""[..], b"billing"] {
                let ciphertext = key.encrypt(&keyset(), context).await?;
                assert!(!ciphertext.windows(6).any(|part| part == b"keyset"));
                let opened = key.decrypt(&ciphertext, context).await?;
                assert_eq!(opened, keyset(), "{uri}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn other_associated_data_and_changed_bytes_are_refused() -> Result<()> {
    for (index, emulator) in emulators("other_associated_data_and_changed_bytes_are_refused")
        .await?
        .into_iter()
        .enumerate()
    {
        let arn = make_key(&emulator, "keysets").await?;
        let key = KmsKeyEncryption::new(&at(emulator.url()).await?, &arn)?;
        let ciphertext = key.encrypt(&keyset(), b"billing").await?;
        let mut changed = ciphertext.clone();
        if let Some(last) = changed.last_mut() {
            *last ^= 1;
        }
        let mut cases = vec![
            (ciphertext.clone(), &b""[..]),
            (ciphertext, b"orders"),
            (Vec::new(), b"billing"),
        ];
        // The second emulator, ministack, decrypts changed bytes.
        if index == 0 {
            cases.push((changed, b"billing"));
        }
        for (bytes, context) in &cases {
            let error = key.decrypt(bytes, context).await.err().context("it was opened")?;
            assert!(matches!(error, CacheError::Corrupt { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI"), "{text}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_does_not_exist_is_named_with_its_region() -> Result<()> {
    for emulator in emulators("a_key_that_does_not_exist_is_named_with_its_region").await? {
        let aws = at(emulator.url()).await?;
        let key = KmsKeyEncryption::new(&aws, "aws-kms://alias/nowhere")?;
        let error = key.encrypt(&keyset(), b"").await.err().context("it worked")?;
        let text = error.to_string();
        assert!(
            text.contains("alias/nowhere in eu-west-2 does not exist"),
            "{text}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_keyset_that_is_too_large_is_refused_before_it_is_sent() -> Result<()> {
    let double = Double::start(|_| Answer::Hangup).await?;
    let key = KmsKeyEncryption::new(&at(double.url()).await?, "aws-kms://alias/keysets")?;
    let error = key.encrypt(&vec![1; 4097].into(), b"").await;
    let text = error.err().context("it worked")?.to_string();
    assert!(text.contains("4096"), "{text}");
    assert_eq!(double.asked(), 0);
    Ok(())
}

#[tokio::test]
async fn every_refusal_of_kms_says_something_else_to_check() -> Result<()> {
    // None of the emulators refuses like this.
    let cases = [
        ("DisabledException", "rejected", "aws kms enable-key"),
        ("KMSInvalidStateException", "rejected", "cancel-key-deletion"),
        ("InvalidKeyUsageException", "rejected", "ENCRYPT_DECRYPT"),
        ("NotFoundException", "rejected", "check the account, the region"),
        ("IncorrectKeyException", "corrupt", "under another KMS key;"),
        (
            "InvalidCiphertextException",
            "corrupt",
            "with other associated data",
        ),
        (
            "AccessDeniedException",
            "denied",
            "allow kms:Decrypt on alias/keysets",
        ),
        ("KeyUnavailableException", "unavailable", "KMS for kms:Decrypt"),
        ("ThrottlingException", "unavailable", "throttles kms:Decrypt"),
    ];
    for (code, kind, part) in cases {
        let double = Double::start(move |_| Answer::error(400, code, "no")).await?;
        let aws = fixed()
            .endpoint(double.url())
            .call_timeout(Duration::from_secs(20))
            .load()
            .await?;
        let key = KmsKeyEncryption::new(&aws, "aws-kms://alias/keysets")?;
        let error = key.decrypt(b"sealed", b"").await.err().context("it worked")?;
        assert_eq!(error.kind(), kind, "{code}: {error}");
        assert!(error.to_string().contains(part), "{code}: {error}");
    }
    Ok(())
}
