//! What users are for, and exactly which commands and keys each kind needs.
//!
//! The lists are those of what our own clients send; tests on real servers fail where one is too short or too long.

use std::fmt;

/// What a user is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The service itself: all of the cache contract, within its keyspaces.
    Service,
    /// Reads values within the keyspaces of a service.
    Reader,
    /// Removes by pattern within the keyspaces of a service; reads no value.
    Invalidator,
    /// Lists, counts, removes in the keyspaces of all services, looks into the servers' health; reads no value.
    Operator,
    /// Topology and `INFO`; no key at all.
    Viewer,
    /// Manages users. Whoever may do that may become anything.
    AclAdmin,
}

/// How the servers stand together, which changes what clients ask them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A cluster.
    Cluster,
    /// One primary, maybe with replicas, maybe with sentinels that watch it.
    Single {
        /// The database that clients select.
        database: u32,
    },
}

/// A command that is granted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Granted {
    /// Its name, such as `get` or `client|tracking`.
    pub command: String,
    /// The first version of Valkey that has it, where some have not: then it is granted on those that know it.
    pub since: Option<(u32, u32)>,
}

/// What a user may, before it is known which commands a server has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Keys, as rules: `~billing:*`.
    pub keys: Vec<String>,
    /// Commands.
    pub commands: Vec<Granted>,
    /// Commands on other keys than these: the keys, and the commands on them.
    pub selectors: Vec<(Vec<String>, Vec<Granted>)>,
}

/// Sent by every connection.
const CONNECTION: &[&str] = &["hello", "auth", "ping", "client|setinfo"];
/// Sent by every client of a cluster: where the slots are, into a slot that moves, to replicas.
const IN_CLUSTER: &[&str] = &["cluster|slots", "cluster|info", "asking", "readonly"];
/// Sent by clients of one primary: who its replicas are, and to these.
const ALONE: &[&str] = &["role", "readonly"];
/// How a client asks to be told of changes.
const TRACKING: &[&str] = &["client|tracking", "client|caching"];
/// `mget` is sent to single servers only; whoever may `get` learns nothing by it, and the doctor asks for it.
const READING: &[&str] = &["get", "mget", "exists", "pttl"];
const WRITING: &[&str] = &[
    "set", "unlink", "incr", "incrby", "pexpire", "persist", "getdel", "getex", "delifeq",
];
/// `compare_and_set`, `incr_by` with a life and the like; what a script calls needs its own permission.
const SCRIPTS: &[&str] = &["evalsha", "eval"];
const PURGING: &[&str] = &["scan", "clusterscan", "unlink", "dbsize"];
/// What a node says of itself and of the cluster.
const HEALTH: &[&str] = &["info", "dbsize", "time", "role"];
const CLUSTER_HEALTH: &[&str] = &["cluster|nodes", "cluster|shards"];
/// What is known of a key besides its value, for which no permission to read it is asked.
const DESCRIBING: &[&str] = &["type", "memory|usage", "object|idletime", "randomkey"];
/// To step a generation, the script by which one that is not there yet is begun included.
const STEPPING: [&str; 5] = ["get", "incr", "set", "evalsha", "eval"];
const MANAGING: &[&str] = &[
    "acl|list",
    "acl|getuser",
    "acl|users",
    "acl|setuser",
    "acl|deluser",
    "acl|save",
    "acl|whoami",
    "acl|dryrun",
    "acl|cat",
    "acl|log",
    "client|list",
    "command|info",
    "config|rewrite",
    "role",
];

/// Commands that not every server has, and the first version of Valkey that does.
const LATER: &[(&str, (u32, u32))] = &[
    ("client|setinfo", (7, 2)),
    ("delifeq", (9, 0)),
    ("clusterscan", (9, 1)),
];

/// The keyspace in which the doctor tries whether the cache works. No service may have it.
pub(super) const PROBES: &str = "cachectl-doctor:";

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Service,
        Self::Reader,
        Self::Invalidator,
        Self::Operator,
        Self::Viewer,
        Self::AclAdmin,
    ];

    /// As it is written in a declaration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Reader => "reader",
            Self::Invalidator => "invalidator",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
            Self::AclAdmin => "acl-admin",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether it is a role within one service, rather than over all of them.
    #[must_use]
    pub const fn is_of_a_service(self) -> bool {
        matches!(self, Self::Service | Self::Reader | Self::Invalidator)
    }

    /// What it may with these keyspaces on such servers.
    #[must_use]
    pub fn permissions(self, keyspaces: &[String], target: Target) -> Permissions {
        let keys = |sign: &str| -> Vec<String> {
            let rule = |keyspace: &String| format!("{sign}~{keyspace}*");
            keyspaces.iter().map(rule).collect()
        };
        let clustered = target == Target::Cluster;
        let mut lists = vec![CONNECTION, if clustered { IN_CLUSTER } else { ALONE }];
        let mut permissions = Permissions::default();
        match self {
            Self::Service => {
                permissions.keys = keys("");
                lists.extend([TRACKING, READING, WRITING, SCRIPTS]);
            }
            Self::Reader => {
                permissions.keys = keys("%R");
                lists.extend([TRACKING, READING]);
            }
            Self::Invalidator => {
                permissions.keys = keys("%W");
                lists.push(PURGING);
            }
            Self::Operator => {
                permissions.keys = keys("%W");
                lists.extend([PURGING, HEALTH, DESCRIBING, TRACKING, &["command|info"]]);
                // Selectors, so that what is granted on some keys is granted on no others.
                let contract = [READING, WRITING, SCRIPTS].concat();
                permissions.selectors = vec![(vec![format!("~{PROBES}*")], granted(&contract))];
                if !keyspaces.is_empty() {
                    let counter = |keyspace: &String| format!("~{keyspace}*#generation");
                    let counters = keyspaces.iter().map(counter).collect();
                    permissions
                        .selectors
                        .extend([(keys("%R"), granted(&["pttl"])), (counters, granted(&STEPPING))]);
                }
            }
            Self::Viewer => lists.push(HEALTH),
            Self::AclAdmin => lists.push(MANAGING),
        }
        if clustered && !matches!(self, Self::Service | Self::Reader) {
            lists.push(CLUSTER_HEALTH);
        }
        permissions.commands = granted(&lists.concat());
        if let Target::Single { database: 1.. } = target {
            permissions.commands.extend(granted(&["select"]));
        }
        permissions.commands.sort_unstable();
        permissions.commands.dedup();
        permissions
    }
}

impl Granted {
    pub(super) fn always(command: &str) -> Self {
        let later = LATER.iter().find(|(name, _)| *name == command);
        Self {
            command: command.to_owned(),
            since: later.map(|(_, since)| *since),
        }
    }
}

fn granted(commands: &[&str]) -> Vec<Granted> {
    commands.iter().map(|command| Granted::always(command)).collect()
}

impl Permissions {
    /// All commands that are granted, on whatever keys.
    pub fn all_commands(&self) -> impl Iterator<Item = &Granted> {
        let others = self.selectors.iter().flat_map(|(_, commands)| commands);
        self.commands.iter().chain(others)
    }

    /// As rules of a server that has the commands for which `has` says so.
    pub(super) fn rules(&self, has: &dyn Fn(&Granted) -> bool) -> Vec<String> {
        let plus = |commands: &[Granted]| -> Vec<String> {
            let known = commands.iter().filter(|granted| has(granted));
            known.map(|granted| format!("+{}", granted.command)).collect()
        };
        let mut rules = self.keys.clone();
        rules.extend(plus(&self.commands));
        rules.extend(self.selectors.iter().map(|(keys, commands)| {
            // In the order in which the rules of servers are compared.
            let (mut keys, mut commands) = (keys.clone(), plus(commands));
            keys.sort_unstable();
            commands.sort_unstable();
            keys.append(&mut commands);
            format!("({})", keys.join(" "))
        }));
        rules
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(role: Role, target: Target) -> Vec<String> {
        let permissions = role.permissions(&["billing:".to_owned()], target);
        let commands = permissions.commands.into_iter();
        commands.map(|granted| granted.command).collect()
    }

    #[test]
    fn a_role_is_known_by_its_name() {
        for role in Role::ALL {
            assert_eq!(Role::of(role.name()), Some(role));
        }
        assert_eq!(Role::of("admin"), None);
    }

    #[test]
    fn only_what_the_topology_needs_is_granted() {
        let cluster = commands(Role::Service, Target::Cluster);
        let single = commands(Role::Service, Target::Single { database: 0 });
        let other = commands(Role::Service, Target::Single { database: 3 });
        let has = |list: &[String], name: &str| list.iter().any(|command| command == name);
        assert!(has(&cluster, "cluster|slots") && !has(&cluster, "role"));
        assert!(!has(&single, "cluster|slots") && has(&single, "role"));
        assert!(has(&other, "select") && !has(&single, "select"));
    }

    #[test]
    fn no_role_is_granted_a_category_or_all_keys() {
        for role in Role::ALL {
            let rules = role
                .permissions(&["billing:".to_owned()], Target::Cluster)
                .rules(&|_| true);
            for rule in &rules {
                assert!(!rule.contains('@') && !rule.ends_with("~*"), "{role}: {rule}");
            }
        }
    }
}
