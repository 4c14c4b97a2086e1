//! `cachectl keyset` as a program, on files: exit codes, what is written, what is refused, what is never shown.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Every step is due at once.
const AT_ONCE: [&str; 4] = ["--refresh", "0s", "--value-ttl", "0s"];

/// What a run left behind.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("{self:?}"))
    }
}

/// A keyset in a folder of its own.
struct Keyset {
    folder: tempfile::TempDir,
}

impl Keyset {
    fn nowhere() -> Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
        })
    }

    fn created() -> Result<Self> {
        let keyset = Self::nowhere()?;
        keyset.does(&["create"])?;
        Ok(keyset)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keyset.json")
    }

    fn run(&self, arguments: &[&str]) -> Result<Ran> {
        let file = self.path();
        let file = file.to_str().context("a path that is no text")?;
        cachectl(&[&["keyset"], arguments, &["--file", file]].concat(), &[])
    }

    /// What is done and said so.
    fn does(&self, arguments: &[&str]) -> Result<Ran> {
        let ran = self.run(arguments)?;
        ensure!(ran.code == 0, "{arguments:?}: {ran:?}");
        Ok(ran)
    }

    fn info(&self) -> Result<Value> {
        self.does(&["info", "--json"])?.json()
    }

    fn primary(&self) -> Result<String> {
        Ok(self.info()?["primary_key_id"].to_string())
    }

    /// Adds a key; its id.
    fn add(&self) -> Result<String> {
        Ok(self.does(&["add", "--json"])?.json()?["key_id"].to_string())
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        Ok(std::fs::read(self.path())?)
    }
}

fn cachectl(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Ran> {
    let output = Command::new(env!("CARGO_BIN_EXE_cachectl"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()?;
    Ok(Ran {
        code: output.status.code().context("ended by a signal")?,
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

#[test]
fn a_keyset_is_made_once_and_for_its_owner_alone() -> Result<()> {
    let keyset = Keyset::nowhere()?;
    let missing = keyset.run(&["info"])?;
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.err.contains("there is no keyset at"), "{missing:?}");

    let made = keyset.does(&["create"])?;
    assert!(
        made.err.contains("in clear, which is for development"),
        "{made:?}"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            std::fs::metadata(keyset.path())?.permissions().mode() & 0o777,
            0o600
        );
    }
    let before = keyset.bytes()?;
    let again = keyset.run(&["create"])?;
    assert_eq!(again.code, 7, "{again:?}");
    assert!(again.err.contains("holds a keyset already"), "{again:?}");
    assert_eq!(keyset.bytes()?, before);
    Ok(())
}

#[test]
fn a_step_that_is_too_early_is_5_and_says_what_would_break() -> Result<()> {
    let keyset = Keyset::created()?;
    let old = keyset.primary()?;
    let new = keyset.add()?;
    let before = keyset.bytes()?;

    let early = keyset.run(&["promote", &new])?;
    assert_eq!(early.code, 5, "{early:?}");
    for words in [
        "too early, by 1h 1",
        "services that have not read the keyset",
        "--force",
    ] {
        assert!(early.err.contains(words), "{words}: {early:?}");
    }
    let delete = keyset.run(&["delete", &new])?;
    assert_eq!(delete.code, 5, "{delete:?}");
    assert!(delete.err.contains("disable it first"), "{delete:?}");
    assert_eq!(keyset.bytes()?, before, "nothing was written");

    let forced = keyset.does(&["promote", &new, "--force"])?;
    assert!(forced.err.contains("was forced 1h 1"), "{forced:?}");
    assert_eq!(keyset.primary()?, new);
    let early = keyset.run(&["disable", &old])?;
    assert_eq!(early.code, 5, "{early:?}");
    // Shorter intervals make it due.
    keyset.does(&[&["disable", &old], &AT_ONCE[..]].concat())?;
    keyset.does(&["enable", &old])?;
    Ok(())
}

#[test]
fn what_is_impossible_is_2_and_forced_no_more_than_otherwise() -> Result<()> {
    let keyset = Keyset::created()?;
    let primary = keyset.primary()?;
    for arguments in [
        &["disable", &primary, "--force"][..],
        &["delete", &primary, "--force"],
        &["promote", "1"],
        &["promote", "x"],
        &["promote", "-1"],
        &["enable", "4294967296"],
        &["rewrap"],
    ] {
        let ran = keyset.run(arguments)?;
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
    }
    let nowhere = cachectl(&["keyset", "info"], &[])?;
    assert_eq!(nowhere.code, 2, "{nowhere:?}");
    assert!(
        nowhere.err.contains("say where the keyset is: --file PATH"),
        "{nowhere:?}"
    );
    Ok(())
}

#[test]
fn the_assistant_rotates_step_by_step() -> Result<()> {
    let keyset = Keyset::created()?;
    let old = keyset.primary()?;
    let waits = keyset.does(&["rotate"])?;
    assert!(
        waits.out.contains("nothing to do yet\nnext: add, safe from"),
        "{waits:?}"
    );

    let mut steps = Vec::new();
    for _ in 0..4 {
        let arguments = [&["rotate", "--json", "--every", "0s"], &AT_ONCE[..]].concat();
        let dry = keyset.does(&[&arguments[..], &["--dry-run"]].concat())?.json()?;
        let ran = keyset.does(&arguments)?.json()?;
        assert_eq!(
            dry["change"], ran["change"],
            "what a dry run says is what is done"
        );
        assert_eq!(ran["done"], true);
        steps.push((
            ran["change"].as_str().unwrap_or_default().to_owned(),
            ran["key_id"].to_string(),
        ));
    }
    let new = keyset.primary()?;
    let expected = [
        ("add", &new),
        ("promote", &new),
        ("disable", &old),
        ("delete", &old),
    ];
    let expected = expected.map(|(step, id)| (step.to_owned(), id.clone()));
    assert_eq!(steps, expected);
    assert_eq!(keyset.info()?["keys"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[test]
fn a_dry_run_writes_nothing() -> Result<()> {
    let nowhere = Keyset::nowhere()?;
    nowhere.does(&["create", "--dry-run"])?;
    assert!(!nowhere.path().exists());

    let keyset = Keyset::created()?;
    let files = |keyset: &Keyset| -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(keyset.folder.path())? {
            let path = entry?.path();
            files.push((path.clone(), std::fs::read(path)?));
        }
        files.sort();
        Ok(files)
    };
    let before = files(&keyset)?;
    keyset.does(&["add", "--dry-run"])?;
    keyset.does(&["rotate", "--dry-run", "--force"])?;
    keyset.does(&["rewrap", "--to-clear", "--form", "binary", "--dry-run"])?;
    assert_eq!(files(&keyset)?, before);
    Ok(())
}

#[test]
fn the_configured_keyset_is_the_default() -> Result<()> {
    let keyset = Keyset::created()?;
    let path = keyset.path();
    let variables = [
        ("CACHE_ENCRYPTION_ENABLED", "true"),
        ("CACHE_ENCRYPTION_KEYSET_FILE", path.to_str().context("no text")?),
        ("CACHE_ENCRYPTION_REFRESH", "30m"),
    ];
    let added = cachectl(&["keyset", "add", "--json"], &variables)?;
    assert_eq!(added.code, 0, "{added:?}");
    let remaining = added.json()?["keyset"]["next"]["remaining_s"].as_u64();
    assert!(
        remaining.is_some_and(|seconds| (89 * 60..=90 * 60).contains(&seconds)),
        "{added:?}"
    );
    assert_eq!(keyset.info()?["keys"].as_array().map(Vec::len), Some(2));
    Ok(())
}

#[test]
fn another_form_and_another_place_hold_the_same_keys() -> Result<()> {
    let keyset = Keyset::created()?;
    let new = keyset.add()?;
    keyset.does(&["rewrap", "--to-clear", "--form", "binary"])?;
    let info = keyset.info()?;
    assert_eq!(info["form"], "binary");
    assert_eq!(info["keys"][1]["id"].to_string(), new);
    assert_eq!(
        info["keys"][1]["times"]["added"]["assumed"], false,
        "the notes are still there"
    );

    let target = keyset.folder.path().join("moved");
    let target = target.to_str().context("no text")?;
    let moved = keyset.does(&["rewrap", "--to-clear", "--form", "json", "--to-file", target])?;
    assert!(moved.out.contains("(json), in clear"), "{moved:?}");
    let again = keyset.run(&["rewrap", "--to-clear", "--to-file", target])?;
    assert_eq!(again.code, 7, "{again:?}");
    let there = cachectl(&["keyset", "info", "--json", "--file", target], &[])?.json()?;
    assert_eq!(there["keys"], info["keys"]);
    Ok(())
}

#[test]
fn of_commands_at_the_same_time_none_is_lost() -> Result<()> {
    let keyset = Keyset::created()?;
    let path = keyset.path();
    let mut running = Vec::new();
    for _ in 0..8 {
        let child = Command::new(env!("CARGO_BIN_EXE_cachectl"))
            .args(["keyset", "add", "--file"])
            .arg(&path)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        running.push(child);
    }
    let mut added = 0;
    for child in running {
        let output = child.wait_with_output()?;
        if output.status.success() {
            added += 1;
        } else {
            let said = String::from_utf8(output.stderr)?;
            assert_eq!(output.status.code(), Some(7), "{said}");
            assert!(said.contains("CONFLICT"), "{said}");
        }
    }
    let keys = keyset.info()?["keys"].as_array().map_or(0, Vec::len);
    assert_eq!(keys, 1 + added);
    assert!(added > 0);
    Ok(())
}

#[test]
fn a_file_that_is_no_keyset_is_not_changed() -> Result<()> {
    let keyset = Keyset::nowhere()?;
    std::fs::write(keyset.path(), "{\"primaryKeyId\": 1, \"key\": []}")?;
    for arguments in [&["info"][..], &["add"], &["rotate"]] {
        let ran = keyset.run(arguments)?;
        assert_eq!(ran.code, 7, "{ran:?}");
        assert!(ran.err.contains("it is empty"), "{ran:?}");
    }
    let create = keyset.run(&["create"])?;
    assert_eq!(create.code, 7, "it is not overwritten: {create:?}");
    Ok(())
}

#[cfg(not(feature = "aws"))]
#[test]
fn a_build_without_aws_says_so() -> Result<()> {
    for arguments in [
        &["keyset", "info", "--uri", "aws-secretsmanager:///app/keyset"][..],
        &[
            "keyset",
            "create",
            "--file",
            "x",
            "--kms-key",
            "aws-kms://alias/x",
        ],
    ] {
        let ran = cachectl(arguments, &[])?;
        assert_eq!(ran.code, 7, "{ran:?}");
        assert!(ran.err.contains("feature aws"), "{ran:?}");
    }
    Ok(())
}

#[test]
fn key_material_is_shown_by_no_command() -> Result<()> {
    let keyset = Keyset::created()?;
    let mut shown = String::new();
    let mut materials = Vec::new();
    let mut note = |keyset: &Keyset, ran: Ran| -> Result<()> {
        shown.push_str(&ran.out);
        shown.push_str(&ran.err);
        let stored: Value = serde_json::from_slice(&keyset.bytes()?)?;
        for key in stored["key"].as_array().into_iter().flatten() {
            // Without the start, which is the same in each, and the padding.
            let value = key["keyData"]["value"].as_str().context("no value")?;
            materials.push(value[4..40].to_owned());
        }
        Ok(())
    };
    for arguments in [
        &["info"][..],
        &["info", "--json"],
        &["add", "-vvv"],
        &["rotate", "-vvv", "--force", "--json"],
        &["rotate", "--force"],
        &["promote", "7"],
        &["create"],
        &["rewrap", "--to-clear", "-vvv"],
    ] {
        note(&keyset, keyset.run(arguments)?)?;
    }
    // A keyset that is broken in its value.
    let text = String::from_utf8(keyset.bytes()?)?;
    for (from, to) in [
        ("\"ENABLED\"", "value"),
        ("\"keyId\": ", "\"keyId\": \"%\", \"x\": "),
    ] {
        let value = materials.first().context("no keys")?;
        let broken = text.replace(
            from,
            &to.replace("value", &format!("\"{value}\"")).replace('%', value),
        );
        ensure!(broken != text, "{from} does not occur");
        let path = keyset.folder.path().join("broken");
        std::fs::write(&path, broken)?;
        let ran = cachectl(
            &[
                "keyset",
                "info",
                "--file",
                path.to_str().context("no text")?,
                "-vvv",
            ],
            &[],
        )?;
        assert_eq!(ran.code, 7, "{ran:?}");
        shown.push_str(&ran.err);
    }
    let notes = std::fs::read_to_string(notes_of(&keyset.path()))?;
    shown.push_str(&notes);
    assert!(materials.len() > 8 && shown.len() > 1_000);
    for material in materials {
        assert!(!shown.contains(&material));
    }
    Ok(())
}

fn notes_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".notes.json");
    name.into()
}
