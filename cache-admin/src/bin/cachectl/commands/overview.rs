//! `cachectl overview`: the whole cache at one look.

use cache_admin::{NodeOverview, NodeRole, Overview};
use cache_stack::Stack;

use super::Ended;
use crate::escape::plain;
use crate::exit::Exit;
use crate::human;
use crate::output::Output;
use crate::table::{Side, Table};

pub(super) async fn run(stack: &Stack, output: &mut Output) -> Ended {
    show(&Box::pin(Overview::of(stack)).await?, output)
}

/// Its nodes as a table, then what is wrong. Something that is missing is the exit code of `topology`.
pub(crate) fn show(overview: &Overview, output: &mut Output) -> Ended {
    let well = overview.uncovered.is_empty() && overview.primaries().all(|node| node.reachable);
    let exit = if well { Exit::Ok } else { Exit::Partial };
    if output.is_json() {
        output.json(overview)?;
        return Ok(exit);
    }
    let keys = overview
        .keys
        .map_or_else(|| "an unknown number of keys".to_owned(), human::keys);
    let memory = overview
        .memory_used
        .map_or_else(String::new, |bytes| format!(", {} in use", human::bytes(bytes)));
    let hits = overview
        .hit_rate
        .map_or_else(String::new, |rate| format!(", {:.1} % hits", rate * 100.0));
    output.line(&format!(
        "{}: {}, {keys}{memory}{hits}",
        overview.mode.name(),
        human::primaries(overview.primaries().count())
    ))?;
    output.line("")?;
    let mut table = Table::new(&[
        ("NODE", Side::Left),
        ("ROLE", Side::Left),
        ("KEYS", Side::Right),
        ("MEMORY", Side::Right),
        ("LIMIT", Side::Right),
        ("OPS/S", Side::Right),
        ("CLIENTS", Side::Right),
        ("SERVER", Side::Left),
        ("STATE", Side::Left),
    ]);
    for node in &overview.nodes {
        table.row(row(node));
    }
    for line in table.lines(output.colours()) {
        output.line(&line)?;
    }
    output.flush()?;
    for warning in &overview.warnings {
        let node = warning
            .node
            .as_ref()
            .map_or_else(String::new, |node| format!("{}: ", plain(node)));
        output.warning(&format!("{node}{}", plain(&warning.message)));
    }
    Ok(exit)
}

fn row(node: &NodeOverview) -> Vec<String> {
    let known = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), human::number);
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), human::bytes);
    let role = match node.role {
        NodeRole::Primary => "primary",
        NodeRole::Replica => "replica",
    };
    let server = [&node.server, &node.version]
        .into_iter()
        .flatten()
        .cloned()
        .collect::<Vec<_>>();
    vec![
        plain(&node.address),
        role.to_owned(),
        known(node.keys),
        size(node.memory_used),
        size(node.memory_limit),
        known(node.ops_per_second),
        known(node.clients),
        if server.is_empty() {
            "-".to_owned()
        } else {
            plain(&server.join(" "))
        },
        if node.reachable { "ok" } else { "unreachable" }.to_owned(),
    ]
}
