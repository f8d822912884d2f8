//! The chunk layer: layout arithmetic, tag and index sectors, sealing and opening of chunks. Pure: no I/O, no clock.
//!
//! A file's content is cut into chunks of 4096 bytes, each encrypted by itself. Their nonces and tags lie in *tag sectors*, and
//! whether a segment of chunks exists at all in *index sectors*; both are authenticated by themselves, and all of them together
//! by the *content root* in the header. `docs/FORMAT.md` has every byte.

mod entry;
pub mod keys;
pub mod layout;
pub mod root;
pub mod sector;

pub use entry::{Entry, Seal, Versions};
