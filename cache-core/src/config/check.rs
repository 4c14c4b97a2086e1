//! Checks a configuration, whatever its source.
//!
//! A problem names the newest variable that sets the value. Not in here: problems of written settings that
//! the types rule out (`resolve`).

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::reference::{self as var, Variable};
use super::{
    Address, Authentication, CacheConfig, DynamoDbConfig, KeysetLocation, MemoryConfig, NearTracking,
    Problem, SentinelTls, TlsConfig, Topology, ValkeyConfig, address, pem,
};

const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);
const NEAR_LIVES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(365 * 24 * 3600);
const CONNECTION_AGES: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(365 * 24 * 3600);
const REFRESHES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
const POOL_SIZES: RangeInclusive<u32> = 1..=1000;
const RETRIES: RangeInclusive<u32> = 0..=100;
/// Below this, the overhead of one entry fills the limit and every write fails.
const MIN_BYTES: u64 = 1024;
const MAX_PREFIX_LEN: usize = 1024;

/// Whether a configuration without an address is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addresses {
    Required,
    SuppliedLater,
}

/// Checks everything except the backend.
pub(super) fn around(config: &CacheConfig, problems: &mut Vec<Problem>) {
    let mut check = Check { problems };
    if let Some(prefix) = &config.key_prefix {
        let clean = !prefix.chars().any(|c| c.is_control() || matches!(c, '{' | '}'));
        check.form(&var::KEY_PREFIX, clean && prefix.len() <= MAX_PREFIX_LEN);
    }
    if let Some(timeout) = config.op_timeout {
        check.form(&var::OP_TIMEOUT, TIMEOUTS.contains(&timeout));
    }
    if let Some(near) = &config.near {
        check.form(&var::L1_MAX_BYTES, near.max_bytes >= MIN_BYTES);
        check.form(&var::L1_MAX_ENTRIES, near.max_entries > 0);
        check.form(&var::L1_TTL, NEAR_LIVES.contains(&near.ttl));
        if near.tracking == NearTracking::Broadcast && config.key_prefix.as_ref().is_none_or(String::is_empty)
        {
            // Otherwise every write of every other client of the servers would be reported here, with its
            // key.
            check.push(&var::L1_TRACKING, "broadcast needs CACHE_KEY_PREFIX".to_owned());
        }
    }
    if let Some(encryption) = &config.encryption {
        check.form(&var::ENCRYPTION_REFRESH, REFRESHES.contains(&encryption.refresh));
        match &encryption.keyset {
            KeysetLocation::File { path } => {
                check.form(&var::ENCRYPTION_KEYSET_FILE, !path.as_os_str().is_empty());
            }
            KeysetLocation::Envelope {
                keyset_uri,
                kms_key_uri,
            } => {
                check.form(&var::ENCRYPTION_KEYSET_URI, is_uri(keyset_uri));
                check.form(&var::ENCRYPTION_KMS_ENVELOPE_KEY_URI, is_uri(kms_key_uri));
            }
        }
    }
    if let Some(secret) = &config.secret {
        check.form(&var::SECRET_ARN, is_secret_arn(&secret.arn));
        check.form(&var::USERNAME, secret.username.as_deref().is_none_or(is_word));
        if let Some(tls) = &secret.tls {
            check.tls(tls);
        }
    }
}

pub(super) fn memory(config: &MemoryConfig, problems: &mut Vec<Problem>) {
    let mut check = Check { problems };
    check.form(&var::MEMORY_MAX_BYTES, config.max_bytes >= MIN_BYTES);
    check.form(&var::MEMORY_MAX_ENTRIES, config.max_entries > 0);
}

pub(super) fn dynamodb(config: &DynamoDbConfig, problems: &mut Vec<Problem>) {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let table = &config.table;
    Check { problems }.form(
        &var::DYNAMODB_TABLE,
        (3..=255).contains(&table.len()) && table.bytes().all(sound),
    );
}

pub(super) fn valkey(config: &ValkeyConfig, addresses: Addresses, problems: &mut Vec<Problem>) {
    let mut check = Check { problems };
    check.addresses(config.topology.addresses(), addresses);
    if let Topology::Sentinel {
        master,
        username,
        password,
        ..
    } = &config.topology
    {
        check.form(&var::SENTINEL_USERNAME, username.as_deref().is_none_or(is_word));
        if !is_word(master) {
            check.wrong(&var::SENTINEL_MASTER, "with CACHE_MODE=sentinel it");
        }
        check.form(
            &var::SENTINEL_PASSWORD,
            password
                .as_ref()
                .is_none_or(|password| !password.expose().is_empty()),
        );
    }
    check.authentication(config);
    if let Some(tls) = &config.tls {
        check.tls(tls);
    }
    if let SentinelTls::Own(tls) = &config.sentinel_tls {
        check.tls(tls);
    }
    check.form(&var::POOL_SIZE, POOL_SIZES.contains(&config.pool_size));
    check.form(&var::MAX_RETRIES, RETRIES.contains(&config.max_retries));
    check.form(
        &var::MAX_CONNECTION_AGE,
        config
            .max_connection_age
            .is_none_or(|age| CONNECTION_AGES.contains(&age)),
    );
    check.form(
        &var::CLIENT_NAME,
        config.client_name.as_deref().is_none_or(is_client_name),
    );
    check.form(&var::DIAL_TIMEOUT, TIMEOUTS.contains(&config.dial_timeout));
    check.form(&var::READ_TIMEOUT, TIMEOUTS.contains(&config.read_timeout));
    check.form(&var::WRITE_TIMEOUT, TIMEOUTS.contains(&config.write_timeout));
}

struct Check<'a> {
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    fn push(&mut self, variable: &Variable, message: String) {
        self.problems.push(Problem {
            variable: variable.name.to_owned(),
            message,
        });
    }

    fn form(&mut self, variable: &Variable, sound: bool) {
        if !sound {
            self.push(variable, variable.must_be());
        }
    }

    fn wrong(&mut self, variable: &Variable, why: &str) {
        self.push(variable, format!("{why} {}", variable.must_be()));
    }

    fn addresses(&mut self, addresses: &[Address], expected: Addresses) {
        if addresses.is_empty() && expected == Addresses::Required {
            self.wrong(&var::ADDRS, "there is no address: it");
        }
        for (index, address) in addresses.iter().enumerate() {
            if let Err(error) = address.check() {
                let message = format!("entry {}: {error}; {}", index + 1, var::ADDRS.must_be());
                self.push(&var::ADDRS, message);
            }
        }
    }

    fn authentication(&mut self, config: &ValkeyConfig) {
        let tls = config.tls.is_some();
        match &config.authentication {
            Authentication::None => {}
            Authentication::Password { username, password } => {
                self.form(&var::USERNAME, username.as_deref().is_none_or(is_word));
                // A password from a file is read when the client is built.
                self.form(
                    &var::PASSWORD,
                    !password.expose().is_empty() || config.password_file.is_some(),
                );
            }
            Authentication::Iam {
                username, cache_name, ..
            } => {
                if !is_word(username) {
                    self.wrong(&var::USERNAME, "with CACHE_IAM_ENABLED=true it");
                }
                let sound = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                if cache_name.is_empty() || !cache_name.bytes().all(sound) {
                    self.wrong(&var::IAM_CACHE_NAME, "with CACHE_IAM_ENABLED=true it");
                }
                if !tls {
                    self.push(&var::IAM_ENABLED, "needs CACHE_TLS_ENABLED=true".to_owned());
                }
            }
        }
    }

    fn tls(&mut self, tls: &TlsConfig) {
        let is_name =
            |name: &str| matches!(address::host_of(name), Ok(Some(_))) || name.parse::<IpAddr>().is_ok();
        self.form(
            &var::TLS_SERVER_NAME,
            tls.server_name.as_deref().is_none_or(is_name),
        );
        if let Some(ca) = &tls.ca_pem {
            self.pem(&var::CA_CERT_BASE64, ca, pem::Kind::Certificates);
        }
        if let Some(identity) = &tls.identity {
            self.pem(
                &var::CLIENT_CERT_BASE64,
                &identity.certificate_pem,
                pem::Kind::Certificates,
            );
            self.pem(
                &var::CLIENT_KEY_BASE64,
                identity.key_pem.expose(),
                pem::Kind::PrivateKey,
            );
        }
    }

    fn pem(&mut self, variable: &Variable, pem: &[u8], kind: pem::Kind) {
        if let Err(why) = pem::check(pem, kind) {
            self.push(variable, format!("{why}; {}", variable.must_be()));
        }
    }
}

/// A name that the protocol accepts as one word.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// A connection name that every server accepts.
fn is_client_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_uri(text: &str) -> bool {
    let scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
    text.split_once("://").is_some_and(|(name, rest)| {
        name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(scheme) && is_word(rest)
    })
}

fn is_secret_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(7, ':').collect();
    matches!(parts[..], ["arn", partition, "secretsmanager", region, account, "secret", name]
        if [partition, region, account, name].into_iter().all(is_word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ClientIdentity, IamService, NearConfig};

    fn names(config: &ValkeyConfig) -> Vec<String> {
        config.validate().map_or_else(
            |error| {
                error
                    .problems()
                    .iter()
                    .map(|problem| problem.variable.clone())
                    .collect()
            },
            |()| Vec::new(),
        )
    }

    #[test]
    fn built_configuration_is_checked_like_a_written_one() {
        let mut config = ValkeyConfig::new(Topology::sentinel([Address::new("", 0)], " "))
            .with_authentication(Authentication::Iam {
                username: "a b".into(),
                cache_name: "cache.example.com".into(),
                serverless: false,
                service: IamService::ElastiCache,
            })
            .with_pool_size(0)
            .with_max_retries(101)
            .with_dial_timeout(Duration::ZERO)
            .with_read_timeout(Duration::MAX)
            .with_write_timeout(Duration::from_micros(1));
        assert_eq!(
            names(&config),
            [
                "CACHE_ADDRS",
                "CACHE_USERNAME",
                "CACHE_POOL_SIZE",
                "CACHE_MAX_RETRIES",
                "CACHE_DIAL_TIMEOUT",
                "CACHE_READ_TIMEOUT",
                "CACHE_WRITE_TIMEOUT",
                "CACHE_SENTINEL_MASTER",
                "CACHE_IAM_ENABLED",
                "CACHE_IAM_CACHE_NAME",
            ]
        );
        config.topology = Topology::cluster([]);
        assert_eq!(names(&config)[0], "CACHE_ADDRS");
    }

    #[test]
    fn tls_material_of_the_wrong_kind_is_refused() {
        let config = ValkeyConfig::new(Topology::single(Address::new("cache", 6379))).with_tls(
            TlsConfig::new()
                .with_ca_pem("no PEM")
                .with_identity(ClientIdentity {
                    certificate_pem: Vec::new(),
                    key_pem: Vec::new().into(),
                }),
        );
        assert_eq!(
            names(&config),
            [
                "CACHE_CA_CERT_BASE64",
                "CACHE_CLIENT_CERT_BASE64",
                "CACHE_CLIENT_KEY_BASE64"
            ]
        );
    }

    #[test]
    fn byte_bounds_that_no_entry_fits_are_refused() {
        let names = |bytes| {
            let config = CacheConfig::builder()
                .memory(MemoryConfig::new(bytes, 10))
                .near(NearConfig::new(bytes, Duration::from_secs(1)));
            config.build().map_or_else(|error| error.problems().len(), |_| 0)
        };
        assert_eq!([0, 64, 1023, 1024].map(names), [2, 2, 2, 0]);
    }

    #[test]
    fn defaults_are_acceptable() {
        let config = ValkeyConfig::new(Topology::single(Address::new("cache", 6379)));
        assert_eq!(names(&config), [""; 0]);
    }

    #[test]
    fn arns_and_uris_have_their_parts() {
        assert!(is_secret_arn(
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/cache-AbCdEf"
        ));
        assert!(!is_secret_arn("arn:aws:sns:eu-west-1:123456789012:secret:x"));
        assert!(!is_secret_arn("arn:aws:secretsmanager:eu-west-1::secret:x"));
        assert!(is_uri("aws-secretsmanager:///app/env/keyset"));
        assert!(!is_uri("aws-kms://") && !is_uri("arn:aws:kms") && !is_uri("://x"));
    }
}
