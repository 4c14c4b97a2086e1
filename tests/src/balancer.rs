//! What a service of Kubernetes does, on loopback: one port that leads each new connection to an instance that is ready.
//!
//! It asks each instance over HTTP, again and again. Connections that are open stay where they are. It knows nothing of
//! what goes through them, and repeats nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::wait::until;

/// After this many failed checks in a row an instance gets no new connections.
const FAILURES: u32 = 2;

/// How long one check may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A port in front of several instances. Dropping it closes the port and cuts all connections.
#[derive(Debug)]
pub struct Balancer {
    state: Arc<State>,
    address: SocketAddr,
    /// Aborted when dropped.
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    /// What is asked for whether an instance is ready.
    path: String,
    instances: Mutex<Instances>,
}

#[derive(Debug, Default)]
struct Instances {
    known: Vec<Instance>,
    /// Whose turn it is.
    next: usize,
}

#[derive(Debug)]
struct Instance {
    address: String,
    ready: bool,
    failed: u32,
}

impl Balancer {
    /// Opens a port on loopback. Each instance is asked for `path` once per `period`; any status but 200 means that it is
    /// not ready.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn start(path: impl Into<String>, period: Duration) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            path: path.into(),
            instances: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(Arc::clone(&state), listener));
        tasks.spawn(watch(Arc::clone(&state), period));
        Ok(Self {
            state,
            address,
            _tasks: tasks,
        })
    }

    /// `host:port` for clients.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Makes an instance (`host:port`) known, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it is not ready within `limit`.
    pub async fn add(&self, address: impl Into<String>, limit: Duration) -> Result<()> {
        let address = address.into();
        let instance = Instance {
            address: address.clone(),
            ready: false,
            failed: 0,
        };
        self.state.instances().known.push(instance);
        until(limit, "a new instance to be ready", || {
            let ready = self.state.instances().is_ready(&address).then_some(());
            std::future::ready(Ok(ready))
        })
        .await
    }

    /// Forgets an instance.
    pub fn remove(&self, address: &str) {
        let known = &mut self.state.instances().known;
        known.retain(|instance| instance.address != address);
    }
}

impl State {
    fn instances(&self) -> MutexGuard<'_, Instances> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn check(&self, address: &str) -> bool {
        let asked = tokio::time::timeout(PATIENCE, status(address, &self.path)).await;
        matches!(asked, Ok(Ok(200)))
    }
}

impl Instances {
    fn is_ready(&self, address: &str) -> bool {
        let mut known = self.known.iter();
        known.any(|instance| instance.ready && instance.address == address)
    }

    /// The next one in turn that is ready.
    fn choose(&mut self) -> Option<String> {
        for _ in 0..self.known.len() {
            self.next = (self.next + 1) % self.known.len();
            let instance = &self.known[self.next];
            if instance.ready {
                return Some(instance.address.clone());
            }
        }
        None
    }

    fn note(&mut self, address: &str, answered: bool) {
        let found = self.known.iter_mut().find(|instance| instance.address == address);
        let Some(instance) = found else {
            return;
        };
        instance.failed = if answered { 0 } else { instance.failed + 1 };
        if answered {
            instance.ready = true;
        } else if instance.failed >= FAILURES {
            instance.ready = false;
        }
    }
}

async fn watch(state: Arc<State>, period: Duration) {
    loop {
        let known: Vec<String> = {
            let instances = state.instances();
            instances
                .known
                .iter()
                .map(|instance| instance.address.clone())
                .collect()
        };
        for address in known {
            let answered = state.check(&address).await;
            state.instances().note(&address, answered);
        }
        tokio::time::sleep(period).await;
    }
}

async fn serve(state: Arc<State>, listener: TcpListener) {
    let mut links = JoinSet::new();
    // An error of `accept` concerns the one connection that was about to be made.
    loop {
        if let Ok((client, _)) = listener.accept().await {
            let chosen = state.instances().choose();
            links.spawn(async move {
                // The link ends when either side does; why makes no difference here.
                let _ = link(client, chosen).await;
            });
        }
        while links.try_join_next().is_some() {}
    }
}

/// Without an instance the connection is closed at once.
async fn link(mut client: TcpStream, chosen: Option<String>) -> Result<()> {
    let mut server = TcpStream::connect(chosen.context("none is ready")?).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// The status of one answer.
async fn status(address: &str, path: &str) -> Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).context("no status")?;
    Ok(status.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instances(known: &[(&str, bool)]) -> Instances {
        let known = known.iter().map(|(address, ready)| Instance {
            address: (*address).to_owned(),
            ready: *ready,
            failed: 0,
        });
        Instances {
            known: known.collect(),
            next: 0,
        }
    }

    #[test]
    fn instances_that_are_ready_take_turns() {
        let mut some = instances(&[("a", true), ("b", false), ("c", true)]);
        let chosen: Vec<_> = (0..4).filter_map(|_| some.choose()).collect();
        assert_eq!(chosen, ["c", "a", "c", "a"]);
        assert_eq!(instances(&[("a", false)]).choose(), None);
        assert_eq!(instances(&[]).choose(), None);
    }

    #[test]
    fn two_failed_checks_in_a_row_take_an_instance_out_and_one_good_one_puts_it_back() {
        let mut one = instances(&[("a", true)]);
        for (answered, ready) in [
            (false, true),
            (true, true),
            (false, true),
            (false, false),
            (true, true),
        ] {
            one.note("a", answered);
            assert_eq!(one.is_ready("a"), ready);
        }
    }
}
