//! The input of ElastiCache's API, as JSON. Applying it is not done here.

use cache_core::ConfigError;
use serde_json::{Map, Value, json};

use super::super::Declaration;
use super::super::account::Login;
use super::super::name::{default_id_of, id_of};
use super::{Exported, NOBODY, access_string, for_elasticache, sources};

/// The inputs of `CreateUser`, `ModifyUser` and `CreateUserGroup`, and, beside them, where the passwords are to be
/// found, which whoever calls the API puts in.
///
/// # Errors
///
/// For more users than a group takes, and for passwords of which only the hash is known.
pub fn elasticache(declaration: &Declaration) -> Result<Exported, ConfigError> {
    let (accounts, notes) = for_elasticache(declaration)?;
    let sources = sources(&accounts)?;
    let engine = declaration.engine();
    let (mut create, mut modify, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    if engine == "redis" {
        let id = default_id_of(declaration.group());
        create.push(json!({
            "UserId": id,
            "UserName": "default",
            "Engine": engine,
            "AccessString": NOBODY,
            "AuthenticationMode": { "Type": "no-password-required" },
        }));
        ids.push(id);
    }
    for account in accounts {
        let kind = match account.login {
            Login::Iam => "iam",
            Login::Password { .. } => "password",
        };
        let id = id_of(&account.name);
        let access = access_string(account, declaration);
        create.push(json!({
            "UserId": id,
            "UserName": account.name,
            "Engine": engine,
            "AccessString": access,
            "AuthenticationMode": { "Type": kind },
        }));
        modify.push(json!({
            "UserId": id,
            "AccessString": access,
            "AuthenticationMode": { "Type": kind },
        }));
        ids.push(id.to_owned());
    }
    let passwords: Map<String, Value> = sources
        .into_iter()
        .map(|(name, texts)| (id_of(&name).to_owned(), texts.into()))
        .collect();
    let all = json!({
        "CreateUser": create,
        "ModifyUser": modify,
        "CreateUserGroup": { "UserGroupId": declaration.group(), "Engine": engine, "UserIds": ids },
        "PasswordsFrom": passwords,
    });
    Ok(Exported {
        text: format!("{all:#}\n"),
        notes,
    })
}
