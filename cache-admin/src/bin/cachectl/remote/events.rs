//! The events of a job, as the service sends them; a connection that is lost is made anew where it left off.

use std::time::Duration;

use cache_admin::jobs::{Happened, JobEvent, JobId};
use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::Client;
use super::client::Asked;
use crate::failure::Failure;

/// The service sends something every 15 seconds; after so long without, nobody is there.
const SILENCE: Duration = Duration::from_secs(60);

/// How often in a row a connection is made anew, and how long to wait before.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// The longest event.
const LONGEST: usize = 16 * 1024 * 1024;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The events of a job.
pub(crate) struct Events<'a> {
    client: &'a Client,
    path: String,
    after: u64,
    body: Option<Incoming>,
    lines: Lines,
    failed: u32,
    ended: bool,
}

/// Bytes that become the data of events.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    data: String,
}

impl<'a> Events<'a> {
    pub(crate) fn new(client: &'a Client, job: JobId, after: u64) -> Self {
        Self {
            client,
            path: format!("/cache/jobs/{job}/events"),
            after,
            body: None,
            lines: Lines::default(),
            failed: 0,
            ended: false,
        }
    }

    /// The next event; `None` when the job has ended.
    pub(crate) async fn next(&mut self) -> Result<Option<JobEvent>, Failure> {
        loop {
            if self.ended {
                return Ok(None);
            }
            if let Some(data) = self.lines.next() {
                let event: JobEvent = serde_json::from_str(&data)
                    .map_err(|error| self.client.strange(&format!("an event is none: {error}")))?;
                self.after = event.sequence;
                self.failed = 0;
                self.ended = matches!(event.what, Happened::Ended { .. });
                return Ok(Some(event));
            }
            if self.body.is_none() {
                self.connect().await?;
                continue;
            }
            if let Err(reason) = self.read().await {
                self.body = None;
                self.lines = Lines::default();
                self.again(self.client.unreachable(&reason)).await?;
            }
        }
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        let mut asked = Asked::new(Method::GET, &self.path);
        asked.accept = "text/event-stream";
        asked.header = Some((LAST_EVENT_ID, HeaderValue::from(self.after)));
        match self.client.send(asked).await {
            Ok(response) if response.status() == StatusCode::NO_CONTENT => self.ended = true,
            Ok(response) => self.body = Some(response.into_body()),
            Err(failure) => self.again(failure).await?,
        }
        Ok(())
    }

    /// Waits before the next try, where that may help.
    async fn again(&mut self, failure: Failure) -> Result<(), Failure> {
        self.failed += 1;
        if self.failed > TRIES || failure.exit() != crate::exit::Exit::Unavailable {
            return Err(failure);
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }

    async fn read(&mut self) -> Result<(), String> {
        let Some(body) = &mut self.body else { return Ok(()) };
        match tokio::time::timeout(SILENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Some(bytes) = frame.data_ref() {
                    self.lines.bytes.extend_from_slice(bytes);
                }
                if self.lines.bytes.len() > LONGEST {
                    return Err("an event has no end".to_owned());
                }
                Ok(())
            }
            Ok(Some(Err(error))) => Err(format!("the connection broke: {error}")),
            Ok(None) => Err("the connection ended".to_owned()),
            Err(_) => Err("it is silent".to_owned()),
        }
    }
}

impl Lines {
    /// The data of the next event that is there as a whole.
    fn next(&mut self) -> Option<String> {
        while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
            let rest = self.bytes.split_off(end + 1);
            let line = std::mem::replace(&mut self.bytes, rest);
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                if !self.data.is_empty() {
                    return Some(std::mem::take(&mut self.data));
                }
            } else if let Some(data) = line.strip_prefix("data:") {
                // Several lines of data are one text with line feeds between.
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text =
            b"retry: 2000\nid: 1\nevent: paused\ndata: {\"a\":\ndata: 1}\n\n: alive\n\r\ndata:x\r\n\r\n";
        for size in 1..=text.len() {
            let mut lines = Lines::default();
            let mut read = Vec::new();
            for part in text.chunks(size) {
                lines.bytes.extend_from_slice(part);
                while let Some(data) = lines.next() {
                    read.push(data);
                }
            }
            assert_eq!(read, ["{\"a\":\n1}", "x"], "{size} at a time");
        }
    }
}
