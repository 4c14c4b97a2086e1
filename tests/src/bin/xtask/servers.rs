//! `cargo xtask servers`: servers to play with, and the variables that lead a service there.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tests::shared::{Kind, Running, Shared};
use tokio::process::Command;

/// Starts `kind`; then runs `command` with the variables set, or prints them and waits for Ctrl-C.
pub(crate) async fn run(kind: &str, command: &[&str]) -> Result<ExitCode> {
    let kind = match kind {
        "single" => Kind::Single,
        "tls" => Kind::Tls,
        "sentinel" => Kind::Sentinel,
        "cluster" => Kind::Cluster,
        "cluster-tls" => Kind::ClusterTls,
        "valkey9" => Kind::Valkey9,
        "valkey9-cluster" => Kind::Valkey9Cluster,
        "redis6" => Kind::Redis6,
        "redis7" => Kind::Redis7,
        other => bail!(
            "no servers of kind {other}: single, tls, sentinel, cluster, cluster-tls, valkey9, \
             valkey9-cluster, redis6, redis7"
        ),
    };
    let running = Running::start(kind).await?;
    let variables = variables(kind, running.shared());
    let code = match command {
        [] => {
            let mut text = String::new();
            for (name, value) in &variables {
                writeln!(text, "export {name}={value}")?;
            }
            text.push_str("# running until Ctrl-C\n");
            let mut output = std::io::stdout();
            output.write_all(text.as_bytes())?;
            output.flush()?;
            tokio::signal::ctrl_c().await?;
            ExitCode::SUCCESS
        }
        [program, arguments @ ..] => {
            let mut child = Command::new(program)
                .args(arguments)
                .envs(variables)
                .spawn()
                .with_context(|| format!("start {program}"))?;
            loop {
                tokio::select! {
                    status = child.wait() => {
                        let code = status?.code().and_then(|code| u8::try_from(code).ok());
                        break code.map_or(ExitCode::FAILURE, ExitCode::from);
                    }
                    // Ctrl-C is the command's to handle, so that the servers outlast it.
                    interrupted = tokio::signal::ctrl_c() => interrupted?,
                }
            }
        }
    };
    drop(running);
    Ok(code)
}

/// The settings by which a service finds these servers.
fn variables(kind: Kind, shared: &Shared) -> Vec<(&'static str, String)> {
    let mut variables = vec![("CACHE_ADDRS", shared.addresses.join(","))];
    match kind {
        Kind::Cluster | Kind::ClusterTls | Kind::Valkey9Cluster => {
            variables.push(("CACHE_MODE", "cluster".to_owned()));
        }
        Kind::Sentinel => variables.push(("CACHE_MODE", "sentinel".to_owned())),
        Kind::Single | Kind::Tls | Kind::Valkey9 | Kind::Redis6 | Kind::Redis7 => {}
    }
    if let Some(name) = &shared.sentinel_primary {
        variables.push(("CACHE_SENTINEL_MASTER", name.clone()));
    }
    if let Some(ca) = &shared.ca {
        variables.push(("CACHE_TLS_ENABLED", "true".to_owned()));
        variables.push(("CACHE_CA_CERT_BASE64", STANDARD.encode(ca)));
    }
    variables
}
