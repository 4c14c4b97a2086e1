//! The reference page says what the code does.

use std::path::Path;

use cache_core::CacheConfig;
use cache_core::config::{VARIABLES, markdown, markdown_of_aliases};

#[test]
fn page_contains_the_generated_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    for table in [markdown(), markdown_of_aliases()] {
        assert!(
            page.contains(&table),
            "docs/configuration.md should hold these lines:\n{table}"
        );
    }
}

#[test]
fn documented_defaults_match_the_code() {
    let load = |variables: &[(&str, &str)]| {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        CacheConfig::from_vars(variables).unwrap().config
    };
    for variable in VARIABLES {
        let value = variable.default.replace('`', "");
        // The rest are words for what holds where nothing is set.
        if value.is_empty() || value.contains(' ') {
            continue;
        }
        let needed: &[(&str, &str)] = match variable.name {
            "CACHE_L1_TTL" | "CACHE_L1_MAX_ENTRIES" | "CACHE_L1_TRACKING" => {
                &[("CACHE_L1_MAX_BYTES", "1MiB")]
            }
            name if name.starts_with("CACHE_MEMORY_") => &[],
            "CACHE_ENCRYPTION_FORM" | "CACHE_ENCRYPTION_MODE" | "CACHE_ENCRYPTION_REFRESH" => &[
                ("CACHE_ENCRYPTION_ENABLED", "true"),
                ("CACHE_ENCRYPTION_KEYSET_FILE", "keyset.json"),
            ],
            "CACHE_IAM_SERVICE" => &[
                ("CACHE_ADDRS", "cache:6379"),
                ("CACHE_TLS_ENABLED", "true"),
                ("CACHE_USERNAME", "app"),
                ("CACHE_IAM_ENABLED", "true"),
                ("CACHE_IAM_CACHE_NAME", "main"),
            ],
            _ => &[("CACHE_ADDRS", "cache:6379")],
        };
        let written = [needed, &[(variable.name, value.as_str())][..]].concat();
        assert_eq!(load(&written), load(needed), "{}", variable.name);
    }
}

#[test]
fn every_line_of_the_table_is_complete() {
    for variable in VARIABLES {
        assert!(variable.name.starts_with("CACHE_"), "{}", variable.name);
        assert!(
            !variable.form.is_empty() && !variable.meaning.is_empty(),
            "{}",
            variable.name
        );
        assert!(
            !variable.form.contains('|') && !variable.meaning.contains('|'),
            "{}",
            variable.name
        );
        assert!(
            variable.from_file || !variable.secret,
            "{}: a secret takes a file",
            variable.name
        );
    }
}
