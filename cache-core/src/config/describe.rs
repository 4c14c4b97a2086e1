//! Describes a configuration for logs and for people, with secrets hidden.

use std::fmt;

use super::{
    Authentication, Backend, CacheConfig, EncryptionConfig, KeysetLocation, NearTracking, OnError,
    PlaintextEntries, ReadFrom, SentinelTls, Startup, StoredForm, TlsConfig, Topology, ValkeyConfig, parse,
    pem,
};

impl CacheConfig {
    /// Describes a client with this configuration, as topics and words; never a secret.
    ///
    /// The topics of a backend stay the same across versions, except that new ones may be added.
    ///
    /// ```
    /// use cache_core::CacheConfig;
    ///
    /// let topics = CacheConfig::default().describe();
    /// assert_eq!(topics[0], ("backend", "Memory(64MiB, 1000000 entries)".to_owned()));
    /// ```
    #[must_use]
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        let mut topics = vec![("backend", self.backend.to_string())];
        if let Backend::Valkey(valkey) = &self.backend {
            describe_valkey(valkey, &mut topics);
        }
        if let Some(secret) = &self.secret {
            topics.push((
                "from the secret",
                format!("what is left open above, {}", secret.arn),
            ));
        }
        topics.push(("key prefix", self.key_prefix.clone().unwrap_or_else(none)));
        let startup = match self.startup {
            Startup::Fail => "fail where the backend cannot be reached",
            Startup::Degrade => "start without the backend and connect later",
        };
        topics.push(("at start", startup.to_owned()));
        let on_error = match self.on_error {
            OnError::Fail => "calls fail",
            OnError::Bypass => "failing reads are misses, failing writes are warnings",
        };
        topics.push(("on errors", on_error.to_owned()));
        let deadline = self
            .op_timeout
            .map_or_else(none, |timeout| humantime::format_duration(timeout).to_string());
        topics.push(("deadline of a call", deadline));
        let near = self.near.as_ref().map_or_else(none, |near| {
            let ttl = humantime::format_duration(near.ttl);
            let changes = match near.tracking {
                NearTracking::OptIn => "changes of what was read are reported by the servers",
                NearTracking::Broadcast => "all changes under the prefix are reported by the servers",
                NearTracking::Off => "changes are not heard of",
            };
            format!(
                "at most {} and {} entries, none older than {ttl}, {changes}",
                parse::write_size(near.max_bytes),
                near.max_entries,
            )
        });
        topics.push(("near tier", near));
        topics.push((
            "encryption",
            self.encryption.as_ref().map_or_else(none, describe_encryption),
        ));
        topics
    }
}

impl fmt::Display for CacheConfig {
    /// One line for each topic of [`CacheConfig::describe`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (topic, words)) in self.describe().into_iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{topic}: {words}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Backend {
    /// One word and details in brackets, such as `Valkey(cluster, 3 seeds, TLS)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(memory) => {
                write!(
                    f,
                    "Memory({}, {} entries)",
                    parse::write_size(memory.max_bytes),
                    memory.max_entries
                )
            }
            Self::DynamoDb(dynamodb) => write!(f, "DynamoDB({})", dynamodb.table),
            Self::Valkey(valkey) => {
                let tls = if valkey.tls.is_some() { ", TLS" } else { "" };
                match &valkey.topology {
                    Topology::Single { addresses, .. } => match addresses.as_slice() {
                        [] => write!(f, "Valkey(single{tls})"),
                        [primary] => write!(f, "Valkey(single, {primary}{tls})"),
                        [primary, replicas @ ..] => {
                            write!(
                                f,
                                "Valkey(single, {primary} and {}{tls})",
                                count(replicas.len(), "replica")
                            )
                        }
                    },
                    Topology::Cluster { seeds, .. } => {
                        write!(f, "Valkey(cluster, {}{tls})", count(seeds.len(), "seed"))
                    }
                    Topology::Sentinel {
                        sentinels, master, ..
                    } => {
                        write!(
                            f,
                            "Valkey(sentinel, {master} watched by {}{tls})",
                            sentinels.len()
                        )
                    }
                }
            }
        }
    }
}

fn describe_encryption(encryption: &EncryptionConfig) -> String {
    let keyset = match &encryption.keyset {
        KeysetLocation::File { path } => format!("keyset in clear from {}", path.display()),
        KeysetLocation::Envelope {
            keyset_uri,
            kms_key_uri,
        } => format!("keyset from {keyset_uri}, decrypted by {kms_key_uri}"),
    };
    let form = match encryption.form {
        StoredForm::Tink => "",
        StoredForm::ChinminaBridge => ", stored as chinmina-bridge does",
    };
    let plaintext = match encryption.plaintext {
        PlaintextEntries::Miss => "",
        PlaintextEntries::Read => ", entries that are not encrypted are read",
    };
    let refresh = humantime::format_duration(encryption.refresh);
    format!("{keyset}, read again every {refresh}{form}{plaintext}")
}

fn describe_valkey(valkey: &ValkeyConfig, topics: &mut Vec<(&'static str, String)>) {
    let addresses: Vec<String> = valkey
        .topology
        .addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    let addresses = if addresses.is_empty() {
        none()
    } else {
        addresses.join(", ")
    };
    match &valkey.topology {
        Topology::Single { db, .. } => {
            topics.push(("servers", addresses));
            topics.push(("database", db.to_string()));
        }
        Topology::Cluster { db, .. } => {
            topics.push(("servers", format!("the cluster that {addresses} knows")));
            topics.push(("database", db.to_string()));
        }
        Topology::Sentinel {
            master,
            username,
            password,
            db,
            ..
        } => {
            let user = username
                .as_deref()
                .map_or_else(String::new, |name| format!("as {name} "));
            let password = if password.is_some() { "with" } else { "without" };
            let tls = match &valkey.sentinel_tls {
                SentinelTls::AsServers => "",
                SentinelTls::Off => ", without TLS",
                SentinelTls::Own(_) => ", by TLS",
            };
            let how = format!("{user}{password} a password{tls}");
            topics.push((
                "servers",
                format!("the primary {master} that the sentinels {addresses} watch, asked {how}"),
            ));
            topics.push(("database", db.to_string()));
        }
    }
    let user = match &valkey.authentication {
        Authentication::None => "the default user without a password".to_owned(),
        Authentication::Password { username: None, .. } => "the default user with a password".to_owned(),
        Authentication::Password {
            username: Some(name), ..
        } => format!("{name} with a password"),
        Authentication::Iam {
            username,
            cache_name,
            serverless,
            service,
        } => {
            let kind = if *serverless { "serverless cache" } else { "cache" };
            format!("{username} with IAM tokens for the {service} {kind} {cache_name}")
        }
    };
    let reread = match &valkey.password_file {
        Some(_) => " from a file, read again for each connection",
        None => "",
    };
    topics.push(("user", format!("{user}{reread}")));
    topics.push(("tls", valkey.tls.as_ref().map_or_else(none, describe_tls)));
    if !valkey.address_map.is_empty() {
        topics.push(("reachable at", valkey.address_map.to_string()));
    }
    let time = humantime::format_duration;
    let age = valkey
        .max_connection_age
        .map_or_else(String::new, |age| format!(", replaced when {} old", time(age)));
    topics.push((
        "connections",
        format!("at most {} per node{age}", valkey.pool_size),
    ));
    topics.push((
        "timeouts",
        format!(
            "dial {}, read {}, write {}",
            time(valkey.dial_timeout),
            time(valkey.read_timeout),
            time(valkey.write_timeout)
        ),
    ));
    topics.push((
        "retries",
        format!("at most {}, on transient failures only", valkey.max_retries),
    ));
    let reads = match valkey.read_from {
        ReadFrom::Primary => "from primaries",
        ReadFrom::Replica => "from replicas only",
        ReadFrom::PreferReplica => "from replicas where there are some, else from primaries",
    };
    topics.push(("reads", reads.to_owned()));
}

fn describe_tls(tls: &TlsConfig) -> String {
    let roots = match &tls.ca_pem {
        None => "the system's roots".to_owned(),
        Some(pem) => {
            let certificates = pem::check(pem, pem::Kind::Certificates).unwrap_or_default();
            format!(
                "{} of its own as the only roots",
                count(certificates, "certificate")
            )
        }
    };
    let shown = if tls.identity.is_some() {
        "a client certificate"
    } else {
        "no client certificate"
    };
    let names = match &tls.server_name {
        None => "host names verified".to_owned(),
        Some(name) => format!("{name} is the verified name of every server"),
    };
    let files = if tls.files.is_empty() {
        ""
    } else {
        ", files are read again for each connection"
    };
    format!("1.2 or newer, {names}, {roots}, {shown}{files}")
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn none() -> String {
    "none".to_owned()
}
