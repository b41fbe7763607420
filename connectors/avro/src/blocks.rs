//! Reads an object container file, block by block, without trusting its content.
//!
//! The reader of the `apache-avro` crate takes a file that ends within a count of rows for a complete one, stops at
//! an empty block, and does not tell its position. Therefore this module reads the frames. Schema, codecs and rows
//! are the crate's.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::{Codec, Schema};

use crate::AvroError;
use crate::file::{TableFile, short};

/// The largest block that is read, compressed or not, and the largest value, in bytes.
const BLOCK_BYTES_MAX: usize = 64 * 1024 * 1024;
const MAGIC: &[u8; 4] = b"Obj\x01";

/// A file whose header has been read.
pub(super) struct ContainerReader {
    path: PathBuf,
    reader: HashingReader,
    pub(super) schema: Schema,
    codec: Codec,
    marker: [u8; 16],
    /// How many blocks and rows have been read.
    blocks: u64,
    rows: u64,
    /// The description of the file in a backup.
    expected: Option<TableFile>,
}

/// The totals of a file whose every block could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileTotals {
    pub(super) rows: u64,
    pub(super) blake3: String,
}

/// A reader that counts the bytes of a file, with the checksums of the whole and of the current part.
struct HashingReader {
    file: BufReader<File>,
    offset: u64,
    whole: blake3::Hasher,
    part: blake3::Hasher,
}

impl Read for HashingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.offset += count as u64;
        self.whole.update(&buffer[..count]);
        self.part.update(&buffer[..count]);
        Ok(count)
    }
}

impl HashingReader {
    /// Ends a part, and returns its checksum.
    fn end_part(&mut self) -> String {
        short(&std::mem::take(&mut self.part).finalize())
    }
}

/// Why reading a part of a file ended.
pub(super) enum Damage {
    /// The part is damaged: the fault, in words.
    What(String),
    /// The file cannot be read at the moment.
    Io(io::Error),
    /// The receiver of a row has failed.
    Failed(AvroError),
}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof => Self::What("the file ends within it".to_owned()),
            _ => Self::Io(error),
        }
    }
}

impl From<apache_avro::Error> for Damage {
    fn from(error: apache_avro::Error) -> Self {
        let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<io::Error>());
        match cause.map(|cause| (cause.kind(), cause.raw_os_error())) {
            Some((_, Some(code))) => Self::Io(io::Error::from_raw_os_error(code)),
            Some((ErrorKind::UnexpectedEof, None)) => io::Error::from(ErrorKind::UnexpectedEof).into(),
            _ => Self::What(error.to_string()),
        }
    }
}

impl ContainerReader {
    /// Opens a file, and reads its header. `expected` is the file's description in a backup.
    pub(super) fn open(path: &Path, expected: Option<TableFile>) -> Result<Self, AvroError> {
        apache_avro::util::max_allocation_bytes(BLOCK_BYTES_MAX); // limits what a wrong length allocates
        let file = File::open(path).map_err(AvroError::io("open", path))?;
        let length = file.metadata().map_err(AvroError::io("read", path))?.len();
        let mut reader = HashingReader {
            file: BufReader::with_capacity(256 * 1024, file),
            offset: 0,
            whole: blake3::Hasher::new(),
            part: blake3::Hasher::new(),
        };
        let read = read_header(&mut reader);
        let checksum = reader.end_part();
        let read = read.and_then(|header| match &expected {
            Some(TableFile { blocks, .. })
                if blocks.first().is_some_and(|expected| *expected != checksum) =>
            {
                Err(Damage::What("it is not the one that the backup was made with".to_owned()))
            }
            _ => Ok(header),
        });
        let (schema, codec, marker) = read.map_err(|damage| match damage {
            Damage::Io(error) => AvroError::io("read", path)(error),
            Damage::Failed(error) => error,
            Damage::What(what) => AvroError::refused(format!(
                "'{}', {length} bytes, is no whole Avro file: in its header: {what}",
                path.display()
            )),
        })?;
        Ok(Self { path: path.to_owned(), reader, schema, codec, marker, blocks: 0, rows: 0, expected })
    }

    /// Reads all rows to the end, and passes each to `each`, which may refuse it. If the file is damaged, the error names
    /// the number of the block, from 1, and the byte where the block begins.
    pub(super) fn read(
        mut self,
        mut each: impl FnMut(Vec<(String, Value)>) -> Result<(), Damage>,
    ) -> Result<FileTotals, AvroError> {
        let schema = self.schema.clone();
        let rows = GenericDatumReader::builder(&schema).build();
        let rows = rows.map_err(|error| self.refused(format!("its schema cannot be used: {error}")))?;
        loop {
            let at = self.reader.offset;
            match self.block(&rows, &mut each) {
                Ok(true) => {}
                Ok(false) => return self.end(),
                Err(Damage::Failed(error)) => return Err(error),
                Err(Damage::Io(error)) => return Err(AvroError::io("read", &self.path)(error)),
                Err(Damage::What(what)) => {
                    let number = self.blocks + 1;
                    return Err(self.refused(format!("block {number}, at byte {at}, is damaged: {what}")));
                }
            }
        }
    }

    /// Reads a block. Returns `false` at the end of the file.
    fn block(
        &mut self,
        rows: &GenericDatumReader<'_>,
        each: &mut impl FnMut(Vec<(String, Value)>) -> Result<(), Damage>,
    ) -> Result<bool, Damage> {
        let Some((count, mut bytes)) = self.frame()? else { return Ok(false) };
        self.codec.decompress(&mut bytes).map_err(|error| Damage::What(error.to_string()))?;
        let mut rest = BlockRest { bytes: &bytes, overrun: false };
        for row in 0..count {
            let left = rest.bytes.len();
            let read = rows.read_value(&mut rest);
            let damaged = |what: &dyn std::fmt::Display| {
                Damage::What(format!("row {} of its {count} cannot be read: {what}", row + 1))
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
            return Err(Damage::What(message));
        }
        self.blocks += 1;
        Ok(true)
    }

    /// Reads the frame of a block. Returns the number of its rows, and their bytes, compressed; `None` at the end of
    /// the file.
    fn frame(&mut self) -> Result<Option<(u64, Vec<u8>)>, Damage> {
        let mut first = Vec::new();
        if self.reader.by_ref().take(1).read_to_end(&mut first)? == 0 {
            return Ok(None);
        }
        let mut frame = (&first[..]).chain(&mut self.reader);
        let (count, length) = (read_long(&mut frame)?, read_long(&mut frame)?);
        let count = u64::try_from(count).map_err(|_| Damage::What(format!("it has {count} rows")))?;
        let length =
            usize::try_from(length).ok().filter(|length| *length <= BLOCK_BYTES_MAX).ok_or_else(|| {
                Damage::What(format!("it has {length} bytes, at most {BLOCK_BYTES_MAX} can be read at once"))
            })?;
        let mut bytes = Vec::new();
        if self.reader.by_ref().take(length as u64).read_to_end(&mut bytes)? < length {
            return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
        }
        let mut marker = [0; 16];
        self.reader.read_exact(&mut marker)?;
        if marker != self.marker {
            return Err(Damage::What("the marker behind it is not the file's".to_owned()));
        }
        let checksum = self.reader.end_part();
        let expected = self.expected.as_ref().map_or(&[][..], |expected| &expected.blocks);
        match expected.get(self.blocks as usize + 1) {
            None if !expected.is_empty() => {
                return Err(Damage::What("the backup was made without it".to_owned()));
            }
            Some(known) if *known != checksum => {
                return Err(Damage::What("its checksum is not the one of the backup".to_owned()));
            }
            _ => {}
        }
        Ok(Some((count, bytes)))
    }

    /// Compares the totals of the file with its description in the backup.
    fn end(self) -> Result<FileTotals, AvroError> {
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
        Ok(FileTotals { rows: self.rows, blake3 })
    }

    fn refused(&self, what: String) -> AvroError {
        AvroError::refused(format!("'{}' is not whole: {what}", self.path.display()))
    }
}

/// The unread rest of a block, and whether a read went beyond its end.
struct BlockRest<'a> {
    bytes: &'a [u8],
    overrun: bool,
}

impl Read for BlockRest<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.overrun |= count < buffer.len();
        Ok(count)
    }
}

fn read_header(reader: &mut HashingReader) -> Result<(Schema, Codec, [u8; 16]), Damage> {
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

/// Reads a number of a block's frame.
fn read_long(reader: &mut impl Read) -> Result<i64, Damage> {
    match GenericDatumReader::builder(&Schema::Long).build()?.read_value(reader)? {
        Value::Long(number) => Ok(number),
        _ => Err(Damage::What("it begins with no number".to_owned())),
    }
}
