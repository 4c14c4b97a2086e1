//! Terraform for ElastiCache. Passwords are variables: none is written.

use std::fmt::Write as _;

use cache_core::ConfigError;

use super::super::Declaration;
use super::super::account::Login;
use super::super::name::{default_id_of, id_of};
use super::{Exported, NOBODY, access_string, for_elasticache};

/// `aws_elasticache_user` for each user, and the group of them all.
///
/// # Errors
///
/// For more users than a group takes.
pub fn terraform(declaration: &Declaration) -> Result<Exported, ConfigError> {
    let (accounts, notes) = for_elasticache(declaration)?;
    let engine = declaration.engine();
    let mut text =
        "# Written by `cachectl users export --format terraform`. Change the declaration, not this file.\n"
            .to_owned();
    let mut labels = Vec::new();
    if engine == "redis" {
        let id = default_id_of(declaration.group());
        user(
            &mut text,
            "default",
            &id,
            "default",
            engine,
            NOBODY,
            "no-password-required",
            None,
        );
        labels.push("default".to_owned());
    }
    for account in accounts {
        let label = account.name.replace('-', "_");
        let access = access_string(account, declaration);
        let (kind, variable) = match &account.login {
            Login::Iam => ("iam", None),
            Login::Password { .. } => ("password", Some(format!("{label}_passwords"))),
        };
        if let Some(variable) = &variable {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\nvariable {} {{\n  description = {}\n  type        = list(string)\n  sensitive   = true\n}}\n",
                quoted(variable),
                quoted(&format!(
                    "The password of {}; two while it is changed.",
                    account.name
                )),
            );
        }
        let id = id_of(&account.name);
        user(
            &mut text,
            &label,
            id,
            &account.name,
            engine,
            &access,
            kind,
            variable.as_deref(),
        );
        labels.push(label);
    }
    let ids: Vec<String> = labels
        .iter()
        .map(|label| format!("    aws_elasticache_user.{label}.user_id,\n"))
        .collect();
    let _ = write!(
        text,
        "\nresource \"aws_elasticache_user_group\" \"users\" {{\n  engine        = {}\n  user_group_id = {}\n  \
         user_ids = [\n{}  ]\n}}\n",
        quoted(engine),
        quoted(declaration.group()),
        ids.concat(),
    );
    Ok(Exported { text, notes })
}

#[expect(clippy::too_many_arguments, reason = "each is a line of what is written")]
fn user(
    text: &mut String,
    label: &str,
    id: &str,
    name: &str,
    engine: &str,
    access: &str,
    kind: &str,
    variable: Option<&str>,
) {
    let passwords = variable.map_or_else(String::new, |variable| {
        format!("    passwords = var.{variable}\n")
    });
    let type_line = if variable.is_some() { "type      " } else { "type " };
    let _ = write!(
        text,
        "\nresource \"aws_elasticache_user\" {} {{\n  user_id       = {}\n  user_name     = {}\n  engine        = {}\n  \
         access_string = {}\n\n  authentication_mode {{\n    {type_line}= {}\n{passwords}  }}\n}}\n",
        quoted(label),
        quoted(id),
        quoted(name),
        quoted(engine),
        quoted(access),
        quoted(kind),
    );
}

/// A text in quotes, in which nothing is a template.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace("${", "$${").replace("%{", "%%{"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_becomes_a_template() {
        assert_eq!(quoted(r#"~${a}:%{b}:"c"\"#), r#""~$${a}:%%{b}:\"c\"\\""#);
    }
}
