//! Exit codes. They are part of the interface: a number is never given another meaning.

use std::process::ExitCode;

/// An exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u8);

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.0)
    }
}

/// Done.
pub const OK: Code = Code(0);
/// Something failed that has no code of its own.
pub const FAILURE: Code = Code(1);
/// The arguments cannot be understood (clap's code as well), or name what cannot serve.
pub const USAGE: Code = Code(2);
/// There is no home, or a home or something else where one was to be made; or the home cannot be read or written.
pub const HOME: Code = Code(3);
/// The key file, passphrase or recovery code is missing, open to others, or does not unlock the home.
pub const LOCKED: Code = Code(4);
/// The key store or a volume's records were altered or are damaged.
pub const TAMPERED: Code = Code(5);
/// The key is not known, or its state does not permit it.
pub const KEY: Code = Code(6);
/// The directory is not a volume, is one already, is in use, or belongs to another home.
pub const VOLUME: Code = Code(7);
/// The mount point cannot be used, or nothing is mounted there.
pub const MOUNTPOINT: Code = Code(8);
/// The system lacks /dev/fuse or fusermount3, or does not permit the mount.
pub const FUSE: Code = Code(9);
/// The key was changed, and a mount did not confirm that it obeys.
pub const UNCONFIRMED: Code = Code(10);
/// The home, volume or file was made by a newer version.
pub const NEWER: Code = Code(11);
/// The unlock slot is not there, or is the last one, or there is no room for another.
pub const SLOT: Code = Code(12);
/// The server cannot listen where it was to.
pub const LISTEN: Code = Code(13);
/// The audit log was altered (`audit verify`).
pub const RECORDS: Code = Code(15);
/// The ciphertext of a file is damaged, was altered, or is none (`inspect`, `scrub`, `decrypt`).
pub const DAMAGED: Code = Code(20);
/// `kmsfs decrypt --skip-bad`: the file was written with zeros in place of what is lost.
pub const SKIPPED: Code = Code(21);
/// `kmsfs reencrypt`: files are in use, and were not re-encrypted.
pub const IN_USE: Code = Code(22);
/// `kmsfs kms`: the arguments cannot be understood (as the AWS CLI).
pub const AWS_USAGE: Code = Code(252);
/// `kmsfs kms`: the key service refused (as the AWS CLI).
pub const AWS_SERVICE: Code = Code(254);
/// `kmsfs kms`: anything else (as the AWS CLI).
pub const AWS_GENERAL: Code = Code(255);

/// The table that `--help` shows.
pub const HELP: &str = "\
Exit codes:
    0  done
    1  failed
    2  the arguments cannot be understood, or name what cannot serve
    3  no home, a home where one was to be made, or one that cannot be read or written
    4  what unlocks the home is missing, open to others, or does not unlock it
    5  the key store or a volume's records were altered or are damaged
    6  the key is not known, or its state does not permit it
    7  not a volume, a volume already, in use, or of another home
    8  the mount point cannot be used, or nothing is mounted there
    9  the system lacks /dev/fuse or fusermount3, or does not permit the mount
   10  the key was changed, and a mount did not confirm that it obeys
   11  the home, volume or file was made by a newer version
   12  the unlock slot is not there, is the last one, or there is no room for another
   13  serve: the address cannot be listened on
   15  the audit log was altered (audit verify)
   20  the ciphertext of a file is damaged, altered, or none (inspect, scrub, decrypt)
   21  decrypt --skip-bad: written with zeros in place of what is lost
   22  reencrypt: files are in use, and were not re-encrypted
  252  kms: the arguments cannot be understood (as aws kms)
  254  kms: the key service refused (as aws kms)
  255  kms: anything else (as aws kms)";
