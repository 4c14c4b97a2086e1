//! Sealing and opening: prefixes, several keys, and everything that must not open.

use std::collections::HashSet;

use cache_layers::keyset::{Keyset, KeysetEditor, OpenError};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use serde_json::json;

use crate::rig::{key, key_with, keyset, loaded};

const PREFIXES: [(&str, Option<u8>); 4] = [
    ("TINK", Some(1)),
    ("LEGACY", Some(0)),
    ("CRUNCHY", Some(0)),
    ("RAW", None),
];

async fn with_prefix(id: u32, prefix: &str) -> Keyset {
    loaded(&keyset(
        id,
        &[key_with(id, &[("/outputPrefixType", json!(prefix))])],
    ))
    .await
    .unwrap()
}

fn fresh() -> Keyset {
    KeysetEditor::create().unwrap().keyset().unwrap()
}

#[tokio::test]
async fn a_ciphertext_is_prefix_nonce_text_and_tag() {
    for (prefix, first) in PREFIXES {
        let keyset = with_prefix(0x0102_0304, prefix).await;
        let sealed = keyset.seal(b"text", b"name").unwrap();
        let expected: &[u8] = match first {
            Some(first) => &[first, 1, 2, 3, 4],
            None => &[],
        };
        assert!(sealed.starts_with(expected), "{prefix}");
        assert_eq!(sealed.len(), expected.len() + 12 + 4 + 16, "{prefix}");
        assert_eq!(sealed.capacity(), sealed.len(), "{prefix}: no room is wasted");
        assert_eq!(keyset.open(&sealed, b"name").unwrap(), b"text", "{prefix}");
    }
}

#[tokio::test]
async fn legacy_and_crunchy_keys_of_the_same_material_read_each_other() {
    let sealed = with_prefix(1, "LEGACY").await.seal(b"text", b"").unwrap();
    assert_eq!(
        with_prefix(1, "CRUNCHY").await.open(&sealed, b"").unwrap(),
        b"text"
    );
    let tink = with_prefix(1, "TINK").await.open(&sealed, b"");
    assert_eq!(tink, Err(OpenError::UnknownKey { key_id: 1 }));
}

#[tokio::test]
async fn raw_keys_are_tried_on_what_no_named_key_opens() {
    let sealed = with_prefix(7, "RAW").await.seal(b"text", b"").unwrap();
    let raw = key_with(7, &[("/outputPrefixType", json!("RAW"))]);
    let both = loaded(&keyset(1, &[key(1), raw])).await.unwrap();
    assert_eq!(both.open(&sealed, b"").unwrap(), b"text");

    // Also when the nonce looks like the prefix of a key that is there.
    let aws = aws_lc_sealed_raw(7, [1, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9]);
    assert_eq!(both.open(&aws, b"").unwrap(), b"text");
}

/// Sealed by the key of [`key`] without a prefix and with a chosen nonce.
fn aws_lc_sealed_raw(id: u8, nonce: [u8; 12]) -> Vec<u8> {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[id; 32]).unwrap());
    let mut text = b"text".to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut text)
        .unwrap();
    [&nonce[..], &text].concat()
}

#[tokio::test]
async fn keys_that_share_an_id_are_all_tried() {
    // Two keys with the same id, and different material.
    let other = key_with(2, &[("/keyData/value", key(9)["keyData"]["value"].clone())]);
    let sealed = loaded(&keyset(2, std::slice::from_ref(&other)))
        .await
        .unwrap()
        .seal(b"text", b"")
        .unwrap();
    let both = loaded(&keyset(1, &[key(1), key(2), other])).await.unwrap();
    assert_eq!(both.open(&sealed, b"").unwrap(), b"text");
}

#[tokio::test]
async fn a_disabled_key_opens_nothing() {
    let sealed = loaded(&keyset(2, &[key(2)]))
        .await
        .unwrap()
        .seal(b"text", b"")
        .unwrap();
    let disabled = key_with(2, &[("/status", json!("DISABLED"))]);
    let keyset = loaded(&keyset(1, &[key(1), disabled])).await.unwrap();
    assert_eq!(
        keyset.open(&sealed, b""),
        Err(OpenError::UnknownKey { key_id: 2 })
    );
}

#[tokio::test]
async fn every_flipped_bit_is_refused() {
    for (prefix, _) in PREFIXES {
        let keyset = with_prefix(0x0102_0304, prefix).await;
        let sealed = keyset.seal(b"a secret", b"name").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut tampered = sealed.clone();
            tampered[bit / 8] ^= 1 << (bit % 8);
            assert!(keyset.open(&tampered, b"name").is_err(), "{prefix}, bit {bit}");
        }
    }
}

#[tokio::test]
async fn every_truncation_and_extension_is_refused() {
    for (prefix, _) in PREFIXES {
        let keyset = with_prefix(1, prefix).await;
        let sealed = keyset.seal(b"a secret", b"name").unwrap();
        for len in 0..sealed.len() {
            assert!(
                keyset.open(&sealed[..len], b"name").is_err(),
                "{prefix}, the first {len}"
            );
            assert!(
                keyset.open(&sealed[len + 1..], b"name").is_err(),
                "{prefix}, from {len}"
            );
        }
        let longer = [&sealed[..], &[0]].concat();
        assert!(keyset.open(&longer, b"name").is_err(), "{prefix}");
    }
}

#[test]
fn other_associated_data_is_refused() {
    let keyset = fresh();
    let sealed = keyset.seal(b"a secret", b"name").unwrap();
    for other in [&b""[..], b"nam", b"names", b"Name"] {
        assert_eq!(keyset.open(&sealed, other), Err(OpenError::Refused));
    }
}

#[tokio::test]
async fn errors_say_which_of_the_three_it_is() {
    let keyset = with_prefix(1, "TINK").await;
    assert_eq!(keyset.open(&[], b""), Err(OpenError::TooShort));
    assert_eq!(keyset.open(&[1; 32], b""), Err(OpenError::TooShort));
    assert_eq!(
        keyset.open(&[1; 33], b""),
        Err(OpenError::UnknownKey { key_id: 0x0101_0101 })
    );
    assert_eq!(
        keyset.open(&[0; 33], b""),
        Err(OpenError::UnknownKey { key_id: 0 })
    );
    assert_eq!(keyset.open(&[2; 33], b""), Err(OpenError::Refused));
    let raw = with_prefix(1, "RAW").await;
    assert_eq!(raw.open(&[2; 27], b""), Err(OpenError::TooShort));
    assert_eq!(raw.open(&[2; 28], b""), Err(OpenError::Refused));
}

#[test]
fn no_nonce_is_drawn_twice() {
    let keyset = fresh();
    let mut nonces = HashSet::new();
    for _ in 0..10_000 {
        assert!(nonces.insert(keyset.seal(b"", b"").unwrap()[5..17].to_vec()));
    }
}

fn text(len: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..len)
}

proptest! {
    #[test]
    fn what_is_sealed_opens_and_only_there(plaintext in text(2000), name in text(100), other in text(100)) {
        let keyset = fresh();
        let sealed = keyset.seal(&plaintext, &name).unwrap();
        prop_assert_eq!(keyset.open(&sealed, &name).unwrap(), plaintext);
        if other != name {
            prop_assert_eq!(keyset.open(&sealed, &other), Err(OpenError::Refused));
        }
        prop_assert!(fresh().open(&sealed, &name).is_err());
    }

    #[test]
    fn foreign_bytes_never_open(bytes in text(200)) {
        prop_assert!(fresh().open(&bytes, b"").is_err());
    }
}
