//! Fuzz targets for whatever reads bytes that others may have written: a file's header and sectors, a whole file, ciphertext blobs,
//! import tokens, the records of a volume, the rows of a key store, and requests of clients of the server.
//!
//! One program has all of them, since linking takes longer than a short run; `KMSFS_FUZZ_TARGET` says which one runs.
//! Authentication would stop random bytes at once, so each target looks at its input twice: as it is, and sealed as somebody who
//! has the key would seal it. `fuzz/run` builds and runs them.

#![no_main]

mod blob;
mod header;
mod input;
mod material;
mod request;
mod sealing;
mod sector;
mod store;
mod token;
mod volume;
mod whole;

use std::env;
use std::sync::OnceLock;

/// A target: looks at an input, and panics where an invariant does not hold.
type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 12] = [
    ("header", header::header),
    ("tag_sector", sector::tag_sector),
    ("index_page", sector::index_page),
    ("whole_file", whole::whole_file),
    ("ciphertext", blob::ciphertext),
    ("import_token", token::import_token),
    ("key_material", material::key_material),
    ("volume_config", volume::config),
    ("default_key", volume::default_key),
    ("dirty_list", volume::dirty_list),
    ("store_rows", store::rows),
    ("request", request::request),
];

fn chosen() -> Target {
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = env::var("KMSFS_FUZZ_TARGET").unwrap_or_default();
        let found = TARGETS.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("KMSFS_FUZZ_TARGET: {name:?} is no target")).1
    })
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| chosen()(data));
