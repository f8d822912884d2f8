//! The file header: a pure codec from bytes to a verified header. No I/O, no clock.
//!
//! A header slot says which CMK and backing key a file's data key is wrapped under, how long the file is and whether it was
//! closed in order. [`UnverifiedHeader`] is what the bytes claim; only [`UnverifiedHeader::verify`], with the key that they lead
//! to, makes it a [`Header`] that may be believed. `docs/FORMAT.md` has the byte layout.

mod file_id;
mod slot;

pub use file_id::FileId;
pub use slot::{
    Header, HeaderError, MAX_SIZE, ResizeKind, SLOT_LEN, SUITE, UnverifiedHeader, VERSION, WRAP_SPACE,
};
