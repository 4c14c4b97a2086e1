//! What a collector gets by OTLP.

#![cfg(feature = "otlp")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where its preparations fail"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheClient as _, MemoryCache};
use cache_layers::{Observed, ObservedConfig};
use cache_stack::telemetry::{Otlp, Telemetry};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;

/// Answers one request, and hands out its head and body.
fn collector() -> (String, std::thread::JoinHandle<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1/metrics", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while reader.read_line(&mut head).unwrap() > "\r\n".len() {}
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            })
            .expect("the length of the body");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        reader
            .get_mut()
            .write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n",
            )
            .unwrap();
        (head, body)
    });
    (endpoint, served)
}

// On one thread: the end of the exporter must not wait for the runtime that waits for it.
#[tokio::test]
async fn collector_receives_measurements() {
    let (endpoint, served) = collector();
    let telemetry = Telemetry::builder()
        .service("a-service")
        .otlp(
            Otlp::default()
                .endpoint(endpoint)
                .interval(Duration::from_secs(3_600)),
        )
        .install()
        .unwrap();
    let config = ObservedConfig::builder().build().unwrap();
    let cache = Observed::new(Arc::new(MemoryCache::default()), config);
    cache.get("key").await.unwrap_err();
    telemetry.shutdown().unwrap();

    let (head, body) = served.join().unwrap();
    assert!(head.starts_with("POST /v1/metrics HTTP/1.1\r\n"), "{head}");
    let request = ExportMetricsServiceRequest::decode(body.as_slice()).unwrap();
    let shown = format!("{request:?}");
    for part in ["a-service", "cache.operations", "cache.outcome", "miss"] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
}

#[tokio::test]
async fn invalid_setting_is_refused_by_name() {
    let refused =
        |builder: cache_stack::telemetry::TelemetryBuilder| builder.install().unwrap_err().to_string();
    assert_eq!(
        refused(Telemetry::builder()),
        "invalid exporter: takes at least one"
    );
    let error = refused(Telemetry::builder().otlp(Otlp::default().endpoint("no url")));
    assert!(error.starts_with("invalid endpoint: "), "{error}");
}
