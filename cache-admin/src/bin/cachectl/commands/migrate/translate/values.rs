//! Settings that have one value: logins, TLS, timeouts, names.

use std::time::Duration;

use cache_core::config::variable;

use super::super::names::Role;
use super::{Old, Translation};

const UNVERIFIED: &str = "the old client did not verify certificates, and here they always are: trust the servers' authority by \
                          CACHE_CA_CERT_BASE64_FILE, and set CACHE_TLS_SERVER_NAME if certificates carry another name";

impl Translation {
    pub(super) fn take_value(&mut self, old: &Old) {
        match old.role {
            Role::Same(name) => self.take_same(old, name),
            Role::TlsSwitch => self.take_tls(old),
            Role::VerifySwitch if !is_on(&old.value) => self.note("insecure", &old.name, UNVERIFIED),
            Role::InsecureSwitch if is_on(&old.value) => self.note("insecure", &old.name, UNVERIFIED),
            Role::Duration(name) => self.take_duration(old, &[name]),
            Role::CallTimeout => self.take_duration(old, &["CACHE_READ_TIMEOUT", "CACHE_WRITE_TIMEOUT"]),
            _ => {}
        }
    }

    fn take_same(&mut self, old: &Old, name: &'static str) {
        let Some(known) = variable(name) else { return };
        if self.has(name) {
            let message = format!("has no effect, because {name} is set already");
            return self.note("contradiction", &old.name, message);
        }
        let is_pem = name.starts_with("CACHE_CA_CERT")
            || name.starts_with("CACHE_CLIENT_CERT")
            || name.starts_with("CACHE_CLIENT_KEY");
        let value = old.value.trim();
        if old.in_file || (is_pem && is_path(value)) {
            if known.from_file {
                self.give(&format!("{name}_FILE"), value, &[&old.name]);
            } else {
                let message =
                    format!("names a file, and {name} takes its value only: write the content there");
                self.note("not-carried-over", &old.name, message);
            }
        } else if known.secret {
            self.give_secret(name, format!("${{{}}}", old.name), &old.value, &old.name);
        } else if name != "CACHE_DB" || value != "0" {
            // The database 0 is the default.
            self.give(name, value, &[&old.name]);
        }
        if name == "CACHE_DYNAMODB_TABLE" {
            self.note(
                "types",
                &old.name,
                "the old table has another key and holds values in clear: make a new one, see MIGRATION.md",
            );
        }
    }

    /// TLS that one of several names asks for is used.
    fn take_tls(&mut self, old: &Old) {
        let has_tls = self.plain("CACHE_TLS_ENABLED") == Some("true");
        match (is_switch(&old.value), is_on(&old.value)) {
            (false, _) => self.give("CACHE_TLS_ENABLED", old.value.trim(), &[&old.name]),
            (true, true) if !has_tls => self.give("CACHE_TLS_ENABLED", "true", &[&old.name]),
            (true, false) if has_tls => {
                self.note(
                    "contradiction",
                    &old.name,
                    "says no TLS where the address asks for it: TLS is used",
                );
            }
            _ => {}
        }
    }

    fn take_duration(&mut self, old: &Old, names: &[&'static str]) {
        let Some(duration) = self.duration(old) else {
            return;
        };
        for name in names {
            if !self.has(name) {
                self.give(name, duration.clone(), &[&old.name]);
            }
        }
    }

    /// A duration with its unit; what has none is read as the client that most likely wrote it did.
    fn duration(&mut self, old: &Old) -> Option<String> {
        let text = old.value.trim();
        let iso = text.strip_prefix("PT").map(str::to_ascii_lowercase);
        let text = iso.as_deref().unwrap_or(text);
        if let Ok(number) = text.parse::<f64>() {
            if number <= 0.0 {
                self.note(
                    "not-carried-over",
                    &old.name,
                    "no timeout at all is not possible here: every call has one (3s)",
                );
                return None;
            }
            let is_spring = old.family.starts_with("SPRING_");
            let (unit, duration) = if is_spring || number >= 100.0 {
                (
                    "milliseconds",
                    Duration::try_from_secs_f64(number / 1_000.0).ok()?,
                )
            } else {
                ("seconds", Duration::try_from_secs_f64(number).ok()?)
            };
            if !is_spring {
                self.note(
                    "timeouts",
                    &old.name,
                    format!("has no unit and was taken for {unit}: look whether that is right"),
                );
            }
            return Some(humantime::format_duration(duration).to_string());
        }
        Some(text.to_owned())
    }
}

fn is_on(text: &str) -> bool {
    ![
        "",
        "false",
        "0",
        "no",
        "off",
        "none",
        "optional",
        "disabled",
        "cert_none",
    ]
    .contains(&text.trim().to_ascii_lowercase().as_str())
}

fn is_switch(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    [
        "true", "false", "1", "0", "yes", "no", "on", "off", "enabled", "disabled",
    ]
    .contains(&text.as_str())
}

fn is_path(text: &str) -> bool {
    let is_pem_text = text.contains("-----BEGIN");
    let extension = std::path::Path::new(text)
        .extension()
        .and_then(|extension| extension.to_str());
    !is_pem_text
        && (text.starts_with(['/', '.'])
            || extension.is_some_and(|extension| ["pem", "crt", "key", "cer"].contains(&extension)))
}
