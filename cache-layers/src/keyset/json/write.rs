//! The writers of JSON keysets, in the layout of Tink's own.
//!
//! The text is built by hand in a buffer that is large enough. A serializer would leave copies of the key material
//! wherever its buffer grew.

use cache_core::Secret;
use zeroize::Zeroizing;

use super::super::info::{KeyStatus, OutputPrefix};
use super::super::proto::{EncryptedKeyset, Keyset, KeysetInfo};
use super::base64;

/// An upper bound for a key without its texts of variable length.
const PER_KEY: usize = 512;

/// A keyset in clear.
pub(in super::super) fn write(keyset: &Keyset) -> Secret<Vec<u8>> {
    let variable: usize = keyset
        .key
        .iter()
        .filter_map(|key| key.key_data.as_ref())
        .map(|data| 6 * data.type_url.len() + 2 * data.value.len())
        .sum();
    let mut text = Text::with_capacity(PER_KEY * (keyset.key.len() + 1) + variable);
    text.push(&format!(
        "{{\n  \"primaryKeyId\": {},\n  \"key\": [",
        keyset.primary_key_id
    ));
    for (index, key) in keyset.key.iter().enumerate() {
        text.push(if index == 0 { "\n    {" } else { ",\n    {" });
        if let Some(data) = &key.key_data {
            text.push("\n      \"keyData\": {\n        \"typeUrl\": ");
            text.quoted(&data.type_url);
            text.push(",\n        \"value\": \"");
            text.base64(&data.value);
            text.push(&format!(
                "\",\n        \"keyMaterialType\": {}\n      }},",
                material(data.key_material_type)
            ));
        }
        text.key_state("      ", key.status, key.key_id, key.output_prefix_type);
        text.push("\n    }");
    }
    text.push("\n  ]\n}\n");
    text.finish()
}

/// An encrypted keyset.
pub(in super::super) fn write_encrypted(keyset: &EncryptedKeyset) -> Secret<Vec<u8>> {
    let mut text = Text::with_capacity(PER_KEY + 2 * keyset.encrypted_keyset.len());
    text.push("{\n  \"encryptedKeyset\": \"");
    text.base64(&keyset.encrypted_keyset);
    text.push("\"");
    if let Some(info) = &keyset.keyset_info {
        text.info(info);
    }
    text.push("\n}\n");
    text.finish()
}

struct Text(Zeroizing<Vec<u8>>);

impl Text {
    fn with_capacity(capacity: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(capacity)))
    }

    fn push(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn base64(&mut self, bytes: &[u8]) {
        base64::encode_to(bytes, &mut self.0);
    }

    fn quoted(&mut self, text: &str) {
        self.push(&serde_json::Value::from(text).to_string());
    }

    fn info(&mut self, info: &KeysetInfo) {
        self.push(&format!(
            ",\n  \"keysetInfo\": {{\n    \"primaryKeyId\": {},\n    \"keyInfo\": [",
            info.primary_key_id
        ));
        for (index, key) in info.key_info.iter().enumerate() {
            self.push(if index == 0 { "\n      {" } else { ",\n      {" });
            self.push("\n        \"typeUrl\": ");
            self.quoted(&key.type_url);
            self.push(",");
            self.key_state("        ", key.status, key.key_id, key.output_prefix_type);
            self.push("\n      }");
        }
        self.push("\n    ]\n  }");
    }

    fn key_state(&mut self, indent: &str, status: i32, id: u32, prefix: i32) {
        let status = KeyStatus::of(status).map_or_else(|| status.to_string(), |status| upper(status.name()));
        let prefix =
            OutputPrefix::of(prefix).map_or_else(|| prefix.to_string(), |prefix| upper(prefix.name()));
        self.push(&format!(
            "\n{indent}\"status\": {status},\n{indent}\"keyId\": {id},\n{indent}\"outputPrefixType\": {prefix}"
        ));
    }

    fn finish(mut self) -> Secret<Vec<u8>> {
        Secret::new(std::mem::take(&mut *self.0))
    }
}

fn upper(name: &str) -> String {
    format!("\"{}\"", name.to_ascii_uppercase())
}

fn material(number: i32) -> String {
    match number {
        super::super::proto::SYMMETRIC => "\"SYMMETRIC\"".to_owned(),
        other => other.to_string(),
    }
}
