//! What a directory gives to what is made in it: its default key, and whether it has a default access control list.
//!
//! Both are asked for at every creation, so they are kept as long as the kernel keeps attributes. A change through the mount
//! counts at once; one made beneath it, as late as a change of attributes would.

use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;

use super::Filesystem;
use super::attr::CACHE_TIME;
use super::errno::{FsError, Result};
use super::inode::Inode;
use super::xattr::{ACL_DEFAULT, DEFAULT_KEY, read_xattr};
use crate::volume::default_key;

/// What a directory gives, as it was read.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// The default key as the backing directory keeps it.
    pub stored_key: Option<Vec<u8>>,
    /// The key in it; `None` also where it does not authenticate.
    key: Option<String>,
    /// Whether there is a default access control list.
    pub has_acl: bool,
    read: Instant,
}

impl Filesystem {
    /// The key that new files in `dir` are encrypted under: the directory's, else the volume's.
    pub(super) fn default_key(&self, dir: &Arc<Inode>) -> Result<String> {
        match self.defaults(dir)? {
            Defaults { stored_key: None, .. } => Ok(self.volume.default_key().to_owned()),
            Defaults { key: Some(key), .. } => Ok(key),
            Defaults { stored_key: Some(stored), .. } => {
                Ok(default_key::decode(&stored, self.volume.id(), &*self.auth)?)
            }
        }
    }

    /// What `dir` gives to what is made in it.
    pub(super) fn defaults(&self, dir: &Arc<Inode>) -> Result<Defaults> {
        // Held while they are read: who changes them in between takes what was read away again.
        let mut kept = dir.defaults.lock();
        if let Some(defaults) = kept.as_ref().filter(|defaults| defaults.read.elapsed() < CACHE_TIME) {
            return Ok(defaults.as_ref().clone());
        }
        let read = Instant::now();
        let stored_key = self.stored(dir, DEFAULT_KEY)?;
        let decode = |stored: &Vec<u8>| default_key::decode(stored, self.volume.id(), &*self.auth).ok();
        let key = stored_key.as_ref().and_then(decode);
        let has_acl = self.stored(dir, ACL_DEFAULT)?.is_some();
        let defaults = Defaults { stored_key, key, has_acl, read };
        *kept = Some(Box::new(defaults.clone()));
        Ok(defaults)
    }

    /// An attribute of a directory as the backing directory has it now.
    pub(super) fn stored(&self, dir: &Arc<Inode>, name: &str) -> Result<Option<Vec<u8>>> {
        match read_xattr(&*dir.directory()?, name.as_ref()) {
            Ok(stored) => Ok(Some(stored)),
            // Also on a backing filesystem without such attributes: then no directory has one.
            Err(FsError::Os(Errno::NODATA | Errno::OPNOTSUPP)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
