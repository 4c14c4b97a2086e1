//! Chooses the version whose password to log in with, after servers refused some.
//!
//! Not in here: reading the versions.

use cache_core::Secret;

use super::fields::Fields;
use crate::fetch::Pace;

/// The versions of a secret that may hold the right password, the current one first.
pub(super) struct Versions {
    pub(super) current: Version,
    pub(super) others: Vec<Version>,
}

/// One version.
pub(super) struct Version {
    pub(super) fields: Fields,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
}

impl Version {
    fn has(&self, password: &Secret) -> bool {
        self.password.as_ref() == Some(password)
    }
}

impl Versions {
    fn iter(&self) -> impl Iterator<Item = &Version> {
        std::iter::once(&self.current).chain(&self.others)
    }
}

/// The refused passwords that still matter.
#[derive(Default)]
pub(super) struct Choice {
    /// At most as many as there are versions, and one that is no longer among them.
    refused: Vec<Secret>,
    /// How often versions may be read again.
    pub(super) pace: Pace,
    /// Whether the next caller reads the versions again, as soon as the pace allows.
    pub(super) is_stale: bool,
}

impl Choice {
    pub(super) fn refused(&self) -> Vec<Secret> {
        self.refused.clone()
    }

    /// The first version that no server refused.
    pub(super) fn not_refused<'a>(&self, versions: &'a Versions) -> Option<&'a Version> {
        versions.iter().find(|version| {
            version
                .password
                .as_ref()
                .is_none_or(|password| !self.refused.contains(password))
        })
    }

    /// The version to log in with. If servers refused all of them, it begins again with the current one: a server may
    /// have taken the new password a moment after the secret had it.
    pub(super) fn choose<'a>(&mut self, versions: &'a Versions) -> &'a Version {
        self.not_refused(versions).unwrap_or_else(|| {
            self.refused.clear();
            &versions.current
        })
    }

    /// Whether `password` is the one in use now, or servers refused all of them.
    pub(super) fn is_chosen(&self, versions: &Versions, password: &Secret) -> bool {
        self.not_refused(versions)
            .is_none_or(|version| version.has(password))
    }

    pub(super) fn refuse(&mut self, password: &Secret) {
        if !self.refused.contains(password) {
            self.refused.push(password.clone());
        }
    }

    /// Records versions that were just read.
    pub(super) fn fetched(&mut self, versions: &Versions) {
        self.refused
            .retain(|password| versions.iter().any(|version| version.has(password)));
        if self.not_refused(versions).is_some() {
            self.pace.brought_news();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(password: &str) -> Version {
        Version {
            fields: Fields::default(),
            username: None,
            password: Some(password.into()),
        }
    }

    fn versions(passwords: &[&str]) -> Versions {
        Versions {
            current: version(passwords[0]),
            others: passwords[1..].iter().map(|password| version(password)).collect(),
        }
    }

    fn chosen(choice: &mut Choice, versions: &Versions) -> String {
        let version = choice.choose(versions);
        version.password.as_ref().unwrap().expose().clone()
    }

    #[test]
    fn versions_are_tried_in_turn() {
        let versions = versions(&["current", "pending", "previous"]);
        let mut choice = Choice::default();
        for expected in ["current", "pending", "previous", "current", "pending"] {
            assert_eq!(chosen(&mut choice, &versions), expected);
            assert!(choice.is_chosen(&versions, &expected.into()));
            choice.refuse(&expected.into());
        }
    }

    #[test]
    fn new_current_version_is_chosen_at_once() {
        let mut choice = Choice::default();
        let before = versions(&["one"]);
        assert_eq!(chosen(&mut choice, &before), "one");
        choice.refuse(&"one".into());
        let after = versions(&["two"]);
        choice.fetched(&after);
        assert_eq!(chosen(&mut choice, &after), "two");
        assert!(choice.refused().is_empty());
    }
}
