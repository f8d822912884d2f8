//! The command line as people and scripts meet it: real processes, their output, their errors and their exit codes.

mod backup;
mod clock;
mod coverage;
mod errors;
mod fixture;
mod import;
mod kms;
mod kms_usage;
mod multi_region;
mod people;
mod pty;
mod setup;
mod slots;
mod snapshots;
mod system;
mod terminal;
