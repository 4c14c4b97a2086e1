//! Any bytes as a ciphertext: opening fails, and does nothing else. The keyset has a key of each prefix, and ids that
//! the bytes can hit.
#![no_main]

use std::sync::LazyLock;

use cache_core::Secret;
use cache_layers::keyset::{Keyset, load};
use futures::executor::block_on;
use libfuzzer_sys::fuzz_target;

static KEYSET: LazyLock<Keyset> = LazyLock::new(|| {
    let key = |id: u32, prefix: &str| {
        format!(
            r#"{{"keyData": {{"typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmKey",
                "value": "GhCrq6urq6urq6urq6urq6ur"}}, "status": 1, "keyId": {id}, "outputPrefixType": "{prefix}"}}"#
        )
    };
    let keys = [key(1, "TINK"), key(1_717_986_918, "CRUNCHY"), key(0, "RAW")].join(",");
    let stored = format!(r#"{{"primaryKeyId": 1, "key": [{keys}]}}"#);
    block_on(load(&Secret::new(stored.into_bytes()), None)).unwrap()
});

/// Opens `bytes`. The fuzzer learns what it is compared with below, and may hand back what was sealed there.
fn check(bytes: &[u8]) {
    let opened = KEYSET.open(bytes, b"name");
    assert!(opened.is_err() || opened.is_ok_and(|text| text == b"text"));
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // With a right start, the rest is what is guessed.
    let mut sealed = KEYSET.seal(b"text", b"name").unwrap();
    let at = sealed.len().saturating_sub(bytes.len());
    let rest = &bytes[..bytes.len().min(sealed.len())];
    sealed.truncate(at);
    sealed.extend_from_slice(rest);
    check(&sealed);
});
