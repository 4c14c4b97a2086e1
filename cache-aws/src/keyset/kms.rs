//! A KMS key that encrypts keysets.
//!
//! Not in here: where the encrypted keyset is kept (`store.rs`).

use std::fmt::{self, Write as _};

use async_trait::async_trait;
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::Blob;
use cache_core::keyset::KeyEncryption;
use cache_core::{CacheError, Secret};

use super::uri;
use crate::account::{Aws, AwsService};
use crate::error::{Request, code, translate};
use crate::quiet::quiet;

/// The most bytes that KMS encrypts in one request.
const MOST: usize = 4096;

/// The name under which Tink puts associated data into the encryption context.
const CONTEXT: &str = "associatedData";

/// Encrypts keysets under a KMS key, as Tink's AWS KMS integration does: what one encrypts the other decrypts.
///
/// The URI is `aws-kms://ARN` with the ARN of a key or an alias, `aws-kms://alias/NAME` or `aws-kms://KEY-ID`. An ARN also
/// says the region. Associated data goes into the encryption context as `associatedData`, in hexadecimal; if there is
/// none the context is empty.
pub struct KmsKeyEncryption {
    client: Client,
    aws: Aws,
    /// The key as KMS takes it.
    id: String,
    uri: String,
}

impl KmsKeyEncryption {
    /// The key that `uri` names. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`CacheError::Config`] if `uri` is not the URI of a KMS key.
    pub fn new(aws: &Aws, uri: &str) -> Result<Self, CacheError> {
        let name = uri::key(uri)?;
        let aws = match name.region {
            Some(region) => aws.in_region(region),
            None => aws.clone(),
        };
        Ok(Self {
            client: Client::new(&aws.sdk_config(AwsService::Kms)),
            aws,
            id: name.id,
            uri: uri.to_owned(),
        })
    }

    fn translate<E>(&self, permission: &'static str, error: &SdkError<E, HttpResponse>) -> CacheError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let rejected = |code: &'static str, what: &str| CacheError::Rejected {
            code: code.into(),
            detail: format!("the KMS key {} in {} {what}", self.id, self.aws.region()).into(),
        };
        match code(error) {
            Some("DisabledException") => rejected(
                "Disabled",
                "is disabled; enable it (aws kms enable-key), or name the key that replaced it (CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI)",
            ),
            Some("KMSInvalidStateException") => rejected(
                "KMSInvalidState",
                "cannot be used in its state; check whether it waits for its deletion (aws kms cancel-key-deletion) or for its material",
            ),
            Some("InvalidKeyUsageException") => rejected(
                "InvalidKeyUsage",
                "does not encrypt and decrypt; it must be a symmetric key with the usage ENCRYPT_DECRYPT",
            ),
            Some("NotFoundException") => rejected(
                "NotFound",
                "does not exist; check the account, the region and CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI",
            ),
            Some("IncorrectKeyException") => self.corrupt("was encrypted under another KMS key"),
            Some("InvalidCiphertextException") => self.corrupt(
                "was encrypted under another KMS key or in another region, with other associated data, or has been changed",
            ),
            _ => {
                let request = Request::new(&self.aws, AwsService::Kms, permission, &self.id);
                translate(&request, error)
            }
        }
    }

    fn corrupt(&self, what: &str) -> CacheError {
        CacheError::Corrupt {
            detail: format!(
                "the keyset does not open under {}: it {what}; check CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI and CACHE_ENCRYPTION_KEYSET_URI",
                self.uri
            )
            .into(),
            source: None,
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl KeyEncryption for KmsKeyEncryption {
    fn name(&self) -> String {
        self.uri.clone()
    }

    async fn encrypt(
        &self,
        plaintext: &Secret<Vec<u8>>,
        associated_data: &[u8],
    ) -> Result<Vec<u8>, CacheError> {
        let length = plaintext.expose().len();
        if length == 0 || length > MOST {
            return Err(CacheError::InvalidInput {
                argument: "plaintext",
                reason: format!(
                    "KMS encrypts from 1 to {MOST} bytes and the keyset has {length}; delete keys that are no longer used"
                )
                .into(),
            });
        }
        let mut request = self
            .client
            .encrypt()
            .key_id(&self.id)
            .plaintext(Blob::new(plaintext.expose().clone()));
        if !associated_data.is_empty() {
            request = request.encryption_context(CONTEXT, hex(associated_data));
        }
        let answer = quiet(request.send())
            .await
            .map_err(|error| self.translate("kms:Encrypt", &error))?;
        let ciphertext = answer.ciphertext_blob.map(Blob::into_inner);
        ciphertext.ok_or_else(|| CacheError::Corrupt {
            detail: "KMS answered kms:Encrypt without a ciphertext".into(),
            source: None,
        })
    }

    async fn decrypt(
        &self,
        ciphertext: &[u8],
        associated_data: &[u8],
    ) -> Result<Secret<Vec<u8>>, CacheError> {
        if ciphertext.is_empty() {
            return Err(self.corrupt("is empty"));
        }
        // The key is named, although KMS could derive it from the ciphertext, so that no other key may have
        // encrypted a keyset.
        let mut request = self
            .client
            .decrypt()
            .key_id(&self.id)
            .ciphertext_blob(Blob::new(ciphertext));
        if !associated_data.is_empty() {
            request = request.encryption_context(CONTEXT, hex(associated_data));
        }
        let answer = quiet(request.send())
            .await
            .map_err(|error| self.translate("kms:Decrypt", &error))?;
        let plaintext = answer.plaintext.map(|blob| Secret::new(blob.into_inner()));
        plaintext.ok_or_else(|| self.corrupt("decrypts to nothing"))
    }
}

impl fmt::Debug for KmsKeyEncryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KmsKeyEncryption")
            .field("uri", &self.uri)
            .field("region", &self.aws.region())
            .finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
