//! Who changes the files of a volume: the mount that writes to it, or this process, which then holds the volume's lock.

use crate::cli::error::{CliError, Result, of_open};
use crate::cli::exit;
use crate::cli::shell::word;
use crate::cli::targets::Task;
use crate::fs::{Caller, Filesystem, Options};
use crate::fuse::control;
use crate::store::Home;
use crate::volume::lock::WriterLock;
use crate::volume::{Volume, VolumeError};
use crate::watch::{self, FileAsk, FileChange, FileMoved, FileRefusal, Mount, Reason};

use super::Kind;

/// The way to the files of one volume.
pub struct Door {
    way: Way,
    /// Mounts that read beside: they have to look at a header again that was changed.
    readers: Vec<Mount>,
}

enum Way {
    Mount(Mount),
    /// The lock goes last.
    Own {
        fs: Box<Filesystem>,
        _lock: WriterLock,
    },
}

impl Door {
    /// Finds the mount of a volume, or takes its lock.
    pub fn open(home: &Home, task: &Task, kind: Kind) -> Result<Self> {
        let volume = &task.volume;
        let mounts =
            watch::sockets(home.run_dir()).map_err(|error| CliError::of_home(home.run_dir(), &error))?;
        let ours = mounts.into_iter().filter(|mount| mount.status.volume_id == volume.id());
        let (readers, writers): (Vec<_>, Vec<_>) = ours.partition(|mount| mount.status.read_only);
        if let (Kind::Reencrypt, Some(reader)) = (kind, readers.first()) {
            let mountpoint = &reader.status.mountpoint;
            let what =
                format!("{} is mounted read-only on {}", volume.path().display(), mountpoint.display());
            return Err(CliError::new(exit::VOLUME, what).hint(format!("kmsfs umount {}", word(mountpoint))));
        }
        let way = match writers.into_iter().next() {
            Some(mount) => Way::Mount(mount),
            None => Self::own(home, volume, kind)?,
        };
        Ok(Self { way, readers })
    }

    fn own(home: &Home, volume: &Volume, kind: Kind) -> Result<Way> {
        let lock = WriterLock::acquire_as(volume, kind.command()).map_err(|error| {
            let is_held = matches!(error, VolumeError::Locked { .. });
            let error = CliError::from(error);
            if is_held { error.hint("repeat the command when that has ended") } else { error }
        })?;
        let path = volume.path();
        let volume = Volume::open(path, &*home.authenticator())?;
        let keys = home.data_keys_for(kind.command());
        let opened = Filesystem::new(volume, keys, home.authenticator(), Options::default());
        // What was left half done is ended first, as by a mount.
        let opened = opened.and_then(|fs| fs.recover(caller()).map(|()| fs));
        let fs = opened.map_err(|error| of_open(path, error))?;
        Ok(Way::Own { fs: Box::new(fs), _lock: lock })
    }

    /// Changes a file.
    pub fn change(&self, ask: FileAsk) -> std::result::Result<Option<FileMoved>, FileRefusal> {
        let path = ask.path();
        let moved = match &self.way {
            Way::Mount(mount) => mount.change_file(ask)?,
            Way::Own { fs, .. } => control::change_file(fs, &ask, caller())?,
        };
        for reader in &self.readers {
            if let Err(refusal) = reader.change_file(FileAsk::new(FileChange::Reread, &path, None))
                && refusal.reason != Reason::Gone
            {
                let mountpoint = reader.status.mountpoint.display();
                let why = format!("it is done, but the mount {mountpoint} does not follow: {}", refusal.why);
                return Err(FileRefusal { reason: Reason::Failed, why });
            }
        }
        Ok(moved)
    }

    /// Ends what this process did by itself.
    pub fn close(&self) -> Result<()> {
        if let Way::Own { fs, .. } = &self.way {
            fs.commit_all();
        }
        Ok(())
    }
}

fn caller() -> Caller {
    Caller {
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        pid: std::process::id(),
    }
}
