//! Combines written settings into a configuration.
//!
//! In here: the rules that only written settings can break, because the types of [`CacheConfig`] rule them
//! out. Not in here: ranges and forms (`check`).

use std::time::Duration;

use super::reference::{self as var, Scope, VARIABLES, Variable};
use super::sources::Sources;
use super::values::{Kind, Mode, Values};
use super::{
    Authentication, Backend, CacheConfig, ClientIdentity, DynamoDbConfig, EncryptionConfig, KeysetLocation,
    MemoryConfig, NearConfig, ReadFrom, SecretConfig, SentinelTls, TlsConfig, Topology, ValkeyConfig, check,
};

/// The services end a connection 12 hours after it logged in with a token.
const IAM_CONNECTION_AGE: Duration = Duration::from_secs(11 * 3600);
const DEFAULT_NEAR_LIFE: Duration = Duration::from_secs(60);

/// Builds the configuration from `sources`, and reports problems to them.
pub(super) fn resolve(sources: &mut Sources) -> CacheConfig {
    let mut values = Values::read(sources);
    let mut resolver = Resolver { sources };
    let kind = resolver.kind(&values);
    resolver.scopes(values.kind, kind);
    let backends = Backends {
        memory: memory(&values),
        dynamodb: DynamoDbConfig::new(values.dynamodb_table.take().unwrap_or_default()),
        valkey: resolver.valkey(kind, &mut values),
    };
    let secret = resolver.secret(&mut values);
    let near = resolver.near(&values);
    let encryption = resolver.encryption(&mut values);
    let mut problems = Vec::new();
    backends.check(resolver.sources, kind, &mut problems);
    let config = CacheConfig {
        backend: backends.choose(kind),
        key_prefix: values.key_prefix,
        startup: values.startup.unwrap_or_default(),
        on_error: values.on_error.unwrap_or_default(),
        op_timeout: values.op_timeout,
        near,
        encryption,
        secret,
    };
    check::around(&config, &mut problems);
    for problem in problems {
        resolver.sources.refuse_problem(problem);
    }
    config
}

/// All three, so that sources of an unused backend are checked too.
struct Backends {
    memory: MemoryConfig,
    valkey: ValkeyConfig,
    dynamodb: DynamoDbConfig,
}

impl Backends {
    fn check(&self, settings: &Sources, kind: Kind, problems: &mut Vec<super::Problem>) {
        check::memory(&self.memory, problems);
        let complete = kind == Kind::Valkey && !settings.is_set(&var::SECRET_ARN);
        let addresses = if complete {
            check::Addresses::Required
        } else {
            check::Addresses::SuppliedLater
        };
        check::valkey(&self.valkey, addresses, problems);
        if kind == Kind::DynamoDb || settings.is_set(&var::DYNAMODB_TABLE) {
            check::dynamodb(&self.dynamodb, problems);
        }
    }

    fn choose(self, kind: Kind) -> Backend {
        match kind {
            Kind::Memory => Backend::Memory(self.memory),
            Kind::Valkey => Backend::Valkey(self.valkey),
            Kind::DynamoDb => Backend::DynamoDb(self.dynamodb),
        }
    }
}

fn memory(values: &Values) -> MemoryConfig {
    let default = MemoryConfig::default();
    MemoryConfig {
        max_bytes: values.memory_max_bytes.unwrap_or(default.max_bytes),
        max_entries: values.memory_max_entries.unwrap_or(default.max_entries),
    }
}

struct Resolver<'a> {
    sources: &'a mut Sources,
}

impl Resolver<'_> {
    fn refuse(&mut self, variable: &'static Variable, others: &[&Variable], message: impl Into<String>) {
        self.sources.refuse(variable, others, message);
    }

    /// Reports `variable` as a problem if it is set.
    fn refuse_set(&mut self, variable: &'static Variable, others: &[&Variable], message: &str) {
        if self.sources.is_set(variable) {
            self.refuse(variable, others, message);
        }
    }

    /// The backend: the requested one, otherwise the one that has an address.
    fn kind(&self, values: &Values) -> Kind {
        let has_address = |variable| self.sources.is_set(variable) || self.sources.is_broken(variable);
        match values.kind {
            Some(kind) => kind,
            None if has_address(&var::ADDRS) || has_address(&var::SECRET_ARN) => Kind::Valkey,
            None => Kind::Memory,
        }
    }

    /// The setting that names the server.
    fn server(&self) -> &'static Variable {
        if self.sources.is_set(&var::ADDRS) || self.sources.is_broken(&var::ADDRS) {
            &var::ADDRS
        } else {
            &var::SECRET_ARN
        }
    }

    /// Reports settings for another backend than the one in use.
    ///
    /// Older names may stay next to newer ones to allow a rollback, so they only cause a warning.
    fn scopes(&mut self, asked: Option<Kind>, kind: Kind) {
        if self.sources.is_broken(&var::TYPE) {
            return;
        }
        let own = match kind {
            Kind::Memory => Scope::Memory,
            Kind::Valkey => Scope::Valkey,
            Kind::DynamoDb => Scope::DynamoDb,
        };
        let reason = match asked {
            None if kind == Kind::Valkey => self.sources.label(self.server()),
            _ => format!("CACHE_TYPE={}", kind.name()),
        };
        let set = VARIABLES
            .iter()
            .copied()
            .filter(|variable| self.sources.is_set(variable));
        let foreign = set.filter(|variable| variable.scope != Scope::Any && variable.scope != own);
        for variable in foreign.collect::<Vec<_>>() {
            let is_table = variable.scope == Scope::DynamoDb;
            let names_backend =
                is_table || [var::ADDRS.name, var::URL.name, var::SECRET_ARN.name].contains(&variable.name);
            let unused = format!("has no effect with {reason}");
            if asked.is_none() && kind == Kind::Memory {
                if is_table && self.sources.is_alias(variable) {
                    let message =
                        "needs CACHE_TYPE=dynamodb, or CACHE_TYPE=memory if the embedded client is meant";
                    self.refuse(variable, &[], message);
                } else if is_table {
                    self.refuse(variable, &[], "needs CACHE_TYPE=dynamodb");
                } else if self.sources.is_alias(variable) {
                    self.sources
                        .unused(variable, "has no effect without CACHE_ADDRS or CACHE_URL");
                } else {
                    let message = "needs CACHE_ADDRS or CACHE_URL, or CACHE_TYPE=memory if the embedded client is meant";
                    self.refuse(variable, &[&var::ADDRS], message);
                }
            } else if names_backend && !self.sources.is_alias(variable) {
                self.refuse(variable, &[], format!("contradicts {reason}"));
            } else {
                self.sources.unused(variable, unused);
            }
        }
    }

    fn valkey(&mut self, kind: Kind, values: &mut Values) -> ValkeyConfig {
        if kind == Kind::Valkey {
            self.topology_rules(values);
            self.authentication_rules(values);
            self.tls_rules(values);
        }
        let mut config = ValkeyConfig::new(topology(kind, values));
        // Values that a valid configuration needs are required only where they are used.
        if kind == Kind::Valkey {
            config.password_file = values.password_file.take();
            config.authentication = authentication(values);
        }
        config.sentinel_password_file = values.sentinel_password_file.take();
        config.address_map = values.address_map.take().unwrap_or_default();
        // If the switch is unreadable, settings that depend on it are not reported.
        let with_tls = values.tls == Some(true) || self.sources.is_broken(&var::TLS_ENABLED);
        let secret_has_tls = values.tls.is_none() && self.sources.is_set(&var::SECRET_ARN);
        config.sentinel_tls = match values.sentinel_tls {
            Some(true) if !with_tls => SentinelTls::Own(tls(values)),
            Some(false) if with_tls || secret_has_tls => SentinelTls::Off,
            _ => SentinelTls::AsServers,
        };
        config.tls = with_tls.then(|| tls(values));
        config.read_from = values.read_from.unwrap_or_default();
        let set = |target: &mut Duration, value: Option<Duration>| *target = value.unwrap_or(*target);
        set(&mut config.dial_timeout, values.dial_timeout);
        set(&mut config.read_timeout, values.read_timeout);
        set(&mut config.write_timeout, values.write_timeout);
        config.pool_size = values.pool_size.unwrap_or(config.pool_size);
        config.max_connection_age = values.max_connection_age.or(match config.authentication {
            Authentication::Iam { .. } => Some(IAM_CONNECTION_AGE),
            _ => None,
        });
        config.client_name.clone_from(&values.client_name);
        config.max_retries = values.max_retries.unwrap_or(config.max_retries);
        config
    }

    fn topology_rules(&mut self, values: &Values) {
        let mode = values.mode.unwrap_or_default();
        let addresses = values.addresses.as_deref().unwrap_or_default();
        if addresses.is_empty() && !self.sources.is_set(&var::SECRET_ARN) {
            let message = format!(
                "with CACHE_TYPE=valkey it {}, or CACHE_SECRET_ARN must be set",
                var::ADDRS.must_be()
            );
            self.refuse(&var::ADDRS, &[&var::SECRET_ARN], message);
        }
        if mode != Mode::Sentinel {
            for variable in [
                &var::SENTINEL_MASTER,
                &var::SENTINEL_USERNAME,
                &var::SENTINEL_PASSWORD,
                &var::SENTINEL_TLS_ENABLED,
            ] {
                self.refuse_set(variable, &[&var::MODE], "needs CACHE_MODE=sentinel");
            }
        }
        if values.sentinel_password.is_none() {
            let others = [&var::MODE, &var::SENTINEL_PASSWORD];
            self.refuse_set(&var::SENTINEL_USERNAME, &others, "needs CACHE_SENTINEL_PASSWORD");
        }
        let primary_only = values.read_from.unwrap_or_default() == ReadFrom::Primary;
        if mode == Mode::Single && primary_only && addresses.len() > 1 {
            self.sources.warn(
                &var::ADDRS,
                "only the address that leads to the primary is used: for a cluster set CACHE_MODE=cluster, for replicas that answer reads set CACHE_READ_FROM",
            );
        }
    }

    /// A secret supplies a missing user, password and TLS, so with a secret nothing is missing.
    fn authentication_rules(&mut self, values: &Values) {
        let set = |settings: &Sources, variable| settings.is_set(variable) || settings.is_broken(variable);
        match values.iam {
            Some(true) => {
                let message =
                    "must not be set with CACHE_IAM_ENABLED=true, which makes a token for every connection";
                self.refuse_set(&var::PASSWORD, &[], message);
            }
            None if !self.sources.is_broken(&var::IAM_ENABLED) => {
                self.refuse_set(&var::IAM_CACHE_NAME, &[], "needs CACHE_IAM_ENABLED=true");
                self.refuse_set(&var::IAM_SERVICE, &[], "needs CACHE_IAM_ENABLED=true");
                if values.iam_serverless == Some(true) {
                    self.refuse(&var::IAM_SERVERLESS, &[], "needs CACHE_IAM_ENABLED=true");
                }
            }
            _ => {}
        }
        let supplied = set(self.sources, &var::SECRET_ARN);
        if values.iam != Some(true) && !set(self.sources, &var::PASSWORD) && !supplied {
            let message = if self.sources.is_of_url(&var::USERNAME) {
                "has a user name without a password: write redis://:password@host if it is the password, or set \
                 CACHE_PASSWORD or CACHE_IAM_ENABLED=true"
            } else {
                "needs CACHE_PASSWORD or CACHE_IAM_ENABLED=true"
            };
            self.refuse_set(&var::USERNAME, &[&var::IAM_ENABLED], message);
        }
    }

    /// As for the user: the secret may decide whether there is TLS.
    fn tls_rules(&mut self, values: &Values) {
        let set = |variable| self.sources.is_set(variable) || self.sources.is_broken(variable);
        let of_url = self.sources.is_of_url(&var::TLS_ENABLED) && values.tls == Some(false);
        let is_open = values.tls.is_none() || of_url;
        if is_open && values.sentinel_tls != Some(true) && !set(&var::SECRET_ARN) {
            let message = if of_url {
                format!(
                    "needs TLS: use rediss:// in {}",
                    self.sources.label(&var::TLS_ENABLED)
                )
            } else {
                "needs CACHE_TLS_ENABLED=true".to_owned()
            };
            for variable in [
                &var::TLS_SERVER_NAME,
                &var::CA_CERT_BASE64,
                &var::CLIENT_CERT_BASE64,
                &var::CLIENT_KEY_BASE64,
            ] {
                self.refuse_set(variable, &[&var::TLS_ENABLED], &message);
            }
        }
        let set = |variable| self.sources.is_set(variable) || self.sources.is_broken(variable);
        match (set(&var::CLIENT_CERT_BASE64), set(&var::CLIENT_KEY_BASE64)) {
            (true, false) => self.refuse(&var::CLIENT_CERT_BASE64, &[], "needs CACHE_CLIENT_KEY_BASE64"),
            (false, true) => self.refuse(&var::CLIENT_KEY_BASE64, &[], "needs CACHE_CLIENT_CERT_BASE64"),
            _ => {}
        }
    }

    /// The secret, with the TLS settings for the case that it asks for TLS.
    fn secret(&self, values: &mut Values) -> Option<SecretConfig> {
        let arn = values.secret_arn.take()?;
        let open = values.tls.is_none() && !self.sources.is_broken(&var::TLS_ENABLED);
        let mut secret = SecretConfig::new(arn).with_tls(open.then(|| tls(values)));
        secret.username = values.username.take();
        Some(secret)
    }

    fn near(&mut self, values: &Values) -> Option<NearConfig> {
        if !self.sources.is_set(&var::L1_MAX_BYTES) {
            for variable in [&var::L1_MAX_ENTRIES, &var::L1_TTL, &var::L1_TRACKING] {
                self.refuse_set(variable, &[&var::L1_MAX_BYTES], "needs CACHE_L1_MAX_BYTES");
            }
        }
        // There is a problem already; the value only lets the other ranges be checked.
        let set =
            values.near_max_bytes.is_some() || values.near_ttl.is_some() || values.near_max_entries.is_some();
        let default = NearConfig::new(u64::MAX, DEFAULT_NEAR_LIFE);
        set.then(|| NearConfig {
            max_bytes: values.near_max_bytes.unwrap_or(default.max_bytes),
            max_entries: values.near_max_entries.unwrap_or(default.max_entries),
            ttl: values.near_ttl.unwrap_or(default.ttl),
            tracking: values.near_tracking.unwrap_or(default.tracking),
        })
    }

    fn encryption(&mut self, values: &mut Values) -> Option<EncryptionConfig> {
        let parts = [
            &var::ENCRYPTION_KEYSET_URI,
            &var::ENCRYPTION_KMS_ENVELOPE_KEY_URI,
            &var::ENCRYPTION_KEYSET_FILE,
            &var::ENCRYPTION_FORM,
            &var::ENCRYPTION_MODE,
            &var::ENCRYPTION_REFRESH,
        ];
        match values.encryption {
            None => {
                for variable in parts {
                    self.refuse_set(
                        variable,
                        &[&var::ENCRYPTION_ENABLED],
                        "needs CACHE_ENCRYPTION_ENABLED=true",
                    );
                }
                return None;
            }
            Some(false) => return None,
            Some(true) => {}
        }
        let mut config = EncryptionConfig::new(self.keyset(values)?);
        config.form = values.encryption_form.unwrap_or(config.form);
        config.plaintext = values.plaintext.unwrap_or(config.plaintext);
        config.refresh = values.keyset_refresh.unwrap_or(config.refresh);
        Some(config)
    }

    /// The keyset's location; reports problems.
    fn keyset(&mut self, values: &mut Values) -> Option<KeysetLocation> {
        let envelope = (values.keyset_uri.take(), values.kms_key_uri.take());
        match (values.keyset_file.take(), envelope) {
            (Some(path), (None, None)) => return Some(KeysetLocation::File { path: path.into() }),
            (Some(_), _) => self.refuse(
                &var::ENCRYPTION_KEYSET_FILE,
                &[],
                "must not be set together with CACHE_ENCRYPTION_KEYSET_URI or CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI",
            ),
            (None, (Some(keyset_uri), Some(kms_key_uri))) => {
                return Some(KeysetLocation::Envelope { keyset_uri, kms_key_uri });
            }
            (None, (Some(_), None)) => {
                self.refuse(&var::ENCRYPTION_KEYSET_URI, &[], "needs CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI");
            }
            (None, (None, Some(_))) => {
                self.refuse(&var::ENCRYPTION_KMS_ENVELOPE_KEY_URI, &[], "needs CACHE_ENCRYPTION_KEYSET_URI");
            }
            (None, (None, None)) => self.refuse(
                &var::ENCRYPTION_ENABLED,
                &[],
                "needs CACHE_ENCRYPTION_KEYSET_URI and CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI, or CACHE_ENCRYPTION_KEYSET_FILE",
            ),
        }
        None
    }
}

fn topology(kind: Kind, values: &mut Values) -> Topology {
    let addresses = values.addresses.take().unwrap_or_default();
    let db = values.db.unwrap_or_default();
    match values.mode.unwrap_or_default() {
        Mode::Sentinel if kind == Kind::Valkey => Topology::Sentinel {
            sentinels: addresses,
            master: values.sentinel_master.take().unwrap_or_default(),
            username: values.sentinel_username.take(),
            password: values.sentinel_password.take(),
            db,
        },
        Mode::Cluster => Topology::Cluster { seeds: addresses, db },
        Mode::Single | Mode::Sentinel => Topology::Single { addresses, db },
    }
}

fn authentication(values: &mut Values) -> Authentication {
    match (values.iam, values.password.take()) {
        (Some(true), _) => Authentication::Iam {
            username: values.username.take().unwrap_or_default(),
            cache_name: values.iam_cache_name.take().unwrap_or_default(),
            serverless: values.iam_serverless.unwrap_or_default(),
            service: values.iam_service.unwrap_or_default(),
        },
        (_, Some(password)) => Authentication::Password {
            username: values.username.take(),
            password,
        },
        (_, None) => Authentication::None,
    }
}

fn tls(values: &Values) -> TlsConfig {
    let identity = match (values.client_certificate.clone(), values.client_key.clone()) {
        (Some(certificate_pem), Some(key_pem)) => Some(ClientIdentity {
            certificate_pem,
            key_pem,
        }),
        _ => None,
    };
    TlsConfig {
        ca_pem: values.ca.clone(),
        identity,
        server_name: values.tls_server_name.clone(),
        files: values.tls_files.clone(),
    }
}
