//! `cachectl keyset info`.

use cache_admin::keysets::{KeysetAdmin, KeysetView};
use cache_layers::keyset::KeyInfo;

use super::{Ended, explained, show};
use crate::exit::Exit;
use crate::output::Output;
use crate::table::{Side, Table};

pub(super) async fn run(admin: &KeysetAdmin, output: &mut Output) -> Ended {
    let view = admin
        .view()
        .await
        .map_err(|error| explained(error, &admin.location()))?;
    if output.is_json() {
        output.json(&show::json(admin, &view))?;
        return Ok(Exit::Ok);
    }
    let proved = if view.is_proved {
        ""
    } else {
        ", not decrypted: the keys are as its writer noted them"
    };
    output.line(&format!("{}: {}{proved}", admin.location(), view.form))?;
    output.line("")?;
    for line in table(admin, &view).lines(output.colours()) {
        output.line(&line)?;
    }
    output.line("")?;
    output.line(&show::next(&view.next, admin.now()))?;
    show::unknown(&view.unknown, true, output);
    Ok(Exit::Ok)
}

fn table(admin: &KeysetAdmin, view: &KeysetView) -> Table {
    let mut table = Table::new(&[
        ("KEY", Side::Right),
        ("STATUS", Side::Left),
        ("KIND", Side::Left),
        ("PREFIX", Side::Left),
        ("SINCE", Side::Left),
    ]);
    for key in &view.info.keys {
        table.row(vec![
            key.id.to_string(),
            if key.is_primary {
                "primary".to_owned()
            } else {
                key.status.to_string()
            },
            key.kind.clone(),
            key.prefix
                .map_or_else(|| "unknown".to_owned(), |prefix| prefix.to_string()),
            since(admin, view, key),
        ]);
    }
    table
}

/// What happened to the key, and how long ago.
fn since(admin: &KeysetAdmin, view: &KeysetView, key: &KeyInfo) -> String {
    let events = view.times.key(key.id);
    let words: Vec<_> = events
        .events()
        .map(|(event, moment)| {
            if moment.is_assumed {
                format!("{event} at an unknown time")
            } else {
                format!(
                    "{event} {} ago",
                    show::span(admin.now().saturating_sub(moment.since_epoch))
                )
            }
        })
        .collect();
    words.join(", ")
}
