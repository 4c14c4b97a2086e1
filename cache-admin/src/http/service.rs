//! The service: what all routes work on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use cache_core::config::Backend;
use cache_core::{CacheClient as _, CacheError, Keyspace, MemoryCache, Outcome, Unavailability, clock};
use cache_layers::idempotency::{Acquired, Fingerprint};
use cache_layers::{Idempotency, IdempotencyConfig};
use cache_stack::{Foundation, Stack};
use tokio::sync::{Mutex, Semaphore, watch};

use super::document::Document;
use super::edge::{Limiter, Origins, Traffic};
use super::{Limits, Listener, ListenerError, ListenerOptions};
use crate::access::Access;
use crate::fair::Fair;
use crate::jobs::{Jobs, JobsConfig};
use crate::seal::Sealer;
use crate::{CacheIdentity, Engine, Namespaces};

/// Writes the process's metrics as text.
type Scrape = Arc<dyn Fn() -> Result<String, CacheError> + Send + Sync>;

/// What is wrong although the cache answers, or why it does not.
type Health = Result<Vec<String>, CacheError>;

/// How long what a ping said is believed, so that whoever asks for the health does not load the servers.
const HEALTH_LIFE: Duration = Duration::from_millis(500);

/// How many searches for big keys are made at once.
const SEARCHES: usize = 2;

/// How long a ping may take.
const HEALTH_WITHIN: Duration = Duration::from_secs(2);

/// The administration of one cache over HTTP. Cheap to clone.
///
/// Two ways to have it in a service. At an address of its own, which is the safer one: the service's callers do not
/// reach it, and without TLS it is on loopback.
///
/// ```no_run
/// use std::sync::Arc;
/// use cache_admin::access::Access;
/// use cache_admin::http::{AdminService, ListenerOptions};
///
/// # async fn example(stack: cache_stack::Stack) -> Result<(), Box<dyn std::error::Error>> {
/// let access = Arc::new(Access::from_file("/etc/cache/actors.toml")?);
/// let admin = AdminService::builder(&stack).access(access).build().await?;
/// let listener = admin.listen(&ListenerOptions::new()).await?;
/// admin.serve(listener, async { let _ = tokio::signal::ctrl_c().await; }).await;
/// # Ok(())
/// # }
/// ```
///
/// Or as a router under a path of the service's own, which then is as public as the service is. A service that knows its
/// callers itself puts an [`Actor`](crate::access::Actor) into a request's extensions, who is then believed; nobody
/// else is let in, unless [`access`](AdminServiceBuilder::access) says who.
///
/// ```
/// use cache_admin::http::AdminService;
/// use cache_core::CacheConfig;
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
/// let stack = cache_stack::assemble(&CacheConfig::default()).await?;
/// let admin = AdminService::builder(&stack).build().await?;
/// let app: axum::Router = axum::Router::new().nest("/admin", admin.router());
/// # let _ = app;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct AdminService(Service);

/// Makes an [`AdminService`].
#[must_use]
pub struct AdminServiceBuilder {
    stack: Stack,
    jobs: Option<Jobs>,
    access: Option<Arc<Access>>,
    sealer: Option<Sealer>,
    scrape: Option<Scrape>,
    limits: Limits,
    origins: Vec<String>,
}

/// What the routes see of it.
#[derive(Clone)]
pub(crate) struct Service(Arc<Inner>);

struct Inner {
    stack: Stack,
    engine: Engine,
    namespaces: Namespaces,
    retries: Idempotency,
    /// The same, in this process, if the user may not write where they are kept.
    own_retries: Idempotency,
    jobs: Jobs,
    access: Arc<Access>,
    sealer: Sealer,
    scrape: Option<Scrape>,
    limits: Limits,
    origins: Origins,
    limiter: Limiter,
    traffic: Traffic,
    streams: Fair,
    searches: Semaphore,
    examinations: Semaphore,
    stopping: watch::Sender<bool>,
    health: Mutex<Option<(clock::Instant, Health)>>,
    document: Document,
}

impl AdminService {
    /// The administration of the cache behind `stack`.
    pub fn builder(stack: &Stack) -> AdminServiceBuilder {
        AdminServiceBuilder {
            stack: stack.clone(),
            jobs: None,
            access: None,
            sealer: None,
            scrape: None,
            limits: Limits::default(),
            origins: Vec::new(),
        }
    }

    /// All routes. They refuse by problem details whatever they do not know, also below the path at which
    /// they are mounted.
    pub fn router(&self) -> Router {
        super::routes::router(&self.0)
    }

    /// The description of all routes, in OpenAPI 3.1, as JSON.
    #[must_use]
    pub fn openapi(&self) -> String {
        let (text, _) = self.0.document().under("");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The jobs that it starts and shows.
    #[must_use]
    pub fn jobs(&self) -> &Jobs {
        &self.0.0.jobs
    }

    /// Takes an address for [`serve`](Self::serve), by the rules of [`Listener::bind`] and for who may do what here.
    ///
    /// # Errors
    ///
    /// Where the rules forbid it, the address cannot be had, or the TLS files are no good.
    pub async fn listen(&self, options: &ListenerOptions) -> Result<Listener, ListenerError> {
        Listener::bind(options, &self.0.0.access).await
    }

    /// Serves all routes until `shutdown` ends. Then streams of events end, requests under way are answered, and jobs
    /// at work are interrupted, so that nothing of it uses the cache any more.
    pub async fn serve(&self, listener: Listener, shutdown: impl Future<Output = ()> + Send) {
        let shutdown = async {
            shutdown.await;
            self.stop();
        };
        let mut stopping = self.0.stopping();
        // Jobs first: they are saved whatever the connections do.
        let saved = async {
            // The sender is ours.
            let _ = stopping.wait_for(|stopping| *stopping).await;
            self.jobs().close().await;
        };
        tokio::join!(listener.serve(self.router(), shutdown), saved);
    }

    /// Ends streams of events and says that the service is not ready, so that requests under way can end. Not needed
    /// besides [`serve`](Self::serve).
    pub fn stop(&self) {
        self.0.0.stopping.send_replace(true);
    }
}

impl AdminServiceBuilder {
    /// The jobs. Default: kept in memory; they end with the process.
    pub fn jobs(mut self, jobs: Jobs) -> Self {
        self.jobs = Some(jobs);
        self
    }

    /// Who may do what. Default: [`Access::nobody`]. With [`Access::open`] only requests whose `Host` is this machine
    /// are answered; that keeps browsers away and nobody else, so it is for a listener on loopback.
    pub fn access(mut self, access: Arc<Access>) -> Self {
        self.access = Some(access);
        self
    }

    /// What cursors and confirmations are sealed by. Default: a secret of this process, with which they end.
    pub fn sealer(mut self, sealer: Sealer) -> Self {
        self.sealer = Some(sealer);
        self
    }

    /// What `/metrics` shows besides its own: the process's metrics, in the text format of Prometheus. Default:
    /// nothing.
    pub fn metrics(
        mut self,
        scrape: impl Fn() -> Result<String, CacheError> + Send + Sync + 'static,
    ) -> Self {
        self.scrape = Some(Arc::new(scrape));
        self
    }

    /// What requests may cost.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The origins of a console in the browser whose pages may send requests and read the answers (CORS), such as
    /// `https://console.example`. Cookies do not count: the page has to send a bearer token. Default: none.
    pub fn allowed_origins<O: Into<String>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        self.origins = origins.into_iter().map(Into::into).collect();
        self
    }

    /// The service.
    ///
    /// # Errors
    ///
    /// [`CacheError::Unsupported`] for a backend whose keys cannot be listed, [`CacheError::InvalidInput`] for a
    /// quota that cannot be and for what is no origin, [`CacheError::Unavailable`] where the machine has no randomness to give.
    pub async fn build(self) -> Result<AdminService, CacheError> {
        let engine = Engine::of(&self.stack.foundation)?;
        let jobs = match self.jobs {
            Some(jobs) => jobs,
            None => {
                let config = JobsConfig::default().with_key_prefix(self.stack.key_prefix());
                Jobs::open(engine.clone(), config)
                    .await
                    .map_err(|error| CacheError::Unavailable {
                        reason: Unavailability::NotReady,
                        detail: error.to_string().into(),
                        outcome: Outcome::NotApplied,
                        source: None,
                    })?
            }
        };
        let sealer = match self.sealer {
            Some(sealer) => sealer,
            None => Sealer::random()?,
        };
        let retries = Idempotency::new(
            Arc::clone(&self.stack.client),
            Keyspace::new("cache-admin")?,
            IdempotencyConfig::default(),
        );
        let own_retries = Idempotency::new(
            Arc::new(MemoryCache::default()),
            Keyspace::new("cache-admin")?,
            IdempotencyConfig::default(),
        );
        Ok(AdminService(Service(Arc::new(Inner {
            own_retries,
            engine,
            namespaces: Namespaces::new(&self.stack),
            retries,
            jobs,
            access: self.access.unwrap_or_else(|| Arc::new(Access::nobody())),
            sealer,
            scrape: self.scrape,
            limiter: Limiter::new(self.limits.requests, self.limits.failures)?,
            traffic: Traffic::default(),
            streams: Fair::new(self.limits.streams, self.limits.streams_of_each),
            searches: Semaphore::new(SEARCHES),
            examinations: Semaphore::new(1),
            stopping: watch::Sender::new(false),
            health: Mutex::new(None),
            document: super::routes::document(),
            origins: Origins::new(&self.origins)?,
            limits: self.limits,
            stack: self.stack,
        }))))
    }
}

impl Service {
    pub(crate) fn stack(&self) -> &Stack {
        &self.0.stack
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn namespaces(&self) -> &Namespaces {
        &self.0.namespaces
    }

    /// Finds out whether a request of `actor` with an idempotency key was made before. Jobs remember theirs by themselves.
    /// Kept in the cache; in this process if the user of the servers may not write there, as the role `operator`.
    pub(crate) async fn acquire(
        &self,
        actor: &str,
        key: &str,
        request: Fingerprint,
    ) -> Result<Acquired, CacheError> {
        match self.0.retries.acquire(actor, key, request).await {
            Err(CacheError::Denied { .. }) => self.0.own_retries.acquire(actor, key, request).await,
            acquired => acquired,
        }
    }

    pub(crate) fn jobs(&self) -> &Jobs {
        &self.0.jobs
    }

    pub(crate) fn access(&self) -> &Access {
        &self.0.access
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.0.sealer
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn origins(&self) -> &Origins {
        &self.0.origins
    }

    pub(crate) fn limiter(&self) -> &Limiter {
        &self.0.limiter
    }

    pub(crate) fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }

    pub(crate) fn streams(&self) -> &Fair {
        &self.0.streams
    }

    /// The places of those who search for big keys.
    pub(crate) fn searches(&self) -> &Semaphore {
        &self.0.searches
    }

    /// The place of the one who has the cache examined.
    pub(crate) fn examinations(&self) -> &Semaphore {
        &self.0.examinations
    }

    pub(crate) fn document(&self) -> &Document {
        &self.0.document
    }

    /// Ends once the service is to stop.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.0.stopping.subscribe()
    }

    /// Which cache this is: asked of the servers.
    pub(crate) async fn cache(&self) -> Result<CacheIdentity, CacheError> {
        let cache = self.0.engine.identity().await?;
        Ok(cache.with_prefix(self.0.stack.key_prefix()))
    }

    /// What a token for `cache` is bound to: servers that do not say who they are go by their addresses.
    pub(crate) fn bound_to(&self, cache: CacheIdentity) -> CacheIdentity {
        if cache.is_known() {
            return cache;
        }
        CacheIdentity::server([self.configured()]).with_prefix(self.0.stack.key_prefix())
    }

    /// Where the configuration says that the cache is.
    pub(crate) fn configured(&self) -> String {
        let servers = match &self.0.stack.config().backend {
            Backend::Valkey(valkey) => format!("{:?}", valkey.topology),
            backend => backend.to_string(),
        };
        format!("{servers} {}", self.0.stack.key_prefix())
    }

    /// The process's metrics, where somebody has them.
    pub(crate) fn scrape(&self) -> Result<String, CacheError> {
        self.0
            .scrape
            .as_ref()
            .map_or_else(|| Ok(String::new()), |scrape| scrape())
    }

    /// Whether the cache answers, with what is wrong all the same; asked at most twice a second.
    pub(crate) async fn health(&self) -> Health {
        let mut last = self.0.health.lock().await;
        if let Some((at, said)) = &*last
            && clock::now() - *at < HEALTH_LIFE
        {
            return said.clone();
        }
        let said = match tokio::time::timeout(HEALTH_WITHIN, self.0.look()).await {
            Ok(said) => said,
            Err(_) => Err(CacheError::Timeout {
                stage: cache_core::Stage::Call,
                after: HEALTH_WITHIN,
            }),
        };
        *last = Some((clock::now(), said.clone()));
        said
    }
}

impl Inner {
    /// Asks the primaries, each by itself if not all of them answer: one shard of many is no reason to take the service out.
    async fn look(&self) -> Health {
        let all = tokio::time::timeout(HEALTH_WITHIN / 4, self.stack.strict().ping()).await;
        let error = match all {
            Ok(Ok(())) => return Ok(Vec::new()),
            Ok(Err(error)) => error,
            Err(_) => CacheError::Timeout {
                stage: cache_core::Stage::Call,
                after: HEALTH_WITHIN / 4,
            },
        };
        let Foundation::Valkey(client) = &self.stack.foundation else {
            return Err(error);
        };
        let administration = client.administration();
        let view = tokio::time::timeout(HEALTH_WITHIN / 4, administration.topology()).await;
        let Ok(Ok(view)) = view else { return Err(error) };
        let primaries = administration.primaries_of(&view);
        let asked = primaries.iter().map(|primary| async {
            let ping = tokio::time::timeout(HEALTH_WITHIN / 4, primary.ping()).await;
            matches!(ping, Ok(Ok(())))
        });
        let answers = futures::future::join_all(asked).await;
        let there = answers.iter().filter(|answers| **answers).count();
        let uncovered: usize = view.uncovered.iter().map(ExactSizeIterator::len).sum();
        match (there, primaries.len() - there) {
            (0, _) => Err(error),
            (_, 0) if uncovered == 0 => Ok(Vec::new()),
            (_, away) => Ok(vec![format!(
                "{away} of {} primaries do not answer; no primary serves {uncovered} slots",
                primaries.len()
            )]),
        }
    }
}

impl fmt::Debug for AdminService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminService")
            .field("cache", &self.0.stack().describe())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AdminServiceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminServiceBuilder")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
