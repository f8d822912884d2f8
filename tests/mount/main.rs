//! The whole system on a real mount: a real home, real keys, the kernel's own FUSE. Nothing here is skipped for want of it.

mod acl;
mod alarms;
#[path = "../shared/alone.rs"]
mod alone;
mod attributes;
mod clock;
mod crash;
mod decrypt;
mod ending;
mod everyday;
mod fixture;
mod govern;
mod impact;
mod import;
mod keys;
mod lifecycle;
mod locks;
mod maps;
mod multi_region;
mod names;
mod nodes;
mod policies;
mod power;
mod privileges;
mod programs;
mod reader;
mod rename;
mod requests;
mod revoke;
mod scrub;
#[path = "../reader/mod.rs"]
mod second;
mod space;
mod tamper;
mod trees;
mod unlock;
