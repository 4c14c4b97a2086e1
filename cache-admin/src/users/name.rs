//! Names: what may be one, and what becomes of it where names are short.

/// The longest id of a user at ElastiCache.
pub(super) const LONGEST_ID: usize = 40;

/// Whether `text` is lower-case words with single hyphens between them: what every place takes as a name.
pub(super) fn is_plain(text: &str) -> bool {
    let starts = text.starts_with(|first: char| first.is_ascii_lowercase());
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    starts && text.bytes().all(plain) && !text.ends_with('-') && !text.contains("--")
}

/// The id of the user of that name where ids have at most 40 characters and end with no hyphen.
pub(super) fn id_of(name: &str) -> &str {
    let end = name.len().min(LONGEST_ID);
    name.get(..end).unwrap_or(name).trim_end_matches('-')
}

/// The id of the user named `default` that the user group of that id gets at ElastiCache.
pub(super) fn default_id_of(group: &str) -> String {
    const END: &str = "-default";
    let longest = group.len().min(LONGEST_ID - END.len());
    let start = group.get(..longest).unwrap_or(group).trim_end_matches('-');
    format!("{start}{END}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_words_with_single_hyphens() {
        for good in ["a", "billing", "billing-v2", "b2b"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in [
            "", "-a", "a-", "a--b", "2b", "Billing", "a b", "a_b", "a:b", "\u{e4}", "a\n",
        ] {
            assert!(!is_plain(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut_and_ends_with_no_hyphen() {
        assert_eq!(id_of("app-billing"), "app-billing");
        let long = format!("{}-b", "a".repeat(39));
        assert_eq!(id_of(&long), "a".repeat(39));
    }

    #[test]
    fn default_user_of_a_group_with_a_long_id_has_an_id_that_fits() {
        assert_eq!(default_id_of("app-cache"), "app-cache-default");
        let long = default_id_of(&format!("{}-{}", "a".repeat(31), "b".repeat(8)));
        assert_eq!(long, format!("{}-default", "a".repeat(31)));
        assert!(is_plain(&long) && long.len() <= LONGEST_ID);
    }
}
