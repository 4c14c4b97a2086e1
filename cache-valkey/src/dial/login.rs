//! Holds the credentials of one login, which the source may replace once if the server refuses them.
//!
//! Not in here: how they are sent. A new connection sends them in its handshake, an open one with `AUTH`.

use cache_core::CacheError;
use cache_core::clock::Instant;
use cache_core::credentials::{Credentials, CredentialsSource};

use crate::error::{is_refused_login, with_check};

/// The credentials of one login.
pub(crate) struct Login<'a> {
    source: &'a dyn CredentialsSource,
    credentials: Option<Credentials>,
    /// Whether the credentials have been replaced already.
    asked_again: bool,
}

impl<'a> Login<'a> {
    /// Asks `source` for credentials.
    pub(crate) async fn ask(source: &'a dyn CredentialsSource) -> Result<Self, CacheError> {
        Ok(Self {
            credentials: source.credentials().await?,
            source,
            asked_again: false,
        })
    }

    /// What to log in with; `None` if the server asks for nothing.
    pub(crate) const fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Handles the outcome of a login attempt. `Ok(None)` means that the server refused the credentials and
    /// the source issued other ones before `until`: try again.
    pub(crate) async fn settle<T>(
        &mut self,
        outcome: Result<T, CacheError>,
        until: Instant,
    ) -> Result<Option<T>, CacheError> {
        match outcome {
            Err(error) if is_refused_login(&error) => self.replace(error, until).await.map(|()| None),
            outcome => outcome.map(Some),
        }
    }

    /// Reports the refusal to the source and takes its newer credentials. If there are none, fails with the
    /// server's message and what to check.
    async fn replace(&mut self, error: CacheError, until: Instant) -> Result<(), CacheError> {
        let Some(refused) = &self.credentials else {
            return Err(error);
        };
        let refusal = self.source.refused(refused);
        let error = match &refusal.check {
            Some(check) => with_check(error, check),
            None => error,
        };
        if self.asked_again || !refusal.ask_again {
            return Err(error);
        }
        self.asked_again = true;
        match tokio::time::timeout_at(until, self.source.credentials()).await {
            Ok(Ok(Some(newer)))
                if (&newer.username, &newer.password) != (&refused.username, &refused.password) =>
            {
                self.credentials = Some(newer);
                Ok(())
            }
            Ok(Ok(_)) => Err(error),
            // The server's message is the cause; the failed fetch is added to it.
            Ok(Err(failure)) => Err(with_check(
                error,
                &format!("newer credentials could not be fetched: {failure}"),
            )),
            Err(_) => Err(with_check(
                error,
                "newer credentials could not be fetched in time",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use async_trait::async_trait;
    use cache_core::credentials::Refusal;
    use cache_core::{Secret, clock};

    use super::*;

    /// Issues these passwords in turn, then always the last one, and answers every refusal the same way.
    #[derive(Debug)]
    struct Passwords {
        issued: Mutex<Vec<&'static str>>,
        refused: Mutex<Vec<String>>,
        answer: Refusal,
    }

    impl Passwords {
        fn new(passwords: &[&'static str], answer: Refusal) -> Self {
            Self {
                issued: Mutex::new(passwords.iter().rev().copied().collect()),
                refused: Mutex::default(),
                answer,
            }
        }
    }

    #[async_trait]
    impl CredentialsSource for Passwords {
        async fn credentials(&self) -> Result<Option<Credentials>, CacheError> {
            let mut issued = self.issued.lock().unwrap();
            let password = if issued.len() > 1 {
                issued.pop()
            } else {
                issued.first().copied()
            };
            Ok(password.map(|password| Credentials::fixed(None, password.into())))
        }

        fn refused(&self, credentials: &Credentials) -> Refusal {
            let password = credentials.password.expose().clone();
            self.refused.lock().unwrap().push(password);
            self.answer.clone()
        }
    }

    fn soon() -> Instant {
        clock::now() + Duration::from_secs(1)
    }

    fn wrong() -> Result<(), CacheError> {
        Err(CacheError::Unauthorized {
            detail: "wrong".into(),
            source: None,
        })
    }

    async fn refused_until_it_gives_up(source: &Passwords) -> (usize, CacheError) {
        let mut login = Login::ask(source).await.unwrap();
        let mut tries = 1;
        loop {
            match login.settle(wrong(), soon()).await {
                Ok(_) => tries += 1,
                Err(error) => return (tries, error),
            }
        }
    }

    #[tokio::test]
    async fn newer_credentials_are_tried_once_and_both_refusals_reported() {
        let source = Passwords::new(
            &["old", "new", "newest"],
            Refusal::ask_again().with_check("check it"),
        );
        let (tries, error) = refused_until_it_gives_up(&source).await;
        assert_eq!(tries, 2);
        assert_eq!(*source.refused.lock().unwrap(), ["old", "new"]);
        assert_eq!(error.to_string(), "unauthorized: wrong; check it");
    }

    #[tokio::test]
    async fn same_credentials_are_not_tried_again() {
        let source = Passwords::new(&["same"], Refusal::ask_again());
        let (tries, error) = refused_until_it_gives_up(&source).await;
        assert_eq!((tries, error.to_string().as_str()), (1, "unauthorized: wrong"));
    }

    #[tokio::test]
    async fn source_without_newer_credentials_is_not_asked_again() {
        let source = Passwords::new(&["old", "new"], Refusal::fatal().with_check("check the region"));
        let (tries, error) = refused_until_it_gives_up(&source).await;
        assert_eq!(
            (tries, error.to_string().as_str()),
            (1, "unauthorized: wrong; check the region")
        );
        assert_eq!(*source.issued.lock().unwrap(), ["new"]);
    }

    #[tokio::test]
    async fn other_outcomes_are_unchanged() {
        let source = Passwords::new(&["only"], Refusal::ask_again());
        let secret: Secret = "only".into();
        let mut login = Login::ask(&source).await.unwrap();
        assert_eq!(login.credentials().map(|known| &known.password), Some(&secret));
        assert_eq!(login.settle(Ok(7), soon()).await.unwrap(), Some(7));
        let closed = login.settle::<()>(Err(CacheError::Closed), soon()).await;
        assert!(matches!(closed, Err(CacheError::Closed)));
        assert!(source.refused.lock().unwrap().is_empty());
    }
}
