//! Reading an input as a few numbers and byte strings. What an input lacks is zeros, so that every input means something.

/// What is left of an input.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next bytes, filled up with zeros.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let part = self.bytes(N);
        out[..part.len()].copy_from_slice(part);
        out
    }

    /// At most so many of the next bytes.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (part, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        part
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// A number of two bytes.
    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    /// A number of eight bytes.
    pub fn long(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }
}
