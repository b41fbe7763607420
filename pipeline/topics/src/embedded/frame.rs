//! The layout of a batch in a segment: a header, and the bytes of the batch.
//!
//! ```text
//!   magic  crc32c  len    count  base   body
//!   4      4       4      4      8      len      bytes, little endian
//! ```
//!
//! The checksum covers everything after itself. A frame with a count of 0 marks a *gap*. It is always the first of
//! its segment and has no body. It says that the offsets from its own base to the segment's base were left out on
//! purpose.

use bytes::Buf;

use crate::Offset;

/// The size of a header.
pub(super) const HEADER_BYTES: usize = 24;

const MAGIC: [u8; 4] = *b"tgb1";
/// The offset in the header at which the checksum's range begins.
const COVERED: usize = 8;

/// The header of a frame. It may be damaged: only [`Header::verifies`] can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    crc: u32,
    /// The length of the body.
    pub(super) len: u32,
    /// How many records the body holds.
    pub(super) count: u32,
    /// The offset of the first record.
    pub(super) base: Offset,
}

impl Header {
    /// The header of a batch. `None` if the batch is longer than 4 GiB.
    pub(super) fn of_batch(base: Offset, count: usize, body: &[u8]) -> Option<Self> {
        let (len, count) = (u32::try_from(body.len()).ok()?, u32::try_from(count).ok()?);
        Some(Self { crc: 0, len, count, base }.sealed(body))
    }

    /// The header of a frame that marks a gap from `base` to the base of the segment. Such a frame has no body.
    pub(super) fn of_gap(base: Offset) -> Self {
        Self { crc: 0, len: 0, count: 0, base }.sealed(&[])
    }

    fn sealed(self, body: &[u8]) -> Self {
        Self { crc: self.checksum(body), ..self }
    }

    fn checksum(&self, body: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.encode()[COVERED..]), body)
    }

    /// Whether header and body match the checksum.
    pub(super) fn verifies(&self, body: &[u8]) -> bool {
        body.len() == self.len as usize && self.crc == self.checksum(body)
    }

    /// Whether the frame marks a gap.
    pub(super) fn is_gap(&self) -> bool {
        self.count == 0
    }

    /// The offset after the last record. `None` if a damaged header makes it overflow.
    pub(super) fn next(&self) -> Option<Offset> {
        self.base.checked_add(u64::from(self.count))
    }

    /// The size of the frame, header included.
    pub(super) fn frame_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.len)
    }

    /// The bytes of the header.
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.crc.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.len.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.count.to_le_bytes());
        bytes[16..].copy_from_slice(&self.base.to_le_bytes());
        bytes
    }

    /// Reads a header. `None` if the bytes do not begin with the magic, or are too short.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.get(..HEADER_BYTES)?.strip_prefix(&MAGIC)?;
        let (crc, len, count) = (rest.get_u32_le(), rest.get_u32_le(), rest.get_u32_le());
        Some(Self { crc, len, count, base: rest.get_u64_le() })
    }
}
