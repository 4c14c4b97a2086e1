//! Attacks on the program `cachectl serve` by somebody with a token of scope `list`, and by somebody without one: what they
//! cost the servers, other actors, memory and disk. The numbers are printed:
//!
//! ```console
//! $ cargo nextest run --workspace --all-features --locked -E 'test(attacks)' --no-capture
//! ```

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cache_core::clock;
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::{CacheClient as _, Ttl};
use cache_valkey::ValkeyClient;
use serde_json::json;
use tempfile::TempDir;
use tests::{Cluster, ClusterOptions};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;

use super::LIMIT;
use super::client::Client;

/// What the issue allows: a stall of a primary, another actor's request, memory and disk of the service.
const STALL: Duration = Duration::from_millis(50);
const ANSWER: Duration = Duration::from_secs(1);
const MEMORY_KIB: u64 = 150 * 1024;
const STORE: u64 = 50 * 1024 * 1024;

/// Keys that the servers hold. Each of them makes a costly pattern dearer.
const KEYS: usize = 60_000;

/// Connections without a login that read nothing.
const SLOW_READERS: usize = 520;

/// `cachectl serve` with two actors; killed if it is dropped.
struct Program {
    child: Child,
    /// Held open: a program whose output nobody reads may stop.
    _out: BufReader<ChildStdout>,
    folder: TempDir,
    address: std::net::SocketAddr,
    /// May list every key, and nothing else.
    attacker: Client,
    /// May do everything.
    operator: Client,
}

impl Program {
    async fn start(cluster: &Cluster) -> Result<Self> {
        let program = tests::cachectl().await?;
        let folder = tempfile::tempdir()?;
        let mut actors = String::new();
        let mut tokens = Vec::new();
        for (name, scopes) in [
            ("mallory", &["list"][..]),
            ("ops", &["list", "value", "invalidate", "purge"]),
        ] {
            let made = Command::new(&program)
                .args(["token", "new", name, "--json"])
                .env_clear()
                .output()
                .await?;
            let made: serde_json::Value = serde_json::from_slice(&made.stdout).context("a token")?;
            let hash = made["hash"].as_str().context("a hash")?;
            tokens.push(made["token"].as_str().context("a token")?.to_owned());
            let grants: Vec<String> = scopes.iter().map(|scope| format!("{scope} = [\"\"]")).collect();
            actors.push_str(&format!(
                "[actors.{name}]\ntokens = [{{ hash = \"{hash}\" }}]\n[actors.{name}.grants]\n{}\n",
                grants.join("\n")
            ));
        }
        let path = folder.path().join("actors.toml");
        std::fs::write(&path, actors)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let mut child = Command::new(&program)
            .args(["serve", "--listen", "127.0.0.1:0", "--tokens"])
            .arg(&path)
            .arg("--store")
            .arg(folder.path().join("jobs.redb"))
            .arg("--audit")
            .arg(folder.path().join("audit.jsonl"))
            .env_clear()
            .env("CACHE_MODE", "cluster")
            .env("CACHE_ADDRS", cluster.addresses().join(","))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let mut out = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut line = String::new();
        tokio::time::timeout(LIMIT, out.read_line(&mut line)).await??;
        let address = line
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split(',').next())
            .with_context(|| format!("no address: {line}"))?
            .parse()?;
        Ok(Self {
            child,
            _out: out,
            folder,
            address,
            attacker: Client::new(address, &tokens[0]),
            operator: Client::new(address, &tokens[1]),
        })
    }

    /// The most memory that it has had, in KiB.
    fn peak_memory(&self) -> Result<u64> {
        let id = self.child.id().context("it has ended by itself")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|rest| rest.split_whitespace().next());
        Ok(peak.context("no VmHWM")?.parse()?)
    }

    fn store(&self) -> Result<u64> {
        Ok(std::fs::metadata(self.folder.path().join("jobs.redb"))?.len())
    }

    /// Tells it to end; how long that takes.
    async fn stop(mut self) -> Result<Duration> {
        let id = self.child.id().context("it has ended by itself")?;
        let began = clock::now();
        Command::new("kill")
            .args(["-s", "TERM", &id.to_string()])
            .status()
            .await?;
        let status = tokio::time::timeout(LIMIT, self.child.wait())
            .await
            .context("it does not end")??;
        ensure!(status.code() == Some(0), "{status}");
        Ok(clock::now() - began)
    }
}

async fn fill(cluster: &Cluster) -> Result<()> {
    let seeds = cluster.addresses();
    let seeds = seeds
        .iter()
        .map(|seed| seed.parse())
        .collect::<Result<Vec<_>, _>>()?;
    let client = ValkeyClient::connect(&ValkeyConfig::new(Topology::cluster(seeds))).await?;
    // Long names of the letter that the costly patterns are about.
    let keys: Vec<String> = (0..KEYS)
        .map(|number| format!("billing:{}{number}", "~".repeat(24)))
        .collect();
    for batch in keys.chunks(1_000) {
        let entries: Vec<_> = batch.iter().map(|key| (key.as_str(), "x".into())).collect();
        client.set_many(&entries, Ttl::Forever).await?;
    }
    client.set("urgent:1", "x".into(), Ttl::Forever).await?;
    Ok(client.close().await?)
}

/// Calls that took longer than a millisecond are noted from now on.
async fn watch_calls(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes() {
        node.call(&["CONFIG", "SET", "slowlog-max-len", "10000"]).await?;
        node.call(&["CONFIG", "SET", "slowlog-log-slower-than", "1000"])
            .await?;
        node.call(&["SLOWLOG", "RESET"]).await?;
    }
    Ok(())
}

/// The longest call that any server noted, by its own clock.
async fn longest_call(cluster: &Cluster) -> Result<Duration> {
    let mut longest = 0;
    for node in cluster.nodes() {
        let calls = node.call(&["SLOWLOG", "GET", "-1"]).await?;
        let took = calls
            .items()
            .iter()
            .filter_map(|call| call.items().get(2)?.integer());
        longest = took.fold(longest, i64::max);
    }
    Ok(Duration::from_micros(u64::try_from(longest)?))
}

/// Costly patterns, 100 counts with the largest bodies, slow counts, listeners, and 1,010 small counts.
async fn attack(client: &Client) -> Result<()> {
    let classes = |count: usize| format!("billing:*[{}]", "~".repeat(count));
    let stars = "*~".repeat(500);
    for pattern in [
        classes(10_000),
        format!("billing:{stars}"),
        format!("billing:{}x", "*~?".repeat(300)),
    ] {
        let path = format!(
            "/cache/keys?limit=1000&pattern={}",
            pattern.replace('[', "%5B").replace(']', "%5D")
        );
        for _ in 0..5 {
            client.get(&path).await?;
        }
    }
    let mut sending = JoinSet::new();
    for _ in 0..4 {
        let client = client.clone();
        sending.spawn(async move {
            let body = json!({ "pattern": "billing:*", "rate": 1 });
            let job = client.post("/cache/pattern", &body).await?;
            let id = job.json["id"].as_str().unwrap_or_default().to_owned();
            // Listeners that take nothing of what they asked for.
            let mut held = Vec::new();
            for _ in 0..10 {
                held.push(
                    client
                        .begin("GET", &format!("/cache/jobs/{id}/events"), &[], "")
                        .await?,
                );
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
            anyhow::Ok(())
        });
    }
    for round in 0..100 {
        let client = client.clone();
        let pattern = classes(60_000);
        sending.spawn(async move {
            let many: Vec<String> = (0..999)
                .map(|number| format!("billing:{round}:{number}:{}*", "x".repeat(80)))
                .collect();
            let body = if round % 2 == 0 {
                json!({ "pattern": pattern })
            } else {
                json!({ "patterns": many })
            };
            client.post("/cache/pattern", &body).await?;
            anyhow::Ok(())
        });
    }
    for number in 0..10 {
        let client = client.clone();
        sending.spawn(async move {
            for small in 0..101 {
                client
                    .post(
                        "/cache/pattern",
                        &json!({ "pattern": format!("billing:{number}:{small}*") }),
                    )
                    .await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(sent) = sending.join_next().await {
        // A connection that the service gives up is no failure of the attack.
        let _ = sent?;
    }
    Ok(())
}

#[tokio::test]
async fn a_token_of_scope_list_uses_up_nothing_that_others_need() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    fill(&cluster).await?;
    let program = Program::start(&cluster).await?;
    let (operator, attacker) = (program.operator.clone(), program.attacker.clone());
    // Before the attack: a removal that its retry must still find afterwards.
    let removal = async |pattern: &str| {
        let path = format!("/cache/pattern?pattern={pattern}");
        operator
            .ask("DELETE", &path, &[("idempotency-key", "deploy-1")], "")
            .await
    };
    let first = removal("earlier:*").await?;
    ensure!(first.status == 202, "{first:?}");
    watch_calls(&cluster).await?;

    let under_attack = Arc::new(AtomicBool::new(true));
    let attacking = tokio::spawn({
        let under_attack = Arc::clone(&under_attack);
        async move {
            let ended = attack(&attacker).await;
            under_attack.store(false, Ordering::Relaxed);
            ended
        }
    });
    let (mut slowest, mut asked, mut purged) = (Duration::ZERO, 0, None);
    while under_attack.load(Ordering::Relaxed) {
        let began = clock::now();
        let answer = operator.get("/cache?key=urgent:1").await?;
        slowest = slowest.max(clock::now() - began);
        ensure!([200, 404].contains(&answer.status), "{answer:?}");
        asked += 1;
        if asked == 10 {
            // An urgent removal, in the middle of it.
            let began = clock::now();
            let path = "/cache/pattern?pattern=urgent:*";
            let job = operator.ask("DELETE", path, &[], "").await?;
            ensure!(job.status == 202, "{job:?}");
            slowest = slowest.max(clock::now() - began);
            let id = job.json["id"].as_str().context("no id")?.to_owned();
            let ended = async {
                loop {
                    let job = operator.get(&format!("/cache/jobs/{id}")).await?;
                    if job.json["state"] == "complete" {
                        return anyhow::Ok(clock::now() - began);
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            purged = Some(
                tokio::time::timeout(LIMIT, ended)
                    .await
                    .context("the removal does not end")??,
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    attacking.await??;
    let again = removal("earlier:*").await?;
    ensure!(again.json["id"] == first.json["id"], "{again:?}");

    let stall = longest_call(&cluster).await?;
    let (memory, store) = (program.peak_memory()?, program.store()?);
    let grace = program.stop().await?;
    println!(
        "longest call of a primary {stall:?}, slowest of {asked} requests of another actor {slowest:?}, urgent removal done \
         after {purged:?}, memory {} MiB, store {} KiB, ended within {grace:?}",
        memory / 1024,
        store / 1024
    );
    ensure!(
        asked > 10 && purged.is_some(),
        "the attack was over after {asked} requests"
    );
    ensure!(stall < STALL, "a primary stalled for {stall:?}");
    ensure!(slowest < ANSWER, "another actor waited for {slowest:?}");
    ensure!(memory < MEMORY_KIB, "{memory} KiB of memory");
    ensure!(store < STORE, "{store} bytes of store");
    ensure!(grace < Duration::from_secs(12), "it ended after {grace:?}");
    Ok(())
}

#[tokio::test]
async fn slow_readers_without_a_token_delay_nobody_who_logs_in() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let program = Program::start(&cluster).await?;
    let mut slow = Vec::new();
    for _ in 0..SLOW_READERS {
        let mut stream = TcpStream::connect(program.address).await?;
        // One that was cut off already takes nothing.
        let _ = stream
            .write_all(&b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(20))
            .await;
        slow.push(stream);
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let began = clock::now();
        let answer = program.operator.get("/cache").await?;
        slowest = slowest.max(clock::now() - began);
        ensure!(answer.status == 200, "{answer:?}");
    }
    let memory = program.peak_memory()?;
    let grace = program.stop().await?;
    drop(slow);
    println!(
        "{SLOW_READERS} slow readers: slowest of 20 requests {slowest:?}, memory {} MiB, ended within {grace:?}",
        memory / 1024
    );
    ensure!(slowest < ANSWER, "somebody who logs in waited for {slowest:?}");
    ensure!(memory < MEMORY_KIB, "{memory} KiB of memory");
    ensure!(grace < Duration::from_secs(12), "it ended after {grace:?}");
    Ok(())
}
