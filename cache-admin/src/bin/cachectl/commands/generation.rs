//! `cachectl generation show|bump NAMESPACE`.

use cache_admin::jobs::{AuditAction, AuditRecord};
use cache_admin::{Bumped, NamespaceState, Namespaces, Options, Reclaimable, namespace};
use cache_core::Keyspace;
use cache_stack::Stack;
use clap::Subcommand;
use serde_json::json;

use super::Ended;
use crate::audit;
use crate::escape::plain;
use crate::exit::Exit;
use crate::human;
use crate::output::Output;

const NAMESPACE_HELP: &str =
    "SERVICE, SERVICE/{TENANT} for a tenant in one slot, or SERVICE/@TENANT for one over all";

#[derive(Debug, Subcommand)]
pub(crate) enum Generation {
    /// Its number; exit code 1 where it has none so far
    Show {
        #[arg(help = NAMESPACE_HELP)]
        namespace: String,
    },
    /// Step to a new one: all old keys are out of reach at once, however many there are
    Bump {
        #[arg(help = NAMESPACE_HELP)]
        namespace: String,
        /// Count the old keys, too, which a purge would remove
        #[arg(long)]
        count: bool,
    },
}

pub(super) async fn run(stack: &Stack, generation: Generation, output: &mut Output) -> Ended {
    let namespaces = Namespaces::new(stack);
    match generation {
        Generation::Show { namespace: name } => show(&namespaces, &namespace(&name)?, output).await,
        Generation::Bump {
            namespace: name,
            count,
        } => bump(&namespaces, &name, count, output).await,
    }
}

async fn show(namespaces: &Namespaces, namespace: &Keyspace, output: &mut Output) -> Ended {
    show_state(&namespaces.show(namespace).await?, output)
}

/// Which generation it is.
pub(crate) fn show_state(state: &NamespaceState, output: &mut Output) -> Ended {
    let text = match (state.generation, &state.pattern) {
        (Some(number), Some(pattern)) => format!("generation {number}: {}", plain(pattern)),
        _ => format!("{} has no generation so far", plain(&state.prefix)),
    };
    output.answer(&text, || state)?;
    Ok(Exit::of(state.generation.is_some()))
}

async fn bump(namespaces: &Namespaces, name: &str, count: bool, output: &mut Output) -> Ended {
    let namespace = namespace(name)?;
    let record = audit::record(AuditAction::GenerationBump).on("namespace", name);
    audit::begun(&record).await?;
    let ended = namespaces.bump(&namespace).await;
    let to = |record: AuditRecord, bumped: &Bumped| record.on("generation", bumped.generation.to_string());
    audit::ended_as(record, &ended, to, output).await;
    let bumped = ended?;
    let counted = if count {
        let options = Options::default();
        Some(namespaces.reclaimable(&bumped.reclaim, &options).await?)
    } else {
        None
    };
    show_bumped(&bumped, counted.as_ref(), output)
}

/// What a step did, and what is left of the generation before, where that was counted.
pub(crate) fn show_bumped(bumped: &Bumped, counted: Option<&Reclaimable>, output: &mut Output) -> Ended {
    if output.is_json() {
        output.json(&json!({ "bumped": bumped, "reclaimable": counted }))?;
    } else {
        output.line(&format!(
            "generation {}: all keys of the one before are out of reach",
            bumped.generation
        ))?;
        let keys = match counted {
            Some(found) if found.complete => human::keys(found.keys),
            Some(found) => format!("at least {}", human::keys(found.keys)),
            None => "the old keys".to_owned(),
        };
        output.line(&format!(
            "{keys} still take memory, until their lives end or: cachectl invalidate '{}'",
            plain(&bumped.reclaim)
        ))?;
    }
    Ok(match counted {
        Some(found) if !found.complete => Exit::Partial,
        _ => Exit::Ok,
    })
}
