//! Who calls the key service.

use uuid::Uuid;

/// A principal and where its call comes from: what policies decide on and what the audit log records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// `arn:aws:iam::ACCOUNT:root` for the home's owner and uid 0, else `arn:aws:iam::ACCOUNT:user/NAME` (rule POL-2).
    pub principal: String,
    /// User id of the calling process; `u32::MAX`, which is nobody's, where it is not on this machine or not known.
    pub uid: u32,
    /// Its process id; 0 where it is not known.
    pub pid: u32,
    /// The user's name, or the user id in decimal where it has none.
    pub user: String,
    /// The door it came through.
    pub via: Via,
}

/// The door that a call came through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// The command line.
    Cli,
    /// A mount, for one file.
    Mount {
        /// The volume's id.
        volume: String,
        /// The file's path within the volume.
        path: String,
    },
    /// The server, from one of its clients.
    Server(Box<Client>),
    /// A command that works on one file without a mount.
    Tool {
        /// The command, as the record names it: `kmsfs decrypt`.
        name: &'static str,
        /// The volume's id.
        volume: String,
        /// The file's path within the volume.
        path: String,
    },
}

/// A client of the server, and one request of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The IP address that it comes from.
    pub source: String,
    /// Whether it comes through a Unix socket: then the caller's user and process are known.
    pub is_local: bool,
    /// What program it says it is; empty where it does not say.
    pub agent: String,
    /// The access key id that the request was signed with, where it was.
    pub access_key_id: Option<String>,
    /// The request's id, which the answer names as well.
    pub request_id: Uuid,
    /// How the connection is encrypted, where it is.
    pub tls: Option<Tls>,
}

/// How a connection is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// `TLSv1.3`.
    pub version: &'static str,
    /// `TLS_AES_256_GCM_SHA384`.
    pub cipher_suite: &'static str,
    /// The host that the client asked for.
    pub host: String,
}
