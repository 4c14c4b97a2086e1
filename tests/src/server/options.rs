//! What a server is started with.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Result, bail};

use crate::certificates::{Certificates, Identity};
use crate::install::{Program, Version};

/// The user by which this library steers servers that ask for a login. It may do everything; any password
/// will do, since the server listens on the loopback of a test machine only.
const USER: &str = "steering";

/// How a server speaks TLS. It then has no plain-text port.
#[derive(Clone, Debug)]
pub struct Tls {
    ca: String,
    identity: Identity,
    clients: &'static str,
}

impl Tls {
    /// With the good server certificate; client certificates are welcome, not asked for.
    #[must_use]
    pub fn new(certificates: &Certificates) -> Self {
        Self {
            ca: certificates.ca.clone(),
            identity: certificates.server.clone(),
            clients: "optional",
        }
    }

    /// Shows another certificate. Default: [`Certificates::server`].
    #[must_use]
    pub fn identity(mut self, identity: &Identity) -> Self {
        self.identity = identity.clone();
        self
    }

    /// Turns away clients without a certificate of the authority. Default: lets them in.
    #[must_use]
    pub fn require_client_certificate(mut self) -> Self {
        self.clients = "yes";
        self
    }
}

/// What a server is started with: nothing on disk, one loopback address, and what the setters add.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    version: Version,
    host: IpAddr,
    tls: Option<Tls>,
    users: Vec<String>,
    lines: Vec<String>,
    cluster: bool,
    sentinel_password: Option<Option<String>>,
}

impl ServerOptions {
    /// A single server of that version on `127.0.0.1`, without a password.
    #[must_use]
    pub fn new(version: Version) -> Self {
        Self {
            version,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            tls: None,
            users: Vec::new(),
            lines: Vec::new(),
            cluster: false,
            sentinel_password: None,
        }
    }

    /// Listens on this loopback address (any of `127.0.0.0/8`, or `::1`). Default: `127.0.0.1`.
    #[must_use]
    pub fn on(mut self, host: IpAddr) -> Self {
        self.host = host;
        self
    }

    /// Speaks TLS, and only TLS. Default: plain text. Not with [`Version::Valkey9`] and
    /// [`Version::Redis6`], whose programs have none.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Asks for this password from the default user. Default: none.
    #[must_use]
    pub fn password(self, password: &str) -> Self {
        self.user(&format!("default on >{password} ~* &* +@all"))
    }

    /// Adds an ACL user, written as in an ACL file without the word `user`: `alice on >secret ~app:* +@read`.
    /// The users stand in a file, so `ACL SAVE` and `ACL LOAD` work.
    #[must_use]
    pub fn user(mut self, line: &str) -> Self {
        self.users.push(line.to_owned());
        self
    }

    /// Adds a line of the configuration file: `maxmemory 10mb`. The last one of a name wins.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Follows the primary at that address.
    #[must_use]
    pub fn replica_of(self, primary: &crate::Server) -> Self {
        let line = format!("replicaof {} {}", primary.host(), primary.port());
        self.line(line)
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The version asked for.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The address asked for.
    #[must_use]
    pub fn host(&self) -> IpAddr {
        self.host
    }

    /// Runs as a cluster node, which belongs to no cluster until somebody introduces it.
    #[must_use]
    pub fn cluster_node(mut self) -> Self {
        self.cluster = true;
        self
    }

    /// Runs as a sentinel, with a password of its own where given.
    pub(crate) fn sentinel(mut self, password: Option<&str>) -> Self {
        self.sentinel_password = Some(password.map(str::to_owned));
        self
    }

    /// The user and password by which other servers log in here, where a login is asked for.
    pub(crate) fn peer_login(&self) -> Option<[&'static str; 2]> {
        (!self.users.is_empty()).then_some([USER, USER])
    }

    /// The command by which this library logs in.
    pub(super) fn login(&self) -> Option<Vec<String>> {
        match (&self.sentinel_password, self.peer_login()) {
            (Some(password), _) => password
                .as_ref()
                .map(|password| vec!["AUTH".into(), password.clone()]),
            (None, Some([user, password])) => Some(vec!["AUTH".into(), user.into(), password.into()]),
            (None, None) => None,
        }
    }

    /// The command line.
    pub(super) fn command(&self, program: &Program, folder: &Path) -> Result<Vec<OsString>> {
        let mut command = program.command()?;
        command.push(folder.join("server.conf").into());
        if self.sentinel_password.is_some() {
            command.push("--sentinel".into());
        }
        Ok(command)
    }

    /// Writes the files that the configuration names, and returns the configuration's text.
    pub(super) fn write(&self, folder: &Path, port: u16, bus_port: u16) -> Result<String> {
        let mut text = format!(
            "bind {}\nprotected-mode no\ndaemonize no\ndir {folder}\nunixsocket {folder}/socket\n",
            self.host,
            folder = folder.display(),
        );
        if self.sentinel_password.is_none() {
            text.push_str("save \"\"\nappendonly no\nrepl-diskless-sync-delay 0\n");
            // Before 7.0 the command is always there, and the setting unknown.
            if self.version != Version::Redis6 {
                text.push_str("enable-debug-command yes\n");
            }
        }
        match &self.tls {
            None => writeln!(text, "port {port}")?,
            Some(_) if matches!(self.version, Version::Valkey9 | Version::Redis6) => {
                bail!("{:?} comes without TLS here", self.version)
            }
            Some(tls) => {
                writeln!(
                    text,
                    "port 0\ntls-port {port}\ntls-replication yes\ntls-auth-clients {}",
                    tls.clients
                )?;
                for (setting, content) in [
                    ("tls-ca-cert-file", &tls.ca),
                    ("tls-cert-file", &tls.identity.certificate),
                    ("tls-key-file", &tls.identity.key),
                ] {
                    let file = folder.join(setting);
                    std::fs::write(&file, content)?;
                    writeln!(text, "{setting} {}", file.display())?;
                }
            }
        }
        if self.cluster {
            writeln!(
                text,
                "cluster-enabled yes\ncluster-config-file nodes.conf\ncluster-port {bus_port}"
            )?;
            if self.tls.is_some() {
                text.push_str("tls-cluster yes\n");
            }
        }
        if let Some([user, password]) = self.peer_login() {
            let file = folder.join("users.acl");
            let ours = format!("{USER} on nopass ~* &* +@all");
            let users = std::iter::once(&ours).chain(&self.users);
            std::fs::write(
                &file,
                users.map(|line| format!("user {line}\n")).collect::<String>(),
            )?;
            writeln!(
                text,
                "aclfile {}\nmasteruser {user}\nmasterauth {password}",
                file.display()
            )?;
        }
        if let Some(Some(password)) = &self.sentinel_password {
            writeln!(text, "requirepass {password}\nsentinel sentinel-pass {password}")?;
        }
        for line in &self.lines {
            writeln!(text, "{line}")?;
        }
        Ok(text)
    }
}
