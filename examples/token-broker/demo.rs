//! `token-broker demo`: the broker asks itself for a compressed hour, and prints what came of it.

use crate::http_client::Http;
use crate::load::{self, Plan};
use crate::options::{Demo, Serving};
use crate::profiles::Profiles;
use crate::serve::Running;
use crate::tally::Served;
use crate::times::Times;
use crate::upstream::stand_in::Ledger;

/// How much an hour is compressed where nothing else is said: it takes 15 seconds.
pub(crate) const USUAL_FACTOR: f64 = 240.0;

/// Runs the demonstration; the table that it prints.
pub(crate) async fn run(
    demo: Demo,
    serving: &Serving,
    profiles: Profiles,
    times: Times,
) -> anyhow::Result<String> {
    let mut anywhere = serving.clone();
    anywhere.port = 0;
    let tokens = profiles.names();
    let (count, hour) = (tokens.len(), times.hour());
    let running = Running::start(&anywhere, profiles, times).await?;
    let mut table = format!(
        "one hour in {:.0} s, {} requests a second for {count} tokens, cache {}\n\n",
        hour.as_secs_f64(),
        demo.rate,
        running.cache,
    );
    let plan = Plan {
        brokers: vec![running.address.to_string()],
        tokens,
        rate: demo.rate,
        span: hour,
    };
    let report = load::run(plan).await?;
    let ledger: Ledger = Http::new(&running.upstream).json("/ledger").await?;
    let totals = running.broker.totals();
    let Served {
        near,
        cache,
        mint,
        memory,
    } = totals.served;
    let rows = [
        ("requests", totals.requests),
        ("  served from near cache", near),
        ("  served from cache", cache),
        ("  waited for a mint", mint),
        ("  served from memory", memory),
        ("  refused (503)", totals.refused),
        ("mints", totals.mints),
        ("429s of the upstream", ledger.limited),
    ];
    for (name, value) in rows {
        table.push_str(&format!("{name:<28}{value:>10}\n"));
    }
    let least = report.least_valid_ms.unwrap_or_default();
    table.push_str(&format!(
        "\n{:.0} mints an hour for {:.0} requests an hour; every token was valid for {least} ms or more",
        totals.mints_per_hour, totals.requests_per_hour,
    ));
    running.stop().await?;
    Ok(table)
}
