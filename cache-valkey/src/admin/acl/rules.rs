//! The state and rights of a user, as sets.
//!
//! Servers keep rules in their own order and report more than they were given. Only the server interprets them; here
//! they are words.

use std::collections::BTreeSet;
use std::fmt;

use super::PasswordHash;

/// The state and rights of one user.
///
/// Two are equal if they mean the same, in any order. The commands of a user with all but some (`+@all -get`) are
/// also compared as a set.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AclRules {
    /// Whether it may log in.
    pub enabled: bool,
    /// Whether it needs no password.
    pub passwordless: bool,
    /// The passwords that log it in.
    pub passwords: BTreeSet<PasswordHash>,
    /// Keys (`~billing:*`, `%R~billing:*`), channels (`&news`), commands (`+get`, `+client|tracking`, `-scan`) and
    /// selectors (`(%R~a:* +get)`), each as one word in the server's own form.
    pub permissions: BTreeSet<String>,
}

impl AclRules {
    /// An enabled user with `permissions` and no password yet.
    #[must_use]
    pub fn of(permissions: impl IntoIterator<Item = String>) -> Self {
        Self {
            enabled: true,
            permissions: permissions.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Parses the words that follow the name in a line of `ACL LIST` or of an ACL file.
    pub(super) fn read(text: &str) -> Self {
        let mut rules = Self::default();
        for word in words(text) {
            match word.as_str() {
                "on" => rules.enabled = true,
                "off" => rules.enabled = false,
                "nopass" => rules.passwordless = true,
                _ => match word.strip_prefix('#').and_then(PasswordHash::from_hex) {
                    Some(hash) => drop(rules.passwords.insert(hash)),
                    None => rules.permissions.extend(permission(&word)),
                },
            }
        }
        rules
    }

    /// The words that replace all earlier rules of a user with these.
    pub(super) fn modifiers(&self) -> Vec<String> {
        let mut words = vec!["reset".to_owned(), self.word().to_owned()];
        words.extend(self.passwordless.then(|| "nopass".to_owned()));
        words.extend(self.passwords.iter().map(|hash| format!("#{}", hash.expose())));
        words.extend(self.in_order().map(str::to_owned));
        words
    }

    /// Its permissions in an order that a server accepts: keys and channels, commands, selectors.
    pub fn in_order(&self) -> impl Iterator<Item = &str> {
        let all = self.permissions.iter().map(String::as_str);
        let rank = |word: &str| match word.as_bytes().first() {
            Some(b'+') if word == "+@all" => 1,
            Some(b'+' | b'-') => 2,
            Some(b'(') => 3,
            _ => 0,
        };
        (0..4).flat_map(move |wanted| all.clone().filter(move |word| rank(word) == wanted))
    }

    /// Whether it may log in: `on` or `off`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        if self.enabled { "on" } else { "off" }
    }
}

impl fmt::Debug for AclRules {
    /// Shows the number of passwords, not the passwords. Hides unknown words that look like one, too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |word| if is_secret(word) { "***" } else { word };
        let permissions: BTreeSet<&str> = self.permissions.iter().map(|word| shown(word)).collect();
        f.debug_struct("AclRules")
            .field("enabled", &self.enabled)
            .field("passwordless", &self.passwordless)
            .field("passwords", &self.passwords.len())
            .field("permissions", &permissions)
            .finish()
    }
}

/// Whether a word is, or contains, a written password.
fn is_secret(word: &str) -> bool {
    let mut words = word.trim_start_matches('(').split(' ');
    words.any(|word| word.starts_with(['#', '>', '!', '<']))
}

/// The words of `text`; a selector is one word.
fn words(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut open = false;
    for word in text.split_ascii_whitespace() {
        match found.last_mut().filter(|_| open) {
            Some(selector) => {
                selector.push(' ');
                selector.push_str(word);
            }
            None => found.push(word.to_owned()),
        }
        open = (open || word.starts_with('(')) && !word.ends_with(')');
    }
    found
}

/// A word in its comparable form; `None` if it only states a default.
fn permission(word: &str) -> Option<String> {
    let Some(inner) = word.strip_prefix('(').and_then(|word| word.strip_suffix(')')) else {
        return plain(word);
    };
    // Selectors do not nest.
    let rules = AclRules::of(inner.split_ascii_whitespace().filter_map(plain));
    let inner: Vec<&str> = rules.in_order().collect();
    Some(format!("({})", inner.join(" ")))
}

/// As [`permission`], for words that are not selectors.
fn plain(word: &str) -> Option<String> {
    match word {
        "sanitize-payload" | "resetchannels" | "resetkeys" | "-@all" | "nocommands" | "alldbs" => None,
        "allkeys" => Some("~*".to_owned()),
        "allchannels" => Some("&*".to_owned()),
        "allcommands" => Some("+@all".to_owned()),
        word => Some(word.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "#5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";

    #[test]
    fn added_and_reordered_rules_compare_equal() {
        let reported = AclRules::read(&format!(
            "on sanitize-payload {HASH} ~b:* %R~a:* resetchannels -@all +set +client|tracking +get"
        ));
        let wanted = AclRules::read(&format!("on {HASH} %R~a:* ~b:* +client|tracking +get +set"));
        assert_eq!(reported, wanted);
        assert_eq!((reported.passwords.len(), reported.permissions.len()), (1, 5));
    }

    #[test]
    fn nested_selectors_of_any_depth_are_words() {
        let deep = "(".repeat(200_000) + &")".repeat(200_000);
        assert_eq!(AclRules::read(&deep).permissions.len(), 1);
    }

    #[test]
    fn text_like_a_password_is_not_shown() {
        let rules = AclRules::read("on #5e88 >hunter2 ~a:#lock (~b:* #5e88)");
        let shown = format!("{rules:?}");
        assert!(shown.contains("~a:#lock"), "{shown}");
        assert!(!shown.contains("5e88") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn any_other_rule_makes_a_difference() {
        let wanted = AclRules::read("on ~a:* +get");
        for other in [
            "off ~a:* +get",
            "on nopass ~a:* +get",
            "on ~a:* ~b:* +get",
            "on ~a:* +@all -get",
            "on ~a:* +get -set",
            "on ~a:* +get &*",
            "on ~a:* +get (~b:* +get)",
            "on ~a:* +get skip-sanitize-payload",
            &format!("on {HASH} ~a:* +get"),
        ] {
            assert_ne!(AclRules::read(other), wanted, "{other}");
        }
    }

    #[test]
    fn selector_is_one_normalized_word() {
        let reported =
            AclRules::read("on ~a:* resetchannels -@all +get (%R~z:* resetchannels -@all +pttl +get)");
        assert!(
            reported.permissions.contains("(%R~z:* +get +pttl)"),
            "{reported:?}"
        );
    }

    #[test]
    fn rules_are_replaced_and_passwords_go_to_the_server_only() {
        let rules = AclRules::read(&format!("on {HASH} ~a:* &c +get +@all -scan (~b:* +get)"));
        assert_eq!(
            rules.modifiers().join(" "),
            format!("reset on {HASH} &c ~a:* +@all +get -scan (~b:* +get)")
        );
        assert!(!format!("{rules:?}").contains(&HASH[1..9]));
    }
}
