//! Where decrypted content goes: standard output or another stream, or a file that gets its name when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::is_same;
use crate::cli::error::{CliError, Result};
use crate::cli::exit;
use crate::store::new_file::{NewFile, parent_of};
use crate::volume::Volume;

/// Bytes that are gathered before they are written.
const BATCH: usize = 1024 * 1024;

/// Where the content goes.
#[derive(Debug)]
pub struct Output {
    writer: BufWriter<File>,
    name: PathBuf,
    kind: Kind,
    written: u64,
}

#[derive(Debug)]
enum Kind {
    /// Bytes one behind the other; `text_only` where a terminal shows them.
    Stream { text_only: bool },
    /// A file without its name as yet.
    File(NewFile),
}

impl Output {
    /// To `path`, or standard output; `source` is what is read.
    pub fn open(path: Option<&Path>, replace: bool, source: &OwnedFd) -> Result<Self> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            let name = PathBuf::from("standard output");
            let stdout = io::stdout();
            let text_only = path.is_none() && stdout.is_terminal();
            let file = stdout.as_fd().try_clone_to_owned().map_err(|error| CliError::io(&name, &error))?;
            return Ok(Self::over(file.into(), name, Kind::Stream { text_only }));
        };
        let io = |error: io::Error| CliError::io(path, &error);
        match fs::metadata(path) {
            Ok(facts) if facts.is_dir() => {
                let what = format!("{} is a directory", path.display());
                return Err(CliError::new(exit::USAGE, what).hint("name a file in it"));
            }
            Ok(facts) if !facts.is_file() => {
                let is_pipe = facts.file_type().is_fifo();
                let file = OpenOptions::new().write(true).open(path).map_err(io)?;
                let text_only = !is_pipe && file.is_terminal();
                return Ok(Self::over(file, path.to_owned(), Kind::Stream { text_only }));
            }
            Ok(_) if !replace => return Err(exists(path)),
            Ok(_) if is_same(source, &File::open(path).map_err(io)?).map_err(io)? => {
                let what = format!("{} is the file that is read", path.display());
                return Err(CliError::new(exit::USAGE, what).hint("name another file with -o"));
            }
            _ => (),
        }
        if let Some((volume, _)) = Volume::find(parent_of(path)) {
            let what = format!("{} lies in the volume {}", path.display(), volume.display());
            return Err(CliError::new(exit::USAGE, what)
                .hint("plaintext does not belong among ciphertext: name a file elsewhere, or in a mount"));
        }
        let (file, new) = NewFile::make(path, replace).map_err(io)?;
        Ok(Self::over(file, path.to_owned(), Kind::File(new)))
    }

    fn over(file: File, name: PathBuf, kind: Kind) -> Self {
        Self { writer: BufWriter::with_capacity(BATCH, file), name, kind, written: 0 }
    }

    /// Bytes that cannot be taken back.
    pub fn written(&self) -> u64 {
        match self.kind {
            Kind::Stream { .. } => self.written,
            Kind::File(_) => 0,
        }
    }

    /// Writes what lies at an offset; parts come in their order.
    pub fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        debug_assert_eq!(offset, self.written);
        if matches!(self.kind, Kind::Stream { text_only: true }) && !is_text(bytes) {
            let what = format!("the content is not text, and {} is a terminal", self.name.display());
            return Err(CliError::new(exit::USAGE, what)
                .hint("-o OUT writes it to a file; -o - to the terminal all the same"));
        }
        let wrote = self.writer.write_all(bytes);
        self.written += bytes.len() as u64;
        self.checked(wrote)
    }

    /// Writes zeros; in a file they are a hole.
    pub fn zeros(&mut self, range: Range<u64>) -> Result<()> {
        let mut left = range.end - range.start;
        if let Kind::File(_) = self.kind {
            self.written += left;
            let sought = self.writer.seek(SeekFrom::Start(range.end)).map(|_| ());
            return self.checked(sought);
        }
        let zeros = [0; 4096];
        while left > 0 {
            let len = left.min(zeros.len() as u64);
            let wrote = self.writer.write_all(&zeros[..len as usize]);
            self.checked(wrote)?;
            self.written += len;
            left -= len;
        }
        Ok(())
    }

    /// Begins anew, where that is possible.
    pub fn restart(&mut self) -> Result<bool> {
        if self.written == 0 {
            return Ok(true);
        }
        let Kind::File(_) = self.kind else { return Ok(false) };
        self.written = 0;
        let begun = self.writer.seek(SeekFrom::Start(0)).and_then(|_| self.writer.get_ref().set_len(0));
        self.checked(begun)?;
        Ok(true)
    }

    /// Has everything written that was gathered.
    pub fn flush(&mut self) -> Result<()> {
        let flushed = self.writer.flush();
        self.checked(flushed)
    }

    /// Ends it: a file of `size` bytes is on disk, and has its name.
    pub fn finish(mut self, size: u64) -> Result<()> {
        self.flush()?;
        let Kind::File(new) = &mut self.kind else { return Ok(()) };
        let file = self.writer.get_ref();
        let named = file.set_len(size).and_then(|()| file.sync_all()).and_then(|()| new.name(file));
        match named {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists(&self.name)),
            named => named.map_err(|error| CliError::io(&self.name, &error)),
        }
    }

    /// An error of the output. A reader that has gone is none: the code says that all is well.
    fn checked(&self, outcome: io::Result<()>) -> Result<()> {
        outcome.map_err(|error| match (&self.kind, error.kind()) {
            (Kind::Stream { .. }, io::ErrorKind::BrokenPipe) => {
                CliError::new(exit::OK, "the reader has gone")
            }
            (Kind::Stream { .. }, _) => {
                let what = format!("{} cannot be written: {error}", self.name.display());
                CliError::new(exit::FAILURE, what).hint("see where it leads: a full disk takes no more")
            }
            (Kind::File(_), _) => CliError::io(&self.name, &error),
        })
    }
}

fn exists(path: &Path) -> CliError {
    CliError::new(exit::USAGE, format!("{} exists already", path.display()))
        .hint("name another file, or replace it with --force")
}

/// Whether a terminal shows bytes and does not obey them.
fn is_text(bytes: &[u8]) -> bool {
    let is_control = |byte: &u8| (*byte < b' ' && !b"\t\n\r".contains(byte)) || *byte == 0x7f;
    // The control characters U+0080 to U+009F, as UTF-8.
    let is_second = |pair: &[u8]| pair[0] == 0xc2 && (0x80..0xa0).contains(&pair[1]);
    !bytes.iter().any(is_control) && !bytes.windows(2).any(is_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_not_text() {
        assert!(is_text("words, and \u{e9}t\u{e9}\n\ttabs\r\n".as_bytes()));
        for bytes in [&b"\x1b[2J"[..], b"\0", b"\x7f", "\u{9b}2J".as_bytes()] {
            assert!(!is_text(bytes), "{bytes:?}");
        }
    }
}
