//! The passwords that a declaration refers to, once they have been read.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use cache_core::config::Problem;
use cache_core::{ConfigError, Secret};
use cache_valkey::admin::PasswordHash;

use super::account::{Login, Reference};
use super::{Declaration, strength};

/// More than any password; keeps a wrong path, such as a device, from filling the memory.
const LONGEST_FILE: u64 = 4_096;

/// A password: its hash, and itself where it is known.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Password {
    /// Its hash.
    pub hash: PasswordHash,
    /// The password, unless the declaration knows its hash only.
    pub plain: Option<Secret>,
}

/// The passwords of the users of a declaration, by user.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    by_user: BTreeMap<String, Vec<Password>>,
}

impl Credentials {
    /// Reads what `declaration` refers to: variables by `env`, files by themselves.
    ///
    /// # Errors
    ///
    /// Everything that cannot be read, and every password that is too weak or used twice, at once, each by its
    /// place in the declaration.
    pub fn read(
        declaration: &Declaration,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut read = Self::default();
        let mut problems = Vec::new();
        let mut owners: BTreeMap<PasswordHash, String> = BTreeMap::new();
        for account in declaration.accounts() {
            let Login::Password { current, next } = &account.login else {
                continue;
            };
            let places = [("password", Some(current)), ("next_password", next.as_ref())];
            for (field, reference) in places {
                let Some(reference) = reference else { continue };
                let path = format!("{}.{field}", account.path);
                let mut refuse = |message: String| {
                    problems.push(Problem {
                        variable: path.clone(),
                        message,
                    });
                };
                let password = match find(reference, &env) {
                    Ok(password) => password,
                    Err(message) => {
                        refuse(message);
                        continue;
                    }
                };
                let weakness = match &password.plain {
                    Some(plain) => strength::weakness(plain, &account.name),
                    None => strength::weakness_of_hash(&password.hash, &account.name),
                };
                if let Some(weakness) = weakness {
                    refuse(format!("{reference} {weakness}"));
                }
                match owners.entry(password.hash.clone()) {
                    Entry::Vacant(free) => drop(free.insert(path.clone())),
                    Entry::Occupied(taken) => refuse(format!(
                        "{reference} must differ from that of {}: every user has a password of its own",
                        taken.get()
                    )),
                }
                read.by_user
                    .entry(account.name.clone())
                    .or_default()
                    .push(password);
            }
        }
        if problems.is_empty() {
            Ok(read)
        } else {
            Err(ConfigError::new(problems))
        }
    }

    /// The passwords of the user of that name, the one in use first.
    #[must_use]
    pub fn of(&self, user: &str) -> &[Password] {
        self.by_user.get(user).map_or(&[], Vec::as_slice)
    }
}

fn find(reference: &Reference, env: impl Fn(&str) -> Option<String>) -> Result<Password, String> {
    let plain = match reference {
        Reference::Sha256(hash) => {
            return Ok(Password {
                hash: hash.clone(),
                plain: None,
            });
        }
        Reference::Env(name) => env(name).ok_or_else(|| format!("{reference} is not set"))?.into(),
        Reference::File(path) => read_file(path).map_err(|problem| format!("{reference} {problem}"))?,
    };
    Ok(Password {
        hash: PasswordHash::of(&plain),
        plain: Some(plain),
    })
}

/// The text of a file, without the line end that editors put there.
fn read_file(path: &Path) -> Result<Secret, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST_FILE + 1).read_to_string(&mut text));
    let text = Secret::new(text);
    match read {
        Ok(_) if text.expose().len() as u64 > LONGEST_FILE => {
            Err("is a file of more than 4 KiB, and no password".to_owned())
        }
        Ok(_) => Ok(text.expose().trim().into()),
        Err(error) => Err(format!("cannot be read: {}", error.kind())),
    }
}
