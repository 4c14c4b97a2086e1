//! The actors, ready to be asked.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::token::TokenHash;
use super::{Actor, CertificateIdentity, Refused};

/// No token is longer; what is longer is not even hashed.
const MAX_TOKEN: usize = 1_024;

/// The actors, ready to be asked.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Table {
    /// Who anybody is, where there is no authentication.
    everybody: Option<Actor>,
    actors: Vec<Entry>,
}

/// An actor, and how it proves who it is.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) actor: Actor,
    pub(super) tokens: Vec<KnownToken>,
    pub(super) certificates: Vec<String>,
}

/// A token by its hash.
#[derive(Debug, PartialEq)]
pub(super) struct KnownToken {
    pub(super) hash: TokenHash,
    /// Since 1970-01-01 00:00 UTC.
    pub(super) not_after: Option<Duration>,
}

impl Table {
    pub(super) fn open() -> Self {
        Self {
            everybody: Some(Actor::unrestricted("anonymous")),
            ..Self::default()
        }
    }

    /// `Err` names a token or certificate of two entries: the index of the later entry, and of the token or
    /// certificate in it.
    pub(super) fn new(actors: Vec<Entry>) -> Result<Self, Twice> {
        let mut certificates = BTreeMap::new();
        let mut hashes: Vec<TokenHash> = Vec::new();
        for (index, entry) in actors.iter().enumerate() {
            for (number, token) in entry.tokens.iter().enumerate() {
                if hashes.contains(&token.hash) {
                    return Err(Twice::Token(index, number));
                }
                hashes.push(token.hash);
            }
            for (number, name) in entry.certificates.iter().enumerate() {
                if certificates.insert(name, index).is_some() {
                    return Err(Twice::Certificate(index, number));
                }
            }
        }
        Ok(Self {
            everybody: None,
            actors,
        })
    }

    pub(super) const fn is_open(&self) -> bool {
        self.everybody.is_some()
    }

    pub(super) fn knows_certificates(&self) -> bool {
        self.actors.iter().any(|entry| !entry.certificates.is_empty())
    }

    pub(super) fn names(&self) -> Vec<&str> {
        let known = self.actors.iter().map(|entry| &entry.actor);
        self.everybody.iter().chain(known).map(Actor::name).collect()
    }

    pub(super) fn warnings(&self, now: Duration) -> Vec<String> {
        let expired = |token: &KnownToken| token.not_after.is_some_and(|end| end <= now);
        let barred = |entry: &&Entry| entry.certificates.is_empty() && entry.tokens.iter().all(expired);
        self.actors
            .iter()
            .filter(barred)
            .map(|entry| format!("actor {}: all of its tokens have expired", entry.actor.name()))
            .collect()
    }

    pub(super) fn authenticate(
        &self,
        token: Option<&str>,
        certificate: Option<&CertificateIdentity>,
        now: Duration,
    ) -> Result<Actor, Refused> {
        if let Some(everybody) = &self.everybody {
            return Ok(everybody.clone());
        }
        match (token, certificate) {
            (Some(token), _) => self.by_token(token, now),
            (None, Some(certificate)) => self.by_certificate(certificate),
            (None, None) => Err(Refused::Missing),
        }
    }

    /// Compares with every hash, whichever of them is the one: the time that it takes says nothing.
    fn by_token(&self, token: &str, now: Duration) -> Result<Actor, Refused> {
        if token.len() > MAX_TOKEN {
            return Err(Refused::Unknown);
        }
        let presented = TokenHash::of(token);
        let mut found = None;
        for entry in &self.actors {
            for known in &entry.tokens {
                if verify_slices_are_equal(&known.hash.0, &presented.0).is_ok() {
                    found = Some((entry, known));
                }
            }
        }
        match found {
            None => Err(Refused::Unknown),
            Some((_, token)) if token.not_after.is_some_and(|end| end <= now) => Err(Refused::Expired),
            Some((entry, _)) => Ok(entry.actor.clone()),
        }
    }

    /// The one actor that a name of the certificate stands for; nobody where its names stand for several.
    fn by_certificate(&self, certificate: &CertificateIdentity) -> Result<Actor, Refused> {
        let carried = |entry: &&Entry| {
            entry
                .certificates
                .iter()
                .any(|name| certificate.names().contains(name))
        };
        let mut found = self.actors.iter().filter(carried);
        match (found.next(), found.next()) {
            (Some(entry), None) => Ok(entry.actor.clone()),
            _ => Err(Refused::Unknown),
        }
    }
}

/// What stands in a file twice.
#[derive(Debug)]
pub(super) enum Twice {
    Token(usize, usize),
    Certificate(usize, usize),
}
