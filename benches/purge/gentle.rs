//! What other clients notice of a run.

use std::time::Duration;

use anyhow::Result;
use benches::{Goal, median};
use cache_admin::{Options, Pace};
use tests::p99_while;

use crate::{Sizes, check, engine, float, pattern, populate, say, server};

pub(crate) async fn measure(sizes: Sizes) -> Result<()> {
    let server = server().await?;
    let (_client, engine) = engine(&[server.address()], false).await?;
    server.call(&["SET", "probe", "x"]).await?;
    // A tenth of the keys: a gentle run takes its time.
    let keys = sizes.keys / 10;
    let doomed = keys / 2;
    populate(&server, "kept", keys - doomed, 100).await?;
    say(format!(
        "p99 of a GET of another client in a run over {keys} keys"
    ))?;
    for pace in [Pace::Gentle, Pace::Full] {
        let (mut more, mut rates) = (Vec::new(), Vec::new());
        for _ in 0..sizes.rounds.max(3) {
            populate(&server, "doomed", doomed, 100).await?;
            let (quiet, ()) =
                p99_while(&server.address(), tokio::time::sleep(Duration::from_secs(1))).await?;
            let options = Options::default().with_pace(pace);
            let pattern = pattern("doomed:*")?;
            let run = engine.invalidate(&pattern, &options);
            let (busy, report) = p99_while(&server.address(), run).await?;
            check(&report, doomed)?;
            more.push((busy.as_secs_f64() - quiet.as_secs_f64()) * 1e3);
            rates.push(float(doomed) / report.elapsed.as_secs_f64());
        }
        let more = median(more.into_iter());
        let rate = median(rates.into_iter());
        let line = format!("ms more than while all is quiet, {pace:?}, at {rate:.0} keys/s removed");
        if pace == Pace::Gentle {
            say(Goal {
                what: line,
                measured: more,
                bound: 1.0,
                at_least: false,
            })?;
        } else {
            say(format!("{:>11}  {more:>8.2}  {:12}  {line}", "", ""))?;
        }
    }
    say("")
}
