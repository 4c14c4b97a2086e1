//! The one list of settings: name, default, accepted form, meaning, older names.
//!
//! It generates the reference table of `docs/configuration.md` and the text of every problem. Not in here:
//! reading values.

use std::fmt::Write as _;

/// One setting, as a variable of the environment.
///
/// In the file of `CACHE_CONFIG_FILE` its name is lower case without `CACHE_`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Variable {
    /// The variable's name.
    pub name: &'static str,
    /// The default, in words; empty if there is none.
    pub default: &'static str,
    /// The accepted form, as it reads after "must be".
    pub form: &'static str,
    /// The effect of the setting.
    pub meaning: &'static str,
    /// Whether its value is hidden everywhere.
    pub secret: bool,
    /// Whether the value may also come from the file that `<name>_FILE` names.
    pub from_file: bool,
    /// Older names; the first one wins.
    pub aliases: &'static [&'static str],
    /// The feature of `cache-stack` that the setting needs; empty if it needs none.
    pub feature: &'static str,
    pub(super) scope: Scope,
}

/// The backend that a setting belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Any,
    Memory,
    Valkey,
    DynamoDb,
}

impl Variable {
    const NEW: Self = Self {
        name: "",
        default: "",
        form: "",
        meaning: "",
        secret: false,
        from_file: false,
        aliases: &[],
        feature: "",
        scope: Scope::Any,
    };

    /// The name in the configuration file.
    #[must_use]
    pub fn file_key(&self) -> String {
        self.name.trim_start_matches("CACHE_").to_ascii_lowercase()
    }

    /// "must be" and the accepted form.
    pub(super) fn must_be(&self) -> String {
        format!("must be {}", self.form)
    }
}

macro_rules! variables {
    ($($ident:ident { $($field:ident: $value:expr),* $(,)? })*) => {
        $(pub(super) static $ident: Variable =
            Variable { name: concat!("CACHE_", stringify!($ident)), $($field: $value,)* ..Variable::NEW };)*

        /// Every setting, in the order of the reference table.
        pub static VARIABLES: &[&Variable] = &[$(&$ident),*];
    };
}

const SWITCH: &str = "true or false";
const TIMEOUT: &str = "a duration with its unit, from 1ms to 1h, such as 500ms or 3s";
const BYTES: &str = "a number of bytes, 1KiB or more, plain or with KiB, MiB or GiB";
const CERTIFICATES: &str = "PEM that holds CERTIFICATE blocks only, or base64 of it";

variables! {
    CONFIG_FILE {
        form: "the path of a TOML file",
        meaning: "settings that the environment overrides, named as here in lower case without `CACHE_`",
    }
    TYPE {
        default: "`memory`; `valkey` if `CACHE_ADDRS`, `CACHE_URL` or `CACHE_SECRET_ARN` is set",
        form: "memory, valkey or dynamodb",
        meaning: "the backend: the embedded client, a server of the Redis protocol, a DynamoDB table (which needs the feature `dynamodb`); `valkey` in production, so that a forgotten address stops the start",
    }
    MODE {
        default: "`single`",
        form: "single, cluster or sentinel",
        meaning: "how the servers belong together; a cluster takes one address, too (a configuration endpoint)",
        scope: Scope::Valkey,
    }
    ADDRS {
        form: "host:port, several separated by commas, IPv6 in brackets",
        meaning: "the servers: in mode `single` the primary first and then replicas (found by asking it where none is given), in `cluster` any nodes, in `sentinel` the sentinels",
        aliases: &["VALKEY_ADDRESS", "REDIS_HOST", "REDIS_PORT", "REDIS_ADDR"],
        scope: Scope::Valkey,
    }
    URL {
        form: "a URL, such as rediss://user:password@host:6379/0: redis, valkey, or rediss and valkeys for TLS; several hosts separated by commas; redis+sentinel://host:26379/name for sentinels; reserved characters of user name and password percent-encoded; no options",
        meaning: "in place of `CACHE_ADDRS`, `CACHE_TLS_ENABLED`, and, as far as it has them, `CACHE_USERNAME`, `CACHE_PASSWORD`, `CACHE_DB`, `CACHE_SENTINEL_MASTER`",
        secret: true,
        from_file: true,
        aliases: &["VALKEY_URL", "REDIS_TLS_URL", "REDIS_URL"],
        scope: Scope::Valkey,
    }
    ADDRESS_MAP {
        form: "announced=reachable, several separated by commas, each host:port=host:port or host=host",
        meaning: "where addresses that a cluster or sentinels announce are reachable from here; certificates are checked against the reachable host, unless `CACHE_TLS_SERVER_NAME` is set",
        scope: Scope::Valkey,
    }
    USERNAME {
        default: "the server's default user",
        form: "a user name without spaces",
        meaning: "the ACL user",
        aliases: &["VALKEY_USERNAME", "REDIS_USERNAME"],
        scope: Scope::Valkey,
    }
    PASSWORD {
        form: "a password",
        meaning: "the user's password",
        secret: true,
        from_file: true,
        aliases: &["VALKEY_PASSWORD", "REDIS_PASSWORD"],
        scope: Scope::Valkey,
    }
    TLS_ENABLED {
        default: "`false`",
        form: SWITCH,
        meaning: "TLS 1.2 or newer; host names are always verified",
        aliases: &["VALKEY_TLS", "REDIS_TLS"],
        scope: Scope::Valkey,
    }
    TLS_SERVER_NAME {
        default: "the host of each address",
        form: "a host name or an IP address that the servers' certificates carry, without a port",
        meaning: "the one name that every server's certificate must carry: for clusters that announce IP addresses and certificates that carry a name; sent to the server, too (SNI)",
        scope: Scope::Valkey,
    }
    CA_CERT_BASE64 {
        default: "the system's roots",
        form: CERTIFICATES,
        meaning: "the only authorities to trust",
        from_file: true,
        scope: Scope::Valkey,
    }
    CLIENT_CERT_BASE64 {
        form: CERTIFICATES,
        meaning: "the certificate that the client shows, its own first and then the chain",
        from_file: true,
        scope: Scope::Valkey,
    }
    CLIENT_KEY_BASE64 {
        form: "PEM that holds one PRIVATE KEY block, not encrypted, or base64 of it",
        meaning: "the key of the client certificate",
        secret: true,
        from_file: true,
        scope: Scope::Valkey,
    }
    POOL_SIZE {
        default: "10",
        form: "a whole number from 1 to 1000",
        meaning: "connections per node at most; opened as load asks",
        scope: Scope::Valkey,
    }
    MAX_RETRIES {
        default: "3",
        form: "a whole number from 0 to 100",
        meaning: "tries after the first, on transient failures only; `incr` and conditional writes whose outcome is unknown are never repeated",
        scope: Scope::Valkey,
    }
    DIAL_TIMEOUT {
        default: "5s",
        form: TIMEOUT,
        meaning: "how long making a connection may take: TCP, TLS, authentication",
        scope: Scope::Valkey,
    }
    READ_TIMEOUT {
        default: "3s",
        form: TIMEOUT,
        meaning: "the deadline of a call that reads, retries included",
        scope: Scope::Valkey,
    }
    WRITE_TIMEOUT {
        default: "3s",
        form: TIMEOUT,
        meaning: "the deadline of a call that writes, retries included",
        scope: Scope::Valkey,
    }
    MAX_CONNECTION_AGE {
        default: "none; 11h with `CACHE_IAM_ENABLED`",
        form: "a duration with its unit, from 1s to 365days, such as 30m or 11h",
        meaning: "a connection that is older is replaced, without an error to callers; each one up to a tenth earlier, at random",
        scope: Scope::Valkey,
    }
    CLIENT_NAME {
        form: "at most 128 printable ASCII characters without spaces",
        meaning: "the name of the connections in the servers' `CLIENT LIST`; from Redis 6.0 on",
        scope: Scope::Valkey,
    }
    DB {
        default: "0",
        form: "a whole number, 0 or more",
        meaning: "the database to select; in a cluster the servers must have it (Valkey from 9.0 with `cluster-databases`)",
        aliases: &["REDIS_DB"],
        scope: Scope::Valkey,
    }
    SENTINEL_MASTER {
        form: "the name under which the sentinels watch the primary, without spaces",
        meaning: "which primary to follow; mode `sentinel` only",
        scope: Scope::Valkey,
    }
    SENTINEL_USERNAME {
        default: "the sentinels' default user",
        form: "a user name without spaces",
        meaning: "the ACL user of the sentinels; mode `sentinel` only",
        scope: Scope::Valkey,
    }
    SENTINEL_PASSWORD {
        form: "a password",
        meaning: "the sentinels' own password; mode `sentinel` only",
        secret: true,
        from_file: true,
        scope: Scope::Valkey,
    }
    SENTINEL_TLS_ENABLED {
        default: "as `CACHE_TLS_ENABLED`",
        form: SWITCH,
        meaning: "TLS to the sentinels, with the same authorities, client certificate and server name; mode `sentinel` only",
        scope: Scope::Valkey,
    }
    READ_FROM {
        default: "`primary`",
        form: "primary, replica or prefer-replica",
        meaning: "which nodes answer reads; a replica may answer with what was there before the last writes",
        scope: Scope::Valkey,
    }
    KEY_PREFIX {
        form: "at most 1024 bytes without braces and control characters",
        meaning: "put before every key; patterns of `cachectl` are below it, too",
    }
    STARTUP {
        default: "`fail`",
        form: "fail or degrade",
        meaning: "what to do when the backend cannot be reached at start: refuse, or start and connect later",
    }
    ON_ERROR {
        default: "`fail`",
        form: "fail or bypass",
        meaning: "what a failing backend means to callers: the error, or a miss (reads) and a warning (writes); `incr` and conditional writes fail either way, nothing can stand in for their answer",
    }
    OP_TIMEOUT {
        form: TIMEOUT,
        meaning: "the deadline of a call, retries included; and of all calls together that a recipe, such as a read-through, makes to answer one request",
    }
    MEMORY_MAX_BYTES {
        default: "64MiB",
        form: BYTES,
        meaning: "the embedded client holds at most this much: keys, values and book-keeping",
        scope: Scope::Memory,
    }
    MEMORY_MAX_ENTRIES {
        default: "1000000",
        form: "a whole number above 0",
        meaning: "the embedded client holds at most this many entries",
        scope: Scope::Memory,
    }
    L1_MAX_BYTES {
        default: "no near tier",
        form: BYTES,
        meaning: "the near tier: keeps what was read in this process, at most this much of it: keys, values and book-keeping",
    }
    L1_MAX_ENTRIES {
        default: "1000000",
        form: "a whole number above 0",
        meaning: "the near tier holds at most this many entries",
    }
    L1_TTL {
        default: "1m",
        form: "a duration with its unit, from 1ms to 365days, such as 30s or 5m",
        meaning: "the longest TTL of a near entry; at most 1s if the servers report no changes",
    }
    L1_TRACKING {
        default: "`opt-in`",
        form: "opt-in, broadcast or off",
        meaning: "how the near tier hears of changes: of each key that was read, of all keys under `CACHE_KEY_PREFIX` (which it needs), or not at all, with a short TTL instead",
    }
    ENCRYPTION_ENABLED {
        default: "`false`",
        form: SWITCH,
        meaning: "encrypts values before they leave the process",
    }
    ENCRYPTION_KEYSET_URI {
        form: "a URI, such as aws-secretsmanager:///app/keyset",
        meaning: "where the encrypted keyset is, in Secrets Manager",
        feature: "aws-keyset",
    }
    ENCRYPTION_KMS_ENVELOPE_KEY_URI {
        form: "a URI, such as aws-kms://ARN",
        meaning: "the KMS key that decrypts the keyset",
        feature: "aws-keyset",
    }
    ENCRYPTION_KEYSET_FILE {
        form: "the path of a keyset",
        meaning: "a keyset in clear, for development, in place of the two URIs",
    }
    ENCRYPTION_FORM {
        default: "`tink`",
        form: "tink or chinmina-bridge",
        meaning: "how a value is stored: the Tink ciphertext as it is, or as chinmina-bridge stores it (key `enc:` + name, value `cb-enc:` + base64)",
    }
    ENCRYPTION_MODE {
        default: "`strict`",
        form: "strict or read-plaintext",
        meaning: "what an entry that is not encrypted means: a miss, or its value (while encryption is being switched on); what is written is always encrypted",
    }
    ENCRYPTION_REFRESH {
        default: "15m",
        form: "a duration with its unit, from 1s to 1day, such as 15m",
        meaning: "how often the keyset is read again; each refresh comes up to a tenth earlier, at random",
    }
    IAM_ENABLED {
        default: "`false`",
        form: SWITCH,
        meaning: "a short-lived IAM token for every connection; needs TLS and a user name, refuses a password",
        aliases: &["VALKEY_IAM_ENABLED"],
        scope: Scope::Valkey,
        feature: "aws-iam",
    }
    IAM_CACHE_NAME {
        form: "the cache's name of letters, digits and hyphens, never its endpoint",
        meaning: "the cache that the token is for",
        aliases: &["VALKEY_IAM_CACHE_NAME"],
        scope: Scope::Valkey,
        feature: "aws-iam",
    }
    IAM_SERVERLESS {
        default: "`false`",
        form: SWITCH,
        meaning: "whether that cache is a serverless one",
        aliases: &["VALKEY_IAM_SERVERLESS"],
        scope: Scope::Valkey,
        feature: "aws-iam",
    }
    IAM_SERVICE {
        default: "`elasticache`",
        form: "elasticache or memorydb",
        meaning: "the AWS service that the cache belongs to; the region and the AWS credentials come from `AWS_*`, as for every AWS client",
        scope: Scope::Valkey,
        feature: "aws-iam",
    }
    SECRET_ARN {
        form: "the ARN of a secret, arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:NAME",
        meaning: "supplies host, port, user name, password, keyspace and TLS; what is set by its own name wins",
        aliases: &["REDIS_SECRET_ARN"],
        scope: Scope::Valkey,
        feature: "aws-secret",
    }
    DYNAMODB_TABLE {
        form: "a table name of 3 to 255 letters, digits, hyphens, underscores and dots",
        meaning: "the table, with `CACHE_TYPE=dynamodb`",
        aliases: &["INSTALLATION_TOKEN_TABLE_NAME"],
        scope: Scope::DynamoDb,
        feature: "dynamodb",
    }
}

/// Finds a setting by its newest name.
#[must_use]
pub fn variable(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().copied().find(|variable| variable.name == name)
}

/// The position of `label`'s setting in the reference table. `label` is a name, an older name, `<name>_FILE`,
/// or a name of the file; unknown labels come last.
pub(super) fn position(label: &str) -> usize {
    let label = label.split(' ').next().unwrap_or(label);
    let plain = label.strip_suffix("_FILE").unwrap_or(label);
    let is_named = |name: &str| {
        VARIABLES.iter().position(|variable| {
            variable.name == name || variable.file_key() == name || variable.aliases.contains(&name)
        })
    };
    is_named(label)
        .or_else(|| is_named(plain))
        .or_else(|| is_named(label.strip_suffix("_file").unwrap_or(label)))
        .unwrap_or(usize::MAX)
}

/// The reference table as Markdown, a line per setting.
#[must_use]
pub fn markdown() -> String {
    let mut table = String::from("| variable | default | accepted | meaning |\n|---|---|---|---|\n");
    for variable in VARIABLES {
        let Variable {
            name,
            default,
            form,
            meaning,
            feature,
            ..
        } = variable;
        let file = if variable.from_file {
            format!(", `{name}_FILE`")
        } else {
            String::new()
        };
        let hidden = if variable.secret { "; a secret" } else { "" };
        let feature = if feature.is_empty() {
            String::new()
        } else {
            format!("; needs the feature `{feature}`")
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "| `{name}`{file} | {default} | {form} | {meaning}{hidden}{feature} |"
        );
    }
    table
}

/// The table of older names as Markdown.
#[must_use]
pub fn markdown_of_aliases() -> String {
    let mut table = String::from("| older name | now |\n|---|---|\n");
    for variable in VARIABLES {
        for alias in variable.aliases {
            let _ = writeln!(table, "| `{alias}` | `{}` |", variable.name);
        }
    }
    table
}
