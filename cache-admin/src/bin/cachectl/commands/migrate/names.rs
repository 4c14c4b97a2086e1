//! What the variables of other clients mean: names without their family's prefix.
//!
//! Not in here: reading their values.

/// Beginnings of names. Variables of one family are about one server. The first family with an address wins.
pub(super) const FAMILIES: [&str; 5] = [
    "VALKEY_",
    "SPRING_DATA_REDIS_",
    "SPRING_CACHE_REDIS_",
    "SPRING_REDIS_",
    "REDIS_",
];

/// Variables of hosting providers and others that have no prefix of a family, with the name that they stand for.
const UNPREFIXED: [(&str, &str); 11] = [
    ("OPENREDIS_URL", "REDIS_URL"),
    ("REDISCLI_AUTH", "REDIS_PASSWORD"),
    ("REDISCLOUD_URL", "REDIS_URL"),
    ("REDISGREEN_URL", "REDIS_URL"),
    ("REDISHOST", "REDIS_HOST"),
    ("REDISPASSWORD", "REDIS_PASSWORD"),
    ("REDISPORT", "REDIS_PORT"),
    ("REDISTOGO_URL", "REDIS_URL"),
    ("REDISUSER", "REDIS_USERNAME"),
    ("STACKHERO_REDIS_URL_TLS", "REDIS_TLS_URL"),
    ("INSTALLATION_TOKEN_TABLE_NAME", "REDIS_DYNAMODB_TABLE"),
];

/// What a variable means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A connection URL.
    Url,
    Host,
    Port,
    /// One or more `host:port`.
    Addresses,
    /// The same, of a cluster.
    ClusterNodes,
    /// The same, of sentinels.
    SentinelNodes,
    /// An address that leads to replicas.
    Reader,
    /// `cluster`, `single`, `sentinel` and the like.
    Mode,
    /// Whether it is a cluster.
    ClusterSwitch,
    TlsSwitch,
    /// Whether certificates are verified.
    VerifySwitch,
    /// Whether certificates are not verified.
    InsecureSwitch,
    /// A duration: what takes its value is the setting named.
    Duration(&'static str),
    /// A duration that is the deadline of reads and writes.
    CallTimeout,
    /// The same thing under this name. PEM may be a path.
    Same(&'static str),
    /// Nothing takes its place, for this reason.
    Gone(&'static str),
}

const POOL: &str = "connections are shared by all calls, so no call waits for a free one; CACHE_POOL_SIZE (10 for each node) is \
                    a limit that is rarely reached";
const BUILT_IN: &str = "the client decides that itself";
const TTL: &str = "there is no default TTL: each `set` is given one";

/// Names without the family's prefix.
const ROLES: &[(&str, Role)] = &[
    ("URL", Role::Url),
    ("URI", Role::Url),
    ("DSN", Role::Url),
    ("TLS_URL", Role::Url),
    ("CONNECTION_STRING", Role::Url),
    ("CONNECTION_URL", Role::Url),
    ("CLUSTER_URL", Role::Url),
    ("HOST", Role::Host),
    ("HOSTNAME", Role::Host),
    ("SERVER", Role::Host),
    ("PORT", Role::Port),
    ("ADDR", Role::Addresses),
    ("ADDRS", Role::Addresses),
    ("ADDRESS", Role::Addresses),
    ("ADDRESSES", Role::Addresses),
    ("ENDPOINT", Role::Addresses),
    ("ENDPOINTS", Role::Addresses),
    ("HOSTS", Role::Addresses),
    ("PRIMARY_ENDPOINT", Role::Addresses),
    ("CLUSTER_NODES", Role::ClusterNodes),
    ("CLUSTER_ADDRS", Role::ClusterNodes),
    ("CLUSTER_ADDRESSES", Role::ClusterNodes),
    ("CLUSTER_ENDPOINT", Role::ClusterNodes),
    ("CLUSTER_HOSTS", Role::ClusterNodes),
    ("CONFIGURATION_ENDPOINT", Role::ClusterNodes),
    ("NODES", Role::ClusterNodes),
    ("SENTINELS", Role::SentinelNodes),
    ("SENTINEL_NODES", Role::SentinelNodes),
    ("SENTINEL_ADDRS", Role::SentinelNodes),
    ("SENTINEL_ADDRESSES", Role::SentinelNodes),
    ("SENTINEL_HOSTS", Role::SentinelNodes),
    ("READER_ENDPOINT", Role::Reader),
    ("READ_ENDPOINT", Role::Reader),
    ("REPLICA_HOST", Role::Reader),
    ("REPLICA_ADDR", Role::Reader),
    ("MODE", Role::Mode),
    ("TYPE", Role::Mode),
    ("CLUSTER", Role::ClusterSwitch),
    ("CLUSTER_ENABLED", Role::ClusterSwitch),
    ("CLUSTER_MODE", Role::ClusterSwitch),
    ("USE_CLUSTER", Role::ClusterSwitch),
    ("IS_CLUSTER", Role::ClusterSwitch),
    ("TLS", Role::TlsSwitch),
    ("TLS_ENABLED", Role::TlsSwitch),
    ("USE_TLS", Role::TlsSwitch),
    ("SSL", Role::TlsSwitch),
    ("SSL_ENABLED", Role::TlsSwitch),
    ("USE_SSL", Role::TlsSwitch),
    ("SSL_CERT_REQS", Role::VerifySwitch),
    ("TLS_REJECT_UNAUTHORIZED", Role::VerifySwitch),
    ("TLS_VERIFY", Role::VerifySwitch),
    ("SSL_VERIFY", Role::VerifySwitch),
    ("TLS_INSECURE", Role::InsecureSwitch),
    ("TLS_SKIP_VERIFY", Role::InsecureSwitch),
    ("TLS_INSECURE_SKIP_VERIFY", Role::InsecureSwitch),
    ("INSECURE_SKIP_VERIFY", Role::InsecureSwitch),
    ("SKIP_VERIFY", Role::InsecureSwitch),
    ("DIAL_TIMEOUT", Role::Duration("CACHE_DIAL_TIMEOUT")),
    ("CONNECT_TIMEOUT", Role::Duration("CACHE_DIAL_TIMEOUT")),
    ("CONNECTION_TIMEOUT", Role::Duration("CACHE_DIAL_TIMEOUT")),
    ("SOCKET_CONNECT_TIMEOUT", Role::Duration("CACHE_DIAL_TIMEOUT")),
    ("READ_TIMEOUT", Role::Duration("CACHE_READ_TIMEOUT")),
    ("WRITE_TIMEOUT", Role::Duration("CACHE_WRITE_TIMEOUT")),
    ("TIMEOUT", Role::CallTimeout),
    ("COMMAND_TIMEOUT", Role::CallTimeout),
    ("SOCKET_TIMEOUT", Role::CallTimeout),
    ("RESPONSE_TIMEOUT", Role::CallTimeout),
    ("USERNAME", Role::Same("CACHE_USERNAME")),
    ("USER", Role::Same("CACHE_USERNAME")),
    ("PASSWORD", Role::Same("CACHE_PASSWORD")),
    ("PASS", Role::Same("CACHE_PASSWORD")),
    ("AUTH", Role::Same("CACHE_PASSWORD")),
    ("AUTH_TOKEN", Role::Same("CACHE_PASSWORD")),
    ("DB", Role::Same("CACHE_DB")),
    ("DATABASE", Role::Same("CACHE_DB")),
    ("DB_INDEX", Role::Same("CACHE_DB")),
    ("SENTINEL_MASTER", Role::Same("CACHE_SENTINEL_MASTER")),
    ("SENTINEL_MASTER_NAME", Role::Same("CACHE_SENTINEL_MASTER")),
    ("SENTINEL_NAME", Role::Same("CACHE_SENTINEL_MASTER")),
    ("MASTER_NAME", Role::Same("CACHE_SENTINEL_MASTER")),
    ("MASTER_SET", Role::Same("CACHE_SENTINEL_MASTER")),
    ("SENTINEL_USERNAME", Role::Same("CACHE_SENTINEL_USERNAME")),
    ("SENTINEL_PASSWORD", Role::Same("CACHE_SENTINEL_PASSWORD")),
    ("CLIENT_NAME", Role::Same("CACHE_CLIENT_NAME")),
    ("KEY_PREFIX", Role::Same("CACHE_KEY_PREFIX")),
    ("PREFIX", Role::Same("CACHE_KEY_PREFIX")),
    ("MAX_RETRIES", Role::Same("CACHE_MAX_RETRIES")),
    ("TLS_SERVER_NAME", Role::Same("CACHE_TLS_SERVER_NAME")),
    ("TLS_SERVERNAME", Role::Same("CACHE_TLS_SERVER_NAME")),
    ("CA", Role::Same("CACHE_CA_CERT_BASE64")),
    ("CA_CERT", Role::Same("CACHE_CA_CERT_BASE64")),
    ("TLS_CA", Role::Same("CACHE_CA_CERT_BASE64")),
    ("TLS_CA_CERT", Role::Same("CACHE_CA_CERT_BASE64")),
    ("SSL_CA_CERTS", Role::Same("CACHE_CA_CERT_BASE64")),
    ("TLS_CERT", Role::Same("CACHE_CLIENT_CERT_BASE64")),
    ("CLIENT_CERT", Role::Same("CACHE_CLIENT_CERT_BASE64")),
    ("SSL_CERTFILE", Role::Same("CACHE_CLIENT_CERT_BASE64")),
    ("TLS_KEY", Role::Same("CACHE_CLIENT_KEY_BASE64")),
    ("CLIENT_KEY", Role::Same("CACHE_CLIENT_KEY_BASE64")),
    ("SSL_KEYFILE", Role::Same("CACHE_CLIENT_KEY_BASE64")),
    ("IAM_ENABLED", Role::Same("CACHE_IAM_ENABLED")),
    ("IAM_CACHE_NAME", Role::Same("CACHE_IAM_CACHE_NAME")),
    ("IAM_SERVERLESS", Role::Same("CACHE_IAM_SERVERLESS")),
    ("SECRET_ARN", Role::Same("CACHE_SECRET_ARN")),
    ("DYNAMODB_TABLE", Role::Same("CACHE_DYNAMODB_TABLE")),
    ("POOL_SIZE", Role::Gone(POOL)),
    ("POOL_MAX_SIZE", Role::Gone(POOL)),
    ("MAX_CONNECTIONS", Role::Gone(POOL)),
    ("MIN_IDLE_CONNS", Role::Gone(POOL)),
    ("POOL_TIMEOUT", Role::Gone(POOL)),
    ("LETTUCE_POOL_MAX_ACTIVE", Role::Gone(POOL)),
    ("LETTUCE_POOL_MAX_IDLE", Role::Gone(POOL)),
    ("LETTUCE_POOL_MAX_WAIT", Role::Gone(POOL)),
    ("LETTUCE_POOL_MIN_IDLE", Role::Gone(POOL)),
    ("LETTUCE_CLUSTER_REFRESH_ADAPTIVE", Role::Gone(BUILT_IN)),
    ("LETTUCE_CLUSTER_REFRESH_PERIOD", Role::Gone(BUILT_IN)),
    ("CLUSTER_MAX_REDIRECTS", Role::Gone(BUILT_IN)),
    ("KEEP_ALIVE", Role::Gone(BUILT_IN)),
    ("PROTOCOL", Role::Gone(BUILT_IN)),
    ("CLIENT_TYPE", Role::Gone(BUILT_IN)),
    ("TTL", Role::Gone(TTL)),
    ("DEFAULT_TTL", Role::Gone(TTL)),
    ("TIME_TO_LIVE", Role::Gone(TTL)),
    ("CACHE_TTL", Role::Gone(TTL)),
];

/// The family of `name` and its name without the prefix, in the spelling of the list.
pub(super) fn split(name: &str) -> Option<(&'static str, &str)> {
    let name = UNPREFIXED
        .iter()
        .find(|(own, _)| *own == name)
        .map_or(name, |(_, stands_for)| stands_for);
    let family = FAMILIES.into_iter().find(|family| name.starts_with(family))?;
    Some((family, &name[family.len()..]))
}

/// What a name without its prefix means.
pub(super) fn role(rest: &str) -> Option<Role> {
    ROLES
        .iter()
        .find(|(name, _)| *name == rest)
        .map(|(_, role)| *role)
}

/// Whether Kubernetes set this for a service that is called `redis` or the like.
pub(super) fn is_service_link(rest: &str, value: &str) -> bool {
    rest.contains("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || rest.starts_with("PORT_")
        || rest.contains("_PORT_")
        || (rest.ends_with("PORT") && value.contains("://"))
}
