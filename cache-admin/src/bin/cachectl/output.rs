//! The only way to standard output and standard error.

use std::io::{self, BufWriter, IsTerminal as _, Stderr, Stdout, Write as _};

use serde::Serialize;

use crate::cli::{Colour, Global};
use crate::failure::Failure;

/// Results go to standard output; notes, questions, progress and failures to standard error.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    /// Whether standard output is a terminal.
    terminal: bool,
    /// Whether standard error is a terminal.
    error_terminal: bool,
    colours: Colours,
    error_colours: Colours,
    out: BufWriter<Stdout>,
    err: Stderr,
}

/// Whether, on one stream, there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Colours(bool);

impl Output {
    /// The streams of this process.
    pub(crate) fn of_process(global: &Global) -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let (terminal, error_terminal) = (out.is_terminal(), err.is_terminal());
        let colours = |terminal| match global.color {
            Colour::Auto => Colours(terminal && global.no_color.is_none()),
            Colour::Always => Colours(true),
            Colour::Never => Colours(false),
        };
        Self {
            json: global.json,
            terminal,
            error_terminal,
            colours: colours(terminal),
            error_colours: colours(error_terminal),
            out: BufWriter::new(out),
            err,
        }
    }

    /// Whether answers are JSON.
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether standard output is a terminal.
    pub(crate) const fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether somebody watches standard error who is not to get JSON.
    pub(crate) const fn is_watched(&self) -> bool {
        self.error_terminal && !self.json
    }

    /// Whether questions can be asked and answered.
    pub(crate) fn can_ask(&self) -> bool {
        self.error_terminal && io::stdin().is_terminal()
    }

    /// Whether there are colours on standard error.
    pub(crate) const fn has_error_colours(&self) -> bool {
        self.error_colours.0
    }

    /// The colours of standard output.
    pub(crate) const fn colours(&self) -> Colours {
        self.colours
    }

    /// A line of the result.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.flush_to_terminal()
    }

    /// Bytes of the result.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.flush_to_terminal()
    }

    /// The result, or a part of it, as one line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        self.line("")
    }

    /// The result: `text`, or with `--json` what `value` makes.
    pub(crate) fn answer<V: Serialize>(&mut self, text: &str, value: impl FnOnce() -> V) -> io::Result<()> {
        if self.json {
            self.json(&value())
        } else {
            self.line(text)
        }
    }

    /// Something to know besides the result. That it cannot be told is no reason to stop.
    pub(crate) fn note(&mut self, text: &str) {
        let line = self.error_colours.dim(&format!("cachectl: {text}"));
        let _ = writeln!(self.err, "{line}");
    }

    /// Something that went wrong on the way to a result.
    pub(crate) fn warning(&mut self, text: &str) {
        let label = self.error_colours.yellow("cachectl: warning:");
        let _ = writeln!(self.err, "{label} {text}");
    }

    /// Why there is no result.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        // What cannot be written is told by whoever flushes last.
        let _ = self.flush();
        let lines = failure.lines();
        if self.json && !lines.is_empty() {
            let _ = writeln!(self.err, "{}", failure.json());
            return;
        }
        let label = self.error_colours.red("cachectl:");
        for line in lines {
            let _ = writeln!(self.err, "{label} {line}");
        }
    }

    /// Asks for a yes; anything else is a no.
    pub(crate) fn ask(&mut self, question: &str) -> io::Result<bool> {
        write!(self.err, "{question} [y/N] ")?;
        self.err.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// Asks for a text; the answer without what is around it.
    pub(crate) fn ask_for(&mut self, question: &str) -> io::Result<String> {
        write!(self.err, "{question} ")?;
        self.err.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    }

    /// Hands on what was written so far.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn flush_to_terminal(&mut self) -> io::Result<()> {
        if self.terminal { self.out.flush() } else { Ok(()) }
    }
}

impl Colours {
    /// Where there are none.
    pub(crate) const NONE: Self = Self(false);

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
