//! Somebody who proved who they are, and what they are granted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use cache_core::Pattern;

use super::Scope;

/// Literal prefixes of keys.
pub(super) type Prefixes = Vec<Box<[u8]>>;

/// Somebody who is known, with what they are granted. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Actor(Arc<Known>);

#[derive(PartialEq, Eq)]
struct Known {
    name: String,
    /// The prefixes by scope, sorted, none of them the beginning of another one.
    grants: BTreeMap<Scope, Prefixes>,
}

/// Why an actor may not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// The scope is not granted.
    #[error("the scope {0} is not granted")]
    Scope(Scope),
    /// It is granted, but not for these keys.
    #[error("the scope {0} is granted for other prefixes only")]
    Prefix(Scope),
}

impl Denied {
    /// The scope that would be needed.
    #[must_use]
    pub const fn scope(self) -> Scope {
        match self {
            Self::Scope(scope) | Self::Prefix(scope) => scope,
        }
    }
}

impl Actor {
    pub(super) fn new(name: &str, grants: impl IntoIterator<Item = (Scope, Prefixes)>) -> Self {
        let grants = grants.into_iter().map(|(scope, mut prefixes)| {
            prefixes.sort();
            // Sorted, so what begins with another prefix stands behind it.
            prefixes.dedup_by(|later, earlier| later.starts_with(earlier));
            (scope, prefixes)
        });
        Self(Arc::new(Known {
            name: name.to_owned(),
            grants: grants.collect(),
        }))
    }

    /// An actor who may do everything with every key: for a caller that has its own way to tell who may.
    #[must_use]
    pub fn unrestricted(name: &str) -> Self {
        Self::new(name, Scope::ALL.map(|scope| (scope, vec![Box::default()])))
    }

    /// An actor with these grants, each a scope and a prefix of keys (the empty one is every key): for a service that mounts
    /// the router and knows its callers itself.
    ///
    /// ```
    /// use cache_admin::access::{Actor, Scope};
    ///
    /// let support = Actor::with_grants("jo", [(Scope::List, "billing:"), (Scope::Purge, "billing:acme:")]);
    /// assert!(support.may_prefix(Scope::Purge, b"billing:acme:7").is_ok());
    /// assert!(support.may_prefix(Scope::Purge, b"billing:").is_err());
    /// ```
    #[must_use]
    pub fn with_grants<P: AsRef<[u8]>>(name: &str, grants: impl IntoIterator<Item = (Scope, P)>) -> Self {
        let mut by_scope: BTreeMap<Scope, Prefixes> = BTreeMap::new();
        for (scope, prefix) in grants {
            by_scope.entry(scope).or_default().push(prefix.as_ref().into());
        }
        Self::new(name, by_scope)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The prefixes for which the scope is granted, sorted; none where it is not granted. The empty prefix is
    /// every key.
    #[must_use]
    pub fn prefixes(&self, scope: Scope) -> &[Box<[u8]>] {
        self.0.grants.get(&scope).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether the scope is granted for any keys at all.
    ///
    /// # Errors
    ///
    /// Where it is not.
    pub fn may(&self, scope: Scope) -> Result<(), Denied> {
        match self.prefixes(scope) {
            [] => Err(Denied::Scope(scope)),
            _ => Ok(()),
        }
    }

    /// Whether the scope is granted for every key.
    ///
    /// # Errors
    ///
    /// Where it is not.
    pub fn may_all(&self, scope: Scope) -> Result<(), Denied> {
        self.may_prefix(scope, b"")
    }

    /// Whether the scope is granted for `key`.
    ///
    /// # Errors
    ///
    /// Where it is not.
    pub fn may_key(&self, scope: Scope, key: &[u8]) -> Result<(), Denied> {
        self.may_prefix(scope, key)
    }

    /// Whether the scope is granted for every key that begins with `prefix`, itself included.
    ///
    /// # Errors
    ///
    /// Where it is not.
    pub fn may_prefix(&self, scope: Scope, prefix: &[u8]) -> Result<(), Denied> {
        self.may(scope)?;
        if self
            .prefixes(scope)
            .iter()
            .any(|granted| prefix.starts_with(granted))
        {
            Ok(())
        } else {
            Err(Denied::Prefix(scope))
        }
    }

    /// Whether the scope is granted for every key that could match `pattern`: what all of them
    /// [begin with](Pattern::literal_prefix) has to begin with a granted prefix. A pattern whose wildcards or
    /// classes stand before the end of the prefix is refused, also where it happens to match no other key.
    ///
    /// # Errors
    ///
    /// Where it is not.
    pub fn may_pattern(&self, scope: Scope, pattern: &Pattern) -> Result<(), Denied> {
        self.may_prefix(scope, pattern.literal_prefix())
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actor")
            .field("name", &self.0.name)
            .field("scopes", &self.0.grants.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(scope: Scope, prefixes: &[&str]) -> Actor {
        let prefixes = prefixes.iter().map(|prefix| prefix.as_bytes().into());
        Actor::new("somebody", [(scope, prefixes.collect())])
    }

    fn may(prefixes: &[&str], pattern: &str) -> bool {
        let pattern = Pattern::new(pattern).unwrap();
        actor(Scope::Purge, prefixes)
            .may_pattern(Scope::Purge, &pattern)
            .is_ok()
    }

    #[test]
    fn a_pattern_has_to_begin_with_a_granted_prefix_literally() {
        for pattern in [
            "billing:*",
            "billing:1",
            "billing:",
            "billing:[ab]*",
            r"b\illing\:*",
            "billing:?",
            r"billing:\*",
        ] {
            assert!(may(&["billing:"], pattern), "{pattern}");
        }
        for pattern in [
            "*",
            "billing",
            "billing*",
            "billing?*",
            "billing[:]*",
            "[b]illing:*",
            "b*illing:*",
            "users:*",
            "Billing:*",
            r"\*billing:*",
            "?illing:*",
            "billing[:",
            "billin[g]:*",
        ] {
            assert!(!may(&["billing:"], pattern), "{pattern}");
        }
        assert!(may(&["users:", "billing:"], "billing:*") && may(&["users:", "billing:"], "users:*"));
        assert!(may(&[""], "*") && !may(&[], "billing:*"));
        // A prefix is literal: its own wildcards stand for themselves.
        assert!(may(&["a*"], r"a\*b*") && !may(&["a*"], "ab*") && !may(&["a*"], "a*"));
    }

    #[test]
    fn a_scope_stands_for_itself_only() {
        for granted in Scope::ALL {
            let actor = actor(granted, &[""]);
            for scope in Scope::ALL {
                assert_eq!(actor.may_key(scope, b"any").is_ok(), scope == granted);
                let expected = (scope != granted).then_some(Denied::Scope(scope));
                assert_eq!(actor.may(scope).err(), expected);
            }
        }
    }

    #[test]
    fn a_key_has_to_begin_with_a_granted_prefix() {
        let actor = actor(Scope::Value, &["billing:", "users:{a}:"]);
        let may = |key: &[u8]| actor.may_key(Scope::Value, key);
        assert!(may(b"billing:1").is_ok() && may(b"billing:").is_ok() && may(b"users:{a}:\xff").is_ok());
        for key in [&b"billing"[..], b"users:{b}:1", b"", b"\xff", b" billing:1"] {
            assert_eq!(may(key), Err(Denied::Prefix(Scope::Value)));
        }
        assert!(actor.may_all(Scope::Value).is_err());
        assert!(Actor::unrestricted("root").may_all(Scope::Acl).is_ok());
    }

    #[test]
    fn prefixes_that_are_within_others_are_left_out() {
        let prefixes = ["b:", "a:", "a:1:", "a:", "b:x"];
        let kept = actor(Scope::List, &prefixes);
        let kept: Vec<_> = kept
            .prefixes(Scope::List)
            .iter()
            .map(|prefix| &**prefix)
            .collect();
        assert_eq!(kept, [b"a:", b"b:"]);
        let all = actor(Scope::List, &["a:", "", "b"]);
        assert_eq!(all.prefixes(Scope::List), [Box::<[u8]>::default()]);
    }

    proptest::proptest! {
        /// The point of it all: whatever the pattern, what it may match is granted.
        #[test]
        fn what_a_granted_pattern_matches_begins_with_a_granted_prefix(
            prefixes in proptest::collection::vec("[ab*\\[:]{0,3}", 0..3),
            pattern in r"[ab*?\[\]\\:^-]{1,7}",
            key in r"[ab*\[:]{1,6}",
        ) {
            let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
            let actor = actor(Scope::Purge, &prefixes);
            let pattern = Pattern::new(pattern.as_str()).unwrap();
            if actor.may_pattern(Scope::Purge, &pattern).is_ok() && pattern.matches(key.as_bytes()) {
                proptest::prop_assert!(prefixes.iter().any(|prefix| key.starts_with(prefix)));
            }
        }
    }
}
