//! The result of reading settings: the configuration, warnings, and each setting's origin.

use std::fmt;

use super::{CacheConfig, ConfigError, resolve, sources::Sources};

/// A configuration that was read, with warnings and origins.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub config: CacheConfig,
    /// Sources that work but should be changed: older names, settings without an effect.
    pub warnings: Vec<Warning>,
    /// Every setting with its origin, in the order of the reference table.
    pub settings: Vec<Setting>,
}

/// A setting that works but should be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The variable (or the setting of the file) to change.
    pub variable: String,
    /// What to change; never a value.
    pub message: String,
}

/// A setting, its value as written, and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting {
    /// The variable's newest name.
    pub name: &'static str,
    /// The value as written: `***` for a secret, the length if longer than 1 KiB, the default if nothing is
    /// written.
    pub value: String,
    /// Where the value comes from.
    pub origin: Origin,
}

/// Where the value of a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The setting is not written.
    Default,
    /// The file of `CACHE_CONFIG_FILE`, under this name.
    File(String),
    /// The variable of this name: the newest name, an older one, or one that ends with `_FILE`.
    Variable(String),
}

impl Loaded {
    /// Reads the gathered settings and the files that they name.
    pub(super) fn from_settings(mut settings: Sources) -> Result<Self, ConfigError> {
        let config = resolve::resolve(&mut settings);
        let (problems, warnings, settings) = settings.finish();
        ConfigError::unless_empty(problems)?;
        Ok(Self {
            config,
            warnings,
            settings,
        })
    }
}

impl CacheConfig {
    /// Reads `variables` as if they were the environment, together with the files that they name.
    ///
    /// # Errors
    ///
    /// All problems at once, each with the name under which the value was set, but without the value.
    ///
    /// # Examples
    ///
    /// ```
    /// use cache_core::CacheConfig;
    ///
    /// let loaded = CacheConfig::from_vars([("REDIS_HOST".to_owned(), "cache.example".to_owned())])?;
    /// assert_eq!(loaded.config.backend.to_string(), "Valkey(single, cache.example:6379)");
    /// assert_eq!(loaded.warnings[0].to_string(), "REDIS_HOST: is an older name, set CACHE_ADDRS instead");
    /// # Ok::<(), cache_core::ConfigError>(())
    /// ```
    pub fn from_vars(variables: impl IntoIterator<Item = (String, String)>) -> Result<Loaded, ConfigError> {
        Loaded::from_settings(Sources::gather(variables))
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.message)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name) => write!(f, "{name} in the file of CACHE_CONFIG_FILE"),
            Self::Variable(name) => f.write_str(name),
        }
    }
}
