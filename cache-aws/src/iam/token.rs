//! One token: a presigned request for a connection, without its scheme.
//!
//! Not in here: where the AWS credentials come from.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningParams, SigningSettings, sign as sign_request,
};
use aws_sigv4::sign::v4;
use cache_core::{CacheError, Secret};
use tracing::subscriber::NoSubscriber;

use cache_core::config::IamService;

use super::signing_name;

/// How long a token can be used to log in. The services accept no other value.
const EXPIRES_IN: Duration = Duration::from_secs(900);

const SCHEME: &str = "https://";

/// The user and the cache. Nothing in it is secret.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) user: String,
    pub(super) cache: String,
    pub(super) region: String,
    pub(super) service: IamService,
    pub(super) serverless: bool,
}

/// Signs a token that is valid from `time`. The caller checks that `keys` have not expired.
pub(super) fn sign(subject: &Subject, keys: &Credentials, time: SystemTime) -> Result<Secret, CacheError> {
    let mut url = format!(
        "{SCHEME}{}/?Action=connect&User={}",
        subject.cache,
        percent_encoded(&subject.user)
    );
    if subject.serverless {
        url.push_str("&ResourceType=ServerlessCache");
    }
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(EXPIRES_IN);
    let identity = keys.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&subject.region)
        .name(signing_name(subject.service))
        .time(time)
        .settings(settings)
        .build()
        .map_err(|_| unsigned())?;
    let params = SigningParams::from(params);
    let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(b""))
        .map_err(|_| unsigned())?;
    // At level TRACE the signer logs what it signs, the session token included.
    let signed = tracing::subscriber::with_default(NoSubscriber::new(), || sign_request(request, &params));
    let (instructions, _signature) = signed.map_err(|_| unsigned())?.into_parts();
    let mut token = url.split_off(SCHEME.len());
    for (name, value) in instructions.params() {
        token.push('&');
        token.push_str(name);
        token.push('=');
        token.push_str(&percent_encoded(value));
    }
    Ok(Secret::from(token))
}

/// Encodes what goes into a query, as signatures require it: all but unreserved characters.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The signer's own error is left out: it may quote what it was given.
fn unsigned() -> CacheError {
    CacheError::Unauthorized {
        detail: "no IAM token could be signed; check the AWS credentials, CACHE_USERNAME and CACHE_IAM_CACHE_NAME for characters that no name has".into(),
        source: None,
    }
}
