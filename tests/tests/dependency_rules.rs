//! Who may depend on what, and what may cross a crate's public face. ARCHITECTURE.md says why; this fails
//! when it is no longer so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().unwrap_or(root)
}

/// Runs a program at the root of the repository and returns what it printed.
fn output(command: &mut Command) -> Result<String> {
    let output = command.current_dir(root()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

fn cargo() -> Command {
    Command::new(option_env!("CARGO").unwrap_or("cargo"))
}

/// What cargo resolved, all features on.
struct Tree {
    names: BTreeMap<String, String>,
    /// From package id to the ids that its library or binary needs to run.
    needs: BTreeMap<String, Vec<String>>,
    members: BTreeSet<String>,
}

impl Tree {
    fn read() -> Result<Self> {
        let text = output(cargo().args(["metadata", "--format-version", "1", "--all-features"]))?;
        let metadata: Value = serde_json::from_str(&text)?;
        let mut tree = Self {
            names: BTreeMap::new(),
            needs: BTreeMap::new(),
            members: BTreeSet::new(),
        };
        for package in list(&metadata["packages"]) {
            tree.names
                .insert(text_of(&package["id"]), text_of(&package["name"]));
        }
        tree.members = list(&metadata["workspace_members"]).map(text_of).collect();
        for node in list(&metadata["resolve"]["nodes"]) {
            let normal = list(&node["deps"])
                .filter(|dependency| list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null()));
            let needs = normal.map(|dependency| text_of(&dependency["pkg"])).collect();
            tree.needs.insert(text_of(&node["id"]), needs);
        }
        Ok(tree)
    }

    fn member(&self, name: &str) -> Option<&String> {
        self.members.iter().find(|id| self.names[*id] == name)
    }

    /// The names of all that a member links, itself not counted.
    fn below(&self, name: &str) -> Result<BTreeSet<&str>> {
        let start = self
            .member(name)
            .with_context(|| format!("no member is called {name}"))?;
        let mut seen = BTreeSet::new();
        let mut open = vec![start];
        while let Some(id) = open.pop() {
            for next in &self.needs[id] {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        Ok(seen.into_iter().map(|id| self.names[id].as_str()).collect())
    }

    /// The members that name a crate themselves; the benchmarks, which compare with it, do not count.
    fn users_of(&self, name: &str) -> BTreeSet<&str> {
        let uses = |id: &&String| {
            self.names[*id] != "benches" && self.needs[*id].iter().any(|next| self.names[next] == name)
        };
        self.members
            .iter()
            .filter(uses)
            .map(|id| self.names[id].as_str())
            .collect()
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_contract_links_no_vendor_no_http_and_no_command_line() -> Result<()> {
    let tree = Tree::read()?;
    let foreign = |name: &&str| {
        ["redis", "fred", "axum", "hyper", "clap", "cache-valkey", "rustls"].contains(name)
            || (name.starts_with("aws-") && !name.starts_with("aws-lc"))
            || name.starts_with("deadpool")
    };
    for member in ["cache-core", "cache-mock", "cache-layers"] {
        if tree.member(member).is_some() {
            let found: Vec<&str> = tree.below(member)?.into_iter().filter(foreign).collect();
            assert!(found.is_empty(), "{member} links {found:?}");
        }
    }
    // The same question about a crate that does link one, so that an empty answer means something.
    assert!(tree.below("cache-valkey")?.contains("redis"));
    Ok(())
}

/// The crates of AWS that `cargo tree` finds below what `arguments` select; `aws-lc-*` is cryptography, not AWS.
fn aws_crates(arguments: &[&str]) -> Result<BTreeSet<String>> {
    let fixed = [
        "tree",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let tree = output(cargo().args(fixed).args(arguments))?;
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let of_aws =
        |name: &&str| (name.starts_with("aws-") && !name.starts_with("aws-lc")) || *name == "cache-aws";
    Ok(names.filter(of_aws).map(ToOwned::to_owned).collect())
}

#[test]
fn service_on_memory_and_valkey_compiles_no_aws_crate() -> Result<()> {
    for arguments in [
        &["-p", "cache-stack"][..],
        &["-p", "cache-stack", "--features", "otlp,prometheus"],
        &["-p", "cache-admin", "--features", "http"],
        &["-p", "examples"],
        &["-p", "cache-valkey"],
        // What `cargo xtask` is built from.
        &["-p", "tests"],
    ] {
        let found = aws_crates(arguments)?;
        assert!(found.is_empty(), "{arguments:?} compiles {found:?}");
    }
    Ok(())
}

#[test]
fn each_aws_feature_compiles_only_the_sdk_that_it_needs() -> Result<()> {
    let sdks = |feature: &str| -> Result<BTreeSet<String>> {
        let mut found = aws_crates(&["-p", "cache-stack", "--features", feature])?;
        assert!(found.remove("cache-aws"), "{feature} has no cache-aws");
        // Every AWS client can assume a role, so `aws-config` brings the client of that service.
        found.retain(|name| name.starts_with("aws-sdk-") && name != "aws-sdk-sts");
        Ok(found)
    };
    let set = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(sdks("aws-iam")?, set(&[]));
    assert_eq!(sdks("aws-secret")?, set(&["aws-sdk-secretsmanager"]));
    assert_eq!(
        sdks("aws-keyset")?,
        set(&["aws-sdk-kms", "aws-sdk-secretsmanager"])
    );
    assert_eq!(sdks("dynamodb")?, set(&["aws-sdk-dynamodb"]));
    let users = aws_crates(&["-p", "cache-admin", "--features", "aws"])?;
    assert!(users.contains("aws-sdk-elasticache"), "{users:?}");
    Ok(())
}

#[test]
fn only_the_valkey_client_and_the_wrapper_name_the_wire_and_its_pool() -> Result<()> {
    let tree = Tree::read()?;
    // `cache-redis` exists to wrap connections that a service made with it.
    assert_eq!(
        tree.users_of("redis"),
        BTreeSet::from(["cache-redis", "cache-valkey"])
    );
    assert_eq!(tree.users_of("deadpool-redis"), BTreeSet::from(["cache-redis"]));
    assert_eq!(tree.users_of("deadpool"), BTreeSet::from(["cache-valkey"]));
    Ok(())
}

#[test]
fn the_crates_point_one_way() -> Result<()> {
    let allowed: &[(&str, &[&str])] = &[
        ("cache-core", &[]),
        ("cache-layers", &["cache-core"]),
        ("cache-valkey", &["cache-core"]),
        ("cache-redis", &["cache-core"]),
        ("cache-aws", &["cache-core"]),
        ("cache-mock", &["cache-core"]),
        (
            "cache-stack",
            &["cache-core", "cache-layers", "cache-valkey", "cache-aws"],
        ),
        (
            "cache-admin",
            &[
                "cache-core",
                "cache-valkey",
                "cache-stack",
                "cache-layers",
                "cache-aws",
            ],
        ),
    ];
    let tree = Tree::read()?;
    let ours: BTreeSet<&str> = tree.members.iter().map(|id| tree.names[id].as_str()).collect();
    let unruled: Vec<&&str> = ours
        .iter()
        .filter(|name| name.starts_with("cache-") && !allowed.iter().any(|(ruled, _)| ruled == *name))
        .collect();
    assert!(unruled.is_empty(), "no rule says what {unruled:?} may depend on");
    for (member, may) in allowed.iter().filter(|(member, _)| ours.contains(member)) {
        let below = tree.below(member)?;
        let wrong: Vec<&&str> = ours
            .iter()
            .filter(|name| below.contains(*name) && !may.contains(name))
            .collect();
        assert!(wrong.is_empty(), "{member} depends on {wrong:?}");
    }
    Ok(())
}

/// The crates whose items appear in the public face of `documentation` (rustdoc's JSON): types, traits,
/// bounds, re-exports, implementations. What other crates implement for every type does not count.
fn foreign_crates(documentation: &Value) -> BTreeMap<String, BTreeSet<String>> {
    fn walk(value: &Value, found: &mut impl FnMut(&Value)) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if name == "id" || name == "source_id" || name == "target" {
                        found(value);
                    }
                    if !["links", "docs", "attrs"].contains(&name.as_str()) {
                        walk(value, found);
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let mut foreign = BTreeMap::<String, BTreeSet<String>>::new();
    let items = documentation["index"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, item)| item);
    for item in items.filter(|item| item["inner"]["impl"]["blanket_impl"].is_null()) {
        walk(&item["inner"], &mut |id| {
            let path = &documentation["paths"][id.to_string()];
            let krate = path["crate_id"].as_u64().unwrap_or(0);
            if krate != 0 {
                let name = text_of(&documentation["external_crates"][krate.to_string()]["name"]);
                let path: Vec<String> = list(&path["path"]).map(text_of).collect();
                foreign.entry(name).or_default().insert(path.join("::"));
            }
        });
    }
    foreign
}

/// Has rustdoc describe the public face of every member, as JSON.
fn documentation() -> Result<PathBuf> {
    // The JSON output is behind a switch that only rustdoc itself may see: for the compiler it would mean
    // building all dependencies anew.
    let folder = tempfile::tempdir()?;
    let rustdoc = folder.path().join("rustdoc");
    std::fs::write(&rustdoc, "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n")?;
    output(Command::new("chmod").arg("755").arg(&rustdoc))?;
    let flags = "-Z unstable-options --output-format json";
    let mut command = cargo();
    command.args([
        "doc",
        "--workspace",
        "--no-deps",
        "--lib",
        "--all-features",
        "--quiet",
    ]);
    output(command.env("RUSTDOC", &rustdoc).env("RUSTDOCFLAGS", flags))?;
    let metadata: Value = serde_json::from_str(&output(cargo().args([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
    ]))?)?;
    Ok(Path::new(&text_of(&metadata["target_directory"])).join("doc"))
}

#[test]
fn no_foreign_type_crosses_a_public_face_unless_listed() -> Result<()> {
    // Values are `bytes`; what the workspace's own crates show each other is the business of the rule above.
    let listed: &[(&str, &[&str])] = &[
        // `rand`: the conformance suite (a feature of its own) hands out the random numbers of a run.
        ("cache_core", &["rand", "serde_core", "tokio", "zeroize"]),
        // `opentelemetry`: the meter that instruments are made of; its API crate alone. The others are what HTTP
        // middleware speaks (the feature `tower`); `pin_project_lite`: an attribute that it leaves in the docs.
        (
            "cache_layers",
            &[
                "http",
                "http_body",
                "opentelemetry",
                "pin_project_lite",
                "serde_core",
                "tower_layer",
                "tower_service",
            ],
        ),
        ("cache_valkey", &[]),
        // The connections that it wraps are the service's. No other crate may show them.
        ("cache_redis", &["deadpool", "deadpool_redis", "redis"]),
        // `outref`: implements a trait for every type, and rustdoc shows the method's type as ours.
        ("cache_aws", &["outref"]),
        ("cache_stack", &[]),
        ("cache_mock", &[]),
        // `serde`: a checkpoint is written and read by whoever keeps it. The others are of the feature `http`: the
        // router that a service mounts, and the schemas of what it says.
        ("cache_admin", &["axum", "outref", "serde_core", "utoipa"]),
    ];
    let tree = Tree::read()?;
    let folder = documentation()?;
    let mut wrong = BTreeMap::new();
    for member in tree
        .members
        .iter()
        .map(|id| tree.names[id].as_str())
        .filter(|name| name.starts_with("cache-"))
    {
        let member = member.replace('-', "_");
        let may = listed.iter().find(|(name, _)| *name == member);
        let (_, may) = may.with_context(|| format!("no list says what {member} may show"))?;
        let text = std::fs::read_to_string(folder.join(format!("{member}.json")))?;
        let mut foreign = foreign_crates(&serde_json::from_str(&text)?);
        if member == "cache_core" {
            assert!(
                foreign.contains_key("bytes"),
                "values are bytes, so not to see them is not to look"
            );
        }
        foreign.retain(|krate, _| {
            !["std", "core", "alloc", "bytes"].contains(&krate.as_str())
                && !krate.starts_with("cache_")
                && !may.contains(&krate.as_str())
        });
        if !foreign.is_empty() {
            wrong.insert(member, foreign);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// The lines of Rust files under `folder` that name one of `words` outside comments, `skip`ped files apart.
fn lines_that_name(folder: &Path, words: &[&str], skip: impl Fn(&Path) -> bool) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !skip(&path) {
                let text = std::fs::read_to_string(&path)?;
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                let named = code.filter(|line| words.iter().any(|word| names(line, word)));
                found.extend(named.map(|line| format!("{}: {}", path.display(), line.trim())));
            }
        }
    }
    Ok(found)
}

/// Whether `line` holds `word` as a whole identifier.
fn names(line: &str, word: &str) -> bool {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .any(|part| part == word)
}

#[test]
fn the_engine_of_the_administration_knows_neither_http_nor_the_command_line() -> Result<()> {
    let folder = root().join("cache-admin/src");
    let faces = ["bin", "http", "cli"].map(|face| folder.join(face));
    let found = lines_that_name(&folder, &["axum", "clap", "hyper", "tower"], |path| {
        faces
            .iter()
            .any(|face| path.starts_with(face) || path.with_extension("") == *face)
    })?;
    assert!(found.is_empty(), "{found:#?}");
    // The binary does read a command line, so the same look must find it there.
    assert!(!lines_that_name(&folder.join("bin"), &["clap"], |_| false)?.is_empty());
    Ok(())
}

#[test]
fn no_layer_names_another_layer() -> Result<()> {
    let folder = root().join("cache-layers/src");
    let layers = ["tiered", "encrypted", "observed", "guarded", "prefixed"];
    let types = ["Tiered", "Encrypted", "Observed", "Guarded", "Prefixed"];
    for (layer, own) in layers.iter().zip(types) {
        for place in [folder.join(layer), folder.join(format!("{layer}.rs"))]
            .iter()
            .filter(|place| place.exists())
        {
            let others: Vec<&str> = layers
                .into_iter()
                .chain(types)
                .filter(|n| n != layer && *n != own)
                .collect();
            let found = if place.is_dir() {
                lines_that_name(place, &others, |_| false)?
            } else {
                lines_that_name(&folder, &others, |path| path != place)?
            };
            assert!(found.is_empty(), "{found:#?}");
        }
    }
    Ok(())
}

#[test]
fn nothing_tracked_names_a_machine_or_a_registry_host() -> Result<()> {
    let mut words: Vec<String> = ["crates", "debian", "pypi", "python", "pythonhosted", "docker"]
        .iter()
        .flat_map(|name| ["org", "io", "com"].map(|end| [".", name, ".", end].concat()))
        .collect();
    words.extend(std::env::home_dir().map(|home| format!("{}/", home.display())));
    // Where this very checkout lies: the first folder of its path.
    if let Some(first) = root().components().nth(1).map(|part| part.as_os_str().to_owned()) {
        words.push(format!("/{}/", first.to_string_lossy()));
    }
    let tracked = output(Command::new("git").args(["ls-files", "-z"]))?;
    let mut found = Vec::new();
    for file in tracked.split('\0').filter(|file| !file.is_empty()) {
        // Binary files and files just removed say nothing.
        let Ok(text) = std::fs::read_to_string(root().join(file)) else {
            continue;
        };
        let lines = text.lines().enumerate();
        let named = lines.filter(|(_, line)| words.iter().any(|word| line.contains(word.as_str())));
        found.extend(named.map(|(number, line)| format!("{file}:{}: {line}", number + 1)));
    }
    assert!(found.is_empty(), "{found:#?}");
    Ok(())
}

#[test]
fn the_commands_of_the_readme_exist() -> Result<()> {
    let readme = std::fs::read_to_string(root().join("README.md"))?;
    let text = output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&text)?;
    let target = |kind: &str, name: &str| {
        let targets = list(&metadata["packages"]).flat_map(|package| list(&package["targets"]));
        targets
            .into_iter()
            .any(|target| target["name"] == name && list(&target["kind"]).any(|k| k == kind))
    };
    let package = |name: &str| list(&metadata["packages"]).any(|package| package["name"] == name);
    let usage = Command::new(env!("CARGO_BIN_EXE_xtask")).output()?;
    let usage = String::from_utf8(usage.stderr)?;

    let mut wrong = Vec::new();
    let mut seen = 0;
    for line in readme
        .lines()
        .map(str::trim)
        .filter(|line| line.contains("cargo "))
    {
        let words: Vec<&str> = line
            .split_whitespace()
            .map(|word| word.trim_matches(['`', '.', ',', ':', ')']))
            .collect();
        for (at, _) in words
            .iter()
            .enumerate()
            .filter(|(_, word)| word.trim_start_matches(['`', '(']) == "cargo")
        {
            seen += 1;
            let rest = &words[at + 1..];
            let after = |flags: &[&str]| {
                rest.iter()
                    .position(|word| flags.contains(word))
                    .and_then(|at| rest.get(at + 1).copied())
            };
            let good = match rest.first().copied() {
                Some("xtask") => rest
                    .get(1)
                    .is_none_or(|task| usage.contains(&format!("cargo xtask {task}"))),
                _ => {
                    after(&["-p", "--package"]).is_none_or(package)
                        && after(&["--bin"]).is_none_or(|name| target("bin", name))
                        && after(&["--example"]).is_none_or(|name| target("example", name))
                        && after(&["--bench"]).is_none_or(|name| target("bench", name))
                }
            };
            if !good {
                wrong.push(line);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen >= 2, "the README shows how to run it and how to test it");
    Ok(())
}

/// The crates beside the workspace that switch on all features: see `tests/outside/Cargo.toml`.
fn outside() -> Result<Value> {
    let arguments = ["metadata", "--format-version", "1", "--locked", "--manifest-path"];
    let manifest = root().join("tests/outside/Cargo.toml");
    Ok(serde_json::from_str(&output(
        cargo().args(arguments).arg(manifest),
    )?)?)
}

#[test]
fn outside_build_has_every_feature_of_every_shared_crate_on() -> Result<()> {
    let outside = outside()?;
    let package = |name: &str| list(&outside["packages"]).find(|package| package["name"] == name);
    let manifest = package("outside").context("the package is called outside")?;
    let asked = |name: &str| list(&manifest["dependencies"]).find(|dependency| dependency["name"] == name);

    // What the product's crates share with a service; `cache-aws` alone shares the AWS SDK.
    let tree = Tree::read()?;
    let ours = |name: &str| name.starts_with("cache-");
    let members: Vec<&String> = tree
        .members
        .iter()
        .filter(|id| ours(&tree.names[*id]) && tree.names[*id] != "cache-aws")
        .collect();
    let shared: BTreeSet<&str> = members
        .iter()
        .flat_map(|id| &tree.needs[*id])
        .map(|id| tree.names[id].as_str())
        .filter(|name| !ours(name))
        .collect();
    assert!(
        shared.contains("redis") && shared.contains("rustls"),
        "{shared:?}"
    );

    let mut wrong = Vec::new();
    for member in members.iter().map(|id| &tree.names[*id]) {
        if asked(member).is_none() {
            wrong.push(format!("{member} is not in it"));
        }
    }
    for name in &shared {
        let Some(dependency) = asked(name) else {
            wrong.push(format!("{name} is not in it"));
            continue;
        };
        let on: BTreeSet<String> = list(&dependency["features"]).map(text_of).collect();
        let left_out = &manifest["metadata"]["left-out"][name];
        // Of several versions, the one whose features were asked for.
        let versions = list(&outside["packages"]).filter(|package| package["name"] == **name);
        let fits = |package: &&Value| on.iter().all(|feature| !package["features"][feature].is_null());
        let package = versions.into_iter().find(fits);
        let package = package.with_context(|| format!("{name} is not resolved"))?;
        let all = package["features"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name);
        wrong.extend(
            all.filter(|feature| *feature != "default" && !on.contains(*feature))
                .filter(|feature| left_out[*feature].as_str().is_none_or(str::is_empty))
                .map(|feature| format!("{name}: {feature} is neither on nor left out with a reason")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // What needs a C library of the machine would make the check hang on the machine.
    assert!(package("openssl-sys").is_none());
    Ok(())
}

#[test]
fn no_tls_relies_on_a_provider_that_the_process_chose() -> Result<()> {
    // `rustls` has one only if a single provider is compiled in, or somebody installs one; in a service that has both,
    // each of these panics.
    let relying = [
        "ClientConfig::builder()",
        "ServerConfig::builder()",
        "ServerVerifier::builder(",
        "ClientVerifier::builder(",
        ".with_native_roots()",
        ".with_webpki_roots()",
        "CryptoProvider::get_default",
        ".install_default(",
    ];
    let mut found = Vec::new();
    let mut naming = 0;
    let files = output(Command::new("git").args(["ls-files", "-z", "--", "*.rs"]))?;
    let this_file = Path::new("tests/tests/dependency_rules.rs");
    for file in files
        .split('\0')
        .filter(|file| !file.is_empty() && Path::new(file) != this_file)
    {
        let Ok(text) = std::fs::read_to_string(root().join(file)) else {
            continue;
        };
        naming += text.matches("builder_with_provider").count();
        let lines = text
            .lines()
            .filter(|line| relying.iter().any(|call| line.contains(call)));
        found.extend(lines.map(|line| format!("{file}: {}", line.trim())));
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(
        naming >= 3,
        "TLS that names its provider was not found, so nothing was looked at"
    );
    Ok(())
}
