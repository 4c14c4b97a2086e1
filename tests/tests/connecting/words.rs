//! Certificates as people make them, shown by real servers: each mistake has words of its own that say what to do.

use anyhow::{Context as _, Result};
use cache_core::{CacheError, Unavailability};
use cache_valkey::ValkeyClient;
use tests::{Certificates, OddCertificates, Server, ServerOptions, Tls, Version};

use crate::{single, tls};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mistake_with_a_certificate_has_words_of_its_own() -> Result<()> {
    let good = Certificates::generate()?;
    let odd = OddCertificates::generate()?;
    let cases = [
        (
            "authority",
            &odd.authority,
            &odd.ca,
            "is that of an authority (CA:TRUE)",
        ),
        (
            "early",
            &odd.not_yet_valid,
            &odd.ca,
            "is not valid yet, it will be in ",
        ),
        ("expired", &good.expired, &good.ca, "has expired "),
        ("for clients", &odd.for_clients, &odd.ca, "is not for servers"),
        (
            "nameless",
            &odd.nameless,
            &odd.ca,
            "no host name or address as a subject alternative name",
        ),
        (
            "other name",
            &good.wrong_host,
            &good.ca,
            "it carries elsewhere.test; use a host name that it carries",
        ),
        (
            "by a server",
            &odd.by_a_server,
            &odd.ca,
            "is signed by a certificate that is not one of an authority",
        ),
        (
            "namesake",
            &odd.by_a_namesake,
            &odd.ca,
            "was not signed by its key",
        ),
        (
            "unknown",
            &good.other_server,
            &good.ca,
            "is signed by none of the authorities in CACHE_CA_CERT_BASE64",
        ),
    ];
    let mut told: Vec<String> = Vec::new();
    for (name, identity, ca, expected) in cases {
        let options = ServerOptions::new(Version::Valkey8).tls(Tls::new(&good).identity(identity));
        let server = Server::start(options).await?;
        let config = single(&server)?.with_tls(tls(ca, None));
        let error = ValkeyClient::connect(&config).await.err();
        let error = error.with_context(|| format!("{name} was accepted"))?;
        println!("{name:12} {error}");
        assert!(
            matches!(
                &error,
                CacheError::Unavailable {
                    reason: Unavailability::Tls,
                    ..
                }
            ),
            "{name}: {error:?}"
        );
        let text = error.to_string();
        assert!(text.contains(expected), "{name}: {text}");
        for term in [
            "Other",
            "OtherError",
            "UsedAs",
            "Context",
            "InvalidCertificate",
            "DnsName",
        ] {
            assert!(!text.contains(term), "{name}: {text}");
        }
        let shape: String = text.chars().filter(|sign| !sign.is_ascii_digit()).collect();
        assert!(!told.contains(&shape), "{name}: {text}");
        told.push(shape);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_says_of_a_client_certificate_is_told() -> Result<()> {
    let good = Certificates::generate()?;
    for tls_version in ["", "tls-protocols \"TLSv1.2\""] {
        let mut options =
            ServerOptions::new(Version::Valkey8).tls(Tls::new(&good).require_client_certificate());
        if !tls_version.is_empty() {
            options = options.line(tls_version);
        }
        let server = Server::start(options).await?;
        for (identity, expected) in [
            (None, "client certificate"),
            (
                Some(&good.other_client),
                "does not accept the client certificate in CACHE_CLIENT_CERT_BASE64",
            ),
            (
                Some(&good.expired),
                "does not accept the client certificate in CACHE_CLIENT_CERT_BASE64",
            ),
        ] {
            let config = single(&server)?.with_tls(tls(&good.ca, identity));
            let error = ValkeyClient::connect(&config)
                .await
                .err()
                .context("it was accepted")?;
            println!("{tls_version} {error}");
            assert!(
                matches!(
                    &error,
                    CacheError::Unavailable {
                        reason: Unavailability::Tls,
                        ..
                    }
                ),
                "{error:?}"
            );
            assert!(error.to_string().contains(expected), "{error}");
        }
        ValkeyClient::connect(&single(&server)?.with_tls(tls(&good.ca, Some(&good.client)))).await?;
    }
    Ok(())
}
