//! What came of reading settings: the configuration, what deserves a warning, and what came from where.

use std::fmt;

use super::{CacheConfig, ConfigError, assemble, settings::Settings};

/// A configuration that was read, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub config: CacheConfig,
    /// What works and should be changed all the same: older names, settings that have no effect.
    pub warnings: Vec<Warning>,
    /// Every setting with its origin, in the order of the reference table.
    pub settings: Vec<Setting>,
}

/// Something that works and should be changed all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The variable (or the setting of the file) that should be changed.
    pub variable: String,
    /// What should be changed about it; never a value.
    pub message: String,
}

/// A setting, its value as written, and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting {
    /// The variable's newest name.
    pub name: &'static str,
    /// The value as written; `***` for a secret, the length of what is longer than 1 KiB; what holds by
    /// default where nothing is written.
    pub value: String,
    /// Where the value comes from.
    pub origin: Origin,
}

/// Where the value of a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nothing is written.
    Default,
    /// The file of `CACHE_CONFIG_FILE`, under this name.
    File(String),
    /// The variable of this name: the newest, an older one, or one that ends with `_FILE`.
    Variable(String),
}

impl Loaded {
    /// Reads `variables` as if they were the environment, together with the files that they name.
    pub(super) fn from_settings(mut settings: Settings) -> Result<Self, ConfigError> {
        let config = assemble::assemble(&mut settings);
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
    /// Everything that is wrong, at once, each by the name under which it was set, without its value.
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
        Loaded::from_settings(Settings::gather(variables))
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
