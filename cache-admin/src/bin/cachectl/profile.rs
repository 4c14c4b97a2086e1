//! Profiles: named sets of `CACHE_*` and `CACHECTL_*` settings, in a file of the user (`--profile NAME`).
//!
//! A profile takes the place of the environment: what the shell has set for another cache is never mixed in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cache_core::config::Loaded;
use cache_core::{CacheConfig, ConfigError};
use clap::Args;

use crate::failure::Failure;

/// The settings of this program that a profile may hold.
const OURS: [&str; 6] = [
    "CACHECTL_AUDIT",
    "CACHECTL_CLIENT_CERT",
    "CACHECTL_CLIENT_KEY",
    "CACHECTL_SERVER",
    "CACHECTL_SERVER_CA",
    "CACHECTL_TOKEN_FILE",
];

/// The settings of the profile in use.
static IN_USE: OnceLock<BTreeMap<String, String>> = OnceLock::new();

/// Which profile, and where it is.
#[derive(Args, Clone, Debug)]
pub(crate) struct Profile {
    /// Take the settings from this profile, in place of the environment
    #[arg(long, global = true, env = "CACHECTL_PROFILE", value_name = "NAME")]
    profile: Option<String>,
    /// The file of the profiles [default: cachectl/profiles.toml in ~/.config or XDG_CONFIG_HOME]
    #[arg(long, global = true, env = "CACHECTL_PROFILES", value_name = "FILE")]
    profiles: Option<PathBuf>,
    /// Set by the variable of this name: where the configuration of the user is
    #[arg(long, env = "XDG_CONFIG_HOME", hide = true, hide_env = true)]
    config_home: Option<PathBuf>,
}

impl Profile {
    /// Reads the profile, if one was asked for, and has it used from now on.
    pub(crate) fn put_to_use(&self) -> Result<(), Failure> {
        let Some(name) = &self.profile else {
            return Ok(());
        };
        let path = self.path().ok_or_else(|| {
            Failure::Profile(
                "--profile: there is no home directory; name the file with --profiles".to_owned(),
            )
        })?;
        let read = read(&path, name);
        let read = read
            .map_err(|reason| Failure::Profile(format!("--profile {name}: {}: {reason}", path.display())))?;
        // It is read once.
        let _ = IN_USE.set(read);
        Ok(())
    }

    fn path(&self) -> Option<PathBuf> {
        self.profiles.clone().or_else(|| {
            let home = self.config_home.clone();
            let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".config")));
            Some(home?.join("cachectl").join("profiles.toml"))
        })
    }
}

/// The configuration of the profile in use, or else of the environment.
pub(crate) fn loaded() -> Result<Loaded, ConfigError> {
    match IN_USE.get() {
        Some(settings) => {
            let settings = settings.iter().filter(|(name, _)| name.starts_with("CACHE_"));
            CacheConfig::from_vars(settings.map(|(name, value)| (name.clone(), value.clone())))
        }
        None => Loaded::from_env(),
    }
}

/// Whether a profile is in use, and what it says of a setting.
pub(crate) fn setting(name: &str) -> Option<Option<&'static str>> {
    IN_USE
        .get()
        .map(|settings| settings.get(name).map(String::as_str))
}

fn read(path: &Path, name: &str) -> Result<BTreeMap<String, String>, String> {
    check_mode(path)?;
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    // An error of the parser would quote the line, which may hold a secret.
    let mut file: toml::Table = toml::from_str(&text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start].lines().count().max(1));
        let line = line.map_or_else(String::new, |line| format!(", near line {line}"));
        format!("is not TOML{line}")
    })?;
    let Some(profile) = file.remove(name) else {
        let names: Vec<&str> = file.keys().map(String::as_str).collect();
        return Err(format!("has no [{name}]; it has {}", names.join(", ")));
    };
    let toml::Value::Table(profile) = profile else {
        return Err(format!("{name} must be a table: [{name}]"));
    };
    profile
        .into_iter()
        .map(|(name, value)| one(name, value))
        .collect()
}

fn one(name: String, value: toml::Value) -> Result<(String, String), String> {
    if !name.starts_with("CACHE_") && !OURS.contains(&name.as_str()) {
        return Err(format!(
            "{name} is not known: CACHE_* and {} are",
            OURS.join(", ")
        ));
    }
    match value {
        toml::Value::String(text) => Ok((name, text)),
        toml::Value::Integer(number) => Ok((name, number.to_string())),
        toml::Value::Boolean(yes) => Ok((name, yes.to_string())),
        _ => Err(format!("{name} must be text, a whole number, or true or false")),
    }
}

/// It may hold secrets, and says where commands go: nobody else may read or write it.
#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;

    let metadata = path.metadata().map_err(|error| error.to_string())?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(format!(
        "others may read or write it (mode {mode:04o}); chmod 600 makes it yours alone"
    ))
}

#[cfg(not(unix))]
fn check_mode(_: &Path) -> Result<(), String> {
    Ok(())
}
