//! A network that misbehaves on command: a loopback TCP proxy in front of one server.
//!
//! It moves bytes and knows nothing of what they mean; a test that does may change those of the server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use crate::server::port::free_port;

/// Bytes moved at a time.
const CHUNK: usize = 64 * 1024;

/// A proxy on a port of its own. Dropping it closes the port and cuts all connections.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<State>,
    address: SocketAddr,
    listener: Mutex<Option<JoinHandle<()>>>,
}

/// Changes a chunk of what the server says, in place.
type Alter = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

/// What the proxy and its connections share.
struct State {
    target: Mutex<String>,
    /// Bytes stand still while `true`.
    paused: watch::Sender<bool>,
    /// How long each chunk is held back, each way.
    delay: Mutex<Duration>,
    alter: Mutex<Option<Alter>>,
    links: Mutex<Vec<AbortHandle>>,
    accepted: AtomicUsize,
    /// Connections up to this number carry nothing any more.
    silenced: AtomicUsize,
    moved: AtomicU64,
}

impl Proxy {
    /// Opens a port on `127.0.0.1` that leads to `target` (`host:port`).
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn start(target: impl Into<String>) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())?));
        Self::start_at(address, target).await
    }

    /// Opens the port at `address` that leads to `target` (`host:port`): in the place of a server that is gone.
    ///
    /// # Errors
    ///
    /// When the port is taken.
    pub async fn start_at(address: SocketAddr, target: impl Into<String>) -> Result<Self> {
        let proxy = Self {
            shared: Arc::new(State {
                target: Mutex::new(target.into()),
                paused: watch::Sender::new(false),
                delay: Mutex::new(Duration::ZERO),
                alter: Mutex::new(None),
                links: Mutex::default(),
                accepted: AtomicUsize::new(0),
                silenced: AtomicUsize::new(0),
                moved: AtomicU64::new(0),
            }),
            address,
            listener: Mutex::new(None),
        };
        proxy.accept().await?;
        Ok(proxy)
    }

    /// `host:port` for clients.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Leads new connections to another server; those that are open stay where they are.
    pub fn set_target(&self, target: impl Into<String>) {
        *lock(&self.shared.target) = target.into();
    }

    /// Lets nothing through in either direction; connections stay open and new ones are accepted, as with a
    /// network that swallows packets.
    pub fn pause(&self) {
        self.shared.paused.send_replace(true);
    }

    /// Undoes [`pause`](Self::pause); what had been held back goes on its way.
    pub fn resume(&self) {
        self.shared.paused.send_replace(false);
    }

    /// Silences the connections that are open, for good: neither bytes nor their end pass, as where a firewall has
    /// forgotten them. New connections work.
    pub fn silence_open(&self) {
        let accepted = self.shared.accepted.load(Ordering::SeqCst);
        self.shared.silenced.store(accepted, Ordering::SeqCst);
    }

    /// Holds back every chunk of bytes by this long, in each direction.
    pub fn delay(&self, delay: Duration) {
        *lock(&self.shared.delay) = delay;
    }

    /// Changes what the server says from now on, chunk by chunk, on its way to the client. A small answer is one chunk.
    pub fn alter(&self, alter: impl Fn(&mut [u8]) + Send + Sync + 'static) {
        *lock(&self.shared.alter) = Some(Arc::new(alter));
    }

    /// Cuts all connections that are open. Returns how many.
    pub fn cut(&self) -> usize {
        let links = std::mem::take(&mut *lock(&self.shared.links));
        links
            .iter()
            .filter(|link| !link.is_finished())
            .map(AbortHandle::abort)
            .count()
    }

    /// Cuts one of the open connections; the caller's random number chooses. Returns whether there was one.
    pub fn cut_one(&self, random: usize) -> bool {
        let mut links = lock(&self.shared.links);
        links.retain(|link| !link.is_finished());
        if links.is_empty() {
            return false;
        }
        let chosen = random % links.len();
        links.swap_remove(chosen).abort();
        true
    }

    /// Closes the port and cuts all connections: connecting is refused from now on.
    pub async fn refuse(&self) {
        let listener = lock(&self.listener).take();
        if let Some(listener) = listener {
            listener.abort();
            // The port is closed when the task is gone. An error says that it was aborted.
            let _ = listener.await;
        }
        self.cut();
    }

    /// Undoes [`refuse`](Self::refuse): the same port is open again.
    ///
    /// # Errors
    ///
    /// When another process has taken the port.
    pub async fn accept(&self) -> Result<()> {
        if lock(&self.listener).is_some() {
            return Ok(());
        }
        let listener = TcpListener::bind(self.address).await?;
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn(async move {
            // An error of `accept` concerns the one connection that was about to be made.
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    shared.admit(client);
                }
            }
        });
        *lock(&self.listener) = Some(task);
        Ok(())
    }

    /// Connections accepted since the start.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        lock(&self.shared.links)
            .iter()
            .filter(|link| !link.is_finished())
            .count()
    }

    /// Bytes moved since the start, both ways together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.moved.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(listener) = lock(&self.listener).take() {
            listener.abort();
        }
        self.cut();
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl State {
    fn admit(self: &Arc<Self>, client: TcpStream) {
        let number = self.accepted.fetch_add(1, Ordering::SeqCst) + 1;
        let state = Arc::clone(self);
        let link = tokio::spawn(async move {
            // The link ends when either side does; why makes no difference here.
            let _ = state.link(client, number).await;
        });
        let mut links = lock(&self.links);
        links.retain(|link| !link.is_finished());
        links.push(link.abort_handle());
    }

    async fn link(&self, client: TcpStream, number: usize) -> Result<()> {
        let target = lock(&self.target).clone();
        let server = TcpStream::connect(target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::try_join!(
            self.carry(number, from_client, to_server, Way::ToServer),
            self.carry(number, from_server, to_client, Way::ToClient)
        )?;
        Ok(())
    }

    async fn carry(
        &self,
        number: usize,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        way: Way,
    ) -> Result<()> {
        let mut paused = self.paused.subscribe();
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = from.read(&mut chunk).await?;
            paused.wait_for(|paused| !paused).await?;
            if number <= self.silenced.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            let delay = *lock(&self.delay);
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            if length == 0 {
                to.shutdown().await?;
                return Ok(());
            }
            let alter = lock(&self.alter).clone();
            if let (Some(alter), Way::ToClient) = (alter, way) {
                alter(&mut chunk[..length]);
            }
            to.write_all(&chunk[..length]).await?;
            self.moved.fetch_add(u64::try_from(length)?, Ordering::Relaxed);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
