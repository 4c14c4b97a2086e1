//! The new settings from the old variables, and what to know about them.
//!
//! Not in here: whether the new settings are accepted, and what the server says.

mod addresses;
mod values;

use std::collections::BTreeMap;

use cache_core::Secret;
use cache_core::config::variable;
use serde::Serialize;

use super::environment::Variables;
use super::names::{self, FAMILIES, Role};

/// One of the new settings.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) name: String,
    pub(super) written: Written,
    /// The old variables that it comes from.
    pub(super) from: Vec<String>,
}

/// How a setting is written.
#[derive(Debug)]
pub(super) enum Written {
    Plain(String),
    /// The value is never shown; `reference` says where to take it from.
    Secret {
        reference: String,
        value: Secret,
    },
}

/// Something to know.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Note {
    /// A word for scripts.
    pub(super) kind: &'static str,
    /// The variable, the command or the part of the server that it is about.
    pub(super) about: String,
    pub(super) message: String,
}

/// What came of the old variables.
#[derive(Debug, Default)]
pub(super) struct Translation {
    pub(super) settings: Vec<Setting>,
    pub(super) notes: Vec<Note>,
}

/// An old variable whose meaning is known.
#[derive(Clone, Debug)]
struct Old {
    name: String,
    family: &'static str,
    role: Role,
    value: String,
    /// Whether the value is the path of a file that holds it.
    in_file: bool,
}

/// Translates `variables`.
pub(super) fn translate(variables: &Variables) -> Translation {
    let mut translation = Translation::default();
    translation.keep_new_names(variables);
    let mut olds = translation.known(variables);
    let family = translation.choose_family(&mut olds);
    let mut by_role: Vec<Old> = Vec::new();
    for old in olds {
        match old.role {
            Role::Gone(why) => translation.note("not-carried-over", &old.name, why),
            _ => by_role.push(old),
        }
    }
    translation.take_addresses(&mut by_role);
    for old in by_role {
        translation.take_value(&old);
    }
    translation.finish(family);
    translation
}

impl Translation {
    pub(super) fn note(&mut self, kind: &'static str, about: &str, message: impl Into<String>) {
        let note = Note {
            kind,
            about: about.to_owned(),
            message: message.into(),
        };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.setting(name).is_some() || self.setting(&format!("{name}_FILE")).is_some()
    }

    fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }

    /// What is written for `name`, if it is no secret.
    pub(super) fn plain(&self, name: &str) -> Option<&str> {
        match &self.setting(name)?.written {
            Written::Plain(value) => Some(value),
            Written::Secret { .. } => None,
        }
    }

    pub(super) fn give(&mut self, name: &str, value: impl Into<String>, from: &[&str]) {
        self.settings.push(Setting {
            name: name.to_owned(),
            written: Written::Plain(value.into()),
            from: from.iter().map(|from| (*from).to_owned()).collect(),
        });
    }

    fn give_secret(&mut self, name: &str, reference: String, value: &str, from: &str) {
        self.settings.push(Setting {
            name: name.to_owned(),
            written: Written::Secret {
                reference,
                value: Secret::new(value.to_owned()),
            },
            from: vec![from.to_owned()],
        });
    }

    /// Settings that have their new names already.
    fn keep_new_names(&mut self, variables: &Variables) {
        for (name, value) in variables.iter().filter(|(name, _)| name.starts_with("CACHE_")) {
            let plain = name.strip_suffix("_FILE").unwrap_or(name);
            match variable(name).or_else(|| variable(plain).filter(|known| known.from_file)) {
                Some(known) if known.secret && known.name == *name => {
                    self.give_secret(name, format!("${{{name}}}"), value, name);
                }
                Some(_) => self.give(name, value.trim(), &[name]),
                None if names::is_service_link(name, value) => {}
                None => self.note(
                    "unknown",
                    name,
                    "is no setting of this client, which refuses names with CACHE_ that it does not know: rename or remove it",
                ),
            }
        }
    }

    /// The old variables whose meaning is known.
    fn known(&mut self, variables: &Variables) -> Vec<Old> {
        let mut olds = Vec::new();
        for (name, value) in variables {
            let Some((family, rest)) = names::split(name) else {
                continue;
            };
            if names::is_service_link(rest, value) {
                continue;
            }
            let of_file = || {
                let rest = rest.strip_suffix("_FILE")?;
                names::role(rest).filter(|role| matches!(role, Role::Same(_) | Role::Url))
            };
            match (names::role(rest), of_file()) {
                (Some(role), _) => olds.push(Old {
                    name: name.clone(),
                    family,
                    role,
                    value: value.clone(),
                    in_file: false,
                }),
                (None, Some(role)) => olds.push(Old {
                    name: name.clone(),
                    family,
                    role,
                    value: value.clone(),
                    in_file: true,
                }),
                (None, None) => {
                    self.note(
                        "unknown",
                        name,
                        "is not known here: look whether the service still needs it",
                    );
                }
            }
        }
        olds
    }

    /// Leaves the variables of one server only: a password must not go to another one.
    fn choose_family(&mut self, olds: &mut Vec<Old>) -> Option<&'static str> {
        let names_server = |old: &Old| {
            matches!(
                old.role,
                Role::Url | Role::Host | Role::Addresses | Role::ClusterNodes | Role::SentinelNodes
            ) || old.role == Role::Same("CACHE_SECRET_ARN")
        };
        if self.has("CACHE_ADDRS") || self.has("CACHE_URL") || self.has("CACHE_SECRET_ARN") {
            return None;
        }
        let chosen = FAMILIES
            .into_iter()
            .find(|family| olds.iter().any(|old| old.family == *family && names_server(old)))?;
        // What Spring keeps of its cache is no server of its own.
        let is_of = |old: &Old| old.family == chosen || old.family == "SPRING_CACHE_REDIS_";
        for old in olds.iter().filter(|old| !is_of(old)) {
            let message =
                format!("may be of another server than {chosen}*, whose address is used: not carried over");
            self.note("not-carried-over", &old.name, message);
        }
        olds.retain(is_of);
        Some(chosen)
    }

    /// What follows from all settings together.
    fn finish(&mut self, family: Option<&'static str>) {
        if self.has("CACHE_DYNAMODB_TABLE") && !self.has("CACHE_TYPE") {
            self.give("CACHE_TYPE", "dynamodb", &[]);
        }
        let names_server = ["CACHE_ADDRS", "CACHE_URL", "CACHE_SECRET_ARN"]
            .iter()
            .any(|name| self.has(name));
        if names_server && !self.has("CACHE_TYPE") {
            self.give("CACHE_TYPE", "valkey", &[]);
        }
        if !names_server && !self.has("CACHE_TYPE") {
            self.note(
                "no-server",
                "CACHE_ADDRS",
                "nothing here names a server: the service would use the embedded cache, which is empty at each start",
            );
        }
        if family.is_some_and(|family| family.starts_with("SPRING_")) {
            self.note(
                "values",
                "Spring",
                "unless a serializer is configured, Spring stores Java's own form of objects, which no other service reads: \
                 take new key names",
            );
        }
        if self.plain("CACHE_MODE") == Some("cluster") && self.plain("CACHE_DB").is_some_and(|db| db != "0") {
            self.note(
                "databases",
                "CACHE_DB",
                "a cluster has one database, number 0, unless it is Valkey from 9.0 with cluster-databases: keep the services \
                 apart by CACHE_KEY_PREFIX",
            );
        }
        let order: BTreeMap<&str, usize> = cache_core::config::VARIABLES
            .iter()
            .enumerate()
            .map(|(at, known)| (known.name, at))
            .collect();
        self.settings.sort_by_key(|setting| {
            let plain = setting.name.strip_suffix("_FILE").unwrap_or(&setting.name);
            order
                .get(setting.name.as_str())
                .or_else(|| order.get(plain))
                .copied()
        });
    }
}
