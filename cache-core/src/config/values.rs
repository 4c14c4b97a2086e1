//! Each setting's value, read from its written form.
//!
//! Not in here: how values fit together (`assemble`) and bounds (`check`).

use std::time::Duration;

use super::reference::{self as var, Variable};
use super::settings::Settings;
use super::{
    Address, IamService, NearTracking, OnError, PlaintextEntries, ReadFrom, Startup, StoredForm, form, pem,
};
use crate::Secret;

/// Which backend is asked for.
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

/// How the servers belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Single,
    Cluster,
    Sentinel,
}

/// What is written, as values; `None` where nothing is written or it could not be read.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) kind: Option<Kind>,
    pub(super) mode: Option<Mode>,
    pub(super) addresses: Option<Vec<Address>>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) tls: Option<bool>,
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
    pub(super) sentinel_password: Option<Secret>,
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
    /// Reads all settings; what cannot be read is a problem of `settings`.
    pub(super) fn read(settings: &mut Settings) -> Self {
        let mut read = Reader { settings };
        Self {
            kind: read.form(&var::TYPE, kind),
            mode: read.form(&var::MODE, mode),
            addresses: read.addresses(),
            username: read.text(&var::USERNAME),
            password: read.secret(&var::PASSWORD),
            tls: read.form(&var::TLS_ENABLED, form::switch),
            ca: read.pem(&var::CA_CERT_BASE64, pem::Kind::Certificates),
            client_certificate: read.pem(&var::CLIENT_CERT_BASE64, pem::Kind::Certificates),
            client_key: read
                .pem(&var::CLIENT_KEY_BASE64, pem::Kind::PrivateKey)
                .map(Secret::new),
            pool_size: read.form(&var::POOL_SIZE, form::number),
            max_retries: read.form(&var::MAX_RETRIES, form::number),
            dial_timeout: read.form(&var::DIAL_TIMEOUT, form::duration),
            read_timeout: read.form(&var::READ_TIMEOUT, form::duration),
            write_timeout: read.form(&var::WRITE_TIMEOUT, form::duration),
            max_connection_age: read.form(&var::MAX_CONNECTION_AGE, form::duration),
            client_name: read.text(&var::CLIENT_NAME),
            db: read.form(&var::DB, form::number),
            sentinel_master: read.text(&var::SENTINEL_MASTER),
            sentinel_password: read.secret(&var::SENTINEL_PASSWORD),
            read_from: read.form(&var::READ_FROM, read_from),
            key_prefix: read.text(&var::KEY_PREFIX),
            startup: read.form(&var::STARTUP, startup),
            on_error: read.form(&var::ON_ERROR, on_error),
            op_timeout: read.form(&var::OP_TIMEOUT, form::duration),
            memory_max_bytes: read.form(&var::MEMORY_MAX_BYTES, form::size),
            memory_max_entries: read.form(&var::MEMORY_MAX_ENTRIES, form::number),
            near_max_bytes: read.form(&var::L1_MAX_BYTES, form::size),
            near_max_entries: read.form(&var::L1_MAX_ENTRIES, form::number),
            near_ttl: read.form(&var::L1_TTL, form::duration),
            near_tracking: read.form(&var::L1_TRACKING, near_tracking),
            encryption: read.form(&var::ENCRYPTION_ENABLED, form::switch),
            keyset_uri: read.text(&var::ENCRYPTION_KEYSET_URI),
            kms_key_uri: read.text(&var::ENCRYPTION_KMS_ENVELOPE_KEY_URI),
            keyset_file: read.text(&var::ENCRYPTION_KEYSET_FILE),
            encryption_form: read.form(&var::ENCRYPTION_FORM, stored_form),
            plaintext: read.form(&var::ENCRYPTION_MODE, plaintext),
            keyset_refresh: read.form(&var::ENCRYPTION_REFRESH, form::duration),
            iam: read.form(&var::IAM_ENABLED, form::switch),
            iam_cache_name: read.text(&var::IAM_CACHE_NAME),
            iam_serverless: read.form(&var::IAM_SERVERLESS, form::switch),
            iam_service: read.form(&var::IAM_SERVICE, iam_service),
            secret_arn: read.text(&var::SECRET_ARN),
            dynamodb_table: read.text(&var::DYNAMODB_TABLE),
        }
    }
}

struct Reader<'a> {
    settings: &'a mut Settings,
}

impl Reader<'_> {
    fn text(&self, variable: &Variable) -> Option<String> {
        self.settings.text(variable).map(ToOwned::to_owned)
    }

    fn secret(&self, variable: &Variable) -> Option<Secret> {
        self.text(variable).map(Secret::new)
    }

    fn form<T>(&mut self, variable: &'static Variable, form: impl Fn(&str) -> Option<T>) -> Option<T> {
        let value = form(self.settings.text(variable)?);
        if value.is_none() {
            self.settings.refuse(variable, &[], variable.must_be());
        }
        value
    }

    fn addresses(&mut self) -> Option<Vec<Address>> {
        let mut wrong = Vec::new();
        let mut addresses = Vec::new();
        for (index, entry) in self.settings.text(&var::ADDRS)?.split(',').enumerate() {
            match entry.trim().parse() {
                Ok(address) => addresses.push(address),
                Err(error) => wrong.push(format!("entry {}: {error}", index + 1)),
            }
        }
        if wrong.is_empty() {
            return Some(addresses);
        }
        let message = format!("{}; {}", wrong.join(", "), var::ADDRS.must_be());
        self.settings.refuse(&var::ADDRS, &[], message);
        None
    }

    fn pem(&mut self, variable: &'static Variable, kind: pem::Kind) -> Option<Vec<u8>> {
        let read =
            pem::decode(self.settings.text(variable)?).and_then(|pem| pem::check(&pem, kind).map(|_| pem));
        match read {
            Ok(pem) => Some(pem),
            Err(why) => {
                self.settings
                    .refuse(variable, &[], format!("{why}; {}", variable.must_be()));
                None
            }
        }
    }
}

/// The value that `text` names, in any case.
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
