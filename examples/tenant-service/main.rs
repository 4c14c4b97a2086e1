//! A small HTTP service as a SaaS back end would have it: several tenants, API keys and settings read through
//! a cache, requests counted and limited, what must not be done twice done once, its cache flushed by tenant
//! and by pattern.
//!
//! `cargo run` starts it on the embedded cache. With `CACHE_ADDRS` (and `CACHE_MODE=cluster`) it uses
//! servers; nothing else changes. With `ADMIN_TOKENS=examples/tenant-service/demo/actors.toml` its cache can be
//! administered, by `cachectl` and over HTTP.
//!
//! Here everything is put together. What the service does is in `tenants.rs`, how it reads through its
//! cache in `read_through.rs`, what its keys are called in `keys.rs`, what limits its callers in `limits.rs`,
//! what it says over HTTP in `routes/`, and how its cache is administered in `admin.rs`.

mod admin;
mod answer;
mod caller;
mod credential;
mod flush;
mod keys;
mod leaving;
mod limits;
mod options;
mod read_through;
mod routes;
mod shutdown;
mod store;
mod tenants;

use std::future::IntoFuture as _;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cache_core::{CacheClient as _, CacheConfig};
use cache_layers::{Guarded, SystemClock, WallClock};
use cache_stack::telemetry::Telemetry;
use clap::Parser as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::admin::Admin;
use crate::flush::Flush;
use crate::leaving::Leaving;
use crate::options::Options;
use crate::store::Store;
use crate::tenants::Tenants;

/// How slow the stand-in for a database is.
const DATABASE_LATENCY: Duration = Duration::from_millis(150);

/// How long requests that are under way may take to end once the service is asked to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// What the routes work on.
#[derive(Clone, Debug)]
struct App {
    tenants: Arc<Tenants>,
    flush: Flush,
    guard: Option<Arc<Guarded>>,
    telemetry: Arc<Telemetry>,
    leaving: Leaving,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,tenant_service=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();

    // Before the cache is made: its instruments belong to the exporter that is there then.
    let telemetry = Telemetry::builder()
        .service("tenant-service")
        .prometheus()
        .install()?;
    let config = CacheConfig::from_env()?;
    let stack = cache_stack::assemble(&config).await.context("set up the cache")?;
    let store = Store::with_demo_tenants(DATABASE_LATENCY);
    let clock: Arc<dyn WallClock> = Arc::new(SystemClock);
    let app = App {
        tenants: Arc::new(Tenants::new(Arc::clone(&stack.client), store, &clock)?),
        flush: Flush::of(&stack)?,
        guard: stack.guard.clone(),
        telemetry: Arc::new(telemetry),
        leaving: Leaving::default(),
    };

    let address = options.address();
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}; set PORT to another port, 0 picks a free one"))?;
    let admin = match options.admin() {
        Some((file, address)) => Some(Admin::listen(&stack, file, address).await?),
        None => None,
    };
    greet(listener.local_addr()?, &stack.describe(), admin.as_ref());
    serve(listener, app, admin, options.shutdown_delay()).await?;
    stack.client.close().await?;
    tracing::info!("stopped");
    Ok(())
}

/// Serves until the process is asked to stop, and for `delay` after that; then lets requests end that are under way.
async fn serve(listener: TcpListener, app: App, admin: Option<Admin>, delay: Duration) -> anyhow::Result<()> {
    let (stopping, stopped) = watch::channel(());
    let stop = |mut stopped: watch::Receiver<()>| async move {
        // Ends when the other half is dropped.
        let _ = stopped.changed().await;
    };
    let leaving = app.leaving.clone();
    let router = routes::router(app).context("set up the routes")?;
    let server = axum::serve(listener, router).with_graceful_shutdown(stop(stopped.clone()));
    let administration = async {
        if let Some(admin) = admin {
            admin.serve(stop(stopped.clone())).await;
        }
        Ok(())
    };
    let served = async { tokio::try_join!(server.into_future(), administration) };
    let overdue = async move {
        shutdown::requested().await;
        tracing::info!("stopping");
        leaving.begin();
        // Who asks twice does not want to wait.
        let _ = tokio::time::timeout(delay, shutdown::requested()).await;
        drop(stopping);
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = served => served.map(drop).context("serve"),
        () = overdue => {
            tracing::warn!("requests were cut off after {DRAIN:?}");
            Ok(())
        }
    }
}

#[expect(clippy::print_stdout, reason = "for the person at the terminal")]
fn greet(address: SocketAddr, cache: &str, admin: Option<&Admin>) {
    println!("tenant-service listens on http://{address}, its cache is {cache}");
    if let Some(admin) = admin {
        println!("its cache is administered at http://{}", admin.address());
    }
    println!("try in another terminal:");
    println!("  curl -H 'x-api-key: demo-acme' {address}/settings");
    println!("  curl -H 'x-api-key: demo-acme' {address}/settings     (and once more: from the cache)");
    println!("  curl -H 'x-api-key: demo-acme' {address}/usage");
    println!(
        "  curl -X DELETE -H 'x-api-key: demo-operator' '{address}/admin/cache?pattern=tenant-service:v1:*'"
    );
    println!("  curl {address}/health/ready");
}
