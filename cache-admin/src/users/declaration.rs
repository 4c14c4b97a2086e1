//! The file that declares who may use the servers, and how it is read.
//!
//! What is wrong is told all at once, by its place in the file, beside what would be right. What stands there is
//! never repeated where it may be a password.

use cache_core::ConfigError;
use cache_valkey::admin::PasswordHash;
use toml::{Table, Value};

use super::account::{Account, Login, Reference};
use super::check;
use super::reader::Reader;
use super::role::{Role, Target};

/// Who may use the servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    prefix: String,
    target: Target,
    version: (u32, u32),
    accounts: Vec<Account>,
    engine: String,
    group: String,
}

/// A service, while the file is read.
#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) keyspaces: Vec<String>,
    pub(super) shared_with: Vec<String>,
}

impl Declaration {
    /// Reads the TOML `text`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at once, each by its place: `services.billing.keyspaces`.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let table: Table = toml::from_str(text).map_err(|error| {
            // The parser's own message quotes what it read.
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.unwrap_or_default().matches('\n').count() + 1;
            ConfigError::one(format!("line {line}"), "is not valid TOML")
        })?;
        let mut reader = Reader::default();
        let declaration = reader.declaration(table);
        reader.end(declaration)
    }

    /// What the names of all its users start with. Users whose names do are its own: those that it does not
    /// declare are to go.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How the servers stand together.
    #[must_use]
    pub const fn target(&self) -> Target {
        self.target
    }

    /// The lowest version of the servers, for what is written without asking any.
    #[must_use]
    pub const fn version(&self) -> (u32, u32) {
        self.version
    }

    /// The users, by name.
    #[must_use]
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// The user of that name, which may be given without the prefix.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<&Account> {
        let is_named = |account: &&Account| {
            account.name == name || account.name.strip_prefix(self.prefix.as_str()) == Some(name)
        };
        self.accounts.iter().find(is_named)
    }

    /// ElastiCache's name of the engine: `valkey` or `redis`.
    #[must_use]
    pub fn engine(&self) -> &str {
        &self.engine
    }

    /// The id of the user group at ElastiCache.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }
}

impl Reader {
    fn declaration(&mut self, mut table: Table) -> Declaration {
        let prefix = self.text(&mut table, "", "prefix").unwrap_or_default();
        if let Some(message) = check::prefix(&prefix) {
            self.refuse("prefix", message);
        }
        let target = self.target(&mut table);
        let version = self.version(&mut table);
        let mut services = Vec::new();
        let mut accounts = Vec::new();
        for (name, service) in self.tables(&mut table, "", "services") {
            let path = format!("services.{name}");
            services.push(self.service(&path, &name, service, &prefix, &mut accounts));
        }
        check::keyspaces(&services, &mut |path, message| self.refuse(path, message));
        let all: Vec<String> = services
            .iter()
            .flat_map(|service| service.keyspaces.clone())
            .collect();
        for (name, admin) in self.tables(&mut table, "", "admins") {
            let path = format!("admins.{name}");
            let account = self.admin(&path, format!("{prefix}{name}"), admin, &all);
            if !super::name::is_plain(&name) {
                self.refuse(path, check::NAME);
            }
            accounts.extend(account);
        }
        let (engine, group) = self.elasticache(&mut table, &prefix);
        self.nothing_else(
            "",
            &table,
            "prefix, topology, database, version, services, admins, elasticache",
        );
        accounts.sort_by(|one, two| one.name.cmp(&two.name));
        check::names(&accounts, &mut |path, message| self.refuse(path, message));
        if accounts.is_empty() && self.is_content() {
            self.refuse(
                "services",
                "must declare a user, such as services.billing.users.service",
            );
        }
        Declaration {
            prefix,
            target,
            version,
            accounts,
            engine,
            group,
        }
    }

    fn target(&mut self, table: &mut Table) -> Target {
        let topology = self.text(table, "", "topology");
        let database = match table.remove("database") {
            None => 0,
            Some(value) => {
                let number = value.as_integer().and_then(|number| u32::try_from(number).ok());
                number.unwrap_or_else(|| {
                    self.refuse("database", "must be a whole number from 0");
                    0
                })
            }
        };
        match topology.as_deref() {
            None | Some("cluster") => {
                if database != 0 {
                    self.refuse("database", "must be 0 for a cluster, or left out");
                }
                Target::Cluster
            }
            Some("single" | "sentinel") => Target::Single { database },
            Some(_) => {
                self.refuse("topology", "must be cluster, single or sentinel");
                Target::Cluster
            }
        }
    }

    fn version(&mut self, table: &mut Table) -> (u32, u32) {
        let Some(text) = self.text(table, "", "version") else {
            return (8, 0);
        };
        let parsed = text
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        match parsed {
            Some(version) if version >= (7, 0) => version,
            _ => {
                self.refuse("version", "must be a version from 7.0 on, such as \"8.0\"");
                (8, 0)
            }
        }
    }

    fn service(
        &mut self,
        path: &str,
        name: &str,
        mut table: Table,
        prefix: &str,
        accounts: &mut Vec<Account>,
    ) -> Service {
        if !super::name::is_plain(name) {
            self.refuse(path, check::NAME);
        }
        let keyspaces = self.texts(&mut table, path, "keyspaces").unwrap_or_default();
        if keyspaces.is_empty() {
            self.refuse(format!("{path}.keyspaces"), check::KEYSPACES);
        }
        for (index, keyspace) in keyspaces.iter().enumerate() {
            if let Some(message) = check::keyspace(keyspace) {
                self.refuse(format!("{path}.keyspaces[{index}]"), message);
            }
        }
        let shared_with = self.texts(&mut table, path, "shared_with").unwrap_or_default();
        let users = self.tables(&mut table, path, "users");
        if users.is_empty() {
            self.refuse(
                format!("{path}.users"),
                "must declare a user: service, reader or invalidator",
            );
        }
        for (role, user) in users {
            let path = format!("{path}.users.{role}");
            let Some(role) = Role::of(&role).filter(|role| role.is_of_a_service()) else {
                self.refuse(path, "must be called service, reader or invalidator");
                continue;
            };
            let user_name = match role {
                Role::Service => format!("{prefix}{name}"),
                role => format!("{prefix}{name}-{role}"),
            };
            accounts.extend(self.account(&path, user_name, role, keyspaces.clone(), user));
        }
        self.nothing_else(path, &table, "keyspaces, shared_with, users");
        Service {
            name: name.to_owned(),
            keyspaces,
            shared_with,
        }
    }

    fn admin(&mut self, path: &str, name: String, mut table: Table, all: &[String]) -> Option<Account> {
        let role = self
            .text(&mut table, path, "role")
            .and_then(|role| Role::of(&role));
        let Some(role) = role.filter(|role| !role.is_of_a_service()) else {
            self.refuse(format!("{path}.role"), "must be operator, viewer or acl-admin");
            return None;
        };
        let keyspaces = if role == Role::Operator { all } else { &[] };
        self.account(path, name, role, keyspaces.to_vec(), table)
    }

    fn account(
        &mut self,
        path: &str,
        name: String,
        role: Role,
        keyspaces: Vec<String>,
        mut table: Table,
    ) -> Option<Account> {
        let allow = self.texts(&mut table, path, "allow").unwrap_or_default();
        for (index, command) in allow.iter().enumerate() {
            if let Some(message) = check::command(command) {
                self.refuse(format!("{path}.allow[{index}]"), message);
            }
        }
        let iam = match table.remove("iam") {
            None => false,
            Some(Value::Boolean(iam)) => iam,
            Some(_) => {
                self.refuse(format!("{path}.iam"), "must be true or false");
                false
            }
        };
        let current = self.reference(&mut table, path, "password");
        let next = self.reference(&mut table, path, "next_password");
        self.nothing_else(path, &table, "password, next_password, iam, allow");
        let login = match (iam, current, next) {
            (true, Ok(None), Ok(None)) => Login::Iam,
            (true, ..) => {
                self.refuse(path, "must have either iam or a password, not both");
                return None;
            }
            (false, Ok(Some(current)), Ok(next)) => Login::Password { current, next },
            (false, Ok(None), _) => {
                self.refuse(format!("{path}.password"), check::REFERENCE);
                return None;
            }
            // Told already.
            (false, ..) => return None,
        };
        Some(Account {
            name,
            path: path.to_owned(),
            role,
            keyspaces,
            allow,
            login,
        })
    }

    fn reference(&mut self, table: &mut Table, path: &str, field: &str) -> Result<Option<Reference>, ()> {
        let Some(value) = table.remove(field) else {
            return Ok(None);
        };
        let parsed = value.as_str().and_then(|text| {
            let (scheme, rest) = text.split_once(':').filter(|(_, rest)| !rest.is_empty())?;
            match scheme {
                "env" => Some(Reference::Env(rest.to_owned())),
                "file" => Some(Reference::File(rest.into())),
                "sha256" => PasswordHash::from_hex(rest).map(Reference::Sha256),
                _ => None,
            }
        });
        if parsed.is_none() {
            self.refuse(format!("{path}.{field}"), check::REFERENCE);
            return Err(());
        }
        Ok(parsed)
    }

    fn elasticache(&mut self, table: &mut Table, prefix: &str) -> (String, String) {
        let default = (
            "valkey".to_owned(),
            format!("{}-users", prefix.trim_end_matches('-')),
        );
        let mut own = match table.remove("elasticache") {
            None => return default,
            Some(Value::Table(own)) => own,
            Some(_) => {
                self.refuse("elasticache", "must be a table");
                return default;
            }
        };
        let engine = self.text(&mut own, "elasticache", "engine").unwrap_or(default.0);
        if !["valkey", "redis"].contains(&engine.as_str()) {
            self.refuse("elasticache.engine", "must be valkey or redis");
        }
        let group = self
            .text(&mut own, "elasticache", "user_group")
            .unwrap_or(default.1);
        if !super::name::is_plain(&group) || group.len() > super::name::LONGEST_ID {
            self.refuse("elasticache.user_group", check::NAME);
        }
        self.nothing_else("elasticache", &own, "engine, user_group");
        (engine, group)
    }
}
