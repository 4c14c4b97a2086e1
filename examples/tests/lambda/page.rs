//! The settings that docs/lambda.md offers are accepted as they are.

use anyhow::{Context as _, Result, ensure};
use cache_core::CacheConfig;

const PAGE: &str = include_str!("../../../docs/lambda.md");

#[test]
fn settings_of_the_page_are_accepted() -> Result<()> {
    let mut looked = 0;
    for block in PAGE.split("```sh\n").skip(1) {
        let (block, _) = block.split_once("```").context("a block without an end")?;
        let settings: Vec<_> = block
            .lines()
            .filter(|line| line.starts_with("CACHE_"))
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if settings.is_empty() {
            continue;
        }
        let loaded = CacheConfig::from_vars(settings).with_context(|| block.to_owned())?;
        ensure!(loaded.warnings.is_empty(), "{block}: {:?}", loaded.warnings);
        looked += 1;
    }
    assert_eq!(looked, 3);
    Ok(())
}
