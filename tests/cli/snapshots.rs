//! What the command line says, word for word: sessions in `tests/snapshots`, run by real shells and compared with what is there.
//!
//! A session is a block of `console` in a Markdown file. A line that begins with `$ ` is run; below it stand its standard output as it
//! is, its standard error with `2> ` before each line, and `? N` where the exit code is not zero. Each `##` begins in a new, empty
//! directory, `[DIR]`. `SNAPSHOTS=overwrite cargo test --test cli snapshots` writes down what is said now; `git diff` shows it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use regex::Regex;
use snapbox::{Assert, Data, Redactions};
use tempfile::TempDir;

/// Where the sessions are.
const SESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots");
/// What their commands are short for.
const WORDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/words.sh");
/// How long a command may take: one that hangs must fail the test and not stop it.
const SECONDS: &str = "60";
/// How many headings of a file are run at a time.
const AT_A_TIME: usize = 8;

macro_rules! sessions {
    ($($name:ident),* $(,)?) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                is_what_happens(stringify!($name));
            }
        )*
    };
}

sessions!(
    alarm,
    audit,
    clock,
    credentials,
    decrypt,
    govern,
    help,
    home,
    import,
    init,
    inspect,
    keys,
    kms,
    machine,
    mount,
    scrub,
    serve,
    setup,
    slot,
    umount,
    unlock
);

/// A directory for the commands below one heading. What they mounted is unmounted, also when the test fails.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    /// What a command says, as the sessions write it.
    fn run(&self, command: &str) -> String {
        let program = Path::new(env!("CARGO_BIN_EXE_kmsfs"));
        let path =
            format!("{}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", program.parent().unwrap().display());
        // In a session without a terminal: nobody is there to be asked.
        let output = Command::new("setsid")
            .args(["--wait", "timeout", "-k", "5", SECONDS, "bash", "-c", command])
            .env_clear()
            .envs([("PATH", path.as_str()), ("TZ", "UTC"), ("LC_ALL", "C"), ("BASH_ENV", WORDS)])
            .env("KMSFS_HOME", self.path().join("home"))
            .current_dir(self.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(!out.lines().any(|line| MARKS.iter().any(|mark| line.starts_with(mark))), "{command}: {out}");
        let mut said = out;
        if !said.is_empty() && !said.ends_with('\n') {
            said.push('\n');
        }
        said.extend(err.lines().map(|line| format!("2> {line}").trim_end().to_owned() + "\n"));
        match output.status.code().unwrap_or(-1) {
            0 => (),
            code => said += &format!("? {code}\n"),
        }
        settled(&said, &self.path())
    }
}

/// What begins a line that is no output: it could not be told apart.
const MARKS: [&str; 4] = ["$ ", "? ", "2> ", "```"];

impl Drop for Place {
    fn drop(&mut self) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for point in points.filter(|point| Path::new(point).starts_with(self.path())) {
            let _ = Command::new("umount").args(["-l", point]).status();
        }
    }
}

/// Without what differs from one run to the next.
fn settled(said: &str, dir: &Path) -> String {
    let mut differs = Redactions::new();
    differs.insert("[DIR]", dir.to_path_buf()).unwrap();
    for (name, pattern) in [
        ("[ID]", "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
        ("[HEX]", r"\b[0-9a-f]{32,64}\b"),
        ("[TIME]", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+]00:00)"),
        ("[AKID]", "AKIA[A-Z2-7]{16}"),
        ("[SECRET]", "(aws_secret_access_key = |\"secretAccessKey\": \")(?<redacted>[A-Za-z0-9+/]{40})"),
        ("[CODE]", "[0-9A-Z]{4}(-[0-9A-Z]{4}){6}"),
        ("[PID]", r"(process|pid) (?<redacted>\d+)"),
        ("[BLOB]", r#""CiphertextBlob": "(?<redacted>[^"]+)""#),
        ("[HEX]", r"[.]kmsfs-home-(?<redacted>[0-9a-f]+)"),
        ("[FD]", r"\bfd=(?<redacted>\d+)"),
        ("[VERSION]", r"(?m)^kmsfs (?<redacted>\d+\.\d+\.\d+)"),
    ] {
        differs.insert(name, Regex::new(pattern).unwrap()).unwrap();
    }
    differs.redact(said)
}

/// The document with what its commands say now. What stands below one heading knows nothing of the rest, and mostly waits for the
/// disk: some of it runs at a time.
fn replayed(document: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for line in document.split_inclusive('\n') {
        match parts.last_mut().filter(|_| !line.starts_with("## ")) {
            Some(part) => part.push_str(line),
            None => parts.push(line.to_owned()),
        }
    }
    let at_a_time = parts.chunks(AT_A_TIME);
    at_a_time
        .flat_map(|parts| {
            thread::scope(|scope| {
                let running: Vec<_> = parts.iter().map(|part| scope.spawn(|| replayed_part(part))).collect();
                running.into_iter().map(|part| part.join().unwrap()).collect::<Vec<_>>()
            })
        })
        .collect()
}

/// What stands below one heading.
fn replayed_part(part: &str) -> String {
    let place = Place::new();
    let mut now = String::new();
    let mut is_session = false;
    for line in part.lines() {
        let command = line.strip_prefix("$ ").filter(|_| is_session);
        match line {
            "```console" | "```" => is_session = line != "```",
            _ if is_session && command.is_none() => continue,
            _ => (),
        }
        now += &format!("{line}\n");
        now += &command.map(|command| place.run(command)).unwrap_or_default();
    }
    now
}

fn is_what_happens(name: &str) {
    let path = Path::new(SESSIONS).join(name).with_extension("md");
    let document = fs::read_to_string(&path).unwrap();
    let now = replayed(&document);
    Assert::new().action_env("SNAPSHOTS").eq(now, Data::read_from(&path, None).raw());
}

/// All sessions, without the words around them.
pub fn said() -> Vec<String> {
    let documents = NAMES.iter().map(|name| fs::read_to_string(format!("{SESSIONS}/{name}.md")).unwrap());
    let lines = documents.flat_map(|document| {
        let blocks = document.split("```console\n").skip(1);
        let blocks: Vec<_> = blocks.flat_map(|rest| rest.split("```").next()).map(str::to_owned).collect();
        blocks.into_iter().flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>())
    });
    lines.collect()
}

#[test]
fn every_file_of_sessions_is_run() {
    let names =
        fs::read_dir(SESSIONS).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter_map(|name| Some(name.strip_suffix(".md")?.to_owned())).collect();
    names.sort();
    assert_eq!(names, NAMES);
}
