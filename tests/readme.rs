//! What the README shows is what happens: its session is run, command by command, and the outputs are compared.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Stands between the outputs of two commands.
const MARK: &str = "\u{1e}";

/// A command of a session, and the output that is shown for it.
struct Shown {
    command: String,
    output: String,
}

/// Ends what a session mounted, also when the test fails.
struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let ours = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for mount in ours.filter(|mount| Path::new(mount).starts_with(self.0)) {
            let _ = Command::new("umount").args(["-l", mount]).status();
        }
    }
}

/// The sessions of a document: blocks of `console`, whose commands begin with `$ `.
fn sessions(document: &str) -> Vec<Vec<Shown>> {
    let blocks = document.split("```console\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap());
    blocks
        .map(|block| {
            let mut session: Vec<Shown> = Vec::new();
            for line in block.lines() {
                match line.strip_prefix("$ ") {
                    Some(command) => {
                        session.push(Shown { command: command.to_owned(), output: String::new() })
                    }
                    None => {
                        let last = session.last_mut().expect("a session begins with a command");
                        last.output += &format!("{line}\n");
                    }
                }
            }
            session
        })
        .collect()
}

/// Runs the commands in one shell, as a person would in one terminal.
fn run(session: &[Shown], home: &Path) -> Vec<String> {
    let script: String =
        session.iter().map(|shown| format!("printf '{MARK}'\n{}\n", shown.command)).collect();
    let path = Path::new(env!("CARGO_BIN_EXE_kmsfs")).parent().unwrap();
    let outer = std::env::var("PATH").unwrap();
    let output = Command::new("timeout")
        .args(["-k", "5", "120", "bash", "-c"])
        .arg(format!("exec 2>&1\n{script}"))
        .env_clear()
        .env("HOME", home)
        .env("PATH", format!("{}:{outer}", path.display()))
        .env("TZ", "UTC")
        .current_dir(home)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(MARK).skip(1).map(str::to_owned).collect()
}

/// Without what differs from one run to the next: ids, dates, the home's directory.
fn settled(text: &str, home: &Path) -> String {
    let text = without_code(&text.replace(home.to_str().unwrap(), "/home/me"));
    let mut out = String::new();
    let mut word = String::new();
    for letter in text.chars().chain(['\n']) {
        if letter.is_ascii_hexdigit() || "-:.TZ+".contains(letter) {
            word.push(letter);
            continue;
        }
        out.push_str(if is_of_the_run(&word) { "*" } else { &word });
        word.clear();
        out.push(letter);
    }
    out.trim_end().to_owned()
}

/// Without the characters of a recovery code: seven groups of four.
fn without_code(text: &str) -> String {
    let is_code = |word: &str| {
        let groups = word.strip_suffix(':').unwrap_or(word).split('-');
        groups.clone().count() == 7
            && groups.into_iter().all(|group| {
                group.len() == 4
                    && group.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
            })
    };
    let words = text.split(' ').map(|word| if is_code(word) { "*:" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a word is an id (32 hex digits or more) or a date.
fn is_of_the_run(word: &str) -> bool {
    let digits = word.chars().filter(char::is_ascii_hexdigit).count();
    let is_date = word.len() >= 19 && word.as_bytes().get(10) == Some(&b'T');
    digits >= 32 || is_date
}

#[test]
fn the_session_of_the_readme_is_what_happens() {
    let sessions = sessions(include_str!("../README.md"));
    assert_eq!(sessions.len(), 1);
    let temp = tempfile::tempdir().unwrap();
    let home = fs::canonicalize(temp.path()).unwrap();
    let _unmount = Unmount(&home);
    let outputs = run(&sessions[0], &home);
    assert_eq!(outputs.len(), sessions[0].len(), "{outputs:#?}");
    for (shown, output) in sessions[0].iter().zip(&outputs) {
        assert_eq!(
            settled(&shown.output, Path::new("/home/me")),
            settled(output, &home),
            "{} printed:\n{output}",
            shown.command
        );
    }
}

/// What stands in blocks of `sh` is run by `scripts/test`: itself, and the rest by its steps.
#[test]
fn every_other_command_of_the_readme_is_one_that_the_test_script_runs() {
    let document = include_str!("../README.md");
    let script = include_str!("../scripts/test");
    for block in document.split("```sh\n").skip(1) {
        for command in block.split("```").next().unwrap().lines() {
            assert!(
                command == "scripts/test" || script.contains(command),
                "scripts/test does not run: {command}"
            );
        }
    }
    let installs = "cargo install --locked --path .";
    assert!(document.contains(installs) && script.contains(installs));
}

#[test]
fn what_differs_between_runs_is_left_out_and_nothing_else() {
    let home = Path::new("/tmp/x");
    let one =
        "key/0bcde599-1c10-4a5a-bc82-207818610f8a at 2026-12-01T15:19:07.286Z in /tmp/x/vault, version 2";
    assert_eq!(settled(one, home), "key/* at * in /home/me/vault, version 2");
    assert_eq!(settled("is AB12-AB12-AB12-AB12-AB12-AB12-XYZ9: write", home), "is *: write");
    assert_ne!(settled("is AB12-AB12-AB12-AB12-AB12-AB12: write", home), "is *: write");
    assert_ne!(settled("version 1", home), settled("version 2", home));
}
