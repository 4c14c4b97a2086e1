//! Parses each setting's value from its written form.
//!
//! Not in here: how values are combined (`resolve`), and ranges (`check`).

use std::path::PathBuf;
use std::time::Duration;

use super::reference::{self as var, Variable};
use super::sources::Sources;
use super::{
    Address, AddressMap, IamService, NearTracking, OnError, PasswordFile, PlaintextEntries, ReadFrom,
    Startup, StoredForm, TlsFiles, parse, pem,
};
use crate::Secret;

/// The requested backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Memory,
    Valkey,
    DynamoDb,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Valkey => "valkey",
            Self::DynamoDb => "dynamodb",
        }
    }
}

/// How the servers form a deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Single,
    Cluster,
    Sentinel,
}

/// The written values; `None` if a value is not written or unreadable.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) kind: Option<Kind>,
    pub(super) mode: Option<Mode>,
    pub(super) addresses: Option<Vec<Address>>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) password_file: Option<PasswordFile>,
    pub(super) address_map: Option<AddressMap>,
    pub(super) tls: Option<bool>,
    pub(super) tls_files: TlsFiles,
    pub(super) tls_server_name: Option<String>,
    pub(super) ca: Option<Vec<u8>>,
    pub(super) client_certificate: Option<Vec<u8>>,
    pub(super) client_key: Option<Secret<Vec<u8>>>,
    pub(super) pool_size: Option<u32>,
    pub(super) max_retries: Option<u32>,
    pub(super) dial_timeout: Option<Duration>,
    pub(super) read_timeout: Option<Duration>,
    pub(super) write_timeout: Option<Duration>,
    pub(super) max_connection_age: Option<Duration>,
    pub(super) client_name: Option<String>,
    pub(super) db: Option<u32>,
    pub(super) sentinel_master: Option<String>,
    pub(super) sentinel_username: Option<String>,
    pub(super) sentinel_password: Option<Secret>,
    pub(super) sentinel_password_file: Option<PasswordFile>,
    pub(super) sentinel_tls: Option<bool>,
    pub(super) read_from: Option<ReadFrom>,
    pub(super) key_prefix: Option<String>,
    pub(super) startup: Option<Startup>,
    pub(super) on_error: Option<OnError>,
    pub(super) op_timeout: Option<Duration>,
    pub(super) memory_max_bytes: Option<u64>,
    pub(super) memory_max_entries: Option<u64>,
    pub(super) near_max_bytes: Option<u64>,
    pub(super) near_max_entries: Option<u64>,
    pub(super) near_ttl: Option<Duration>,
    pub(super) near_tracking: Option<NearTracking>,
    pub(super) encryption: Option<bool>,
    pub(super) keyset_uri: Option<String>,
    pub(super) kms_key_uri: Option<String>,
    pub(super) keyset_file: Option<String>,
    pub(super) encryption_form: Option<StoredForm>,
    pub(super) plaintext: Option<PlaintextEntries>,
    pub(super) keyset_refresh: Option<Duration>,
    pub(super) iam: Option<bool>,
    pub(super) iam_cache_name: Option<String>,
    pub(super) iam_serverless: Option<bool>,
    pub(super) iam_service: Option<IamService>,
    pub(super) secret_arn: Option<String>,
    pub(super) dynamodb_table: Option<String>,
}

impl Values {
    /// Reads all sources, and reports unreadable ones to `sources`.
    pub(super) fn read(sources: &mut Sources) -> Self {
        let mut read = Reader { sources };
        Self {
            kind: read.parse(&var::TYPE, kind),
            mode: read.parse(&var::MODE, mode),
            addresses: read.addresses(),
            username: read.text(&var::USERNAME),
            password: read.secret(&var::PASSWORD),
            password_file: read.password_file(&var::PASSWORD),
            address_map: read.address_map(),
            tls_files: TlsFiles {
                ca: read.file(&var::CA_CERT_BASE64),
                certificate: read.file(&var::CLIENT_CERT_BASE64),
                key: read.file(&var::CLIENT_KEY_BASE64),
            },
            tls_server_name: read.text(&var::TLS_SERVER_NAME),
            tls: read.parse(&var::TLS_ENABLED, parse::switch),
            ca: read.pem(&var::CA_CERT_BASE64, pem::Kind::Certificates),
            client_certificate: read.pem(&var::CLIENT_CERT_BASE64, pem::Kind::Certificates),
            client_key: read
                .pem(&var::CLIENT_KEY_BASE64, pem::Kind::PrivateKey)
                .map(Secret::new),
            pool_size: read.parse(&var::POOL_SIZE, parse::number),
            max_retries: read.parse(&var::MAX_RETRIES, parse::number),
            dial_timeout: read.parse(&var::DIAL_TIMEOUT, parse::duration),
            read_timeout: read.parse(&var::READ_TIMEOUT, parse::duration),
            write_timeout: read.parse(&var::WRITE_TIMEOUT, parse::duration),
            max_connection_age: read.parse(&var::MAX_CONNECTION_AGE, parse::duration),
            client_name: read.text(&var::CLIENT_NAME),
            db: read.parse(&var::DB, parse::number),
            sentinel_master: read.text(&var::SENTINEL_MASTER),
            sentinel_username: read.text(&var::SENTINEL_USERNAME),
            sentinel_password: read.secret(&var::SENTINEL_PASSWORD),
            sentinel_password_file: read.password_file(&var::SENTINEL_PASSWORD),
            sentinel_tls: read.parse(&var::SENTINEL_TLS_ENABLED, parse::switch),
            read_from: read.parse(&var::READ_FROM, read_from),
            key_prefix: read.text(&var::KEY_PREFIX),
            startup: read.parse(&var::STARTUP, startup),
            on_error: read.parse(&var::ON_ERROR, on_error),
            op_timeout: read.parse(&var::OP_TIMEOUT, parse::duration),
            memory_max_bytes: read.parse(&var::MEMORY_MAX_BYTES, parse::size),
            memory_max_entries: read.parse(&var::MEMORY_MAX_ENTRIES, parse::number),
            near_max_bytes: read.parse(&var::L1_MAX_BYTES, parse::size),
            near_max_entries: read.parse(&var::L1_MAX_ENTRIES, parse::number),
            near_ttl: read.parse(&var::L1_TTL, parse::duration),
            near_tracking: read.parse(&var::L1_TRACKING, near_tracking),
            encryption: read.parse(&var::ENCRYPTION_ENABLED, parse::switch),
            keyset_uri: read.text(&var::ENCRYPTION_KEYSET_URI),
            kms_key_uri: read.text(&var::ENCRYPTION_KMS_ENVELOPE_KEY_URI),
            keyset_file: read.text(&var::ENCRYPTION_KEYSET_FILE),
            encryption_form: read.parse(&var::ENCRYPTION_FORM, stored_form),
            plaintext: read.parse(&var::ENCRYPTION_MODE, plaintext),
            keyset_refresh: read.parse(&var::ENCRYPTION_REFRESH, parse::duration),
            iam: read.parse(&var::IAM_ENABLED, parse::switch),
            iam_cache_name: read.text(&var::IAM_CACHE_NAME),
            iam_serverless: read.parse(&var::IAM_SERVERLESS, parse::switch),
            iam_service: read.parse(&var::IAM_SERVICE, iam_service),
            secret_arn: read.text(&var::SECRET_ARN),
            dynamodb_table: read.text(&var::DYNAMODB_TABLE),
        }
    }
}

struct Reader<'a> {
    sources: &'a mut Sources,
}

impl Reader<'_> {
    fn text(&mut self, variable: &Variable) -> Option<String> {
        let text = self.sources.text(variable)?.to_owned();
        if parse::is_quoted(&text) {
            let message = "the value has literal quotes around it, which are taken as part of it: remove them unless they are";
            self.sources.warn(variable, message);
        }
        Some(text)
    }

    fn secret(&mut self, variable: &Variable) -> Option<Secret> {
        let text = self.text(variable)?;
        if text.trim() != text {
            let message = "the value begins or ends with white space, which is taken as part of it: remove it unless it is";
            self.sources.warn(variable, message);
        }
        Some(Secret::new(text))
    }

    fn file(&self, variable: &Variable) -> Option<PathBuf> {
        self.sources.file(variable).map(|(path, _)| path.to_owned())
    }

    fn password_file(&self, variable: &Variable) -> Option<PasswordFile> {
        let (path, of_url) = self.sources.file(variable)?;
        let file = if of_url {
            PasswordFile::of_url(path)
        } else {
            PasswordFile::new(path)
        };
        Some(file.with_variable(self.sources.label(variable)))
    }

    fn address_map(&mut self) -> Option<AddressMap> {
        let text = self.sources.text(&var::ADDRESS_MAP)?;
        let read = if parse::is_quoted(text) {
            Err(parse::QUOTES.to_owned())
        } else {
            text.parse()
                .map_err(|error: super::AddressMapError| error.to_string())
        };
        match read {
            Ok(map) => Some(map),
            Err(why) => {
                let message = format!("{why}; {}", var::ADDRESS_MAP.must_be());
                self.sources.refuse(&var::ADDRESS_MAP, &[], message);
                None
            }
        }
    }

    fn parse<T>(&mut self, variable: &'static Variable, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.sources.text(variable)?;
        let value = read(text);
        if value.is_none() {
            let message = if parse::is_quoted(text) {
                format!("{}; {}", parse::QUOTES, variable.must_be())
            } else {
                variable.must_be()
            };
            self.sources.refuse(variable, &[], message);
        }
        value
    }

    fn addresses(&mut self) -> Option<Vec<Address>> {
        let mut wrong = Vec::new();
        let mut addresses = Vec::new();
        let text = self.sources.text(&var::ADDRS)?;
        if parse::is_quoted(text) {
            let message = format!("{}; {}", parse::QUOTES, var::ADDRS.must_be());
            self.sources.refuse(&var::ADDRS, &[], message);
            return None;
        }
        for (index, entry) in text.split(',').enumerate() {
            match entry.trim().parse() {
                Ok(address) => addresses.push(address),
                Err(error) => wrong.push(format!("entry {}: {error}", index + 1)),
            }
        }
        if wrong.is_empty() {
            return Some(addresses);
        }
        let message = format!("{}; {}", wrong.join(", "), var::ADDRS.must_be());
        self.sources.refuse(&var::ADDRS, &[], message);
        None
    }

    fn pem(&mut self, variable: &'static Variable, kind: pem::Kind) -> Option<Vec<u8>> {
        let read =
            pem::decode(self.sources.text(variable)?).and_then(|pem| pem::check(&pem, kind).map(|_| pem));
        match read {
            Ok(pem) => Some(pem),
            Err(why) => {
                self.sources
                    .refuse(variable, &[], format!("{why}; {}", variable.must_be()));
                None
            }
        }
    }
}

/// The value that `text` names, ignoring case.
fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Option<T> {
    choices
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text))
        .map(|(_, value)| *value)
}

fn kind(text: &str) -> Option<Kind> {
    [Kind::Memory, Kind::Valkey, Kind::DynamoDb]
        .into_iter()
        .find(|kind| kind.name().eq_ignore_ascii_case(text))
}

fn mode(text: &str) -> Option<Mode> {
    choice(
        text,
        &[
            ("single", Mode::Single),
            ("cluster", Mode::Cluster),
            ("sentinel", Mode::Sentinel),
        ],
    )
}

fn read_from(text: &str) -> Option<ReadFrom> {
    choice(
        text,
        &[
            ("primary", ReadFrom::Primary),
            ("replica", ReadFrom::Replica),
            ("prefer-replica", ReadFrom::PreferReplica),
        ],
    )
}

fn startup(text: &str) -> Option<Startup> {
    choice(text, &[("fail", Startup::Fail), ("degrade", Startup::Degrade)])
}

fn on_error(text: &str) -> Option<OnError> {
    choice(text, &[("fail", OnError::Fail), ("bypass", OnError::Bypass)])
}

fn stored_form(text: &str) -> Option<StoredForm> {
    choice(
        text,
        &[
            ("tink", StoredForm::Tink),
            ("chinmina-bridge", StoredForm::ChinminaBridge),
        ],
    )
}

fn plaintext(text: &str) -> Option<PlaintextEntries> {
    choice(
        text,
        &[
            ("strict", PlaintextEntries::Miss),
            ("read-plaintext", PlaintextEntries::Read),
        ],
    )
}

fn iam_service(text: &str) -> Option<IamService> {
    choice(
        text,
        &[
            ("elasticache", IamService::ElastiCache),
            ("memorydb", IamService::MemoryDb),
        ],
    )
}

fn near_tracking(text: &str) -> Option<NearTracking> {
    choice(
        text,
        &[
            ("opt-in", NearTracking::OptIn),
            ("broadcast", NearTracking::Broadcast),
            ("off", NearTracking::Off),
        ],
    )
}
