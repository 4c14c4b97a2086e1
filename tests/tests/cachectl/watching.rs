//! `cachectl` at a terminal: what is drawn, what keys do, and that the terminal is left as it was.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cache_core::clock;
use cache_core::slot::slot_of;
use tests::terminal::{Left, Picture, Terminal};
use tests::{Cluster, ClusterOptions, until};
use tokio::task::JoinSet;

use super::{LIMIT, fill, sizes};

/// `cachectl` with these arguments on this cluster, at a terminal of so many columns and lines.
async fn at_terminal(cluster: &Cluster, arguments: &[&str], size: (u16, u16)) -> Result<Terminal> {
    at_terminal_with(cluster, arguments, &[], size).await
}

/// As [`at_terminal`], with more variables.
async fn at_terminal_with(
    cluster: &Cluster,
    arguments: &[&str],
    variables: &[(&str, String)],
    size: (u16, u16),
) -> Result<Terminal> {
    let program: PathBuf = tests::cachectl().await?;
    let of_cluster = [
        ("CACHE_MODE", "cluster".to_owned()),
        ("CACHE_ADDRS", cluster.addresses()[0].clone()),
    ];
    Terminal::start(&program, arguments, &[&of_cluster[..], variables].concat(), size)
}

/// That nothing was drawn that a terminal cannot show, and all is as it was.
#[track_caller]
fn is_clean(left: &Left) {
    assert!(left.restored, "the terminal is set otherwise than before");
    assert!(left.picture.is_usual(), "{:?}", left.picture);
    assert_eq!(left.picture.unknown, Vec::<String>::new());
}

/// A key of a slot that node `index` serves.
async fn key_of(cluster: &Cluster, index: usize) -> Result<String> {
    let topology = cluster.topology().await?;
    let id = cluster.id(index);
    let mut keys = (0..10_000).map(|number| format!("load:{number}"));
    let serves = |key: &String| {
        topology
            .owner(slot_of(key.as_bytes()))
            .is_some_and(|owner| owner.id == *id)
    };
    keys.find(serves).context("no key of this node")
}

/// Reads `key` on node `index` again and again; the number of reads so far.
async fn load(
    cluster: &Cluster,
    index: usize,
    key: String,
    tasks: &mut JoinSet<Result<()>>,
) -> Result<Arc<AtomicU64>> {
    let reads = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&reads);
    let mut connection = cluster.node(index).connect().await?;
    tasks.spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(2));
        loop {
            ticks.tick().await;
            connection.call(&["GET", &key]).await?;
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    Ok(reads)
}

/// The row of a primary: commands in a second, and its hit rate.
fn row(picture: &Picture, address: &str) -> Option<(f64, String)> {
    let line = picture.line_with(address)?;
    let mut words = line.split_whitespace().skip(1);
    let ops = words.next()?.replace(',', "").parse().ok()?;
    Some((ops, words.next()?.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_shows_every_primary_with_rates_that_fit_the_load_and_q_ends_it() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses();
    // The first one finds what is read, the second does not, nobody reads of the third.
    let (found, missing) = (key_of(&cluster, 0).await?, key_of(&cluster, 1).await?);
    cluster.node(0).call(&["SET", &found, "value"]).await?;
    let mut tasks = JoinSet::new();
    let reads = load(&cluster, 0, found, &mut tasks).await?;
    load(&cluster, 1, missing, &mut tasks).await?;

    // Long enough that a count can never be taken for a rate.
    let terminal = at_terminal(&cluster, &["top", "--interval", "2s"], (120, 30)).await?;
    let mut last = (0, 0, clock::now());
    let shown = until(LIMIT, "a rate that fits the load", || {
        let picture = terminal.picture();
        let (frames, count, at) = last;
        let fits = || {
            let now = (picture.frames, reads.load(Ordering::Relaxed), clock::now());
            if frames == now.0 {
                return None;
            }
            last = now;
            // Of two drawings one after the other, and not since the start.
            let elapsed = (now.2 - at).as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "thousands")]
            let ours = (now.1 - count) as f64 / elapsed;
            let (ops, hits) = row(&picture, &addresses[0])?;
            let (_, misses) = row(&picture, &addresses[1])?;
            let (idle, nothing) = row(&picture, &addresses[2])?;
            let fits = frames > 2 && ops > ours * 0.7 && ops < ours * 1.4 + 20.0 && idle < ops / 2.0;
            (fits && hits == "100.0" && misses == "0.0" && nothing == "-").then_some(picture)
        };
        std::future::ready(Ok(fits()))
    })
    .await
    .with_context(|| terminal.picture().text())?;
    ensure!(shown.is_own_screen(), "{}", shown.text());
    assert!(shown.lines()[0].starts_with("3 primaries, "), "{}", shown.text());
    assert_eq!((shown.overflowed, shown.scrolled), (0, 0), "{}", shown.text());

    // It goes on drawing.
    let more = |picture: &Picture| (picture.frames > shown.frames + 1).then_some(());
    terminal.shows("further drawings", more).await?;
    terminal.press(b"q")?;
    let left = terminal.end().await?;
    assert_eq!(left.status.code(), Some(0));
    is_clean(&left);
    assert_eq!(
        left.picture.text(),
        "",
        "what was on the terminal before is there again"
    );
    Ok(())
}

#[tokio::test]
async fn top_fits_into_every_size_as_soon_as_it_is_given() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses();
    // No second look: what is drawn anew is drawn for the size alone.
    let terminal = at_terminal(&cluster, &["top", "--interval", "5m"], (120, 30)).await?;
    let all = |picture: &Picture| {
        addresses
            .iter()
            .all(|address| picture.line_with(address).is_some())
    };
    let wide = |picture: &Picture| {
        let header = picture.line_with("PRIMARY")?;
        (all(picture) && header.ends_with("LIMIT")).then_some(picture.frames)
    };
    let mut frames = terminal.shows("all columns", wide).await?;
    for (size, columns) in [
        ((50, 10), true),
        ((1, 1), false),
        ((30, 3), false),
        ((50, 5), true),
    ] {
        terminal.resize(size.0, size.1)?;
        let drawn = |picture: &Picture| {
            let header = picture.line_with("PRIMARY").unwrap_or_default();
            let fits = !columns || (all(picture) && header.contains("OPS/S") && !header.contains("LIMIT"));
            (picture.frames > frames && fits).then_some(picture.frames)
        };
        frames = terminal.shows("a drawing of that size", drawn).await?;
    }
    terminal.resize(160, 40)?;
    terminal
        .shows("all columns again", |picture| {
            wide(picture).filter(|drawn| *drawn > frames)
        })
        .await?;
    let picture = terminal.picture();
    assert_eq!(
        (picture.overflowed, picture.scrolled),
        (0, 0),
        "{}",
        picture.text()
    );
    terminal.press(b"q")?;
    is_clean(&terminal.end().await?);
    Ok(())
}

#[tokio::test]
async fn whatever_ends_top_its_exit_code_is_that_of_the_last_look_and_the_terminal_is_as_before() -> Result<()>
{
    let node = tests::ServerOptions::new(tests::Version::Valkey8).line("cluster-require-full-coverage no");
    let cluster = Cluster::start(ClusterOptions::new(3, 0).node(node)).await?;
    let start = async || at_terminal(&cluster, &["top", "--interval", "200ms"], (100, 20)).await;
    let shown = |picture: &Picture| picture.line_with("PRIMARY").map(|_| ());

    let terminal = start().await?;
    terminal.shows("a look", shown).await?;
    terminal.press(b"\x03")?;
    let left = terminal.end().await?;
    assert_eq!(left.status.code(), Some(0));
    is_clean(&left);

    let terminal = start().await?;
    terminal.shows("a look", shown).await?;
    let id = terminal
        .process_id()
        .and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?));
    rustix::process::kill_process(id.context("no process")?, rustix::process::Signal::TERM)?;
    let left = terminal.end().await?;
    assert_eq!(left.status.code(), Some(0));
    is_clean(&left);

    let terminal = start().await?;
    terminal.shows("a look", shown).await?;
    cluster.kill(1)?;
    let silent = |picture: &Picture| {
        let line = picture.line_with(&cluster.addresses()[1])?;
        (line.ends_with("no answer") && picture.lines()[0].ends_with("1 not answering")).then_some(())
    };
    terminal.shows("the primary that is gone", silent).await?;
    terminal.press(b"q")?;
    let left = terminal.end().await?;
    assert_eq!(left.status.code(), Some(3), "{}", left.picture.text());
    is_clean(&left);
    Ok(())
}

/// How much of the keys of each primary is done, as its bar says.
fn bars(picture: &Picture, addresses: &[String]) -> Option<Vec<u64>> {
    let share = |address: &String| {
        let line = picture
            .line_with(address)
            .filter(|line| line.contains('░') || line.contains('█'))?;
        let (before, _) = line.split_once(" %")?;
        before.rsplit(' ').next()?.parse().ok()
    };
    addresses.iter().map(share).collect()
}

#[tokio::test]
async fn a_removal_has_a_growing_bar_for_each_primary_and_ctrl_c_leaves_a_clean_report() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses();
    fill(&addresses, (0..30_000).map(|number| format!("doomed:{number}"))).await?;
    let slowly = ["invalidate", "doomed:*", "--yes", "--rate", "6000", "--no-verify"];
    let terminal = at_terminal(&cluster, &slowly, (100, 20)).await?;
    let first = terminal
        .shows("the bars", |picture| bars(picture, &addresses))
        .await?;
    let grown = |picture: &Picture| {
        let now = bars(picture, &addresses)?;
        (now.iter().zip(&first).all(|(now, first)| now > first)).then(|| picture.clone())
    };
    let picture = terminal.shows("bars that grow", grown).await?;
    assert!(picture.text().contains(" removed of ") && picture.line_with("of 16,384 slots").is_some());
    terminal.press(b"\x03")?;
    let left = terminal.end().await?;
    assert_eq!(left.status.code(), Some(130), "{}", left.picture.text());
    is_clean(&left);
    // The report stands in place of the bars, from the first column on.
    let lines = left.picture.lines();
    assert!(
        lines[0].starts_with("PRIMARY ") && lines[0].ends_with("RESULT"),
        "{}",
        left.picture.text()
    );
    assert!(
        left.picture.line_with("cancelled: ").is_some(),
        "{}",
        left.picture.text()
    );
    assert!(
        !left.picture.text().contains('░') && !left.picture.text().contains("^C"),
        "{}",
        left.picture.text()
    );
    let rest = sizes(&cluster).await?.iter().sum::<i64>();
    assert!(rest > 0 && rest < 30_000, "{rest}");

    let terminal = at_terminal(
        &cluster,
        &["invalidate", "doomed:*", "--yes", "--rate", "30000"],
        (100, 20),
    )
    .await?;
    terminal
        .shows("the bars", |picture| bars(picture, &addresses))
        .await?;
    let left = terminal.end().await?;
    assert_eq!(left.status.code(), Some(0), "{}", left.picture.text());
    is_clean(&left);
    assert!(
        left.picture.lines()[0].starts_with("PRIMARY ") && !left.picture.text().contains('░'),
        "{}",
        left.picture.text()
    );
    assert!(
        left.picture.line_with("complete: ").is_some(),
        "{}",
        left.picture.text()
    );
    Ok(())
}

#[tokio::test]
async fn a_second_ctrl_c_does_not_wait_for_a_server_that_hangs() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses();
    fill(&addresses, (0..6_000).map(|number| format!("doomed:{number}"))).await?;
    let slowly = ["invalidate", "doomed:*", "--yes", "--rate", "1500"];
    let patient = [("CACHE_READ_TIMEOUT", "5m".to_owned())];
    let terminal = at_terminal_with(&cluster, &slowly, &patient, (100, 20)).await?;
    terminal
        .shows("the bars", |picture| bars(picture, &addresses))
        .await?;
    // It answers everything but removals, so that one is under way there once the others are a good deal further.
    cluster
        .node(1)
        .call(&["CLIENT", "PAUSE", "300000", "WRITE"])
        .await?;
    let stopped = async {
        let first = bars(&terminal.picture(), &addresses).context("no bars")?;
        let further = |picture: &Picture| bars(picture, &addresses).filter(|now| now[0] > first[0] + 15);
        terminal.shows("the others to go on", further).await?;
        terminal.press(b"\x03")?;
        let told = |picture: &Picture| picture.line_with("stopping: another Ctrl-C ends at once");
        terminal.shows("what a second one does", told).await?;
        terminal.press(b"\x03")
    };
    let stopped = stopped.await;
    let left = terminal.end().await;
    let ((), left) = (stopped?, left?);
    assert_eq!(left.status.code(), Some(130), "{}", left.picture.text());
    assert!(
        left.picture.line_with("cancelled").is_none(),
        "{}",
        left.picture.text()
    );
    is_clean(&left);
    Ok(())
}

#[tokio::test]
async fn a_removal_of_many_keys_is_confirmed_by_their_number() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    fill(
        &cluster.addresses(),
        (0..100).map(|number| format!("few:{number}")),
    )
    .await?;
    fill(
        &cluster.addresses(),
        (0..1_500).map(|number| format!("many:{number}")),
    )
    .await?;
    let held = async || Ok::<_, anyhow::Error>(sizes(&cluster).await?.iter().sum::<i64>());
    // A broad pattern, and one of many keys; what is typed is anything but the number.
    for (pattern, shown, typed) in [
        (
            "*",
            "* would remove 1,600 keys. Type the number of keys to go on:",
            &b"y\n"[..],
        ),
        (
            "many:*",
            "many:* would remove 1,500 keys. Type the number of keys to go on:",
            b"1499\n",
        ),
    ] {
        let terminal = at_terminal(&cluster, &["invalidate", pattern], (100, 20)).await?;
        let asked = |picture: &Picture| picture.line_with(shown);
        terminal.shows("the question", asked).await?;
        terminal.press(typed)?;
        let left = terminal.end().await?;
        assert_eq!(left.status.code(), Some(5), "{}", left.picture.text());
        assert_eq!(held().await?, 1_600);
    }
    let terminal = at_terminal(&cluster, &["invalidate", "many:*"], (100, 20)).await?;
    let asked = |picture: &Picture| picture.line_with("would remove 1,500 keys.");
    terminal.shows("the question", asked).await?;
    terminal.press(b"1,500\n")?;
    let left = terminal.end().await?;
    assert_eq!(left.status.code(), Some(0), "{}", left.picture.text());
    assert_eq!(held().await?, 100);
    // Few keys of a pattern that is not broad need no question, as before.
    let left = at_terminal(&cluster, &["invalidate", "few:*"], (100, 20))
        .await?
        .end()
        .await?;
    assert_eq!(left.status.code(), Some(0), "{}", left.picture.text());
    assert_eq!(held().await?, 0);
    Ok(())
}
