//! Gathers written settings and their sources: the environment, the file, older names, files that hold one
//! value.
//!
//! Newer names win over older ones, the environment over the file. An empty value counts as not written. Not
//! in here: the meaning of the values.

mod url_parts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::reference::{self as var, VARIABLES, Variable};
use super::{Origin, Problem, Setting, Warning, alias, file};
use crate::Secret;

const LONGEST_SHOWN: usize = 1024;

/// What is written for each setting, with the problems so far.
#[derive(Debug, Default)]
pub(super) struct Sources {
    given: BTreeMap<&'static str, Given>,
    broken: BTreeSet<&'static str>,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

#[derive(Debug)]
struct Given {
    text: Secret,
    origin: Origin,
    alias: bool,
    /// The file that held it.
    file: Option<PathBuf>,
    /// Whether it is part of a URL.
    of_url: bool,
}

/// Whether a variable of the environment can be one of ours.
pub(super) fn is_of_interest(name: &str) -> bool {
    name.starts_with("CACHE_") || alias::is_alias(name)
}

impl Sources {
    /// Gathers `variables` and the files that they name.
    pub(super) fn gather(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut settings = Self::default();
        let mut written: BTreeMap<String, String> = variables
            .into_iter()
            .filter(|(name, _)| is_of_interest(name))
            .collect();
        if written
            .get(var::ADDRS.name)
            .is_some_and(|addresses| addresses.trim().is_empty())
        {
            settings.warn_as(var::ADDRS.name, "is empty and counts as not set".to_owned());
        }
        written.retain(|_, value| !value.trim().is_empty());

        for variable in VARIABLES {
            settings.take(
                &mut written,
                variable,
                variable.name,
                "_FILE",
                false,
                Origin::Variable,
            );
        }
        settings.spread_url(&[]);
        if let Some(path) = settings.text(&var::CONFIG_FILE).map(ToOwned::to_owned) {
            settings.gather_file(&path);
        }
        settings.gather_aliases(&mut written);
        for name in written.keys().filter(|name| name.starts_with("CACHE_")) {
            if !is_service_link(name, &written[name]) {
                settings.report(name, unknown(name, |variable| variable.name.to_owned()));
            }
        }
        settings
    }

    fn gather_file(&mut self, path: &str) {
        let entries = match file::read(path).and_then(|text| file::parse(&text)) {
            Ok(entries) => entries,
            Err(message) => return self.refuse(&var::CONFIG_FILE, &[], message),
        };
        let of_environment: Vec<&str> = self.given.keys().copied().collect();
        let mut written = BTreeMap::new();
        for (name, value) in entries {
            match value {
                Ok(value) if value.trim().is_empty() => {}
                Ok(value) => {
                    written.insert(name, value);
                }
                Err(message) => {
                    self.broken.extend(
                        VARIABLES
                            .iter()
                            .find(|known| known.file_key() == name)
                            .map(|known| known.name),
                    );
                    self.report(&Origin::File(name).to_string(), message.to_owned());
                }
            }
        }
        for variable in VARIABLES
            .iter()
            .filter(|variable| variable.name != var::CONFIG_FILE.name)
        {
            self.take(
                &mut written,
                variable,
                &variable.file_key(),
                "_file",
                false,
                Origin::File,
            );
        }
        self.spread_url(&of_environment);
        for name in written.into_keys() {
            let message = unknown(&name, Variable::file_key);
            self.report(&Origin::File(name).to_string(), message);
        }
    }

    fn gather_aliases(&mut self, written: &mut BTreeMap<String, String>) {
        for variable in VARIABLES {
            for name in variable.aliases.iter().copied() {
                if alias::is_of_pair(name) {
                    self.gather_pair(written);
                } else if variable.name == var::URL.name {
                    self.gather_older_url(written, name);
                } else {
                    self.take(written, variable, name, "_FILE", true, Origin::Variable);
                }
            }
        }
    }

    fn gather_pair(&mut self, written: &mut BTreeMap<String, String>) {
        let pair = alias::take_pair(written);
        match pair {
            alias::Pair::None => {}
            _ if self.is_set(&var::ADDRS) => {
                self.warn_as(alias::PAIR, alias::overridden(&self.label(&var::ADDRS)));
            }
            alias::Pair::Address(address) => {
                let origin = Origin::Variable(alias::PAIR.to_owned());
                self.give(&var::ADDRS, address, origin, true, None);
            }
            alias::Pair::Wrong(name, message) => {
                self.broken.insert(var::ADDRS.name);
                self.report(name, message.to_owned());
            }
        }
    }

    /// Takes `name`, or its file, out of `written`, unless the setting already has a value or an older name
    /// belongs to another server than the address.
    fn take(
        &mut self,
        written: &mut BTreeMap<String, String>,
        variable: &'static Variable,
        name: &str,
        suffix: &str,
        alias: bool,
        origin: fn(String) -> Origin,
    ) {
        let value = written.remove(name);
        let in_file = format!("{name}{suffix}");
        let path = if variable.from_file {
            written.remove(&in_file)
        } else {
            None
        };
        let winner = if self.is_set(variable) || self.is_broken(variable) {
            Some(self.label(variable))
        } else if alias {
            Some(self.label(&var::ADDRS)).filter(|address| alias::is_of_previous_server(name, address))
        } else {
            None
        };
        if let Some(winner) = winner {
            if alias && (value.is_some() || path.is_some()) {
                let used = if value.is_some() { name } else { in_file.as_str() };
                if value
                    .as_deref()
                    .is_some_and(|value| self.would_lose_tls(variable, value))
                {
                    // A warning would come only after the password has crossed the network unencrypted.
                    self.report(
                        used,
                        format!("contradicts {winner}, whose scheme asks for no TLS: use rediss://"),
                    );
                } else {
                    self.warn_as(used, alias::overridden(&winner));
                }
            }
            return;
        }
        match (value, path) {
            (None, None) => {}
            (Some(_), Some(_)) => {
                self.broken.insert(variable.name);
                self.report(
                    &origin(name.to_owned()).to_string(),
                    format!("must not be set together with {in_file}"),
                );
            }
            (Some(value), None) => {
                // A space at the end of a password may be part of it.
                let value = if variable.secret {
                    value
                } else {
                    value.trim().to_owned()
                };
                self.give(variable, value, origin(name.to_owned()), alias, None);
            }
            (None, Some(path)) => {
                let origin = origin(in_file);
                let path = Path::new(path.trim());
                match file::read_value(path) {
                    Ok(text) => self.give(variable, text, origin, alias, Some(path.to_owned())),
                    Err(message) => {
                        self.broken.insert(variable.name);
                        self.report(&origin.to_string(), message);
                    }
                }
            }
        }
    }

    fn give(
        &mut self,
        variable: &'static Variable,
        text: String,
        origin: Origin,
        alias: bool,
        file: Option<PathBuf>,
    ) {
        if alias {
            self.warn_as(&origin.to_string(), alias::in_use(variable));
        }
        self.given.insert(
            variable.name,
            Given {
                text: Secret::new(text),
                origin,
                alias,
                file,
                of_url: false,
            },
        );
    }

    /// The file that held the setting, and whether it held a URL that contains the setting.
    pub(super) fn file(&self, variable: &Variable) -> Option<(&Path, bool)> {
        let given = self.given.get(variable.name)?;
        Some((given.file.as_deref()?, given.of_url))
    }

    /// The written value.
    pub(super) fn text(&self, variable: &Variable) -> Option<&str> {
        self.given
            .get(variable.name)
            .map(|given| given.text.expose().as_str())
    }

    /// Whether a value is written.
    pub(super) fn is_set(&self, variable: &Variable) -> bool {
        self.given.contains_key(variable.name)
    }

    /// Whether the value is part of a URL.
    pub(super) fn is_of_url(&self, variable: &Variable) -> bool {
        self.given.get(variable.name).is_some_and(|given| given.of_url)
    }

    /// Whether the value is written under an older name.
    pub(super) fn is_alias(&self, variable: &Variable) -> bool {
        self.given.get(variable.name).is_some_and(|given| given.alias)
    }

    /// Whether the setting already has a problem.
    pub(super) fn is_broken(&self, variable: &Variable) -> bool {
        self.broken.contains(variable.name)
    }

    /// The name under which the setting is written, otherwise its own name.
    pub(super) fn label(&self, variable: &Variable) -> String {
        self.given
            .get(variable.name)
            .map_or_else(|| variable.name.to_owned(), |given| given.origin.to_string())
    }

    /// Reports a problem of a setting, unless it has one already or the problem follows from one of `others`.
    pub(super) fn refuse(
        &mut self,
        variable: &'static Variable,
        others: &[&Variable],
        message: impl Into<String>,
    ) {
        if self.is_broken(variable) || others.iter().any(|other| self.is_broken(other)) {
            return;
        }
        self.broken.insert(variable.name);
        self.report(&self.label(variable), message.into());
    }

    /// Reports a problem of a setting under its own name, regardless of other problems.
    pub(super) fn refuse_name(&mut self, name: &str, message: &str) {
        self.broken
            .extend(var::variable(name).map(|variable| variable.name));
        self.report(name, message.to_owned());
    }

    /// Reports a problem that a check of the finished configuration found.
    pub(super) fn refuse_problem(&mut self, problem: Problem) {
        match var::variable(&problem.variable) {
            // Several entries of one list may be wrong, so the label is taken before the first is marked.
            Some(variable) if !self.is_broken(variable) => {
                self.report(&self.label(variable), problem.message);
            }
            Some(_) => {}
            None => self.problems.push(problem),
        }
    }

    /// Reports a problem under `label`.
    pub(super) fn report(&mut self, label: &str, message: String) {
        let problem = Problem {
            variable: label.to_owned(),
            message,
        };
        // Several parts of a URL may have the same problem.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Warns about a setting, by the name under which it is written.
    pub(super) fn warn(&mut self, variable: &Variable, message: impl Into<String>) {
        self.warn_as(&self.label(variable), message.into());
    }

    /// Warns that a setting has no effect. Whether its name is an older one then does not matter.
    pub(super) fn unused(&mut self, variable: &Variable, message: impl Into<String>) {
        let label = self.label(variable);
        self.warnings.retain(|warning| warning.variable != label);
        self.warn_as(&label, message.into());
    }

    fn warn_as(&mut self, label: &str, message: String) {
        let warning = Warning {
            variable: label.to_owned(),
            message,
        };
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Returns problems, warnings, and every setting with its origin.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<Warning>, Vec<Setting>) {
        let settings = VARIABLES.iter().map(|variable| {
            let (value, origin) = match self.given.get(variable.name) {
                Some(_) if variable.secret => ("***".to_owned(), self.given[variable.name].origin.clone()),
                Some(given) => (shown(given.text.expose()), given.origin.clone()),
                None => (variable.default.replace('`', ""), Origin::Default),
            };
            Setting {
                name: variable.name,
                value,
                origin,
            }
        });
        let settings = settings.collect();
        (self.problems, self.warnings, settings)
    }
}

/// A value for people; for a certificate chain, its length.
fn shown(text: &str) -> String {
    if text.len() > LONGEST_SHOWN {
        format!("{} bytes", text.len())
    } else {
        text.to_owned()
    }
}

/// The problem of an unknown name.
fn unknown(name: &str, spelled: impl Fn(&Variable) -> String) -> String {
    let rest = |name: &str| name.trim_start_matches("CACHE_").to_ascii_lowercase();
    let near = |variable: &Variable| strsim::jaro_winkler(&rest(name), &rest(variable.name));
    let nearest = VARIABLES.iter().max_by(|a, b| near(a).total_cmp(&near(b)));
    let nearest = nearest.map(|variable| spelled(variable)).unwrap_or_default();
    format!("is not known; the nearest known name is {nearest}")
}

/// Whether Kubernetes set this variable for a service whose name begins with `cache`, so it is not a mistake.
fn is_service_link(name: &str, value: &str) -> bool {
    let port = |protocol: &str| name.contains("_PORT_") && name.contains(protocol);
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || ["_TCP", "_UDP", "_SCTP"].into_iter().any(port)
        || (name.ends_with("_PORT") && value.contains("://"))
}
