//! Where the user name and password of a connection come from.
//!
//! The seam between a client, which opens connections and needs credentials for each, and whoever
//! issues them: a fixed password, a secret that rotates, or short-lived tokens. A client asks for every
//! connection it opens, once more before [`Credentials::valid_for`] ends, and tells the source when a server
//! refuses what it issued.

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

    /// Tells the source that a server refused `credentials`, and asks what to do about it.
    ///
    /// A source that keeps what it fetched forgets it here, so that the next
    /// [`credentials`](Self::credentials) fetches again. It limits how often that happens: a server that
    /// refuses everybody must not become load on the secret store.
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

/// What a [`CredentialsSource`] answers when a server refused its credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Whether asking the source again may bring credentials that the server accepts. The client then asks
    /// once more, and opens the connection again if the answer differs.
    pub ask_again: bool,
    /// What a person should check, as it reads at the end of the error; never a secret.
    pub check: Option<Cow<'static, str>>,
}

impl Refusal {
    /// Nothing that the source knows of would help.
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

    /// The same, with what a person should check.
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
