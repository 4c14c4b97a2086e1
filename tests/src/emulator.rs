//! Emulators of AWS on a free loopback port: each test has its own, and stops it by dropping it.
//!
//! Two emulators that agree are worth more than one, so a test that can runs against both. What neither shows is in
//! `docs/aws.md`; tests provoke it by a server of their own.
//!
//! Not in here: clients of AWS, but for [`Emulator::call`], by which a test plays the operator.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Python;
use crate::server::port::free_port;
use crate::server::process::Process;
use crate::wait::until;

/// The variables by which a process of ours uses the DynamoDB at `url`, with made-up credentials.
#[must_use]
pub fn aws_variables(url: &str) -> [(&'static str, String); 4] {
    [
        ("AWS_ENDPOINT_URL_DYNAMODB", url.to_owned()),
        ("AWS_REGION", "eu-west-2".to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "none".to_owned()),
    ]
}

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The region in which [`Emulator::call`] asks.
pub const REGION: &str = "eu-west-2";

/// How often a start is tried again because something else took the port.
const TRIES: u32 = 5;

/// How long an emulator may take until it accepts connections; Python imports a lot on a busy machine.
const START: Duration = Duration::from_secs(90);

/// A program that answers like AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmulatorKind {
    /// `moto`: KMS with encryption context, Secrets Manager, DynamoDB; no user groups, no `ModifyUser`.
    Moto,
    /// `ministack`: the same, and ElastiCache users, user groups and serverless caches.
    Ministack,
}

impl EmulatorKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Moto, Self::Ministack];

    const fn name(self) -> &'static str {
        match self {
            Self::Moto => "moto",
            Self::Ministack => "ministack",
        }
    }

    const fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Moto => &["moto[server]==5.2.1"],
            Self::Ministack => &["ministack==1.5.33", "cryptography==50.0.2"],
        }
    }

    fn command(self, python: &Python, port: u16) -> Vec<OsString> {
        let mut command: Vec<OsString> = vec!["env".into(), "TMPDIR=.".into()];
        match self {
            Self::Moto => {
                command.push(python.program("moto_server").into());
                command.extend(["-H".into(), HOST.to_string().into()]);
                command.extend(["-p".into(), port.to_string().into()]);
            }
            Self::Ministack => {
                command.push(format!("BIND_HOST={HOST}").into());
                command.push(format!("GATEWAY_PORT={port}").into());
                // Its IoT listener has a fixed port, which two at a time cannot share.
                command.push("IOT_MTLS_ENABLED=0".into());
                command.push(python.program("ministack").into());
            }
        }
        command
    }
}

/// A running emulator. It takes any credentials; dropping it stops it.
#[derive(Debug)]
pub struct Emulator {
    url: String,
    /// Stopped when this is dropped.
    _process: Process,
}

impl Emulator {
    /// Starts an emulator and waits until it accepts connections. `root` is the caller's `CARGO_TARGET_TMPDIR`. `None` if
    /// it cannot be installed, for example without a network; then `test` is reported as skipped.
    ///
    /// # Errors
    ///
    /// If it does not start; the message holds the end of its log.
    ///
    /// # Panics
    ///
    /// If it would skip and `CI=true`.
    pub async fn start_or_skip(kind: EmulatorKind, test: &str, root: &'static str) -> Result<Option<Self>> {
        let Some(python) = Python::find_or_skip(test, root, kind.name(), kind.packages()).await? else {
            return Ok(None);
        };
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::start(kind, &python).await {
                Err(error) if tries < TRIES && format!("{error:#}").contains("in use") => {}
                started => return started.map(Some),
            }
        }
    }

    /// The URL that requests to every service go to.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks a service with the JSON protocol for something, as anybody: `secretsmanager.CreateSecret`,
    /// `TrentService.CreateKey`, `DynamoDB_20120810.CreateTable`.
    ///
    /// # Errors
    ///
    /// If the answer is no success; the message holds it.
    pub async fn call(&self, target: &str, body: &Value) -> Result<Value> {
        let service = match target.split_once('.').map_or(target, |(service, _)| service) {
            "TrentService" => "kms",
            "DynamoDB_20120810" => "dynamodb",
            service => service,
        };
        let body = body.to_string();
        let host = self.url.trim_start_matches("http://");
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.1\r\n\
             X-Amz-Target: {target}\r\nContent-Length: {}\r\nAuthorization: AWS4-HMAC-SHA256 \
             Credential=operator/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=none\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(host).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8(answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no end of the headers")?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        ensure!(status == "200", "{target} was answered {status}: {body}");
        // Whether the body comes in chunks or not: what is in it is one JSON value on one line.
        let json = body.lines().find(|line| line.starts_with('{')).unwrap_or("{}");
        Ok(serde_json::from_str(json)?)
    }

    async fn start(kind: EmulatorKind, python: &Python) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("cache-emulator-")
            .tempdir()?
            .keep();
        let port = free_port(HOST)?;
        let process = Process::start(&kind.command(python, port), &folder)?;
        let up = until(START, "the emulator's port", || async {
            if process.has_ended() {
                return Ok(Some(false));
            }
            TcpStream::connect((HOST, port)).await.context("connect")?;
            Ok(Some(true))
        });
        if !up.await? {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            let end = log.lines().rev().take(3).collect::<Vec<_>>().join(" / ");
            bail!("{} ended at its start: {end}", kind.name());
        }
        Ok(Self {
            url: format!("http://{HOST}:{port}"),
            _process: process,
        })
    }
}
