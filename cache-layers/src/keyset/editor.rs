//! Creates and changes keysets.
//!
//! Not in here: when a change is safe for services that use the keyset (the rotation schedule of `cachectl keyset`
//! says that), and where the keyset is stored.

use cache_core::keyset::KeyEncryption;
use cache_core::{CacheError, Secret};

use super::aead::{Keyset, no_randomness};
use super::form::KeysetForm;
use super::info::KeysetInfo;
use super::{binary, check, json, load, proto, wrap};

/// A keyset that can be changed and written. Key material is wiped on drop and never shown.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use cache_layers::keyset::{KeysetEditor, KeysetForm, load};
///
/// let mut editor = KeysetEditor::create()?;
/// let added = editor.add()?;
/// editor.promote(added)?;
/// let stored = editor.write(KeysetForm::Json, None).await?;
/// assert_eq!(load(&stored, None).await?.primary_key_id(), added);
/// # Ok::<(), cache_core::CacheError>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct KeysetEditor {
    keyset: proto::Keyset,
}

impl KeysetEditor {
    /// A new keyset with one new key, its primary: AES-256-GCM, prefix TINK.
    ///
    /// # Errors
    ///
    /// [`CacheError::Unavailable`] if the system has no random numbers.
    pub fn create() -> Result<Self, CacheError> {
        let mut editor = Self {
            keyset: proto::Keyset::default(),
        };
        editor.keyset.primary_key_id = editor.add()?;
        Ok(editor)
    }

    /// Reads a stored keyset to change it, and says in which form it is stored.
    ///
    /// # Errors
    ///
    /// As [`load`](super::load()).
    pub async fn read(
        stored: &Secret<Vec<u8>>,
        kek: Option<&dyn KeyEncryption>,
    ) -> Result<(Self, KeysetForm), CacheError> {
        let (keyset, form) = load::decrypted(stored, kek).await?;
        check::usable(&keyset)?;
        Ok((Self { keyset }, form))
    }

    /// Returns the stored form of the keyset, after a proof that it can be used. An encrypted form needs `kek`, which
    /// must also be able to decrypt.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] if `kek` is missing for an encrypted form or given for another one. Also as
    /// [`KeyEncryption::encrypt`] and [`KeyEncryption::decrypt`].
    pub async fn write(
        &self,
        form: KeysetForm,
        kek: Option<&dyn KeyEncryption>,
    ) -> Result<Secret<Vec<u8>>, CacheError> {
        load::prove(check::usable(&self.keyset)?)?;
        match (form, kek) {
            (KeysetForm::Json, None) => Ok(json::write(&self.keyset)),
            (KeysetForm::Binary, None) => Ok(binary::write(&self.keyset)),
            (KeysetForm::EncryptedJson, Some(kek)) => {
                Ok(json::write_encrypted(&wrap::encrypt(&self.keyset, kek).await?))
            }
            (KeysetForm::EncryptedBinary, Some(kek)) => {
                Ok(binary::write(&wrap::encrypt(&self.keyset, kek).await?))
            }
            (KeysetForm::Json | KeysetForm::Binary, Some(_)) => Err(CacheError::InvalidInput {
                argument: "kek",
                reason: "a keyset in clear takes no key-encryption key; choose an encrypted form".into(),
            }),
            (KeysetForm::EncryptedJson | KeysetForm::EncryptedBinary, None) => {
                Err(CacheError::InvalidInput {
                    argument: "kek",
                    reason: "an encrypted keyset needs a key-encryption key".into(),
                })
            }
        }
    }

    /// Returns the keyset to seal and open with.
    ///
    /// # Errors
    ///
    /// [`CacheError::Unavailable`] if the system has no random numbers.
    pub fn keyset(&self) -> Result<Keyset, CacheError> {
        load::prove(check::usable(&self.keyset)?)
    }

    /// Returns what may be shown of the keyset.
    #[must_use]
    pub fn info(&self) -> KeysetInfo {
        KeysetInfo::of(&self.keyset.info())
    }

    /// Returns what a stored keyset shows without its key-encryption key, and its form. For an encrypted keyset this
    /// is what its writer noted next to the ciphertext. Nothing proves that it is right, and it may be missing.
    ///
    /// # Errors
    ///
    /// [`CacheError::Corrupt`] if it is no keyset.
    pub fn peek(stored: &Secret<Vec<u8>>) -> Result<(Option<KeysetInfo>, KeysetForm), CacheError> {
        load::shown(stored.expose())
    }

    /// Adds a new enabled key (AES-256-GCM, prefix TINK) that opens and does not seal yet, and returns its id.
    ///
    /// # Errors
    ///
    /// [`CacheError::Unavailable`] if the system has no random numbers.
    pub fn add(&mut self) -> Result<u32, CacheError> {
        let key_id = self.unused_id()?;
        let mut value = check::new_material()?;
        self.keyset.key.push(proto::Key {
            key_data: Some(proto::KeyData {
                type_url: proto::AES_GCM.to_owned(),
                value: std::mem::take(&mut *value),
                key_material_type: proto::SYMMETRIC,
            }),
            status: proto::ENABLED,
            key_id,
            output_prefix_type: proto::TINK,
        });
        Ok(key_id)
    }

    /// Makes the key `id` the primary: the one that seals. Returns whether it was not.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] if there is no such key, it is not enabled, or its id is not unique.
    pub fn promote(&mut self, id: u32) -> Result<bool, CacheError> {
        if self.key(id)?.status != proto::ENABLED {
            return Err(wrong_key(format!(
                "key {id} is not enabled, and only an enabled key can seal"
            )));
        }
        let is_new = self.keyset.primary_key_id != id;
        self.keyset.primary_key_id = id;
        Ok(is_new)
    }

    /// Disables the key `id`: it does not open any more, and can be enabled again. Returns whether it was enabled.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] if there is no such key, it is the primary or destroyed, or its id is not unique.
    pub fn disable(&mut self, id: u32) -> Result<bool, CacheError> {
        self.set_status(id, proto::DISABLED)
    }

    /// Enables the key `id` again. Returns whether it was disabled.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] if there is no such key, it is destroyed, or its id is not unique;
    /// [`CacheError::Corrupt`] if it is a key that cannot be used here, such as one of another type.
    pub fn enable(&mut self, id: u32) -> Result<bool, CacheError> {
        let is_new = self.set_status(id, proto::ENABLED)?;
        if let Err(invalid) = check::usable(&self.keyset) {
            self.set_status(id, proto::DISABLED)?;
            return Err(invalid.into());
        }
        Ok(is_new)
    }

    /// Removes the key `id` with its material. What it sealed can never be opened again.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] if there is no such key, it is the primary, or its id is not unique.
    pub fn delete(&mut self, id: u32) -> Result<(), CacheError> {
        self.key(id)?;
        self.refuse_primary(id, "deleted")?;
        self.keyset.key.retain(|key| key.key_id != id);
        Ok(())
    }

    fn set_status(&mut self, id: u32, status: i32) -> Result<bool, CacheError> {
        let was = self.key(id)?.status;
        if was == proto::DESTROYED {
            return Err(wrong_key(format!("key {id} is destroyed: its material is gone")));
        }
        if status != proto::ENABLED {
            self.refuse_primary(id, "disabled")?;
        }
        for key in self.keyset.key.iter_mut().filter(|key| key.key_id == id) {
            key.status = status;
        }
        Ok(was != status)
    }

    fn refuse_primary(&self, id: u32, what: &str) -> Result<(), CacheError> {
        if self.keyset.primary_key_id == id {
            return Err(wrong_key(format!(
                "key {id} is the primary and cannot be {what}; promote another key first"
            )));
        }
        Ok(())
    }

    fn key(&self, id: u32) -> Result<&proto::Key, CacheError> {
        let mut with_id = self.keyset.key.iter().filter(|key| key.key_id == id);
        let Some(key) = with_id.next() else {
            return Err(wrong_key(format!("the keyset has no key {id}")));
        };
        if with_id.next().is_some() {
            return Err(wrong_key(format!(
                "more than one key has the id {id}; only a tool that made such a keyset can change these keys"
            )));
        }
        Ok(key)
    }

    /// Returns a random id that is not zero. Tools that read it as a signed number also show it unchanged.
    fn unused_id(&self) -> Result<u32, CacheError> {
        loop {
            let mut bytes = [0; 4];
            aws_lc_rs::rand::fill(&mut bytes).map_err(|_| no_randomness())?;
            let id = u32::from_be_bytes(bytes) & 0x7fff_ffff;
            if id != 0 && self.keyset.key.iter().all(|key| key.key_id != id) {
                return Ok(id);
            }
        }
    }
}

fn wrong_key(reason: String) -> CacheError {
    CacheError::InvalidInput {
        argument: "key id",
        reason: reason.into(),
    }
}

impl std::fmt::Debug for KeysetEditor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeysetEditor")
            .field("info", &self.info())
            .finish_non_exhaustive()
    }
}
