//! A password from a file that may change while the client runs, like a secret mounted by an orchestrator.
//!
//! The file is read for each connection: that is rare and cheap, and misses no change. Not in here: the
//! format of the file (`config`).

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Credentials, CredentialsSource, Refusal};
use crate::config::PasswordFile;
use crate::{CacheError, ConfigError, Secret};

/// Issues the password in a file.
///
/// If the file is unreadable, or empty because it is being written, the last password stays in use and one
/// warning is logged. If a server refuses the newest password, the previous one is issued next: the file may
/// change before the servers do, or after them.
pub struct FileCredentials {
    username: Option<String>,
    file: PasswordFile,
    known: Mutex<Known>,
}

/// The passwords read so far, and whether a server refused them.
#[derive(Default)]
struct Known {
    newest: Option<Candidate>,
    previous: Option<Candidate>,
    /// Why the last read of the file failed.
    trouble: Option<String>,
}

struct Candidate {
    password: Secret,
    is_refused: bool,
}

impl FileCredentials {
    /// The password in `file` for `username`. `password` was read before, unless it is empty.
    #[must_use]
    pub fn new(username: Option<String>, password: Secret, file: PasswordFile) -> Self {
        let newest = Some(Candidate {
            password,
            is_refused: false,
        });
        Self {
            username,
            file,
            known: Mutex::new(Known {
                newest: newest.filter(|known| !known.password.expose().is_empty()),
                ..Known::default()
            }),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Records the file's current password, or why it is unknown. Returns what should be logged.
    fn learn(&mut self, read: Result<Secret, String>) -> News {
        match read {
            Ok(password) => {
                let was_troubled = self.trouble.take().is_some();
                match &self.newest {
                    Some(newest) if newest.password == password => {
                        if was_troubled {
                            News::Readable
                        } else {
                            News::None
                        }
                    }
                    Some(_) => {
                        self.previous = self.newest.replace(Candidate {
                            password,
                            is_refused: false,
                        });
                        News::Changed
                    }
                    None => {
                        self.newest = Some(Candidate {
                            password,
                            is_refused: false,
                        });
                        News::None
                    }
                }
            }
            Err(why) if self.trouble.as_ref() == Some(&why) => News::None,
            Err(why) => {
                self.trouble = Some(why.clone());
                News::Unreadable(why)
            }
        }
    }

    /// The newest password that no server has refused, otherwise the newest.
    fn choose(&mut self) -> Option<Secret> {
        let known = [&mut self.newest, &mut self.previous];
        if known
            .iter()
            .all(|known| known.as_ref().is_none_or(|known| known.is_refused))
        {
            for known in known.into_iter().flatten() {
                known.is_refused = false;
            }
        }
        let known = [&self.newest, &self.previous];
        let chosen = known.into_iter().flatten().find(|known| !known.is_refused);
        chosen.map(|known| known.password.clone())
    }
}

/// A change of the file.
#[derive(Debug, PartialEq, Eq)]
enum News {
    None,
    Changed,
    Readable,
    Unreadable(String),
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CredentialsSource for FileCredentials {
    async fn credentials(&self) -> Result<Option<Credentials>, CacheError> {
        let file = self.file.clone();
        // The file may be on a network, and must not block a thread that serves others.
        let read = tokio::task::spawn_blocking(move || file.read()).await;
        let read = read.unwrap_or_else(|_| Err("names a file whose reading was given up".to_owned()));
        let variable = self.file.variable();
        let (news, chosen) = {
            let mut known = self.known();
            (known.learn(read), known.choose())
        };
        match &news {
            News::None => {}
            News::Changed => tracing::info!(
                variable,
                "the password has changed; new connections use the new one"
            ),
            News::Readable => tracing::info!(variable, "the file can be read again"),
            News::Unreadable(_) if chosen.is_none() => {}
            News::Unreadable(why) => {
                tracing::warn!(variable, "{why}; the last password stays in use");
            }
        }
        match chosen {
            Some(password) => Ok(Some(Credentials::fixed(self.username.clone(), password))),
            None => {
                let why = self.known().trouble.clone().unwrap_or_default();
                Err(ConfigError::one(variable, why).into())
            }
        }
    }

    fn refused(&self, credentials: &Credentials) -> Refusal {
        let mut guard = self.known();
        let known = &mut *guard;
        for known in [&mut known.newest, &mut known.previous].into_iter().flatten() {
            known.is_refused |= known.password == credentials.password;
        }
        drop(guard);
        Refusal::ask_again().with_check(format!(
            "check the user name and what {} names: it was read again for this login",
            self.file.variable()
        ))
    }
}

impl fmt::Debug for FileCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCredentials")
            .field("variable", &self.file.variable())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn source(path: &Path) -> FileCredentials {
        FileCredentials::new(None, "one".into(), PasswordFile::new(path))
    }

    async fn issued(source: &FileCredentials) -> String {
        let credentials = source.credentials().await.unwrap().unwrap();
        credentials.password.expose().clone()
    }

    fn refuse(source: &FileCredentials, password: &str) {
        let refusal = source.refused(&Credentials::fixed(None, password.into()));
        assert!(refusal.ask_again);
    }

    #[tokio::test]
    async fn changed_file_is_read_and_broken_file_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let source = source(&path);
        assert_eq!(issued(&source).await, "one", "there is no file yet");
        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(issued(&source).await, "one");
        // The same length, written at the same moment.
        std::fs::write(&path, "two\n").unwrap();
        assert_eq!(issued(&source).await, "two");
        for broken in [&b""[..], b" \n", &[0xff, 0xfe]] {
            std::fs::write(&path, broken).unwrap();
            assert_eq!(issued(&source).await, "two");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(issued(&source).await, "two");
    }

    #[tokio::test]
    async fn refused_password_falls_back_to_the_previous_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "two").unwrap();
        let source = source(&path);
        assert_eq!(issued(&source).await, "two");
        refuse(&source, "two");
        assert_eq!(
            issued(&source).await,
            "one",
            "the servers do not know the new one yet"
        );
        refuse(&source, "one");
        assert_eq!(issued(&source).await, "two", "now they do");
        refuse(&source, "two");
        std::fs::write(&path, "three").unwrap();
        assert_eq!(issued(&source).await, "three");
    }

    #[tokio::test]
    async fn unreadable_file_fails_only_without_a_password() {
        let file = PasswordFile::new("/nowhere/s3cr3t");
        let source = FileCredentials::new(None, "".into(), file);
        let error = source.credentials().await.unwrap_err().to_string();
        assert!(
            error.contains("CACHE_PASSWORD_FILE: names a file that cannot be read"),
            "{error}"
        );
        assert!(!error.contains("s3cr3t") && !format!("{source:?}").contains("s3cr3t"));
    }

    #[test]
    fn repeated_read_failure_is_logged_once() {
        let mut known = Known::default();
        assert_eq!(known.learn(Ok("one".into())), News::None);
        assert_eq!(known.learn(Err("gone".into())), News::Unreadable("gone".into()));
        assert_eq!(known.learn(Err("gone".into())), News::None);
        assert_eq!(known.learn(Ok("one".into())), News::Readable);
        assert_eq!(known.learn(Ok("two".into())), News::Changed);
    }

    #[tokio::test]
    async fn url_in_a_file_is_parsed_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url");
        std::fs::write(&path, "redis://:tw%6f@cache").unwrap();
        let source = FileCredentials::new(None, "one".into(), PasswordFile::of_url(&path));
        assert_eq!(issued(&source).await, "two");
        std::fs::write(&path, "redis://cache").unwrap();
        assert_eq!(
            issued(&source).await,
            "two",
            "without a password it is not finished"
        );
    }
}
