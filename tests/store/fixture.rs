//! A real home whose every table has rows, and copies of it that a test may spoil.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kmsfs::kms::alarm::{Action, AlarmRecord, PERIOD, Watch};
use kmsfs::kms::id::KeyId;
use kmsfs::kms::{Operation, Via};
use kmsfs::store::{AlarmError, Home, HomeError, NewSlot, SetupOptions};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Tables with rows of their own, and the one that authenticates them. The first column is the key.
pub const TABLES: [&str; 9] =
    ["meta", "slots", "keys", "materials", "aliases", "tombstones", "alarms", "credentials", "heads"];

/// A home in a directory that goes with it.
pub struct Fixture {
    pub temp: TempDir,
}

impl Fixture {
    /// A home without keys.
    pub fn empty() -> Self {
        let fixture = Self { temp: tempfile::tempdir().unwrap() };
        drop(fixture.setup().unwrap());
        fixture
    }

    /// Keys that are enabled, rotated, disabled, pending deletion and destroyed, some with aliases, one with an alarm; and a credential.
    pub fn full() -> Self {
        let fixture = Self::empty();
        let home = fixture.open();
        let [used, off, leaving, gone] =
            ["used", "off", "leaving", "gone"].map(|name| new_key(&home, name, &format!("alias/{name}")));
        call(&home, Operation::RotateKeyOnDemand, json!({"KeyId": used}));
        call(&home, Operation::CreateAlias, json!({"AliasName": "alias/second", "TargetKeyId": used}));
        call(&home, Operation::DisableKey, json!({"KeyId": off}));
        call(&home, Operation::ScheduleKeyDeletion, json!({"KeyId": gone, "PendingWindowInDays": 7}));
        call(&home, Operation::ScheduleKeyDeletion, json!({"KeyId": leaving, "PendingWindowInDays": 30}));
        assert!(home.advance_clock(Duration::from_secs(8 * 86_400)).unwrap());
        call(&home, Operation::ListKeys, json!({}));
        assert_eq!(home.keyring().unwrap().tombstones().count(), 1);
        add_alarm(&home, "who", Some(&used), Watch::Refused).unwrap();
        home.create_credential(&home.caller(0, 1, Via::Cli), "alice").unwrap();
        drop(home);
        for table in TABLES {
            assert!(!rows_of(&fixture.connect(), table).is_empty(), "{table} has rows");
        }
        fixture
    }

    pub fn setup(&self) -> Result<Home, HomeError> {
        let options = SetupOptions {
            simulated_clock: true,
            ..SetupOptions::new(vec![NewSlot::KeyFile(self.path("key-file"))])
        };
        Home::setup(&self.home(), &options)
    }

    /// The id of the key of that description.
    pub fn id(&self, description: &str) -> String {
        let ring = self.open().keyring().unwrap();
        ring.keys().find(|key| key.record.description == description).unwrap().record.id.to_string()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    pub fn database(&self) -> PathBuf {
        self.home().join("keys.db")
    }

    pub fn open(&self) -> Home {
        Home::open(&self.home()).unwrap()
    }

    /// A connection such as anybody with the file has.
    pub fn connect(&self) -> Connection {
        connect(&self.database())
    }

    /// A copy of the home that unlocks with the same key file.
    pub fn copy(&self) -> Self {
        let copy = Self { temp: tempfile::tempdir().unwrap() };
        fs::create_dir(copy.home()).unwrap();
        fs::create_dir(copy.home().join("run")).unwrap();
        for entry in fs::read_dir(self.home()).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), copy.home().join(entry.file_name())).unwrap();
            }
        }
        copy
    }

    /// `kmsfs` with this home, as a process of its own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kmsfs"));
        command.args(arguments).env("KMSFS_HOME", self.home()).env("TZ", "UTC");
        command
    }
}

/// A connection that obeys what it is told, foreign keys or not.
pub fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    connection
}

/// An operation of the key service that succeeds.
pub fn call(home: &Home, operation: Operation, request: Value) -> Value {
    try_call(home, operation, request).unwrap_or_else(|error| panic!("{operation:?}: {error}"))
}

pub fn try_call(home: &Home, operation: Operation, request: Value) -> Result<Value, kmsfs::kms::KmsError> {
    let caller = home.caller(0, std::process::id(), Via::Cli);
    home.kms().call(&caller, operation, request).map(Option::unwrap_or_default)
}

/// A new key with an alias; its id.
pub fn new_key(home: &Home, description: &str, alias: &str) -> String {
    let answer = call(home, Operation::CreateKey, json!({"Description": description}));
    let id = answer["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    call(home, Operation::CreateAlias, json!({"AliasName": alias, "TargetKeyId": id}));
    id
}

/// The columns of a table, as the database tells them.
pub fn columns_of(connection: &Connection, table: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("PRAGMA table_info({table})")).unwrap();
    let names = statement.query_map([], |row| row.get(1)).unwrap();
    names.collect::<rusqlite::Result<_>>().unwrap()
}

/// A row with all its columns.
pub type Row = Vec<rusqlite::types::Value>;

/// All rows of a table in the order of their keys, with the MAC.
pub fn rows_of(connection: &Connection, table: &str) -> Vec<Row> {
    let columns = columns_of(connection, table);
    let sql = format!("SELECT {} FROM {table} ORDER BY {}", columns.join(", "), columns[0]);
    let mut statement = connection.prepare(&sql).unwrap();
    let rows = statement.query_map([], |row| (0..columns.len()).map(|column| row.get(column)).collect());
    rows.unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

/// Puts a row in, in place of one with its key.
pub fn put(connection: &Connection, table: &str, row: &Row) {
    let marks = vec!["?"; row.len()].join(", ");
    let sql = format!("INSERT OR REPLACE INTO {table} VALUES ({marks})");
    connection.execute(&sql, rusqlite::params_from_iter(row)).unwrap();
}

/// How a home refused to open, and that it refused for what was done to it.
#[track_caller]
pub fn refusal(fixture: &Fixture, what: &str) -> HomeError {
    match Home::open(&fixture.home()) {
        Ok(_) => panic!("the home opens with {what}"),
        Err(error) => error,
    }
}

/// What must be said of a spoilt database.
#[track_caller]
pub fn refused_as_spoilt(fixture: &Fixture, what: &str) {
    let error = refusal(fixture, what);
    assert!(
        matches!(error, HomeError::Tampered(_) | HomeError::Corrupted(..) | HomeError::NewerFormat { .. }),
        "{what}: {error}"
    );
}

/// Everything that a home knows of its keys, as text.
pub fn told(home: &Home) -> String {
    format!("{:?}", home.keyring().unwrap())
}

/// Makes an alarm that runs `true`, as the owner of the home.
pub fn add_alarm(home: &Home, name: &str, key: Option<&str>, watch: Watch) -> Result<(), AlarmError> {
    let alarm = AlarmRecord {
        name: name.to_owned(),
        key: key.map(|key| KeyId::parse(key).unwrap()),
        watch,
        action: Action::Command("true".to_owned()),
        period: PERIOD,
        created: home.now().unwrap(),
    };
    home.add_alarm(&home.caller(0, 1, Via::Cli), &alarm)
}
