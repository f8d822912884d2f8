//! The key store on disk: tamper-evident to the last column, safe for several processes, and silent about its secrets.

mod alarms;
#[path = "../shared/alone.rs"]
mod alone;
mod audit;
mod backup;
mod bytes;
mod credentials;
mod crowd;
mod fixture;
mod full;
mod home;
mod keychain;
mod older;
mod processes;
mod regions;
mod related;
mod rows;
mod seeds;
mod slots;
