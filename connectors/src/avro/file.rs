//! Writing an object container file: the header, then blocks of rows, each compressed and followed by the marker.
//!
//! The crate writes the header and compresses. Rows go from Postgres's binary form into a block without becoming
//! values in between, and the checksum of each block is known, so that a damaged one can be named later.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use apache_avro::rabin::Rabin;
use apache_avro::{Codec, DeflateSettings, Schema, Writer, ZstandardSettings};
use serde::{Deserialize, Serialize};

use super::encode::{self, Unfit, long};
use super::layout::Layout;
use tidegate_core::manifest::Codec as Compression;

use super::Error;

/// So many bytes of rows make a block.
const BLOCK_BYTES: usize = 256 * 1024;
/// How many bytes of the checksum of a block are kept.
const BLOCK_CHECKSUM_BYTES: usize = 8;

/// A file as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The dataset, or Tidegate's table.
    pub name: String,
    /// The file, within the backup's folder.
    pub file: String,
    /// How many rows it has.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of it, in hexadecimal digits.
    pub blake3: String,
    /// The fingerprint of its schema in parsing canonical form: CRC-64-AVRO, in hexadecimal digits.
    pub schema: String,
    /// The beginnings of BLAKE3 of the header and of each block, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<String>,
}

/// The beginning of a checksum, as a backup keeps it for each block.
pub(super) fn short(hash: &blake3::Hash) -> String {
    hash.to_hex()[..2 * BLOCK_CHECKSUM_BYTES].to_owned()
}

/// A file that is being written.
pub(super) struct FileWriter {
    path: PathBuf,
    file: BufWriter<File>,
    layout: Layout,
    codec: Codec,
    marker: [u8; 16],
    rows_in_block: i64,
    block: Vec<u8>,
    hasher: blake3::Hasher,
    written: Written,
}

impl FileWriter {
    /// Begins a file that must not be there yet, and that nobody else can read.
    pub(super) fn create(path: PathBuf, layout: Layout, compression: Compression) -> Result<Self, Error> {
        let schema = layout.schema();
        let schema = Schema::parse(&schema)
            .map_err(|error| Error::refused(format!("'{}' has no schema in Avro: {error}", layout.table)))?;
        let codec = codec(compression);
        let marker = uuid::Uuid::new_v4().into_bytes();
        let header = header(&schema, codec, marker)
            .map_err(|error| Error::refused(format!("'{}' has no header in Avro: {error}", layout.table)))?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(Error::io("create", &path))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut writer = Self {
            file: BufWriter::with_capacity(BLOCK_BYTES, file),
            codec,
            marker,
            rows_in_block: 0,
            block: Vec::with_capacity(BLOCK_BYTES + 4096),
            hasher: blake3::Hasher::new(),
            written: Written {
                name: layout.table.clone(),
                file: name,
                rows: 0,
                bytes: 0,
                blake3: String::new(),
                schema: schema.fingerprint::<Rabin>().to_string(),
                blocks: Vec::new(),
            },
            layout,
            path,
        };
        writer.put(&[&header])?;
        Ok(writer)
    }

    /// Adds a row: a value for each column, as Postgres sends it in binary.
    ///
    /// # Errors
    ///
    /// If the disk does not take it. The indexes of the columns whose form cannot hold the value, if there are any;
    /// then the file is of no use.
    pub(super) fn row(&mut self, values: &[Option<&[u8]>]) -> Result<Result<(), Vec<usize>>, Error> {
        let mut unfit = Vec::new();
        for (i, (field, value)) in self.layout.fields.iter().zip(values).enumerate() {
            if encode::value(field.form, field.optional, *value, &mut self.block) == Err(Unfit) {
                unfit.push(i);
            }
        }
        if !unfit.is_empty() {
            return Ok(Err(unfit));
        }
        self.rows_in_block += 1;
        self.written.rows += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.end_block()?;
        }
        Ok(Ok(()))
    }

    fn end_block(&mut self) -> Result<(), Error> {
        let mut block = std::mem::take(&mut self.block);
        let compressed = self.codec.compress(&mut block);
        compressed.map_err(|error| Error::refused(format!("cannot compress a block: {error}")))?;
        let mut head = Vec::with_capacity(20);
        long(self.rows_in_block, &mut head);
        long(block.len() as i64, &mut head);
        self.put(&[&head, &block, &self.marker.clone()])?;
        block.clear();
        self.block = block;
        self.rows_in_block = 0;
        Ok(())
    }

    /// Writes the header or a block.
    fn put(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            self.file.write_all(part).map_err(Error::io("write", &self.path))?;
            self.hasher.update(part);
            hasher.update(part);
            self.written.bytes += part.len() as u64;
        }
        self.written.blocks.push(short(&hasher.finalize()));
        Ok(())
    }

    /// Ends the file. It may not be on disk yet.
    pub(super) fn finish(mut self) -> Result<Written, Error> {
        if self.rows_in_block > 0 {
            self.end_block()?;
        }
        self.file.flush().map_err(Error::io("write", &self.path))?;
        self.written.blake3 = self.hasher.finalize().to_hex().to_string();
        Ok(self.written)
    }
}

/// The header of a file, which the crate's own writer writes before it has any rows.
fn header(schema: &Schema, codec: Codec, marker: [u8; 16]) -> Result<Vec<u8>, apache_avro::Error> {
    let writer = Writer::builder().schema(schema).codec(codec).marker(marker).writer(Vec::new()).build()?;
    writer.into_inner()
}

fn codec(compression: Compression) -> Codec {
    match compression {
        Compression::Deflate => Codec::Deflate(DeflateSettings::default()),
        Compression::Snappy => Codec::Snappy,
        Compression::Zstandard => Codec::Zstandard(ZstandardSettings::default()),
    }
}

/// Makes sure that a file or folder is on disk.
pub(super) fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io("write to disk", path))
}
