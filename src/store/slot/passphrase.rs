//! Passphrases: bytes that a person knows, from a terminal or a file.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::store::HomeError;

/// The longest passphrase, in bytes.
const LEN_MAX: usize = 4096;
/// The names of a process's own standard input.
const STDIN: [&str; 2] = ["-", "/dev/stdin"];

/// A passphrase: any bytes, as they are. Whoever types the same letters on another machine must get the same bytes.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Of the bytes of a line or file; one end of a line behind them is not part of it.
    ///
    /// # Errors
    /// [`HomeError::PassphraseUnsuitable`] where nothing is left, or too much; `source` names where it came from.
    pub fn new(bytes: Zeroizing<Vec<u8>>, source: &str) -> Result<Self, HomeError> {
        let unsuitable = |why: &str| Err(HomeError::PassphraseUnsuitable(source.to_owned(), why.to_owned()));
        match without_line_end(&bytes) {
            [] => unsuitable("it is empty"),
            line if line.len() > LEN_MAX => unsuitable("it has more than 4096 bytes"),
            line => Ok(Self(Zeroizing::new(line.to_vec()))),
        }
    }

    /// Of a file, as [`read_secret`] reads it.
    ///
    /// # Errors
    /// [`HomeError`].
    pub fn read(path: &Path) -> Result<Self, HomeError> {
        Self::new(read_secret(path)?, &path.display().to_string())
    }

    /// The bytes.
    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether two are the same: what was typed twice.
    pub fn is(&self, other: &Self) -> bool {
        crate::crypto::mac::same(&self.0, &other.0)
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// Reads a file that holds a secret for people: a regular file that its owner alone may read, a pipe, or, by the names `-` and
/// `/dev/stdin`, standard input, whose protection is the matter of who gives it.
///
/// # Errors
/// [`HomeError::PassphraseFilePermissions`], [`HomeError::PassphraseUnsuitable`] for a directory or a device,
/// [`HomeError::Io`].
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, HomeError> {
    let io = |error| HomeError::Io(path.to_owned(), error);
    if STDIN.iter().any(|name| path == Path::new(name)) {
        return read_all(&mut io::stdin().lock()).map_err(io);
    }
    let facts = fs::metadata(path).map_err(|error| match error.kind() {
        // What unlocks the home is missing; the home itself is well.
        io::ErrorKind::NotFound => {
            HomeError::PassphraseUnsuitable(path.display().to_string(), "there is no such file".to_owned())
        }
        _ => io(error),
    })?;
    if facts.is_dir() {
        let why = "it is a directory".to_owned();
        return Err(HomeError::PassphraseUnsuitable(path.display().to_string(), why));
    }
    let mut file = File::open(path).map_err(io)?;
    let facts = file.metadata().map_err(io)?;
    if facts.mode() & 0o077 != 0 && !is_device(&facts) {
        return Err(HomeError::PassphraseFilePermissions(path.to_owned(), facts.mode() & 0o7777));
    }
    read_all(&mut file).map_err(io)
}

/// A terminal, for instance: what is read there was not kept there.
fn is_device(facts: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    facts.file_type().is_char_device()
}

/// All of a file, but not more than a passphrase can have.
fn read_all(from: &mut dyn Read) -> io::Result<Zeroizing<Vec<u8>>> {
    // Room for all of it: a vector that grows leaves copies behind that nobody wipes.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LEN_MAX + 64));
    from.take(LEN_MAX as u64 + 3).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    line.strip_suffix(b"\r").filter(|_| line.len() < bytes.len()).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Result<Passphrase, HomeError> {
        Passphrase::new(Zeroizing::new(bytes.to_vec()), "a test")
    }

    #[test]
    fn one_end_of_a_line_is_not_part_of_it_and_everything_else_is() {
        for (bytes, expected) in [
            ("word", "word"),
            ("word\n", "word"),
            ("word\r\n", "word"),
            ("word\n\n", "word\n"),
            (" two words \n", " two words "),
            ("word\r", "word\r"),
            ("one\ntwo\n", "one\ntwo"),
        ] {
            assert_eq!(of(bytes.as_bytes()).unwrap().expose(), expected.as_bytes(), "{bytes:?}");
        }
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        for bytes in [b"".as_slice(), b"\n", b"\r\n", &[b'x'; LEN_MAX + 1]] {
            assert!(matches!(of(bytes), Err(HomeError::PassphraseUnsuitable(..))));
        }
        assert!(of(&[b'x'; LEN_MAX]).is_ok());
    }

    #[test]
    fn it_is_never_told() {
        assert_eq!(format!("{:?}", of(b"secret").unwrap()), "Passphrase(..)");
    }
}
