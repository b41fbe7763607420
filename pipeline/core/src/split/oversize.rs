//! A line that is longer than the limit: it is measured and hashed, and its beginning is kept.

/// How many bytes of a record that is too long are kept.
pub const PREFIX_BYTES: usize = 1024;

/// A record that passed the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Its first [`PREFIX_BYTES`] bytes.
    pub prefix: Vec<u8>,
    /// Its length in bytes, without the line ending.
    pub length: u64,
    /// BLAKE3 of all of it.
    pub hash: blake3::Hash,
}

/// The part of a line that is too long which is consumed so far.
#[derive(Debug, Default)]
pub(super) struct Oversize {
    prefix: Vec<u8>,
    length: u64,
    hasher: blake3::Hasher,
    /// Whether the last input ended in a CR. It is part of the line only if no LF follows.
    pub(super) pending_cr: bool,
}

impl Oversize {
    /// Adds `rest[..end]`. Adds the CR held back before it, if `more` shows that the CR was data.
    pub(super) fn take_in(&mut self, rest: &[u8], end: usize, more: bool) {
        if self.pending_cr && more {
            self.add(b"\r");
        }
        if more {
            self.pending_cr = false;
        }
        self.add(&rest[..end]);
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = PREFIX_BYTES - self.prefix.len();
        self.prefix.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.length += bytes.len() as u64;
        self.hasher.update(bytes);
    }

    pub(super) fn finish(self) -> TooLong {
        TooLong { prefix: self.prefix, length: self.length, hash: self.hasher.finalize() }
    }
}
