//! TLS over real sockets: certificates of servers and of clients, and files that change.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, State};
use axum::routing::get;
use cache_admin::access::Access;
use cache_admin::http::{Listener, ListenerOptions, Peer, TlsFiles};
use rcgen::SanType;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::authorities::{Authority, Identity};
use super::listening::{LIMIT, Served, ask, within};

const ACTORS: &str = "
[actors.deploy]
certificates = ['uri:spiffe://example/deploy']
grants = { list = [''] }

[actors.ops]
certificates = ['subject:CN=ops,O=Example']
grants = { list = [''] }

[actors.mail]
certificates = ['email:ops@example.test', 'dns:mail.example.test']
grants = { list = [''] }
";

const HEAD: &str = "GET /who HTTP/1.1\r\nHost: 127.0.0.1";

async fn who(State(access): State<Arc<Access>>, Extension(peer): Extension<Peer>) -> String {
    match access.authenticate(None, peer.certificate.as_ref()) {
        Ok(actor) => actor.name().to_owned(),
        Err(refused) => format!("{refused:?}"),
    }
}

fn write(folder: &Path, identity: &Identity) {
    std::fs::write(folder.join("certificate.pem"), &identity.certificate).expect("written");
    std::fs::write(folder.join("key.pem"), &identity.key).expect("written");
}

/// A listener with a certificate of `authority` that asks clients for those of `clients`.
async fn serve(authority: &Authority, clients: Option<&Authority>) -> (Served, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &authority.server());
    let client_authorities = clients.map(|clients| {
        let path = folder.path().join("clients.pem");
        std::fs::write(&path, &clients.pem).expect("written");
        path
    });
    let options = ListenerOptions::new()
        .with_handshake_timeout(Duration::from_secs(5))
        .with_reload_every(Duration::from_millis(20))
        .with_tls(TlsFiles {
            certificate: folder.path().join("certificate.pem"),
            key: folder.path().join("key.pem"),
            client_authorities,
        });
    let access = Arc::new(Access::from_toml(ACTORS).expect("actors"));
    let router = Router::new().route("/who", get(who)).with_state(access);
    let access = Access::from_toml(ACTORS).expect("actors");
    (Served::start(options, access, router).await, folder)
}

async fn name(served: &Served, authority: &Authority, identity: Option<&Identity>) -> String {
    let stream = match authority.connect(served.address, identity).await {
        Ok(stream) => stream,
        Err(error) => return format!("refused: {error}"),
    };
    let answer = ask(stream, HEAD).await;
    answer.rsplit("\r\n").next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_client_is_whom_its_certificate_names() {
    let authority = Authority::new();
    let (served, _folder) = serve(&authority, Some(&authority)).await;
    let uri = |uri: &str| SanType::URI(uri.try_into().unwrap());
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let deploy = authority.client("anything", vec![uri("spiffe://example/deploy")]);
    let ops = authority.client("ops", Vec::new());
    let mail = authority.client("anything", vec![dns("MAIL.example.test")]);
    assert_eq!(name(&served, &authority, Some(&deploy)).await, "deploy");
    assert_eq!(name(&served, &authority, Some(&ops)).await, "ops");
    assert_eq!(name(&served, &authority, Some(&mail)).await, "mail");
    for nobody in [
        authority.client("other", Vec::new()),
        authority.client("spiffe://example/deploy", vec![uri("spiffe://example/deploy/x")]),
        authority.client("anything", vec![dns("spiffe.example.test")]),
        // One value that reads like two.
        authority.client("ops,O=Example", Vec::new()),
        // Two actors at once are none.
        authority.client("ops", vec![uri("spiffe://example/deploy")]),
    ] {
        assert_eq!(name(&served, &authority, Some(&nobody)).await, "Unknown");
    }
    assert_eq!(name(&served, &authority, None).await, "Missing");
}

#[tokio::test]
async fn a_certificate_of_another_authority_does_not_get_through_the_handshake() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (served, _folder) = serve(&authority, Some(&authority)).await;
    let forged = other.client("ops", Vec::new());
    let answer = name(&served, &authority, Some(&forged)).await;
    assert!(answer.is_empty() || answer.starts_with("refused"), "{answer}");
    // And one that nobody asked for says nothing.
    let (served, _folder) = serve(&authority, None).await;
    assert_eq!(name(&served, &authority, Some(&forged)).await, "Missing");
}

#[tokio::test]
async fn what_speaks_no_tls_gets_nothing_and_disturbs_nobody() {
    let authority = Authority::new();
    let (served, _folder) = serve(&authority, None).await;
    let silent = TcpStream::connect(served.address).await.expect("it listens");
    let plain = TcpStream::connect(served.address).await.expect("it listens");
    assert!(!ask(plain, HEAD).await.contains("HTTP/1.1 200"));
    assert_eq!(name(&served, &authority, None).await, "Missing");
    drop(silent);
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_hung_up_on() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &authority.server());
    let options = ListenerOptions::new()
        .with_handshake_timeout(Duration::from_millis(100))
        .with_tls(TlsFiles {
            certificate: folder.path().join("certificate.pem"),
            key: folder.path().join("key.pem"),
            client_authorities: None,
        });
    let served = Served::start(options, Access::open(), Router::new()).await;
    let mut stream = TcpStream::connect(served.address).await.expect("it listens");
    let mut byte = [0];
    let read = within(tokio::io::AsyncReadExt::read(&mut stream, &mut byte)).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn a_certificate_that_was_replaced_is_taken_in_and_a_broken_one_is_not() {
    let (old, new) = (Authority::new(), Authority::new());
    let (served, folder) = serve(&old, None).await;
    assert_eq!(name(&served, &old, None).await, "Missing");
    std::fs::write(folder.path().join("certificate.pem"), "no certificate").expect("written");
    for _ in 0..20 {
        assert_eq!(name(&served, &old, None).await, "Missing");
    }
    // Between the two files it does not go together, and what was before holds.
    write(folder.path(), &new.server());
    let taken_in = async {
        while name(&served, &new, None).await != "Missing" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, taken_in)
        .await
        .expect("it is taken in");
    assert!(name(&served, &old, None).await.starts_with("refused"));
}

#[tokio::test]
async fn files_that_are_no_good_are_refused_by_name_and_not_shown() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &authority.server());
    let other = authority.server();
    std::fs::write(folder.path().join("other.pem"), &other.key).expect("written");
    std::fs::write(folder.path().join("text"), "s3cr3t").expect("written");
    for (certificate, key, clients, message) in [
        ("nowhere", "key.pem", None, "nowhere: cannot be read: "),
        ("certificate.pem", "nowhere", None, "nowhere: cannot be read: "),
        ("text", "key.pem", None, "text: holds no certificate in PEM"),
        (
            "certificate.pem",
            "text",
            None,
            "text: holds no private key in PEM",
        ),
        (
            "certificate.pem",
            "other.pem",
            None,
            "certificate.pem: does not go with the key",
        ),
        (
            "certificate.pem",
            "key.pem",
            Some("text"),
            "text: holds no certificate in PEM",
        ),
    ] {
        let files = TlsFiles {
            certificate: folder.path().join(certificate),
            key: folder.path().join(key),
            client_authorities: clients.map(|clients| folder.path().join(clients)),
        };
        let options = ListenerOptions::new().with_address("127.0.0.1:0".parse().unwrap());
        let bound = Listener::bind(&options.with_tls(files), &Arc::new(Access::open())).await;
        let error = bound.expect_err(message).to_string();
        assert!(error.contains(message), "{error}");
        assert!(
            !error.contains("s3cr3t") && !error.contains("PRIVATE KEY"),
            "{error}"
        );
    }
}
