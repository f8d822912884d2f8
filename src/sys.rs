//! The one module that may use `unsafe`: system calls that no well-kept crate wraps. At present there is none; what a process
//! that holds keys asks of the kernel is here too, so that it stands in one place.

use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Keeps this process's memory out of core dumps and away from other processes of the same user (`prctl(2)`,
/// `PR_SET_DUMPABLE`). Call it before the first key is read.
///
/// # Errors
/// What the kernel refuses; the caller decides whether to go on.
pub fn harden_process() -> std::io::Result<()> {
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}
