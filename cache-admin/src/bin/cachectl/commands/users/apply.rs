//! `cachectl users apply FILE`.

use cache_admin::jobs::{AuditAction, AuditRecord};
use cache_admin::users::{Applied, Plan};
use cache_valkey::admin::AclSaved;
use serde_json::{Value, json};

use super::{Ended, is_partial, show};
use crate::audit;
use crate::exit::Exit;
use crate::failure::{Failure, with_causes};
use crate::output::Output;

/// Applies `plan` once somebody has agreed to it.
pub(super) async fn run(plan: &Plan, yes: bool, output: &mut Output) -> Ended {
    if !output.is_json() {
        show::plan(plan, output)?;
    }
    if !plan.blocked.is_empty() {
        return Err(Failure::Refused(format!(
            "{}; nothing was changed",
            plan.blocked.join("; ")
        )));
    }
    if plan.step_count() == 0 {
        if output.is_json() {
            output.json(&as_json(&Applied::default(), plan))?;
        }
        return Ok(if is_partial(plan) { Exit::Partial } else { Exit::Ok });
    }
    if !yes {
        agreed("Go on?", output)?;
    }
    let record = audit::record(AuditAction::AclChange);
    let steps = plan.nodes.iter().flat_map(|node| {
        let address = node.address();
        node.steps
            .iter()
            .map(move |step| format!("{address}: {}", show::step(step)))
    });
    audit::begun(&record.clone().on_each("changes", steps)).await?;
    let applied = plan.apply().await;
    if let Err(error) = &applied {
        let record = record.clone().result("failed").because(&with_causes(error));
        audit::ended(record, output).await;
    }
    let applied = applied?;
    write_down(record, &applied, output).await;
    if output.is_json() {
        output.json(&as_json(&applied, plan))?;
    } else {
        ended(&applied, output)?;
    }
    let saved = applied.saved.iter().all(|(_, saved)| saved.is_ok());
    Ok(if applied.is_complete() && saved {
        Exit::Ok
    } else {
        Exit::Partial
    })
}

/// Writes into the audit file what was changed on each node, and what was not.
async fn write_down(record: AuditRecord, applied: &Applied, output: &mut Output) {
    for (address, step) in &applied.done {
        let record = record
            .clone()
            .on("node", address.as_bytes())
            .on("user", &step.user);
        audit::ended(record.on("change", show::step(step)), output).await;
    }
    for not_done in &applied.not_done {
        let record = record
            .clone()
            .on("node", not_done.address.as_bytes())
            .on("user", &not_done.step.user);
        let why = not_done
            .error
            .as_ref()
            .map_or_else(|| "not tried".to_owned(), with_causes);
        let record = record.on("change", show::step(&not_done.step)).result("failed");
        audit::ended(record.because(&why), output).await;
    }
}

/// A yes from the terminal.
pub(super) fn agreed(question: &str, output: &mut Output) -> Result<(), Failure> {
    if !output.can_ask() {
        return Err(Failure::Refused(
            "there is no terminal to ask at, so nothing was changed; --yes confirms the change".to_owned(),
        ));
    }
    if output.ask(question)? {
        Ok(())
    } else {
        Err(Failure::Refused("not confirmed; nothing was changed".to_owned()))
    }
}

fn ended(applied: &Applied, output: &mut Output) -> std::io::Result<()> {
    let colours = output.colours();
    let outcome = if applied.is_complete() {
        colours.green("complete")
    } else {
        colours.yellow("partial")
    };
    let done = show::changes_in_words(applied.done.len());
    output.line(&format!("{outcome}: {done} made, {} not", applied.not_done.len()))?;
    output.flush()?;
    for not_done in &applied.not_done {
        let why = not_done.error.as_ref().map_or_else(
            || "not tried".to_owned(),
            |error| format!("failed: {}", with_causes(error)),
        );
        output.warning(&format!(
            "not done: {}: {}: {why}",
            not_done.address,
            show::step(&not_done.step)
        ));
    }
    for (address, error) in &applied.unreached {
        output.warning(&format!("not done: {address}: {}", with_causes(error)));
    }
    for (address, saved) in &applied.saved {
        match saved {
            Ok(AclSaved::Nowhere(why)) => {
                output.warning(&format!("{address} forgets its users at its next restart: {why}"));
            }
            Ok(_) => {}
            Err(error) => output.warning(&format!(
                "{address} could not save its users: {}",
                with_causes(error)
            )),
        }
    }
    Ok(())
}

fn as_json(applied: &Applied, plan: &Plan) -> Value {
    let with_address = |address: &str, mut value: Value| {
        value["address"] = address.into();
        value
    };
    let done = applied.done.iter();
    let done: Vec<Value> = done
        .map(|(address, step)| with_address(address, show::step_json(step)))
        .collect();
    let not_done = applied.not_done.iter();
    let not_done: Vec<Value> = not_done
        .map(|one| {
            let mut value = with_address(&one.address, show::step_json(&one.step));
            value["error"] = one.error.as_ref().map(with_causes).into();
            value
        })
        .collect();
    let unreached = plan.nodes.iter().filter_map(|node| {
        let error = node.error.as_ref()?;
        Some(json!({ "address": node.address(), "error": with_causes(error) }))
    });
    let saved = applied.saved.iter().map(|(address, saved)| {
        let (place, problem) = match saved {
            Ok(AclSaved::AclFile) => (Some("acl_file"), None),
            Ok(AclSaved::ConfigFile) => (Some("config_file"), None),
            Ok(AclSaved::Nowhere(why)) => (None, Some(why.clone())),
            Err(error) => (None, Some(with_causes(error))),
        };
        json!({ "address": address, "saved": place, "problem": problem })
    });
    json!({
        "outcome": if applied.is_complete() && !is_partial(plan) { "complete" } else { "partial" },
        "done": done,
        "not_done": not_done,
        "unreached": unreached.collect::<Vec<_>>(),
        "saved": saved.collect::<Vec<_>>(),
    })
}
