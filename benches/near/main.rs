//! The near tier, and the engines that it could stand on: `cargo bench -p benches --bench near [-- --quick]`.
//!
//! Hits of 10,000 entries from 1 and 2 tasks, each engine by its own API and the tier as services call it,
//! through `Arc<dyn CacheClient>`; then what decoding once is worth: hits of a `TypedReadThrough` beside those of a
//! `ReadThrough` over the tier whose caller decodes each time; then the memory that 1,000,000 entries of a 16-byte key and a 100-byte
//! value take, each contender in a process of its own. Why the tier stands on the one that it stands on is
//! in `docs/decisions/0010-near-tier.md`.

mod endless;
mod held;
mod hits;
mod typed;

use std::io::Write as _;

use anyhow::Result;
use benches::Options;
use bytes::Bytes;

#[tokio::main]
async fn main() -> Result<()> {
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return Ok(());
    }
    let mut arguments = std::env::args().skip_while(|argument| argument != held::CHILD);
    if let (Some(_), Some(contender)) = (arguments.next(), arguments.next()) {
        return held::measure(&contender).await;
    }
    let options = Options::from_arguments();
    let mut goals = hits::compare(options).await?;
    goals.extend(typed::compare(options).await?);
    goals.extend(held::compare()?);
    let mut out = std::io::stdout().lock();
    writeln!(out, "goals")?;
    for goal in goals {
        writeln!(out, "{goal}")?;
    }
    Ok(())
}

/// What an engine keeps for the tier: the value, two deadlines, and what it weighs.
pub(crate) type Kept = (Bytes, u64, u64, u32);

pub(crate) fn kept() -> Kept {
    (Bytes::from(vec![b'v'; 100]), u64::MAX, u64::MAX, 276)
}
