//! Batches to and from the records that Fluvio stores.
//!
//! The client library encodes and decodes batches record by record, with several allocations each, which costs more
//! than all other work on a record's way. This module therefore writes and reads the records of a batch itself, in
//! one buffer. The batches, their compression and the requests are the client library's. The records of a batch are
//! preceded by their number, in four bytes, big endian. The layout of each record:
//!
//! ```text
//!   length | attributes: 1 byte | timestamp | offset in the batch | has a key: 1 byte | key | value | 0
//! ```
//!
//! Numbers are zigzag varints, as in protocol buffers. Key and value are preceded by their lengths.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fluvio::Compression;
use fluvio::dataplane::record::{
    BATCH_FILE_HEADER_SIZE, BATCH_HEADER_SIZE, BATCH_PREAMBLE_SIZE, Batch as Stored, RawRecords,
};
use tidegate_core::record::{Batch, Record};

use crate::{FetchResult, Offset};

/// A batch in a topic is closed when it has this many bytes, uncompressed. Four of them fill a read.
pub(super) const STORED_BYTES: usize = 250 << 10;

/// A request takes batches until they have this many bytes.
pub(super) const REQUEST_BYTES: usize = 4 << 20;

/// The longest record. By default no cluster accepts larger batches.
pub(super) const RECORD_BYTES_MAX: usize = 32 << 20;

/// The length of the number that precedes the records of a batch.
const COUNT_BYTES: usize = 4;

/// The most bytes that a record has besides its key and value.
const FRAME_BYTES_MAX: usize = 32;

/// The next of `records` as stored batches, enough for one request. Empty at the end of `records`.
pub(super) fn next_request<'a>(
    records: &mut impl Iterator<Item = Record<'a>>,
    compression: Compression,
) -> Result<Vec<Stored<RawRecords>>, String> {
    let mut batches = Vec::new();
    let mut total = 0;
    while total < REQUEST_BYTES {
        let mut bytes = Vec::with_capacity(STORED_BYTES + STORED_BYTES / 8);
        bytes.extend_from_slice(&[0; COUNT_BYTES]);
        let mut count = 0u32;
        while bytes.len() < STORED_BYTES {
            let Some(record) = records.next() else { break };
            write(&mut bytes, &record, count);
            count += 1;
        }
        if count == 0 {
            break;
        }
        bytes[..COUNT_BYTES].copy_from_slice(&count.to_be_bytes());
        total += bytes.len();
        batches.push(stored(bytes, count, compression)?);
    }
    Ok(batches)
}

fn stored(bytes: Vec<u8>, count: u32, compression: Compression) -> Result<Stored<RawRecords>, String> {
    let bytes = match compression {
        Compression::None => Bytes::from(bytes),
        codec => codec.compress(&bytes).map_err(|error| format!("compressing failed: {error}"))?,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let mut batch = Stored::<RawRecords>::default();
    batch.header.set_compression(compression);
    batch.header.first_timestamp = now;
    batch.header.max_time_stamp = now;
    batch.header.last_offset_delta = count as i32 - 1;
    *batch.mut_records() = RawRecords(bytes);
    Ok(batch)
}

fn write(out: &mut Vec<u8>, record: &Record<'_>, number: u32) {
    let Record { key, value } = *record;
    let key_len = if key.is_empty() { 0 } else { number_len(key.len() as u64) + key.len() };
    let fixed = 1 + 1 + number_len(u64::from(number)) + 1 + 1;
    let len = fixed + key_len + number_len(value.len() as u64) + value.len();
    out.reserve(len + FRAME_BYTES_MAX);
    write_number(out, len as u64);
    out.extend_from_slice(&[0, 0]);
    write_number(out, u64::from(number));
    if key.is_empty() {
        out.push(0);
    } else {
        out.push(1);
        write_number(out, key.len() as u64);
        out.extend_from_slice(key);
    }
    write_number(out, value.len() as u64);
    out.extend_from_slice(value);
    out.push(0);
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    let mut rest = number << 1;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn number_len(number: u64) -> usize {
    let bits = 64 - (number << 1 | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// The records of stored batches from an offset on.
pub(super) enum Decoding {
    /// Consecutive records.
    Records(FetchResult),
    /// No records: the first batch is cut off.
    Cut {
        /// How many bytes the whole batch has.
        needed: usize,
    },
    /// A batch that cannot be decoded.
    Malformed {
        /// The offset after the batch.
        next: Offset,
    },
}

/// Decodes stored batches, up to the first that does not follow the one before it.
pub(super) fn decode(stored: &[Stored<RawRecords>], from: Offset) -> Decoding {
    let mut batch = Batch::with_capacity(stored.iter().map(|stored| stored.records().0.len() * 5 / 4).sum());
    let mut found: Option<(Offset, Offset)> = None;
    // How many bytes are needed if not even a batch's header was read.
    let mut needed = BATCH_FILE_HEADER_SIZE;
    for stored in stored {
        let first = u64::try_from(stored.base_offset).unwrap_or(0);
        let next = first + stored.records_len() as u64;
        if next <= from {
            continue;
        }
        let whole = usize::try_from(stored.batch_len()).unwrap_or(0);
        if BATCH_HEADER_SIZE + stored.records().0.len() < whole {
            needed = BATCH_PREAMBLE_SIZE + whole;
            break;
        }
        let start = first.max(from);
        if found.is_some_and(|(_, end)| end != start) {
            break;
        }
        let before = batch.len();
        if read_into(&mut batch, stored, (start - first) as usize).is_none()
            || (batch.len() - before) as u64 != next - start
        {
            // The records before this batch are returned first. The next read begins at this batch.
            return match found {
                None => Decoding::Malformed { next },
                Some((base, end)) => {
                    Decoding::Records(FetchResult { batch: shortened(batch, before), base, next: end })
                }
            };
        }
        found = Some((found.map_or(start, |(base, _)| base), next));
    }
    match found {
        Some((base, next)) => Decoding::Records(FetchResult { batch, base, next }),
        None => Decoding::Cut { needed },
    }
}

/// The first records of a batch.
fn shortened(batch: Batch, records: usize) -> Batch {
    let mut first = Batch::with_capacity(batch.as_bytes().len());
    for record in batch.iter().take(records) {
        first.push(record.key, record.value);
    }
    first
}

/// Appends the records of a stored batch, except the first `skipped`. `None` if the batch is malformed.
fn read_into(batch: &mut Batch, stored: &Stored<RawRecords>, skipped: usize) -> Option<()> {
    let bytes = &stored.records().0;
    if !is_intact(stored) {
        return None;
    }
    let uncompressed = match stored.get_compression().ok()? {
        Compression::None => None,
        codec => codec.uncompress(bytes).ok()?,
    };
    let mut rest = uncompressed.as_deref().unwrap_or(bytes).get(COUNT_BYTES..)?;
    for number in 0..stored.records_len() {
        let len = read_number(&mut rest)?;
        let (mut record, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
        rest = after;
        if number < skipped {
            continue;
        }
        record = record.get(1..)?;
        read_number(&mut record)?;
        read_number(&mut record)?;
        let (has_key, after) = record.split_first()?;
        record = after;
        let key = if *has_key == 0 { &[][..] } else { read_bytes(&mut record)? };
        let value = read_bytes(&mut record)?;
        batch.push(key, value);
    }
    Some(())
}

/// Whether a stored batch matches its checksum, which covers the header fields after it and the records. A batch
/// that claims to have a schema is accepted unchecked: no writer makes such batches yet.
fn is_intact(stored: &Stored<RawRecords>) -> bool {
    let header = &stored.header;
    if header.has_schema() {
        return true;
    }
    let mut crc = crc32c::crc32c(&header.attributes.to_be_bytes());
    let mut add = |bytes: &[u8]| crc = crc32c::crc32c_append(crc, bytes);
    add(&header.last_offset_delta.to_be_bytes());
    add(&header.first_timestamp.to_be_bytes());
    add(&header.max_time_stamp.to_be_bytes());
    add(&header.producer_id.to_be_bytes());
    add(&header.producer_epoch.to_be_bytes());
    add(&header.first_sequence.to_be_bytes());
    add(&stored.records().0);
    crc == header.crc
}

fn read_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(read_number(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(bytes)
}

fn read_number(rest: &mut &[u8]) -> Option<i64> {
    let mut number = 0u64;
    for (i, byte) in rest.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            *rest = &rest[i + 1..];
            return Some((number >> 1) as i64 ^ -((number & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use fluvio::dataplane::record::Record as Theirs;
    use fluvio::dataplane::{Decoder, Encoder};

    use super::*;

    fn sample() -> Batch {
        let mut batch = Batch::default();
        batch.push(b"", b"");
        batch.push(b"key", b"0,3,117,text");
        batch.push(b"\0\xff", &[7; 70_000]);
        for number in 0..20_000u32 {
            batch.push(&number.to_be_bytes(), number.to_string().as_bytes());
        }
        batch
    }

    /// Batches as a topic returns them, with offsets and encoded lengths.
    fn stored_from(batch: &Batch, compression: Compression) -> Vec<Stored<RawRecords>> {
        let mut records = batch.iter();
        let stored = next_request(&mut records, compression).unwrap();
        assert!(records.next().is_none());
        let mut next = 0;
        let sent = stored.into_iter().map(|mut batch| {
            batch.base_offset = next;
            next += batch.records_len() as i64;
            travelled(&batch)
        });
        sent.collect()
    }

    /// A batch as it is read back, with its length and its checksum.
    fn travelled(batch: &Stored<RawRecords>) -> Stored<RawRecords> {
        let mut bytes = Vec::new();
        batch.encode(&mut bytes, 0).unwrap();
        let mut back = Stored::default();
        back.decode(&mut &bytes[..], 0).unwrap();
        back
    }

    #[test]
    fn the_client_reads_what_is_written_here() {
        let batch = sample();
        let stored = stored_from(&batch, Compression::None);
        assert!(stored.len() > 1);
        let theirs: Vec<Theirs> = stored.iter().flat_map(|batch| batch.memory_records().unwrap()).collect();
        assert_eq!(theirs.len(), batch.len());
        for (theirs, ours) in theirs.iter().zip(batch.iter()) {
            assert_eq!(theirs.key.as_ref().map_or(&[][..], |key| key), ours.key);
            assert_eq!(theirs.value.as_ref(), ours.value);
        }
    }

    #[test]
    fn what_the_client_writes_is_read_here() {
        let batch = sample();
        let theirs: Vec<Theirs> =
            batch.iter().map(|record| (record.key.to_vec(), record.value.to_vec()).into()).collect();
        let stored = Stored::<RawRecords>::try_from(Stored::from(theirs)).unwrap();
        let Decoding::Records(found) = decode(&[travelled(&stored)], 0) else { panic!("nothing was read") };
        assert_eq!(found.batch, batch);
    }

    #[test]
    fn from_each_offset_the_rest_is_read() {
        let batch = sample();
        let stored = stored_from(&batch, Compression::Lz4);
        for from in [0, 1, 2, 3, 9_999, batch.len() as u64 - 1] {
            let Decoding::Records(found) = decode(&stored, from) else { panic!("nothing was read") };
            let mut rest = batch.clone();
            rest.skip_front(from as usize);
            assert_eq!((found.base, found.next), (from, batch.len() as u64));
            assert!(found.batch == rest, "from {from}");
        }
    }

    #[test]
    fn what_is_cut_off_or_malformed_is_not_read() {
        let batch = sample();
        let mut stored = stored_from(&batch, Compression::None);
        let (last, whole) = (stored.len() - 1, stored[0].batch_len());
        let first = stored[0].records_len() as u64;
        // The last batch is cut off. The batches before it are read, and a read of it alone says how long it is.
        let cut = stored[last].records().0.slice(..100);
        *stored[last].mut_records() = RawRecords(cut);
        let until = stored[last].base_offset as u64;
        let Decoding::Records(found) = decode(&stored, 0) else { panic!("nothing was read") };
        assert_eq!((found.base, found.next, found.batch.len() as u64), (0, until, until));
        let Decoding::Cut { needed } = decode(&stored, until) else { panic!("it is cut off") };
        assert_eq!(needed, BATCH_PREAMBLE_SIZE + stored[last].batch_len() as usize);
        // The first batch is damaged: one bit, and then its middle with a checksum that matches.
        let undamaged = stored[0].records().0.to_vec();
        let (middle, mut damaged) = (undamaged.len() / 2, undamaged.clone());
        damaged[middle] ^= 1;
        *stored[0].mut_records() = RawRecords(Bytes::from(damaged));
        assert_eq!(stored[0].batch_len(), whole);
        let Decoding::Malformed { next } = decode(&stored, 0) else { panic!("it is damaged") };
        assert_eq!(next, first);
        let mut damaged = undamaged;
        damaged[middle..].fill(0xff);
        *stored[0].mut_records() = RawRecords(Bytes::from(damaged));
        stored[0] = travelled(&stored[0]);
        assert!(is_intact(&stored[0]));
        let Decoding::Malformed { next } = decode(&stored, 0) else { panic!("it is malformed") };
        assert_eq!(next, first);
    }

    #[test]
    fn numbers_are_as_long_as_they_say() {
        for number in (0..63).flat_map(|bit| [1u64 << bit, (1 << bit) - 1]).filter(|n| *n < 1 << 62) {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            assert_eq!(bytes.len(), number_len(number), "{number}");
            assert_eq!(read_number(&mut &bytes[..]), Some(number as i64));
        }
    }
}
