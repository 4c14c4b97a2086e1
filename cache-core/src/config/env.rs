//! The one place that reads the environment.

use std::ffi::OsString;

use super::sources::{self, Sources};
use super::{CacheConfig, ConfigError, Loaded};

impl Loaded {
    /// Reads the environment and the files that it names; logs nothing.
    ///
    /// # Errors
    ///
    /// All problems at once, each with the name under which the value was set, but without the value.
    pub fn from_env() -> Result<Self, ConfigError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one place that reads the environment"
        )]
        let variables = std::env::vars_os();
        Self::from_os_vars(variables)
    }

    fn from_os_vars(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, ConfigError> {
        let mut readable = Vec::new();
        let mut unreadable = Vec::new();
        for (name, value) in variables {
            let Ok(name) = name.into_string() else { continue };
            if !sources::is_of_interest(&name) {
                continue;
            }
            match value.into_string() {
                Ok(value) => readable.push((name, value)),
                Err(_) => unreadable.push(name),
            }
        }
        let mut settings = Sources::gather(readable);
        for name in unreadable {
            settings.refuse_name(&name, "must be UTF-8 text");
        }
        Self::from_settings(settings)
    }
}

impl CacheConfig {
    /// Reads the environment and the files that it names. Logs a warning for each setting that works but
    /// should be changed.
    ///
    /// # Errors
    ///
    /// All problems at once, each with the name under which the value was set, but without the value.
    pub fn from_env() -> Result<Self, ConfigError> {
        let loaded = Loaded::from_env()?;
        for warning in &loaded.warnings {
            tracing::warn!(variable = %warning.variable, "{}", warning.message);
        }
        Ok(loaded.config)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn non_utf8_value_fails_only_for_our_variables() {
        let broken = || OsString::from_vec(vec![b'x', 0xff]);
        let error = Loaded::from_os_vars([
            (OsString::from("CACHE_PASSWORD"), broken()),
            (OsString::from("SOMEBODY_ELSES"), broken()),
            (broken(), broken()),
        ])
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "wrong configuration: CACHE_PASSWORD: must be UTF-8 text"
        );
    }
}
