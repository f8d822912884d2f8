//! Who asks, and which home answers: the users of this machine as principals, and the home to its volumes.

use std::collections::HashMap;

use parking_lot::RwLock;

use crate::crypto::mac::MacKey;
use crate::datakey::Authenticator;
use crate::kms::files::Principals;
use crate::kms::{Caller, Via};

/// The users of this machine as principals.
pub struct Users {
    account: String,
    owner: u32,
    names: RwLock<HashMap<u32, String>>,
}

impl Users {
    /// Those of a home of that owner.
    pub fn new(account: &str, owner: u32) -> Self {
        Self { account: account.to_owned(), owner, names: RwLock::default() }
    }

    /// A user's name; one without a name is called by number. Asked once for each user.
    fn name(&self, uid: u32) -> String {
        if let Some(name) = self.names.read().get(&uid) {
            return name.clone();
        }
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid));
        let name = user.ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        self.names.write().insert(uid, name.clone());
        name
    }
}

impl Principals for Users {
    fn caller(&self, uid: u32, pid: u32, via: Via) -> Caller {
        let user = self.name(uid);
        let resource = if uid == 0 || uid == self.owner { "root".to_owned() } else { format!("user/{user}") };
        Caller { principal: format!("arn:aws:iam::{}:{resource}", self.account), uid, pid, user, via }
    }
}

/// Authenticates the records of volumes with a sub-key of the root key.
pub struct VolumeKey {
    /// The sub-key.
    pub key: MacKey,
    /// The home's id.
    pub home: String,
}

impl Authenticator for VolumeKey {
    fn mac(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
        self.key.sign(&[&(purpose.len() as u64).to_be_bytes(), purpose.as_bytes(), message])
    }

    fn identity(&self) -> String {
        self.home.clone()
    }
}
