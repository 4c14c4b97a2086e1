//! Where the keyset comes from, and the explanation of errors on the way.
//!
//! Not in here: when it is fetched (`refresh.rs`).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use cache_core::config::Problem;
use cache_core::keyset::{KeyEncryption, KeysetStore};
use cache_core::{CacheError, ConfigError, Outcome, Unavailability};

use crate::keyset::{Keyset, load};

/// A store, and the key that decrypts what it holds.
#[derive(Debug)]
pub(super) struct Source {
    store: Arc<dyn KeysetStore>,
    key: Option<Arc<dyn KeyEncryption>>,
    limit: Duration,
}

impl Source {
    pub(super) fn new(
        store: Arc<dyn KeysetStore>,
        key: Option<Arc<dyn KeyEncryption>>,
        limit: Duration,
    ) -> Self {
        Self { store, key, limit }
    }

    pub(super) fn location(&self) -> String {
        self.store.location()
    }

    pub(super) fn encrypted_under(&self) -> Option<String> {
        self.key.as_ref().map(|key| key.name())
    }

    /// Reads, decrypts and proves the keyset, within the time limit.
    pub(super) async fn fetch(&self) -> Result<Keyset, CacheError> {
        let fetched = async {
            let stored = self.store.read().await?;
            load(&stored.bytes, self.key.as_deref()).await
        };
        match tokio::time::timeout(self.limit, fetched).await {
            Ok(fetched) => fetched.map_err(|error| self.explain(error)),
            Err(_) => Err(self.too_slow()),
        }
    }

    fn too_slow(&self) -> CacheError {
        let limit = humantime::format_duration(self.limit);
        CacheError::Unavailable {
            reason: Unavailability::NotReady,
            detail: format!(
                "{} did not come within {limit}; check that this host reaches the services that hold it",
                self.place()
            )
            .into(),
            outcome: Outcome::NotApplied,
            source: None,
        }
    }

    /// The keyset's location and the name of its key, for messages.
    fn place(&self) -> String {
        match self.encrypted_under() {
            Some(key) => format!("the keyset at {} (encrypted under {key})", self.location()),
            None => format!("the keyset at {}", self.location()),
        }
    }

    /// Adds to an error what an operator has to check.
    fn explain(&self, error: CacheError) -> CacheError {
        let place = self.place();
        let at = |detail: &Cow<'static, str>, check: &str| -> Cow<'static, str> {
            format!("{place}: {detail}{check}").into()
        };
        match error {
            CacheError::Miss => CacheError::Config(ConfigError::one(
                "keyset",
                format!(
                    "there is none at {}; check the location, or create one with `cachectl keyset create`",
                    self.location()
                ),
            )),
            CacheError::Timeout { .. } => self.too_slow(),
            CacheError::Unauthorized { detail, source } => CacheError::Unauthorized {
                detail: at(
                    &detail,
                    "; check the credentials and their permissions to read the keyset and to decrypt with its key",
                ),
                source,
            },
            CacheError::Denied { command, detail } => CacheError::Denied {
                detail: at(&detail, "; the role needs the permission for this"),
                command,
            },
            CacheError::Unavailable {
                reason,
                detail,
                outcome,
                source,
            } => CacheError::Unavailable {
                reason,
                detail: at(&detail, ""),
                outcome,
                source,
            },
            CacheError::Corrupt { detail, source } => CacheError::Corrupt {
                detail: at(
                    &detail,
                    if self.key.is_some() {
                        "; check that the location holds a Tink keyset and that this is the key which encrypted it"
                    } else {
                        "; check that the location holds a Tink keyset"
                    },
                ),
                source,
            },
            CacheError::Config(error) => {
                let explained = error.problems().iter().map(|problem| Problem {
                    variable: problem.variable.clone(),
                    message: format!("{place}: {}", problem.message),
                });
                CacheError::Config(ConfigError::new(explained.collect()))
            }
            other => other,
        }
    }
}
