//! Plans, in words and as JSON. Steps hold no password.

use std::io;

use cache_admin::users::elasticache::{GroupPlan, Step};
use serde_json::{Value, json};

use super::super::show::changes_in_words;
use crate::output::Output;
use crate::table::{Side, Table};

/// Shows `plan`, and all there is to know about it.
pub(super) fn plan(plan: &GroupPlan, output: &mut Output) -> io::Result<()> {
    if output.is_json() {
        return output.json(&as_json(plan));
    }
    if plan.blocked.is_empty() {
        let group = format!("the user group {}", plan.group);
        if plan.is_empty() {
            let text = output.colours().green("nothing to do");
            output.line(&format!("{text}: the users are as declared in {group}"))?;
        }
        if !plan.steps.is_empty() {
            steps(plan, output)?;
        }
        if !plan.is_empty() {
            output.line("")?;
            output.line(&format!("{} to {group}", changes_in_words(plan.change_count())))?;
        }
    }
    output.flush()?;
    about(plan, output);
    Ok(())
}

fn steps(plan: &GroupPlan, output: &mut Output) -> io::Result<()> {
    let mut table = Table::new(&[("STEP", Side::Right), ("WHAT", Side::Left)]);
    for (index, step) in plan.steps.iter().enumerate() {
        table.row(vec![(index + 1).to_string(), step.to_string()]);
    }
    for line in table.lines(output.colours()) {
        output.line(&line)?;
    }
    Ok(())
}

/// Notes that belong to the steps, on standard error.
fn about(plan: &GroupPlan, output: &mut Output) {
    for line in plan.held.iter().chain(&plan.blocked) {
        output.warning(line);
    }
    for line in &plan.notes {
        output.note(line);
    }
    if !plan.foreign.is_empty() {
        let names: Vec<&str> = plan.foreign.iter().map(String::as_str).collect();
        output.note(&format!(
            "left alone in the group, because the file does not declare them: {}",
            names.join(", ")
        ));
    }
    for name in &plan.unguarded {
        output.warning(&format!("the user {name} may do everything, without a password"));
    }
}

/// A step without the access string, which the plan has shown.
pub(super) fn without_access(step: &Step) -> String {
    match step {
        Step::CreateUser { id, .. } => format!("create user {id}"),
        step => step.to_string(),
    }
}

pub(super) fn step_json(step: &Step) -> Value {
    let mut value = json!({ "step": step.name(), "users": step.users() });
    match step {
        Step::CreateUser { access, login, .. } => {
            value["access"] = access.as_str().into();
            value["login"] = login.to_string().into();
        }
        Step::ModifyUser {
            add, remove, login, ..
        } => {
            value["add"] = json!(add);
            value["remove"] = json!(remove);
            value["login"] = login.as_ref().map(ToString::to_string).into();
        }
        Step::Wait { group, .. } => value["group"] = (*group).into(),
        _ => {}
    }
    value
}

fn as_json(plan: &GroupPlan) -> Value {
    json!({
        "changes": plan.change_count(),
        "group": plan.group,
        "caches": plan.caches,
        "steps": plan.steps.iter().map(step_json).collect::<Vec<_>>(),
        "held": plan.held,
        "foreign": plan.foreign,
        "unguarded": plan.unguarded,
        "notes": plan.notes,
        "blocked": plan.blocked,
    })
}
