//! The whole system on a real mount: a real home, real keys, the kernel's own FUSE. Nothing here is skipped for want of it.

mod acl;
mod crash;
mod decrypt;
mod everyday;
mod fixture;
mod keys;
mod lifecycle;
mod names;
mod programs;
mod requests;
mod revoke;
mod scrub;
mod tamper;
mod unlock;
