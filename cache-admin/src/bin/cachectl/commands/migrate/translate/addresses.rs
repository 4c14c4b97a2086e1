//! Where the servers are: addresses, URLs, and how the servers belong together.

use super::super::names::{self, Role};
use super::super::url;
use super::{Old, Translation};

const PORT: &str = "6379";
const SENTINEL_PORT: &str = "26379";

impl Translation {
    /// Takes all that names servers out of `olds`; what URLs say besides is put there.
    pub(super) fn take_addresses(&mut self, olds: &mut Vec<Old>) {
        let mode = self.take_mode(olds);
        let port = take(olds, |role| role == Role::Port).into_iter().next();
        let readers = take(olds, |role| role == Role::Reader);
        let ranks = [
            Role::SentinelNodes,
            Role::ClusterNodes,
            Role::Addresses,
            Role::Host,
            Role::Url,
        ];
        let mut named: Vec<Old> = take(olds, |role| ranks.contains(&role));
        named.sort_by_key(|old| ranks.iter().position(|role| *role == old.role));
        let mut named = named.into_iter();
        let known = ["CACHE_ADDRS", "CACHE_URL", "CACHE_SECRET_ARN"];
        let used = match known.iter().find(|name| self.has(name)) {
            Some(_) => None,
            None => named.next(),
        };
        for old in named {
            let winner = used.as_ref().map_or("a CACHE_* name", |used| &used.name);
            self.note(
                "contradiction",
                &old.name,
                format!("has no effect, because {winner} names the server"),
            );
        }
        let Some(old) = used else { return };
        let role = if old.value.contains("://") || (old.role == Role::Url && !old.in_file) {
            Role::Url
        } else {
            old.role
        };
        match role {
            Role::Url if old.in_file => {
                let name = old.name.clone();
                self.give("CACHE_URL_FILE", old.value.trim(), &[&name]);
            }
            Role::Url => self.take_url(&old, mode.as_deref(), olds),
            role => {
                let default = match (&port, role) {
                    (Some(port), _) => port.value.trim(),
                    (None, Role::SentinelNodes) => SENTINEL_PORT,
                    (None, _) => PORT,
                };
                let list = addresses(&old.value, default);
                let mut from = vec![old.name.as_str()];
                from.extend(
                    port.as_ref()
                        .filter(|_| role == Role::Host)
                        .map(|port| port.name.as_str()),
                );
                self.give("CACHE_ADDRS", list.join(","), &from);
                let own = match role {
                    Role::SentinelNodes => Some("sentinel"),
                    Role::ClusterNodes => Some("cluster"),
                    _ => None,
                };
                self.set_mode(own.or(mode.as_deref()), &old.name);
            }
        }
        self.take_readers(&readers);
        self.look_at_names(olds, &old.name);
    }

    fn take_mode(&mut self, olds: &mut Vec<Old>) -> Option<String> {
        let mut mode = None;
        for old in take(olds, |role| matches!(role, Role::Mode | Role::ClusterSwitch)) {
            let text = old.value.trim().to_ascii_lowercase();
            let read = match text.as_str() {
                "cluster" | "true" | "1" | "yes" | "on" | "enabled" => "cluster",
                "sentinel" | "failover" => "sentinel",
                "single" | "standalone" | "simple" | "node" | "false" | "0" | "no" | "off" | "disabled"
                | "redis" | "valkey" => "single",
                _ => {
                    self.note(
                        "unknown",
                        &old.name,
                        "is neither single, cluster nor sentinel: set CACHE_MODE yourself",
                    );
                    continue;
                }
            };
            mode = Some(read.to_owned());
        }
        mode
    }

    fn set_mode(&mut self, mode: Option<&str>, from: &str) {
        if let Some(mode) = mode.filter(|mode| *mode != "single")
            && !self.has("CACHE_MODE")
        {
            self.give("CACHE_MODE", mode, &[from]);
        }
    }

    fn take_url(&mut self, old: &Old, mode: Option<&str>, olds: &mut Vec<Old>) {
        let parts = match url::read(&old.value) {
            Ok(parts) => parts,
            Err(why) => return self.note("url", &old.name, format!("cannot be taken over: {why}")),
        };
        let own_mode = if parts.master.is_some() {
            Some("sentinel")
        } else if parts.is_cluster {
            Some("cluster")
        } else {
            mode
        };
        self.set_mode(own_mode, &old.name);
        let same = |name: &str, olds: &[Old]| olds.iter().any(|own| own.role == Role::Same(find(name)));
        let is_overridden = ["CACHE_PASSWORD", "CACHE_USERNAME", "CACHE_DB"]
            .iter()
            .any(|name| same(name, olds))
            || olds.iter().any(|own| own.role == Role::TlsSwitch);
        if parts.is_ours && parts.password.is_some() && !is_overridden {
            self.give_secret("CACHE_URL", format!("${{{}}}", old.name), &old.value, &old.name);
            return;
        }
        let default = if parts.master.is_some() {
            SENTINEL_PORT
        } else {
            PORT
        };
        self.give(
            "CACHE_ADDRS",
            addresses(&parts.addresses, default).join(","),
            &[&old.name],
        );
        if parts.tls {
            self.give("CACHE_TLS_ENABLED", "true", &[&old.name]);
        }
        // A database 0 is the default.
        let db = parts.db.filter(|db| db != "0");
        for (name, value) in [
            ("CACHE_USERNAME", parts.username),
            ("CACHE_DB", db),
            ("CACHE_SENTINEL_MASTER", parts.master),
        ] {
            let Some(value) = value else { continue };
            if same(name, olds) {
                self.note(
                    "contradiction",
                    &old.name,
                    format!("has a part that is set by its own name, too: {name} is that one"),
                );
            } else {
                self.give(name, value, &[&old.name]);
            }
        }
        if let Some(password) = parts.password {
            if same("CACHE_PASSWORD", olds) {
                self.note(
                    "contradiction",
                    &old.name,
                    "has a password that is set by its own name, too: that one is used",
                );
            } else {
                let reference = format!("<the password in {}>", old.name);
                self.give_secret("CACHE_PASSWORD", reference, &password, &old.name);
            }
        }
        for (option, value) in parts.options {
            let name = format!("{} (option {})", old.name, option.to_ascii_lowercase());
            match names::role(&option) {
                Some(Role::Gone(why)) => self.note("not-carried-over", &name, why),
                Some(role) => olds.push(Old {
                    name,
                    family: old.family,
                    role,
                    value,
                    in_file: false,
                }),
                None => self.note(
                    "unknown",
                    &name,
                    "is not known here: look whether the service still needs it",
                ),
            }
        }
    }

    fn take_readers(&mut self, readers: &[Old]) {
        for reader in readers {
            let at = self
                .settings
                .iter()
                .position(|setting| setting.name == "CACHE_ADDRS");
            match at {
                Some(at) if !self.has("CACHE_MODE") => {
                    let setting = &mut self.settings[at];
                    if let super::Written::Plain(list) = &mut setting.written {
                        let more = addresses(&reader.value, PORT).join(",");
                        *list = format!("{list},{more}");
                        setting.from.push(reader.name.clone());
                    }
                    if !self.has("CACHE_READ_FROM") {
                        self.give("CACHE_READ_FROM", "prefer-replica", &[&reader.name]);
                    }
                }
                _ => self.note(
                    "not-carried-over",
                    &reader.name,
                    "replicas are found by asking the servers; CACHE_READ_FROM=prefer-replica reads from them",
                ),
            }
        }
    }

    /// What the servers' names and number say.
    fn look_at_names(&mut self, olds: &[Old], from: &str) {
        let Some(list) = self.plain("CACHE_ADDRS").map(str::to_owned) else {
            return;
        };
        let is_serverless = list.contains(".serverless.") && list.contains(".cache.amazonaws.com");
        if is_serverless || list.starts_with("clustercfg.") {
            self.set_mode(Some("cluster"), from);
        }
        let asks_for_tls =
            self.has("CACHE_TLS_ENABLED") || olds.iter().any(|old| old.role == Role::TlsSwitch);
        if is_serverless && !asks_for_tls {
            self.give("CACHE_TLS_ENABLED", "true", &[from]);
        }
        if list.contains(',') && !self.has("CACHE_MODE") && !self.has("CACHE_READ_FROM") {
            self.note(
                "topology",
                "CACHE_ADDRS",
                "several addresses in mode single are candidates for the one primary: set CACHE_MODE=cluster for a cluster, \
                 CACHE_READ_FROM=prefer-replica if replicas are to answer reads",
            );
        }
    }
}

/// Those of `olds` that have such a role, taken out.
fn take(olds: &mut Vec<Old>, is: impl Fn(Role) -> bool) -> Vec<Old> {
    let (taken, rest) = std::mem::take(olds).into_iter().partition(|old| is(old.role));
    *olds = rest;
    taken
}

/// The name as the list of settings has it.
fn find(name: &str) -> &'static str {
    cache_core::config::variable(name).map_or("", |known| known.name)
}

/// The addresses in a list, as `CACHE_ADDRS` takes them. Lists may be JSON.
fn addresses(text: &str, default_port: &str) -> Vec<String> {
    let is_json = text.trim_start().starts_with("[\"");
    let text = if is_json {
        text.trim().trim_matches(['[', ']'])
    } else {
        text
    };
    text.split([',', ';', ' ', '\n'])
        .map(|entry| entry.trim().trim_matches(['"', '\'']))
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            let entry = entry.split_once("://").map_or(entry, |(_, rest)| rest);
            match entry.matches(':').count() {
                0 => format!("{entry}:{default_port}"),
                1 => entry.to_owned(),
                _ if entry.ends_with(']') => format!("{entry}:{default_port}"),
                _ if entry.starts_with('[') => entry.to_owned(),
                _ => format!("[{entry}]:{default_port}"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_the_port_that_they_lack() {
        assert_eq!(addresses("a, b:7000", "6379"), ["a:6379", "b:7000"]);
        assert_eq!(
            addresses("::1;[::2];[::3]:7", "6379"),
            ["[::1]:6379", "[::2]:6379", "[::3]:7"]
        );
        assert_eq!(addresses(r#"["a:1","b:2"]"#, "6379"), ["a:1", "b:2"]);
        assert_eq!(addresses("redis://a:1,redis://b:2", "6379"), ["a:1", "b:2"]);
    }
}
