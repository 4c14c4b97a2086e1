//! How fast a removal at full speed is, beside what operators type today.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use cache_admin::{Options, Outcome, Pace};
use cache_core::clock;
use tests::{Server, ServerOptions, Version, install};
use tokio::process::Command;

use super::sizes::println;
use super::{engine, fill, pattern, size};

/// The bound holds for `--release`; a debug build prints what it measured and checks what was removed.
#[tokio::test]
async fn it_takes_at_most_a_third_of_the_time_of_a_pipe_of_valkey_cli() -> Result<()> {
    let program = install::program(Version::Valkey8).await?;
    let beside = program.path().with_file_name("valkey-cli");
    if !beside.exists() {
        tests::skip::skip("speed", "there is no valkey-cli beside the server");
        return Ok(());
    }
    // Started as the server is, with the libraries that it brings along.
    let mut words = program.command()?;
    words.pop();
    words.push(beside.into());
    let cli: Vec<String> = words
        .iter()
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let cli = cli.join(" ");
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let (client, engine) = engine(&[server.address()], false).await?;
    let keys = 5 * size();
    let doomed = || (0..keys).map(|number| format!("doomed:{number}"));
    fill(&client, (0..keys).map(|number| format!("kept:{number}"))).await?;

    fill(&client, doomed()).await?;
    let cli = format!("{cli} -h {} -p {}", server.host(), server.port());
    let pipe = format!("{cli} --scan --pattern 'doomed:*' | xargs {cli} unlink");
    let began = clock::now();
    let piped = Command::new("sh")
        .args(["-c", &pipe])
        .stdout(Stdio::null())
        .status()
        .await?;
    let theirs = began.elapsed();
    ensure!(piped.success());
    ensure!(server.call(&["DBSIZE"]).await?.integer() == Some(i64::try_from(keys)?));

    fill(&client, doomed()).await?;
    let busy = cpu(&server).await?;
    let options = Options::default().with_pace(Pace::Full).with_verify(false);
    let report = engine.invalidate(&pattern("doomed:*")?, &options).await;
    let busy = cpu(&server).await? - busy;
    ensure!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    ensure!(report.total().removed == keys);
    let ours = report.elapsed;
    println(&format!(
        "{keys} of {} keys: {ours:?}, {:.0} keys/s removed, the server busy for {:.0} %; valkey-cli {theirs:?}; ratio {:.2}",
        2 * keys,
        f64::from(u32::try_from(keys)?) / ours.as_secs_f64(),
        100.0 * busy / ours.as_secs_f64(),
        ours.as_secs_f64() / theirs.as_secs_f64()
    ));
    // Without optimisation our own code is many times slower and theirs is not: the ratio says nothing then.
    ensure!(
        cfg!(debug_assertions) || ours * 3 <= theirs,
        "{ours:?}, and valkey-cli {theirs:?}"
    );
    Ok(())
}

/// Seconds that the server has worked.
async fn cpu(server: &Server) -> Result<f64> {
    let mut seconds = 0.0;
    for field in ["used_cpu_user", "used_cpu_sys"] {
        seconds += server.info(field).await?.parse::<f64>().context(field)?;
    }
    Ok(seconds)
}
