//! `cachectl ping`.

use cache_core::{CacheClient, clock};
use serde_json::json;

use super::Ended;
use crate::exit::Exit;
use crate::human;
use crate::output::Output;

pub(super) async fn run(cache: &dyn CacheClient, output: &mut Output) -> Ended {
    let started = clock::now();
    cache.ping().await?;
    let elapsed = clock::now() - started;
    output.answer(
        &format!("ok, {}", human::time(elapsed)),
        || json!({ "ok": true, "elapsed_us": u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX) }),
    )?;
    Ok(Exit::Ok)
}
