//! Keysets in Secrets Manager and keys of KMS.

use std::sync::Arc;

use cache_aws::{Aws, KmsKeyEncryption, SecretsManagerKeysetStore};
use cache_core::keyset::{KeyEncryption, KeysetStore};

use crate::failure::Failure;

pub(super) async fn secret(uri: &str) -> Result<Arc<dyn KeysetStore>, Failure> {
    let aws = Aws::builder().load().await?;
    Ok(Arc::new(SecretsManagerKeysetStore::new(&aws, uri)?))
}

pub(super) async fn key(uri: &str) -> Result<Arc<dyn KeyEncryption>, Failure> {
    let aws = Aws::builder().load().await?;
    Ok(Arc::new(KmsKeyEncryption::new(&aws, uri)?))
}
