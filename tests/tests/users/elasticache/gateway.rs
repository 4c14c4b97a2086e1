//! What stands between `cachectl` and the emulator: it counts requests, holds one so that the program can be killed,
//! answers in ElastiCache's place what the emulator does not show, and corrects what the emulator shows wrongly.
//!
//! Corrected of `ministack`: it takes passwords in the older parameter `Passwords` alone, counts one where there are
//! two, and shows users of IAM as `no-password`.

#![expect(clippy::unwrap_used, reason = "a test ends where its gateway fails")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use tests::Emulator;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Counted from 1 since the last [`Gateway::expect`].
    pub(super) number: usize,
    pub(super) action: String,
    /// The id of the user or, without one, of the group.
    pub(super) id: String,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The emulator answers it.
    Pass,
    /// Nothing comes back and nothing is done.
    HoldBefore,
    /// It is carried out and nothing comes back.
    HoldAfter,
    /// It is refused with this code.
    Refuse(&'static str),
    /// It is answered, with `active` replaced by this status.
    Show(&'static str),
}

type Script = dyn Fn(&Asked) -> Fate + Send + Sync;

pub(super) struct Gateway {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: AbortHandle,
}

struct Shared {
    upstream: String,
    state: Mutex<State>,
    /// Tells that a request is held.
    held: Notify,
}

struct State {
    script: Box<Script>,
    requests: Vec<Asked>,
    /// How each user logs in, as it was sent: the type and the number of passwords.
    logins: BTreeMap<String, (String, usize)>,
    corrects: bool,
}

impl Gateway {
    /// In front of `emulator`.
    pub(super) async fn start(emulator: &Emulator) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: emulator.url().trim_start_matches("http://").to_owned(),
            state: Mutex::new(State {
                script: Box::new(|_| Fate::Pass),
                requests: Vec::new(),
                logins: BTreeMap::new(),
                corrects: true,
            }),
            held: Notify::new(),
        });
        let accepting = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            // The connections live in here, so that they end with the listener.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&accepting);
                connections.spawn(async move {
                    // It ends when either side does; why makes no difference here.
                    let _ = shared.serve(stream).await;
                });
            }
        });
        Ok(Self {
            address,
            shared,
            listener: task.abort_handle(),
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the emulator shows is passed on as it is.
    pub(super) fn corrects_nothing(&self) {
        self.state(|state| state.corrects = false);
    }

    /// Counts from 1 again, and does with each request as `script` says.
    pub(super) fn expect(&self, script: impl Fn(&Asked) -> Fate + Send + Sync + 'static) {
        self.state(|state| {
            state.script = Box::new(script);
            state.requests.clear();
        });
    }

    /// Empties the emulator.
    pub(super) async fn reset(&self) -> Result<()> {
        self.expect(|_| Fate::Pass);
        self.state(|state| state.logins.clear());
        let (status, body) = self.shared.forward("POST", "/_ministack/reset", "").await?;
        anyhow::ensure!(status == 200, "reset: {status} {body}");
        Ok(())
    }

    /// Waits until a request is held.
    pub(super) async fn held(&self) {
        self.shared.held.notified().await;
    }

    /// What was asked since the last [`expect`](Self::expect).
    pub(super) fn requests(&self) -> Vec<Asked> {
        self.state(|state| state.requests.clone())
    }

    /// Those of them that change something: `CreateUser app-billing`.
    pub(super) fn changes(&self) -> Vec<String> {
        let requests = self.requests().into_iter();
        let changes = requests.filter(|asked| !asked.action.starts_with("Describe"));
        changes
            .map(|asked| format!("{} {}", asked.action, asked.id))
            .collect()
    }

    /// Asks the emulator for `action` as another operator.
    pub(super) async fn call(&self, action: &str, parameters: &[(&str, &str)]) -> Result<String> {
        let mut form = format!("Action={action}&Version=2015-02-02");
        for (name, value) in parameters {
            form.push_str(&format!(
                "&{name}={}",
                value.replace('%', "%25").replace('+', "%2B").replace(' ', "+")
            ));
        }
        let (status, body) = self.shared.forward("POST", "/", &form).await?;
        anyhow::ensure!(status == 200, "{action}: {status} {body}");
        let body = self.state(|state| state.corrected(body));
        Ok(body)
    }

    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.shared.state.lock().unwrap())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Shared {
    async fn serve(&self, stream: TcpStream) -> Result<()> {
        let mut stream = BufStream::new(stream);
        while let Some(body) = read_request(&mut stream).await? {
            let form = Form::read(&body);
            let fate = {
                let mut state = self.state.lock().unwrap();
                let asked = Asked {
                    number: state.requests.len() + 1,
                    action: form.get("Action"),
                    id: [form.get("UserId"), form.get("UserGroupId")]
                        .into_iter()
                        .find(|id| !id.is_empty())
                        .unwrap_or_default(),
                };
                state.requests.push(asked.clone());
                (state.script)(&asked)
            };
            let (status, answer) = match fate {
                Fate::HoldBefore => {
                    self.held.notify_one();
                    std::future::pending().await
                }
                Fate::Refuse(code) => (
                    400,
                    format!(
                        "<ErrorResponse xmlns=\"http://elasticache.amazonaws.com/doc/2015-02-02/\"><Error><Type>Sender</Type>\
                         <Code>{code}</Code><Message>says the gateway</Message></Error><RequestId>1</RequestId></ErrorResponse>"
                    ),
                ),
                Fate::Pass | Fate::HoldAfter | Fate::Show(_) => {
                    let (status, answer) = self.forward("POST", "/", &form.for_ministack()).await?;
                    let mut state = self.state.lock().unwrap();
                    if status == 200 {
                        state.remember(&form);
                    }
                    (status, state.corrected(answer))
                }
            };
            let answer = match fate {
                Fate::HoldAfter => {
                    self.held.notify_one();
                    std::future::pending().await
                }
                Fate::Show(shown) => {
                    answer.replace("<Status>active</Status>", &format!("<Status>{shown}</Status>"))
                }
                _ => answer,
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n",
                answer.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(answer.as_bytes()).await?;
            stream.flush().await?;
        }
        Ok(())
    }

    async fn forward(&self, method: &str, path: &str, form: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(&self.upstream).await?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=operator/20260101/eu-west-2/elasticache/aws4_request, \
             SignedHeaders=host, Signature=none\r\nContent-Length: {}\r\n\r\n{form}",
            self.upstream,
            form.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no end of the headers")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok((status, body.to_owned()))
    }
}

impl State {
    /// How a user logs in from now on.
    fn remember(&mut self, form: &Form) {
        let kind = match form.get("AuthenticationMode.Type").as_str() {
            "" => return,
            "no-password-required" => "no-password".to_owned(),
            kind => kind.to_owned(),
        };
        self.logins
            .insert(form.get("UserId"), (kind, form.passwords().count()));
    }

    /// The answer with what is known about logins.
    fn corrected(&self, answer: String) -> String {
        if !self.corrects {
            return answer;
        }
        let mut corrected = String::new();
        for (index, part) in answer.split("<UserId>").enumerate() {
            if index > 0 {
                corrected.push_str("<UserId>");
            }
            let known = part.split_once('<').and_then(|(id, _)| self.logins.get(id));
            let around = part
                .split_once("<Authentication>")
                .and_then(|(before, rest)| Some((before, rest.split_once("</Authentication>")?.1)));
            match (known, around) {
                (Some((kind, count)), Some((before, after))) => corrected.push_str(&format!(
                    "{before}<Authentication><Type>{kind}</Type><PasswordCount>{count}</PasswordCount>\
                     </Authentication>{after}"
                )),
                _ => corrected.push_str(part),
            }
        }
        corrected
    }
}

/// The parameters of a request, as they were sent.
struct Form(Vec<(String, String)>);

impl Form {
    fn read(body: &str) -> Self {
        let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
        Self(
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// Ids and types need no decoding.
    fn get(&self, name: &str) -> String {
        let mut pairs = self.0.iter();
        pairs
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
            .unwrap_or_default()
    }

    fn passwords(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(name, value)| {
            Some((
                name.strip_prefix("AuthenticationMode.Passwords.")?,
                value.as_str(),
            ))
        })
    }

    fn for_ministack(&self) -> String {
        let mut pairs: Vec<String> = self
            .0
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.extend(
            self.passwords()
                .map(|(number, value)| format!("Passwords.{number}={value}")),
        );
        pairs.join("&")
    }
}

/// The body of the next request; `None` when the connection ends.
async fn read_request(stream: &mut BufStream<TcpStream>) -> Result<Option<String>> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let header = line.trim_end().to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if header.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(String::from_utf8(body)?))
}
