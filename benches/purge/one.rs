//! One primary at full speed, beside the pipe of `valkey-cli`.

use std::time::Duration;

use anyhow::{Result, ensure};
use benches::{Goal, median};
use cache_admin::{Options, Pace};

use crate::pipe::Pipe;
use crate::usage::{Share, Usage};
use crate::{Sizes, check, engine, float, pattern, populate, say, server};

/// One way to remove them, in one round.
#[derive(Clone, Copy, Debug)]
struct Sample {
    time: Duration,
    share: Share,
}

const NAMES: [&str; 3] = [
    "valkey-cli --scan | xargs valkey-cli unlink",
    "the engine at full speed",
    "the same without the verifying visit",
];

pub(crate) async fn measure(sizes: Sizes) -> Result<()> {
    let Some(pipe) = Pipe::find().await? else {
        return say("there is no valkey-cli beside the server: nothing to compare with");
    };
    let server = server().await?;
    let (_client, engine) = engine(&[server.address()], false).await?;
    let doomed = sizes.keys / 2;
    populate(&server, "kept", sizes.keys - doomed, 100).await?;
    let options = Options::default().with_pace(Pace::Full);
    let mut samples: [Vec<Sample>; 3] = Default::default();
    for _ in 0..sizes.rounds {
        for (way, samples) in samples.iter_mut().enumerate() {
            populate(&server, "doomed", doomed, 100).await?;
            let usage = Usage::start(&server).await?;
            let time = if way == 0 {
                pipe.remove(&server, "doomed:*").await?
            } else {
                let options = options.clone().with_verify(way == 1);
                let report = engine.invalidate(&pattern("doomed:*")?, &options).await;
                check(&report, doomed)?;
                report.elapsed
            };
            samples.push(Sample {
                time,
                share: usage.stop().await?,
            });
            let left = server.call(&["DBSIZE"]).await?.integer();
            ensure!(
                left == Some(i64::try_from(sizes.keys - doomed)?),
                "{left:?} keys are left"
            );
        }
    }
    say(format!(
        "one primary, {doomed} of {} keys of 100 bytes (medians of {} rounds)",
        sizes.keys, sizes.rounds
    ))?;
    say(format!(
        "{:44} | {:>8} | {:>9} | {:>8} | {:>8} | {:>9}",
        "", "time", "keys/s", "to pipe", "busy", "no core"
    ))?;
    let seconds = |way: usize| median(samples[way].iter().map(|sample| sample.time.as_secs_f64()));
    let ratio = |way: usize| {
        let rounds = samples[way].iter().zip(&samples[0]);
        median(rounds.map(|(own, pipe)| own.time.as_secs_f64() / pipe.time.as_secs_f64()))
    };
    let share = |way: usize, of: fn(&Share) -> f64| {
        100.0 * median(samples[way].iter().map(|sample| of(&sample.share)))
    };
    for (way, name) in NAMES.iter().enumerate() {
        say(format!(
            "{name:44} | {:>6.2} s | {:>9.0} | {:>8.2} | {:>6.0} % | {:>7.0} %",
            seconds(way),
            float(doomed) / seconds(way),
            ratio(way),
            share(way, |share| share.busy),
            share(way, |share| share.starved),
        ))?;
    }
    for (what, measured, bound, at_least) in [
        ("its time to that of the pipe", ratio(1), 1.0 / 3.0, false),
        (
            "% of it, the server's main thread works",
            share(1, |share| share.busy),
            85.0,
            true,
        ),
        (
            "% of it, the main thread works or waits for a core of this machine",
            share(1, |share| share.busy + share.starved),
            85.0,
            true,
        ),
    ] {
        say(Goal {
            what: what.to_owned(),
            measured,
            bound,
            at_least,
        })?;
    }
    say("")
}
