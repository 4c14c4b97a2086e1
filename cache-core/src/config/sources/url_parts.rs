//! The parts of a URL as settings: which of them win, and what contradicts them.
//!
//! Not in here: parsing the URL (`url`).

use std::collections::BTreeMap;

use super::super::reference::{self as var, Variable};
use super::super::{Origin, alias, parse, url};
use super::{Given, Sources};
use crate::Secret;

impl Sources {
    /// Splits the URL into settings. A part must not also be written under its own name, unless that name is
    /// in `above`, which overrides the URL. If `above` has the address, the URL has no effect at all, because
    /// settings for one server must not go to another.
    pub(super) fn spread_url(&mut self, above: &[&'static str]) {
        if above.contains(&var::URL.name) || self.is_broken(&var::URL) {
            return;
        }
        let Some(given) = self.given.get(var::URL.name) else {
            return;
        };
        let (text, origin, alias, file) = (
            given.text.clone(),
            given.origin.clone(),
            given.alias,
            given.file.clone(),
        );
        if above.contains(&var::ADDRS.name) {
            let addresses = self.label(&var::ADDRS);
            self.given.remove(var::URL.name);
            return self.warn_as(
                &origin.to_string(),
                format!("has no effect, because {addresses} is set"),
            );
        }
        let parts = match url::read(text.expose()) {
            Ok(parts) => parts,
            Err(why) => {
                self.refuse(&var::URL, &[], why);
                self.broken.insert(var::ADDRS.name);
                return;
            }
        };
        let parts_have_tls = parts.tls;
        let mode = parts.master.is_some().then(|| "sentinel".to_owned());
        let parts = [
            (&var::ADDRS, Some(parts.addresses), "addresses"),
            (&var::TLS_ENABLED, Some(parts.tls.to_string()), "a scheme"),
            (&var::MODE, mode, "sentinels"),
            (&var::SENTINEL_MASTER, parts.master, "sentinels"),
            (&var::USERNAME, parts.username, "a user name"),
            (&var::PASSWORD, parts.password, "a password"),
            (&var::DB, parts.db, "a database"),
        ];
        let url = origin.to_string();
        for (variable, text, what) in parts {
            let Some(text) = text else { continue };
            let is_written = self.is_set(variable) || self.is_broken(variable);
            // A newer name wins over an older one, the environment over the file.
            if is_written && (alias || above.contains(&variable.name)) {
                continue;
            }
            let is_tls = variable.name == var::TLS_ENABLED.name;
            let is_same =
                |known: &str| known == text || is_tls && parse::switch(known) == parse::switch(&text);
            if self.text(variable).is_some_and(is_same) {
                continue;
            }
            if is_written {
                self.refuse(
                    variable,
                    &[],
                    if is_tls {
                        let tls = if parts_have_tls { "for TLS" } else { "for no TLS" };
                        format!("contradicts {url}, whose scheme asks {tls}: change one of the two (rediss:// asks for TLS)")
                    } else {
                        format!("must not be set together with {url}, which has {what}")
                    },
                );
                continue;
            }
            let given = Given {
                text: Secret::new(text),
                origin: origin.clone(),
                alias,
                file: file.clone(),
                of_url: true,
            };
            self.given.insert(variable.name, given);
        }
    }

    /// Takes a URL under an older name, unless the servers are already known.
    pub(super) fn gather_older_url(&mut self, written: &mut BTreeMap<String, String>, name: &'static str) {
        let known = [&var::ADDRS, &var::SECRET_ARN]
            .into_iter()
            .find(|variable| self.is_set(variable) || self.is_broken(variable));
        if let Some(known) = known {
            let in_file = format!("{name}_FILE");
            for used in [name, &in_file] {
                if written.remove(used).is_some() {
                    self.warn_as(used, alias::overridden(&self.label(known)));
                }
            }
            return;
        }
        self.take(written, &var::URL, name, "_FILE", true, Origin::Variable);
        self.spread_url(&[]);
    }

    /// Whether an older name asks for TLS and would lose against a URL without it.
    pub(super) fn would_lose_tls(&self, variable: &Variable, value: &str) -> bool {
        let of_url = self
            .given
            .get(variable.name)
            .filter(|given| given.of_url && given.alias);
        variable.name == var::TLS_ENABLED.name
            && of_url.is_some_and(|given| given.text.expose() == "false")
            && parse::switch(value.trim()) == Some(true)
    }
}
