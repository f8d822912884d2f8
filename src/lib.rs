//! kmsfs: a mounted filesystem whose files are governed by keys with a life cycle.
//!
//! Every file is encrypted under a data key of its own, wrapped under a customer master key (CMK). The layers, from
//! the lowest to the highest; a lower one never names a higher one (`docs/ARCHITECTURE.md`):
//!
//! [`crypto`], [`clock`], [`context`] < [`datakey`] < [`kms`] < [`store`]; [`envelope`] < [`content`] < [`fs`] <
//! [`fuse`]; [`volume`], [`watch`]; [`serve`], over [`kms`]; and [`cli`], which puts them together.

pub mod cli;
pub mod clock;
pub mod content;
pub mod context;
pub mod crypto;
pub mod datakey;
pub mod envelope;
pub mod fs;
pub mod fuse;
pub mod kms;
pub mod serve;
pub mod store;
pub mod sys;
pub mod volume;
pub mod watch;
