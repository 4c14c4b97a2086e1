//! `cachectl topology`.

use std::ops::RangeInclusive;

use cache_core::CacheError;
use cache_stack::{Foundation, Stack};
use cache_valkey::admin::{NodeView, Role, TopologyView};
use serde_json::{Value, json};

use super::Ended;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;
use crate::table::{Side, Table};

pub(super) async fn run(foundation: &Foundation, output: &mut Output) -> Ended {
    let client = match foundation {
        Foundation::Valkey(client) => client,
        Foundation::Memory(_) => {
            output.answer(
                "memory: one embedded cache, no servers",
                || json!({ "mode": "memory", "epoch": null, "nodes": [], "uncovered": [] }),
            )?;
            return Ok(Exit::Ok);
        }
        #[cfg(feature = "dynamodb")]
        Foundation::DynamoDb(client) => {
            let (table, region) = (client.table(), client.region());
            output.answer(
                &format!("dynamodb: the table {table} in {region}, no servers of ours"),
                || json!({ "mode": "dynamodb", "table": table, "region": region, "epoch": null, "nodes": [], "uncovered": [] }),
            )?;
            return Ok(Exit::Ok);
        }
        _ => {
            return Err(CacheError::Unsupported {
                detail: "this backend has no topology to show".into(),
            }
            .into());
        }
    };
    let view = client.administration().topology().await?;
    if output.is_json() {
        output.json(&as_json(&view))?;
    } else {
        show(&view, output)?;
    }
    let primaries_answer = view
        .nodes
        .iter()
        .filter(|node| node.role == Role::Primary)
        .all(|node| node.reachable);
    Ok(if view.uncovered.is_empty() && primaries_answer {
        Exit::Ok
    } else {
        Exit::Partial
    })
}

/// Shows what the seeds say of a cluster, none of whose primaries can be used; nothing if they say nothing.
pub(super) async fn show_unreachable(stack: &Stack, output: &mut Output) -> Result<(), Failure> {
    let Foundation::Valkey(client) = &stack.foundation else {
        return Ok(());
    };
    match client.administration().topology().await {
        Ok(view) if view.cluster && output.is_json() => Ok(output.json(&as_json(&view))?),
        Ok(view) if view.cluster => show(&view, output),
        _ => Ok(()),
    }
}

fn show(view: &TopologyView, output: &mut Output) -> Result<(), Failure> {
    let primaries: Vec<&NodeView> = view
        .nodes
        .iter()
        .filter(|node| node.role == Role::Primary)
        .collect();
    let replicas = view.nodes.len() - primaries.len();
    let mode = if view.cluster { "cluster" } else { "no cluster" };
    let epoch = view
        .epoch
        .map_or_else(String::new, |epoch| format!(", epoch {epoch}"));
    let replicas = match replicas {
        1 => "1 replica".to_owned(),
        count => format!("{count} replicas"),
    };
    output.line(&format!(
        "{mode}: {}, {replicas}{epoch}",
        human::primaries(primaries.len())
    ))?;
    output.line("")?;

    let mut columns = vec![("NODE", Side::Left), ("ROLE", Side::Left)];
    if view.cluster {
        columns.extend([("SLOTS", Side::Right), ("RANGES", Side::Left)]);
    }
    columns.extend([("SERVER", Side::Left), ("STATE", Side::Left)]);
    let mut table = Table::new(&columns);
    for primary in &primaries {
        table.row(row(primary, view.cluster));
        let copies =
            |node: &&NodeView| node.role == Role::Replica && node.primary.as_ref() == Some(&primary.address);
        for replica in view.nodes.iter().filter(copies) {
            table.row(row(replica, view.cluster));
        }
    }
    let is_stray = |node: &&NodeView| {
        let known = primaries
            .iter()
            .any(|primary| node.primary.as_ref() == Some(&primary.address));
        node.role == Role::Replica && !known
    };
    for stray in view.nodes.iter().filter(is_stray) {
        table.row(row(stray, view.cluster));
    }
    for line in table.lines(output.colours()) {
        output.line(&line)?;
    }
    output.flush()?;
    for node in &view.nodes {
        if let Some(trouble) = &node.trouble {
            output.warning(&format!("{}: {trouble}", node.address));
        }
    }
    if !view.uncovered.is_empty() {
        output.warning(&format!(
            "no primary serves the slots {}",
            ranges(&view.uncovered)
        ));
    }
    Ok(())
}

fn row(node: &NodeView, cluster: bool) -> Vec<String> {
    let is_replica = node.role == Role::Replica;
    let indent = if is_replica { "  " } else { "" };
    let mut cells = vec![format!("{indent}{}", node.address), role(node.role).to_owned()];
    if cluster {
        let count: u64 = node
            .slots
            .iter()
            .map(|range| u64::try_from(range.len()).unwrap_or(0))
            .sum();
        let count = if is_replica {
            String::new()
        } else {
            human::number(count)
        };
        cells.extend([
            count,
            if is_replica {
                String::new()
            } else {
                ranges(&node.slots)
            },
        ]);
    }
    let server = format!("{} {}", node.server, node.version);
    let server = if server.trim().is_empty() {
        "?"
    } else {
        server.trim()
    };
    cells.extend([
        server.to_owned(),
        if node.reachable { "ok" } else { "unreachable" }.to_owned(),
    ]);
    cells
}

fn as_json(view: &TopologyView) -> Value {
    let nodes: Vec<Value> = view
        .nodes
        .iter()
        .map(|node| {
            json!({
                "address": node.address.to_string(),
                "role": role(node.role),
                "slots": pairs(&node.slots),
                "primary": node.primary.as_ref().map(ToString::to_string),
                "server": node.server,
                "version": node.version,
                "reachable": node.reachable,
                "trouble": node.trouble,
            })
        })
        .collect();
    json!({
        "mode": if view.cluster { "cluster" } else { "single" },
        "epoch": view.epoch,
        "nodes": nodes,
        "uncovered": pairs(&view.uncovered),
    })
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Replica => "replica",
    }
}

fn pairs(ranges: &[RangeInclusive<u16>]) -> Vec<[u16; 2]> {
    ranges
        .iter()
        .map(|range| [*range.start(), *range.end()])
        .collect()
}

fn ranges(ranges: &[RangeInclusive<u16>]) -> String {
    ranges
        .iter()
        .cloned()
        .collect::<cache_admin::SlotSet>()
        .to_string()
}
