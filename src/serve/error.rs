//! Why the server does not start, or ended.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::Address;

/// Why the server does not start, or ended.
#[derive(Debug)]
pub enum ServeError {
    /// The address cannot be listened on.
    Listen {
        /// Which.
        address: Address,
        /// Why.
        error: io::Error,
    },
    /// Something else is where the socket is to be.
    NotASocket(PathBuf),
    /// The file of the certificate or of its key cannot be read.
    TlsFile(PathBuf, io::Error),
    /// The certificate or its key is not what it is to be.
    Tls {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    TlsPair(String),
    /// The machine gives no threads, or no signals.
    System(io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, error } => match error.kind() {
                io::ErrorKind::AddrInUse => write!(f, "{address} is in use"),
                _ => write!(f, "{address} cannot be listened on: {error}"),
            },
            Self::NotASocket(path) => write!(f, "{} is there, and is no socket", path.display()),
            Self::TlsFile(file, error) => write!(f, "{}: {error}", file.display()),
            Self::Tls { file, why } => write!(f, "{}: {why}", file.display()),
            Self::TlsPair(why) => write!(f, "certificate and private key cannot be used: {why}"),
            Self::System(error) => write!(f, "the server cannot start: {error}"),
        }
    }
}

impl std::error::Error for ServeError {}
