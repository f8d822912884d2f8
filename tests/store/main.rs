//! The key store on disk: tamper-evident to the last column, safe for several processes, and silent about its secrets.

mod bytes;
mod fixture;
mod home;
mod older;
mod processes;
mod rows;
