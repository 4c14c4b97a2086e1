//! Certificates for tests, good ones and bad ones, made anew for each run.
//!
//! All is held in memory as PEM; a server writes what it needs into its own folder.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use serde::{Deserialize, Serialize};

/// Names and addresses that the good server certificate stands for.
const HOSTS: [&str; 9] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "127.0.0.2",
    "127.0.0.3",
    "127.0.0.4",
    "127.0.0.5",
    "127.0.0.6",
    "cache.test",
];

/// A certificate and its private key, both PEM.
#[derive(Clone, Serialize, Deserialize)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key (PKCS #8).
    pub key: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// One certificate authority with what it signed, and a second one that nobody trusts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Certificates {
    /// The authority's own certificate, PEM: what clients trust.
    pub ca: String,
    /// For servers: `localhost`, `127.0.0.1` to `127.0.0.6`, `::1`, `cache.test`.
    pub server: Identity,
    /// For clients.
    pub client: Identity,
    /// For servers at the right names; its validity has ended.
    pub expired: Identity,
    /// For a server of another name (`elsewhere.test`).
    pub wrong_host: Identity,
    /// The certificate of another authority, PEM.
    pub other_ca: String,
    /// For servers at the right names, signed by the other authority.
    pub other_server: Identity,
    /// For clients, signed by the other authority.
    pub other_client: Identity,
}

impl Certificates {
    /// Makes a fresh set.
    ///
    /// # Errors
    ///
    /// When the random source fails.
    pub fn generate() -> Result<Self> {
        let (ca, issuer) = authority("cache tests")?;
        let (other_ca, other_issuer) = authority("somebody else")?;
        let mut expired = params("expired", &HOSTS)?;
        expired.not_before = date_time_ymd(2020, 1, 1);
        expired.not_after = date_time_ymd(2020, 1, 2);
        Ok(Self {
            ca,
            server: sign(&params("server", &HOSTS)?, &issuer)?,
            client: sign(&params("client", &[])?, &issuer)?,
            expired: sign(&expired, &issuer)?,
            wrong_host: sign(&params("wrong host", &["elsewhere.test"])?, &issuer)?,
            other_ca,
            other_server: sign(&params("server", &HOSTS)?, &other_issuer)?,
            other_client: sign(&params("client", &[])?, &other_issuer)?,
        })
    }
}

/// Server certificates that people make by mistake, for the names of the good one unless it says otherwise.
#[derive(Clone, Debug)]
pub struct OddCertificates {
    /// The authority that signed them, PEM.
    pub ca: String,
    /// The authority's own certificate, shown by a server.
    pub authority: Identity,
    /// Valid from the year 2100 on.
    pub not_yet_valid: Identity,
    /// Good for clients only.
    pub for_clients: Identity,
    /// Without any subject alternative name.
    pub nameless: Identity,
    /// Signed by a certificate that is not one of an authority; the signer is sent along.
    pub by_a_server: Identity,
    /// Signed by an authority of the same name with another key.
    pub by_a_namesake: Identity,
}

impl OddCertificates {
    /// Makes a fresh set.
    ///
    /// # Errors
    ///
    /// When the random source fails.
    pub fn generate() -> Result<Self> {
        let mut own = params("cache tests", &HOSTS)?;
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let ca = own.self_signed(&key)?.pem();
        let authority = Identity {
            certificate: ca.clone(),
            key: key.serialize_pem(),
        };
        let issuer = Issuer::new(own, key);
        let mut not_yet_valid = params("early", &HOSTS)?;
        not_yet_valid.not_before = date_time_ymd(2100, 1, 1);
        not_yet_valid.not_after = date_time_ymd(2101, 1, 1);
        let mut for_clients = params("for clients", &HOSTS)?;
        for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let signer_params = params("signer", &HOSTS)?;
        let signer_key = KeyPair::generate()?;
        let signer = signer_params.signed_by(&signer_key, &issuer)?.pem();
        let mut by_a_server = sign(
            &params("signed", &HOSTS)?,
            &Issuer::new(signer_params, signer_key),
        )?;
        by_a_server.certificate.push_str(&signer);
        let (_, namesake) = self::authority("cache tests")?;
        let mut same_name = params("signed", &HOSTS)?;
        // Which key signed it is said by this extension alone.
        same_name.use_authority_key_identifier_extension = false;
        Ok(Self {
            ca,
            authority,
            not_yet_valid: sign(&not_yet_valid, &issuer)?,
            for_clients: sign(&for_clients, &issuer)?,
            nameless: sign(&params("nameless", &[])?, &issuer)?,
            by_a_server,
            by_a_namesake: sign(&same_name, &namesake)?,
        })
    }
}

fn authority(name: &str) -> Result<(String, Issuer<'static, KeyPair>)> {
    let mut params = params(name, &[])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.extended_key_usages.clear();
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    Ok((certificate, Issuer::new(params, key)))
}

/// Servers of a cluster are clients of each other, so every certificate is good for both.
fn params(name: &str, hosts: &[&str]) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn sign(params: &CertificateParams, issuer: &Issuer<'static, KeyPair>) -> Result<Identity> {
    let key = KeyPair::generate()?;
    Ok(Identity {
        certificate: params.signed_by(&key, issuer)?.pem(),
        key: key.serialize_pem(),
    })
}
