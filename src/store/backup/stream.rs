//! A sealed stream: chunks that cannot be altered, exchanged, left out or cut off unnoticed.
//!
//! ```text
//! chunk  = length of the sealed bytes, its highest bit set in the last chunk (4, big endian) | sealed
//! sealed = AES-256-GCM(backup key, AAD, up to 1 MiB)
//! AAD    = "kmsfs backup chunk 1" | SHA-256 of the header (32) | number from 0 (8) | 1 for the last chunk, else 0
//! ```

use std::io::{self, Read, Write};

use crate::crypto::{KEY_LEN, Secret, aead};

/// Plain bytes of a chunk.
const CHUNK: usize = 1024 * 1024;
const LAST: u32 = 1 << 31;
const LABEL: &[u8] = b"kmsfs backup chunk 1";

/// What chunks are sealed under and bound to.
pub struct Seal {
    /// The key of this backup.
    pub key: Secret<KEY_LEN>,
    /// The digest of what stands before the chunks.
    pub header: [u8; 32],
}

impl Seal {
    fn associated(&self, number: u64, is_last: bool) -> Vec<u8> {
        [LABEL, &self.header, &number.to_be_bytes(), &[u8::from(is_last)]].concat()
    }
}

/// Seals what is written to it. Without [`SealingWriter::finish`] there is no last chunk, and nobody takes it for whole.
pub struct SealingWriter<W: Write> {
    out: W,
    seal: Seal,
    number: u64,
    waiting: Vec<u8>,
}

impl<W: Write> SealingWriter<W> {
    /// Onto `out`.
    pub fn new(out: W, seal: Seal) -> Self {
        Self { out, seal, number: 0, waiting: Vec::with_capacity(CHUNK) }
    }

    /// Writes the last chunk.
    pub fn finish(mut self) -> io::Result<W> {
        self.put(true)?;
        Ok(self.out)
    }

    fn put(&mut self, is_last: bool) -> io::Result<()> {
        let associated = self.seal.associated(self.number, is_last);
        let sealed = aead::seal(&self.seal.key, &associated, &self.waiting);
        let len = u32::try_from(sealed.len()).map_err(io::Error::other)?;
        self.out.write_all(&(if is_last { len | LAST } else { len }).to_be_bytes())?;
        self.out.write_all(&sealed)?;
        self.waiting.clear();
        self.number += 1;
        Ok(())
    }
}

impl<W: Write> Write for SealingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.waiting.len() == CHUNK {
            self.put(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.waiting.len());
        self.waiting.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Opens what [`SealingWriter`] sealed. The end is the end of the last chunk, behind which there is nothing; anything else is
/// [`io::ErrorKind::InvalidData`].
pub struct OpeningReader<R: Read> {
    from: R,
    seal: Seal,
    number: u64,
    opened: Vec<u8>,
    at: usize,
    is_last: bool,
}

impl<R: Read> OpeningReader<R> {
    /// Of `from`, which stands behind the header.
    pub fn new(from: R, seal: Seal) -> Self {
        Self { from, seal, number: 0, opened: Vec::new(), at: 0, is_last: false }
    }

    fn next(&mut self) -> io::Result<()> {
        let mut len = [0; 4];
        self.from.read_exact(&mut len).map_err(cut)?;
        let len = u32::from_be_bytes(len);
        self.is_last = len & LAST != 0;
        let len = (len & !LAST) as usize;
        if len > CHUNK + aead::OVERHEAD {
            return Err(damaged("a chunk is too long"));
        }
        let mut sealed = vec![0; len];
        self.from.read_exact(&mut sealed).map_err(cut)?;
        let associated = self.seal.associated(self.number, self.is_last);
        let opened = aead::open(&self.seal.key, &associated, &sealed);
        let opened = opened.map_err(|_| damaged("it was altered"))?;
        if self.is_last && self.from.read(&mut [0])? > 0 {
            return Err(damaged("something was appended to it"));
        }
        (self.opened, self.at) = (opened.to_vec(), 0);
        self.number += 1;
        Ok(())
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn cut(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { damaged("it was cut off") } else { error }
}

impl<R: Read> Read for OpeningReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.opened.len() && !self.is_last {
            self.next()?;
        }
        let taken = out.len().min(self.opened.len() - self.at);
        out[..taken].copy_from_slice(&self.opened[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(key: &Secret<KEY_LEN>) -> Seal {
        Seal { key: key.clone(), header: [7; 32] }
    }

    fn sealed(key: &Secret<KEY_LEN>, bytes: &[u8]) -> Vec<u8> {
        let mut writer = SealingWriter::new(Vec::new(), seal(key));
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn opened(seal: Seal, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        OpeningReader::new(bytes, seal).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn every_length_reads_back() {
        let key = Secret::random();
        for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let bytes: Vec<u8> = (0..len).map(|place| place as u8).collect();
            assert!(opened(seal(&key), &sealed(&key, &bytes)).unwrap() == bytes, "{len}");
        }
    }

    #[test]
    fn every_cut_and_every_flip_is_noticed() {
        let key = Secret::random();
        let whole = sealed(&key, b"a short stream");
        for len in 0..whole.len() {
            assert_eq!(opened(seal(&key), &whole[..len]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        for bit in 0..whole.len() * 8 {
            let mut altered = whole.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(opened(seal(&key), &altered).unwrap_err().kind(), io::ErrorKind::InvalidData, "{bit}");
        }
        assert!(opened(seal(&key), &[whole.clone(), vec![0]].concat()).is_err());
        assert!(opened(Seal { header: [8; 32], ..seal(&key) }, &whole).is_err(), "another header");
        assert!(opened(seal(&Secret::random()), &whole).is_err(), "another key");
    }

    #[test]
    fn chunks_left_out_exchanged_or_cut_off_between_two_are_noticed() {
        let key = Secret::random();
        let whole = sealed(&key, &vec![5; 3 * CHUNK]);
        let chunk = 4 + CHUNK + aead::OVERHEAD;
        assert_eq!(whole.len(), 3 * chunk);
        let [one, two, three] = [0, 1, 2].map(|number| &whole[number * chunk..(number + 1) * chunk]);
        assert!(opened(seal(&key), &[one, two, three].concat()).is_ok());
        for wrong in
            [vec![one, three], vec![two, one, three], vec![one, two], vec![three], vec![one, two, two, three]]
        {
            assert!(opened(seal(&key), &wrong.concat()).is_err());
        }
        let mut as_last = [one, two].concat();
        as_last[chunk] |= 0x80;
        assert!(opened(seal(&key), &as_last).is_err());
    }
}
