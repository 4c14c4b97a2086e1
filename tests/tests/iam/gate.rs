//! The service's door: a TLS port in front of a real server that lets in who shows a valid token.
//!
//! Each login is looked at before the server sees it: the server's ACL then holds the tokens that are valid at
//! that moment, and no other, so that it is the server that accepts or refuses. All else passes unchanged.

use std::io::Cursor;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use cache_core::clock::{self, Instant};
use tests::{Certificates, Connection, Server};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::verifier::{Token, Verifier};

/// One login as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// The connection it came on: 0 is the first that was accepted.
    pub(crate) connection: usize,
    /// What was shown as a password.
    pub(crate) token: String,
    /// How old the token was, where it was valid; else what was wrong with it.
    pub(crate) verdict: Result<Duration, String>,
}

/// A running gate. Dropping it closes the port and all connections.
pub(crate) struct Gate {
    address: SocketAddr,
    shared: Arc<State>,
    listener: AbortHandle,
}

struct State {
    server: String,
    verifier: Verifier,
    tls: TlsAcceptor,
    /// For how long a connection may stay after its last login.
    limit: Mutex<Option<Duration>>,
    logins: Mutex<Vec<Login>>,
    ended: AtomicUsize,
    /// The tokens that the server's ACL holds, and the way to change that.
    accepted: tokio::sync::Mutex<(Vec<Token>, Connection)>,
}

impl Gate {
    /// Opens a port on `127.0.0.1` that leads to `server`.
    pub(crate) async fn start(
        server: &Server,
        verifier: &Verifier,
        certificates: &Certificates,
    ) -> Result<Self> {
        let chain = CertificateDer::pem_slice_iter(certificates.server.certificate.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(certificates.server.key.as_bytes())?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(State {
            server: server.address(),
            verifier: verifier.clone(),
            tls: TlsAcceptor::from(Arc::new(config)),
            limit: Mutex::default(),
            logins: Mutex::default(),
            ended: AtomicUsize::new(0),
            accepted: tokio::sync::Mutex::new((Vec::new(), server.connect().await?)),
        });
        let state = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            // The connections live in here, so that they end with the listener.
            let mut connections = JoinSet::new();
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else {
                    break;
                };
                let state = Arc::clone(&state);
                connections.spawn(async move {
                    // It ends when either side does; why makes no difference here.
                    let _ = state.serve(stream, connection).await;
                });
            }
        });
        Ok(Self {
            address,
            shared,
            listener: task.abort_handle(),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends connections that long after their last login, as the service does after twelve hours.
    pub(crate) fn end_after(&self, limit: Duration) {
        *lock(&self.shared.limit) = Some(limit);
    }

    /// The logins so far.
    pub(crate) fn logins(&self) -> Vec<Login> {
        lock(&self.shared.logins).clone()
    }

    /// How many connections it has ended because of their age.
    pub(crate) fn ended(&self) -> usize {
        self.shared.ended.load(Ordering::Relaxed)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl State {
    async fn serve(&self, stream: TcpStream, connection: usize) -> Result<()> {
        stream.set_nodelay(true)?;
        let (from_client, mut to_client) = tokio::io::split(self.tls.accept(stream).await?);
        let server = TcpStream::connect(&self.server).await?;
        server.set_nodelay(true)?;
        let (mut from_server, mut to_server) = server.into_split();
        let logged_in = watch::Sender::new(None);
        let requests = async {
            let mut from_client = BufReader::new(from_client);
            loop {
                let frame = Frame::read(&mut from_client).await?;
                if let Some((user, token)) = frame.login() {
                    self.look_at(&user, &token, connection).await?;
                    logged_in.send_replace(Some(clock::now()));
                }
                to_server.write_all(&frame.bytes).await?;
            }
        };
        tokio::select! {
            ended = requests => ended,
            ended = tokio::io::copy(&mut from_server, &mut to_client) => Ok(ended.map(drop)?),
            () = self.too_old(&logged_in) => {
                self.ended.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Makes the server accept this token if it is valid, and those before it that still are.
    async fn look_at(&self, user: &str, token: &str, connection: usize) -> Result<()> {
        let now = now();
        let checked = self.verifier.check(user, token, now);
        let verdict = match &checked {
            Ok(token) => Ok(now.duration_since(UNIX_EPOCH)?.saturating_sub(token.issued)),
            Err(error) => Err(error.to_string()),
        };
        lock(&self.logins).push(Login {
            connection,
            token: token.to_owned(),
            verdict,
        });
        let mut accepted = self.accepted.lock().await;
        let (tokens, steering) = &mut *accepted;
        tokens.retain(|token| token.is_valid(now));
        tokens.extend(checked.ok());
        let mut rule = vec![
            "ACL".to_owned(),
            "SETUSER".to_owned(),
            self.verifier.user.clone(),
            "resetpass".to_owned(),
        ];
        rule.extend(tokens.iter().map(|token| format!(">{}", token.text)));
        steering.call(&rule).await?;
        Ok(())
    }

    /// Returns when the connection has been logged in for too long.
    async fn too_old(&self, logged_in: &watch::Sender<Option<Instant>>) {
        let mut login = logged_in.subscribe();
        loop {
            let since = *login.borrow_and_update();
            let limit = *lock(&self.limit);
            let end = since.zip(limit).map(|(since, limit)| since + limit);
            if end.is_some_and(|end| clock::now() >= end) {
                return;
            }
            // A limit that is set later is noticed, too.
            let _ = tokio::time::timeout(Duration::from_millis(20), login.changed()).await;
        }
    }
}

/// One command, as it came and in words.
struct Frame {
    bytes: Vec<u8>,
    words: Vec<String>,
}

impl Frame {
    async fn read(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Self> {
        let mut bytes = Vec::new();
        let count = length(stream, &mut bytes, b'*').await?;
        let mut words = Vec::with_capacity(count);
        for _ in 0..count {
            let length = length(stream, &mut bytes, b'$').await?;
            let start = bytes.len();
            bytes.resize(start + length + 2, 0);
            stream.read_exact(&mut bytes[start..]).await?;
            words.push(String::from_utf8_lossy(&bytes[start..start + length]).into_owned());
        }
        Ok(Self { bytes, words })
    }

    /// The user and the password, if it is a login.
    fn login(&self) -> Option<(String, String)> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let (user, password) = match words.as_slice() {
            ["AUTH", user, password] => (user, password),
            ["HELLO", _, "AUTH", user, password, ..] => (user, password),
            _ => return None,
        };
        Some(((*user).to_owned(), (*password).to_owned()))
    }
}

async fn length(stream: &mut (impl AsyncBufRead + Unpin), bytes: &mut Vec<u8>, mark: u8) -> Result<usize> {
    let start = bytes.len();
    if stream.read_until(b'\n', bytes).await? == 0 {
        bail!("the client has gone");
    }
    let line = std::str::from_utf8(&bytes[start..])?.trim_end();
    let digits = line.strip_prefix(char::from(mark)).context("not a command")?;
    Ok(digits.parse()?)
}

/// The time of day.
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + UNIX_EPOCH.elapsed().unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[tokio::test]
async fn logins_are_found_among_other_commands() {
    let wire = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n\
        *5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$2\r\np1\r\n\
        *3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$2\r\np2\r\n*1\r\n$5\r\nHELLO\r\n";
    let mut stream = Cursor::new(&wire[..]);
    let mut found = Vec::new();
    let mut copied = Vec::new();
    while let Ok(frame) = Frame::read(&mut stream).await {
        found.push(frame.login().map(|(_, password)| password));
        copied.extend(frame.bytes);
    }
    let login = |password: &str| Some(password.to_owned());
    assert_eq!(found, [None, login("p1"), login("p2"), None]);
    assert_eq!(copied, wire);
}
