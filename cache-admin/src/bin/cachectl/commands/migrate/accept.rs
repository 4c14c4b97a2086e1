//! Whether the new settings are accepted, by the same code that reads them in a service.

use cache_core::config::{Problem, variable};
use cache_core::{CacheConfig, ConfigError};

use super::translate::{Setting, Translation, Written};

/// The configuration that the new settings amount to; warnings become notes.
pub(super) fn accept(translation: &mut Translation) -> Result<CacheConfig, ConfigError> {
    let mut variables = Vec::new();
    let mut unread = Vec::new();
    for setting in &translation.settings {
        match &setting.written {
            Written::Secret { value, .. } => variables.push((setting.name.clone(), value.expose().clone())),
            Written::Plain(value) => match stand_in(setting, value) {
                Some(written) => variables.push(written),
                None => {
                    let parts = ["CACHE_CA_CERT_BASE64_FILE", "CACHE_CLIENT_CERT_BASE64_FILE"];
                    unread.push((setting.name.clone(), parts.contains(&setting.name.as_str())));
                }
            },
        }
    }
    // A certificate without its key is a problem, which the file that is missing here must not make.
    if unread.iter().any(|(name, _)| name.starts_with("CACHE_CLIENT_")) {
        variables.retain(|(name, _)| {
            !name.starts_with("CACHE_CLIENT_CERT") && !name.starts_with("CACHE_CLIENT_KEY")
        });
    }
    for (name, _) in unread {
        translation.note(
            "files",
            &name,
            "the file is not on this machine, so its content was not checked",
        );
    }
    let loaded = CacheConfig::from_vars(variables).map_err(|error| by_old_names(&error, translation))?;
    for warning in loaded.warnings {
        translation.note("settings", &warning.variable, warning.message);
    }
    Ok(loaded.config)
}

/// What is checked in place of a setting. A file that is not here counts as one that holds something.
fn stand_in(setting: &Setting, value: &str) -> Option<(String, String)> {
    let written = || (setting.name.clone(), value.to_owned());
    let Some(plain) = setting.name.strip_suffix("_FILE") else {
        return Some(written());
    };
    if variable(&setting.name).is_some() || std::fs::File::open(value).is_ok() {
        return Some(written());
    }
    match plain {
        "CACHE_PASSWORD" | "CACHE_SENTINEL_PASSWORD" => Some((plain.to_owned(), "in-a-file".to_owned())),
        "CACHE_URL" => Some((plain.to_owned(), "redis://in-a-file:6379".to_owned())),
        _ => None,
    }
}

/// The problems, each with the old variables that it comes from.
fn by_old_names(error: &ConfigError, translation: &Translation) -> ConfigError {
    let problems = error.problems().iter().map(|problem| {
        let from = translation
            .settings
            .iter()
            .find(|setting| setting.name == problem.variable)
            .map(|setting| setting.from.join(", "))
            .filter(|from| !from.is_empty() && *from != problem.variable);
        let variable = from.map_or_else(
            || problem.variable.clone(),
            |from| format!("{} (from {from})", problem.variable),
        );
        Problem {
            variable,
            message: problem.message.clone(),
        }
    });
    ConfigError::new(problems.collect())
}
