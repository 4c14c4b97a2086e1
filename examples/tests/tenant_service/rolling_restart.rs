//! Instances that are stopped and replaced under load: no request fails.
//!
//! The load goes through a balancer that does what a service of Kubernetes does: it asks each instance whether it is ready,
//! leads new connections to those that are, and repeats nothing. The clients repeat nothing, either.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tests::{Balancer, Server, ServerOptions, Version};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::http::Request;
use crate::service::Service;

const ROUNDS: usize = 10;

/// How often the balancer asks. It needs two failures.
const PERIOD: Duration = Duration::from_millis(50);

/// Several times what the balancer needs, and above the pause of every client.
const DELAY: &str = "500ms";

const LIMIT: Duration = Duration::from_secs(20);

/// What the clients saw: answers by the kind of request, and every failure.
#[derive(Debug, Default)]
struct Tally {
    answered: BTreeMap<&'static str, usize>,
    failed: Vec<String>,
}

/// Clients at work.
struct Load {
    tally: Arc<Mutex<Tally>>,
    clients: JoinSet<()>,
}

/// A kind of client.
#[derive(Clone)]
struct Kind {
    name: &'static str,
    request: Request,
    /// Whether it keeps its connection for as long as the answers allow.
    keeps: bool,
    pause: Duration,
    clients: usize,
}

impl Load {
    fn start(address: &str) -> Self {
        // The plan of this tenant allows 20 requests per second.
        let settings = Request::get("/settings").header("x-api-key", "demo-globex");
        let kind = |name, request: &Request, keeps, pause, clients| Kind {
            name,
            request: request.clone(),
            keeps,
            pause: Duration::from_millis(pause),
            clients,
        };
        let live = Request::get("/health/live");
        let new = r#"{"theme":"dark","locale":"en-GB","seats":6}"#;
        let change = settings.clone().method("PUT").json(new);
        let kinds = [
            kind("live, connections kept", &live, true, 5, 4),
            kind("live, new connections", &live, false, 5, 3),
            kind("settings, connection kept", &settings, true, 200, 1),
            kind("settings, new connections", &settings, false, 200, 1),
            // 150 ms in the database.
            kind("changes, new connections", &change, false, 200, 1),
        ];
        let tally = Arc::new(Mutex::new(Tally::default()));
        let mut clients = JoinSet::new();
        for kind in kinds {
            for _ in 0..kind.clients {
                clients.spawn(work(kind.clone(), address.to_owned(), Arc::clone(&tally)));
            }
        }
        Self { tally, clients }
    }

    async fn stop(mut self) -> Tally {
        self.clients.shutdown().await;
        std::mem::take(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn work(kind: Kind, address: String, tally: Arc<Mutex<Tally>>) {
    let mut client = Client {
        address,
        stream: None,
    };
    loop {
        let asked = client.ask(&kind.request, kind.keeps).await;
        {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            match asked {
                Ok(()) => *tally.answered.entry(kind.name).or_default() += 1,
                Err(error) => tally.failed.push(format!("{}: {error:#}", kind.name)),
            }
        }
        tokio::time::sleep(kind.pause).await;
    }
}

/// A client that keeps its connection until an answer says that it closes.
struct Client {
    address: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    async fn ask(&mut self, request: &Request, keeps: bool) -> Result<()> {
        if !keeps {
            let answer = request.send(&self.address).await?;
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
            return Ok(());
        }
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufReader::new(TcpStream::connect(&self.address).await?),
        };
        let mut text = format!("GET {} HTTP/1.1\r\nhost: {}\r\n", request.path, self.address);
        for (name, value) in &request.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{text}\r\n").as_bytes()).await?;
        if read_answer(&mut stream).await? {
            self.stream = Some(stream);
        }
        Ok(())
    }
}

/// Reads one answer, which has to be a good one; whether the connection stays open.
async fn read_answer(stream: &mut BufReader<TcpStream>) -> Result<bool> {
    let (mut status, mut length, mut stays) = (String::new(), 0, true);
    stream.read_line(&mut status).await?;
    ensure!(
        status.starts_with("HTTP/1.1 200 "),
        "the answer begins {status:?}"
    );
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            bail!("no end of the headers");
        }
        let line = line.trim_end().to_ascii_lowercase();
        match line.split_once(": ") {
            Some(("content-length", value)) => length = value.parse()?,
            Some(("connection", "close")) => stays = false,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(stays)
}

/// Two instances on one cache, behind a balancer.
struct Rig {
    variables: Vec<(&'static str, String)>,
    balancer: Balancer,
    instances: Vec<Service>,
    _server: Server,
}

impl Rig {
    async fn start(delay: &str) -> Result<Self> {
        let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
        let variables = vec![
            ("CACHE_ADDRS", server.address()),
            ("SHUTDOWN_DELAY", delay.to_owned()),
        ];
        let mut rig = Self {
            variables,
            balancer: Balancer::start("/health/ready", PERIOD).await?,
            instances: Vec::new(),
            _server: server,
        };
        for _ in 0..2 {
            rig.start_one().await?;
        }
        Ok(rig)
    }

    async fn start_one(&mut self) -> Result<()> {
        let variables: Vec<_> = self
            .variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let service = Service::start(&variables).await?;
        self.balancer.add(&service.address, LIMIT).await?;
        self.instances.push(service);
        Ok(())
    }

    /// Stops the oldest instance by SIGTERM and starts another in its place.
    async fn replace_one(&mut self) -> Result<()> {
        let oldest = self.instances.remove(0);
        let address = oldest.address.clone();
        let log = oldest.stop().await?;
        ensure!(log.contains("stopped") && !log.contains("cut off"), "{log}");
        self.balancer.remove(&address);
        self.start_one().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_instances_are_replaced() -> Result<()> {
    let mut rig = Rig::start(DELAY).await?;
    let load = Load::start(&rig.balancer.address());
    for _ in 0..ROUNDS {
        rig.replace_one().await?;
        rig.replace_one().await?;
    }
    let tally = load.stop().await;
    assert_eq!(tally.failed, Vec::<String>::new(), "{:?}", tally.answered);
    assert_eq!(tally.answered.len(), 5, "{:?}", tally.answered);
    for (kind, answered) in &tally.answered {
        assert!(*answered > 2 * ROUNDS, "{kind}: only {answered}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_delay_requests_fail_and_the_load_notices() -> Result<()> {
    let mut rig = Rig::start("0s").await?;
    let load = Load::start(&rig.balancer.address());
    rig.replace_one().await?;
    rig.replace_one().await?;
    let tally = load.stop().await;
    assert!(!tally.failed.is_empty(), "{:?}", tally.answered);
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_half_sent_is_answered_and_its_connection_closed() -> Result<()> {
    let service = Service::start(&[]).await?;
    let mut stream = TcpStream::connect(&service.address).await?;
    let body = r#"{"theme":"dark","locale":"en-GB","seats":6}"#;
    let (first, rest) = body.split_at(10);
    let head = format!(
        "PUT /settings HTTP/1.1\r\nhost: a\r\nx-api-key: demo-acme\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{first}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    // Connections are accepted in order: once a later one is answered, the first is being read.
    service.ask(Request::get("/health/live")).await;
    let address = service.address.clone();
    let stopped = tokio::spawn(service.stop());
    // It accepts no more connections.
    tests::until(LIMIT, "the port to be closed", || async {
        Ok(TcpStream::connect(&address).await.is_err().then_some(()))
    })
    .await?;
    stream.write_all(rest.as_bytes()).await?;
    let mut stream = BufReader::new(stream);
    let stays = read_answer(&mut stream).await.context("the half-sent request")?;
    assert!(!stays, "the answer does not close the connection");
    let log = stopped.await??;
    assert!(!log.contains("cut off"), "{log}");
    Ok(())
}

#[tokio::test]
async fn readiness_fails_first_and_requests_are_still_answered() -> Result<()> {
    let service = Service::start(&[("SHUTDOWN_DELAY", "1h")]).await?;
    let address = service.address.clone();
    let ready = || Request::get("/health/ready");
    assert_eq!(service.ask(ready()).await.status, 200);
    service.signal().await?;
    let said = tests::until(LIMIT, "readiness to fail", || async {
        let answer = ready().send(&address).await?;
        Ok((answer.status == 503).then_some(answer))
    })
    .await?;
    assert_eq!(said.json()["status"], "stopping");
    let settings = Request::get("/settings").header("x-api-key", "demo-acme");
    assert_eq!(service.ask(settings).await.status, 200);
    assert_eq!(service.ask(Request::get("/health/live")).await.status, 200);
    // The second signal ends the wait.
    let log = service.stop().await?;
    assert!(log.contains("stopped"), "{log}");
    Ok(())
}
