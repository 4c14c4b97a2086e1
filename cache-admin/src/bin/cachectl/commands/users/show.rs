//! Plans, in words and as JSON. Never a password, nor its hash.

use std::collections::BTreeMap;
use std::io;

use cache_admin::users::{Change, Plan, Step};
use serde_json::{Value, json};

use crate::failure::with_causes;
use crate::output::Output;
use crate::table::{Side, Table};

/// Shows `plan`, and all there is to know about it.
pub(super) fn plan(plan: &Plan, output: &mut Output) -> io::Result<()> {
    if output.is_json() {
        output.json(&as_json(plan))?;
        return Ok(());
    }
    let reached = plan.nodes.iter().filter(|node| node.error.is_none()).count();
    if plan.step_count() == 0 {
        let text = output.colours().green("nothing to do");
        output.line(&format!(
            "{text}: the users are as declared on {}",
            nodes(reached)
        ))?;
    } else {
        changes(plan, reached, output)?;
        output.line("")?;
        output.line(&format!(
            "{} on {}",
            changes_in_words(plan.step_count()),
            nodes(reached)
        ))?;
    }
    output.flush()?;
    about(plan, output);
    Ok(())
}

/// One row for what is the same on several nodes.
fn changes(plan: &Plan, reached: usize, output: &mut Output) -> io::Result<()> {
    let mut rows: BTreeMap<(bool, &str, String), Vec<String>> = BTreeMap::new();
    for node in &plan.nodes {
        let role = if node.is_replica() { " (replica)" } else { "" };
        for step in &node.steps {
            let row = (step.is_delete(), step.user.as_str(), in_words(&step.change));
            rows.entry(row)
                .or_default()
                .push(format!("{}{role}", node.address()));
        }
    }
    let mut table = Table::new(&[
        ("USER", Side::Left),
        ("CHANGE", Side::Left),
        ("NODES", Side::Left),
    ]);
    for ((_, user, change), places) in rows {
        let places = if places.len() == reached && reached > 1 {
            format!("all {reached}")
        } else {
            places.join(", ")
        };
        table.row(vec![user.to_owned(), change, places]);
    }
    for line in table.lines(output.colours()) {
        output.line(&line)?;
    }
    Ok(())
}

/// What to know besides the changes, on standard error.
fn about(plan: &Plan, output: &mut Output) {
    for one in plan.drift() {
        let role = if one.replica { "the replica " } else { "" };
        let how = if one.missing {
            "is missing on"
        } else {
            "differs on"
        };
        output.warning(&format!(
            "drift: {} {how} {role}{}, and is right elsewhere",
            one.user, one.address
        ));
    }
    let mut held: BTreeMap<&str, usize> = BTreeMap::new();
    for one in plan.nodes.iter().flat_map(|node| &node.held) {
        let most = held.entry(&one.user).or_default();
        *most = (*most).max(one.passwords);
    }
    for (user, count) in held {
        let passwords = passwords(count);
        output.warning(&format!(
            "{user} still accepts {passwords} that the declaration does not name; `cachectl users rotate {user} --phase \
             finish` takes them away"
        ));
    }
    for node in &plan.nodes {
        if let Some(error) = &node.error {
            output.warning(&format!(
                "not looked at: {}: {}",
                node.address(),
                with_causes(error)
            ));
        }
    }
    for reason in &plan.blocked {
        output.warning(reason);
    }
    if !plan.foreign.is_empty() {
        let names: Vec<&str> = plan.foreign.iter().map(String::as_str).collect();
        output.note(&format!(
            "left alone, because the file does not declare them: {}",
            names.join(", ")
        ));
    }
    for name in &plan.unguarded {
        output.warning(&format!("the user {name} may do everything, without a password"));
    }
}

fn in_words(change: &Change) -> String {
    match change {
        Change::Create => "create".to_owned(),
        Change::Delete => "delete".to_owned(),
        Change::AddPasswords(count) => format!("accept {} more", passwords(*count)),
        Change::RetirePasswords(count) => format!("accept {} no more", passwords(*count)),
        Change::Update {
            add,
            remove,
            passwords: count,
        } => {
            let mut words = vec!["update:".to_owned()];
            words.extend(add.iter().map(|rule| format!("add {rule}")));
            words.extend(remove.iter().map(|rule| format!("remove {rule}")));
            words.extend((*count > 0).then(|| format!("accept {} more", passwords(*count))));
            words.join(" ")
        }
    }
}

pub(super) fn passwords(count: usize) -> String {
    match count {
        1 => "1 password".to_owned(),
        count => format!("{count} passwords"),
    }
}

pub(super) fn nodes(count: usize) -> String {
    match count {
        1 => "1 node".to_owned(),
        count => format!("{count} nodes"),
    }
}

pub(super) fn changes_in_words(count: usize) -> String {
    match count {
        1 => "1 change".to_owned(),
        count => format!("{count} changes"),
    }
}

/// A step in one line: `app-billing: create`.
pub(super) fn step(step: &Step) -> String {
    format!("{}: {}", step.user, in_words(&step.change))
}

pub(super) fn step_json(step: &Step) -> Value {
    let none = std::collections::BTreeSet::new();
    let (name, add, remove, passwords) = match &step.change {
        Change::Create => ("create", &none, &none, 0),
        Change::Delete => ("delete", &none, &none, 0),
        Change::AddPasswords(count) => ("add_passwords", &none, &none, *count),
        Change::RetirePasswords(count) => ("retire_passwords", &none, &none, *count),
        Change::Update {
            add,
            remove,
            passwords,
        } => ("update", add, remove, *passwords),
    };
    json!({ "user": step.user, "change": name, "add": add, "remove": remove, "passwords": passwords })
}

fn as_json(plan: &Plan) -> Value {
    let nodes: Vec<Value> = plan
        .nodes
        .iter()
        .map(|node| {
            let held = node.held.iter();
            let held: Vec<Value> = held
                .map(|held| json!({ "user": held.user, "passwords": held.passwords }))
                .collect();
            json!({
                "address": node.address(),
                "role": if node.is_replica() { "replica" } else { "primary" },
                "steps": node.steps.iter().map(step_json).collect::<Vec<_>>(),
                "held": held,
                "error": node.error.as_ref().map(with_causes),
            })
        })
        .collect();
    let drift: Vec<Value> = plan
        .drift()
        .iter()
        .map(|one| json!({ "user": one.user, "address": one.address, "missing": one.missing }))
        .collect();
    json!({
        "changes": plan.step_count(),
        "nodes": nodes,
        "drift": drift,
        "foreign": plan.foreign,
        "unguarded": plan.unguarded,
        "blocked": plan.blocked,
    })
}
