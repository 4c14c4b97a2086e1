//! `cachectl serve` as a program: where it listens, where it must not, and how it ends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// A service that is killed where a test does not end it.
struct Serving {
    child: Child,
    out: BufReader<ChildStdout>,
    address: String,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cachectl"));
    command
        .arg("serve")
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Serving {
    fn start(arguments: &[&str]) -> Result<Self> {
        Self::start_with(arguments, &[])
    }

    fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Self> {
        let mut child = command(&[&["--listen", "127.0.0.1:0"], arguments].concat())
            .envs(variables.iter().copied())
            .spawn()?;
        let mut out = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut line = String::new();
        out.read_line(&mut line)?;
        let url = line
            .split("http://")
            .nth(1)
            .with_context(|| format!("no address: {line}"))?;
        let address = url.split([',', '"']).next().unwrap_or_default().to_owned();
        Ok(Self { child, out, address })
    }

    fn ask(&self, request: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.write_all(request.replace('\n', "\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Sends a signal, and waits for the end; the exit code.
    fn end(mut self, signal: &str) -> Result<i32> {
        let pid = self.child.id().to_string();
        ensure!(
            Command::new("kill")
                .args(["-s", signal, &pid])
                .status()?
                .success()
        );
        let status = self.child.wait()?;
        let mut rest = String::new();
        self.out.read_to_string(&mut rest)?;
        ensure!(rest.is_empty(), "{rest}");
        status.code().context("ended by a signal")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // One that has ended is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_says_where_it_listens_answers_and_ends_in_order() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (store, audit) = (file("jobs.redb"), file("audit.jsonl"));
    for signal in ["INT", "TERM"] {
        let serving = Serving::start(&["--store", &store, "--audit", &audit])?;
        let answer = serving
            .ask("DELETE /cache/pattern?pattern=a* HTTP/1.1\nHost: localhost\nConnection: close\n\n")?;
        ensure!(answer.starts_with("HTTP/1.1 202"), "{answer}");
        let answer = serving.ask("GET /metrics HTTP/1.1\nHost: localhost\nConnection: close\n\n")?;
        ensure!(answer.contains("cache_admin_requests_total"), "{answer}");
        let answer = serving.ask("GET /cache HTTP/1.1\nHost: evil.example\nConnection: close\n\n")?;
        ensure!(
            answer.starts_with("HTTP/1.1 403") && answer.contains("foreign-host"),
            "{answer}"
        );
        ensure!(serving.end(signal)? == 0);
    }
    let log = std::fs::read_to_string(audit)?;
    ensure!(log.matches("\"job.start\"").count() == 2, "{log}");
    Ok(())
}

#[test]
fn it_does_not_go_public_without_authentication_and_tls() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tokens = folder.path().join("actors.toml");
    let text = format!(
        "[actors.a]\ntokens = [{{ hash = \"sha256:{}\" }}]\n[actors.a.grants]\nlist = [\"\"]\n",
        "0".repeat(64)
    );
    std::fs::write(&tokens, text)?;
    let tokens = tokens.display().to_string();
    for (arguments, words) in [
        (vec![], "--tokens"),
        (vec!["--tokens", &tokens], "--tls-cert"),
        (vec!["--behind-proxy"], "--tokens"),
    ] {
        let output = command(&[&["--listen", "0.0.0.0:0"], &arguments[..]].concat()).output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(
            output.status.code() == Some(2) && output.stdout.is_empty(),
            "{said}"
        );
        ensure!(said.contains(words), "{arguments:?}: {said}");
    }
    for (arguments, words) in [
        (["--tokens", "/nowhere/actors.toml"], "--tokens"),
        (["--store", "/nowhere/jobs.redb"], "/nowhere/jobs.redb"),
        (["--audit", "/nowhere/audit.jsonl"], "/nowhere/audit.jsonl"),
    ] {
        let output = command(&[&["--listen", "127.0.0.1:0"][..], &arguments].concat()).output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(
            output.status.code() == Some(2) && said.contains(words),
            "{arguments:?}: {said}"
        );
    }
    Ok(())
}

#[test]
fn pages_of_the_origins_of_cors_origin_may_read_answers_and_no_others() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tokens = folder.path().join("actors.toml");
    let text = format!(
        "[actors.a]\ntokens = [{{ hash = \"sha256:{}\" }}]\n[actors.a.grants]\nlist = [\"\"]\n",
        "0".repeat(64)
    );
    std::fs::write(&tokens, text)?;
    let tokens = tokens.display().to_string();
    let origins = "https://console.example,https://other.example:8443";
    let serving = Serving::start(&["--tokens", &tokens, "--cors-origin", origins])?;
    for (origin, may) in [
        ("https://console.example", true),
        ("https://other.example:8443", true),
        ("https://evil.example", false),
    ] {
        let answer = serving.ask(&format!(
            "OPTIONS /cache/keys HTTP/1.1\nHost: localhost\nOrigin: {origin}\nAccess-Control-Request-Method: GET\n\
             Access-Control-Request-Headers: authorization\nConnection: close\n\n"
        ))?;
        let allowed = format!("access-control-allow-origin: {origin}\r\n");
        ensure!(answer.contains(&allowed) == may, "{origin}: {answer}");
    }
    ensure!(serving.end("TERM")? == 0);

    for (arguments, words) in [
        (
            vec![
                "--tokens",
                &tokens,
                "--cors-origin",
                "https://console.example/app",
            ],
            "--cors-origin: an origin is",
        ),
        (vec!["--cors-origin", "https://console.example"], "--tokens"),
    ] {
        let output = command(&[&["--listen", "127.0.0.1:0"], &arguments[..]].concat()).output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(
            output.status.code() == Some(2) && said.contains(words),
            "{arguments:?}: {said}"
        );
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_wrong_file_of_actors_shows_in_the_log_in_readiness_and_in_metrics() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let made = Command::new(env!("CARGO_BIN_EXE_cachectl"))
        .args(["token", "new", "ops", "--json"])
        .env_clear()
        .output()?;
    let made: serde_json::Value = serde_json::from_slice(&made.stdout)?;
    let (token, hash) = (
        made["token"].as_str().context("a token")?,
        made["hash"].as_str().context("a hash")?,
    );
    let file = folder.path().join("actors.toml");
    let right =
        format!("[actors.ops]\ntokens = [{{ hash = \"{hash}\" }}]\n[actors.ops.grants]\nlist = [\"\"]\n");
    std::fs::write(&file, &right)?;
    let mut serving = Serving::start(&[
        "--tokens",
        &file.display().to_string(),
        "--requests-per-minute",
        "100000",
    ])?;
    let pid = serving.child.id().to_string();
    let ask = |path: &str| {
        serving.ask(&format!(
            "GET {path} HTTP/1.1\nHost: localhost\nAuthorization: Bearer {token}\nConnection: close\n\n"
        ))
    };
    let shows = |stale: bool| -> Result<()> {
        for _ in 0..200 {
            let told = ask("/health/ready")?.contains("the file of actors cannot be read");
            let counted =
                ask("/metrics")?.contains(&format!("cache_admin_actors_stale {}\n", u8::from(stale)));
            if told == stale && counted {
                return Ok(());
            }
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
        anyhow::bail!("stale is never {stale}: {}", ask("/health/ready")?)
    };
    shows(false)?;
    // The typo in a revocation.
    std::fs::write(&file, right.replace("list =", "lisst ="))?;
    ensure!(Command::new("kill").args(["-s", "HUP", &pid]).status()?.success());
    shows(true)?;
    std::fs::write(&file, &right)?;
    ensure!(Command::new("kill").args(["-s", "HUP", &pid]).status()?.success());
    shows(false)?;
    let mut log = serving.child.stderr.take().context("no standard error")?;
    ensure!(serving.end("TERM")? == 0);
    let mut text = String::new();
    log.read_to_string(&mut text)?;
    ensure!(text.contains("WARN") && text.contains("actors"), "{text}");
    ensure!(!text.contains(token) && !text.contains(hash), "{text}");
    Ok(())
}

#[test]
fn without_its_cache_it_starts_only_if_startup_is_degrade() -> Result<()> {
    // An address at which nothing listens.
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let refused = command(&["--listen", "127.0.0.1:0"])
        .env("CACHE_ADDRS", &nobody)
        .output()?;
    let said = String::from_utf8(refused.stderr)?;
    ensure!(refused.status.code() == Some(4), "{said}");

    let variables = [("CACHE_ADDRS", nobody.as_str()), ("CACHE_STARTUP", "degrade")];
    let serving = Serving::start_with(&[], &variables)?;
    let ready = serving.ask("GET /health/ready HTTP/1.1\nHost: localhost\nConnection: close\n\n")?;
    ensure!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    let live = serving.ask("GET /health/live HTTP/1.1\nHost: localhost\nConnection: close\n\n")?;
    ensure!(live.starts_with("HTTP/1.1 200"), "{live}");
    ensure!(serving.end("TERM")? == 0);
    Ok(())
}

/// The exit code of `cachectl health`.
fn health(arguments: &[&str]) -> Result<i32> {
    let status = Command::new(env!("CARGO_BIN_EXE_cachectl"))
        .arg("health")
        .args(arguments)
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    status.code().context("ended by a signal")
}

#[test]
fn health_is_0_for_a_service_that_is_ready_and_4_for_one_that_is_not_or_is_gone() -> Result<()> {
    let serving = Serving::start(&[])?;
    let url = format!("http://{}", serving.address);
    assert_eq!(health(&["--server", &url])?, 0);
    serving.end("TERM")?;
    assert_eq!(health(&["--server", &url])?, 4);

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let answering = std::thread::spawn(move || -> Result<String> {
        let (mut stream, _) = listener.accept()?;
        let mut line = String::new();
        BufReader::new(stream.try_clone()?).read_line(&mut line)?;
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")?;
        Ok(line)
    });
    assert_eq!(health(&["--server", &url])?, 4);
    let asked = answering.join().expect("the thread does not panic")?;
    assert_eq!(asked, "GET /health/ready HTTP/1.1\r\n");

    assert_eq!(health(&[])?, 2, "which service?");
    Ok(())
}
