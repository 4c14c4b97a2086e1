//! `cachectl` as a program, on the embedded client: exit codes, what goes to which stream, JSON.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// What a run left behind.
struct Ran {
    code: i32,
    out: Vec<u8>,
    err: String,
}

impl Ran {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Each line of standard output, as JSON.
    fn json(&self) -> Result<Vec<Value>> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
            .collect()
    }
}

fn cachectl(arguments: &[&str]) -> Result<Ran> {
    with(arguments, &[], b"")
}

fn with(arguments: &[&str], variables: &[(&str, &str)], input: &[u8]) -> Result<Ran> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cachectl"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let written = child.stdin.take().context("no standard input")?.write_all(input);
    // A program that does not read its input may have left already.
    if !matches!(&written, Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe) {
        written?;
    }
    let output = child.wait_with_output()?;
    Ok(Ran {
        code: output.status.code().context("ended by a signal")?,
        out: output.stdout,
        err: String::from_utf8(output.stderr)?,
    })
}

#[test]
fn what_is_done_is_0_and_what_is_not_there_is_1() -> Result<()> {
    for (arguments, code, out) in [
        (&["set", "k", "v", "--ttl", "5m"][..], 0, "stored\n"),
        (&["set", "k", "v", "--nx"], 0, "stored\n"),
        (&["incr", "k", "--by", "-3"], 0, "-3\n"),
        (&["get", "k"], 1, ""),
        (&["ttl", "k"], 1, ""),
        (&["expire", "k", "5m"], 1, ""),
        (&["del", "k", "l"], 1, "0 keys removed\n"),
        (&["exists", "k"], 1, "no\n"),
        (&["exists", "k", "l"], 1, "0 of 2\n"),
        (&["keys"], 0, ""),
        (&["topology"], 0, "memory: one embedded cache, no servers\n"),
    ] {
        let ran = cachectl(arguments)?;
        assert_eq!(
            (ran.code, ran.text().as_str()),
            (code, out),
            "{arguments:?}: {}",
            ran.err
        );
    }
    assert!(cachectl(&["ping"])?.text().starts_with("ok, "));
    Ok(())
}

#[test]
fn an_empty_embedded_cache_is_said_to_be_one() -> Result<()> {
    let ran = cachectl(&["ping"])?;
    assert!(
        ran.err.contains("this cache is empty and ends with the command"),
        "{}",
        ran.err
    );
    Ok(())
}

#[test]
fn wrong_usage_is_2() -> Result<()> {
    for arguments in [
        &["frobnicate"][..],
        &[],
        &["get"],
        &["get", ""],
        &["set", "k", "v", "--ttl", "5"],
        &["expire", "k", "0s"],
        &["invalidate", ""],
        &["keys", "--limit", "3", "--all"],
        &["keys", "--limit", "0"],
        &["config"],
    ] {
        let ran = cachectl(arguments)?;
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{arguments:?}");
    }
    Ok(())
}

#[test]
fn help_is_a_command_of_its_own() -> Result<()> {
    for arguments in [&["help"][..], &["help", "keys"], &["generation", "help", "bump"]] {
        let ran = cachectl(arguments)?;
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
        assert!(ran.text().contains("Usage: cachectl"), "{arguments:?}");
    }
    Ok(())
}

#[test]
fn a_time_without_a_unit_is_refused_with_what_was_meant() -> Result<()> {
    for arguments in [
        &["set", "k", "v", "--ttl", "5"][..],
        &["expire", "k", "5"],
        &["keys", "--idle", "5"],
        &["keys", "--wait", "5"],
    ] {
        let ran = cachectl(arguments)?;
        assert_eq!(ran.code, 2, "{arguments:?}");
        assert!(ran.err.contains("5 seconds are 5s"), "{arguments:?}: {}", ran.err);
    }
    Ok(())
}

#[test]
fn what_no_service_does_says_that_nothing_was_done_and_no_server_does_it_here() -> Result<()> {
    let service = [("CACHECTL_SERVER", "http://127.0.0.1:1")];
    for command in [
        &["ping"][..],
        &["get", "k"],
        &["topology"],
        &["users", "plan", "x"],
    ] {
        let ran = with(command, &service, b"")?;
        assert_eq!((ran.code, ran.text().as_str()), (2, ""), "{command:?}");
        let said = format!(
            "{} does not work through a service, and nothing was done",
            command[0]
        );
        assert!(
            ran.err.contains(&said) && ran.err.contains("--no-server"),
            "{}",
            ran.err
        );
    }
    let here = with(&["ping", "--no-server"], &service, b"")?;
    assert!(here.code == 0 && here.text().starts_with("ok, "), "{}", here.err);
    Ok(())
}

#[test]
fn an_unreachable_server_is_4_on_one_line() -> Result<()> {
    let ran = with(
        &["get", "k"],
        &[("CACHE_ADDRS", "127.0.0.1:1"), ("CACHE_DIAL_TIMEOUT", "500ms")],
        b"",
    )?;
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    assert!(
        ran.err.starts_with("cachectl: ") && ran.err.contains("127.0.0.1:1"),
        "{}",
        ran.err
    );
    Ok(())
}

#[test]
fn a_broad_pattern_without_a_terminal_is_5() -> Result<()> {
    for pattern in ["*", "?*", "*:*", "[!~]*"] {
        let ran = cachectl(&["invalidate", pattern])?;
        assert_eq!(ran.code, 5, "{pattern}: {}", ran.err);
        let said = ran.err.contains("--yes")
            && ran.err.contains("no terminal")
            && ran.err.contains("nothing was removed");
        assert!(said, "{}", ran.err);
        assert_eq!(cachectl(&["invalidate", pattern, "--yes"])?.code, 0, "{pattern}");
        assert_eq!(
            cachectl(&["invalidate", pattern, "--dry-run"])?.code,
            0,
            "{pattern}"
        );
    }
    assert_eq!(cachectl(&["invalidate", "billing:*"])?.code, 0);
    Ok(())
}

#[test]
fn a_wrong_configuration_is_6_with_every_problem_and_no_secret() -> Result<()> {
    let wrong = [
        ("CACHE_TYPE", "valkey"),
        ("CACHE_ADDRS", "nonsense"),
        ("CACHE_PASSWORD", "hunter2"),
        ("CACHE_POOL_SIZE", "many"),
        ("CACHE_TYPO", "x"),
    ];
    for command in [&["config", "check"][..], &["ping"]] {
        let ran = with(command, &wrong, b"")?;
        assert_eq!(ran.code, 6, "{}", ran.err);
        for name in ["CACHE_ADDRS", "CACHE_POOL_SIZE", "CACHE_TYPO"] {
            let told = ran
                .err
                .lines()
                .filter(|line| line.starts_with(&format!("cachectl: {name}: ")))
                .count();
            assert_eq!(told, 1, "{name} in {}", ran.err);
        }
        assert!(!ran.err.contains("hunter2"));
    }
    Ok(())
}

#[test]
fn config_check_says_what_would_be_used_and_hides_secrets() -> Result<()> {
    let variables = [
        ("CACHE_ADDRS", "cache:6379"),
        ("CACHE_PASSWORD", "hunter2"),
        ("REDIS_DB", "3"),
    ];
    for arguments in [&["config", "check"][..], &["config", "check", "--json"]] {
        let ran = with(arguments, &variables, b"")?;
        assert_eq!(ran.code, 0, "{}", ran.err);
        let all = format!("{}{}", ran.text(), ran.err);
        assert!(!all.contains("hunter2"), "{all}");
        assert!(all.contains("CACHE_PASSWORD") && all.contains("***"), "{all}");
        assert!(all.contains("Valkey(single, cache:6379)"), "{all}");
        assert!(all.contains("REDIS_DB: is an older name"), "{all}");
    }
    let ran = with(&["config", "check", "--json"], &variables, b"")?;
    assert_eq!(
        ran.json()?[0]["would_use"]["backend"],
        "Valkey(single, cache:6379)"
    );
    assert_eq!(ran.json()?[0]["connected"], Value::Null);
    Ok(())
}

#[test]
fn config_check_promises_nothing_that_connecting_refuses() -> Result<()> {
    let variables = [
        ("CACHE_ADDRS", "cache:6379"),
        ("CACHE_ENCRYPTION_ENABLED", "true"),
        ("CACHE_ENCRYPTION_KEYSET_FILE", "no/such/keyset.json"),
    ];
    for arguments in [
        &["config", "check", "--connect"][..],
        &["config", "check", "--connect", "--json"],
        &["ping"],
    ] {
        let ran = with(arguments, &variables, b"")?;
        assert_eq!(ran.code, 6, "{}", ran.err);
        let all = format!("{}{}", ran.text(), ran.err);
        assert!(all.contains("no/such/keyset.json"), "{all}");
    }
    Ok(())
}

#[test]
fn config_check_can_connect() -> Result<()> {
    let nobody = [("CACHE_ADDRS", "127.0.0.1:1"), ("CACHE_DIAL_TIMEOUT", "500ms")];
    let ran = with(&["config", "check", "--connect", "--json"], &nobody, b"")?;
    assert_eq!((ran.code, &ran.json()?[0]["connected"]), (4, &Value::Bool(false)));
    Ok(())
}

#[test]
fn config_check_never_passes_the_embedded_cache_off_as_a_server() -> Result<()> {
    let ran = cachectl(&["config", "check", "--connect"])?;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.text().contains("no server: the embedded cache"),
        "{}",
        ran.text()
    );
    assert!(!ran.text().contains("answered"), "{}", ran.text());
    let ran = cachectl(&["config", "check", "--connect", "--json"])?;
    let said = &ran.json()?[0];
    assert_eq!(
        (&said["server"], &said["connected"]),
        (&Value::Bool(false), &Value::Null)
    );
    let ran = cachectl(&["config", "check", "--require-server"])?;
    assert_eq!(ran.code, 6);
    assert!(
        ran.err.contains("CACHE_TYPE: no server is configured"),
        "{}",
        ran.err
    );
    let url = [("REDIS_URL", "redis://:hunter2@cache:6379")];
    let ran = with(&["config", "check", "--require-server"], &url, b"")?;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let all = format!("{}{}", ran.text(), ran.err);
    assert!(
        all.contains("REDIS_URL: is an older name, set CACHE_URL instead"),
        "{all}"
    );
    assert!(
        all.contains("Valkey(single, cache:6379)") && !all.contains("hunter2"),
        "{all}"
    );
    Ok(())
}

#[test]
fn every_answer_has_a_json_form() -> Result<()> {
    for (arguments, expected) in [
        (&["get", "k"][..], r#"{"found":false,"key":"k"}"#),
        (&["set", "k", "v"], r#"{"key":"k","stored":true}"#),
        (&["del", "k"], r#"{"keys":1,"removed":0}"#),
        (&["exists", "k", "k"], r#"{"existing":0,"keys":2}"#),
        (&["incr", "k"], r#"{"key":"k","value":1}"#),
        (&["expire", "k", "5s"], r#"{"found":false,"key":"k"}"#),
        (&["ttl", "k"], r#"{"found":false,"key":"k"}"#),
        (
            &["keys"],
            r#"{"end":{"has_more":false,"listed":0,"outcome":"complete"}}"#,
        ),
        (
            &["topology"],
            r#"{"epoch":null,"mode":"memory","nodes":[],"uncovered":[]}"#,
        ),
    ] {
        let ran = cachectl(&[arguments, &["--json"]].concat())?;
        assert_eq!(ran.text().trim_end(), expected, "{arguments:?}: {}", ran.err);
    }
    assert_eq!(cachectl(&["--json", "ping"])?.json()?[0]["ok"], true);
    Ok(())
}

#[test]
fn the_json_report_of_a_run_has_its_counts() -> Result<()> {
    let ran = cachectl(&["invalidate", "billing:*", "--json"])?;
    let report = &ran.json()?[0];
    assert_eq!(report["outcome"], "complete");
    assert_eq!(report["pattern"], "billing:*");
    assert_eq!(report["removed"], 0);
    assert_eq!(report["primaries"][0]["address"], "memory");
    assert_eq!(report["primaries"][0]["keys_before"], 0);
    let ran = cachectl(&["invalidate", "billing:*", "--json", "--dry-run"])?;
    assert_eq!(ran.json()?[0]["dry_run"], true);
    assert_eq!(ran.json()?[0]["sample"], serde_json::json!([]));
    Ok(())
}

#[test]
fn with_json_a_failure_is_json_too() -> Result<()> {
    let ran = cachectl(&["invalidate", "*", "--json"])?;
    let line = ran.err.lines().last().context("nothing said")?;
    let failure: Value = serde_json::from_str(line)?;
    assert_eq!(failure["error"]["kind"], "refused");
    assert_eq!(failure["error"]["exit"], 5);
    Ok(())
}

#[test]
fn a_value_may_come_from_standard_input() -> Result<()> {
    let ran = with(&["set", "k", "-", "--json"], &[], b"\x00\xff\n")?;
    assert_eq!(ran.json()?[0]["stored"], true);
    Ok(())
}

#[test]
fn without_a_terminal_there_are_no_colours_unless_wanted() -> Result<()> {
    assert!(!cachectl(&["invalidate", "a:*"])?.text().contains('\x1b'));
    assert!(
        cachectl(&["invalidate", "a:*", "--color", "always"])?
            .text()
            .contains('\x1b')
    );
    Ok(())
}

#[test]
fn completions_are_made_for_every_shell() -> Result<()> {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = cachectl(&["completions", shell])?;
        assert_eq!(ran.code, 0);
        assert!(ran.text().contains("invalidate") && ran.err.is_empty(), "{shell}");
    }
    Ok(())
}

#[test]
fn the_help_says_what_the_exit_codes_mean_as_the_page_does() -> Result<()> {
    let help = cachectl(&["--help"])?.text();
    let page = include_str!("../../docs/cachectl.md");
    for code in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "130"] {
        let told = help
            .lines()
            .find_map(|line| line.trim_start().strip_prefix(&format!("{code}  ")));
        let told = told.with_context(|| format!("{code} is not in the help"))?;
        assert!(page.contains(&format!("| {code} | {told}")), "{code} | {told}");
    }
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_7() -> Result<()> {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
    let output = Command::new(env!("CARGO_BIN_EXE_cachectl"))
        .args(["exists", "k"])
        .env_clear()
        .stdout(full)
        .output()?;
    assert_eq!(output.status.code(), Some(7));
    assert!(String::from_utf8(output.stderr)?.contains("cannot write the output"));
    Ok(())
}

#[test]
fn a_new_token_is_shown_once_and_its_hash_is_what_the_service_takes() -> Result<()> {
    let ran = cachectl(&["token", "new", "deploy"])?;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let text = ran.text();
    let token = text.trim();
    assert!(
        token.starts_with("cca_") && token.len() == 47 && text.lines().count() == 1,
        "{text}"
    );
    assert!(!ran.err.contains(token), "{}", ran.err);
    let entry: Vec<&str> = ran
        .err
        .lines()
        .filter_map(|line| line.strip_prefix("cachectl:   "))
        .collect();
    let access = cache_admin::access::Access::from_toml(&entry.join("\n"))?;
    assert_eq!(access.authenticate(Some(token), None)?.name(), "deploy");

    let ran = cachectl(&["token", "new", "deploy", "--json"])?;
    let said = ran.json()?;
    assert_ne!(said[0]["token"], token);
    assert!(
        said[0]["hash"]
            .as_str()
            .is_some_and(|hash| hash.starts_with("sha256:")),
        "{said:?}"
    );
    assert!(ran.err.is_empty(), "{}", ran.err);

    for name in ["", "a b", "a.b", "a]\n[actors.b", "\u{e9}"] {
        let ran = cachectl(&["token", "new", name])?;
        assert_eq!((ran.code, ran.text().as_str()), (2, ""), "{name}: {}", ran.err);
    }
    Ok(())
}

#[test]
fn several_patterns_filters_and_an_estimate_are_understood() -> Result<()> {
    let narrowed = [
        "k:*",
        "l:*",
        "--type",
        "string",
        "--type",
        "hash",
        "--ttl-below",
        "5m",
        "--ttl-above",
        "1s",
    ];
    for command in [&["keys"][..], &["invalidate", "--dry-run"], &["invalidate"]] {
        let arguments = [command, &narrowed[..], &["--json"]].concat();
        let ran = cachectl(&arguments)?;
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
    }
    let ran = cachectl(&["invalidate", "k:*", "l:*", "--no-ttl", "--json"])?;
    assert_eq!(ran.json()?[0]["patterns"][1]["pattern"], "l:*");
    // The embedded cache does not know these of single keys, and says so as soon as there is one to ask for.
    assert_eq!(
        cachectl(&["keys", "--larger-than", "10KiB", "--idle", "1h"])?.code,
        0
    );

    let ran = cachectl(&["invalidate", "k:*", "--dry-run", "--estimate", "--json"])?;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let estimate = &ran.json()?[0];
    assert_eq!(
        (&estimate["method"], &estimate["dry_run"]),
        (&"exact".into(), &true.into())
    );
    assert_eq!(estimate["range"], serde_json::json!([0, 0]));
    let ran = cachectl(&["invalidate", "k:*", "--dry-run", "--estimate=5"])?;
    assert_eq!(
        ran.text(),
        "exact: 0 keys of 0 would be removed: they were counted\n"
    );

    for wrong in [
        &["invalidate"][..],
        &["invalidate", "k:*", "--estimate"],
        &["invalidate", "k:*", "--dry-run", "--estimate=0"],
        &["invalidate", "k:*", "--dry-run", "--estimate", "--sample", "3"],
        &["keys", "--type", "sring"],
        &["keys", "--no-ttl", "--ttl-below", "5m"],
        &["keys", "--larger-than", "ten"],
        &["keys", "--ttl-above", "5m", "--ttl-below", "1m"],
    ] {
        let ran = cachectl(wrong)?;
        assert_eq!(ran.code, 2, "{wrong:?}: {}", ran.err);
    }
    Ok(())
}

#[test]
fn one_broad_pattern_of_several_is_asked_about() -> Result<()> {
    let ran = cachectl(&["invalidate", "billing:*", "*:*"])?;
    assert_eq!(ran.code, 5, "{}", ran.err);
    assert!(ran.err.contains("*:*"), "{}", ran.err);
    assert_eq!(cachectl(&["invalidate", "billing:*", "*:*", "--yes"])?.code, 0);
    Ok(())
}

#[test]
fn there_is_a_manual_page_for_each_command() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ran = cachectl(&["man", folder.path().to_str().context("text")?])?;
    assert_eq!(ran.code, 0, "{}", ran.err);
    for page in [
        "cachectl.1",
        "cachectl-invalidate.1",
        "cachectl-generation-bump.1",
    ] {
        let text = std::fs::read_to_string(folder.path().join(page))?;
        assert!(text.contains(".TH"), "{page}");
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_profile_takes_the_place_of_the_environment() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let home = tempfile::tempdir()?;
    let folder = home.path().join("cachectl");
    std::fs::create_dir(&folder)?;
    let file = folder.join("profiles.toml");
    std::fs::write(
        &file,
        "[prod]\nCACHE_ADDRS = \"127.0.0.1:1\"\nCACHE_PASSWORD = \"hunter2\"\nCACHE_DIAL_TIMEOUT = \"500ms\"\n\
         [remote]\nCACHECTL_SERVER = \"http://127.0.0.1:1\"\n[odd]\nPATH = \"x\"\n",
    )?;
    let home = home.path().to_str().context("text")?;
    let shell = [
        ("XDG_CONFIG_HOME", home),
        ("CACHE_ADDRS", "127.0.0.1:2"),
        ("CACHE_MODE", "cluster"),
        ("CACHECTL_SERVER", "http://127.0.0.1:2"),
    ];
    let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode));

    // It may hold secrets: nobody else may read it.
    mode(0o644)?;
    let open = with(&["--profile", "prod", "ping"], &shell, b"")?;
    assert!(open.code == 6 && open.err.contains("chmod 600"), "{}", open.err);
    mode(0o600)?;
    let settings = with(&["--profile", "prod", "config", "check"], &shell, b"")?;
    let text = settings.text();
    assert!(
        settings.code == 0 && text.contains("127.0.0.1:1") && !text.contains("127.0.0.1:2"),
        "{text}"
    );
    assert!(!text.contains("hunter2") && !text.contains("cluster"), "{text}");
    // Not through the service that the shell names.
    let direct = with(&["ping", "--profile", "prod"], &shell, b"")?;
    assert!(
        direct.code == 4 && direct.err.contains("127.0.0.1:1"),
        "{}",
        direct.err
    );
    let remote = with(&["keys", "--profile", "remote"], &shell, b"")?;
    assert!(
        remote.code == 4 && remote.err.contains("http://127.0.0.1:1"),
        "{}",
        remote.err
    );
    let typed = with(
        &["keys", "--profile", "remote", "--server", "http://127.0.0.1:3"],
        &shell,
        b"",
    )?;
    assert!(
        typed.code == 4 && typed.err.contains("http://127.0.0.1:3"),
        "{}",
        typed.err
    );
    for (name, says) in [("test", "it has odd, prod, remote"), ("odd", "PATH is not known")] {
        let wrong = with(&["--profile", name, "ping"], &shell, b"")?;
        assert!(wrong.code == 6 && wrong.err.contains(says), "{}", wrong.err);
    }
    Ok(())
}

#[test]
fn what_is_removed_without_a_service_is_in_the_audit_file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("audit.jsonl");
    let path = file.display().to_string();
    let audit = [("CACHECTL_AUDIT", path.as_str())];
    assert_eq!(with(&["del", "billing:1"], &audit, b"")?.code, 1);
    assert_eq!(with(&["del", "billing:2", "k\u{1b}"], &audit, b"")?.code, 1);
    assert_eq!(cachectl(&["invalidate", "billing:*", "--audit", &path])?.code, 0);
    assert_eq!(with(&["generation", "bump", "billing"], &audit, b"")?.code, 0);
    // What removes nothing is in no audit.
    for arguments in [
        &["invalidate", "billing:*", "--dry-run"][..],
        &["keys"],
        &["get", "billing:1"],
        &["set", "billing:1", "hunter2"],
        &["invalidate", "*"],
    ] {
        with(arguments, &audit, b"")?;
    }
    let text = std::fs::read_to_string(&file)?;
    assert!(!text.contains("hunter2"), "{text}");
    let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let told: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| {
            (
                line["action"].as_str().unwrap_or(""),
                line["result"].as_str().unwrap_or(""),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("key.delete", "begun"),
            ("key.delete", "ok"),
            ("key.delete", "begun"),
            ("key.delete", "ok"),
            ("pattern.remove", "begun"),
            ("pattern.remove", "complete"),
            ("generation.bump", "begun"),
            ("generation.bump", "ok"),
        ]
    );
    assert_eq!(
        lines[1]["on"],
        serde_json::json!({ "key": "billing:1", "removed": 0, "cache": "the embedded cache" })
    );
    assert_eq!(lines[3]["on"]["keys"], serde_json::json!(["billing:2", "k\\x1b"]));
    assert_eq!(lines[5]["on"]["patterns"], serde_json::json!(["billing:*"]));
    for line in &lines {
        assert!(line["who"].as_str().is_some_and(|who| !who.is_empty()), "{line}");
        assert!(line["time"].is_string(), "{line}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    }
    Ok(())
}
