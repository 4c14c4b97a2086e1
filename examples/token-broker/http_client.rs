//! Just enough HTTP to ask a loopback address: for the upstream's stand-in, and for the load generator, which has the
//! processor to share with what it loads.
//!
//! Not in here: time limits. The caller sets them.

use std::fmt;

use anyhow::{Context as _, bail, ensure};
use axum::http::StatusCode;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// The longest body that is read.
const LONGEST: usize = 16 * 1024 * 1024;

/// An address that speaks HTTP.
#[derive(Clone)]
pub(crate) struct Http {
    address: String,
}

/// One connection, which is kept for the next request. A request that is dropped half-way leaves it unusable.
#[derive(Debug)]
pub(crate) struct Connection {
    host: String,
    stream: BufReader<TcpStream>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// In seconds, where it says so.
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: Vec<u8>,
}

impl Http {
    /// For `target`, which is `host:port` or `http://host:port`.
    pub(crate) fn new(target: &str) -> Self {
        let address = target.strip_prefix("http://").unwrap_or(target);
        Self {
            address: address.trim_end_matches('/').to_owned(),
        }
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(&self.address).await;
        let stream = stream.with_context(|| format!("no answer from {}", self.address))?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            host: self.address.clone(),
            stream: BufReader::new(stream),
        })
    }

    /// Sends one request on a connection of its own.
    pub(crate) async fn send(&self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<Reply> {
        self.connect().await?.send(method, path, body).await
    }

    /// What is at `path`, as JSON.
    pub(crate) async fn json<T: serde::de::DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let reply = self.send("GET", path, &[]).await?;
        ensure!(
            reply.status.is_success(),
            "{}{path} answered {}",
            self.address,
            reply.status
        );
        serde_json::from_slice(&reply.body).with_context(|| format!("what {}{path} answered", self.address))
    }
}

impl Connection {
    pub(crate) async fn send(&mut self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<Reply> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        self.stream.write_all(&request).await?;
        let reply = self.read().await;
        reply.with_context(|| format!("the answer of {}", self.host))
    }

    async fn read(&mut self) -> anyhow::Result<Reply> {
        let mut line = String::new();
        self.line(&mut line).await?;
        let status = line.split(' ').nth(1).context("it has no status")?;
        let status = StatusCode::from_bytes(status.as_bytes())?;
        let (mut length, mut retry_after) = (0, None);
        loop {
            self.line(&mut line).await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').context("it has a header without a value")?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse()?,
                "retry-after" => retry_after = value.parse().ok(),
                "transfer-encoding" => bail!("it comes in pieces, which this client does not read"),
                _ => {}
            }
        }
        ensure!(length <= LONGEST, "it is {length} bytes long");
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok(Reply {
            status,
            retry_after,
            body,
        })
    }

    async fn line(&mut self, line: &mut String) -> anyhow::Result<()> {
        line.clear();
        self.stream.read_line(line).await?;
        ensure!(line.ends_with('\n'), "it breaks off");
        line.truncate(line.trim_end().len());
        Ok(())
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Http({})", self.address)
    }
}
