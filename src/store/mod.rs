//! The embedded key store: a home directory with a SQLite database, sealed and tamper-evident.

pub mod error;
pub mod home;

pub use error::HomeError;
pub use home::{Home, SetupOptions};
