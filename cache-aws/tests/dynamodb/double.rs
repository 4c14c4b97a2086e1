//! A proxy in front of the emulator that handles requests as a script says.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request as the script sees it.
pub(crate) struct Call {
    /// `GetItem`, for example.
    pub(crate) operation: String,
    /// How many of this operation came before.
    pub(crate) number: usize,
    pub(crate) body: Value,
}

/// What is done with a request.
pub(crate) enum Act {
    Forward,
    /// Answers itself.
    Answer(u16, Value),
    /// Never answers.
    Hang,
    /// Forwards it, and closes the connection instead of answering.
    LoseAnswer,
    /// Forwards the first half of a batch, and says of the rest that it was not processed.
    Half,
    /// Says of a whole batch that it was not processed.
    None,
}

impl Act {
    /// An error as DynamoDB says it.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        let kind = format!("com.amazonaws.dynamodb.v20120810#{code}");
        Self::Answer(status, json!({ "__type": kind, "message": message }))
    }
}

type Script = Box<dyn Fn(&Call) -> Act + Send + Sync>;

/// The proxy; it ends with the runtime that it was started in.
pub(crate) struct Double {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    script: Script,
    calls: Mutex<Vec<(String, Value)>>,
    /// Connections are closed as soon as they are made.
    down: AtomicBool,
}

impl Double {
    pub(crate) async fn start(upstream: &str, script: impl Fn(&Call) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            upstream: upstream.trim_start_matches("http://").to_owned(),
            script: Box::new(script),
            calls: Mutex::default(),
            down: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move { shared.serve(stream).await });
            }
        });
        Self { url, shared }
    }

    /// How many requests of `operation` came.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.bodies(operation).len()
    }

    /// The requests of `operation`.
    pub(crate) fn bodies(&self, operation: &str) -> Vec<Value> {
        let calls = self.shared.calls.lock().unwrap();
        let of = calls.iter().filter(|(of, _)| of == operation);
        of.map(|(_, body)| body.clone()).collect()
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::Relaxed);
    }
}

struct Request {
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Shared {
    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(request) = read(&mut stream).await {
            if self.down.load(Ordering::Relaxed) {
                return;
            }
            let target = request.headers.get("x-amz-target").cloned().unwrap_or_default();
            let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let call = {
                let mut calls = self.calls.lock().unwrap();
                let number = calls.iter().filter(|(of, _)| *of == operation).count();
                calls.push((operation.clone(), body.clone()));
                Call {
                    operation,
                    number,
                    body,
                }
            };
            let (status, answer) = match (self.script)(&call) {
                Act::Forward => self.forward(&target, &call.body).await,
                Act::Answer(status, body) => (status, body),
                Act::Hang => return std::future::pending().await,
                Act::LoseAnswer => {
                    self.forward(&target, &call.body).await;
                    return;
                }
                Act::Half => self.partly(&target, call.body, true).await,
                Act::None => self.partly(&target, call.body, false).await,
            };
            let answer = answer.to_string();
            let head = format!(
                "HTTP/1.1 {status} x\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
                answer.len()
            );
            if stream.write_all((head + &answer).as_bytes()).await.is_err() {
                return;
            }
        }
    }

    async fn partly(&self, target: &str, mut body: Value, half: bool) -> (u16, Value) {
        let is_read = target.ends_with("BatchGetItem");
        let left = if is_read {
            "UnprocessedKeys"
        } else {
            "UnprocessedItems"
        };
        let tables = body["RequestItems"].as_object_mut().unwrap();
        let (name, request) = tables.iter_mut().next().unwrap();
        let (name, mut rest) = (name.clone(), request.clone());
        let items = |request: &mut Value| -> Vec<Value> {
            let items = if is_read { &mut request["Keys"] } else { request };
            std::mem::take(items.as_array_mut().unwrap())
        };
        let put = |request: &mut Value, items: Vec<Value>| {
            if is_read {
                request["Keys"] = items.into();
            } else {
                *request = items.into();
            }
        };
        let mut done = items(&mut rest);
        let remaining = done.split_off(if half { done.len().div_ceil(2) } else { 0 });
        put(&mut rest, remaining.clone());
        if done.is_empty() {
            return (200, json!({ "Responses": {}, left: { name: rest } }));
        }
        let mut first = body["RequestItems"][&name].clone();
        put(&mut first, done);
        body["RequestItems"][&name] = first;
        let (status, mut answer) = self.forward(target, &body).await;
        if !remaining.is_empty() {
            answer[left] = json!({ name: rest });
        }
        (status, answer)
    }

    async fn forward(&self, target: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {0}\r\nx-amz-target: {target}\r\ncontent-type: application/x-amz-json-1.0\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=key/20260101/eu-west-2/dynamodb/aws4_request, SignedHeaders=host, \
             Signature=0\r\nx-amz-date: 20260101T000000Z\r\nconnection: close\r\ncontent-length: {1}\r\n\r\n{body}",
            self.upstream,
            body.len()
        );
        let mut stream = BufReader::new(TcpStream::connect(&self.upstream).await.unwrap());
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut status = String::new();
        stream.read_line(&mut status).await.unwrap();
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let answer = read_message(&mut stream).await.unwrap();
        (status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    if stream.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    read_message(stream).await
}

/// Headers and a body.
async fn read_message(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length: usize = headers.get("content-length")?.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { headers, body })
}
