//! Who may do what through the administration service: actors, how they prove who they are, and what each of
//! them is granted.
//!
//! Not in here: the HTTP that carries a token, and what the scopes let somebody do; each handler asks. See
//! `docs/admin-security.md`.

mod actor;
mod certificate;
mod error;
mod file;
mod read;
mod scope;
mod table;
mod token;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use cache_layers::{SystemClock, WallClock};

pub use actor::{Actor, Denied};
pub use certificate::CertificateIdentity;
pub use error::{AccessError, Refused};
pub use scope::Scope;
pub use token::{Token, bearer};

use self::table::Table;

/// Who may do what: named actors, each with the hashes of its tokens, the names of its client certificates,
/// and its grants.
///
/// ```
/// use cache_admin::access::{Access, Scope};
/// use cache_core::Pattern;
///
/// let access = Access::from_toml(r#"
///     [actors.deploy]
///     tokens = [{ hash = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" }]
///
///     [actors.deploy.grants]
///     list = [""]
///     purge = ["billing:"]
/// "#)?;
///
/// // The hash above is that of a word; real tokens are made by `cachectl token new`.
/// let deploy = access.authenticate(Some("test"), None).expect("a known token");
/// assert_eq!(deploy.name(), "deploy");
/// assert!(deploy.may_pattern(Scope::Purge, &Pattern::new("billing:*")?).is_ok());
/// assert!(deploy.may_pattern(Scope::Purge, &Pattern::new("bill*")?).is_err());
/// assert!(deploy.may_key(Scope::Value, b"billing:1").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Access {
    table: RwLock<Arc<Table>>,
    /// Whether the file was wrong when it was looked into last.
    stale: AtomicBool,
    path: Option<PathBuf>,
    clock: Arc<dyn WallClock>,
}

impl Access {
    /// What `text` says, in TOML.
    ///
    /// # Errors
    ///
    /// Where it is not of that form; the error names line and field, and shows no value.
    pub fn from_toml(text: &str) -> Result<Self, AccessError> {
        Ok(Self::of(read::table(text)?, None))
    }

    /// What the file at `path` says; [`reload`](Self::reload) looks into it again.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, or is not of that form.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, AccessError> {
        let path = path.as_ref().to_path_buf();
        let table = read::table(&file::read(&path)?)?;
        Ok(Self::of(table, Some(path)))
    }

    /// No authentication: whoever comes may do everything, under the name `anonymous`. For a service that only
    /// its own machine reaches, which the listener sees to.
    #[must_use]
    pub fn open() -> Self {
        Self::of(Table::open(), None)
    }

    /// No token and no certificate is known: nobody is let in but whom the service around the router vouches for, by an
    /// [`Actor`] in the extensions of the request.
    #[must_use]
    pub fn nobody() -> Self {
        Self::of(Table::default(), None)
    }

    fn of(table: Table, path: Option<PathBuf>) -> Self {
        Self {
            table: RwLock::new(Arc::new(table)),
            stale: AtomicBool::new(false),
            path,
            clock: Arc::new(SystemClock),
        }
    }

    /// Takes the time of day, by which tokens expire, from `clock`. Default: that of the machine.
    #[must_use]
    pub fn with_clock(mut self, clock: impl WallClock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Whether there is no authentication.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.table().is_open()
    }

    /// Whether any actor proves who it is by a client certificate.
    #[must_use]
    pub fn knows_certificates(&self) -> bool {
        self.table().knows_certificates()
    }

    /// What an operator should know of the file: that others may read or write it, actors that nobody can be.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.path.as_deref().map(file::warnings).unwrap_or_default();
        warnings.extend(self.table().warnings(self.clock.since_epoch()));
        warnings
    }

    /// Looks into the file again; whether it says something else than before. Actors that were authenticated
    /// before keep what they were granted until their request is over.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, or is not of the right form: what it said before stays in force.
    pub fn reload(&self) -> Result<bool, AccessError> {
        let Some(path) = &self.path else {
            return Ok(false);
        };
        let table = file::read(path).and_then(|text| read::table(&text));
        self.stale.store(table.is_err(), Ordering::Relaxed);
        let table = table?;
        if *self.table() == table {
            return Ok(false);
        }
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        Ok(true)
    }

    /// What an operator must know as long as the last [`reload`](Self::reload) failed: a revoked token is still good. It names
    /// neither the file nor an actor.
    #[must_use]
    pub fn reload_problem(&self) -> Option<String> {
        let is_stale = self.stale.load(Ordering::Relaxed);
        is_stale.then(|| "the file of actors cannot be read; what it said before is in force".to_owned())
    }

    /// Who it is that presents this token, or this client certificate, which the listener has verified. A
    /// token that is presented decides, whatever the certificate.
    ///
    /// Every hash that is known is compared, each in constant time.
    ///
    /// # Errors
    ///
    /// Where nothing is presented, or nobody is known by it.
    pub fn authenticate(
        &self,
        token: Option<&str>,
        certificate: Option<&CertificateIdentity>,
    ) -> Result<Actor, Refused> {
        self.table()
            .authenticate(token, certificate, self.clock.since_epoch())
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("actors", &self.table().names())
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
