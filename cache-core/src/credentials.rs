//! Where the user name and password of a connection come from.
//!
//! The seam between a client, which opens connections and needs credentials for each, and whoever
//! issues them: a fixed password, or short-lived tokens. A client asks for every connection it opens
//! and once more when it is told to authenticate anew.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{CacheError, Secret};

/// A user name and what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// The ACL user; `None` is the server's default user.
    pub username: Option<String>,
    /// The password or token.
    pub password: Secret,
    /// How long a connection may live on these before it must authenticate again; `None` is for good.
    pub valid_for: Option<Duration>,
}

impl Credentials {
    /// Credentials that do not expire.
    #[must_use]
    pub const fn fixed(username: Option<String>, password: Secret) -> Self {
        Self {
            username,
            password,
            valid_for: None,
        }
    }

    /// Credentials on which a connection may live for `valid_for`.
    #[must_use]
    pub const fn expiring(username: Option<String>, password: Secret, valid_for: Duration) -> Self {
        Self {
            username,
            password,
            valid_for: Some(valid_for),
        }
    }
}

/// Issues [`Credentials`]. Implementors answer quickly or fail: the caller has a connection waiting.
#[async_trait]
pub trait CredentialsSource: Debug + Send + Sync + 'static {
    /// The credentials for a connection that is opened now; `None` where the server asks for none.
    ///
    /// # Errors
    ///
    /// [`CacheError::Unauthorized`] where no credentials can be had, with what to check.
    async fn credentials(&self) -> Result<Option<Credentials>, CacheError>;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: CredentialsSource + ?Sized> CredentialsSource for Arc<S> {
    async fn credentials(&self) -> Result<Option<Credentials>, CacheError> {
        (**self).credentials().await
    }
}

/// The same credentials for every connection, or none.
#[derive(Clone, Debug, Default)]
pub struct FixedCredentials(Option<Credentials>);

impl FixedCredentials {
    /// Always `credentials`.
    #[must_use]
    pub const fn new(credentials: Option<Credentials>) -> Self {
        Self(credentials)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CredentialsSource for FixedCredentials {
    async fn credentials(&self) -> Result<Option<Credentials>, CacheError> {
        Ok(self.0.clone())
    }
}
