//! Where a connection's user name and password come from.
//!
//! This is the interface between a client, which needs credentials for each connection, and their issuer: a
//! fixed password, a secret that rotates, or short-lived tokens. A client asks for every connection that it
//! opens, and again before [`Credentials::valid_for`] ends. It reports credentials that a server refuses.

mod file;

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use file::FileCredentials;

use crate::{CacheError, Secret};

/// A user name and what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// The ACL user; `None` is the server's default user.
    pub username: Option<String>,
    /// The password or token.
    pub password: Secret,
    /// How long a connection may use these before it must authenticate again; `None` means forever.
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

    /// Credentials that a connection may use for `valid_for`.
    #[must_use]
    pub const fn expiring(username: Option<String>, password: Secret, valid_for: Duration) -> Self {
        Self {
            username,
            password,
            valid_for: Some(valid_for),
        }
    }
}

/// Issues [`Credentials`]. Implementations answer quickly or fail, because a connection is waiting.
#[async_trait]
pub trait CredentialsSource: Debug + Send + Sync + 'static {
    /// The credentials for a connection that is being opened; `None` if the server needs none.
    ///
    /// # Errors
    ///
    /// [`CacheError::Unauthorized`] if no credentials are available, with what to check.
    async fn credentials(&self) -> Result<Option<Credentials>, CacheError>;

    /// Reports that a server refused `credentials`, and returns what the client should do.
    ///
    /// A source with cached credentials drops them here, so that the next [`credentials`](Self::credentials)
    /// fetches again. It limits how often that happens: a server that refuses every login must not put load
    /// on the secret store.
    fn refused(&self, credentials: &Credentials) -> Refusal;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: CredentialsSource + ?Sized> CredentialsSource for Arc<S> {
    async fn credentials(&self) -> Result<Option<Credentials>, CacheError> {
        (**self).credentials().await
    }

    fn refused(&self, credentials: &Credentials) -> Refusal {
        (**self).refused(credentials)
    }
}

/// A [`CredentialsSource`]'s reaction to refused credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Whether the source may have other credentials that the server accepts. The client then asks once more
    /// and reconnects if they differ.
    pub ask_again: bool,
    /// What an operator should check, in the words that end the error; never a secret.
    pub check: Option<Cow<'static, str>>,
}

impl Refusal {
    /// The source has nothing else to offer.
    #[must_use]
    pub const fn fatal() -> Self {
        Self {
            ask_again: false,
            check: None,
        }
    }

    /// The source may have newer credentials.
    #[must_use]
    pub const fn ask_again() -> Self {
        Self {
            ask_again: true,
            check: None,
        }
    }

    /// The same, with what an operator should check.
    #[must_use]
    pub fn with_check(mut self, check: impl Into<Cow<'static, str>>) -> Self {
        self.check = Some(check.into());
        self
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

    fn refused(&self, _credentials: &Credentials) -> Refusal {
        Refusal::fatal()
    }
}
