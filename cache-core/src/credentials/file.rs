//! A password from a file that may change while the client runs, as secrets mounted by an orchestrator do.
//!
//! The file is read for each connection: that is rare and cheap, and misses no change. Not in here: what the file
//! holds (`config`).

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Credentials, CredentialsSource, Refusal};
use crate::config::PasswordFile;
use crate::{CacheError, ConfigError, Secret};

/// Issues the password that a file holds.
///
/// A file that cannot be read, or is empty because it is being written, leaves the last password in use; a warning says so
/// once. If a server refuses the newest password, the one before it is issued next: a file may change before the
/// servers do, and the other way round.
pub struct FileCredentials {
    username: Option<String>,
    file: PasswordFile,
    known: Mutex<Known>,
}

/// What has been read, and what servers said of it.
#[derive(Default)]
struct Known {
    newest: Option<Candidate>,
    previous: Option<Candidate>,
    /// Why the file could not be read the last time.
    trouble: Option<String>,
}

struct Candidate {
    password: Secret,
    is_refused: bool,
}

impl FileCredentials {
    /// The password in `file` for `username`, of which `password` was read already; an empty one was not.
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
    /// Takes in what the file holds now, or why that is not known; answers what is worth a line in the log.
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

    /// The newest password that no server has refused; the newest one if there is none.
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

/// What happened to the file.
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
        // A file may be on a network, and must not hold up a thread that serves others.
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
    async fn a_changed_file_is_found_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let source = source(&path);
        assert_eq!(issued(&source).await, "one", "there is no file yet");
        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(issued(&source).await, "one");
        // Of the same length, and in the same moment.
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
    async fn a_refused_password_gives_way_to_the_one_before_it_and_back() {
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
    async fn trouble_with_the_file_is_an_error_only_if_no_password_is_known() {
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
    fn the_same_trouble_is_told_once() {
        let mut known = Known::default();
        assert_eq!(known.learn(Ok("one".into())), News::None);
        assert_eq!(known.learn(Err("gone".into())), News::Unreadable("gone".into()));
        assert_eq!(known.learn(Err("gone".into())), News::None);
        assert_eq!(known.learn(Ok("one".into())), News::Readable);
        assert_eq!(known.learn(Ok("two".into())), News::Changed);
    }

    #[tokio::test]
    async fn a_url_in_a_file_is_taken_apart_again() {
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
