//! Authorities and client certificates in files that are replaced while calls go on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cache_core::CacheClient as _;
use cache_core::config::{TlsConfig, TlsFiles};
use cache_valkey::ValkeyClient;
use tests::{Certificates, Identity, Server, ServerOptions, Tls, Version};

use crate::files::{Mount, Way};
use crate::load::Load;
use crate::{single, until_replaced};

/// Has the server use what it shows and trusts from now on.
async fn serve(server: &Server, ca: &str, identity: &Identity) -> Result<()> {
    let file = |name: &str| server.folder().join(name).display().to_string();
    let (ca_file, certificate, key) = (file("new-ca"), file("new-cert"), file("new-key"));
    std::fs::write(&ca_file, ca)?;
    std::fs::write(&certificate, &identity.certificate)?;
    std::fs::write(&key, &identity.key)?;
    let set = [
        "CONFIG",
        "SET",
        "tls-ca-cert-file",
        &ca_file,
        "tls-cert-file",
        &certificate,
        "tls-key-file",
        &key,
    ];
    anyhow::ensure!(
        server.call(&set).await?.text() == "OK",
        "the server refused the certificates"
    );
    Ok(())
}

async fn replaced(way: Way) -> Result<()> {
    let (old, new) = (Certificates::generate()?, Certificates::generate()?);
    let options = ServerOptions::new(Version::Valkey8).tls(Tls::new(&old).require_client_certificate());
    let server = Server::start(options).await?;
    let files = |ca: &str, client: &Identity| {
        [
            ("ca", ca.to_owned()),
            ("cert", client.certificate.clone()),
            ("key", client.key.clone()),
        ]
    };
    let put = |mount: &Mount, files: &[(&str, String)]| {
        let files: Vec<_> = files
            .iter()
            .map(|(name, content)| (*name, content.as_str()))
            .collect();
        mount.replace(&files)
    };
    let mount = Mount::new(way, &[])?;
    put(&mount, &files(&old.ca, &old.client))?;
    let mut config = single(&server)?.with_tls(TlsConfig::new().with_files(TlsFiles {
        ca: Some(mount.path("ca")),
        certificate: Some(mount.path("cert")),
        key: Some(mount.path("key")),
    }));
    config.pool_size = 2;
    config.max_connection_age = Some(Duration::from_secs(1));
    let client = Arc::new(ValkeyClient::connect(&config).await?);
    let load = Load::start(&client);

    let both = format!("{}{}", old.ca, new.ca);
    serve(&server, &both, &old.server).await?;
    put(&mount, &files(&both, &old.client))?;
    until_replaced(&server, "connections that trust both authorities").await?;
    // In the middle of writing: the new certificate with the old key.
    let half = [
        ("ca", both.clone()),
        ("cert", new.client.certificate.clone()),
        ("key", old.client.key.clone()),
    ];
    put(&mount, &half)?;
    until_replaced(
        &server,
        "connections although certificate and key do not fit together",
    )
    .await?;
    put(&mount, &files(&both, &new.client))?;
    serve(&server, &new.ca, &new.server).await?;
    until_replaced(
        &server,
        "connections with the new client certificate to the new server certificate",
    )
    .await?;
    put(&mount, &files(&new.ca, &new.client))?;
    until_replaced(&server, "connections that trust the new authority alone").await?;
    load.end_without_failure().await?;

    // The old authority is really gone.
    serve(&server, &old.ca, &old.server).await?;
    let error = ValkeyClient::connect(&config).await.err();
    assert!(error.is_some_and(|error| error.to_string().contains("CACHE_CA_CERT_BASE64")));
    client.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_swapped_by_a_link_fail_no_call() -> Result<()> {
    replaced(Way::Swap).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_written_into_their_files_fail_no_call() -> Result<()> {
    replaced(Way::Rewrite).await
}
