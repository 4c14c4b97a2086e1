//! What a pattern costs a primary, whoever sends it: no page holds up its other clients for long.

use anyhow::{Result, ensure};
use cache_admin::paging::PageRequest;
use cache_admin::{Options, Outcome, Pace};
use cache_core::Pattern;
use tests::{Server, ServerOptions, Version};

use super::{engine, fill};

const KEYS: usize = 4_000;

/// How long one `SCAN` may take. The bound is 50 ms; a build machine may be loaded by others.
const LONGEST_MICROS: i64 = 250_000;

/// Patterns that made one `SCAN` take seconds.
fn costly() -> Result<Vec<Pattern>> {
    let padding = "~".repeat(65_000);
    let alternating: String = ('!'..'~').step_by(2).filter(|c| !"]\\^-".contains(*c)).collect();
    Ok(vec![
        Pattern::new(format!("billing:*[{padding}]"))?,
        Pattern::new(format!("billing:*[^{padding}]x"))?,
        Pattern::new(format!("billing:*{}", format!("[{alternating}]").repeat(1_000)))?,
        Pattern::new(format!("billing:{}", "*a".repeat(5_000)))?,
        Pattern::new(format!("*{}", "?".repeat(1_000)))?,
    ])
}

#[tokio::test]
async fn no_pattern_holds_up_a_primary() -> Result<()> {
    for version in [Version::Redis7, Version::Valkey8] {
        let options = ServerOptions::new(version)
            .line("slowlog-log-slower-than 10000")
            .line("slowlog-max-len 1000");
        let server = Server::start(options).await?;
        let (client, engine) = engine(&[server.address()], false).await?;
        let name = "a".repeat(200);
        fill(
            &client,
            (0..KEYS).map(|number| format!("billing:{name}:{number}")),
        )
        .await?;
        server.call(&["SLOWLOG", "RESET"]).await?;
        for pattern in costly()? {
            for pace in [Pace::Gentle, Pace::Full] {
                let options = Options::default().with_pace(pace);
                let counted = engine.count(&pattern, 0, &options).await;
                ensure!(matches!(counted.report.outcome, Outcome::Complete), "{counted:?}");
            }
            let mut request = PageRequest::new(&pattern).with_limit(1_000);
            while let Some(next) = engine.page(&request).await?.next {
                request = request.at(next);
            }
        }
        for entry in server.call(&["SLOWLOG", "GET", "1000"]).await?.items() {
            let micros = entry.items().get(2).and_then(tests::Reply::integer).unwrap_or(0);
            ensure!(
                micros < LONGEST_MICROS,
                "{version:?}: one command took {micros} us"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_costly_pattern_finds_what_it_matches() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let (client, engine) = engine(&[server.address()], false).await?;
    fill(
        &client,
        (0..2_000).map(|number| format!("billing:{number}:short")),
    )
    .await?;
    fill(
        &client,
        (0..300).map(|number| format!("billing:{number}:rather-long-suffix")),
    )
    .await?;
    let pattern = Pattern::new("billing:*:rather-long-suffix")?;
    ensure!(
        !pattern.asked().is_exact,
        "this test is about patterns that are filtered here"
    );
    let counted = engine.count(&pattern, 0, &Options::default()).await;
    ensure!(counted.report.total().matched == 300, "{counted:?}");
    let mut request = PageRequest::new(&pattern);
    let mut listed = std::collections::BTreeSet::new();
    loop {
        let page = engine.page(&request).await?;
        listed.extend(page.keys.into_iter().map(|listed| listed.key));
        let Some(next) = page.next else { break };
        request = request.at(next);
    }
    ensure!(
        listed.len() == 300 && listed.iter().all(|key| pattern.matches(key)),
        "{}",
        listed.len()
    );
    let report = engine.invalidate(&pattern, &Options::default()).await;
    ensure!(report.total().removed == 300, "{report:?}");
    ensure!(engine.key_count().await? == 2_000);
    Ok(())
}
