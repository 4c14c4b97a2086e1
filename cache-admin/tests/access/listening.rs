//! The listener over real sockets: who knocks, who trickles, who comes in numbers, and the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use axum::routing::{get, post};
use cache_admin::access::{Access, Token};
use cache_admin::http::{AdminService, Listener, ListenerOptions, Peer};
use cache_core::clock;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

/// How long a test waits for what must happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A listener that is being served.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn start(options: ListenerOptions, access: Access, router: Router) -> Self {
        let options = options.with_address("127.0.0.1:0".parse().unwrap());
        let listener = Listener::bind(&options, &Arc::new(access))
            .await
            .expect("it may listen");
        let address = listener.address();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(listener.serve(router, async {
            let _ = stopped.await;
        }));
        Self { address, stop, task }
    }

    async fn end(self) {
        let _ = self.stop.send(());
        within(self.task).await.expect("no panic");
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("it listens")
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .expect("it takes too long")
}

/// Sends a request, and reads all there is to its end.
pub(crate) async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str) -> String {
    let request = format!("{head}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("written");
    rest(stream).await
}

async fn rest(mut stream: impl AsyncRead + Unpin) -> String {
    let mut answer = Vec::new();
    // A peer that ends without a goodbye has said all the same what it said.
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn peer(Extension(peer): Extension<Peer>) -> String {
    format!("{} {:?}", peer.client(), peer.forwarded)
}

pub(crate) fn router() -> Router {
    Router::new()
        .route("/peer", get(peer))
        .route("/echo", post(async |body: String| body))
}

fn options() -> ListenerOptions {
    ListenerOptions::new()
}

const GET: &str = "GET /peer HTTP/1.1\r\nHost: 127.0.0.1";

#[tokio::test]
async fn a_request_says_who_sent_it_and_a_header_is_believed_of_a_proxy_only() {
    let head = format!("{GET}\r\nX-Forwarded-For: 9.9.9.9, 8.8.8.8");
    let served = Served::start(options(), Access::open(), router()).await;
    let answer = ask(served.connect().await, &head).await;
    assert!(answer.ends_with("127.0.0.1 None"), "{answer}");
    served.end().await;

    let actors = "[actors.a]\ngrants = {}\ncertificates = ['dns:x']";
    let access = Access::from_toml(actors).expect("actors");
    let served = Served::start(options().behind_proxy(true), access, router()).await;
    let answer = ask(served.connect().await, &head).await;
    assert!(answer.ends_with("8.8.8.8 Some(8.8.8.8)"), "{answer}");
    served.end().await;
}

#[tokio::test]
async fn who_sends_no_whole_head_is_hung_up_on() {
    let options = options().with_header_timeout(Duration::from_millis(100));
    let served = Served::start(options, Access::open(), router()).await;
    for beginning in ["", "GET /peer HTTP/1.1\r\nHost: 127"] {
        let mut stream = served.connect().await;
        stream.write_all(beginning.as_bytes()).await.expect("written");
        let answer = rest(stream).await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }
    served.end().await;
}

#[tokio::test]
async fn who_sends_no_whole_body_is_not_waited_for() {
    let options = options().with_header_timeout(Duration::from_millis(100));
    let served = Served::start(options, Access::open(), router()).await;
    let mut stream = served.connect().await;
    let head = "POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\nhalf";
    stream.write_all(head.as_bytes()).await.expect("written");
    let answer = rest(stream).await;
    assert!(!answer.contains("200 OK"), "{answer}");
    served.end().await;
}

#[tokio::test]
async fn a_head_that_never_ends_does_not_fill_the_memory() {
    let served = Served::start(options(), Access::open(), router()).await;
    let mut stream = served.connect().await;
    let line = format!("X-Long: {}\r\n", "x".repeat(8_000));
    let mut sent = 0_usize;
    let _ = stream.write_all(format!("{GET}\r\n").as_bytes()).await;
    // The other end hangs up long before.
    while stream.write_all(line.as_bytes()).await.is_ok() {
        sent += line.len();
        assert!(sent < 64 * 1024 * 1024, "{sent} bytes of head were taken");
    }
    served.end().await;
}

#[tokio::test]
async fn a_connection_without_a_login_makes_room_for_another_one() {
    let options = options().with_max_connections(1);
    let served = Served::start(options, Access::open(), router()).await;
    let mut first = served.connect().await;
    first
        .write_all(format!("{GET}\r\n\r\n").as_bytes())
        .await
        .expect("written");
    let mut byte = [0];
    within(first.read_exact(&mut byte)).await.expect("an answer");
    // The router has no gate: the first is nobody that is known.
    let answer = within(ask(served.connect().await, GET)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let mut left = Vec::new();
    within(first.read_to_end(&mut left)).await.ok();
    served.end().await;
}

/// Clients that ask for much and read nothing hold all connections there may be.
#[tokio::test]
async fn slow_readers_do_not_keep_out_those_who_log_in() {
    let token = Token::generate().expect("chance");
    let text = format!(
        "[actors.jo]\ntokens = [{{ hash = \"{}\" }}]\ngrants = {{ list = [\"\"] }}\n",
        token.hash()
    );
    let access = Arc::new(Access::from_toml(&text).expect("actors"));
    let stack = cache_stack::assemble(&cache_core::CacheConfig::default())
        .await
        .expect("a stack");
    let service = AdminService::builder(&stack)
        .access(access)
        .build()
        .await
        .expect("a service");
    let options = options()
        .with_address("127.0.0.1:0".parse().unwrap())
        .with_max_connections(40);
    let listener = service.listen(&options).await.expect("it may listen");
    let address = listener.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = service.clone();
    let task = tokio::spawn(async move {
        let stopped = async { drop(stopped.await) };
        serving.serve(listener, stopped).await;
    });
    let authenticated = format!(
        "GET /cache HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\nAuthorization: Bearer {}",
        token.expose()
    );
    let mut slow = Vec::new();
    for _ in 0..60 {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let _ = stream
            .write_all(&b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(20))
            .await;
        slow.push(stream);
    }
    let began = clock::now();
    let stream = TcpStream::connect(address).await.expect("it listens");
    let answer = within(ask(stream, &authenticated)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // Ten seconds, where it had to wait for one of them to be given up.
    assert!(
        (clock::now() - began) < Duration::from_secs(5),
        "{:?}",
        (clock::now() - began)
    );
    let began = clock::now();
    let _ = stop.send(());
    within(task).await.expect("no panic");
    assert!(
        (clock::now() - began) < Duration::from_secs(9),
        "{:?}",
        (clock::now() - began)
    );
    drop(slow);
}

#[tokio::test]
async fn at_the_end_what_is_under_way_is_answered_and_nothing_new_is_taken() {
    let (begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (Arc::clone(&begun), Arc::clone(&release));
    let slow = move || async move {
        tell.notify_one();
        wait.notified().await;
        "late"
    };
    let served = Served::start(options(), Access::open(), Router::new().route("/slow", get(slow))).await;
    let idle = served.connect().await;
    let address = served.address;
    let mut stream = served.connect().await;
    stream
        .write_all(b"GET /slow HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await
        .expect("written");
    within(begun.notified()).await;
    let ending = tokio::spawn(served.end());
    within(async {
        // Until nobody is there any more.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!ending.is_finished());
    release.notify_one();
    let answer = rest(stream).await;
    assert!(answer.ends_with("late"), "{answer}");
    assert_eq!(rest(idle).await, "");
    within(ending).await.expect("it ends");
}

#[tokio::test]
async fn who_does_not_end_is_cut_after_a_while() {
    let options = options().with_shutdown_timeout(Duration::from_millis(100));
    let forever = Router::new().route("/peer", get(std::future::pending::<()>));
    let served = Served::start(options, Access::open(), forever).await;
    let mut stream = served.connect().await;
    stream
        .write_all(format!("{GET}\r\n\r\n").as_bytes())
        .await
        .expect("written");
    served.end().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_to_be() {
    let served = Served::start(options(), Access::open(), router()).await;
    let taken = options().with_address(served.address);
    let error = Listener::bind(&taken, &Arc::new(Access::open()))
        .await
        .expect_err("taken");
    assert!(
        error
            .to_string()
            .starts_with(&format!("address {}: ", served.address)),
        "{error}"
    );
    served.end().await;
    let public = options().with_address("0.0.0.0:0".parse().unwrap());
    let error = Listener::bind(&public, &Arc::new(Access::open()))
        .await
        .expect_err("not allowed");
    assert!(error.to_string().contains("without authentication"), "{error}");
}
