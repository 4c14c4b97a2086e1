//! A file that holds a password, which may change while the client runs.
//!
//! Not in here: which password is used if a server refuses one (`credentials`).

use std::borrow::Cow;
use std::path::PathBuf;

use super::{file, url};
use crate::Secret;

/// A file that holds a password. It is read for each connection, so that a rotated password needs no restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordFile {
    path: PathBuf,
    variable: Cow<'static, str>,
    holds_url: bool,
}

impl PasswordFile {
    /// The file at `path`, which holds only the password; white space around it is ignored.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            variable: "CACHE_PASSWORD_FILE".into(),
            holds_url: false,
        }
    }

    /// The file at `path`, which holds a connection URL with a password.
    pub fn of_url(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            variable: "CACHE_URL_FILE".into(),
            holds_url: true,
        }
    }

    /// The name in warnings and errors. Default: `CACHE_PASSWORD_FILE`, or `CACHE_URL_FILE`.
    #[must_use]
    pub fn with_variable(mut self, variable: impl Into<Cow<'static, str>>) -> Self {
        self.variable = variable.into();
        self
    }

    /// The name in warnings and errors.
    #[must_use]
    pub fn variable(&self) -> &str {
        &self.variable
    }

    /// Reads the password; the error says what is wrong with the file, without its content or its path.
    pub(crate) fn read(&self) -> Result<Secret, String> {
        let text = Secret::new(file::read_value(&self.path)?);
        if !self.holds_url {
            return Ok(text);
        }
        let parts =
            url::read(text.expose()).map_err(|why| format!("names a file with a wrong URL: {why}"))?;
        let password = parts
            .password
            .ok_or("names a file with a URL without a password")?;
        Ok(Secret::new(password))
    }
}
