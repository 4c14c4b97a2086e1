//! The settings that `deploy/` offers are accepted as they are.

use anyhow::{Context as _, Result, ensure};
use cache_core::CacheConfig;

use crate::deploy;

/// Fails where these settings are refused, or where something in them is to be warned about.
pub(crate) fn accept(settings: Vec<(String, String)>) -> Result<CacheConfig> {
    // What the platform mounts is not there on this machine.
    let secret = tempfile::NamedTempFile::new()?;
    std::fs::write(secret.path(), "a secret")?;
    let secret = secret.path().display().to_string();
    let settings = settings.into_iter().map(|(name, value)| {
        if name.ends_with("_FILE") {
            (name, secret.clone())
        } else {
            (name, value)
        }
    });
    let loaded = CacheConfig::from_vars(settings)?;
    ensure!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    Ok(loaded.config)
}

/// The settings in the text of an environment file, those in comments, too: what is offered there has to be accepted.
fn settings(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
    let settings = lines.filter(|line| line.starts_with("CACHE_") && line.contains('='));
    settings
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn the_example_environments_are_accepted() -> Result<()> {
    let mut looked = 0;
    for entry in std::fs::read_dir(deploy("env"))? {
        let path = entry?.path();
        let settings = settings(&std::fs::read_to_string(&path)?);
        ensure!(settings.len() > 3, "{} sets nothing", path.display());
        accept(settings).with_context(|| path.display().to_string())?;
        looked += 1;
    }
    assert_eq!(looked, 3);
    Ok(())
}
