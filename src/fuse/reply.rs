//! Replies that several requests have.

use fuser::{Errno, Generation, ReplyAttr, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyXattr};

use super::convert::{errno, file_attr};
use crate::fs::{Answer, Attr, Result};

/// Inode numbers are never given to another object while the kernel knows them.
pub const GENERATION: Generation = Generation(0);

/// A name that was looked up or made.
pub fn entry(what: &str, answer: Result<Answer<Attr>>, reply: ReplyEntry) {
    match answer {
        Ok(answer) => {
            let attr = &answer.value;
            reply.entry_with_ttls(&attr.ttl, &crate::fs::attr::CACHE_TIME, &file_attr(attr), GENERATION);
        }
        Err(error) => reply.error(errno(what, &error)),
    }
}

/// What is known of an object.
pub fn attributes(what: &str, answer: Result<Answer<Attr>>, reply: ReplyAttr) {
    match answer {
        Ok(answer) => reply.attr(&answer.value.ttl, &file_attr(&answer.value)),
        Err(error) => reply.error(errno(what, &error)),
    }
}

/// That it is done.
pub fn empty(what: &str, answer: Result<()>, reply: ReplyEmpty) {
    match answer {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(what, &error)),
    }
}

/// The offset that was looked for; `EOVERFLOW` where the kernel has no number for it.
pub fn sought(found: Result<u64>, reply: ReplyLseek) {
    match found.map(i64::try_from) {
        Ok(Ok(found)) => reply.offset(found),
        Ok(Err(_)) => reply.error(Errno::EOVERFLOW),
        Err(error) => reply.error(errno("lseek", &error)),
    }
}

/// A list or value of extended attributes: its size where the kernel asks for that, `ERANGE` where it does not fit.
pub fn xattr(what: &str, answer: Result<Vec<u8>>, size: u32, reply: ReplyXattr) {
    match answer {
        Ok(value) if size == 0 => reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX)),
        Ok(value) if value.len() <= size as usize => reply.data(&value),
        Ok(_) => reply.error(Errno::ERANGE),
        Err(error) => reply.error(errno(what, &error)),
    }
}
