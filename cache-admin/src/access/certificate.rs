//! Who a client certificate stands for. Whether it is to be trusted was decided before, in the TLS handshake.

use std::fmt::Write as _;

use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};

/// The names that a client certificate carries, each with its kind: `subject:CN=deploy,O=Example`,
/// `dns:deploy.example`, `uri:spiffe://example/deploy`, `email:ops@example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateIdentity {
    names: Vec<String>,
}

impl CertificateIdentity {
    /// The names in a certificate, in DER; `None` where it cannot be read.
    #[must_use]
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut names = Vec::new();
        names.extend(subject(certificate.subject()));
        let alternatives = certificate.subject_alternative_name().ok()?;
        for name in alternatives.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => names.push(format!("dns:{}", name.to_ascii_lowercase())),
                GeneralName::URI(uri) => names.push(format!("uri:{uri}")),
                GeneralName::RFC822Name(address) => names.push(format!("email:{address}")),
                _ => {}
            }
        }
        Some(Self { names })
    }

    /// The names, the subject first.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// The subject in the order of the certificate, with `\` before what would end a value: without it, a value could
/// pass for several.
fn subject(subject: &X509Name<'_>) -> Option<String> {
    let mut text = String::from("subject:");
    for (number, attribute) in subject.iter_attributes().enumerate() {
        let kind = oid2abbrev(attribute.attr_type(), oid_registry()).ok()?;
        let value = attribute.as_str().ok()?;
        // Writing to a text does not fail.
        let _ = write!(text, "{}{kind}=", if number > 0 { "," } else { "" });
        for character in value.chars() {
            if matches!(character, ',' | '+' | '\\' | '=') {
                text.push('\\');
            }
            text.push(character);
        }
    }
    (text != "subject:").then_some(text)
}

/// Whether `name` is of a form that a certificate can match.
pub(super) fn is_name(name: &str) -> bool {
    ["subject:", "dns:", "uri:", "email:"]
        .iter()
        .any(|kind| name.strip_prefix(kind).is_some_and(|rest| !rest.is_empty()))
}
