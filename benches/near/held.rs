//! How much memory entries take, as the operating system counts it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use benches::Goal;
use cache_core::CacheClient;
use cache_layers::{NearConfig, Tiered};

use crate::endless::Endless;
use crate::{Kept, kept};

/// Makes this program a contender of [`compare`]; its name follows.
pub(crate) const CHILD: &str = "--memory-of";

const ENTRIES: u32 = 1_000_000;

/// What an entry of this benchmark counts for in a `Tiered`.
const WEIGHT: u64 = 16 + 100 + 160;

const NAMES: [&str; 4] = ["quick_cache", "moka", "foyer-memory", "Tiered"];

/// Prints what each takes when it has just been filled, and after twice as many more came through.
pub(crate) fn compare() -> Result<Vec<Goal>> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "bytes of memory per entry of 116 bytes: filled, and after two more million"
    )?;
    let mut goals = Vec::new();
    for name in NAMES {
        let (filled, churned, held) = ask(name)?;
        writeln!(
            out,
            "{name:24} | {filled:>7.0} | {churned:>7.0} | {held:.0} entries held"
        )?;
        if name == "Tiered" {
            for (bytes, when) in [(filled, "filled"), (churned, "after churn")] {
                goals.push(Goal {
                    what: format!("memory of 1,000,000 near entries to its bound, {when}"),
                    measured: bytes / per_entry(WEIGHT),
                    bound: 1.15,
                    at_least: false,
                });
            }
        }
    }
    Ok(goals)
}

fn ask(name: &str) -> Result<(f64, f64, f64)> {
    let program = std::env::current_exe()?;
    let output = Command::new(program).args([CHILD, name]).output()?;
    anyhow::ensure!(output.status.success(), "{name} failed");
    let text = String::from_utf8(output.stdout)?;
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    let mut next = || {
        numbers
            .next()
            .context("a number is missing")?
            .context("no number")
    };
    Ok((next()?, next()?, next()?))
}

/// In the process of a contender: fills it, and prints the bytes per entry.
pub(crate) async fn measure(name: &str) -> Result<()> {
    let before = resident()?;
    let mut report = String::new();
    let mut note = |_: ()| -> Result<()> {
        let taken = resident()?.saturating_sub(before) / u64::from(ENTRIES);
        Ok(write!(report, "{taken} ")?)
    };
    let key = |number: u32| -> Box<str> { format!("bench:{number:010}").into() };
    let parts = [0..ENTRIES, ENTRIES..3 * ENTRIES];
    let entries = u64::from(ENTRIES);
    let held = match name {
        "quick_cache" => {
            let cache = quick_cache::sync::Cache::<Box<str>, Kept>::new(usize::try_from(entries)?);
            for part in parts {
                for number in part {
                    cache.insert(key(number), kept());
                    drop(cache.get(&key(number)));
                }
                note(())?;
            }
            u64::try_from(cache.len())?
        }
        "moka" => {
            let cache = moka::sync::Cache::<Box<str>, Kept>::new(entries);
            for part in parts {
                for number in part {
                    cache.insert(key(number), kept());
                    drop(cache.get(&key(number)));
                }
                cache.run_pending_tasks();
                note(())?;
            }
            cache.entry_count()
        }
        "foyer-memory" => {
            let cache: foyer_memory::Cache<Box<str>, Kept> =
                foyer_memory::CacheBuilder::new(usize::try_from(entries)?).build();
            for part in parts {
                for number in part {
                    drop(cache.insert(key(number), kept()));
                    drop(cache.get(&key(number)).map(|entry| entry.value().clone()));
                }
                note(())?;
            }
            u64::try_from(cache.entries())?
        }
        _ => {
            let config = NearConfig::builder()
                .max_bytes(WEIGHT * entries)
                .max_entries(10 * entries);
            let cache = Tiered::new(Arc::new(Endless), config.build()?);
            for part in parts {
                for number in part {
                    let key = key(number);
                    // Far, then near: a value that was given out takes a little more.
                    drop((cache.get(&key).await?, cache.get(&key).await?));
                }
                note(())?;
            }
            cache.stats().entries
        }
    };
    writeln!(std::io::stdout().lock(), "{report}{held}")?;
    Ok(())
}

/// The bytes of this process that are in memory.
fn resident() -> Result<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages = pages.split_whitespace().nth(1).context("no resident pages")?;
    Ok(pages.parse::<u64>()? * u64::try_from(rustix::param::page_size())?)
}

#[expect(clippy::cast_precision_loss, reason = "a weight is a small number")]
fn per_entry(weight: u64) -> f64 {
    weight as f64
}
