//! Parses the URIs of secrets and KMS keys.
//!
//! Not in here: whether they exist.

use cache_core::{CacheError, ConfigError};

use crate::arn::Arn;

const SECRET_SCHEME: &str = "aws-secretsmanager://";
const KEY_SCHEME: &str = "aws-kms://";

const SECRET_FORMS: &str = "it must be aws-secretsmanager://NAME, aws-secretsmanager:///NAME/THAT/BEGINS/WITH/A/SLASH, or the secret's ARN";
const KEY_FORMS: &str = "it must be aws-kms://ARN with the ARN of a key or an alias, or aws-kms://alias/NAME, or aws-kms://KEY-ID";

/// An AWS resource named by a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// As the service accepts it: a name, an id or an ARN.
    pub(super) id: String,
    /// The region, if it is named by an ARN.
    pub(super) region: Option<String>,
}

impl Named {
    fn new(id: &str, region: Option<&str>) -> Self {
        Self {
            id: id.to_owned(),
            region: region.map(str::to_owned),
        }
    }

    pub(super) fn is_arn(&self) -> bool {
        self.region.is_some()
    }
}

/// Reads the URI of a secret.
pub(super) fn secret(uri: &str) -> Result<Named, CacheError> {
    let wrong = || ConfigError::one("CACHE_ENCRYPTION_KEYSET_URI", SECRET_FORMS).into();
    let id = uri.strip_prefix(SECRET_SCHEME).unwrap_or(uri);
    if id.starts_with("arn:") {
        let arn = Arn::parse(id)
            .filter(|arn| arn.service == "secretsmanager" && arn.resource.starts_with("secret:"));
        return arn.map(|arn| Named::new(id, Some(arn.region))).ok_or_else(wrong);
    }
    let is_name = |name: &str| {
        !name.is_empty()
            && name.len() <= 512
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"/_+=.@-".contains(&byte))
    };
    if id.len() == uri.len() || !is_name(id) || id == "/" {
        return Err(wrong());
    }
    Ok(Named::new(id, None))
}

/// Reads the URI of a KMS key.
pub(super) fn key(uri: &str) -> Result<Named, CacheError> {
    let wrong = || ConfigError::one("CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI", KEY_FORMS).into();
    let id = uri.strip_prefix(KEY_SCHEME).unwrap_or(uri);
    if id.starts_with("arn:") {
        let arn = Arn::parse(id).filter(|arn| {
            arn.service == "kms" && (arn.resource.starts_with("key/") || arn.resource.starts_with("alias/"))
        });
        return arn.map(|arn| Named::new(id, Some(arn.region))).ok_or_else(wrong);
    }
    let is_word = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte))
    };
    let is_alias = id.strip_prefix("alias/").is_some_and(is_word);
    let is_id = is_word(id) && !id.contains('/');
    if id.len() == uri.len() || !(is_alias || is_id) {
        return Err(wrong());
    }
    Ok(Named::new(id, None))
}

/// What to check if there is no secret of this name: in a URL parser's eyes the first part of
/// `aws-secretsmanager://app/env/keyset` is a host, so names lose or gain a slash on their way into a configuration.
pub(super) fn other_spelling(name: &Named) -> String {
    if name.is_arn() {
        return String::new();
    }
    match name.id.strip_prefix('/') {
        Some(rest) => format!("; a name without the slash at its start is written {SECRET_SCHEME}{rest}"),
        None => format!(
            "; a name that begins with a slash is written {SECRET_SCHEME}/{}",
            name.id
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_named_with_and_without_a_slash_and_by_arn() {
        let arn = "arn:aws:secretsmanager:eu-west-2:111122223333:secret:/app/env/keyset-AbCdEf";
        for (uri, id, region) in [
            ("aws-secretsmanager://keyset", "keyset", None),
            ("aws-secretsmanager://app/env/keyset", "app/env/keyset", None),
            ("aws-secretsmanager:///app/env/keyset", "/app/env/keyset", None),
            (&format!("aws-secretsmanager://{arn}"), arn, Some("eu-west-2")),
            (arn, arn, Some("eu-west-2")),
        ] {
            assert_eq!(secret(uri).unwrap(), Named::new(id, region), "{uri}");
        }
        for uri in [
            "keyset",
            "aws-secretsmanager://",
            "aws-secretsmanager:///",
            "aws-secretsmanager://a b",
            "aws-kms://alias/x",
            "arn:aws:kms:eu-west-2:1:key/x",
            "aws-secretsmanager://arn:aws:secretsmanager:eu-west-2",
        ] {
            let error = secret(uri).unwrap_err().to_string();
            assert!(error.contains("CACHE_ENCRYPTION_KEYSET_URI"), "{uri}: {error}");
        }
    }

    #[test]
    fn keys_are_named_by_arn_alias_and_id() {
        let arn = "arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
        let alias = "arn:aws:kms:eu-west-2:111122223333:alias/keysets";
        for (uri, id, region) in [
            (format!("aws-kms://{arn}"), arn, Some("eu-west-2")),
            (alias.to_owned(), alias, Some("eu-west-2")),
            ("aws-kms://alias/keysets".to_owned(), "alias/keysets", None),
            ("aws-kms://1234abcd-12ab".to_owned(), "1234abcd-12ab", None),
        ] {
            assert_eq!(key(&uri).unwrap(), Named::new(id, region), "{uri}");
        }
        for uri in [
            "alias/keysets",
            "aws-kms://",
            "aws-kms://alias/",
            "gcp-kms://x",
            "aws-kms://arn:aws:kms:x",
        ] {
            let error = key(uri).unwrap_err().to_string();
            assert!(
                error.contains("CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI"),
                "{uri}: {error}"
            );
        }
    }
}
