//! Notes about a keyset, kept as tags of its secret.
//!
//! Not in here: the requests that read and write tags.

use std::collections::BTreeMap;

use aws_sdk_secretsmanager::types::Tag;
use cache_core::CacheError;

/// What the names of our tags begin with; all others are left alone.
const PREFIX: &str = "cache-keyset/";

/// The service's limits: tags of a secret, characters of a name, characters of a value.
const MOST: usize = 50;
const LONGEST_NAME: usize = 128;
const LONGEST_VALUE: usize = 256;

/// The notes among a secret's tags.
pub(super) fn from_tags(tags: &[Tag]) -> BTreeMap<String, String> {
    tags.iter()
        .filter_map(|tag| {
            let name = tag.key()?.strip_prefix(PREFIX)?;
            Some((name.to_owned(), tag.value().unwrap_or_default().to_owned()))
        })
        .collect()
}

/// The notes as tags.
pub(super) fn to_tags(notes: &BTreeMap<String, String>) -> Vec<Tag> {
    notes
        .iter()
        .map(|(name, value)| Tag::builder().key(format!("{PREFIX}{name}")).value(value).build())
        .collect()
}

/// The names of those of our tags that `notes` no longer have.
pub(super) fn superfluous(tags: &[Tag], notes: &BTreeMap<String, String>) -> Vec<String> {
    from_tags(tags)
        .keys()
        .filter(|name| !notes.contains_key(*name))
        .map(|name| format!("{PREFIX}{name}"))
        .collect()
}

/// Refuses notes that Secrets Manager would not take, before anything is written.
pub(super) fn check(notes: &BTreeMap<String, String>) -> Result<(), CacheError> {
    let wrong = |reason: String| CacheError::InvalidInput {
        argument: "notes",
        reason: reason.into(),
    };
    if notes.len() > MOST {
        return Err(wrong(format!(
            "a secret takes at most {MOST} tags, and there are {} notes; remove old keys",
            notes.len()
        )));
    }
    for (name, value) in notes {
        let is_allowed = |text: &str| {
            text.chars()
                .all(|char| char.is_alphanumeric() || " +-=._:/@".contains(char))
        };
        if name.is_empty() || PREFIX.len() + name.chars().count() > LONGEST_NAME || !is_allowed(name) {
            return Err(wrong(format!(
                "the name {name:?} is no tag's name: at most {} letters, digits, spaces and +-=._:/@",
                LONGEST_NAME - PREFIX.len()
            )));
        }
        if value.chars().count() > LONGEST_VALUE || !is_allowed(value) {
            return Err(wrong(format!(
                "the value of {name} is no tag's value: at most {LONGEST_VALUE} letters, digits, spaces and +-=._:/@"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn notes_round_trip_and_foreign_tags_stay() {
        let before = notes(&[("added/1", "2026-01-02T03:04:05Z"), ("added/2", "x")]);
        let mut tags = to_tags(&before);
        tags.push(Tag::builder().key("team").value("payments").build());
        assert_eq!(from_tags(&tags), before);
        let after = notes(&[("added/2", "x")]);
        assert_eq!(superfluous(&tags, &after), ["cache-keyset/added/1"]);
    }

    #[test]
    fn notes_beyond_the_services_limits_are_refused() {
        let long = "x".repeat(257);
        for wrong in [
            notes(&[("", "x")]),
            notes(&[("added#1", "x")]),
            notes(&[("added", &long)]),
            notes(&[("added", "a\nb")]),
            (0..51)
                .map(|number| (number.to_string(), String::new()))
                .collect(),
        ] {
            assert!(check(&wrong).is_err(), "{wrong:?}");
        }
        assert!(check(&notes(&[("added/1", "2026-01-02T03:04:05.678+01:00")])).is_ok());
    }
}
