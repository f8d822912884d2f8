//! A file of a volume without a mount: its data key is asked for as an open does, and its ciphertext examined or repaired.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use super::backing::FdBacking;
use super::errno::{FsError, Result};
use super::file::{self, Examination, FileError, Identity, Repair};
use super::loaded::Engine;
use super::setattr::with_attributes_kept;
use crate::context::EncryptionContext;
use crate::datakey::{Asker, DataKey, DataKeyError, DataKeys, Incident, KeyArn, Usability};
use crate::volume::successor;

/// Where files come from, and who asks for their keys.
#[derive(Clone, Copy)]
pub struct Offline<'a> {
    /// The key service.
    pub keys: &'a dyn DataKeys,
    /// The volume's id, which the data keys of its files are bound to.
    pub volume: &'a str,
    /// The volume's directory, where it is at hand: a file that is being replaced has its content there.
    pub root: Option<&'a Path>,
    /// Whether a mount may be writing to the volume.
    pub live: bool,
}

impl std::fmt::Debug for Offline<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offline")
            .field("volume", &self.volume)
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}

/// What was seen of a file that was repaired.
#[derive(Debug)]
pub struct Repaired {
    /// What was done, and what is left.
    pub repair: Repair,
    /// The file's id, for the volume's list of dirty files.
    pub file_id: crate::envelope::FileId,
}

impl Offline<'_> {
    /// Opens a file to look at all of it.
    ///
    /// # Errors
    /// The key service's refusal; damage that leaves nothing to read.
    pub fn examine(&self, fd: Arc<OwnedFd>, path: &OsStr) -> Result<Examination<FdBacking>> {
        let next = self.root.map_or(Ok(None), |root| successor::of(root, &fd))?;
        let fd = next.map_or(fd, Arc::new);
        let backing = FdBacking::new(fd);
        let (identity, data_key) = self.unlock(&backing, path)?;
        Examination::open(backing, &identity, &data_key, self.live).map_err(named(path))
    }

    /// Whether another file is taking the place of one that was examined: what seemed wrong need not be.
    ///
    /// # Errors
    /// Whatever the system answers.
    pub fn is_replaced(&self, examination: &Examination<FdBacking>) -> std::io::Result<bool> {
        let id = examination.header().file_id;
        Ok(self.root.map_or(Ok(None), |root| successor::open(root, &id))?.is_some())
    }

    /// Repairs a file, and records what was done and what is left. The caller holds the volume's lock.
    ///
    /// # Errors
    /// As [`Offline::examine`]; [`FileError::Io`].
    pub fn repair(&self, fd: Arc<OwnedFd>, path: &OsStr) -> Result<Repaired> {
        if self.root.map_or(Ok(None), |root| successor::of(root, &fd))?.is_some() {
            return Err(FsError::Busy(
                "its re-encrypted content has yet to take its place: mount the volume".to_owned(),
            ));
        }
        let backing = FdBacking::new(fd.clone());
        let (identity, data_key) = self.unlock(&backing, path)?;
        let repair =
            with_attributes_kept(&fd, || file::repair(backing, &identity, &data_key).map_err(named(path)))?;
        let key = &identity.wrapped().key;
        for done in &repair.done {
            let incident = match done {
                file::Done::Recovered => Incident::Recovered,
                done => Incident::Repaired(done.to_string()),
            };
            self.report(path, Some(key), &incident);
        }
        let left: Vec<_> = repair.left.iter().map(ToString::to_string).collect();
        self.report_damage(path, Some(key), &left);
        Ok(Repaired { repair, file_id: identity.file_id() })
    }

    /// Records damage that was found in a file: one record, however much there is.
    pub fn report_damage(&self, path: &OsStr, key: Option<&KeyArn>, findings: &[String]) {
        let what = match findings {
            [] => return,
            [one] => one.clone(),
            [first, rest @ ..] => format!("{first}, and {} more", rest.len()),
        };
        self.report(path, key, &Incident::Damaged(what));
    }

    fn report(&self, path: &OsStr, key: Option<&KeyArn>, incident: &Incident) {
        self.keys.report(self.volume, &path.to_string_lossy(), key, incident);
    }

    /// Reads a file's header and asks for its data key; where the newest slot was altered, the other one may lead to it.
    fn unlock(&self, backing: &FdBacking, path: &OsStr) -> Result<(Identity, DataKey)> {
        let identity = Engine::identify(backing).map_err(named(path))?;
        let refusal = match self.unwrap(&identity, path) {
            Ok(data_key) => return Ok((identity, data_key)),
            Err(refusal) => refusal,
        };
        let may_be_altered = matches!(
            refusal,
            DataKeyError::Inauthentic
                | DataKeyError::NotFound(_)
                | DataKeyError::Unusable(_, Usability::Unknown)
        );
        let other = identity
            .older()
            .filter(|older| (older.wrapped(), older.file_id()) != (identity.wrapped(), identity.file_id()));
        match other {
            Some(older) if may_be_altered => match self.unwrap(&older, path) {
                Ok(data_key) => Ok((older, data_key)),
                Err(_) => Err(refusal.into()),
            },
            _ => Err(refusal.into()),
        }
    }

    fn unwrap(&self, identity: &Identity, path: &OsStr) -> std::result::Result<DataKey, DataKeyError> {
        let asker = Asker {
            uid: rustix::process::getuid().as_raw(),
            pid: std::process::id(),
            volume: self.volume.to_owned(),
            path: path.to_string_lossy().into_owned(),
        };
        let file = identity.file_id().to_string();
        let context: EncryptionContext =
            [("kmsfs:volume", self.volume.to_owned()), ("kmsfs:file", file)].into_iter().collect();
        self.keys.unwrap(&asker, identity.wrapped(), &context)
    }
}

/// An error of a file, with its path.
fn named(path: &OsStr) -> impl Fn(FileError) -> FsError + use<> {
    let path = path.to_string_lossy().into_owned();
    move |error| FsError::File { path: path.clone(), error }
}
