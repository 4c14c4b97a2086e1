//! Sources of value encryption.
//!
//! Not in here: keysets and encryption itself (`cache_layers::keyset`, `cache_layers::Encrypted`).

use std::path::PathBuf;
use std::time::Duration;

/// How values are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncryptionConfig {
    /// Where the keyset is.
    pub keyset: KeysetLocation,
    /// How an encrypted value is stored. Default: [`StoredForm::Tink`].
    pub form: StoredForm,
    /// How a reader treats a value that is not encrypted. Default: [`PlaintextEntries::Miss`].
    pub plaintext: PlaintextEntries,
    /// How often the keyset is read again. Default: 15 minutes.
    pub refresh: Duration,
}

impl EncryptionConfig {
    /// The defaults, with the keyset at `keyset`.
    #[must_use]
    pub const fn new(keyset: KeysetLocation) -> Self {
        Self {
            keyset,
            form: StoredForm::Tink,
            plaintext: PlaintextEntries::Miss,
            refresh: Duration::from_secs(15 * 60),
        }
    }

    /// How an encrypted value is stored. Default: [`StoredForm::Tink`].
    #[must_use]
    pub const fn with_form(mut self, form: StoredForm) -> Self {
        self.form = form;
        self
    }

    /// How a reader treats a value that is not encrypted. Default: [`PlaintextEntries::Miss`].
    #[must_use]
    pub const fn with_plaintext(mut self, plaintext: PlaintextEntries) -> Self {
        self.plaintext = plaintext;
        self
    }

    /// How often the keyset is read again, from 1 s to 1 day. Default: 15 minutes.
    #[must_use]
    pub const fn with_refresh(mut self, refresh: Duration) -> Self {
        self.refresh = refresh;
        self
    }
}

/// Where a keyset is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeysetLocation {
    /// An unencrypted keyset in a file, for development.
    File {
        /// The file's path.
        path: PathBuf,
    },
    /// A keyset in a secret store, encrypted under a key of a key-management service.
    Envelope {
        /// Where the encrypted keyset is.
        keyset_uri: String,
        /// The key that decrypts it.
        kms_key_uri: String,
    },
}

/// How an encrypted value is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoredForm {
    /// The plain Tink ciphertext, under the unchanged key.
    #[default]
    Tink,
    /// As chinmina-bridge stores it, so that both can share entries. The key is `enc:` + name, the value is
    /// `cb-enc:` + base64 of the Tink ciphertext.
    ChinminaBridge,
}

/// How a reader treats a value that is not encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaintextEntries {
    /// As a miss.
    #[default]
    Miss,
    /// It is read, but every write is encrypted. For the transition to encryption.
    Read,
}
