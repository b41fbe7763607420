//! Records as they travel on topics.
//!
//! A topic carries [`Record`]s: a key and a value. On a raw or an accepted topic the value is a CSV row:
//! `fingerprint,source,line,` and then the line itself. [`Line`] reads and writes this row. Records move in [`Batch`]es, one
//! buffer each, so that nothing is allocated per row.

use crate::position::Position;

/// One record: bytes under a key. Records of one key keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The key of the row as the line writes it; empty if the line has none.
    pub key: &'a [u8],
    /// The payload.
    pub value: &'a [u8],
}

/// Records in one buffer: for each, the lengths of key and value (u32, little endian), key, value.
///
/// A batch has the same bytes in memory and in a segment of the embedded log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    count: u32,
}

/// The bytes of a batch do not divide into the number of records that it claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the batch is malformed")]
pub struct MalformedBatch;

const LENGTHS: usize = 8;

impl Batch {
    /// An empty batch with room for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), count: 0 }
    }

    /// A batch of bytes that [`Batch::as_bytes`] gave, after a check that they divide into `count` records.
    pub fn from_bytes(bytes: Vec<u8>, count: u32) -> Result<Self, MalformedBatch> {
        let batch = Self { bytes, count };
        let mut rest = &batch.bytes[..];
        for _ in 0..count {
            let (_, after) = split_record(rest).ok_or(MalformedBatch)?;
            rest = after;
        }
        if rest.is_empty() { Ok(batch) } else { Err(MalformedBatch) }
    }

    /// Appends a record.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.push_with(key, |bytes| bytes.extend_from_slice(value));
    }

    /// Appends a record. `write` appends the record's value to the buffer that it is given.
    ///
    /// # Panics
    ///
    /// If a key or value is longer than 4 GiB, which `max_record_bytes` rules out.
    pub fn push_with(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.push_written(|bytes| bytes.extend_from_slice(key), write);
    }

    /// Appends a record. `write_key` and `write` append the record's key and value to the buffer that they are given.
    ///
    /// # Panics
    ///
    /// As [`Batch::push_with`] does.
    pub fn push_written(&mut self, write_key: impl FnOnce(&mut Vec<u8>), write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTHS]);
        write_key(&mut self.bytes);
        let value_start = self.bytes.len();
        write(&mut self.bytes);
        let value_len = u32::try_from(self.bytes.len() - value_start).expect("a value is within 4 GiB");
        let key_len = u32::try_from(value_start - start - LENGTHS).expect("a key is within 4 GiB");
        self.bytes[start..start + 4].copy_from_slice(&key_len.to_le_bytes());
        self.bytes[start + 4..start + 8].copy_from_slice(&value_len.to_le_bytes());
        self.count += 1;
    }

    /// The records, in order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (record, after) = split_record(rest)?;
            rest = after;
            Some(record)
        })
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The records as they are stored; see [`Batch`].
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Drops all records and keeps the buffer.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// Divides the records by the partitions of their keys, each batch in the order of this one.
    pub fn split(&self, partitions: u32) -> Vec<Self> {
        let share = self.bytes.len() / partitions.max(1) as usize;
        let mut batches = vec![Self::default(); partitions as usize];
        batches.iter_mut().for_each(|batch| batch.bytes.reserve(share + share / 8));
        for record in self.iter() {
            batches[partition_of(record.key, partitions) as usize].push(record.key, record.value);
        }
        batches
    }

    /// Drops the first `records` records.
    pub fn skip_front(&mut self, records: usize) {
        let mut rest = &self.bytes[..];
        for _ in 0..records.min(self.len()) {
            match split_record(rest) {
                Some((_, after)) => rest = after,
                None => break,
            }
        }
        let dropped = self.bytes.len() - rest.len();
        self.bytes.drain(..dropped);
        self.count -= records.min(self.len()) as u32;
    }
}

/// The partition of a key, from 0 to `partitions` - 1. Keys of the same bytes share one, in every process and
/// version.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    // The upper bits decide, because the lower bits of similar keys are alike.
    ((u64::from(crc32c::crc32c(key)) * u64::from(partitions)) >> 32) as u32
}

fn split_record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (lengths, rest) = bytes.split_first_chunk::<LENGTHS>()?;
    let key_len = u32::from_le_bytes([lengths[0], lengths[1], lengths[2], lengths[3]]) as usize;
    let value_len = u32::from_le_bytes([lengths[4], lengths[5], lengths[6], lengths[7]]) as usize;
    let (key, rest) = rest.split_at_checked(key_len)?;
    let (value, rest) = rest.split_at_checked(value_len)?;
    Some((Record { key, value }, rest))
}

/// A line with its position: the value of a record on a raw or an accepted topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Identifies the columns and the dialect of the text: see [`fingerprint`](crate::shape::fingerprint). 0 if it is
    /// unknown.
    pub fingerprint: u32,
    /// The origin of the line.
    pub position: Position,
    /// The line, without its line ending.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads `fingerprint,source,line,text`. `None` if the value is not such a row.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (fingerprint, rest) = parse_number(value)?;
        let (source, rest) = parse_number(rest)?;
        let (line, text) = parse_number(rest)?;
        let position = Position { source, line };
        (line > 0).then_some(Self { fingerprint: u32::try_from(fingerprint).ok()?, position, text })
    }

    /// Writes `fingerprint,source,line,text`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut buffer = itoa::Buffer::new();
        out.extend_from_slice(buffer.format(self.fingerprint).as_bytes());
        out.push(b',');
        self.write_without_fingerprint(out);
    }

    /// Writes `source,line,text`: a row for `copy`.
    pub fn write_without_fingerprint(&self, out: &mut Vec<u8>) {
        let mut buffer = itoa::Buffer::new();
        out.extend_from_slice(buffer.format(self.position.source).as_bytes());
        out.push(b',');
        out.extend_from_slice(buffer.format(self.position.line).as_bytes());
        out.push(b',');
        out.extend_from_slice(self.text);
    }
}

/// The number before the next comma, and the bytes after the comma. `None` if there is no such number, or if it
/// exceeds Postgres's `bigint`.
fn parse_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    for (i, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => number = number.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?,
            b',' if i > 0 && i64::try_from(number).is_ok() => return Some((number, &bytes[i + 1..])),
            _ => return None,
        }
    }
    None
}
