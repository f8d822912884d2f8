//! The embedded key store: a home directory with a SQLite database, sealed and tamper-evident.
//!
//! ```text
//! HOME/keys.db      the keyring, sealed and authenticated under the root key (SQLite, WAL)
//! HOME/audit.log    one JSON line a record, chained; `audit.log.000001` and so on when it was full
//! HOME/audit.head   how far the chain goes
//! HOME/reserve      nothing: space for revocations on a full disk
//! HOME/run/         control sockets of mounts, and when alarms sounded
//! ```
//!
//! Directories are made with mode 0700, files with 0600. The root key is nowhere in the clear: each slot holds it, sealed under
//! what a key file, a passphrase or a recovery code derives to.
//!
//! Rows are no part of the interface: they can be named so that a fuzz target reaches their codec.

mod alarms;
pub mod audit;
mod backup;
mod credentials;
mod database;
pub mod error;
pub mod home;
mod identity;
mod keyfile;
mod ledger;
mod migrations;
pub mod new_file;
mod place;
mod records;
mod regions;
mod reserve;
mod root;
#[doc(hidden)]
pub mod rows;
mod setup;
pub mod slot;
mod slots;
mod sqlite;
mod tables;
pub mod unlock;

pub use alarms::AlarmError;
pub use credentials::{Credential, CredentialError, SecretAccessKey};
pub use error::HomeError;
pub use home::Home;
pub use setup::SetupOptions;
pub use slots::NewSlot;
#[doc(hidden)]
pub use tables::{StoredRow, build};
pub use unlock::{Key, KeyFiles, Keychain};
