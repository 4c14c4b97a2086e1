//! Key material is in no error and no Debug form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_core::Secret;
use cache_layers::keyset::{KeysetEditor, KeysetForm, load};

use crate::rig::{Kek, key, keyset, material};

/// The key of every keyset here, in the forms in which it could come to light.
fn traces() -> Vec<String> {
    let list = |bytes: &[u8]| {
        let all = format!("{bytes:?}");
        all.trim_matches(['[', ']']).to_owned()
    };
    let key = [0x61; 8];
    vec![
        STANDARD.encode(material(0x61, 32))[4..20].to_owned(),
        list(&key),
        "61".repeat(8),
        "a".repeat(8),
    ]
}

fn assert_discreet(shown: &str) {
    for trace in traces() {
        assert!(!shown.contains(&trace), "{trace} in {shown}");
    }
}

#[tokio::test]
async fn debug_forms_show_no_key() {
    let stored = Secret::new(keyset(0x61, &[key(0x61)]).to_string().into_bytes());
    let keyset = load(&stored, None).await.unwrap();
    let (editor, _) = KeysetEditor::read(&stored, None).await.unwrap();
    let kek = Kek::new("kek");
    let written = editor.write(KeysetForm::Binary, None).await.unwrap();
    assert_discreet(&format!(
        "{stored:?} {keyset:?} {editor:#?} {kek:?} {written:?} {:?}",
        editor.info()
    ));
}

#[tokio::test]
async fn no_error_quotes_a_keyset() {
    let text = keyset(0x61, &[key(0x61)]).to_string();
    let mut refused = 0;
    // Every single change, and the value in places where it does not belong.
    let value = STANDARD.encode(material(0x61, 32));
    let mut broken: Vec<Vec<u8>> = ["ENABLED", "TINK", "SYMMETRIC", "primaryKeyId", "keyId", "status"]
        .iter()
        .map(|place| text.replace(place, &value).into_bytes())
        .collect();
    broken.push(
        text.replace("\"keyId\":97", &format!("\"keyId\":\"{value}\""))
            .into_bytes(),
    );
    for at in 0..text.len() {
        for byte in [b'"', b'}', b'x', 0xff] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = byte;
            broken.push(bytes);
        }
        broken.push(text.as_bytes()[..at].to_vec());
    }
    for bytes in broken {
        if let Err(error) = load(&Secret::new(bytes), None).await {
            refused += 1;
            assert_discreet(&format!("{error} {error:?}"));
        }
    }
    assert!(refused > 500, "{refused}");
}
