//! The `kmsfs` command: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    kmsfs::cli::run()
}
