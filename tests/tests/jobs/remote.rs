//! `cachectl` through `cachectl serve`, and on its store once it is gone.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use cache_core::config::{Topology, ValkeyConfig};
use cache_valkey::ValkeyClient;
use serde_json::Value;
use tests::{Certificates, Server, ServerOptions, Version, until};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::{LIMIT, fill};

/// What a run left behind.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Ran {
    pub(super) fn lines(&self) -> Result<Vec<Value>> {
        let lines = self.out.lines().map(serde_json::from_str);
        lines
            .collect::<Result<_, _>>()
            .with_context(|| format!("{self:?}"))
    }

    pub(super) fn last(&self) -> Result<Value> {
        self.lines()?
            .pop()
            .with_context(|| format!("no output: {self:?}"))
    }
}

/// `cachectl` with these arguments, on the server at `address`.
pub(super) async fn command(address: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(tests::cachectl().await?);
    command
        .args(arguments)
        .env_clear()
        .env("CACHE_MODE", "single")
        .env("CACHE_ADDRS", address)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    Ok(command)
}

pub(super) async fn ran(address: &str, arguments: &[&str]) -> Result<Ran> {
    let output = tokio::time::timeout(LIMIT, command(address, arguments).await?.output());
    let output = output
        .await
        .with_context(|| format!("{arguments:?} does not end"))??;
    Ok(Ran {
        code: output.status.code().context("no exit code")?,
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

/// A service, and its URL.
pub(super) async fn serve(address: &str, folder: &Path, more: &[&str]) -> Result<(Child, String)> {
    serve_at("127.0.0.1:0", address, folder, more).await
}

/// The same, where it listens at `listen`.
pub(super) async fn serve_at(
    listen: &str,
    address: &str,
    folder: &Path,
    more: &[&str],
) -> Result<(Child, String)> {
    let store = folder.join("jobs.redb");
    let store = store.to_str().context("a path that is text")?;
    let mut arguments = vec!["serve", "--json", "--listen", listen, "--store", store];
    arguments.extend(more);
    let mut service = command(address, &arguments)
        .await?
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut lines = BufReader::new(service.stdout.take().context("its output")?).lines();
    let line = tokio::time::timeout(LIMIT, lines.next_line()).await??;
    let line: Value = serde_json::from_str(&line.context("it says nothing")?)?;
    let url = line["listening"].as_str().context("where it listens")?;
    Ok((service, url.to_owned()))
}

async fn filled() -> Result<(Server, ValkeyClient)> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let config = ValkeyConfig::new(Topology::single(server.address().parse()?));
    let client = ValkeyClient::connect(&config).await?;
    fill(&client, "doomed:", 3_000).await?;
    fill(&client, "kept:", 200).await?;
    Ok((server, client))
}

async fn held(server: &Server) -> Result<i64> {
    server.call(&["DBSIZE"]).await?.integer().context("DBSIZE")
}

#[tokio::test]
async fn what_a_service_does_looks_like_what_is_done_here() -> Result<()> {
    let (server, _client) = filled().await?;
    let folder = tempfile::tempdir()?;
    let (_service, url) = serve(&server.address(), folder.path(), &[]).await?;
    // Nowhere: all that is done is done by the service.
    let nowhere = "127.0.0.1:1";
    let remote = async |arguments: &[&str]| -> Result<Ran> {
        let all = [&["--server", &url, "--json"], arguments].concat();
        let ran = ran(nowhere, &all).await?;
        Ok(ran)
    };

    let some = remote(&["keys", "doomed:*", "--limit", "5"]).await?;
    let lines = some.lines()?;
    ensure!(some.code == 0 && lines.len() == 6, "{some:?}");
    ensure!(lines[5]["end"]["outcome"] == "limited", "{some:?}");
    let all = remote(&["keys", "kept:*", "--all"]).await?;
    ensure!(all.last()?["end"]["outcome"] == "complete", "{all:?}");
    let names: std::collections::BTreeSet<String> =
        all.lines()?.iter().map(|line| line["key"].to_string()).collect();
    ensure!(names.len() == 201, "200 keys and the end: {}", names.len());

    let dry = remote(&["invalidate", "doomed:*", "--dry-run", "--sample", "3"]).await?;
    let job = dry.last()?;
    ensure!(dry.code == 0 && job["progress"]["matched"] == 3_000, "{dry:?}");
    ensure!(
        job["sample"].as_array().is_some_and(|sample| sample.len() == 3),
        "{dry:?}"
    );
    let done = remote(&["invalidate", "doomed:*"]).await?;
    let job = done.last()?;
    ensure!(done.code == 0 && job["state"] == "complete", "{done:?}");
    ensure!(
        job["progress"]["removed"] == 3_000 && held(&server).await? == 200,
        "{done:?}"
    );

    let id = job["id"].as_str().context("an id")?.to_owned();
    let listed = remote(&["jobs", "list"]).await?;
    let listed = listed.lines()?;
    ensure!(listed.len() == 2 && listed[0]["id"] == *id, "{listed:?}");
    let watched = remote(&["jobs", "watch", &id]).await?;
    let events = watched.lines()?;
    let numbers: Vec<u64> = events
        .iter()
        .filter_map(|event| event["sequence"].as_u64())
        .collect();
    let expected: Vec<u64> = (1..=u64::try_from(events.len())?).collect();
    ensure!(numbers == expected && watched.code == 0, "{watched:?}");
    ensure!(watched.last()?["type"] == "ended", "{watched:?}");
    let rest = remote(&["jobs", "watch", &id, "--after", "2"]).await?;
    ensure!(rest.lines()?[..] == events[2..], "{rest:?}");

    // Each refusal has the exit code that it has here.
    let codes: [(&[&str], i32, &str); 9] = [
        (&["jobs", "cancel", &id], 5, "is complete"),
        (&["jobs", "show", "01k9h3mvq8x4t0r7c2e5a6b8d9"], 1, "no-such-job"),
        (&["inspect", "kept:1"], 0, ""),
        (&["inspect", "nobody"], 1, ""),
        (&["generation", "show", "shop"], 1, ""),
        (&["generation", "bump", "shop"], 0, ""),
        (&["generation", "show", "shop"], 0, ""),
        (&["ping"], 2, "nothing was done"),
        (&["invalidate", "*"], 5, "--confirm "),
    ];
    for (arguments, code, says) in codes {
        let ran = remote(arguments).await?;
        ensure!(
            ran.code == code && ran.err.contains(says),
            "{arguments:?}: {ran:?}"
        );
    }
    let gone = ran(nowhere, &["--server", "http://127.0.0.1:1", "jobs", "list"]).await?;
    ensure!(gone.code == 4, "{gone:?}");

    // More keys than expected: counted by the service, and nothing is removed.
    let before = held(&server).await?;
    let many = remote(&["invalidate", "*", "--expect", "1"]).await?;
    ensure!(many.code == 5 && many.err.contains("--expect 1: "), "{many:?}");
    ensure!(held(&server).await? == before);

    // What confirms a pattern confirms no other.
    let refused = remote(&["invalidate", "*"]).await?;
    let token = refused
        .err
        .split("--confirm ")
        .nth(1)
        .and_then(|rest| rest.split(';').next());
    let token = token.context("a token")?;
    let other = remote(&["invalidate", "?*", "--confirm", token]).await?;
    ensure!(other.code == 5 && held(&server).await? > 0, "{other:?}");
    let all = remote(&["invalidate", "*", "--confirm", token]).await?;
    ensure!(all.code == 0 && held(&server).await? == 0, "{all:?}");
    // And no second time.
    let again = remote(&["invalidate", "*", "--confirm", token]).await?;
    ensure!(
        again.code == 5 && again.err.contains("it was used for job"),
        "{again:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_token_and_a_certificate_are_needed_where_the_service_wants_them() -> Result<()> {
    let (server, _client) = filled().await?;
    let folder = tempfile::tempdir()?;
    let write = |name: &str, text: &str| -> Result<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_str().context("a path that is text")?.to_owned())
    };
    let made = ran("127.0.0.1:1", &["--json", "token", "new", "jo"])
        .await?
        .last()?;
    let hash = made["hash"].as_str().context("a hash")?;
    let actors = write(
        "actors.toml",
        &format!(
            "[actors.jo]\ntokens = [{{ hash = \"{hash}\" }}]\ncertificates = [\"subject:CN=client\"]\n[actors.jo.grants]\nlist = [\"\"]\npurge = [\"doomed:\"]\n"
        ),
    )?;
    let token = write("token", made["token"].as_str().context("a token")?)?;
    let certificates = Certificates::generate()?;
    let certificate = write("server.pem", &certificates.server.certificate)?;
    let key = write("server.key", &certificates.server.key)?;
    let authority = write("ca.pem", &certificates.ca)?;
    let (shown, shown_key) = (
        write("client.pem", &certificates.client.certificate)?,
        write("client.key", &certificates.client.key)?,
    );
    let more = [
        "--tokens",
        &actors,
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
        "--client-ca",
        &authority,
    ];
    let (_service, url) = serve(&server.address(), folder.path(), &more).await?;

    let list = ["jobs", "list"];
    let purge = ["invalidate", "kept:*"];
    let trusted = ["--server", &*url, "--server-ca", &*authority];
    let known = [&trusted[..], &["--token-file", &*token]].concat();
    let by_certificate = [
        &trusted[..],
        &["--client-cert", &*shown, "--client-key", &*shown_key],
    ]
    .concat();
    let without_key = [&trusted[..], &["--client-cert", &*shown]].concat();
    let other_key = [&trusted[..], &["--client-cert", &*shown, "--client-key", &*key]].concat();
    let cases: [(&[&str], &[&str], i32); 9] = [
        (&by_certificate, &list, 0),
        (&by_certificate, &purge, 5),
        (&without_key, &list, 2),
        (&other_key, &list, 2),
        (&["--server", &url, "--token-file", &token], &list, 4),
        (&trusted, &list, 5),
        (&known, &list, 0),
        (&known, &purge, 5),
        (&known, &["invalidate", "doomed:*"], 0),
    ];
    for (options, what, code) in cases {
        let ran = ran("127.0.0.1:1", &[options, what].concat()).await?;
        ensure!(ran.code == code, "{options:?} {what:?}: {ran:?}");
        let secret = made["token"].as_str().context("a token")?;
        ensure!(!ran.err.contains(secret) && !ran.out.contains(secret), "{ran:?}");
    }
    ensure!(held(&server).await? == 200);
    Ok(())
}

#[tokio::test]
async fn what_a_killed_service_left_is_gone_on_with_from_its_store() -> Result<()> {
    let (server, _client) = filled().await?;
    let address = server.address();
    let folder = tempfile::tempdir()?;
    let (mut service, url) = serve(&address, folder.path(), &[]).await?;
    let mut purge = command(
        &address,
        &["--server", &url, "invalidate", "doomed:*", "--rate", "500"],
    )
    .await?
    .stdout(Stdio::null())
    .stderr(Stdio::null())
    .spawn()?;
    until(LIMIT, "some keys to be gone", || async {
        Ok((held(&server).await? < 3_000).then_some(()))
    })
    .await?;
    let store = folder.path().join("jobs.redb");
    let store = store.to_str().context("a path that is text")?;
    let locked = ran(&address, &["jobs", "--store", store, "list"]).await?;
    ensure!(locked.code == 5 && locked.err.contains(store), "{locked:?}");
    let taken = ran(&address, &["--server", &url, "invalidate", "doomed:1*"]).await?;
    ensure!(taken.code == 5 && taken.err.contains("doomed:*"), "{taken:?}");
    service.kill().await?;
    purge.kill().await?;

    let listed = ran(&address, &["--json", "jobs", "--store", store, "list"]).await?;
    let job = listed.last()?;
    ensure!(job["state"] == "interrupted", "{listed:?}");
    let id = job["id"].as_str().context("an id")?;
    let resumed = ran(&address, &["--json", "jobs", "--store", store, "resume", id]).await?;
    let job = resumed.last()?;
    ensure!(resumed.code == 0 && job["state"] == "complete", "{resumed:?}");
    let number = |value: &Value| value.as_u64().context("a number");
    let (removed, uncounted) = (number(&job["progress"]["removed"])?, number(&job["uncounted"])?);
    ensure!(removed <= 3_000 && removed + uncounted >= 3_000, "{resumed:?}");
    ensure!(held(&server).await? == 200, "{resumed:?}");
    Ok(())
}

/// A service that answers 429 at first, and a page of keys after that.
async fn busy_service(refusals: usize) -> Result<(String, tokio::task::JoinHandle<Result<()>>)> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let task = tokio::spawn(async move {
        for number in 0..=refusals {
            let (mut stream, _) = listener.accept().await?;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            let (status, more, body) = if number < refusals {
                ("429 Too Many Requests", "Retry-After: 1\r\n", "{}")
            } else {
                (
                    "200 OK",
                    "",
                    r#"{"keys":[{"key":"k:1"}],"cursor":null,"gaps":[]}"#,
                )
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\n{more}Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await?;
        }
        Ok(())
    });
    Ok((url, task))
}

#[tokio::test]
async fn a_busy_service_is_waited_for_as_long_as_it_says() -> Result<()> {
    let (url, service) = busy_service(2).await?;
    let listed = ran("127.0.0.1:1", &["--server", &url, "keys", "k:*", "--all"]).await?;
    ensure!(listed.code == 0 && listed.out.contains("k:1"), "{listed:?}");
    service.await??;
    Ok(())
}

#[tokio::test]
async fn keys_del_and_overview_are_through_a_service_what_they_are_here() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let address = server.address();
    for number in 0..30 {
        let ttl = if number < 10 { "600" } else { "60" };
        server
            .call(&["SET", &format!("a:{number}"), "v", "EX", ttl])
            .await?;
    }
    server.call(&["SADD", "a:set", "1"]).await?;
    server.call(&["SET", "b:large", &"x".repeat(5_000)]).await?;
    let folder = tempfile::tempdir()?;
    let (_service, url) = serve(&address, folder.path(), &[]).await?;
    let there =
        async |arguments: &[&str]| ran("127.0.0.1:1", &[&["--server", &url], arguments].concat()).await;
    let sorted = |ran: &Ran| {
        let mut lines: Vec<String> = ran.out.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for (what, keys) in [
        (&["keys", "a:*", "b:*", "a:1*", "--all", "--json"][..], 32),
        (&["keys", "--type", "set", "--all", "--json"], 1),
        (&["keys", "--ttl-above", "2m", "--all", "--json"], 10),
        (
            &[
                "keys",
                "--no-ttl",
                "b:*",
                "a:*",
                "--columns",
                "type,size",
                "--json",
            ],
            2,
        ),
        (&["keys", "--larger-than", "4KiB", "--columns", "size,type"], 1),
    ] {
        let (here, served) = (ran(&address, what).await?, there(what).await?);
        ensure!(
            here.code == 0 && sorted(&here) == sorted(&served),
            "{what:?}: {here:?} {served:?}"
        );
        // The end in JSON, or the header, is one more.
        ensure!(here.out.lines().count() == keys + 1, "{what:?}: {here:?}");
    }
    let shown = there(&["keys", "b:large", "--columns", "type,ttl,size", "--json"]).await?;
    let shown = shown.lines()?;
    ensure!(
        shown[0]["type"] == "string"
            && shown[0]["forever"] == true
            && shown[0]["size"].as_u64() > Some(5_000),
        "{shown:?}"
    );
    let refused = there(&["keys", "--idle", "1s"]).await?;
    ensure!(refused.code == 2 && refused.err.contains("--idle"), "{refused:?}");

    let removed = there(&["del", "a:1", "a:2", "nothing"]).await?;
    ensure!(
        removed.code == 0 && removed.out == "2 keys removed\n",
        "{removed:?}"
    );
    let none = there(&["del", "a:1", "--json"]).await?;
    ensure!(none.code == 1 && none.last()?["removed"] == 0, "{none:?}");
    ensure!(held(&server).await? == 30);

    for json in [&["overview", "--json"][..], &["overview"]] {
        let (here, served) = (ran(&address, json).await?, there(json).await?);
        ensure!((here.code, served.code) == (0, 0), "{here:?} {served:?}");
        ensure!(
            served.out.contains("single") && served.out.contains(&address),
            "{served:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn sigterm_stops_a_removal_with_its_report_as_ctrl_c_does() -> Result<()> {
    let (server, _client) = filled().await?;
    let address = server.address();
    let removal = command(&address, &["--json", "invalidate", "doomed:*", "--rate", "500"])
        .await?
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    until(LIMIT, "some keys to be gone", || async {
        Ok((held(&server).await? < 3_000).then_some(()))
    })
    .await?;
    let id = removal.id().context("it has ended")?.to_string();
    ensure!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .await?
            .success()
    );
    let output = removal.wait_with_output().await?;
    ensure!(output.status.code() == Some(130), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    let report: Value = serde_json::from_str(text.lines().last().context("no report")?)?;
    ensure!(
        report["outcome"] == "cancelled" && report["removed"].as_u64() > Some(0),
        "{report}"
    );
    Ok(())
}
