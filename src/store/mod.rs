//! The embedded key store: a home directory with a SQLite database, sealed and tamper-evident.
