//! Reading an object container file, block by block, trusting nothing in it.
//!
//! The crate's own reader takes a file that ends within a count of rows for one that ends, stops at an empty block,
//! and does not say where it was. So the frame is read here; schema, codecs and rows are the crate's.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::{Codec, Schema};

use super::Error;
use super::file::{Written, short};

/// The largest block that is read, compressed or not, and the largest value.
const BLOCK_BYTES_MAX: usize = 64 * 1024 * 1024;
const MAGIC: &[u8; 4] = b"Obj\x01";

/// A file whose header has been read.
pub(super) struct Blocks {
    path: PathBuf,
    reader: Hashed,
    pub(super) schema: Schema,
    codec: Codec,
    marker: [u8; 16],
    /// How many blocks, and rows, have been read.
    blocks: u64,
    rows: u64,
    /// What a backup says of the file.
    expected: Option<Written>,
}

/// A file whose every block could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) rows: u64,
    pub(super) blake3: String,
}

/// Bytes of a file, counted, with their checksums.
struct Hashed {
    file: BufReader<File>,
    offset: u64,
    whole: blake3::Hasher,
    part: blake3::Hasher,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.offset += count as u64;
        self.whole.update(&buffer[..count]);
        self.part.update(&buffer[..count]);
        Ok(count)
    }
}

impl Hashed {
    fn byte(&mut self) -> std::io::Result<Option<u8>> {
        let mut byte = [0];
        loop {
            match self.read(&mut byte) {
                Ok(0) => return Ok(None),
                Ok(_) => return Ok(Some(byte[0])),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends a part, and gives its checksum.
    fn end_part(&mut self) -> String {
        short(&std::mem::take(&mut self.part).finalize())
    }
}

/// What is wrong with a part of a file.
enum Damage {
    /// It cannot be read at the moment.
    Io(std::io::Error),
    What(String),
}

impl From<std::io::Error> for Damage {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::What("the file ends within it".to_owned()),
            _ => Self::Io(error),
        }
    }
}

impl From<apache_avro::Error> for Damage {
    fn from(error: apache_avro::Error) -> Self {
        Self::What(error.to_string())
    }
}

impl Blocks {
    /// Opens a file, and reads its header. `expected`: what a backup says of it.
    pub(super) fn open(path: &Path, expected: Option<Written>) -> Result<Self, Error> {
        apache_avro::util::max_allocation_bytes(BLOCK_BYTES_MAX); // for lengths that are none
        let file = File::open(path).map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        let mut reader = Hashed {
            file: BufReader::with_capacity(256 * 1024, file),
            offset: 0,
            whole: blake3::Hasher::new(),
            part: blake3::Hasher::new(),
        };
        let read = read_header(&mut reader);
        let checksum = reader.end_part();
        let read = read.and_then(|header| match &expected {
            Some(Written { blocks, .. }) if blocks.first().is_some_and(|expected| *expected != checksum) => {
                Err(Damage::What("it is not the one that the backup was made with".to_owned()))
            }
            _ => Ok(header),
        });
        let (schema, codec, marker) = read.map_err(|damage| match damage {
            Damage::Io(error) => Error::io("read", path)(error),
            Damage::What(what) => Error::refused(format!(
                "'{}', {length} bytes, is no whole Avro file: in its header: {what}",
                path.display()
            )),
        })?;
        Ok(Self { path: path.to_owned(), reader, schema, codec, marker, blocks: 0, rows: 0, expected })
    }

    /// Reads all rows to the end, and hands each to `each`, which may refuse it.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, with the number of the block, from 1, and where it begins.
    pub(super) fn read(
        mut self,
        mut each: impl FnMut(Vec<(String, Value)>) -> Result<(), RowError>,
    ) -> Result<Whole, Error> {
        let schema = self.schema.clone();
        let rows = GenericDatumReader::builder(&schema).build();
        let rows = rows.map_err(|error| self.refused(format!("its schema cannot be used: {error}")))?;
        loop {
            let at = self.reader.offset;
            let read = self.block(&rows, &mut each);
            match read {
                Ok(true) => {}
                Ok(false) => return self.end(),
                Err(RowError::Failed(error)) => return Err(error),
                Err(RowError::Io(error)) => return Err(Error::io("read", &self.path)(error)),
                Err(RowError::Damaged(what)) => {
                    let number = self.blocks + 1;
                    return Err(self.refused(format!("block {number}, at byte {at}, is damaged: {what}")));
                }
            }
        }
    }

    /// Reads a block; `false` at the end of the file.
    fn block(
        &mut self,
        rows: &GenericDatumReader<'_>,
        each: &mut impl FnMut(Vec<(String, Value)>) -> Result<(), RowError>,
    ) -> Result<bool, RowError> {
        let Some((count, mut bytes)) = self.frame()? else { return Ok(false) };
        self.codec.decompress(&mut bytes).map_err(|error| RowError::Damaged(error.to_string()))?;
        let mut rest = Rest { bytes: &bytes, overrun: false };
        for row in 0..count {
            let left = rest.bytes.len();
            let read = rows.read_value(&mut rest);
            let damaged = |what: &dyn std::fmt::Display| {
                RowError::Damaged(format!("row {} of its {count} cannot be read: {what}", row + 1))
            };
            match read {
                // The crate takes the end of a block for a missing value.
                _ if rest.overrun => return Err(damaged(&"the block ends within it")),
                Err(error) => return Err(damaged(&error)),
                Ok(_) if rest.bytes.len() == left => return Err(damaged(&"it has no bytes")),
                Ok(Value::Record(fields)) => each(fields)?,
                Ok(_) => return Err(damaged(&"it is no record")),
            }
            self.rows += 1;
        }
        if !rest.bytes.is_empty() {
            let message = format!("{} bytes are left behind its {count} rows", rest.bytes.len());
            return Err(RowError::Damaged(message));
        }
        self.blocks += 1;
        Ok(true)
    }

    /// Reads the frame of a block: how many rows it has, and their bytes, compressed. `None` at the end of the file.
    fn frame(&mut self) -> Result<Option<(u64, Vec<u8>)>, Damage> {
        let Some(first) = self.reader.byte()? else { return Ok(None) };
        let count = read_long(first, &mut self.reader)?;
        let next = self.reader.byte()?;
        let next = next.ok_or_else(|| Damage::What("the file ends within it".to_owned()))?;
        let length = read_long(next, &mut self.reader)?;
        let count = u64::try_from(count).map_err(|_| Damage::What(format!("it has {count} rows")))?;
        let length =
            usize::try_from(length).ok().filter(|length| *length <= BLOCK_BYTES_MAX).ok_or_else(|| {
                Damage::What(format!("it has {length} bytes, at most {BLOCK_BYTES_MAX} can be read at once"))
            })?;
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(length as u64).read_to_end(&mut bytes)?;
        if read < length {
            return Err(Damage::What("the file ends within it".to_owned()));
        }
        let mut marker = [0; 16];
        self.reader.read_exact(&mut marker)?;
        if marker != self.marker {
            return Err(Damage::What("the marker behind it is not the file's".to_owned()));
        }
        let checksum = self.reader.end_part();
        if let Some(expected) = self.expected.as_ref().filter(|expected| !expected.blocks.is_empty()) {
            match expected.blocks.get(self.blocks as usize + 1) {
                None => return Err(Damage::What("the backup was made without it".to_owned())),
                Some(known) if *known != checksum => {
                    return Err(Damage::What("its checksum is not the one of the backup".to_owned()));
                }
                Some(_) => {}
            }
        }
        Ok(Some((count, bytes)))
    }

    /// Compares the whole of the file with what the backup says of it.
    fn end(self) -> Result<Whole, Error> {
        let blake3 = self.reader.whole.finalize().to_hex().to_string();
        if let Some(expected) = &self.expected {
            let (rows, bytes) = (self.rows, self.reader.offset);
            if (expected.rows, expected.bytes, &expected.blake3) != (rows, bytes, &blake3) {
                return Err(self.refused(format!(
                    "it ends behind block {}, at byte {bytes}, with {rows} rows; the backup was made with {} rows in {} \
                     bytes",
                    self.blocks, expected.rows, expected.bytes
                )));
            }
        }
        Ok(Whole { rows: self.rows, blake3 })
    }

    fn refused(&self, what: String) -> Error {
        Error::refused(format!("'{}' is not whole: {what}", self.path.display()))
    }
}

/// Why reading ended at a row.
pub(super) enum RowError {
    /// The block is damaged.
    Damaged(String),
    Io(std::io::Error),
    /// Whoever got the row has failed.
    Failed(Error),
}

impl From<Damage> for RowError {
    fn from(damage: Damage) -> Self {
        match damage {
            Damage::Io(error) => Self::Io(error),
            Damage::What(what) => Self::Damaged(what),
        }
    }
}

/// What is left of a block, and whether more was asked for.
struct Rest<'a> {
    bytes: &'a [u8],
    overrun: bool,
}

impl Read for Rest<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.overrun |= count < buffer.len();
        Ok(count)
    }
}

fn read_header(reader: &mut Hashed) -> Result<(Schema, Codec, [u8; 16]), Damage> {
    let mut magic = [0; 4];
    reader.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return Err(Damage::What("it does not begin with 'Obj' and 1".to_owned()));
    }
    let map = Schema::map(Schema::Bytes).build();
    let Value::Map(metadata) = GenericDatumReader::builder(&map).build()?.read_value(reader)? else {
        return Err(Damage::What("it has no metadata".to_owned()));
    };
    let metadata = |name: &str| match metadata.get(name) {
        Some(Value::Bytes(bytes)) => Some(bytes.as_slice()),
        _ => None,
    };
    let json = metadata("avro.schema").ok_or_else(|| Damage::What("it has no schema".to_owned()))?;
    let json: serde_json::Value = serde_json::from_slice(json)
        .map_err(|error| Damage::What(format!("its schema is no JSON: {error}")))?;
    let schema = Schema::parse(&json)?;
    let codec = match metadata("avro.codec") {
        None => Codec::Null,
        Some(name) => {
            let name = String::from_utf8_lossy(name);
            Codec::from_str(&name).map_err(|_| {
                Damage::What(format!(
                    "its codec is '{}'; null, deflate, snappy and zstandard can be read",
                    name.escape_debug()
                ))
            })?
        }
    };
    let mut marker = [0; 16];
    reader.read_exact(&mut marker)?;
    Ok((schema, codec, marker))
}

/// Reads a whole number whose first byte is known.
fn read_long(first: u8, reader: &mut Hashed) -> Result<i64, Damage> {
    let (mut byte, mut number, mut shift) = (first, 0u64, 0);
    loop {
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
        }
        shift += 7;
        if shift > 63 {
            return Err(Damage::What("it begins with no number".to_owned()));
        }
        byte = reader.byte()?.ok_or_else(|| Damage::What("the file ends within it".to_owned()))?;
    }
}
