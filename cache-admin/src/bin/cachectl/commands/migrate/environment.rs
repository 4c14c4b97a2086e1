//! The variables of the old service: those of this process, or those in a file.
//!
//! Not in here: what they mean.

use std::collections::BTreeMap;
use std::path::Path;

use crate::failure::Failure;

/// The old service's variables by name. Empty ones count as not set.
pub(super) type Variables = BTreeMap<String, String>;

/// Those of `file`, or of this process.
pub(super) fn read(file: Option<&Path>) -> Result<Variables, Failure> {
    let mut variables = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::Usage(format!("--env-file {}: {error}", path.display())))?;
            parse(&text)
        }
        None => of_process(),
    };
    variables.retain(|_, value| !value.trim().is_empty());
    Ok(variables)
}

#[expect(
    clippy::disallowed_methods,
    reason = "these are another service's variables, not settings of ours"
)]
fn of_process() -> Variables {
    let text = std::env::vars_os().map(|(name, value)| (name.into_string(), value.into_string()));
    text.filter_map(|(name, value)| Some((name.ok()?, value.ok()?)))
        .collect()
}

/// Reads `NAME=value` lines as shells, Docker and Spring write them. Names with dots (`spring.data.redis.host`) become
/// the variables that Spring takes in their place.
fn parse(text: &str) -> Variables {
    let mut variables = Variables::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with(['#', '!']) {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        variables.insert(variable(name.trim()), unquoted(value.trim()));
    }
    variables
}

fn variable(name: &str) -> String {
    if name.contains(['.', '-']) {
        name.replace(['.', '-'], "_").to_ascii_uppercase()
    } else {
        name.to_owned()
    }
}

/// The value without the quotes around it, or without the comment behind it.
fn unquoted(value: &str) -> String {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote)
            && let Some(end) = rest.find(quote)
        {
            return rest[..end].to_owned();
        }
    }
    let end = value.find(" #").unwrap_or(value.len());
    value[..end].trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_shells_and_of_spring_are_read() {
        let text = "# a comment\nexport REDIS_HOST=cache # here\nREDIS_PASSWORD='a # b'\nREDIS_DB=\"2\"\n\
                    spring.data.redis.client-name=app\nno assignment\n";
        let read = parse(text);
        let expected = [
            ("REDIS_DB", "2"),
            ("REDIS_HOST", "cache"),
            ("REDIS_PASSWORD", "a # b"),
            ("SPRING_DATA_REDIS_CLIENT_NAME", "app"),
        ];
        assert_eq!(
            read,
            expected
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect()
        );
    }
}
