//! The listener of the service: which addresses it may have, TLS, limits on connections, an orderly end.
//!
//! Not in here: what the routes do, who may use them, and what they refuse of browsers.

mod body;
mod connection;
mod crowd;
mod error;
mod options;
mod paced;
mod peer;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::access::Access;

pub use error::ListenerError;
pub use options::{ListenerOptions, TlsFiles};
pub use peer::Peer;

pub(crate) use self::crowd::Standing;

use self::connection::Connections;
use self::crowd::Crowd;
use self::tls::Tls;

/// How long connections on which no request was authenticated may go on once the listener is to stop.
const STRANGERS: Duration = Duration::from_secs(3);

/// The pause after an `accept` that failed: mostly there are no file descriptors left.
const BREATH: Duration = Duration::from_millis(100);

/// A listener that has its address.
///
/// ```no_run
/// use std::sync::Arc;
/// use cache_admin::access::Access;
/// use cache_admin::http::{Listener, ListenerOptions};
///
/// # async fn serve(router: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
/// let access = Arc::new(Access::from_file("/etc/cache/actors.toml")?);
/// let listener = Listener::bind(&ListenerOptions::new(), &access).await?;
/// listener.serve(router, async { let _ = tokio::signal::ctrl_c().await; }).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    socket: TcpListener,
    options: ListenerOptions,
    tls: Option<Arc<Tls>>,
    access: Arc<Access>,
}

impl Listener {
    /// Takes the address, once the rules allow it:
    ///
    /// - without authentication a loopback address only, and no proxy in front;
    /// - beyond loopback TLS, or a proxy that ends it.
    ///
    /// # Errors
    ///
    /// Where the rules forbid it, the address cannot be had, or the TLS files are no good.
    pub async fn bind(options: &ListenerOptions, access: &Arc<Access>) -> Result<Self, ListenerError> {
        let is_open = access.is_open();
        options.check(is_open)?;
        let tls = options.tls.clone().map(Tls::new).transpose()?.map(Arc::new);
        let asks = options.tls.as_ref().is_some_and(TlsFiles::asks_clients);
        if access.knows_certificates() && !asks {
            tracing::warn!("actors are known by client certificates, and the listener asks for none");
        }
        let socket = TcpListener::bind(options.address).await;
        let socket = socket.map_err(|error| ListenerError::address(options.address, &error))?;
        let address = socket.local_addr();
        Ok(Self {
            address: address.map_err(|error| ListenerError::address(options.address, &error))?,
            socket,
            options: options.clone(),
            tls,
            access: Arc::clone(access),
        })
    }

    /// The address that it has.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` until `shutdown` ends, then lets the requests that are under way end, for a while. Each
    /// request carries a [`Peer`] in its extensions.
    ///
    /// The files of TLS and of the actors are looked into every few seconds, and at once on `SIGHUP`; where one of
    /// them is wrong, what it said before holds, and a warning says so.
    pub async fn serve(self, router: Router, shutdown: impl Future<Output = ()> + Send) {
        let (stop, stopped) = watch::channel(false);
        let connections = Arc::new(Connections {
            router,
            tls: self.tls.clone(),
            options: self.options.clone(),
            stopped,
        });
        let mut running = JoinSet::new();
        let most = self.options.max_connections;
        // A proxy's address is that of all of its clients.
        let of_each = if self.options.behind_proxy {
            most
        } else {
            self.options.max_connections_of_each
        };
        let crowd = Arc::new(Crowd::new(most, of_each));
        {
            let watching = self.watch();
            tokio::pin!(shutdown, watching);
            loop {
                // Room first: who finds none waits where the kernel keeps them.
                let accepted = async {
                    crowd.has_room().await;
                    self.socket.accept().await
                };
                tokio::select! {
                    () = &mut shutdown => break,
                    () = &mut watching => {}
                    Some(_) = running.join_next() => {}
                    accepted = accepted => match accepted {
                        Ok((stream, address)) => match crowd.admit(address.ip()) {
                            Some(place) => {
                                let connections = Arc::clone(&connections);
                                running.spawn(async move {
                                    tokio::select! {
                                        () = connections.serve(stream, address, &place.standing) => {}
                                        () = place.evicted() => {
                                            tracing::debug!(%address, "a connection made room for another one");
                                        }
                                    }
                                });
                            }
                            None => tracing::debug!(%address, "more connections than one address may have"),
                        },
                        Err(error) => {
                            tracing::warn!(%error, "cannot accept a connection");
                            tokio::time::sleep(BREATH).await;
                        }
                    },
                }
            }
        }
        drop(self.socket);
        stop.send_replace(true);
        let ended = async {
            let strangers = tokio::time::sleep(STRANGERS);
            tokio::pin!(strangers);
            let mut gone = false;
            loop {
                tokio::select! {
                    ended = running.join_next() => if ended.is_none() { return },
                    () = &mut strangers, if !gone => {
                        crowd.evict_strangers();
                        gone = true;
                    }
                }
            }
        };
        if tokio::time::timeout(self.options.shutdown_timeout, ended)
            .await
            .is_err()
        {
            tracing::warn!(connections = running.len(), "connections were cut at the end");
        }
    }

    /// Looks into the files again and again; never ends.
    async fn watch(&self) {
        let mut ticks = tokio::time::interval(self.options.reload_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first is at once, and the files were just read.
        ticks.tick().await;
        let mut hang_up = HangUp::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = hang_up.recv() => {}
            }
            let (tls, access) = (self.tls.clone(), Arc::clone(&self.access));
            let looked = tokio::task::spawn_blocking(move || {
                report("actors", access.reload());
                if let Some(tls) = tls {
                    report("TLS files", tls.reload());
                }
            });
            // A panic in there has been reported, and the files of before hold.
            let _ = looked.await;
        }
    }
}

fn report(what: &str, reloaded: Result<bool, impl std::fmt::Display>) {
    match reloaded {
        Ok(false) => {}
        Ok(true) => tracing::info!("{what}: taken in anew"),
        Err(error) => tracing::warn!(%error, "{what}: cannot be taken in anew; what they said before holds"),
    }
}

/// `SIGHUP`, where there is one.
struct HangUp {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl HangUp {
    fn new() -> Self {
        Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok(),
        }
    }

    async fn recv(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}
