//! The file that a server's `aclfile` names.

use super::super::account::Login;
use super::super::{Credentials, Declaration};
use super::{Exported, has};

/// A `users.acl` of all users, with the hashes of their passwords, and with the user `default` switched off: a file
/// that does not name it allows it everything.
#[must_use]
pub fn acl_file(declaration: &Declaration, credentials: &Credentials) -> Exported {
    let mut lines = vec!["user default off resetchannels -@all".to_owned()];
    let mut notes = Vec::new();
    for account in declaration.accounts() {
        if account.login == Login::Iam {
            notes.push(format!(
                "{} is left out: iam works on ElastiCache only",
                account.name
            ));
            continue;
        }
        let rules = account.rules(declaration.target(), &has(declaration));
        let mut words = vec!["user".to_owned(), account.name.clone(), "on".to_owned()];
        let passwords = credentials.of(&account.name).iter();
        words.extend(passwords.map(|password| format!("#{}", password.hash.expose())));
        let is_key = |word: &&str| !word.starts_with(['+', '-', '(']);
        words.extend(rules.in_order().filter(is_key).map(str::to_owned));
        words.extend(["resetchannels".to_owned(), "-@all".to_owned()]);
        words.extend(rules.in_order().filter(|word| !is_key(word)).map(str::to_owned));
        lines.push(words.join(" "));
    }
    lines.push(String::new());
    Exported {
        text: lines.join("\n"),
        notes,
    }
}
