//! The real Tink, in Python: a process that is asked a line at a time.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_layers::keyset::KeysetForm;
use serde_json::{Value, json};
use tests::Python;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Pinned, so that a run next year asks the same.
const PACKAGES: &[&str] = &["tink==1.16.1", "boto3==1.44.5"];

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/encryption/answers.py");

/// How long an answer may take; the first one waits for Tink to be imported.
const LIMIT: Duration = Duration::from_secs(60);

/// A process that answers for Tink. It ends with this.
#[derive(Debug)]
pub(crate) struct Tink {
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    _process: Child,
}

/// A keyset as Tink is given it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) bytes: Vec<u8>,
    pub(crate) form: KeysetForm,
    /// What encrypts it: a keyset in clear, as JSON, or the URI of a KMS key.
    pub(crate) kek: Option<String>,
}

impl Stored {
    fn question(&self, ask: &str) -> Value {
        json!({
            "ask": ask,
            "keyset": STANDARD.encode(&self.bytes),
            "form": self.form.name(),
            "kek": self.kek,
        })
    }
}

impl Tink {
    /// Starts it; `None` if it cannot be installed, and then `test` is reported as skipped.
    pub(crate) async fn start_or_skip(test: &str) -> Result<Option<Self>> {
        Self::start_with(test, &[]).await
    }

    /// The same with variables of the environment, such as those that name an emulator of AWS.
    pub(crate) async fn start_with(test: &str, variables: &[(&str, &str)]) -> Result<Option<Self>> {
        let root = env!("CARGO_TARGET_TMPDIR");
        let Some(python) = Python::find_or_skip(test, root, "tink", PACKAGES).await? else {
            return Ok(None);
        };
        let mut process = Command::new(python.program("python"))
            .arg(SCRIPT)
            .env_clear()
            .env("PYTHONIOENCODING", "utf-8")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .context("start python")?;
        Ok(Some(Self {
            questions: process.stdin.take().context("no standard input")?,
            answers: BufReader::new(process.stdout.take().context("no standard output")?),
            _process: process,
        }))
    }

    /// Seals `text` with a keyset.
    pub(crate) async fn seal(
        &mut self,
        keyset: &Stored,
        text: &[u8],
        name: &[u8],
    ) -> Result<Result<Vec<u8>, String>> {
        self.with_text(keyset.question("seal"), text, name).await
    }

    /// Opens `sealed` with a keyset.
    pub(crate) async fn open(
        &mut self,
        keyset: &Stored,
        sealed: &[u8],
        name: &[u8],
    ) -> Result<Result<Vec<u8>, String>> {
        self.with_text(keyset.question("open"), sealed, name).await
    }

    /// Makes a keyset of one key for each template; the first is the primary.
    pub(crate) async fn make(
        &mut self,
        templates: &[&str],
        form: KeysetForm,
        kek: Option<String>,
    ) -> Result<Stored> {
        let question = json!({ "ask": "make", "templates": templates, "form": form.name(), "kek": kek });
        let made = self.ask(&question).await?.map_err(anyhow::Error::msg)?;
        let bytes = STANDARD.decode(made.as_str().context("no text")?)?;
        Ok(Stored { bytes, form, kek })
    }

    /// The primary's id, and of each key its id, status and prefix.
    pub(crate) async fn info(&mut self, keyset: &Stored) -> Result<Value> {
        self.ask(&keyset.question("info"))
            .await?
            .map_err(anyhow::Error::msg)
    }

    /// The URI of a new KMS key.
    pub(crate) async fn kms_key(&mut self) -> Result<String> {
        let made = self
            .ask(&json!({ "ask": "kms_key" }))
            .await?
            .map_err(anyhow::Error::msg)?;
        Ok(made.as_str().context("no text")?.to_owned())
    }

    /// The keyset in the secret `name`, encrypted under the KMS key `kek`.
    pub(crate) async fn in_secret(&mut self, name: &str, form: KeysetForm, kek: &str) -> Result<Stored> {
        let question = json!({ "ask": "secret", "secret": name });
        let stored = self.ask(&question).await?.map_err(anyhow::Error::msg)?;
        Ok(Stored {
            bytes: STANDARD.decode(stored.as_str().context("no text")?)?,
            form,
            kek: Some(kek.to_owned()),
        })
    }

    async fn with_text(
        &mut self,
        mut question: Value,
        text: &[u8],
        name: &[u8],
    ) -> Result<Result<Vec<u8>, String>> {
        question["text"] = STANDARD.encode(text).into();
        question["name"] = STANDARD.encode(name).into();
        match self.ask(&question).await? {
            Ok(answer) => Ok(Ok(STANDARD.decode(answer.as_str().context("no text")?)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// What Tink answers, or why it refuses.
    async fn ask(&mut self, question: &Value) -> Result<Result<Value, String>> {
        let answer = tokio::time::timeout(LIMIT, async {
            self.questions
                .write_all(format!("{question}\n").as_bytes())
                .await?;
            self.questions.flush().await?;
            let mut line = String::new();
            self.answers.read_line(&mut line).await?;
            anyhow::Ok(line)
        });
        let line = answer.await.context("Tink does not answer")??;
        let mut answer: Value = serde_json::from_str(&line).context("Tink ended")?;
        match answer["error"].as_str() {
            Some(error) => Ok(Err(error.to_owned())),
            None => Ok(Ok(answer["ok"].take())),
        }
    }
}
