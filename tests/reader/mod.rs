//! The second reader, as a process that tests ask for files: it was written in Python from `docs/FORMAT.md` and shares no code
//! with kmsfs.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Debian's own Python, which finds the package that `scripts/test` installs.
const PYTHON: &str = "/usr/bin/python3";

/// The reader's command line.
pub fn command() -> Command {
    let mut command = Command::new(PYTHON);
    command.args(["-B", "-m", "kmsfs_reader"]);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reader"));
    command
}

/// A running reader.
pub struct Reader {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    temp: TempDir,
}

impl Reader {
    /// Starts it; `keys` are the options that say where data keys come from.
    pub fn start(keys: &[&str]) -> Self {
        let mut command = command();
        let started = command.arg("--batch").args(keys).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.unwrap_or_else(|error| panic!("{PYTHON}: {error}"));
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, requests, answers, temp: tempfile::tempdir().unwrap() }
    }

    /// Reads a file, and proves that nothing in it was put back; or answers why it is refused.
    pub fn scrub(&mut self, file: &Path) -> Result<Vec<u8>, String> {
        self.ask(file, "scrub").map(|_| fs::read(self.plaintext()).unwrap())
    }

    /// As the reader answers it: `mode` is `scrub`, or `salvage`, which leaves out chunks that are refused. The plaintext is at
    /// [`Reader::plaintext`].
    pub fn ask(&mut self, file: &Path, mode: &str) -> Result<Value, String> {
        let mut request = json!({"file": file, "output": self.plaintext()});
        request[mode] = true.into();
        let requests = self.requests.as_mut().unwrap();
        writeln!(requests, "{request}").unwrap_or_else(|error| panic!("the reader has ended: {error}"));
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the reader has ended: does {PYTHON} have the package cryptography?");
        let answer: Value = serde_json::from_str(&line).unwrap();
        match &answer["refused"] {
            Value::String(why) => Err(why.clone()),
            _ => Ok(answer),
        }
    }

    /// Where the plaintext of the last file is.
    pub fn plaintext(&self) -> PathBuf {
        self.temp.path().join("plaintext")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It ends when its requests do.
        drop(self.requests.take());
        let _ = self.child.wait();
    }
}
