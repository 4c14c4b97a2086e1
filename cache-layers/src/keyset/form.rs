//! The forms in which a keyset is stored, and how they are distinguished.

use std::fmt;

/// The forms in which a keyset is stored. Tink reads and writes each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeysetForm {
    /// JSON, in clear.
    Json,
    /// JSON, encrypted; key ids and status are in clear.
    EncryptedJson,
    /// Protocol buffers, in clear.
    Binary,
    /// Protocol buffers, encrypted; key ids and status are in clear.
    EncryptedBinary,
}

impl KeysetForm {
    /// Whether key material is encrypted.
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::EncryptedJson | Self::EncryptedBinary)
    }

    /// The same notation, encrypted or in clear.
    #[must_use]
    pub const fn with_encryption(self, is_encrypted: bool) -> Self {
        match (self, is_encrypted) {
            (Self::Json | Self::EncryptedJson, false) => Self::Json,
            (Self::Json | Self::EncryptedJson, true) => Self::EncryptedJson,
            (Self::Binary | Self::EncryptedBinary, false) => Self::Binary,
            (Self::Binary | Self::EncryptedBinary, true) => Self::EncryptedBinary,
        }
    }

    /// The name as `cachectl` accepts and shows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::EncryptedJson => "encrypted-json",
            Self::Binary => "binary",
            Self::EncryptedBinary => "encrypted-binary",
        }
    }
}

impl fmt::Display for KeysetForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
