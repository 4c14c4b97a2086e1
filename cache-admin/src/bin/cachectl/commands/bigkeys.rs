//! `cachectl bigkeys`.

use std::ffi::OsString;

use cache_admin::{BigKeys, BigKeysOptions, Group, Options};
use cache_stack::Stack;
use clap::Args;

use super::invalidate::watched;
use super::{Ended, pattern};
use crate::cli::PATTERN_HELP;
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;
use crate::stop;
use crate::table::{Side, Table};

/// Groups that are shown; the others are in the JSON.
const GROUPS: usize = 10;

#[derive(Args, Debug)]
pub(crate) struct Bigkeys {
    #[arg(long, default_value = "*", help = PATTERN_HELP)]
    pub(crate) pattern: OsString,
    /// Look at N keys only, drawn at random over all primaries; a larger key may not be among them
    #[arg(long, alias = "samples", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) sample: Option<u64>,
    /// How many of the largest to show
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) top: usize,
}

pub(super) async fn run(stack: &Stack, arguments: &Bigkeys, output: &mut Output) -> Ended {
    let options = BigKeysOptions::default()
        .with_pattern(pattern(&arguments.pattern)?)
        .with_top(arguments.top);
    let Some(sample) = arguments.sample else {
        let search = async |scan: Options| BigKeys::of(stack, &options.with_scan(scan)).await;
        let found = watched(Options::default(), output, search).await?;
        let exit = told(&found, false, output)?;
        // Nothing failed, and not every key was looked at: it was stopped.
        return Ok(match exit {
            Exit::Ok if !found.exact => Exit::Cancelled,
            exit => exit,
        });
    };
    let options = options.with_samples(sample);
    let found = tokio::select! {
        found = Box::pin(BigKeys::of(stack, &options)) => found?,
        () = stop::requested() => return Ok(Exit::Cancelled),
    };
    told(&found, true, output)
}

/// What was found, by a sample or by looking at every key, and which primaries it leaves out.
pub(crate) fn told(found: &BigKeys, drawn: bool, output: &mut Output) -> Ended {
    if output.is_json() {
        output.json(found)?;
    } else {
        show(found, drawn, output)?;
    }
    let mut exit = Exit::Ok;
    for primary in &found.primaries {
        if let Some(error) = &primary.error {
            output.warning(&format!("{}: {error}", primary.address));
            exit = Exit::Partial;
        }
    }
    Ok(exit)
}

fn show(found: &BigKeys, drawn: bool, output: &mut Output) -> Result<(), Failure> {
    let mut table = Table::new(&[
        ("MEMORY", Side::Right),
        ("TYPE", Side::Left),
        ("TTL", Side::Left),
        ("KEY", Side::Left),
    ]);
    for key in &found.largest {
        table.row(vec![
            human::bytes(key.memory_bytes),
            key.kind.clone(),
            if key.has_ttl { "yes" } else { "no" }.to_owned(),
            escape::escaped(&key.name),
        ]);
    }
    for lines in [
        table.lines(output.colours()),
        groups("PREFIX", &found.by_prefix, found.exact || !drawn).lines(output.colours()),
        groups("TYPE", &found.by_type, found.exact || !drawn).lines(output.colours()),
    ] {
        for line in lines {
            output.line(&line)?;
        }
        output.line("")?;
    }
    output.line(&looked_at(found, drawn))?;
    Ok(())
}

fn groups(name: &'static str, groups: &[Group], exact: bool) -> Table {
    let (keys, memory) = if exact {
        ("KEYS", "MEMORY")
    } else {
        ("KEYS, ABOUT", "MEMORY, ABOUT")
    };
    let mut table = Table::new(&[
        (name, Side::Left),
        ("LOOKED AT", Side::Right),
        ("AVERAGE", Side::Right),
        (keys, Side::Right),
        (memory, Side::Right),
    ]);
    for group in groups.iter().take(GROUPS) {
        table.row(vec![
            escape::escaped(group.name.as_bytes()),
            human::number(group.sampled),
            human::bytes(group.average_bytes),
            human::number(group.estimated_keys),
            human::bytes(group.estimated_bytes),
        ]);
    }
    table
}

/// How much all of this is based on.
fn looked_at(found: &BigKeys, drawn: bool) -> String {
    let all = found
        .keys
        .map_or_else(|| "an unknown number of keys".to_owned(), human::keys);
    if found.exact {
        return format!("all of {all} looked at, {} matched", human::number(found.matched));
    }
    if !drawn {
        return format!(
            "not all of {all} looked at, {} measured: a larger key may be among the others",
            human::number(found.matched)
        );
    }
    let share = found.keys.filter(|keys| *keys > 0).map(|keys| {
        #[expect(clippy::cast_precision_loss, reason = "counts of keys, far below 2^52")]
        let share = found.sampled as f64 / keys as f64;
        format!(" ({:.1} %)", share * 100.0)
    });
    format!(
        "{} of {all} drawn at random{}, {} matched: a larger key may not be among them",
        human::number(found.sampled),
        share.unwrap_or_default(),
        human::number(found.matched)
    )
}
