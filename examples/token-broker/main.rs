//! A token broker, as chinmina-bridge and the token cache of the GitHub runners are: it hands out upstream tokens that
//! are minted once for the whole fleet, cached encrypted, refreshed 10 minutes ahead of their expiry.
//!
//! `cargo run --bin token-broker` starts it on the embedded cache, with a stand-in for the upstream. `CACHE_*` gives it
//! servers, a near cache, encryption or DynamoDB; nothing else changes. See `README.md` in this folder.
//!
//! Here the commands are dispatched. What a token goes through: `routes/token.rs`, `broker.rs` (the fleet's cache),
//! `source.rs` (what is loaded), `minter.rs` (bounds), `upstream/`.

mod answer;
mod bridge;
mod broker;
mod demo;
mod http_client;
mod keys;
mod load;
mod minter;
mod options;
mod profiles;
mod routes;
mod serve;
#[path = "../tenant-service/shutdown.rs"]
mod shutdown;
mod source;
mod tally;
#[cfg(test)]
mod tests;
mod times;
mod token;
mod trouble;
mod upstream;

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::load::Plan;
use crate::options::{Command, Load, Options, Serving, StandIn};
use crate::profiles::Profiles;
use crate::serve::Running;
use crate::times::Times;
use crate::upstream::stand_in::{self, Switches};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Options {
        command,
        serving,
        pace,
    } = Options::parse();
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error,token_broker=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let profiles = Profiles::load(serving.profiles.as_deref())?;
    match command {
        None => serve(&serving, profiles, pace.times(1.0)).await,
        Some(Command::Upstream(options)) => serve_upstream(options, &serving, pace.times(1.0)).await,
        Some(Command::Demo(options)) => {
            let times = pace.times(demo::USUAL_FACTOR);
            say(demo::run(options, &serving, profiles, times).await?);
            Ok(())
        }
        Some(Command::Load(options)) => drive(options, &profiles).await,
    }
}

async fn serve(serving: &Serving, profiles: Profiles, times: Times) -> anyhow::Result<()> {
    let running = Running::start(serving, profiles, times).await?;
    let (address, cache) = (running.address, &running.cache);
    say(format!(
        "token-broker listens on http://{address}, its cache is {cache}"
    ));
    say("try in another terminal:");
    say(format!("  curl '{address}/token?app=acme-ci&profile=default'"));
    say(format!("  curl {address}/status"));
    let mut stop = std::pin::pin!(shutdown::requested());
    loop {
        let pause = serving.report_every().unwrap_or(Duration::MAX);
        tokio::select! {
            () = &mut stop => break,
            () = tokio::time::sleep(pause) => say(running.broker.totals().to_string()),
        }
    }
    let broker = std::sync::Arc::clone(&running.broker);
    running.stop().await?;
    say(broker.totals().to_string());
    Ok(())
}

async fn serve_upstream(options: StandIn, serving: &Serving, times: Times) -> anyhow::Result<()> {
    let switches = Switches {
        failing: false,
        delay_ms: options.delay,
        limit: options.limit,
    };
    let (address, serve) = stand_in::listen(serving.address(), times, switches).await?;
    say(format!("the upstream's stand-in listens on http://{address}"));
    tokio::select! {
        served = serve => Ok(served?),
        () = shutdown::requested() => Ok(()),
    }
}

async fn drive(options: Load, profiles: &Profiles) -> anyhow::Result<()> {
    let plan = Plan {
        brokers: options.brokers,
        tokens: profiles.names(),
        rate: options.rate,
        span: Duration::from_secs(options.seconds),
    };
    let report = load::run(plan).await?;
    say(if options.json {
        serde_json::to_string(&report)?
    } else {
        report.to_string()
    });
    Ok(())
}

#[expect(clippy::print_stdout, reason = "for the person at the terminal")]
fn say(text: impl AsRef<str>) {
    println!("{}", text.as_ref());
}
