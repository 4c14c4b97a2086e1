//! Certificates that no client accepts.

use anyhow::Result;
use cache_admin::Health;
use cache_core::config::TlsConfig;
use tests::{Certificates, Identity, Server, Tls};

use super::{examine, only, single, sound};

/// What the doctor says of a server that shows `identity`.
async fn seen_of(certificates: &Certificates, identity: &Identity) -> Result<String> {
    let server = Server::start(sound().tls(Tls::new(certificates).identity(identity))).await?;
    let tls = TlsConfig::new().with_ca_pem(certificates.ca.clone());
    let diagnosis = examine(single(&server.address())?.with_tls(tls)).await?;
    Ok(only(&diagnosis, "tls", Health::Fail))
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_explained_by_tls() -> Result<()> {
    let certificates = Certificates::generate()?;
    let expired = seen_of(&certificates, &certificates.expired).await?;
    assert!(
        expired.contains("has expired") && expired.contains("days ago"),
        "{expired}"
    );

    let wrong = seen_of(&certificates, &certificates.wrong_host).await?;
    assert!(
        wrong.contains("is not for 127.0.0.1") && wrong.contains("for elsewhere.test"),
        "{wrong}"
    );

    let foreign = seen_of(&certificates, &certificates.other_server).await?;
    assert!(
        foreign.contains("none of the authorities in CACHE_CA_CERT_BASE64")
            && foreign.contains("by CN=somebody else"),
        "{foreign}"
    );
    Ok(())
}
