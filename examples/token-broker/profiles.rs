//! Which tokens can be asked for: apps, and the profiles of each.
//!
//! A profile says which repositories its token covers and what it may do there. Not in here: who may ask for a
//! profile. A real broker checks that (chinmina-bridge by a Buildkite OIDC token and match rules); this one listens
//! on loopback only.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use cache_core::{CacheError, ConfigDigest};
use serde::{Deserialize, Serialize};

use crate::bridge::Bridge;

/// What is used without a file.
const DEMO: &str = include_str!("demo/profiles.json");

/// The whole configuration of the tokens.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profiles {
    apps: BTreeMap<String, App>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct App {
    profiles: BTreeMap<String, Profile>,
    /// The chinmina-bridge that has the same tokens. No part of the digest: sharing changes no token.
    #[serde(default, skip_serializing)]
    bridge: Option<Bridge>,
}

/// What a token covers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    repositories: Repositories,
    permissions: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Repositories {
    /// These; `["*"]` is all that the app reaches.
    Named(Vec<String>),
    /// The one that the caller names.
    Word(Caller),
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Caller {
    Caller,
}

/// One token, as it is named and minted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) app: String,
    pub(crate) profile: String,
    pub(crate) repositories: Vec<String>,
    pub(crate) permissions: Vec<String>,
    /// The caller chose the repository: it is part of the key.
    #[serde(default)]
    pub(crate) by_caller: bool,
    /// Whose entries it is shared with. The upstream does not know.
    #[serde(skip)]
    pub(crate) bridge: Option<Bridge>,
}

/// Why a token cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSuchToken {
    App,
    Profile,
    RepositoryNeeded,
    RepositoryNotCovered,
    RepositoryMalformed,
}

impl Profiles {
    /// Those of `file`, else the demo's.
    pub(crate) fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(file) = file else {
            return Self::parse(DEMO);
        };
        let text = std::fs::read_to_string(file);
        let text = text.with_context(|| format!("read the profiles in {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("profiles in {}", file.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        serde_json::from_str(text)
            .context("profiles are JSON in the form of examples/token-broker/demo/profiles.json")
    }

    /// The digest of what is configured, however it was laid out in the file.
    pub(crate) fn digest(&self) -> Result<ConfigDigest, CacheError> {
        let text = serde_json::to_string(self).unwrap_or_default();
        ConfigDigest::of([text])
    }

    /// The token that a caller means.
    pub(crate) fn order(
        &self,
        app: &str,
        profile: &str,
        repository: Option<&str>,
    ) -> Result<Order, NoSuchToken> {
        let of_app = self.apps.get(app).ok_or(NoSuchToken::App)?;
        let known = of_app.profiles.get(profile).ok_or(NoSuchToken::Profile)?;
        let (repositories, by_caller) = match (&known.repositories, repository) {
            (Repositories::Word(Caller::Caller), None) => return Err(NoSuchToken::RepositoryNeeded),
            (Repositories::Word(Caller::Caller), Some(name)) if !is_repository(name) => {
                return Err(NoSuchToken::RepositoryMalformed);
            }
            (Repositories::Word(Caller::Caller), Some(name)) => (vec![name.to_owned()], true),
            (Repositories::Named(names), Some(name)) if !covers(names, name) => {
                return Err(NoSuchToken::RepositoryNotCovered);
            }
            (Repositories::Named(names), _) => (names.clone(), false),
        };
        Ok(Order {
            app: app.to_owned(),
            profile: profile.to_owned(),
            repositories,
            permissions: known.permissions.clone(),
            by_caller,
            bridge: of_app.bridge.clone(),
        })
    }

    /// App and profile of every token that needs no repository from its caller.
    pub(crate) fn names(&self) -> Vec<(String, String)> {
        let of_app = |(name, app): (&String, &App)| {
            let fixed =
                |(_, profile): &(&String, &Profile)| matches!(profile.repositories, Repositories::Named(_));
            let profiles = app.profiles.iter().filter(fixed);
            profiles
                .map(|(profile, _)| (name.clone(), profile.clone()))
                .collect::<Vec<_>>()
        };
        self.apps.iter().flat_map(of_app).collect()
    }
}

fn covers(names: &[String], name: &str) -> bool {
    names.iter().any(|known| known == "*" || known == name)
}

/// A repository's name alone, with nothing in it that a URL or an owner could hide in.
fn is_repository(name: &str) -> bool {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    (1..=100).contains(&name.len()) && name.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo() -> Profiles {
        Profiles::load(None).unwrap()
    }

    #[test]
    fn profile_with_named_repositories_covers_those_and_no_other() {
        let order = demo().order("acme-ci", "default", None).unwrap();
        assert_eq!(order.repositories, ["web", "api"]);
        assert_eq!(demo().order("acme-ci", "default", Some("web")), Ok(order));
        let other = demo().order("acme-ci", "default", Some("billing"));
        assert_eq!(other, Err(NoSuchToken::RepositoryNotCovered));
        assert!(demo().order("acme-ci", "packages", Some("billing")).is_ok());
    }

    #[test]
    fn profile_for_the_callers_repository_needs_one_that_is_a_name() {
        let order = |repository| demo().order("acme-ci", "one-repository", repository);
        assert_eq!(order(None), Err(NoSuchToken::RepositoryNeeded));
        assert_eq!(order(Some("web")).unwrap().repositories, ["web"]);
        for malformed in ["", "acme/web", "web web", "we%62"] {
            assert_eq!(
                order(Some(malformed)),
                Err(NoSuchToken::RepositoryMalformed),
                "{malformed}"
            );
        }
    }

    #[test]
    fn unknown_names_are_told_apart() {
        assert_eq!(demo().order("nobody", "default", None), Err(NoSuchToken::App));
        assert_eq!(
            demo().order("acme-ci", "nothing", None),
            Err(NoSuchToken::Profile)
        );
    }

    #[test]
    fn digest_follows_the_content_and_not_the_layout() {
        let compact = serde_json::to_string(&demo()).unwrap();
        let same = Profiles::parse(&compact).unwrap();
        assert_eq!(same.digest().unwrap(), demo().digest().unwrap());
        let other = Profiles::parse(&compact.replace("contents:read", "contents:write")).unwrap();
        assert_ne!(other.digest().unwrap(), demo().digest().unwrap());
    }

    #[test]
    fn sharing_with_a_bridge_changes_no_key() {
        let bridge = r#"{"apps":{"a":{"profiles":{},"bridge":{"organization":"acme","digest":"d"}}}}"#;
        let shared = Profiles::parse(bridge).unwrap();
        let alone = Profiles::parse(r#"{"apps":{"a":{"profiles":{}}}}"#).unwrap();
        assert_eq!(shared.digest().unwrap(), alone.digest().unwrap());
    }

    #[test]
    fn wrong_file_is_refused_with_its_name() {
        let error = Profiles::load(Some(Path::new("no-such-file.json"))).unwrap_err();
        assert!(format!("{error:#}").contains("no-such-file.json"));
        assert!(Profiles::parse(r#"{"apps":{},"more":1}"#).is_err());
    }
}
