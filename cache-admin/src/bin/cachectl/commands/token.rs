//! `cachectl token new NAME`: a bearer token for an actor of the administration service.

use cache_admin::access::Token;
use clap::Subcommand;
use serde_json::json;

use super::Ended;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum Tokens {
    /// Make a token: itself on standard output, this once, and the entry with its hash on standard error
    New {
        /// The actor whose token it is
        name: String,
    },
}

pub(super) fn run(command: Tokens, output: &mut Output) -> Ended {
    let Tokens::New { name } = command;
    if !is_name(&name) {
        let form = "NAME: must be 1 to 64 letters, digits, '_' and '-'";
        return Err(Failure::Usage(form.to_owned()));
    }
    let token = Token::generate()?;
    let hash = token.hash();
    if output.is_json() {
        output.json(&json!({ "actor": name, "token": token.expose(), "hash": hash }))?;
        return Ok(Exit::Ok);
    }
    output.line(token.expose())?;
    output.flush()?;
    output.note("the token is shown this once; the service gets its hash, for a new actor as");
    output.note(&format!("  [actors.{name}]"));
    output.note(&format!("  tokens = [{{ hash = \"{hash}\" }}]"));
    output.note(&format!("  [actors.{name}.grants]"));
    output
        .note("  list = [\"PREFIX:\"]   # and value, invalidate, purge, acl as needed; [\"\"] is every key");
    output.note("or, for one that is there, one more in its tokens; not_after = TIME ends the one before");
    Ok(Exit::Ok)
}

/// What the file of actors takes as a name, without quotes.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}
