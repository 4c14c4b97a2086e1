//! `cachectl raw COMMAND...`: a command that reads, sent to each primary or to the nodes that `--node` names.
//!
//! [`allowed`] says which commands, [`secrets`] what of the answers nobody is shown, [`show`] how the rest is shown.

mod allowed;
mod secrets;
mod show;

use std::ffi::OsString;
use std::time::Duration;

use cache_core::{CacheError, Stage};
use cache_stack::{Foundation, Stack};
use cache_valkey::admin::{Member, Role};
use cache_valkey::{Effect, Reply, ValkeyClient};
use clap::Args;
use futures::future::join_all;
use serde_json::{Value, json};

use self::allowed::Allowed;
use super::Ended;
use crate::exit::Exit;
use crate::failure::{Failure, exit_of, with_causes};
use crate::output::Output;

#[derive(Args, Debug)]
#[command(after_help = after_help())]
pub(crate) struct Raw {
    /// The command, in words of its own or as one
    #[arg(required = true, value_name = "COMMAND", allow_negative_numbers = true)]
    words: Vec<OsString>,
    /// Ask this node, also a replica, in place of all primaries; several times for several
    #[arg(long, value_name = "ADDR:PORT")]
    node: Vec<String>,
    /// How long to wait for each node
    #[arg(long, value_name = "TIME", value_parser = crate::cli::duration, default_value = "5s")]
    deadline: Duration,
    /// Show at most so many bytes of each answer
    #[arg(long, value_name = "N", default_value_t = 1_048_576, value_parser = clap::value_parser!(u32).range(1..))]
    bytes: u32,
}

fn after_help() -> String {
    format!(
        "Accepted commands, which only read and show no value:\n  {}\n\nCommands with a key go to the node that serves it. \
         Passwords among settings, and the arguments of slow calls, are masked.",
        allowed::names()
    )
}

/// What one node answered.
struct Answer {
    address: String,
    role: Option<Role>,
    reply: Result<Reply, CacheError>,
}

pub(super) async fn run(stack: &Stack, arguments: &Raw, output: &mut Output) -> Ended {
    let allowed = Allowed::of(&arguments.words)?;
    let Foundation::Valkey(client) = &stack.foundation else {
        return Err(CacheError::Unsupported {
            detail: "this backend has no servers to send a command to; set CACHE_ADDRS".into(),
        }
        .into());
    };
    // As callers of the client know it.
    let key = allowed.key.as_ref();
    let key = key.map(|key| [stack.key_prefix().as_bytes(), key].concat());
    let answers = match &key {
        Some(key) if arguments.node.is_empty() => {
            vec![ask_owner(client, &allowed, key, arguments.deadline).await]
        }
        _ => {
            let members = members(client, &arguments.node).await?;
            let asked = members
                .iter()
                .map(|member| ask(member, &allowed, key.as_deref(), arguments.deadline));
            join_all(asked).await
        }
    };
    let answers: Vec<Answer> = answers
        .into_iter()
        .map(|answer| Answer {
            reply: answer.reply.map(|reply| secrets::without(allowed.name, reply)),
            ..answer
        })
        .collect();
    shown(&allowed, &answers, arguments, output)?;
    Ok(exit(&answers))
}

/// The nodes with these addresses; all primaries if there are none.
async fn members(client: &ValkeyClient, nodes: &[String]) -> Result<Vec<Member>, Failure> {
    let administration = client.administration();
    if nodes.is_empty() {
        let view = administration.topology().await?;
        let mut members = administration.members_of(&view);
        members.retain(|member| member.view().role == Role::Primary);
        return Ok(members);
    }
    let known = administration.all_nodes().await?;
    let found = nodes.iter().map(|node| {
        let is_it = |member: &&Member| member.view().address.to_string() == *node;
        known.iter().find(is_it).cloned().ok_or_else(|| {
            let known: Vec<String> = known
                .iter()
                .map(|member| member.view().address.to_string())
                .collect();
            Failure::Usage(format!(
                "--node {}: there is no such node, and nothing was sent; there are {}",
                crate::escape::plain(node),
                known.join(", ")
            ))
        })
    });
    found.collect()
}

async fn ask(member: &Member, allowed: &Allowed, key: Option<&[u8]>, deadline: Duration) -> Answer {
    let (command, subcommand) = allowed.words();
    let arguments: Vec<&[u8]> = subcommand
        .map(str::as_bytes)
        .into_iter()
        .chain(key)
        .chain(allowed.rest.iter().map(Vec::as_slice))
        .collect();
    Answer {
        address: member.view().address.to_string(),
        role: Some(member.view().role),
        reply: within(deadline, member.query(command, &arguments)).await,
    }
}

/// Asks the node that serves `key`.
async fn ask_owner(client: &ValkeyClient, allowed: &Allowed, key: &[u8], deadline: Duration) -> Answer {
    let (command, subcommand) = allowed.words();
    let request = client.command(command, Effect::Read);
    let request = match &subcommand {
        Some(subcommand) => request.arg(*subcommand),
        None => request,
    };
    let request = request.key(key).args(&allowed.rest).deadline(deadline);
    let owner = client.administration().home_of(key);
    Answer {
        address: owner.map_or_else(|| "?".to_owned(), |owner| owner.to_string()),
        role: None,
        reply: request.send().await,
    }
}

async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, CacheError>>,
) -> Result<T, CacheError> {
    tokio::time::timeout(deadline, call)
        .await
        .unwrap_or(Err(CacheError::Timeout {
            stage: Stage::Reply,
            after: deadline,
        }))
}

fn shown(allowed: &Allowed, answers: &[Answer], arguments: &Raw, output: &mut Output) -> Result<(), Failure> {
    let most = usize::try_from(arguments.bytes).unwrap_or(usize::MAX);
    if output.is_json() {
        let nodes: Vec<Value> = answers.iter().map(|answer| as_json(answer, most)).collect();
        output.json(&json!({ "command": allowed.name, "nodes": nodes }))?;
        return Ok(());
    }
    for (index, answer) in answers.iter().enumerate() {
        if answers.len() > 1 {
            if index > 0 {
                output.line("")?;
            }
            let bold = output.colours().bold(&answer.address);
            output.line(&bold)?;
        }
        match &answer.reply {
            Ok(reply) => {
                let (lines, is_cut) = show::lines(reply, most);
                for line in lines {
                    output.line(&line)?;
                }
                if is_cut {
                    output.flush()?;
                    output.warning(&format!(
                        "{}: the answer is longer than {most} bytes and was cut off; --bytes N shows more",
                        answer.address
                    ));
                }
            }
            Err(error) => {
                output.flush()?;
                output.warning(&format!("{}: {}", answer.address, with_causes(error)));
            }
        }
    }
    Ok(())
}

fn as_json(answer: &Answer, most: usize) -> Value {
    let mut node = json!({ "address": answer.address, "reply": null, "cut": false, "error": null });
    if let Some(role) = answer.role {
        node["role"] = if role == Role::Primary {
            "primary"
        } else {
            "replica"
        }
        .into();
    }
    match &answer.reply {
        Ok(reply) => match show::json(reply, most) {
            Some(reply) => node["reply"] = reply,
            None => node["cut"] = true.into(),
        },
        Err(error) => node["error"] = with_causes(error).into(),
    }
    node
}

fn exit(answers: &[Answer]) -> Exit {
    let mut errors = answers.iter().filter_map(|answer| answer.reply.as_ref().err());
    match errors.next() {
        None => Exit::Ok,
        Some(first) if errors.count() + 1 == answers.len() => exit_of(first),
        Some(_) => Exit::Partial,
    }
}
