//! What an access string means, so that two of them can be compared.
//!
//! ElastiCache shows a string in its own order and may shorten it: `off +get ~keys*` comes back as
//! `off ~keys* -@all +get`. So strings are compared by what they grant, rule after rule as the server applies them.

use std::collections::BTreeSet;
use std::fmt;

/// What an access string grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Whether the user may log in.
    enabled: bool,
    /// Keys and channels: `~billing:*`, `%R~billing:*`, `&news`.
    patterns: BTreeSet<String>,
    /// Whether every command is granted that `commands` does not take away.
    all_commands: bool,
    /// Changes to that, in the order in which they apply, without repetition.
    commands: Vec<String>,
    /// Selectors, and words that this version does not know.
    others: BTreeSet<String>,
}

impl Access {
    /// Reads an access string.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut access = Self::default();
        for word in words(text) {
            access.apply(&word);
        }
        // Within a run of one sign the order says nothing.
        access
            .commands
            .chunk_by_mut(|one, next| one.get(..1) == next.get(..1))
            .for_each(<[String]>::sort_unstable);
        access
    }

    /// Whether the user may log in.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether the user may log in and run every command.
    #[must_use]
    pub fn allows_everything(&self) -> bool {
        self.enabled && self.all_commands && self.commands.is_empty()
    }

    /// The rules that `self` has and `other` lacks, as words.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> BTreeSet<String> {
        self.in_words().difference(&other.in_words()).cloned().collect()
    }

    fn apply(&mut self, word: &str) {
        match word {
            "on" => self.enabled = true,
            "off" => self.enabled = false,
            "allkeys" => drop(self.patterns.insert("~*".to_owned())),
            "resetkeys" => self.patterns.retain(|pattern| pattern.starts_with('&')),
            "allchannels" => drop(self.patterns.insert("&*".to_owned())),
            "resetchannels" => self.patterns.retain(|pattern| !pattern.starts_with('&')),
            "clearselectors" => self.others.clear(),
            "+@all" | "allcommands" | "-@all" | "nocommands" => {
                self.all_commands = matches!(word, "+@all" | "allcommands");
                self.commands.clear();
            }
            _ => match word.split_at_checked(1) {
                Some(("+" | "-", _)) => self.change(&word.to_ascii_lowercase()),
                Some(("~" | "&", _)) => drop(self.patterns.insert(word.to_owned())),
                Some(("%", _)) => drop(self.patterns.insert(without_alias(word))),
                _ => drop(self.others.insert(word.to_owned())),
            },
        }
    }

    /// Grants a command or takes it away; the last word about a command is the one that counts.
    fn change(&mut self, word: &str) {
        self.commands.retain(|known| known.get(1..) != word.get(1..));
        self.commands.push(word.to_owned());
    }

    fn in_words(&self) -> BTreeSet<String> {
        let mut words: BTreeSet<String> = self.patterns.union(&self.others).cloned().collect();
        words.extend(self.commands.iter().cloned());
        words.insert(if self.enabled { "on" } else { "off" }.to_owned());
        words.extend(self.all_commands.then(|| "+@all".to_owned()));
        words
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.enabled { "on" } else { "off" })?;
        for pattern in &self.patterns {
            write!(f, " {pattern}")?;
        }
        f.write_str(if self.all_commands { " +@all" } else { " -@all" })?;
        for word in self.commands.iter().chain(&self.others) {
            write!(f, " {word}")?;
        }
        Ok(())
    }
}

/// `%RW~a` is another way to write `~a`.
fn without_alias(word: &str) -> String {
    match word.split_once('~') {
        Some(("%RW" | "%WR" | "%rw" | "%wr", pattern)) => format!("~{pattern}"),
        Some((sign, pattern)) => format!("{}~{pattern}", sign.to_ascii_uppercase()),
        None => word.to_owned(),
    }
}

/// Words by spaces; a selector in brackets is one word.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut inside = false;
    for word in text.split_ascii_whitespace() {
        match words.last_mut().filter(|_| inside) {
            Some(open) => {
                open.push(' ');
                open.push_str(word);
            }
            None => {
                inside = word.starts_with('(');
                words.push(word.to_owned());
            }
        }
        inside = inside && !word.ends_with(')');
    }
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strings_that_grant_the_same_are_equal() {
        for (one, two) in [
            ("off +get ~keys*", "off ~keys* -@all +get"),
            ("on ~a:* resetchannels -@all +get +set", "on ~a:* -@all +set +get"),
            ("on allkeys allcommands", "on ~* +@all"),
            ("on %RW~a:* +get", "on ~a:* +get"),
            ("on ~* +@all -get -set", "on ~* +@all -set -get"),
            ("on ~* &* +@all", "on allkeys allchannels +@all"),
            ("on (~a +get) (~b +get)", "on (~b +get) (~a +get)"),
        ] {
            assert_eq!(Access::read(one), Access::read(two), "{one} / {two}");
        }
    }

    #[test]
    fn strings_that_grant_something_else_differ() {
        for (one, two) in [
            ("on ~a:* +get", "off ~a:* +get"),
            ("on ~a:* +get", "on ~a:* +get +set"),
            ("on ~a:* +get", "on %R~a:* +get"),
            ("on ~a:* +get", "on ~a:* ~b:* +get"),
            ("on ~a:* +get", "on ~a:* &* +get"),
            ("on +get -@all", "on -@all +get"),
            ("on +@read -get", "on -get +@read"),
            ("on ~* +@all", "on ~* +@all -get"),
            ("on ~* +get", "on ~* +get (~a +set)"),
        ] {
            assert_ne!(Access::read(one), Access::read(two), "{one} / {two}");
        }
    }

    #[test]
    fn difference_is_given_in_words() {
        let (found, wanted) = (Access::read("on ~* +@all"), Access::read("on ~a:* -@all +get"));
        let words = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(words(wanted.beyond(&found)), "+get ~a:*");
        assert_eq!(words(found.beyond(&wanted)), "+@all ~*");
        assert!(found.allows_everything() && !wanted.allows_everything());
    }

    proptest! {
        /// What is shown means what was read, whatever it was.
        #[test]
        fn shown_form_reads_back_as_the_same(
            text in proptest::collection::vec(
                proptest::sample::select(vec![
                    "on", "off", "~a:*", "%R~a:*", "%W~b*", "~*", "resetkeys", "&c", "&*", "resetchannels", "+@all",
                    "-@all", "+get", "-get", "+set", "-set", "+@read", "-@write", "+client|list", "(~x +get)",
                    "clearselectors", "allkeys", "nocommands",
                ]),
                0..12,
            )
        ) {
            let access = Access::read(&text.join(" "));
            prop_assert_eq!(Access::read(&access.to_string()), access);
        }
    }
}
