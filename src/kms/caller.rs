//! Who calls the key service.

/// A principal and where its call comes from: what policies decide on and what the audit log records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// `arn:aws:iam::ACCOUNT:root` for the home's owner and uid 0, else `arn:aws:iam::ACCOUNT:user/NAME` (rule POL-2).
    pub principal: String,
    /// User id of the calling process.
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
