//! `cachectl health --server URL`: whether a service is ready, as its `/health/ready` says.

use serde_json::Value;

use super::Client;
use crate::commands::Ended;
use crate::exit::Exit;
use crate::output::Output;

/// Ends with 0 if the service answers that it is ready, also with a warning; a service that refuses is a failure.
pub(super) async fn run(client: &Client, output: &mut Output) -> Ended {
    let health: Value = client.get("/health/ready").await?;
    let status = health["status"].as_str().unwrap_or("ready").to_owned();
    output.answer(&status, || health)?;
    Ok(Exit::Ok)
}
