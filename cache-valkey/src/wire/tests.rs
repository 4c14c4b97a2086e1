//! What both implementations promise, against a server that a test plays.

use std::sync::Mutex;
use std::time::Duration;

use cache_core::{Outcome, Stage, Unavailability};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;

/// Hears everything and keeps it.
#[derive(Default)]
struct Heard {
    pushes: Mutex<Vec<String>>,
    ends: Mutex<u32>,
}

impl Events for Heard {
    fn on_push(&self, kind: &str, data: Vec<Reply>) {
        let words = data.iter().filter_map(Reply::as_text);
        let words: Vec<_> = std::iter::once(kind).chain(words).collect();
        self.pushes.lock().unwrap().push(words.join(" "));
    }

    fn on_closed(&self) {
        *self.ends.lock().unwrap() += 1;
    }
}

/// The server's end of a connection.
struct Peer {
    stream: DuplexStream,
}

impl Peer {
    /// Reads until `count` commands have come; their names are told apart by `*`.
    async fn read(&mut self, count: usize) -> String {
        let mut text = String::new();
        while text.matches('*').count() < count || !text.ends_with("\r\n") {
            let mut buffer = [0; 4096];
            let read = self.stream.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0, "the client hung up after {text:?}");
            text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        text
    }

    async fn write(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }
}

struct Wired {
    connection: Arc<Connection>,
    peer: Peer,
    heard: Arc<Heard>,
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

const HELLO: &str = "%1\r\n$6\r\nserver\r\n$6\r\nvalkey\r\n";

/// An open connection over `room` bytes of buffer.
async fn open(wire: Wire, room: usize) -> Wired {
    let (near, far) = duplex(room);
    let heard = Arc::new(Heard::default());
    let events: Arc<dyn Events> = Arc::clone(&heard) as _;
    let opening = tokio::spawn(async move {
        let handshake = Handshake {
            username: None,
            password: None,
            client_name: None,
            protocol: Protocol::Resp3,
        };
        Connection::open(wire, Stream::Memory(near), &handshake, events, soon()).await
    });
    let mut peer = Peer { stream: far };
    let mut opening = opening;
    let opened = loop {
        let mut buffer = [0; 4096];
        tokio::select! {
            opened = &mut opening => break opened.unwrap(),
            read = peer.stream.read(&mut buffer) => {
                let text = String::from_utf8_lossy(&buffer[..read.unwrap()]).into_owned();
                for command in text.split('*').skip(1) {
                    peer.write(if command.contains("HELLO") { HELLO } else { "+OK\r\n" }).await;
                }
            }
        }
    };
    let (connection, negotiated) = opened.expect("a handshake");
    assert!(matches!(negotiated, Negotiated::Resp3(Reply::Map(_))));
    Wired {
        connection: Arc::new(connection),
        peer,
        heard,
    }
}

fn get(
    connection: &Arc<Connection>,
    key: &'static str,
    deadline: Deadline,
) -> JoinHandle<Result<Reply, CacheError>> {
    let connection = Arc::clone(connection);
    tokio::spawn(async move {
        connection
            .send(&Command::read("GET").key(key.as_bytes()), deadline)
            .await
    })
}

fn bulk(text: &'static str) -> Reply {
    Reply::Bulk(text.into())
}

/// Makes each function a test of either wire.
macro_rules! on_both_wires {
    ($($name:ident),* $(,)?) => {
        mod own {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Wire::Own).await;
            })*
        }
        #[cfg(feature = "redis-wire")]
        mod redis {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Wire::Redis).await;
            })*
        }
    };
}

on_both_wires![
    replies_come_to_those_who_asked,
    a_caller_that_goes_away_shifts_no_reply,
    a_push_is_heard_before_the_reply_that_follows_it,
    a_batch_gets_a_reply_to_each_command,
    a_subscription_is_confirmed_and_its_messages_are_heard,
    after_the_end_every_caller_gets_an_error,
    what_is_no_protocol_ends_the_connection,
    a_call_ends_by_its_deadline_and_the_next_ones_go_on,
    a_closed_connection_takes_no_call,
];

async fn replies_come_to_those_who_asked(wire: Wire) {
    let Wired {
        connection, mut peer, ..
    } = open(wire, 4096).await;
    let first = get(&connection, "a", soon());
    peer.read(1).await;
    let second = get(&connection, "b", soon());
    peer.read(1).await;
    peer.write("$1\r\nA\r\n$").await;
    peer.write("1\r\nB\r\n").await;
    assert_eq!(first.await.unwrap().unwrap(), bulk("A"));
    assert_eq!(second.await.unwrap().unwrap(), bulk("B"));
    assert_eq!(connection.traffic().in_flight(), 0);
    assert!(!connection.traffic().is_abandoned());
}

async fn a_caller_that_goes_away_shifts_no_reply(wire: Wire) {
    let Wired {
        connection, mut peer, ..
    } = open(wire, 4096).await;
    let first = get(&connection, "a", soon());
    peer.read(1).await;
    let second = get(&connection, "b", soon());
    peer.read(1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert!(connection.traffic().is_abandoned());
    peer.write("$1\r\nA\r\n$1\r\nB\r\n").await;
    assert_eq!(second.await.unwrap().unwrap(), bulk("B"));
    let third = get(&connection, "c", soon());
    peer.read(1).await;
    peer.write("$1\r\nC\r\n").await;
    assert_eq!(third.await.unwrap().unwrap(), bulk("C"));
}

async fn a_push_is_heard_before_the_reply_that_follows_it(wire: Wire) {
    let Wired {
        connection,
        mut peer,
        heard,
    } = open(wire, 4096).await;
    let asked = get(&connection, "a", soon());
    peer.read(1).await;
    peer.write(">2\r\n$10\r\ninvalidate\r\n$1\r\na\r\n$1\r\nA\r\n")
        .await;
    assert_eq!(asked.await.unwrap().unwrap(), bulk("A"));
    assert_eq!(*heard.pushes.lock().unwrap(), ["invalidate a"]);
}

async fn a_batch_gets_a_reply_to_each_command(wire: Wire) {
    let Wired {
        connection, mut peer, ..
    } = open(wire, 4096).await;
    let known = Arc::clone(&connection);
    let asked = tokio::spawn(async move {
        let get = Command::read("GET").key(b"a");
        let ttl = Command::read("PTTL").key(b"a");
        known.send_batch(&[&get, &ttl, &get], soon()).await
    });
    peer.read(3).await;
    peer.write("$1\r\nA\r\n:-1\r\n-ERR no\r\n").await;
    let replies = asked.await.unwrap().unwrap();
    assert_eq!(replies[..2], [bulk("A"), Reply::Int(-1)]);
    assert!(matches!(&replies[2], Reply::Error(error) if error.code == "ERR"));
    assert_eq!(connection.send_batch(&[], soon()).await.unwrap(), []);
}

async fn a_subscription_is_confirmed_and_its_messages_are_heard(wire: Wire) {
    let Wired {
        connection,
        mut peer,
        heard,
    } = open(wire, 4096).await;
    let known = Arc::clone(&connection);
    let subscribed =
        tokio::spawn(async move { known.send(&Command::read("SUBSCRIBE").arg("news"), soon()).await });
    peer.read(1).await;
    peer.write(">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n").await;
    subscribed.await.unwrap().unwrap();
    let asked = get(&connection, "a", soon());
    peer.read(1).await;
    peer.write(">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n$1\r\nA\r\n")
        .await;
    assert_eq!(asked.await.unwrap().unwrap(), bulk("A"));
    assert!(
        heard
            .pushes
            .lock()
            .unwrap()
            .contains(&"message news hi".to_owned())
    );
}

async fn after_the_end_every_caller_gets_an_error(wire: Wire) {
    let Wired {
        connection,
        mut peer,
        heard,
    } = open(wire, 4096).await;
    let asked = get(&connection, "a", soon());
    peer.read(1).await;
    drop(peer);
    let error = asked.await.unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            CacheError::Unavailable {
                reason: Unavailability::Lost,
                outcome: Outcome::Unknown,
                ..
            }
        ),
        "{error}"
    );
    while *heard.ends.lock().unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    let error = get(&connection, "b", soon()).await.unwrap().unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
    assert!(connection.is_closed());
    drop(connection);
    tokio::task::yield_now().await;
    assert_eq!(*heard.ends.lock().unwrap(), 1);
}

async fn what_is_no_protocol_ends_the_connection(wire: Wire) {
    let Wired {
        connection, mut peer, ..
    } = open(wire, 4096).await;
    let asked = get(&connection, "a", soon());
    peer.read(1).await;
    peer.write("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let error = asked.await.unwrap().unwrap_err();
    assert!(matches!(error, CacheError::Corrupt { .. }), "{error}");
    while !connection.is_closed() {
        tokio::task::yield_now().await;
    }
}

async fn a_call_ends_by_its_deadline_and_the_next_ones_go_on(wire: Wire) {
    let Wired {
        connection, mut peer, ..
    } = open(wire, 4096).await;
    let late = get(&connection, "a", Deadline::after(Duration::from_millis(50)));
    let patient = get(&connection, "b", soon());
    let error = late.await.unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            CacheError::Timeout {
                stage: Stage::Reply,
                ..
            }
        ),
        "{error}"
    );
    peer.read(2).await;
    peer.write("$1\r\nA\r\n$1\r\nB\r\n").await;
    assert_eq!(patient.await.unwrap().unwrap(), bulk("B"));
}

async fn a_closed_connection_takes_no_call(wire: Wire) {
    let Wired {
        connection,
        mut peer,
        heard,
    } = open(wire, 4096).await;
    let asked = get(&connection, "a", soon());
    peer.read(1).await;
    connection.close();
    assert!(asked.await.unwrap().is_err());
    let error = get(&connection, "b", soon()).await.unwrap().unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
    while *heard.ends.lock().unwrap() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn unwritten_request_ends_as_not_applied() {
    // So little room that the second request cannot be written.
    let Wired { connection, peer, .. } = open(Wire::Own, 64).await;
    let first = get(
        &connection,
        "a-key-that-fills-what-there-is-of-the-buffer-and-a-bit-more",
        soon(),
    );
    while connection.traffic().moves() < 5 && connection.traffic().in_flight() < 1 {
        tokio::task::yield_now().await;
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let second = get(&connection, "b", soon());
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    drop(peer);
    assert_eq!(first.await.unwrap().unwrap_err().outcome(), Outcome::Unknown);
    assert_eq!(second.await.unwrap().unwrap_err().outcome(), Outcome::NotApplied);
}

#[tokio::test]
async fn server_without_hello_is_used_with_resp2() {
    let (near, far) = duplex(4096);
    let events: Arc<dyn Events> = Arc::new(Heard::default());
    let opening = tokio::spawn(async move {
        let handshake = Handshake {
            username: None,
            password: Some("hunter2"),
            client_name: None,
            protocol: Protocol::Resp3,
        };
        Connection::open(Wire::Own, Stream::Memory(near), &handshake, events, soon()).await
    });
    let mut peer = Peer { stream: far };
    let hello = peer.read(3).await;
    assert!(hello.contains("HELLO") && hello.contains("AUTH"), "{hello}");
    peer.write("-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' \r\n-ERR x\r\n-ERR x\r\n")
        .await;
    assert!(peer.read(1).await.starts_with("*2\r\n$4\r\nAUTH\r\n"));
    peer.write("+OK\r\n").await;
    assert!(peer.read(1).await.contains("PING"));
    peer.write("+PONG\r\n").await;
    let (_connection, negotiated) = opening.await.unwrap().unwrap();
    assert!(matches!(negotiated, Negotiated::Resp2));
}

#[tokio::test]
async fn error_before_hang_up_is_kept() {
    let (near, far) = duplex(4096);
    let events: Arc<dyn Events> = Arc::new(Heard::default());
    let mut peer = Peer { stream: far };
    peer.write("-ERR max number of clients reached\r\n").await;
    drop(peer);
    let handshake = Handshake {
        username: None,
        password: None,
        client_name: None,
        protocol: Protocol::Resp3,
    };
    let opened = Connection::open(Wire::Own, Stream::Memory(near), &handshake, events, soon()).await;
    match opened {
        Err(HandshakeError::Refused(error)) => assert_eq!(error.detail, "max number of clients reached"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn long_batch_is_sent_in_parts_with_replies_in_order() {
    let Wired {
        connection, mut peer, ..
    } = open(Wire::Own, 64 * 1024).await;
    let server = tokio::spawn(async move {
        let (mut number, mut text, mut most) = (0_u64, Vec::new(), 0);
        while number < 20_000 {
            let mut buffer = vec![0; 64 * 1024];
            let read = peer.stream.read(&mut buffer).await.unwrap();
            most = most.max(read);
            text.extend_from_slice(&buffer[..read]);
            let complete = text.windows(5).filter(|window| window == b"END\r\n").count();
            if let Some(end) = text.windows(5).rposition(|window| window == b"END\r\n") {
                text.drain(..end + 5);
            }
            let replies: String = (0..complete as u64)
                .map(|step| format!(":{}\r\n", number + step))
                .collect();
            number += complete as u64;
            peer.write(&replies).await;
        }
    });
    let value = format!("{}END", "x".repeat(100));
    let commands: Vec<_> = (0..20_000)
        .map(|_| Command::write("SET").key(b"k").arg(&value))
        .collect();
    let borrowed: Vec<_> = commands.iter().collect();
    let replies = connection.send_batch(&borrowed, soon()).await.unwrap();
    assert!(
        replies
            .into_iter()
            .enumerate()
            .all(|(place, reply)| reply == Reply::Int(i64::try_from(place).unwrap()))
    );
    server.await.unwrap();
}

#[tokio::test]
async fn partly_sent_batch_may_have_been_applied() {
    let Wired {
        connection, mut peer, ..
    } = open(Wire::Own, 64 * 1024).await;
    // Forty commands are eight parts, which are under way at once. The server answers them and is gone.
    let server = tokio::spawn(async move {
        let (mut seen, mut text) = (0, Vec::new());
        while seen < 40 {
            let mut buffer = vec![0; 64 * 1024];
            let read = peer.stream.read(&mut buffer).await.unwrap();
            text.extend_from_slice(&buffer[..read]);
            seen = text.windows(5).filter(|window| window == b"END\r\n").count();
        }
        peer.write(&"+OK\r\n".repeat(40)).await;
    });
    let value = format!("{}END", "x".repeat(60_000));
    let commands: Vec<_> = (0..50)
        .map(|_| Command::write_once("SET").key(b"k").arg(&value))
        .collect();
    let borrowed: Vec<_> = commands.iter().collect();
    let error = connection.send_batch(&borrowed, soon()).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    server.await.unwrap();
}

#[tokio::test]
async fn stalled_server_keeps_calls_by_reference_until_deadline() {
    let Wired { connection, peer, .. } = open(Wire::Own, 1024).await;
    let value = bytes::Bytes::from(vec![b'v'; 60 * 1024]);
    let deadline = Deadline::after(Duration::from_millis(300));
    let calls: Vec<_> = (0..500)
        .map(|_| {
            let (connection, value) = (Arc::clone(&connection), value.clone());
            tokio::spawn(async move {
                connection
                    .send(&Command::write("SET").key(b"k").value(&value), deadline)
                    .await
            })
        })
        .collect();
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert!(matches!(error, CacheError::Timeout { .. }), "{error}");
    }
    assert_eq!(connection.traffic().in_flight(), 0);
    drop(peer);
}
