//! The data path beside other clients: `cargo bench -p benches --bench data_path [-- --quick]`.
//!
//! One Valkey server and a cluster of three primaries on loopback, values of 100 bytes, 10,000 keys. `cache-stack`
//! is this project as services use it: what `cache_stack::from_env()` makes, with guard and metrics, called through
//! `Arc<dyn CacheClient>`. The others are called by their own API. `-- --help` says how to measure a part.

mod arguments;
mod contender;
mod contest;
mod goals;
mod ours;
mod peers;
mod results;
mod sequence;

use std::fmt;
use std::io::Write as _;

use anyhow::Result;
use benches::Goal;
use clap::Parser as _;
use opentelemetry_sdk::metrics::{ManualReader, SdkMeterProvider};
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version};

use arguments::{Arguments, Servers};
use contender::{Contender as _, KEYS, key};
use contest::Contest;

#[tokio::main]
async fn main() -> Result<()> {
    // Test runners call benchmarks with `--test` or `--list` to see that they exist.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return Ok(());
    }
    let arguments = Arguments::parse();
    // Without an SDK the stack's metrics would cost less than they do in a service.
    let metrics = SdkMeterProvider::builder()
        .with_reader(ManualReader::builder().build())
        .build();
    opentelemetry::global::set_meter_provider(metrics.clone());

    let mut goals = Vec::new();
    if arguments.takes_servers(Servers::Single) {
        let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
        measure(Servers::Single, &server.address(), &arguments, &mut goals).await?;
    }
    if arguments.takes_servers(Servers::Cluster) {
        let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
        measure(Servers::Cluster, &cluster.addresses()[0], &arguments, &mut goals).await?;
    }
    let options = arguments.options();
    print(&format!(
        "goals (medians of {} rounds of {:?})",
        options.rounds, options.slice
    ))?;
    for goal in goals {
        print(&goal)?;
    }
    metrics.shutdown()?;
    Ok(())
}

async fn measure(
    servers: Servers,
    address: &str,
    arguments: &Arguments,
    goals: &mut Vec<Goal>,
) -> Result<()> {
    let mut client = ours::bare(servers, address).await?;
    for number in 0..KEYS {
        client.set(key(number)).await;
    }
    let contest = Contest::connect(servers, address, arguments).await?;
    print(&format!("{servers}: cache-stack is {}\n", contest.stack))?;
    for operation in arguments.operations() {
        let results = contest.hold(operation, arguments).await;
        print(&results)?;
        goals.extend(goals::of(servers, &results));
    }
    if arguments.is_complete() {
        let ratio = sequence::many_against_one_by_one(&client, arguments.options()).await;
        let bound = match servers {
            Servers::Single => 15.0,
            Servers::Cluster => 10.0,
        };
        let what = format!("{servers}, get_many of 100 keys against 100 gets in a row");
        goals.extend(goals::at_least(what, Some(ratio), bound));
    }
    Ok(())
}

fn print(line: &impl fmt::Display) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}
