//! `cachectl serve`: the administration over HTTP, until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cache_admin::access::Access;
use cache_admin::http::{AdminService, Limits, Listener, ListenerOptions, TlsFiles};
use cache_admin::jobs::{Audit, AuditSync, Jobs, JobsConfig};
use cache_admin::seal::Sealer;
use cache_core::{CacheClient as _, CacheError};
use cache_layers::Quota;
use cache_stack::Stack;
use cache_stack::telemetry::Telemetry;
use clap::Args;
use serde_json::json;

use super::{Ended, connect_with, engine};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::stop;

/// How long requests that are under way may take to end.
const DRAIN: Duration = Duration::from_secs(10);

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// The address; port 0 is any that is free. Beyond loopback it needs --tokens or --client-ca, and TLS
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8377")]
    listen: SocketAddr,
    /// Who may do what: actors with the hashes of their tokens, their grants; without it, whoever reaches the
    /// address may do everything
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// The certificate for TLS, and those between it and its authority, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The authorities of client certificates, in PEM; actors may be known by theirs
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// A proxy that ends TLS is the only one who reaches the address
    #[arg(long, conflicts_with = "tls_cert")]
    behind_proxy: bool,
    /// Keep jobs in FILE, so that they outlive the process; without it they end with it
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// Go on with the jobs that a former process left in the middle
    #[arg(long, requires = "store")]
    resume: bool,
    /// Let pages of this origin, such as `https://console.example`, send tokens and read answers (CORS); several times for
    /// several, or with commas between
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',', requires = "tokens")]
    cors_origin: Vec<String>,
    /// How many requests each actor may make in a minute
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    requests_per_minute: u32,
    /// What cursors and confirmations are sealed by, a secret on each line; without it they end with the process
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
}

pub(super) async fn run(arguments: &Serve, output: &mut Output) -> Ended {
    arguments.check()?;
    // Instruments are bound to the exporter that is there when they are made.
    let telemetry = Telemetry::builder().service("cachectl").prometheus().install()?;
    let access = Arc::new(match &arguments.tokens {
        Some(path) => {
            Access::from_file(path).map_err(|error| Failure::Usage(format!("--tokens: {error}")))?
        }
        None => Access::open(),
    });
    for warning in access.warnings() {
        output.warning(&warning);
    }
    // Before anything else is opened: an address that it must not have is told at once.
    let listener = Listener::bind(&arguments.listener(), &access)
        .await
        .map_err(|error| Failure::Usage(format!("--listen: {error}")))?;
    let stack = connect_with(None, output).await?;
    let jobs = arguments.jobs(&stack, output).await?;
    let mut builder = AdminService::builder(&stack)
        .jobs(jobs)
        .access(Arc::clone(&access))
        .allowed_origins(&arguments.cors_origin)
        .limits(arguments.limits())
        .metrics(move || telemetry.scrape());
    if let Some(path) = &arguments.secrets {
        builder = builder.sealer(Sealer::from_file(path)?);
    }
    let service = builder.build().await.map_err(in_words)?;

    greet(arguments, &listener, &stack, output)?;
    let shutdown = async {
        stop::requested().await;
        tracing::info!("stopping");
    };
    service.serve(listener, shutdown).await;
    // Requests and jobs have ended; what counts is that.
    let _ = stack.client.close().await;
    output.note("stopped");
    Ok(Exit::Ok)
}

impl Serve {
    /// The rules of the listener, in the words of the command line.
    fn check(&self) -> Result<(), Failure> {
        let refuse = |reason: &str| Err(Failure::Usage(reason.to_owned()));
        let loopback = self.listen.ip().to_canonical().is_loopback();
        if self.tokens.is_none() && self.behind_proxy {
            return refuse("--behind-proxy: whoever reaches the proxy reaches this; give --tokens FILE");
        }
        if self.tokens.is_none() && !loopback {
            return refuse(
                "--listen: beyond loopback it needs authentication; give --tokens FILE, or listen on 127.0.0.1",
            );
        }
        if !loopback && self.tls_cert.is_none() && !self.behind_proxy {
            return refuse(
                "--listen: beyond loopback it needs TLS; give --tls-cert FILE and --tls-key FILE, or --behind-proxy \
                 where a proxy ends TLS",
            );
        }
        Ok(())
    }

    fn limits(&self) -> Limits {
        Limits::default().with_requests(Quota::sliding(self.requests_per_minute.into(), MINUTE))
    }

    fn listener(&self) -> ListenerOptions {
        let options = ListenerOptions::new()
            .with_address(self.listen)
            .with_shutdown_timeout(DRAIN)
            .behind_proxy(self.behind_proxy);
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => options.with_tls(TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
                client_authorities: self.client_ca.clone(),
            }),
            _ => options,
        }
    }

    async fn jobs(&self, stack: &Stack, output: &mut Output) -> Result<Jobs, Failure> {
        let failed = |error: cache_admin::jobs::JobsError| Failure::Usage(error.to_string());
        let mut config = JobsConfig::default()
            .with_key_prefix(stack.key_prefix())
            .with_resume_at_open(self.resume);
        match &self.store {
            Some(path) => config = config.with_store(path),
            None => output.note("jobs are kept in memory and end with this process; --store FILE keeps them"),
        }
        if let Some(path) = crate::audit::path() {
            config = config.with_audit(Audit::open(path, AuditSync::Each).await.map_err(failed)?);
        }
        Jobs::open(engine(stack)?, config).await.map_err(failed)
    }
}

/// What is wrong with an option, by the name that it has on the command line.
fn in_words(error: CacheError) -> Failure {
    match error {
        CacheError::InvalidInput {
            argument: "allowed_origins",
            reason,
        } => Failure::Usage(format!("--cors-origin: {reason}")),
        error => error.into(),
    }
}

fn greet(arguments: &Serve, listener: &Listener, stack: &Stack, output: &mut Output) -> Result<(), Failure> {
    let scheme = if arguments.tls_cert.is_some() {
        "https"
    } else {
        "http"
    };
    let url = format!("{scheme}://{}", listener.address());
    output.answer(
        &format!("listening on {url}, its cache is {}", stack.describe()),
        || json!({ "listening": url, "cache": stack.describe() }),
    )?;
    // Whoever started it waits for this line.
    output.flush()?;
    if arguments.tokens.is_none() {
        output.note("without --tokens, whoever reaches the address may do everything");
    }
    Ok(())
}
