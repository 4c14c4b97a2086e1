//! Everything that can be wrong between a configuration and a server: each a kind and a text of its own that
//! says what to do, none with a secret in it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::{CacheClient as _, CacheError, Ttl, Unavailability};
use cache_valkey::ValkeyClient;
use tests::{Certificates, Cluster, ClusterOptions, Server, ServerOptions, Tls, Version, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::setup::{LIMIT, everything, login, single, tls};

const RIGHT: &str = "open-sesame-2718";
const WRONG: &str = "let-me-in-3141";

/// One thing that is wrong, what came of it, and what the text must name.
struct Case {
    name: &'static str,
    error: CacheError,
    kind: &'static str,
    names: &'static str,
}

async fn refused(config: &ValkeyConfig) -> Result<CacheError> {
    ValkeyClient::connect(config)
        .await
        .err()
        .context("the client connected")
}

async fn plain(options: ServerOptions) -> Result<(Server, ValkeyConfig)> {
    let server = Server::start(options).await?;
    let config = single(&server.address())?;
    Ok((server, config))
}

/// A server that speaks HTTP.
async fn web_server() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                if stream.read(&mut request).await.is_ok() {
                    // The client may have hung up.
                    let _ = stream
                        .write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
                        .await;
                }
            });
        }
    });
    Ok(address)
}

async fn authentication() -> Result<Vec<Case>> {
    let options = ServerOptions::new(Version::Valkey8)
        .password(RIGHT)
        .user(&format!("narrow on >{RIGHT} ~* +@connection +set"));
    let (_server, mut config) = plain(options).await?;
    let mut cases = vec![Case {
        name: "no password given",
        error: refused(&config).await?,
        kind: "unauthorized",
        names: "set CACHE_PASSWORD",
    }];
    config.authentication = login(None, WRONG);
    cases.push(Case {
        name: "wrong password",
        error: refused(&config).await?,
        kind: "unauthorized",
        names: "check CACHE_USERNAME and CACHE_PASSWORD",
    });
    config.authentication = login(Some("narrow"), RIGHT);
    let narrow = ValkeyClient::connect(&config).await?;
    narrow.set("key", "value".into(), Ttl::Forever).await?;
    cases.push(Case {
        name: "missing permission",
        error: narrow.get("key").await.err().context("it was allowed")?,
        kind: "denied",
        names: "may not run GET",
    });
    config.authentication = login(None, RIGHT);
    if let Topology::Single { db, .. } = &mut config.topology {
        *db = 99;
    }
    cases.push(Case {
        name: "database out of range",
        error: refused(&config).await?,
        kind: "config",
        names: "CACHE_DB",
    });
    Ok(cases)
}

async fn certificates() -> Result<Vec<Case>> {
    let made = Certificates::generate()?;
    let node = || ServerOptions::new(Version::Valkey8);
    let good = tls(Some(&made.ca), None);
    let (_secure, mut config) = plain(node().tls(Tls::new(&made))).await?;
    config.tls = Some(good.clone());
    ValkeyClient::connect(&config).await?.ping().await?;

    config.tls = None;
    let mut cases = vec![Case {
        name: "plain text to a TLS port",
        error: refused(&config).await?,
        kind: "unavailable",
        names: "CACHE_TLS_ENABLED=true",
    }];
    for (name, ca) in [
        ("TLS without the authority", None),
        ("TLS with another authority", Some(&made.other_ca)),
    ] {
        config.tls = Some(tls(ca.map(String::as_str), None));
        cases.push(Case {
            name,
            error: refused(&config).await?,
            kind: "unavailable",
            names: "CACHE_CA_CERT_BASE64",
        });
    }
    for (name, identity, names) in [
        ("wrong host name", &made.wrong_host, "is not for 127.0.0.1"),
        ("expired certificate", &made.expired, "has expired"),
    ] {
        let (_server, mut config) = plain(node().tls(Tls::new(&made).identity(identity))).await?;
        config.tls = Some(good.clone());
        cases.push(Case {
            name,
            error: refused(&config).await?,
            kind: "unavailable",
            names,
        });
    }
    let strict = Tls::new(&made).require_client_certificate();
    let (_strict, mut config) = plain(node().tls(strict)).await?;
    config.tls = Some(good.clone());
    cases.push(Case {
        name: "client certificate missing",
        error: refused(&config).await?,
        kind: "unavailable",
        names: "set CACHE_CLIENT_CERT_BASE64",
    });
    config.tls = Some(tls(Some(&made.ca), Some(&made.other_client)));
    cases.push(Case {
        name: "client certificate of a stranger",
        error: refused(&config).await?,
        kind: "unavailable",
        names: "does not accept the client certificate",
    });
    config.tls = Some(tls(Some(&made.ca), Some(&made.client)));
    ValkeyClient::connect(&config).await?.ping().await?;

    let (_plain, mut config) = plain(node()).await?;
    config.tls = Some(good);
    config.dial_timeout = Duration::from_secs(1);
    cases.push(Case {
        name: "TLS to a plain-text port",
        error: refused(&config).await?,
        kind: "unavailable",
        names: "does not answer the TLS handshake",
    });
    let mut broken = single("127.0.0.1:1")?;
    broken.tls = Some(tls(Some("no certificate at all"), None));
    cases.push(Case {
        name: "authority that is no certificate",
        error: refused(&broken).await?,
        kind: "config",
        names: "CACHE_CA_CERT_BASE64",
    });
    Ok(cases)
}

async fn places() -> Result<Vec<Case>> {
    let cluster = Cluster::start(ClusterOptions::new(2, 0)).await?;
    let (gone, gone_config) = plain(ServerOptions::new(Version::Valkey8)).await?;
    gone.kill()?;
    Ok(vec![
        Case {
            name: "a cluster's node in single mode",
            error: refused(&single(&cluster.node(0).address())?).await?,
            kind: "config",
            names: "CACHE_MODE=cluster",
        },
        Case {
            name: "nothing listens there",
            error: refused(&gone_config).await?,
            kind: "unavailable",
            names: "connection refused",
        },
        Case {
            name: "a web server",
            error: refused(&single(&web_server().await?)?).await?,
            kind: "unavailable",
            names: "does not speak the Redis protocol",
        },
        Case {
            name: "a name that does not resolve",
            error: refused(&single("cache.invalid:6379")?).await?,
            kind: "unavailable",
            names: "the host name does not resolve",
        },
    ])
}

#[tokio::test]
async fn every_wrong_connection_has_an_error_of_its_own_that_says_what_to_do() -> Result<()> {
    let mut cases = authentication().await?;
    cases.extend(certificates().await?);
    cases.extend(places().await?);
    for case in &cases {
        println!("{:32} | {:12} | {}", case.name, case.error.kind(), case.error);
    }
    for (index, case) in cases.iter().enumerate() {
        let text = case.error.to_string();
        assert_eq!(case.error.kind(), case.kind, "{}: {text}", case.name);
        assert!(text.contains(case.names), "{}: {text}", case.name);
        assert!(
            !text.contains('\n') && !text.ends_with('.'),
            "{}: {text}",
            case.name
        );
        for secret in [RIGHT, WRONG, "PRIVATE KEY"] {
            assert!(!everything(&case.error).contains(secret), "{}", case.name);
        }
        for other in &cases[index + 1..] {
            assert_ne!(
                shape(&text),
                shape(&other.error.to_string()),
                "{} and {}",
                case.name,
                other.name
            );
        }
    }
    Ok(())
}

/// A text without its numbers, so that two ports do not make two texts.
fn shape(text: &str) -> String {
    text.chars().filter(|sign| !sign.is_ascii_digit()).collect()
}

#[tokio::test]
async fn a_user_that_is_taken_away_and_given_back_is_noticed_both_times() -> Result<()> {
    let options = ServerOptions::new(Version::Valkey8).user(&format!("app on >{RIGHT} ~* +@all"));
    let (server, mut config) = plain(options).await?;
    config.authentication = login(Some("app"), RIGHT);
    let client = ValkeyClient::connect(&config).await?;
    client.set("key", "value".into(), Ttl::Forever).await?;

    // The server ends the user's connections.
    server.call(&["ACL", "DELUSER", "app"]).await?;
    let error = until(LIMIT, "the client to be turned away", || async {
        Ok(match client.get("key").await {
            Err(error @ CacheError::Unauthorized { .. }) => Some(error),
            _ => None,
        })
    })
    .await?;
    assert!(!everything(&error).contains(RIGHT));
    let late = ValkeyClient::connect(&config).await.unwrap_err();
    assert!(matches!(late, CacheError::Unauthorized { .. }), "{late}");

    let password = format!(">{RIGHT}");
    server
        .call(&["ACL", "SETUSER", "app", "on", &password, "~*", "+@all"])
        .await?;
    until(LIMIT, "the client to be let in again", || async {
        Ok(client.get("key").await.ok())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_does_not_fit_is_not_worth_trying_again() -> Result<()> {
    let made = Certificates::generate()?;
    let server = Server::start(ServerOptions::new(Version::Valkey8).tls(Tls::new(&made))).await?;
    let mut config = single(&server.address())?;
    config.tls = Some(tls(Some(&made.other_ca), None));
    let error = refused(&config).await?;
    assert!(!error.is_transient());
    assert!(
        matches!(
            &error,
            CacheError::Unavailable {
                reason: Unavailability::Tls,
                ..
            }
        ),
        "{error}"
    );
    Ok(())
}
