//! The adapter between the kernel and [`crate::fs`]: fuser requests in, filesystem calls out.
//!
//! It owns the session with the kernel and nothing of what files are: each request is turned into one call of
//! [`crate::fs::Filesystem`], and the answer into a reply. It is the only module that names fuser.

mod adapter;
mod apart;
pub mod control;
mod convert;
mod reply;
mod session;

pub use session::{MountError, MountOptions, MountRequest, serve};
