//! Checks that bytes are PEM of the right kind.
//!
//! The check runs before anything connects and shows no byte. Not in here: the content of the blocks, which
//! the TLS library reads.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::parse;

/// The expected content of a PEM text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One or more certificates and nothing else.
    Certificates,
    /// One private key, not encrypted.
    PrivateKey,
}

const KEYS: [&str; 3] = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];

/// Decodes `text`, which is PEM or base64 of PEM. Base64 may have line breaks, and line breaks of PEM may be
/// written as `\n`, as in one-line variables.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, &'static str> {
    if parse::is_quoted(text.trim()) {
        return Err(parse::QUOTES);
    }
    if text.contains("-----BEGIN ") {
        return Ok(text.replace("\\r", "").replace("\\n", "\n").into_bytes());
    }
    let packed: String = text.split_ascii_whitespace().collect();
    let decoded = STANDARD
        .decode(packed)
        .map_err(|_| "it is neither PEM nor base64")?;
    if is_der(&decoded) {
        return Err(DER);
    }
    Ok(decoded)
}

/// The problem of a certificate or a key in binary form.
pub(super) const DER: &str =
    "it is DER or PKCS #12, not PEM: convert it by openssl x509, openssl pkey or openssl pkcs12";

/// Whether `bytes` begin like a certificate or a key in binary form.
pub(super) fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x81..=0x84, ..])
}

/// Counts the blocks of the right kind in `pem`.
pub(super) fn check(pem: &[u8], kind: Kind) -> Result<usize, &'static str> {
    let text = std::str::from_utf8(pem).map_err(|_| "what is in the base64 is not PEM")?;
    if text.trim().is_empty() {
        return Err("it is empty");
    }
    let labels = blocks(text)?;
    match kind {
        Kind::Certificates if labels.iter().any(|label| label.ends_with("PRIVATE KEY")) => {
            Err("it holds a private key")
        }
        Kind::Certificates if labels.iter().any(|label| *label != "CERTIFICATE") => {
            Err("it holds blocks that are no certificates")
        }
        Kind::Certificates => Ok(labels.len()),
        Kind::PrivateKey
            if labels.contains(&"ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") =>
        {
            Err("the key is encrypted")
        }
        Kind::PrivateKey => match labels.iter().filter(|label| KEYS.contains(label)).count() {
            0 => Err("it holds no private key"),
            // `openssl ecparam` writes a block of parameters before the key.
            1 if labels
                .iter()
                .all(|label| KEYS.contains(label) || *label == "EC PARAMETERS") =>
            {
                Ok(1)
            }
            1 => Err("it holds more than the key"),
            _ => Err("it holds more than one key"),
        },
    }
}

/// The labels of the blocks, in order. Text between blocks is allowed, because `openssl` writes it.
fn blocks(text: &str) -> Result<Vec<&str>, &'static str> {
    let mut labels = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = line
            .strip_prefix("-----BEGIN ")
            .and_then(|rest| rest.strip_suffix("-----"))
        else {
            continue;
        };
        let mut body = String::new();
        loop {
            match lines.next() {
                None => return Err("a PEM block has no end"),
                Some(line) if line.starts_with("-----END ") => {
                    let end = line
                        .strip_prefix("-----END ")
                        .and_then(|rest| rest.strip_suffix("-----"));
                    if end != Some(label) {
                        return Err("a PEM block ends as another kind than it began");
                    }
                    break;
                }
                // Headers, as in `Proc-Type: 4,ENCRYPTED`.
                Some(line) if line.contains(':') => {}
                Some(line) => body.push_str(line),
            }
        }
        if body.is_empty() || STANDARD.decode(&body).is_err() {
            // An encrypted key of the old kind has headers and an intact body; this one is broken.
            return Err("a PEM block is broken");
        }
        labels.push(label);
    }
    if labels.is_empty() {
        Err("it holds no PEM block")
    } else {
        Ok(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(label: &str) -> String {
        format!("-----BEGIN {label}-----\nAAECAwQF\nBgcICQ==\n-----END {label}-----\n")
    }

    #[test]
    fn valid_blocks_are_counted() {
        let chain = format!("subject=x\n{}{}", block("CERTIFICATE"), block("CERTIFICATE"));
        assert_eq!(check(chain.as_bytes(), Kind::Certificates), Ok(2));
        for label in KEYS {
            assert_eq!(check(block(label).as_bytes(), Kind::PrivateKey), Ok(1));
        }
        let with_parameters = block("EC PARAMETERS") + &block("EC PRIVATE KEY");
        assert_eq!(check(with_parameters.as_bytes(), Kind::PrivateKey), Ok(1));
    }

    #[test]
    fn wrong_block_says_what_is_wrong() {
        let key = block("PRIVATE KEY");
        let certificate = block("CERTIFICATE");
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        for (pem, kind, part) in [
            (key.clone(), Kind::Certificates, "holds a private key"),
            (block("PUBLIC KEY"), Kind::Certificates, "no certificates"),
            (certificate.clone(), Kind::PrivateKey, "no private key"),
            (key.clone() + &key, Kind::PrivateKey, "more than one key"),
            (key + &certificate, Kind::PrivateKey, "more than the key"),
            (block("ENCRYPTED PRIVATE KEY"), Kind::PrivateKey, "encrypted"),
            (old.to_owned(), Kind::PrivateKey, "encrypted"),
            ("hello".to_owned(), Kind::Certificates, "no PEM block"),
            (" \n".to_owned(), Kind::Certificates, "empty"),
            (
                certificate.replace("END CERTIFICATE", "END PRIVATE KEY"),
                Kind::Certificates,
                "ends as another",
            ),
            (certificate.replace("AAEC", "A*EC"), Kind::Certificates, "broken"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n".to_owned(),
                Kind::Certificates,
                "no end",
            ),
        ] {
            let problem = check(pem.as_bytes(), kind).unwrap_err();
            assert!(problem.contains(part), "{pem}: {problem}");
        }
    }

    #[test]
    fn pem_is_accepted_plain_and_in_base64() {
        let pem = block("CERTIFICATE");
        assert_eq!(decode(&pem).unwrap(), pem.as_bytes());
        assert_eq!(decode(&STANDARD.encode(&pem)).unwrap(), pem.as_bytes());
        let one_line = pem.replace('\n', "\\n");
        assert_eq!(decode(&one_line).unwrap(), pem.as_bytes());
        assert_eq!(
            decode(&pem.replace('\n', "\r\n")).and_then(|pem| check(&pem, Kind::Certificates)),
            Ok(1)
        );
    }

    #[test]
    fn wrong_pem_form_is_named() {
        for (text, part) in [
            ("%%%".to_owned(), "neither PEM nor base64"),
            (STANDARD.encode([0x30, 0x82, 1, 0]), "DER or PKCS #12"),
            (format!("\"{}\"", block("CERTIFICATE")), "literal quotes"),
        ] {
            let problem = decode(&text).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
