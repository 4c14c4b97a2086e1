//! As much of an HTTP client as these tests need: one connection per request, answers whole or as they come.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Asks one service as one actor.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    token: String,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) json: Value,
}

/// An answer that is still coming.
#[derive(Debug)]
pub(crate) struct Coming {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    stream: BufReader<TcpStream>,
}

/// A server-sent event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, token: &str) -> Self {
        Self {
            address,
            token: token.to_owned(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        self.ask("GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        let kind = [("content-type", "application/json")];
        self.ask("POST", path, &kind, &body.to_string()).await
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer> {
        let mut coming = self.begin(method, path, headers, body).await?;
        let mut text = Vec::new();
        while let Some(part) = coming.part().await? {
            text.extend(part);
        }
        Ok(Answer {
            status: coming.status,
            json: serde_json::from_slice(&text).unwrap_or_default(),
            headers: coming.headers,
        })
    }

    /// The head of the answer; the rest comes by [`Coming::event`].
    pub(crate) async fn begin(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Coming> {
        let mut stream = TcpStream::connect(self.address).await?;
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Length: {}\r\n",
            self.address,
            self.token,
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await?;
        let mut stream = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            ensure!(
                stream.read_line(&mut line).await? > 0,
                "the answer ended in its head"
            );
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let status = lines
            .first()
            .and_then(|line| line.split(' ').nth(1))
            .context("no status")?;
        let headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
        Ok(Coming {
            status: status.parse()?,
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            stream,
        })
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Coming {
    /// The next part of the body; `None` at its end.
    async fn part(&mut self) -> Result<Option<Vec<u8>>> {
        let chunked = self.headers.iter().any(|(name, _)| name == "transfer-encoding");
        if !chunked {
            let mut rest = Vec::new();
            self.stream.read_to_end(&mut rest).await?;
            return Ok((!rest.is_empty()).then_some(rest));
        }
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let length =
            usize::from_str_radix(line.trim_end(), 16).with_context(|| format!("no length: {line}"))?;
        // With the line end behind it.
        let mut part = vec![0; length + 2];
        self.stream.read_exact(&mut part).await?;
        part.truncate(length);
        Ok((length > 0).then_some(part))
    }

    /// The events until `enough`, or until the stream ends.
    pub(crate) async fn events(
        &mut self,
        limit: Duration,
        enough: impl Fn(&Event) -> bool,
    ) -> Result<Vec<Event>> {
        let reading = async {
            let (mut text, mut events) = (String::new(), Vec::new());
            while let Some(part) = self.part().await? {
                text.push_str(std::str::from_utf8(&part)?);
                while let Some((one, rest)) = text.split_once("\n\n") {
                    let event = event(one)?;
                    text = rest.to_owned();
                    let Some(event) = event else { continue };
                    let last = enough(&event);
                    events.push(event);
                    if last {
                        return Ok(events);
                    }
                }
            }
            anyhow::Ok(events)
        };
        tokio::time::timeout(limit, reading)
            .await
            .context("the events do not come")?
    }
}

/// The event of these lines; `None` where they are a comment.
fn event(text: &str) -> Result<Option<Event>> {
    let field = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
        lines.next().map(str::trim_start)
    };
    let Some(data) = field("data:") else {
        return Ok(None);
    };
    Ok(Some(Event {
        id: field("id:").context("no id")?.parse()?,
        name: field("event:").context("no name")?.to_owned(),
        data: serde_json::from_str(data)?,
    }))
}
