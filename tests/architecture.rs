//! The layers of the crate hold: which module may name which, where each outer crate may be imported, and what the pure modules
//! must not do. The table is the one of `docs/ARCHITECTURE.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each module with those that it may name, the lowest first.
const LAYERS: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("crypto", &["sys"]),
    ("clock", &[]),
    ("context", &[]),
    ("datakey", &["context", "crypto"]),
    ("kms", &["clock", "context", "crypto", "datakey"]),
    ("store", &["clock", "crypto", "datakey", "kms", "sys"]),
    ("envelope", &["crypto", "datakey"]),
    ("content", &["crypto", "datakey", "envelope"]),
    ("volume", &["crypto", "datakey", "envelope"]),
    ("fs", &["content", "context", "crypto", "datakey", "envelope", "volume"]),
    ("watch", &["crypto", "datakey", "volume"]),
    ("fuse", &["datakey", "fs", "volume", "watch"]),
    ("serve", &["clock", "crypto", "datakey", "kms"]),
    (
        "cli",
        &[
            "clock", "content", "datakey", "envelope", "fs", "fuse", "kms", "serve", "store", "sys",
            "volume", "watch",
        ],
    ),
];

/// Outer crates that few modules may import.
const IMPORTERS: &[(&str, &[&str])] = &[
    ("aes_gcm", &["crypto"]),
    ("argon2", &["crypto"]),
    ("aws_lc_rs", &["crypto"]),
    ("ed25519_dalek", &["crypto"]),
    ("hkdf", &["crypto"]),
    ("ring", &["crypto"]),
    ("rsa", &["crypto"]),
    ("sha1", &["crypto"]),
    ("hmac", &["crypto"]),
    ("sha2", &["crypto"]),
    ("subtle", &["crypto"]),
    ("rusqlite", &["store", "sys"]),
    ("fuser", &["fuse"]),
    ("signal_hook", &["fuse"]),
    ("aws_credential_types", &["serve"]),
    ("aws_sigv4", &["serve"]),
    ("http_body_util", &["serve"]),
    ("hyper", &["serve"]),
    ("hyper_util", &["serve"]),
    ("rustls_pki_types", &["serve"]),
    ("tokio", &["serve"]),
    ("tokio_rustls", &["serve"]),
    ("clap", &["cli"]),
    ("env_logger", &["cli"]),
];

/// What the pure modules do without, of the standard library and of outer crates: files, clocks, system calls.
const IMPURE_STD: &[&str] = &["env", "fs", "net", "process", "thread", "time"];
const IMPURE_CRATES: &[&str] = &["libc", "nix", "parking_lot", "rustix"];

/// The source of a module, file by file, without comments.
fn sources() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let mut modules: BTreeMap<String, Vec<_>> = BTreeMap::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut waiting = vec![root.clone()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            if path.extension().is_none_or(|ending| ending != "rs") {
                continue;
            }
            let within = path.strip_prefix(&root).unwrap();
            let module = within.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let code: Vec<_> = text.lines().map(|line| line.split("//").next().unwrap_or("")).collect();
            modules.entry(module).or_default().push((path, code.join("\n")));
        }
    }
    modules.remove("lib");
    modules.remove("main");
    modules
}

/// What a source names after `root` (`crate::`, `std::`), alone or within braces.
fn named(code: &str, root: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, path) in code.match_indices(root) {
        let rest = &code[at + path.len()..];
        let word = |text: &str| -> String {
            text.trim_start()
                .chars()
                .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                .collect()
        };
        match rest.strip_prefix('{') {
            None => drop(names.insert(word(rest))),
            Some(group) => {
                let mut depth = 0;
                let mut begins = true;
                for (at, letter) in group.char_indices() {
                    if begins && depth == 0 {
                        names.insert(word(&group[at..]));
                    }
                    begins = letter == ',';
                    match letter {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        _ => (),
                    }
                }
            }
        }
    }
    names.remove("");
    names
}

/// Whether a source names the outer crate `name`.
fn imports(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        // `crate::crypto::hmac::Key` is no path into the crate `hmac`, and `::hmac::Mac` is one.
        let before = code[..at].strip_suffix("::").unwrap_or(&code[..at]);
        !before.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_')
    })
}

#[test]
fn a_module_names_only_those_below_it() {
    let modules = sources();
    let known: BTreeSet<_> = LAYERS.iter().map(|(module, _)| module.to_string()).collect();
    assert_eq!(modules.keys().cloned().collect::<BTreeSet<_>>(), known, "the table has every module");
    for (number, (module, allowed)) in LAYERS.iter().enumerate() {
        let below: Vec<_> = LAYERS[..number].iter().map(|(module, _)| *module).collect();
        assert!(allowed.iter().all(|name| below.contains(name)), "{module} may only name what is below it");
        for (path, code) in &modules[*module] {
            for name in named(code, "crate::").iter().filter(|name| known.contains(*name) && name != module) {
                assert!(
                    allowed.contains(&name.as_str()),
                    "{} names crate::{name}, which {module} must not",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn the_table_of_layers_is_the_documented_one() {
    let mut table = String::from("| module | may name |\n|---|---|\n");
    for (module, allowed) in LAYERS {
        let names = if allowed.is_empty() { "-".to_owned() } else { allowed.join(", ") };
        table += &format!("| {module} | {names} |\n");
    }
    let document = include_str!("../docs/ARCHITECTURE.md");
    assert!(document.contains(&table), "docs/ARCHITECTURE.md lacks this table:\n{table}");
}

#[test]
fn an_outer_crate_is_imported_where_it_belongs() {
    for (module, files) in sources() {
        for (path, code) in files {
            for (outer, importers) in IMPORTERS.iter().filter(|(_, names)| !names.contains(&&*module)) {
                assert!(
                    !imports(&code, outer),
                    "{} imports {outer}, which only {} may",
                    path.display(),
                    importers.join(" and ")
                );
            }
        }
    }
}

#[test]
fn the_codecs_do_no_io_and_read_no_clock() {
    for module in ["envelope", "content", "context"] {
        for (path, code) in &sources()[module] {
            let std = named(code, "std::");
            for impure in IMPURE_STD {
                assert!(!std.contains(*impure), "{} imports std::{impure}", path.display());
            }
            for impure in IMPURE_CRATES {
                assert!(!imports(code, impure), "{} imports {impure}", path.display());
            }
            assert!(!code.contains("crate::clock"), "{} reads a clock", path.display());
        }
    }
}

#[test]
fn only_one_module_may_be_unsafe_and_only_one_prints() {
    for (module, files) in sources() {
        for (path, code) in files {
            let is_unsafe = code.contains("unsafe_code") || code.contains("unsafe {");
            assert!(!is_unsafe || module == "sys", "{} is unsafe", path.display());
            let prints = ["println!", "print!", "eprintln!", "eprint!", "dbg!"];
            let printed = prints.iter().any(|name| code.contains(name));
            assert!(!printed, "{} prints past the command line's own output", path.display());
        }
    }
}

#[test]
fn the_readers_of_this_test_see_what_they_should() {
    let code =
        "use crate::{crypto::{self, aead}, kms::Kms};\nuse crate::fs::file;\nfn f() { crate::volume::x() }";
    let expected = ["crypto", "fs", "kms", "volume"].map(str::to_owned);
    assert_eq!(named(code, "crate::"), BTreeSet::from(expected));
    assert!(imports("use hmac::Mac;", "hmac"));
    assert!(imports("use ::hmac::Mac;", "hmac"));
    assert_eq!(named("use std::{fs::File, io};", "std::"), BTreeSet::from(["fs", "io"].map(str::to_owned)));
    assert!(!imports("use aws_lc_rs::hmac;\nhmac_x::y", "hmac"));
    assert!(!imports("use crate::crypto::hmac::Key;", "hmac"));
}
