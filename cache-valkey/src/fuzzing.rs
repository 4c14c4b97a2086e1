//! Entry points for fuzz targets, which cannot reach the wire otherwise. Only built with `--cfg fuzzing`.

use std::sync::Arc;
use std::time::Duration;

use crate::command::Command;
use crate::deadline::Deadline;
use crate::reply::Reply;
use crate::wire::{Events, Handshake, Protocol, Stream, Wire};

/// Parses `bytes` as a whole and in pieces of `piece` bytes. Both must give the same messages, or both must
/// fail.
pub fn parse(bytes: &[u8], piece: usize) {
    let whole = crate::wire::own_messages(bytes.chunks(bytes.len().max(1)));
    let cut = crate::wire::own_messages(bytes.chunks(piece.max(1)));
    assert_eq!(whole, cut);
}

struct Quiet;

impl Events for Quiet {
    fn on_push(&self, _kind: &str, _data: Vec<Reply>) {}

    fn on_closed(&self) {}
}

/// Sends `calls` calls, of which some are cancelled, to a server that answers with `bytes` in pieces of
/// `piece` bytes. Every call must end.
pub async fn drive(bytes: &[u8], piece: usize, calls: u8) {
    let (near, mut far) = tokio::io::duplex(256);
    let deadline = Deadline::after(Duration::from_millis(5));
    let answers: Vec<Vec<u8>> = bytes.chunks(piece.max(1)).map(<[u8]>::to_vec).collect();
    let server = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut answers = answers.into_iter();
        let mut buffer = [0; 512];
        if far.write_all(b"%0\r\n+OK\r\n+OK\r\n").await.is_err() {
            return;
        }
        while let Ok(read) = far.read(&mut buffer).await {
            let Some(answer) = answers.next().filter(|_| read > 0) else {
                return;
            };
            if far.write_all(&answer).await.is_err() {
                return;
            }
        }
    });
    let handshake = Handshake {
        username: None,
        password: None,
        client_name: None,
        protocol: Protocol::Resp3,
    };
    let opened = crate::wire::Connection::open(
        Wire::Own,
        Stream::Memory(near),
        &handshake,
        Arc::new(Quiet),
        deadline,
    );
    if let Ok((connection, _)) = opened.await {
        let get = Command::read("GET").key(b"k");
        let ttl = Command::read("PTTL").key(b"k");
        for call in 0..calls {
            let call = async {
                if call % 3 == 0 {
                    drop(connection.send_batch(&[&get, &ttl], deadline).await);
                } else {
                    drop(connection.send(&get, deadline).await);
                }
            };
            if piece % 5 == 1 {
                drop(tokio::time::timeout(Duration::from_millis(1), call).await);
            } else {
                call.await;
            }
        }
        assert_eq!(connection.traffic().in_flight(), 0);
    }
    server.abort();
}
