//! A directory of its own for each test, and `kmsfs` in it with an environment that says nothing but what the test says.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// How long one command may take: one that hangs must fail the test and not stop it.
const COMMAND_SECONDS: &str = "60";

/// A directory, with or without a home in it.
pub struct Fixture {
    pub temp: TempDir,
}

/// What a command answered.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Fixture {
    /// Nothing is there yet.
    pub fn bare() -> Self {
        Self { temp: tempfile::tempdir().unwrap() }
    }

    /// A home without keys.
    pub fn new() -> Self {
        let fixture = Self::bare();
        fixture.ok(&["setup", "--key-file", "key-file"]);
        fixture
    }

    /// A home, the key `alias/main` and the volume `dir`.
    pub fn with_volume() -> Self {
        let fixture = Self::new();
        fixture.new_key("alias/main");
        fixture.ok(&["init", "dir", "--key", "alias/main"]);
        fs::create_dir(fixture.path("mnt")).unwrap();
        fixture
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().canonicalize().unwrap().join(name)
    }

    /// `kmsfs` in the directory; its home is `home` there, as the environment says.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.without_home(arguments);
        command.env("KMSFS_HOME", self.path("home"));
        command
    }

    /// As [`Fixture::command`], and the environment says nothing of a home.
    pub fn without_home(&self, arguments: &[&str]) -> Command {
        // Without the terminal that the tests may be run from: nobody is there to be asked.
        self.in_session(&["--wait", "timeout"], arguments)
    }

    /// `kmsfs` in a session of its own, which `setsid` and `timeout` make as `how` says.
    pub fn in_session(&self, how: &[&str], arguments: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command.args(how).args(["-k", "5", COMMAND_SECONDS, env!("CARGO_BIN_EXE_kmsfs")]).args(arguments);
        for name in
            ["KMSFS_HOME", "XDG_DATA_HOME", "HOME", "KMSFS_LOG", "KMSFS_KEY_FILE", "KMSFS_PASSPHRASE_FILE"]
        {
            command.env_remove(name);
        }
        command.env("TZ", "UTC").current_dir(self.temp.path());
        command
    }

    /// A file that only its owner may read.
    pub fn secret(&self, name: &str, content: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        fs::write(self.path(name), content).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        self.path(name)
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        said(&mut self.command(arguments))
    }

    /// As [`Fixture::run`]; it must succeed, and has nothing to complain about.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "kmsfs {}: {}", arguments.join(" "), said.out);
        said.out
    }

    /// `kmsfs kms`, which must succeed; its answer.
    #[track_caller]
    pub fn kms(&self, arguments: &[&str]) -> Value {
        let out = self.ok(&[&["kms"], arguments].concat());
        if out.is_empty() { Value::Null } else { serde_json::from_str(&out).unwrap() }
    }

    /// A new key with an alias; its id.
    pub fn new_key(&self, alias: &str) -> String {
        let id = self.kms(&["create-key"])["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
        self.kms(&["create-alias", "--alias-name", alias, "--target-key-id", &id]);
        id
    }

    /// The command fails with `code`, in one line that holds each of `named` and one that says what to do; prints nothing else.
    /// The hint.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str], code: u8, named: &[&str]) -> String {
        self.run(arguments).fails(code, named)
    }

    /// The names in the directory.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.temp.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Said {
    /// As [`Fixture::fails`].
    #[track_caller]
    pub fn fails(&self, code: u8, named: &[&str]) -> String {
        assert_eq!(self.code, i32::from(code), "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        let lines: Vec<_> = self.err.lines().collect();
        let [what, hint] = lines.as_slice() else { panic!("not two lines: {self:?}") };
        let what = what.strip_prefix("kmsfs: ").unwrap_or_else(|| panic!("{self:?}"));
        let hint = hint.strip_prefix("hint: ").unwrap_or_else(|| panic!("{self:?}"));
        assert!(what.len() > 10 && hint.len() > 5, "{self:?}");
        for name in named {
            assert!(what.contains(name), "{name:?} is not named: {self:?}");
        }
        hint.to_owned()
    }
}

/// Runs a command to its end.
pub fn said(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Said {
        code: status.code().unwrap_or(-1),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}
